"""Receipts from a file: what became of messages that people sent, or that another tool sent for us."""

from collections.abc import Mapping

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.imports.staging import Staged
from audiences.registers import ImportColumn, ImportKind
from channels.adapters.base import Receipt
from channels.loads.naming import CHANNEL, resolve_channels

OUTCOMES = {
    "已受理": "accepted",
    "已发送": "sent",
    "发送成功": "sent",
    "已送达": "delivered",
    "送达": "delivered",
    "成功": "delivered",
    "delivrd": "delivered",
    "success": "delivered",
    "失败": "bounced",
    "退回": "bounced",
    "failed": "bounced",
    "undeliv": "bounced",
    "未发送": "expired",
    "过期": "expired",
    "已过期": "expired",
    "cancelled": "expired",
    "取消": "expired",
    "拒绝": "rejected",
}

INSERT = """
INSERT INTO channels_inboxevent (
    channel_id, dedupe_key, kind, outcome, response, reference, identity_kind, identity_issuer, identity_value,
    occurred_at, received_at, machine, currency, code, detail, state, error
)
SELECT told.channel_id,
       'file:' || told.named || ':' || told.outcome || ':' || extract(epoch FROM told.occurred_at)::bigint,
       'receipt', told.outcome, '', told.named, '', '', '', told.occurred_at, %(now)s, false,
       upper(coalesce(told.currency, told.channel_currency)), coalesce(told.code, ''),
       jsonb_strip_nulls(jsonb_build_object(
           'attempt_id', told.attempt_id, 'cost', told.cost::text, 'permanent', told.permanent,
           'import_batch', %(batch)s::bigint
       )),
       'new', ''
FROM (
    SELECT r.*, channel.currency AS channel_currency,
           coalesce(
               r.reference, CASE channel.adapter WHEN 'manual' THEN 'manual-' ELSE 'attempt-' END || r.attempt_id
           ) AS named
    FROM {rows} r JOIN channels_channel channel ON channel.id = r.channel_id
) AS told
ORDER BY told.line
ON CONFLICT (channel_id, dedupe_key) DO NOTHING
"""


def check(staged: Staged) -> None:
    resolve_channels(staged)
    staged.refuse(
        "reference",
        _("give a reference or an attempt_id, as in the exported list"),
        "r.reference IS NULL AND r.attempt_id IS NULL",
    )
    staged.refuse("attempt_id", _("not one of ours"), "r.attempt_id <= 0")
    staged.refuse("cost", _("less than 0"), "r.cost < 0")
    staged.refuse("occurred_at", _("in the future"), "r.occurred_at > %(now)s + interval '1 day'")


def load(staged: Staged) -> Mapping[str, int]:
    """Into the inbox, from where campaigns settle the attempts; the same receipt again changes nothing."""
    ((total,),) = staged.fetch("SELECT count(*) FROM {rows}")
    new = staged.execute(INSERT)
    return {"new": new, "same": total - new}


RECEIPTS = ImportKind(
    label=gettext_lazy("Receipts"),
    columns=(
        CHANNEL,
        ImportColumn(
            "reference",
            gettext_lazy("Reference"),
            gettext_lazy("As in the exported list, or the provider's message id."),
            kind="identifier",
            longest=160,
            aliases=("回执编号", "任务编号", "message_id", "msgid", "bizid"),
        ),
        ImportColumn(
            "attempt_id",
            gettext_lazy("Attempt"),
            gettext_lazy("Our number of the attempt, where there is no reference."),
            kind="integer",
            aliases=("触达编号",),
        ),
        ImportColumn(
            "outcome",
            gettext_lazy("Outcome"),
            "",
            True,
            choices=tuple(map(str, Receipt)),
            synonyms=OUTCOMES,
            aliases=("结果", "状态", "status"),
        ),
        ImportColumn(
            "occurred_at",
            gettext_lazy("Time"),
            "",
            True,
            "datetime",
            aliases=("时间", "发送时间", "送达时间", "time", "date"),
        ),
        ImportColumn(
            "cost",
            gettext_lazy("Cost"),
            gettext_lazy("Of this message, if it differs from the price."),
            kind="decimal",
            aliases=("费用", "成本"),
        ),
        ImportColumn(
            "currency",
            gettext_lazy("Currency"),
            gettext_lazy("Empty: the channel's."),
            kind="identifier",
            longest=3,
            aliases=("币种",),
        ),
        ImportColumn(
            "code",
            gettext_lazy("Code"),
            gettext_lazy("The provider's reason."),
            longest=80,
            aliases=("原因", "错误码"),
        ),
        ImportColumn(
            "permanent",
            gettext_lazy("Address is gone"),
            gettext_lazy("Whether the address does not exist."),
            kind="boolean",
            aliases=("空号", "地址无效"),
        ),
    ),
    load=load,
    check=check,
    help=gettext_lazy("What became of messages sent by hand or by another tool: each settles its touch."),
    role="marketer",
    url_name="channels:inbox",
)
