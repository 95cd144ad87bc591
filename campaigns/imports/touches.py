"""Touches of campaigns that ran elsewhere: who was contacted when, by which channel, at what cost."""

from django.db import connection
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from audiences.imports.kinds.people import CUSTOMER_COLUMNS, resolve_customers
from audiences.imports.staging import Staged
from audiences.registers import ImportColumn, ImportKind
from campaigns import pressure
from campaigns.imports.campaigns import NUMBER

OUTCOMES = ("sent", "delivered", "bounced", "refused")

COLUMNS = (
    NUMBER,
    *CUSTOMER_COLUMNS,
    ImportColumn("channel", _("Channel"), _("Its name here."), longest=120, aliases=("渠道",)),
    ImportColumn("sent_at", _("Sent at"), kind="datetime", aliases=("contacted at", "date", "发送时间", "触达时间")),
    ImportColumn("outcome", _("Outcome"), _("Sent when empty."), choices=OUTCOMES, aliases=("结果", "状态")),
    ImportColumn("cost", _("Cost"), _("Of this touch, in the channel's currency."), kind="decimal", aliases=("费用",)),
    ImportColumn("arm", _("Arm"), longest=40, aliases=("variant", "组别", "实验组")),
    ImportColumn(
        "held_out", _("Held out"), _("Yes: kept out to measure lift; such a row has no channel and no time."),
        kind="boolean", aliases=("holdout", "control", "对照组"),
    ),
)  # fmt: skip

_CAMPAIGN = "SELECT FROM campaigns_campaign c WHERE c.number = r.campaign AND c.brand_id = %(brand)s"


def check_campaign(staged: Staged) -> None:
    staged.refuse(
        "campaign", _t("no campaign has this number; load the campaigns first"), f"NOT EXISTS ({_CAMPAIGN})"
    )


def check(staged: Staged) -> None:
    check_campaign(staged)
    resolve_customers(staged)
    staged.refuse("channel", _t("missing"), "r.channel IS NULL AND r.held_out IS NOT TRUE")
    staged.refuse("sent_at", _t("missing"), "r.sent_at IS NULL AND r.held_out IS NOT TRUE")
    staged.refuse(
        "channel",
        _t("no channel has this name; connect it first, by hand if it is another tool"),
        "r.channel IS NOT NULL AND NOT EXISTS (SELECT FROM channels_channel h WHERE h.name = r.channel)",
    )
    staged.refuse("cost", _t("below zero"), "r.cost < 0")
    staged.refuse(
        "held_out",
        _t("this customer stands in the campaign both as held out and as contacted"),
        """(r.campaign, r.customer_id) IN (
            SELECT campaign, customer_id FROM {rows} GROUP BY 1, 2
            HAVING bool_or(held_out IS TRUE) AND bool_or(held_out IS NOT TRUE))
        OR EXISTS (
            SELECT FROM campaigns_campaign c JOIN campaigns_member m ON m.campaign_id = c.id
            WHERE c.number = r.campaign AND c.brand_id = %(brand)s AND m.customer_id = r.customer_id
              AND m.held_out <> (r.held_out IS TRUE))""",
    )


# A touch is known by campaign, customer, channel and time; equal ones in one file count by their number.
NEW = """
SELECT r.line, c.id AS campaign_id, r.customer_id, h.id::int AS channel_id, r.sent_at, r.outcome, r.cost, m.stage,
       coalesce(t.planned, 0) + row_number() OVER (
           PARTITION BY c.id, r.customer_id, h.id ORDER BY r.sent_at, r.line) AS ordinal
FROM (
    SELECT r.*, row_number() OVER (PARTITION BY r.campaign, r.customer_id, r.channel, r.sent_at ORDER BY r.line) AS nth
    FROM {rows} r WHERE r.held_out IS NOT TRUE
) r
JOIN campaigns_campaign c ON c.number = r.campaign AND c.brand_id = %(brand)s
JOIN channels_channel h ON h.name = r.channel
JOIN campaigns_member m ON m.campaign_id = c.id AND m.customer_id = r.customer_id
LEFT JOIN campaigns_member_target t
    ON t.campaign_id = c.id AND t.customer_id = r.customer_id AND t.channel_id = h.id AND t.round = 1
LEFT JOIN (
    SELECT k.campaign_id, k.customer_id, k.channel_id, k.due_at, count(*) AS n
    FROM campaigns_touch k
    WHERE k.campaign_id IN (SELECT id FROM campaigns_campaign WHERE number IN (SELECT campaign FROM {rows}))
    GROUP BY 1, 2, 3, 4
) known ON known.campaign_id = c.id AND known.customer_id = r.customer_id AND known.channel_id = h.id
    AND known.due_at = r.sent_at
WHERE r.nth > coalesce(known.n, 0)
"""

MEMBERS = """
WITH made AS (
INSERT INTO campaigns_member (campaign_id, customer_id, stage, held_out, arm, zone, state, entered_at, state_at)
SELECT DISTINCT ON (c.id, r.customer_id) c.id, r.customer_id, p.stage, r.held_out IS TRUE, coalesce(r.arm, ''), p.zone,
       'ended', c.starts_at, c.starts_at
FROM {rows} r
JOIN campaigns_campaign c ON c.number = r.campaign AND c.brand_id = %(brand)s
JOIN audiences_customer p ON p.id = r.customer_id
ORDER BY c.id, r.customer_id, r.line
ON CONFLICT DO NOTHING RETURNING held_out
)
SELECT count(*), count(*) FILTER (WHERE held_out) FROM made
"""

APPROVED = """
INSERT INTO campaigns_approved_ordinal (campaign_id, channel_id, round, stage, ordinal, version)
SELECT DISTINCT campaign_id, channel_id, 1, stage, ordinal, 1 FROM {work:new}
ON CONFLICT DO NOTHING
"""

TARGETS = """
INSERT INTO campaigns_member_target AS t (campaign_id, customer_id, channel_id, round, stage, target, planned)
SELECT campaign_id, customer_id, channel_id, 1, stage, max(ordinal), max(ordinal) FROM {work:new}
GROUP BY 1, 2, 3, 5
ON CONFLICT (campaign_id, customer_id, channel_id, round, stage)
DO UPDATE SET target = excluded.target, planned = excluded.planned
"""

WRITE_TOUCHES = """
INSERT INTO campaigns_touch (campaign_id, customer_id, channel_id, round, ordinal, stage, due_at, deadline_at, state,
                             reason, attempts, cost, state_at)
SELECT campaign_id, customer_id, channel_id, 1, ordinal, stage, sent_at, sent_at,
       CASE coalesce(outcome, 'sent') WHEN 'sent' THEN 'sent' WHEN 'delivered' THEN 'delivered' ELSE 'gap' END,
       CASE WHEN outcome IN ('bounced', 'refused') THEN outcome ELSE '' END, 1, coalesce(round(cost, 6), 0), sent_at
FROM {work:new}
"""

ATTEMPTS = """
INSERT INTO campaigns_attempt (campaign_id, touch_id, n, customer_id, channel_id, state, reference, cost, worker,
                               started_at, sent_at, settled_at)
SELECT t.campaign_id, t.id, 1, t.customer_id, t.channel_id,
       CASE coalesce(n.outcome, 'sent') WHEN 'sent' THEN 'accepted' ELSE n.outcome END,
       'import-' || %(batch)s || '-' || n.line, t.cost, 'import', n.sent_at, n.sent_at, n.sent_at
FROM {work:new} n
JOIN campaigns_touch t ON t.campaign_id = n.campaign_id AND t.customer_id = n.customer_id
    AND t.channel_id = n.channel_id AND t.round = 1 AND t.ordinal = n.ordinal
"""


def load(staged: Staged) -> dict[str, int]:
    """Members first, then targets, touches and attempts; recent ones take their place in the contact policy."""
    total = int(staged.fetch("SELECT count(*) FROM {rows}")[0][0])
    members, held_out = staged.fetch(MEMBERS)[0]
    staged.table("new", NEW)
    staged.execute(APPROVED)
    staged.execute(TARGETS)
    new = staged.execute(WRITE_TOUCHES)
    staged.execute(ATTEMPTS)
    for (campaign_id,) in staged.fetch("SELECT DISTINCT campaign_id FROM {work:new} ORDER BY 1"):
        pressure.count_imported(campaign_id, staged.now)
    staged.counts["members"] = int(members)
    if new > 1_000:  # without statistics the planner takes a new campaign for a few rows
        with connection.cursor() as cursor:
            cursor.execute(
                "ANALYZE campaigns_member, campaigns_member_target, campaigns_touch, campaigns_attempt"
            )
    return {"new": new + held_out, "changed": 0, "same": total - new - held_out}


TOUCHES = ImportKind(
    label=_("Touches made elsewhere"),
    columns=COLUMNS,
    check=check,
    load=load,
    help=_("One row a contact of a campaign that ran elsewhere. Recent ones count in the contact policy."),
    sums=("cost",),
)
