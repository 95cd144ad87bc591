"""Coverage as counted cells: what is counted, folded, counted anew from the rows, and held against them.

A figure is the sum over ``reports_coverageday`` and ``reports_coveragechange`` in one snapshot, and so agrees with
touches and targets at any moment: the difference is written by the statement that makes it (migration 0003).

Rejected: counting a campaign anew whenever it changed (seconds a minute for each running campaign of 10 million
touches); noting changed days only (finding the touches of a day is a scan of all: no index on touches by due
time, which every claim would have to keep).
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from reports.models.coverage import NO_DAY

LOCK_SPACE = 730_145  # first half of the advisory locks of counting; the second is the campaign
KEY = "campaign_id, day, round, channel_id, stage, state, reason"
SUMS = "touches, people, target, planned"

# The definition of what is counted, from the rows. {day} narrows to one day of the campaign's zone.
TOUCHES = """
SELECT q.campaign_id, (q.due AT TIME ZONE c.zone)::date AS day, q.round, q.channel_id, q.stage, q.state, q.reason,
       sum(q.touches)::bigint AS touches, 0::bigint AS people, 0::bigint AS target, 0::bigint AS planned
FROM (
    SELECT t.campaign_id, date_bin('15 minutes', t.due_at, '2000-01-01Z') AS due, t.round, t.channel_id, t.stage,
           t.state, t.reason, count(*) AS touches
    FROM campaigns_touch t
    WHERE t.campaign_id = %(campaign)s {day}
    GROUP BY 1, 2, 3, 4, 5, 6, 7
) AS q
JOIN campaigns_campaign c ON c.id = q.campaign_id
GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
OF_DAY = """AND t.due_at >= %(day)s::timestamp AT TIME ZONE %(zone)s
      AND t.due_at < (%(day)s::date + 1)::timestamp AT TIME ZONE %(zone)s"""
TARGETS = """
SELECT m.campaign_id, '0001-01-01'::date AS day, m.round, m.channel_id, m.stage, '' AS state, m.cause AS reason,
       0::bigint AS touches, count(*) FILTER (WHERE m.target > 0) AS people, sum(m.target)::bigint AS target,
       sum(m.planned)::bigint AS planned
FROM campaigns_member_target m
WHERE m.campaign_id = %(campaign)s
GROUP BY 1, 3, 4, 5, 7
"""
LIVE = TOUCHES.format(day="") + "UNION ALL" + TARGETS
LIVE_OF_DAY = TOUCHES.format(day=OF_DAY)

FOLD = f"""
WITH taken AS (
    DELETE FROM reports_coveragechange WHERE campaign_id = %(campaign)s RETURNING {KEY}, {SUMS}
)
INSERT INTO reports_coverageday AS d ({KEY}, {SUMS})
SELECT {KEY}, sum(touches), sum(people), sum(target), sum(planned)
FROM taken GROUP BY {KEY}
HAVING sum(touches) <> 0 OR sum(people) <> 0 OR sum(target) <> 0 OR sum(planned) <> 0
ON CONFLICT ({KEY}) DO UPDATE
SET touches = d.touches + excluded.touches, people = d.people + excluded.people, target = d.target + excluded.target,
    planned = d.planned + excluded.planned
"""

# One statement, so one snapshot: rows, cells and changes as of the same moment. What others change meanwhile
# stays as a change of its own.
RECOUNT = f"""
WITH seen AS MATERIALIZED ({{live}}),
folded AS (
    DELETE FROM reports_coveragechange WHERE campaign_id = %(campaign)s {{only}}
),
gone AS (
    DELETE FROM reports_coverageday d
    WHERE d.campaign_id = %(campaign)s {{only}} AND NOT EXISTS (
        SELECT FROM seen s
        WHERE (s.campaign_id, s.day, s.round, s.channel_id, s.stage, s.state, s.reason)
            = (d.campaign_id, d.day, d.round, d.channel_id, d.stage, d.state, d.reason))
)
INSERT INTO reports_coverageday ({KEY}, {SUMS})
SELECT {KEY}, {SUMS} FROM seen
ON CONFLICT ({KEY}) DO UPDATE
SET touches = excluded.touches, people = excluded.people, target = excluded.target, planned = excluded.planned
"""

COUNTED = f"""
SELECT {KEY}, sum(touches)::bigint AS touches, sum(people)::bigint AS people, sum(target)::bigint AS target,
       sum(planned)::bigint AS planned
FROM (
    SELECT {KEY}, {SUMS} FROM reports_coverageday WHERE campaign_id = %(campaign)s
    UNION ALL
    SELECT {KEY}, {SUMS} FROM reports_coveragechange WHERE campaign_id = %(campaign)s
) AS c
GROUP BY {KEY}
HAVING sum(touches) <> 0 OR sum(people) <> 0 OR sum(target) <> 0 OR sum(planned) <> 0
"""

DIFFERENCES = f"""
WITH live AS MATERIALIZED ({LIVE}), counted AS MATERIALIZED ({COUNTED})
SELECT count(*) FROM (
    (SELECT * FROM live EXCEPT ALL SELECT * FROM counted) UNION ALL (SELECT * FROM counted EXCEPT ALL SELECT * FROM live)
) AS differing
"""

CHANGED = "SELECT DISTINCT campaign_id FROM reports_coveragechange ORDER BY 1"

# A campaign never counted, or counted before it got the partition or the zone it has now.
UNCOUNTED = """
WITH own AS (
    SELECT substring(c.relname FROM '^campaigns_touch_c([0-9]+)$')::bigint AS campaign_id, c.oid::bigint AS touch_table
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'campaigns_touch'::regclass AND c.relname ~ '^campaigns_touch_c[0-9]+$'
)
SELECT c.id, c.zone, coalesce(own.touch_table, 0)
FROM campaigns_campaign c
LEFT JOIN own ON own.campaign_id = c.id
LEFT JOIN reports_coveragestanding s ON s.campaign_id = c.id
WHERE (%(campaign)s::bigint IS NULL OR c.id = %(campaign)s)
  AND c.state IN ('scheduled', 'running', 'paused', 'finished', 'reviewed')
  AND (s.zone, s.touch_table) IS DISTINCT FROM (c.zone, coalesce(own.touch_table, 0))
ORDER BY c.id
"""


@contextmanager
def hold(campaign_id: int) -> Iterator[None]:
    """One at a time folds or counts a campaign anew. Statements inside see what the one before committed."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK_SPACE, campaign_id & 0x7FFFFFFF])
        yield


def fold(campaign_id: int) -> int:
    """Changes of a campaign added to its cells; how many cells they touched. Under :func:`hold`."""
    return _run(FOLD, {"campaign": campaign_id})


def recount(campaign_id: int) -> int:
    """All cells of a campaign as its rows say; how many. Under :func:`hold`."""
    return _run(RECOUNT.format(live=LIVE, only=""), {"campaign": campaign_id})


def recount_day(campaign_id: int, day: dt.date, zone: str) -> int:
    """Cells of one day as its rows say; how many. Under :func:`hold`."""
    live = TARGETS if day == NO_DAY else LIVE_OF_DAY
    parameters = {"campaign": campaign_id, "day": day, "zone": zone}
    return _run(RECOUNT.format(live=live, only="AND day = %(day)s"), parameters)


def differences(campaign_id: int) -> int:
    """Cells in which the counted differ from the rows, in one snapshot: must be 0."""
    with connection.cursor() as cursor:
        cursor.execute(DIFFERENCES, {"campaign": campaign_id})
        return int(cursor.fetchone()[0])


def changed() -> list[int]:
    """Campaigns with changes that are not folded yet."""
    with connection.cursor() as cursor:
        cursor.execute(CHANGED)
        return [row[0] for row in cursor.fetchall()]


def uncounted(campaign_id: int | None = None) -> list[tuple[int, str, int]]:
    """(campaign, its zone, the oid of its own partition or 0) of released campaigns to be counted from rows."""
    with connection.cursor() as cursor:
        cursor.execute(UNCOUNTED, {"campaign": campaign_id})
        return cursor.fetchall()


def size(campaign_id: int) -> int:
    """How many touches and targets a campaign has."""
    sql = f"SELECT coalesce(sum(touches + people), 0) FROM ({COUNTED}) AS c"
    with connection.cursor() as cursor:
        cursor.execute(sql, {"campaign": campaign_id})
        return int(cursor.fetchone()[0])


def _run(sql: str, parameters: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.rowcount
