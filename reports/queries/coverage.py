"""Coverage as it is read: sums of counted cells, of one campaign or of all; and what platforms report."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.db import connection

# Cells and changes in one snapshot are what the rows of touches and targets say at that moment.
_CELLS = """
SELECT day, round, channel_id, stage, state, reason, touches, people, target, planned
FROM reports_coverageday WHERE campaign_id = %(campaign)s
UNION ALL
SELECT day, round, channel_id, stage, state, reason, touches, people, target, planned
FROM reports_coveragechange WHERE campaign_id = %(campaign)s
"""
OF_CAMPAIGN = f"""
WITH cell AS MATERIALIZED ({_CELLS})
SELECT NULL::date AS day, round, channel_id, stage, state, reason, sum(touches)::bigint AS touches,
       sum(people)::bigint AS people, sum(target)::bigint AS target, sum(planned)::bigint AS planned
FROM cell GROUP BY round, channel_id, stage, state, reason
UNION ALL
SELECT day, NULL, channel_id, NULL, state, reason, sum(touches)::bigint, 0, sum(target)::bigint, sum(planned)::bigint
FROM cell GROUP BY day, channel_id, state, reason
"""

FLIGHT = """
SELECT id FROM campaigns_campaign
WHERE state IN ('scheduled', 'running', 'paused', 'finished', 'reviewed')
  AND coalesce(ends_at, %(until)s) >= %(since)s AND coalesce(starts_at, %(since)s) <= %(until)s
"""

OVER_ALL = f"""
WITH flight AS MATERIALIZED ({FLIGHT}
), cell AS MATERIALIZED (
    SELECT campaign_id, day, channel_id, stage, state, reason, touches, target, planned
    FROM reports_coverageday WHERE campaign_id IN (SELECT id FROM flight)
    UNION ALL
    SELECT campaign_id, day, channel_id, stage, state, reason, touches, target, planned
    FROM reports_coveragechange WHERE campaign_id IN (SELECT id FROM flight)
)
SELECT campaign_id, channel_id, NULL AS stage, NULL::date AS day, state, reason, sum(touches)::bigint AS touches,
       sum(target)::bigint AS target, sum(planned)::bigint AS planned
FROM cell GROUP BY campaign_id, channel_id, state, reason
UNION ALL
SELECT NULL, NULL, stage, NULL, state, reason, sum(touches)::bigint, sum(target)::bigint, sum(planned)::bigint
FROM cell GROUP BY stage, state, reason
UNION ALL
SELECT NULL, NULL, NULL, day, state, reason, sum(touches)::bigint, sum(target)::bigint, sum(planned)::bigint
FROM cell GROUP BY day, state, reason
"""

REPORTED = """
SELECT r.channel_id, sum(r.exposures)::bigint AS exposures, sum(r.clicks)::bigint AS clicks, max(r.reach) AS reach,
       sum(r.reach)::bigint AS reach_of_days, max(r.frequency) AS frequency, sum(r.spend) AS spend,
       min(r.currency) AS currency, max(r.day) AS until
FROM (
    SELECT DISTINCT ON (channel_id, day, placement) *
    FROM channels_dailyreport
    WHERE campaign_id = %(campaign)s
    ORDER BY channel_id, day, placement, version DESC
) r
GROUP BY 1
"""


def rows(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a statement as dictionaries by column."""
    with connection.cursor() as cursor:
        cursor.execute(sql, dict(parameters))
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def of_campaign(campaign_id: int) -> list[dict[str, Any]]:
    """Sums of a campaign's cells: by round, channel and stage (``day`` null), and by day and channel."""
    return rows(OF_CAMPAIGN, {"campaign": campaign_id})


def over_all(since: dt.datetime, until: dt.datetime) -> list[dict[str, Any]]:
    """Sums of released campaigns whose flight meets a span: by campaign and channel, by stage, and by day."""
    return rows(OVER_ALL, {"since": since, "until": until})


def campaigns(since: dt.datetime, until: dt.datetime) -> list[int]:
    """Released campaigns whose flight meets a span, in the order of their ids."""
    return sorted(row["id"] for row in rows(FLIGHT, {"since": since, "until": until}))


def reported(campaign_id: int) -> dict[int, dict[str, Any]]:
    """What platforms report in aggregate, newest versions, by channel."""
    return {row["channel_id"]: row for row in rows(REPORTED, {"campaign": campaign_id})}
