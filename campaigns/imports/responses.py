"""Responses to campaigns that ran elsewhere, and responses another system tells of any campaign."""

from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from audiences.imports.kinds.people import CUSTOMER_COLUMNS, resolve_customers
from audiences.imports.staging import Staged
from audiences.registers import ImportColumn, ImportKind
from audiences.vocabulary import ResponseKind
from campaigns.imports.campaigns import NUMBER
from campaigns.imports.touches import check_campaign

COLUMNS = (
    NUMBER,
    *CUSTOMER_COLUMNS,
    ImportColumn("channel", _("Channel"), _("Its name here."), longest=120, aliases=("渠道",)),
    ImportColumn("kind", _("Kind"), required=True, choices=tuple(ResponseKind.values), aliases=("response", "响应")),
    ImportColumn("occurred_at", _("Occurred at"), kind="datetime", required=True, aliases=("time", "时间", "发生时间")),
    ImportColumn("value", _("Value"), kind="decimal", aliases=("amount", "金额")),
    ImportColumn("currency", _("Currency"), longest=3, aliases=("币种",)),
    ImportColumn("order_number", _("Order number"), kind="identifier", longest=80, aliases=("订单号",)),
    ImportColumn("order_source", _("Source of the order"), kind="identifier", longest=40),
    ImportColumn(
        "key", _("Key"), _("The other system's id of the response; empty: the row itself."), kind="identifier",
        longest=120, aliases=("response id", "event id", "事件编号"),
    ),
)  # fmt: skip


def check(staged: Staged) -> None:
    check_campaign(staged)
    resolve_customers(staged)
    staged.refuse(
        "channel",
        _t("no channel has this name; connect it first, by hand if it is another tool"),
        "r.channel IS NOT NULL AND NOT EXISTS (SELECT FROM channels_channel h WHERE h.name = r.channel)",
    )
    staged.refuse(
        "order_number",
        _t("no order has this number; load the orders first"),
        """r.order_number IS NOT NULL AND NOT EXISTS (SELECT FROM audiences_order o
            WHERE o.number = r.order_number AND o.source = coalesce(r.order_source, 'import'))""",
    )


# Without a key a row is known by its content, and equal rows by their number in the file. The touch it answers
# is the last one of the person in the campaign (on the channel, if told) before it.
KEYED = """
SELECT r.*, r.key AS source_key FROM {rows} r WHERE r.key IS NOT NULL
UNION ALL
SELECT r.*, md5(concat_ws('|', r.campaign, r.customer_id, r.channel, r.kind,
           r.occurred_at AT TIME ZONE 'UTC', r.value, r.order_number)) || '-' || row_number() OVER (
               PARTITION BY r.campaign, r.customer_id, r.channel, r.kind, r.occurred_at, r.value, r.order_number
               ORDER BY r.line) AS source_key
FROM {rows} r WHERE r.key IS NULL
"""

WRITE = """
INSERT INTO campaigns_response (customer_id, campaign_id, touch_id, channel_id, kind, occurred_at, received_at, machine,
                                value, currency, order_id, source, source_key, detail, import_batch_id)
SELECT k.customer_id, c.id, t.id, coalesce(h.id, t.channel_id), k.kind, k.occurred_at, %(now)s, false, k.value,
       CASE WHEN k.value IS NULL THEN '' ELSE upper(coalesce(k.currency, %(own)s)) END, o.id, 'import',
       c.id || ':' || k.source_key, '{}'::jsonb, %(batch)s
FROM {work:keyed} k
JOIN campaigns_campaign c ON c.number = k.campaign AND c.brand_id = %(brand)s
LEFT JOIN channels_channel h ON h.name = k.channel
LEFT JOIN audiences_order o ON o.number = k.order_number AND o.source = coalesce(k.order_source, 'import')
LEFT JOIN LATERAL (
    SELECT t.id, t.channel_id FROM campaigns_touch t
    WHERE t.campaign_id = c.id AND t.customer_id = k.customer_id AND t.state IN ('sent', 'delivered')
      AND (h.id IS NULL OR t.channel_id = h.id) AND t.state_at <= k.occurred_at
    ORDER BY t.state_at DESC, t.id DESC LIMIT 1
) t ON true
ORDER BY k.source_key COLLATE "C"  -- loads of the same keys at once meet in one order
ON CONFLICT (source, source_key) DO NOTHING
"""


def load(staged: Staged) -> dict[str, int]:
    total = staged.table("keyed", KEYED)
    new = staged.execute(WRITE, own=settings.DEFAULT_CURRENCY)
    return {"new": new, "changed": 0, "same": total - new}


def stored(staged: Staged) -> dict[str, Any]:
    """The values of these responses as they stand in our table."""
    # Joined by the response's own key: whatever the planner thinks of a fresh table, that is its unique index.
    found = staged.fetch(
        """SELECT coalesce(sum(r.value), 0) FROM (
            SELECT DISTINCT c.id || ':' || k.source_key AS source_key
            FROM {work:keyed} k JOIN campaigns_campaign c ON c.number = k.campaign AND c.brand_id = %(brand)s
        ) told JOIN campaigns_response r ON r.source = 'import' AND r.source_key = told.source_key"""
    )
    return {"value": found[0][0]}


def remove(batch_id: int) -> int:
    """Remove the responses this batch brought."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM campaigns_response WHERE import_batch_id = %s", [batch_id])
        return int(cursor.rowcount)


RESPONSES = ImportKind(
    label=_("Responses told elsewhere"),
    columns=COLUMNS,
    check=check,
    load=load,
    stored=stored,
    remove=remove,
    help=_("Clicks, redemptions, visits and other reactions, one row each."),
    sums=("value",),
    alone=False,
)
