"""Sets of campaigns that time moves on, and what a change or an end does to their rows."""

from datetime import datetime

from django.db import connection

START_DUE = """
UPDATE campaigns_campaign SET state = 'running', state_reason = '', updated_at = %(now)s
WHERE state = 'scheduled' AND starts_at <= %(now)s AND ends_at > %(now)s
RETURNING id
"""


def start_due(now: datetime) -> list[int]:
    """Scheduled campaigns whose flight has begun and is not over are running; their ids."""
    with connection.cursor() as cursor:
        cursor.execute(START_DUE, {"now": now})
        return [row[0] for row in cursor.fetchall()]


FINISH_DUE = """
WITH over AS (
    SELECT c.id FROM campaigns_campaign c
    WHERE c.state IN ('scheduled', 'running', 'paused') AND c.ends_at <= %(now)s
      AND NOT EXISTS (
          SELECT FROM campaigns_touch t
          WHERE t.campaign_id = c.id AND t.state IN ('planned', 'claimed', 'held'))
    FOR UPDATE OF c SKIP LOCKED
)
UPDATE campaigns_campaign c SET state = 'finished', finished_at = %(now)s, updated_at = %(now)s
FROM over WHERE c.id = over.id
RETURNING c.id
"""


def finish_due(now: datetime) -> list[int]:
    """Released campaigns whose flight is over and that have nothing open are finished; their ids."""
    with connection.cursor() as cursor:
        cursor.execute(FINISH_DUE, {"now": now})
        return [row[0] for row in cursor.fetchall()]


END_MEMBERS = """
UPDATE campaigns_member SET state = 'ended', state_at = %(now)s
WHERE campaign_id = %(campaign)s AND state IN ('active', 'waiting')
"""


def end_members(campaign_id: int, now: datetime) -> int:
    """Members whom nothing ended before are ended with their campaign."""
    with connection.cursor() as cursor:
        cursor.execute(END_MEMBERS, {"campaign": campaign_id, "now": now})
        return cursor.rowcount


# What a change took out is aimed at no more: the target of whoever loses a touch goes down with it, to what is
# approved now or, where more was handed over, to that. All counts are as before the statement.
RELEASE_WITHDRAWN = """
WITH gone AS (
    UPDATE campaigns_touch t SET state = 'released', reason = 'changed', deferred = '', state_at = %(now)s
    FROM campaigns_approved_ordinal o
    WHERE t.campaign_id = %(campaign)s AND t.state = 'planned'
      AND o.campaign_id = t.campaign_id AND o.channel_id = t.channel_id AND o.round = t.round
      AND o.stage = t.stage AND o.ordinal = t.ordinal AND o.withdrawn_at IS NOT NULL
    RETURNING t.customer_id, t.channel_id, t.round, t.stage
),
lost AS (
    SELECT customer_id, channel_id, round, stage, count(*) AS touches FROM gone GROUP BY 1, 2, 3, 4
),
kept AS (
    SELECT l.customer_id, l.channel_id, l.round, l.stage, count(*) - l.touches AS touches
    FROM lost l JOIN campaigns_touch t USING (customer_id, channel_id, round, stage)
    WHERE t.campaign_id = %(campaign)s AND t.reason <> 'changed'
    GROUP BY 1, 2, 3, 4, l.touches
),
approved AS (
    SELECT channel_id, round, stage, count(*) AS touches FROM campaigns_approved_ordinal
    WHERE campaign_id = %(campaign)s AND withdrawn_at IS NULL GROUP BY 1, 2, 3
),
lowered AS (
    UPDATE campaigns_member_target m
    SET planned = k.touches, target = greatest(k.touches, least(m.target, coalesce(a.touches, 0))),
        cause = CASE WHEN least(m.target, coalesce(a.touches, 0)) > k.touches THEN m.cause ELSE '' END
    FROM kept k LEFT JOIN approved a USING (channel_id, round, stage)
    WHERE m.campaign_id = %(campaign)s
      AND (m.customer_id, m.channel_id, m.round, m.stage) = (k.customer_id, k.channel_id, k.round, k.stage)
)
SELECT count(*) FROM gone
"""


def release_withdrawn(campaign_id: int, now: datetime) -> int:
    """Unsent touches beyond what is approved now are let go, and aimed at no more; how many.

    Only under :func:`campaigns.queries.release.hold`: who gives members more reads their touches first.
    """
    with connection.cursor() as cursor:
        cursor.execute(RELEASE_WITHDRAWN, {"campaign": campaign_id, "now": now})
        return int(cursor.fetchone()[0])


REPOINT = """
UPDATE campaigns_touch SET message_version_id = %(version)s
WHERE campaign_id = %(campaign)s AND channel_id = %(channel)s AND state = 'planned'
  AND message_version_id IS DISTINCT FROM %(version)s
  AND variant IN (SELECT number FROM campaigns_messagevariant WHERE version_id = %(version)s)
"""

REPOINT_FIRST = """
UPDATE campaigns_touch SET message_version_id = %(version)s,
    variant = (SELECT min(number) FROM campaigns_messagevariant WHERE version_id = %(version)s)
WHERE campaign_id = %(campaign)s AND channel_id = %(channel)s AND state = 'planned'
  AND message_version_id IS DISTINCT FROM %(version)s
"""


def repoint(campaign_id: int, channel_id: int, version_id: int) -> int:
    """Unsent touches of a channel get the words of another version; a variant it lacks becomes its first."""
    values = {"campaign": campaign_id, "channel": channel_id, "version": version_id}
    with connection.cursor() as cursor:
        cursor.execute(REPOINT, values)
        same = cursor.rowcount
        cursor.execute(REPOINT_FIRST, values)
        return same + cursor.rowcount


# A limit that a running campaign is given counts what went out, and is under way, without it.
SET_BUDGET = """
INSERT INTO campaigns_budget (campaign_id, channel_id, currency, amount, leased, spent)
SELECT %(campaign)s, %(channel)s, %(currency)s, %(amount)s, coalesce(used.leased, 0), coalesce(used.spent, 0)
FROM (
    SELECT sum(t.reserved) FILTER (WHERE t.state IN ('claimed', 'held')) AS leased, sum(t.cost) AS spent
    FROM campaigns_touch t
    WHERE t.campaign_id = %(campaign)s AND (%(channel)s::integer IS NULL OR t.channel_id = %(channel)s)
      AND NOT EXISTS (
          SELECT FROM campaigns_budget b
          WHERE b.campaign_id = %(campaign)s AND b.channel_id IS NOT DISTINCT FROM %(channel)s::integer)
) AS used
ON CONFLICT (campaign_id, channel_id) DO UPDATE SET amount = EXCLUDED.amount
"""


def set_budget(campaign_id: int, channel_id: int | None, currency: str, amount: str) -> int:
    """What may be spent over all (channel null) or on a channel; what is leased and spent stays, or is counted."""
    with connection.cursor() as cursor:
        cursor.execute(
            SET_BUDGET,
            {"campaign": campaign_id, "channel": channel_id, "currency": currency, "amount": amount},
        )
        return cursor.rowcount
