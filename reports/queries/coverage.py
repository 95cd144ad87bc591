"""Target, planned, reached, over, gap by cause, released: of one campaign, and over all."""

from collections.abc import Mapping
from typing import Any

from django.db import connection

# Absorbed customers keep their rows, so a person is counted as the campaign saw them at entry.
TARGETS = """
SELECT t.round, t.channel_id, t.stage, t.cause,
       count(*) AS people, sum(t.target) AS target, sum(t.planned) AS planned
FROM campaigns_member_target t
WHERE t.campaign_id = %(campaign)s
GROUP BY 1, 2, 3, 4
"""

TOUCHES = """
SELECT t.round, t.channel_id, t.stage, t.state, t.reason, count(*) AS touches
FROM campaigns_touch t
WHERE t.campaign_id = %(campaign)s
GROUP BY 1, 2, 3, 4, 5
"""

PEOPLE = """
WITH person AS (
    SELECT t.customer_id, sum(t.target) AS target
    FROM campaigns_member_target t
    WHERE t.campaign_id = %(campaign)s
    GROUP BY 1
), reached AS (
    SELECT t.customer_id, count(*) AS touches
    FROM campaigns_touch t
    WHERE t.campaign_id = %(campaign)s AND t.state IN ('sent', 'delivered')
    GROUP BY 1
)
SELECT p.target, coalesce(r.touches, 0) AS received, count(*) AS people
FROM person p
LEFT JOIN reached r USING (customer_id)
GROUP BY 1, 2
ORDER BY 1, 2
"""

DAYS = """
SELECT (t.due_at AT TIME ZONE c.zone)::date AS day, t.channel_id,
       count(*) AS planned,
       count(*) FILTER (WHERE t.state IN ('sent', 'delivered')) AS reached,
       count(*) FILTER (WHERE t.state = 'gap') AS gap
FROM campaigns_touch t
JOIN campaigns_campaign c ON c.id = t.campaign_id
WHERE t.campaign_id = %(campaign)s
GROUP BY 1, 2
ORDER BY 1, 2
"""

# Contacts are counted for the survivor of a merge: it is the person who was hit.
CONTACTS_OF_PEOPLE = """
WITH contact AS (
    SELECT coalesce(c.merged_into_id, c.id) AS person, count(*) AS contacts
    FROM campaigns_attempt a
    JOIN audiences_customer c ON c.id = a.customer_id
    WHERE a.state IN ('accepted', 'delivered') AND coalesce(a.sent_at, a.started_at) >= %(since)s
    GROUP BY 1
)
SELECT contacts, count(*) AS people FROM contact GROUP BY 1 ORDER BY 1
"""

# One touch of a round is over when its ordinal is beyond what was approved; a foreign key forbids it, and
# this counts all the same, from the rows themselves. Ordinals are unique, so whoever got more than the target
# has an ordinal beyond it: only they are counted through.
OVER_BY_US = """
WITH beyond AS (
    SELECT DISTINCT t.customer_id, t.channel_id, t.round, m.target
    FROM campaigns_touch t
    JOIN campaigns_member_target m USING (campaign_id, customer_id, channel_id, round)
    WHERE t.campaign_id = %(campaign)s AND t.state IN ('sent', 'delivered', 'unknown') AND t.ordinal > m.target
)
SELECT coalesce(sum(greatest(r.touches - b.target, 0)), 0)
FROM beyond b
JOIN LATERAL (
    SELECT count(*) AS touches FROM campaigns_touch t
    WHERE t.campaign_id = %(campaign)s AND t.customer_id = b.customer_id AND t.channel_id = b.channel_id
      AND t.round = b.round AND t.state IN ('sent', 'delivered', 'unknown')
) r ON true
"""

# Two members of one campaign who turned out to be one person: over that a merge reveals. It begins with the
# absorbed members, who are few, and never looks at the touches of anybody else.
OVER_BY_MERGE = """
WITH merged AS (
    SELECT DISTINCT c.merged_into_id AS person
    FROM audiences_customer c
    JOIN campaigns_member m ON m.campaign_id = %(campaign)s AND m.customer_id = c.id
    WHERE c.merged_into_id IS NOT NULL
), same AS (
    SELECT person, person AS customer_id FROM merged
    UNION ALL
    SELECT c.merged_into_id, c.id FROM audiences_customer c JOIN merged ON merged.person = c.merged_into_id
), received AS (
    SELECT s.person, t.channel_id, t.round, count(*) AS touches
    FROM same s
    JOIN campaigns_touch t ON t.campaign_id = %(campaign)s AND t.customer_id = s.customer_id
    WHERE t.state IN ('sent', 'delivered', 'unknown')
    GROUP BY 1, 2, 3
    HAVING count(DISTINCT t.customer_id) > 1
), target AS (
    SELECT s.person, m.channel_id, m.round, max(m.target) AS target
    FROM same s
    JOIN campaigns_member_target m ON m.campaign_id = %(campaign)s AND m.customer_id = s.customer_id
    GROUP BY 1, 2, 3
)
SELECT coalesce(sum(greatest(r.touches - t.target, 0)), 0)
FROM received r JOIN target t USING (person, channel_id, round)
"""

MEMBERS = """
SELECT count(*) AS members, count(*) FILTER (WHERE held_out) AS held_out,
       count(*) FILTER (WHERE state = 'exited') AS exited,
       count(*) FILTER (WHERE state = 'waiting') AS waiting
FROM campaigns_member WHERE campaign_id = %(campaign)s
"""

REPORTED = """
SELECT r.channel_id, sum(r.exposures) AS exposures, sum(r.clicks) AS clicks, max(r.reach) AS reach,
       max(r.frequency) AS frequency, sum(r.spend) AS spend, min(r.currency) AS currency, max(r.day) AS until
FROM (
    SELECT DISTINCT ON (channel_id, day, placement) *
    FROM channels_dailyreport
    WHERE campaign_id = %(campaign)s
    ORDER BY channel_id, day, placement, version DESC
) r
GROUP BY 1
"""

AUDIENCES = """
SELECT a.channel_id, count(*) FILTER (WHERE m.wanted) AS wanted, count(*) FILTER (WHERE m.held) AS held,
       max(a.platform_size) AS platform_size, max(a.last_synced_at) AS synced_at
FROM channels_platformaudience a
JOIN channels_platformaudiencemember m ON m.audience_id = a.id
WHERE a.campaign_id = %(campaign)s
GROUP BY 1
"""


def rows(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a statement as dictionaries by column."""
    with connection.cursor() as cursor:
        cursor.execute(sql, dict(parameters))
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def targets(campaign_id: int) -> list[dict[str, Any]]:
    """People, target and planned touches by round, channel, stage and cause of the shortfall."""
    return rows(TARGETS, {"campaign": campaign_id})


def touches(campaign_id: int) -> list[dict[str, Any]]:
    """Touches by round, channel, stage, state and reason."""
    return rows(TOUCHES, {"campaign": campaign_id})


def people(campaign_id: int) -> list[dict[str, Any]]:
    """How many people have which target and received how many touches."""
    return rows(PEOPLE, {"campaign": campaign_id})


def days(campaign_id: int) -> list[dict[str, Any]]:
    """Touches planned, reached and missed by day (of the campaign's zone) and channel."""
    return rows(DAYS, {"campaign": campaign_id})


def contacts_of_people(since: Any) -> list[dict[str, Any]]:
    """How many people were contacted how often since a moment, over all campaigns."""
    return rows(CONTACTS_OF_PEOPLE, {"since": since})


def over(campaign_id: int) -> dict[str, int]:
    """Touches beyond the target: by us (must be 0), and revealed by merges."""
    parameters = {"campaign": campaign_id}
    with connection.cursor() as cursor:
        cursor.execute(OVER_BY_US, parameters)
        by_us = cursor.fetchone()[0]
        cursor.execute(OVER_BY_MERGE, parameters)
        return {"by_us": int(by_us), "merge": int(cursor.fetchone()[0])}


def members(campaign_id: int) -> dict[str, Any]:
    """Members, held out, exited and waiting."""
    return rows(MEMBERS, {"campaign": campaign_id})[0]


def reported(campaign_id: int) -> dict[int, dict[str, Any]]:
    """What platforms report in aggregate, newest versions, by channel."""
    return {row["channel_id"]: row for row in rows(REPORTED, {"campaign": campaign_id})}


def audiences(campaign_id: int) -> dict[int, dict[str, Any]]:
    """People wanted in and held by platform audiences, by channel."""
    return {row["channel_id"]: row for row in rows(AUDIENCES, {"campaign": campaign_id})}
