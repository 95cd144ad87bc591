"""Never harass: people who do not react are left in peace until the next good occasion.

A touch is *silent* when the wait of its channel has passed and nothing followed: no response of the person in
this campaign, no order. After ``silent_touches`` of them, since the person last reacted or was reopened, the
member waits and what is unsent is released. Channels on which reactions cannot be seen are never judged.

It is judged by the claim, when the next touch comes due: exactly then it matters, whatever was down before.
"""

from collections.abc import Iterable
from datetime import datetime

from campaigns import exits
from campaigns.queries.claim import Decided


def found(decided: Iterable[Decided], now: datetime) -> int:
    """The people a claim found silent wait from now on; returns how many."""
    silent = {(row.campaign_id, row.customer_id) for row in decided if row.decision == "silent"}
    return exits.wait_members(sorted(silent), now)
