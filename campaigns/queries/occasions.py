"""Who has an occasion on which day. Queries here are texts, so that they can stand inside others."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection

from campaigns.queries.plan import literal

LIVING = "c.merged_into_id IS NULL AND c.erased_at IS NULL"

BIRTHDAYS = """
SELECT c.id AS customer_id, d.day
FROM unnest(%s::date[], %s::date[], %s::text[]) AS d (day, born, calendar)
JOIN audiences_customer c ON c.birth_date = d.born AND c.birth_calendar = d.calendar
WHERE c.birth_date IS NOT NULL AND {living}"""

EVERYBODY = """
SELECT c.id AS customer_id, d.day
FROM audiences_customer c CROSS JOIN unnest(%s::date[]) AS d (day)
WHERE {living}"""

REGISTERED = """
SELECT c.id AS customer_id, d.day
FROM audiences_customer c
JOIN unnest(%s::date[], %s::text[]) AS d (day, digits)
    ON to_char(c.created_at AT TIME ZONE c.zone, 'MM-DD') = d.digits
WHERE (c.created_at AT TIME ZONE c.zone)::date < d.day AND {living}"""

FIRST_ORDER = """
SELECT c.id AS customer_id, d.day
FROM (SELECT customer_id, min(placed_at) AS at FROM audiences_order GROUP BY customer_id) AS first
JOIN audiences_customer c ON c.id = first.customer_id
JOIN unnest(%s::date[], %s::text[]) AS d (day, digits)
    ON to_char(first.at AT TIME ZONE c.zone, 'MM-DD') = d.digits
WHERE (first.at AT TIME ZONE c.zone)::date < d.day AND {living}"""


def _with(statement: str, values: Sequence[Any], audiences: Iterable[str], zone: str | None) -> str:
    found = literal(statement.format(living=LIVING), values)
    for audience in audiences:
        found += f" AND c.id IN ({audience})"
    if zone is not None:
        found += literal(" AND c.zone = %s", [zone])
    return found


def birthdays(
    rows: Sequence[tuple[dt.date, dt.date, str]], audiences: Iterable[str], zone: str | None
) -> str:
    """Whose birthday is on a day: ``rows`` are (day, date of birth, its calendar)."""
    days, born, calendars = ([row[n] for row in rows] for n in range(3))
    return _with(BIRTHDAYS, [days, born, calendars], audiences, zone)


def everybody(days: Sequence[dt.date], audiences: Iterable[str], zone: str | None) -> str:
    """Everybody, on each of these days."""
    return _with(EVERYBODY, [list(days)], audiences, zone)


def anniversaries(
    pairs: Sequence[tuple[dt.date, str]], of: str, audiences: Iterable[str], zone: str | None
) -> str:
    """Whose anniversary is on a day: ``pairs`` are (day, ``MM-DD``). The day itself is none."""
    statement = FIRST_ORDER if of == "first_order" else REGISTERED
    return _with(statement, [[pair[0] for pair in pairs], [pair[1] for pair in pairs]], audiences, zone)


def nobody() -> str:
    """No row."""
    return "SELECT NULL::bigint AS customer_id, NULL::date AS day WHERE false"


def counted(query: str) -> list[tuple[dt.date, int]]:
    """(day, people) of such a query, in order of days."""
    return _rows(f"SELECT day, count(*) FROM ({query}) AS found GROUP BY day ORDER BY day")


def did(event: str, since: dt.datetime) -> int:
    """How many people did something of a kind since then."""
    return int(
        _rows(
            literal(
                "SELECT count(DISTINCT customer_id) FROM audiences_behaviourevent"
                " WHERE kind = %s AND received_at >= %s",
                [event, since],
            )
        )[0][0]
    )


def event_kinds() -> list[str]:
    """The kinds of behaviour events there are, by walking the index from one to the next."""
    return [
        row[0]
        for row in _rows(
            """
WITH RECURSIVE kinds (kind) AS (
    (SELECT kind FROM audiences_behaviourevent ORDER BY kind LIMIT 1)
    UNION ALL
    SELECT (SELECT e.kind FROM audiences_behaviourevent e WHERE e.kind > k.kind ORDER BY e.kind LIMIT 1)
    FROM kinds k WHERE k.kind IS NOT NULL
)
SELECT kind FROM kinds WHERE kind IS NOT NULL"""
        )
    ]


def zones() -> list[str]:
    """The zones that customers live by, by their number of people; found in one pass over the customers."""
    return [
        row[0] for row in _rows("SELECT DISTINCT zone FROM audiences_customer WHERE merged_into_id IS NULL")
    ]


def _rows(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def ids(query: str) -> str:
    """The customers of such a query, each once, as a query of one column."""
    return f"SELECT DISTINCT customer_id AS id FROM ({query}) AS chosen"


def doers(event: str, since: dt.datetime, whole: str) -> str:
    """Those of an audience who did something of a kind since then."""
    return f"SELECT id FROM ({whole}) AS whole(id) WHERE id IN (" + literal(
        "SELECT customer_id FROM audiences_behaviourevent WHERE kind = %s AND received_at >= %s)",
        [event, since],
    )
