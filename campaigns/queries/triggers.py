"""Openings of triggered campaigns: noticed, judged, opened."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection

from campaigns.queries.plan import literal

INSERT = """
INSERT INTO campaigns_opening (campaign_id, customer_id, key, opens_at, opened_at, reason)
{rows}
ON CONFLICT (campaign_id, customer_id, key) DO NOTHING
"""

# The day begins at midnight of the person's zone. Days before the campaign's own first day open nothing.
DATED = """
SELECT %s::bigint, w.customer_id, w.day::text,
    ((w.day - %s::int)::timestamp AT TIME ZONE %s::text) + %s::interval, NULL::timestamptz, ''
FROM ({having}) AS w
WHERE w.day - %s::int >= (%s::timestamptz AT TIME ZONE %s::text)::date
"""


def notice_days(
    campaign_id: int, having: str, lead_days: int, zone: str, wait: timedelta, starts_at: datetime
) -> int:
    """Those of a zone who have an occasion on a day open by it; ``having`` is a query of (customer, day)."""
    head, tail = DATED.split("{having}")
    rows = (
        literal(head, [campaign_id, lead_days, zone, wait])
        + having
        + literal(tail, [lead_days, starts_at, zone])
    )
    return _run(INSERT.replace("{rows}", rows))


DID = """
SELECT %s::bigint, coalesce(c.merged_into_id, c.id), 'event ' || e.id, e.occurred_at + %s::interval, NULL::timestamptz, ''
FROM audiences_behaviourevent e JOIN audiences_customer c ON c.id = e.customer_id
WHERE e.kind = %s AND e.received_at > %s AND e.occurred_at >= %s AND c.erased_at IS NULL
"""


def notice_events(
    campaign_id: int, event: str, wait: timedelta, *, received_since: datetime, since: datetime
) -> int:
    """Those who did something of a kind, told since ``received_since`` and done since ``since``."""
    return _run(INSERT.replace("{rows}", literal(DID, [campaign_id, wait, event, received_since, since])))


PRESENT = """
SELECT %s::bigint, w.id, 'in', %s::timestamptz, %s::timestamptz, %s::text FROM ({present}) AS w(id)
WHERE NOT EXISTS (
    SELECT FROM campaigns_opening o WHERE o.campaign_id = %s AND o.customer_id = w.id AND o.key = 'in'
)
"""


def notice_present(
    campaign_id: int, present: str, opens_at: datetime, opened_at: datetime | None, reason: str
) -> int:
    """Those of a query of ids who were not there before."""
    head, tail = PRESENT.split("{present}")
    rows = literal(head, [campaign_id, opens_at, opened_at, reason]) + present + literal(tail, [campaign_id])
    return _run(INSERT.replace("{rows}", rows))


def of_stage(stage: str) -> str:
    """The query of everybody of a stage."""
    return literal(
        "SELECT id FROM audiences_customer WHERE stage = %s AND merged_into_id IS NULL AND erased_at IS NULL",
        [stage],
    )


# One of each person at a time; who is passed over is told why.
DUE = """
WITH due AS MATERIALIZED (
    SELECT DISTINCT ON (customer_id) id, customer_id, opens_at FROM campaigns_opening
    WHERE campaign_id = {campaign} AND opened_at IS NULL AND opens_at <= {now}
    ORDER BY customer_id, opens_at, id LIMIT {limit}
),
here AS MATERIALIZED (
    SELECT id FROM ({audience}) AS whole(id) WHERE id IN (SELECT customer_id FROM due)
),
judged AS MATERIALIZED (
    SELECT d.id, d.customer_id, d.opens_at, prior.turns + 1 AS turn, m.customer_id IS NOT NULL AS known,
        coalesce(m.held_out, false) AS held_out,
        CASE WHEN d.opens_at + {window} <= {now} THEN 'late'
            WHEN m.state IN ('exited', 'ended') THEN 'left'
            WHEN prior.turns >= {most} OR prior.last + {apart} > d.opens_at THEN 'often'
            WHEN d.customer_id NOT IN (SELECT id FROM here) THEN 'audience'
            ELSE '' END AS reason
    FROM due d
    CROSS JOIN LATERAL (
        SELECT count(*)::int AS turns, max(o.opens_at) AS last FROM campaigns_opening o
        WHERE o.campaign_id = {campaign} AND o.customer_id = d.customer_id AND o.round IS NOT NULL
    ) AS prior
    LEFT JOIN campaigns_member m ON m.campaign_id = {campaign} AND m.customer_id = d.customer_id
),
passed AS (
    UPDATE campaigns_opening o SET opened_at = {now}, reason = j.reason FROM judged j
    WHERE o.id = j.id AND j.reason <> ''
)
SELECT turn, known, held_out, min(opens_at), array_agg(id ORDER BY id),
    array_agg(customer_id ORDER BY customer_id), (SELECT count(*) FROM due), (SELECT count(*) FROM judged WHERE reason <> '')
FROM judged WHERE reason = '' GROUP BY turn, known, held_out, date_trunc('hour', opens_at)
UNION ALL
SELECT 0, false, false, NULL, NULL, NULL, (SELECT count(*) FROM due), (SELECT count(*) FROM judged WHERE reason <> '')
ORDER BY 4 NULLS LAST, 1
"""


class Group(NamedTuple):
    """People for whom a campaign opens together: for the how-manieth time, and whether they are members already."""

    turn: int
    known: bool
    held_out: bool
    opens_at: datetime
    openings: list[int]
    customers: list[int]


def due(
    campaign_id: int,
    audience: str,
    now: datetime,
    *,
    window: timedelta,
    apart: timedelta,
    most: int,
    limit: int,
) -> tuple[list[Group], int, int]:
    """What opens now, in groups; how many were due, and how many of them were passed over."""
    statement = DUE
    values = {
        "campaign": int(campaign_id), "limit": int(limit), "most": int(most),
        "now": literal("%s::timestamptz", [now]), "window": literal("%s::interval", [window]),
        "apart": literal("%s::interval", [apart]),
    }  # fmt: skip
    for name, value in values.items():
        statement = statement.replace("{" + name + "}", str(value))
    with connection.cursor() as cursor:
        cursor.execute(statement.replace("{audience}", audience))
        rows = cursor.fetchall()
    return [Group(*row[:6]) for row in rows if row[0]], int(rows[-1][6]), int(rows[-1][7])


OPENED = """
UPDATE campaigns_opening SET opened_at = %(now)s, round = CASE WHEN customer_id = ANY (%(who)s) THEN %(turn)s END,
    reason = CASE WHEN customer_id = ANY (%(who)s) THEN '' ELSE 'audience' END
WHERE id = ANY (%(openings)s) AND opened_at IS NULL
"""


def opened(openings: Sequence[int], who: Sequence[int], turn: int, now: datetime) -> int:
    """These are open, for those of them who can be contacted at all; the others were passed over."""
    return _run(OPENED, {"openings": list(openings), "who": list(who), "turn": turn, "now": now})


REOPEN = """
UPDATE campaigns_member SET state = 'active', reason = '', state_at = %(now)s
WHERE campaign_id = %(campaign)s AND customer_id = ANY (%(customers)s) AND state = 'waiting'
"""


def reopen(campaign_id: int, customers: Sequence[int], now: datetime) -> int:
    """Members who waited for the next good occasion have it."""
    return _run(REOPEN, {"campaign": campaign_id, "customers": list(customers), "now": now})


COUNTS = """
SELECT count(*) FILTER (WHERE round IS NOT NULL), count(DISTINCT customer_id) FILTER (WHERE round IS NOT NULL),
    count(*) FILTER (WHERE opened_at IS NULL), min(opens_at) FILTER (WHERE opened_at IS NULL)
FROM campaigns_opening WHERE campaign_id = %(campaign)s AND reason <> 'before'
"""


def counts(campaign_id: int) -> tuple[int, int, int, datetime | None]:
    """Times it opened, for how many people; noticed and still to come, and when the next one is."""
    with connection.cursor() as cursor:
        cursor.execute(COUNTS, {"campaign": campaign_id})
        row: tuple[int, int, int, datetime | None] = cursor.fetchone()
        return row


def _run(statement: str, parameters: Any = None) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.rowcount
