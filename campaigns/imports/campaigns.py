"""Campaigns themselves: one row each, known by brand and number."""

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from audiences.imports.kinds.upsert import upsert
from audiences.imports.staging import Staged
from audiences.registers import ImportColumn, ImportKind

NUMBER = ImportColumn(
    "campaign", _("Campaign number"), _("The other system's; unique in the brand."), kind="identifier", longest=40,
    required=True, aliases=("campaign id", "campaign number", "活动编号", "活动号"),
)  # fmt: skip

COLUMNS = (
    NUMBER,
    ImportColumn("name", _("Name"), longest=160, required=True, aliases=("campaign name", "活动名称", "名称")),
    ImportColumn("starts_at", _("Starts at"), kind="datetime", required=True, aliases=("start", "start date", "开始时间")),
    ImportColumn(
        "ends_at", _("Ends at"), _("The first moment after it: the day after the last day."), kind="datetime",
        required=True, aliases=("end", "end date", "结束时间"),
    ),
    ImportColumn("zone", _("Time zone"), kind="zone", aliases=("时区",)),
    ImportColumn("currency", _("Currency"), longest=3, aliases=("币种",)),
    ImportColumn("budget", _("Budget"), kind="decimal", aliases=("预算",)),
    ImportColumn("margin_rate", _("Contribution margin"), _("As a share, such as 0.3."), kind="decimal"),
    ImportColumn("holdout_share", _("Holdout"), _("Share that was kept out, such as 0.1."), kind="decimal"),
    ImportColumn("attribution_days", _("Attribution window, days"), kind="integer"),
    ImportColumn("goal", _("Goal"), longest=2000, aliases=("目标",)),
)  # fmt: skip


def check(staged: Staged) -> None:
    staged.refuse("ends_at", _t("not after the start"), "r.ends_at <= r.starts_at")
    staged.refuse("budget", _t("below zero"), "r.budget < 0")
    staged.refuse("holdout_share", _t("must lie between 0 and 0.5"), "r.holdout_share NOT BETWEEN 0 AND 0.5")
    staged.refuse("margin_rate", _t("must lie between 0 and 1"), "r.margin_rate NOT BETWEEN 0 AND 1")
    staged.refuse(
        "attribution_days", _t("must lie between 1 and 365"), "r.attribution_days NOT BETWEEN 1 AND 365"
    )


def load(staged: Staged) -> dict[str, int]:
    """Campaigns with a phase and a round over their whole flight."""
    counts = upsert(
        staged,
        table="campaigns_campaign",
        key=("brand_id", "number"),
        values={
            "brand_id": str(int(staged.brand_id)),
            "number": "r.campaign",
            "name": "r.name",
            "kind": "'imported'",
            "goal": "coalesce(r.goal, '')",
            "state": "'finished'",
            "state_reason": "''",
            "starts_at": "r.starts_at",
            "ends_at": "r.ends_at",
            "zone": f"coalesce(r.zone, '{staged.options.get('zone') or settings.TIME_ZONE}')",
            "currency": f"upper(coalesce(r.currency, '{settings.DEFAULT_CURRENCY}'))",
            "budget": "r.budget",
            "objective": "'coverage'",
            "priority": "50",
            "holdout_share": "coalesce(r.holdout_share, 0)",
            "joiner_share": "0",
            "margin_rate": "coalesce(r.margin_rate, 0.3)",
            "conversion_value": "100",
            "silent_touches": "1",
            "exit_on": "'[]'::jsonb",
            "cadence": "'{}'::jsonb",
            "attribution_days": "coalesce(r.attribution_days, 7)",
            "revenue_basis": "'net'",
            "seed": "0",
            "version": "1",
            "released_at": "r.starts_at",
            "finished_at": "r.ends_at",
            "import_batch_id": str(int(staged.batch.pk)),
            "review": "''",
            "created_at": "now()",
            "updated_at": "now()",
            "created_by_id": str(staged.batch.created_by_id) if staged.batch.created_by_id else "NULL",
        },
        changes={
            "name": "r.name",
            "goal": "r.goal",
            "budget": "round(r.budget, 4)",
            "holdout_share": "round(r.holdout_share, 4)",
            "margin_rate": "round(r.margin_rate, 4)",
            "attribution_days": "r.attribution_days",
        },
    )
    staged.execute(
        """INSERT INTO campaigns_phase (campaign_id, position, name, starts_at, ends_at)
        SELECT c.id, 0, %(phase)s, c.starts_at, c.ends_at
        FROM campaigns_campaign c
        WHERE c.brand_id = %(brand)s AND c.kind = 'imported' AND c.number IN (SELECT campaign FROM {rows})
        ON CONFLICT DO NOTHING""",
        phase=_t("As it ran"),
    )
    staged.execute(
        """INSERT INTO campaigns_round (campaign_id, number, phase_id, starts_at, ends_at)
        SELECT c.id, 1, p.id, c.starts_at, c.ends_at
        FROM campaigns_campaign c JOIN campaigns_phase p ON p.campaign_id = c.id
        WHERE c.brand_id = %(brand)s AND c.kind = 'imported' AND c.number IN (SELECT campaign FROM {rows})
        ON CONFLICT DO NOTHING"""
    )
    return counts


# Imported touches stand among the recent contacts under minus their id.
FORGET_CONTACTS = """
WITH gone AS MATERIALIZED (
    SELECT coalesce(c.merged_into_id, c.id) AS customer_id, array_agg(-t.id) AS ids
    FROM campaigns_touch t JOIN audiences_customer c ON c.id = t.customer_id
    WHERE t.campaign_id IN (SELECT id FROM campaigns_campaign WHERE import_batch_id = %(batch)s)
    GROUP BY 1
), locked AS MATERIALIZED (
    SELECT s.customer_id, s.recent_attempts, s.recent_channels, s.recent_at FROM audiences_contactstate s
    JOIN gone USING (customer_id)
    WHERE s.recent_attempts && gone.ids
    ORDER BY s.customer_id FOR NO KEY UPDATE OF s
), kept AS MATERIALIZED (
    SELECT l.customer_id,
           coalesce(array_agg(u.attempt ORDER BY u.n) FILTER (WHERE u.attempt <> ALL (g.ids)), '{}') AS attempts,
           coalesce(array_agg(u.channel ORDER BY u.n) FILTER (WHERE u.attempt <> ALL (g.ids)), '{}') AS channels,
           coalesce(array_agg(u.at ORDER BY u.n) FILTER (WHERE u.attempt <> ALL (g.ids)), '{}') AS at
    FROM locked l
    JOIN gone g USING (customer_id)
    CROSS JOIN unnest(l.recent_attempts, l.recent_channels, l.recent_at) WITH ORDINALITY AS u(attempt, channel, at, n)
    GROUP BY l.customer_id
)
UPDATE audiences_contactstate s
SET recent_attempts = k.attempts, recent_channels = k.channels, recent_at = k.at
FROM kept k WHERE s.customer_id = k.customer_id
"""

OF_BATCH = "campaign_id IN (SELECT id FROM campaigns_campaign WHERE import_batch_id = %(batch)s)"


def remove(batch_id: int) -> int:
    """Remove the campaigns a batch brought, with all their rows; the places they took are given back.

    What finance posted for them stays in the ledger.
    """
    with connection.cursor() as cursor:
        cursor.execute(FORGET_CONTACTS, {"batch": batch_id})
        for table in ("response", "attempt", "touch", "member_target", "member", "round", "phase"):
            cursor.execute(f"DELETE FROM campaigns_{table} WHERE {OF_BATCH}", {"batch": batch_id})
        cursor.execute(
            "SELECT id FROM campaigns_campaign WHERE import_batch_id = %(batch)s", {"batch": batch_id}
        )
        gone = [pk for (pk,) in cursor.fetchall()]
        cursor.execute("DELETE FROM campaigns_campaign WHERE id = ANY(%(gone)s)", {"gone": gone})
        # Approved ordinals of a campaign that is there are never deleted: they go last.
        cursor.execute(
            "DELETE FROM campaigns_approved_ordinal WHERE campaign_id = ANY(%(gone)s)", {"gone": gone}
        )
    return len(gone)


CAMPAIGNS = ImportKind(
    label=_("Campaigns that ran elsewhere"),
    columns=COLUMNS,
    check=check,
    load=load,
    remove=remove,
    help=_(
        "One row a campaign. Load it before its touches and responses; it gets the same reports as one that ran here."
    ),
    sums=("budget",),
)
