"""Daily reports from a file: what a platform, an agency or a KOL reports of a day. Every version is kept."""

from collections.abc import Mapping
from typing import Any

from django.db import connection
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from audiences.imports.staging import Staged
from audiences.registers import ImportColumn, ImportKind
from channels.loads.naming import CHANNEL, resolve_channels

COLUMNS = (
    CHANNEL,
    ImportColumn(
        "day",
        gettext_lazy("Day"),
        gettext_lazy("Of the account's zone."),
        True,
        "date",
        aliases=("日期", "date", "统计日期", "stat_time_day", "date_start"),
    ),
    ImportColumn(
        "placement",
        gettext_lazy("Placement"),
        gettext_lazy("The platform's campaign, keyword, post or KOL; empty for the account as a whole."),
        longest=160,
        aliases=("投放", "计划", "计划名称", "推广计划", "kol", "达人", "关键词", "campaign"),
    ),
    ImportColumn(
        "campaign_id",
        gettext_lazy("Our campaign"),
        gettext_lazy("Its number here."),
        kind="integer",
        aliases=("活动编号",),
    ),
    ImportColumn(
        "currency",
        gettext_lazy("Currency"),
        gettext_lazy("Empty: the channel's."),
        kind="identifier",
        longest=3,
        aliases=("币种", "货币"),
    ),
    ImportColumn(
        "spend",
        gettext_lazy("Spend"),
        required=True,
        kind="decimal",
        aliases=("消耗", "花费", "消费", "费用", "cost", "stat_cost", "fee", "金额"),
    ),
    ImportColumn(
        "exposures",
        gettext_lazy("Exposures"),
        kind="integer",
        aliases=(
            "曝光",
            "曝光量",
            "展现",
            "展现量",
            "impressions",
            "impression",
            "show_cnt",
            "view_count",
            "pv",
        ),
    ),
    ImportColumn(
        "clicks", gettext_lazy("Clicks"), kind="integer", aliases=("点击", "点击量", "click", "click_cnt")
    ),
    ImportColumn("reach", gettext_lazy("Reach"), kind="integer", aliases=("触达", "触达人数", "覆盖人数")),
    ImportColumn("frequency", gettext_lazy("Frequency"), kind="decimal", aliases=("频次", "人均频次")),
    ImportColumn(
        "conversions", gettext_lazy("Conversions"), kind="decimal", aliases=("转化", "转化数", "成交数")
    ),
)
VALUES = ("currency", "spend", "exposures", "clicks", "reach", "frequency", "conversions", "campaign_id")
COUNTS = ("exposures", "clicks", "reach", "frequency", "conversions", "campaign_id")

DECIDED = """
SELECT r.line, r.channel_id, r.day, coalesce(r.placement, '') AS placement, {values},
       coalesce(known.version, 0) + 1 AS version,
       known.id IS NULL OR ({values_row}) IS DISTINCT FROM ({known_row}) AS differs
FROM {{rows}} r
JOIN channels_channel channel ON channel.id = r.channel_id
LEFT JOIN LATERAL (
    SELECT * FROM channels_dailyreport d
    WHERE d.channel_id = r.channel_id AND d.day = r.day AND d.placement = coalesce(r.placement, '')
    ORDER BY d.version DESC LIMIT 1
) known ON true
"""

INSERT = """
INSERT INTO channels_dailyreport (
    channel_id, day, placement, version, campaign_id, currency, spend, exposures, clicks, reach, frequency, conversions,
    source, fetched_at, import_batch_id
)
SELECT channel_id, day, placement, version, campaign_id, currency, spend, exposures, clicks, reach, frequency, conversions,
       %(source)s, %(now)s, %(batch)s
FROM {work:decided} WHERE differs
"""

STORED = """
SELECT coalesce(sum(d.spend), 0), coalesce(sum(d.exposures), 0), coalesce(sum(d.clicks), 0)
FROM {work:decided} w
JOIN channels_dailyreport d ON d.channel_id = w.channel_id AND d.day = w.day AND d.placement = w.placement
WHERE d.version = (SELECT max(version) FROM channels_dailyreport o
                   WHERE o.channel_id = d.channel_id AND o.day = d.day AND o.placement = d.placement)
"""


def check(staged: Staged) -> None:
    resolve_channels(staged)
    key = "r.channel_id, r.day, coalesce(r.placement, '')"
    staged.table(
        "repeated",
        f"SELECT r.line FROM (SELECT r.line, row_number() OVER (PARTITION BY {key} ORDER BY r.line) AS n "
        "FROM {rows} r) r WHERE r.n > 1",
    )
    staged.refuse(
        "day",
        _("the same channel, day and placement stand in an earlier row"),
        "r.line IN (SELECT line FROM {work:repeated})",
    )
    staged.refuse("spend", _("less than 0"), "r.spend < 0")
    staged.refuse(
        "currency",
        _("a currency has three letters, such as CNY"),
        "r.currency IS NOT NULL AND r.currency !~* '^[a-z]{3}$'",
    )
    for column in COUNTS:
        staged.refuse(column, _("less than 0"), f"r.{column} < 0")


def load(staged: Staged) -> Mapping[str, int]:
    """A row that differs from the newest version becomes the next one; the same row again changes nothing."""
    taken = {
        "currency": "upper(coalesce(r.currency, channel.currency))",
        "spend": "round(r.spend, 4)",
        # A file that says nothing of our campaign leaves what was known.
        "campaign_id": "coalesce(r.campaign_id, known.campaign_id)",
        "frequency": "r.frequency::double precision" if staged.has("frequency") else "known.frequency",
        "conversions": "round(r.conversions, 4)" if staged.has("conversions") else "known.conversions",
    }
    for column in ("exposures", "clicks", "reach"):
        taken[column] = f"r.{column}" if staged.has(column) else f"known.{column}"
    sql = DECIDED.format(
        values=", ".join(f"{taken[name]} AS {name}" for name in VALUES),
        values_row=", ".join(taken[name] for name in VALUES),
        known_row=", ".join(f"known.{name}" for name in VALUES),
    )
    total = staged.table("decided", sql)
    ((new,),) = staged.fetch("SELECT count(*) FROM {work:decided} WHERE differs AND version = 1")
    inserted = staged.execute(INSERT, source=f"file {staged.batch.name}"[:160])
    return {"new": new, "changed": inserted - new, "same": total - inserted}


def stored(staged: Staged) -> Mapping[str, Any]:
    """Totals of the current versions of what was loaded."""
    return dict(zip(SUMS, staged.fetch(STORED)[0], strict=True))


def remove(batch_id: int) -> int:
    """The versions this file brought; what was known before is current again."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM channels_dailyreport WHERE import_batch_id = %s", [batch_id])
        return cursor.rowcount


SUMS = ("spend", "exposures", "clicks")
SPEND = ImportKind(
    label=gettext_lazy("Spend (daily reports)"),
    columns=COLUMNS,
    load=load,
    check=check,
    stored=stored,
    help=gettext_lazy(
        "What a platform, an agency or a KOL reports of a day, one row for each placement. "
        "Load it again when figures settle: every version is kept."
    ),
    role="channel_admin",
    sums=SUMS,
    remove=remove,
    url_name="channels:spend",
)
