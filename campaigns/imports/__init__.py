"""Campaigns that ran elsewhere get the same reports: import kinds ``campaigns``, ``touches``, ``responses``.

Such a campaign has the kind ``imported`` and one round. Its target is what was sent: members, targets,
approved ordinals, touches and attempts are written as the schema's foreign keys demand, so that every
reader finds the same rows as after a release here. A member may be imported as held out, for lift.
"""

from audiences.registers import import_kinds
from campaigns.imports.campaigns import CAMPAIGNS
from campaigns.imports.responses import RESPONSES
from campaigns.imports.touches import TOUCHES


def register() -> None:
    """Called once, from ``CampaignsConfig.ready``."""
    import_kinds.add("campaigns", CAMPAIGNS)
    import_kinds.add("touches", TOUCHES)
    import_kinds.add("responses", RESPONSES)
