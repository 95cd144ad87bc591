"""Which channel a row is of: by its name, as people write it."""

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.imports.staging import Staged
from audiences.registers import ImportColumn
from channels.models import Channel

CHANNEL = ImportColumn(
    "channel",
    gettext_lazy("Channel"),
    gettext_lazy("The channel's name, as on the Channels page."),
    required=True,
    kind="identifier",
    aliases=("渠道", "渠道名称", "account", "账户", "账户名称"),
)

FIND = """
UPDATE {rows} r SET channel_id = c.id
FROM channels_channel c WHERE lower(c.name) = lower(r.channel) OR c.id::text = r.channel
"""


def resolve_channels(staged: Staged) -> None:
    """``{rows}`` gets ``channel_id``; rows of a channel we do not have are refused with the names we have."""
    staged.execute("ALTER TABLE {rows} ADD COLUMN channel_id bigint")
    staged.execute(FIND)
    known = ", ".join(Channel.objects.order_by("name").values_list("name", flat=True)[:20]) or "–"
    reason = _("no channel of this name; known: %(known)s") % {"known": known}
    staged.refuse("channel", reason[:250], "r.channel_id IS NULL")
