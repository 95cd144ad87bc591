"""Employees and their customers in sets: what was told lies in a temporary table of the session."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from django.db import connection

from channels.adapters.base import RosterContact, RosterDay, RosterGroup

BEGIN = """
CREATE TEMPORARY TABLE IF NOT EXISTS told_contacts (
    employee text, address text, added_at timestamptz, tags text[]
) ON COMMIT PRESERVE ROWS
"""
TELL = """
INSERT INTO told_contacts SELECT t.employee, t.address, t.added_at, ARRAY(SELECT jsonb_array_elements_text(t.tags))
FROM unnest(%(employees)s::text[], %(addresses)s::text[], %(added)s::timestamptz[], %(tags)s::jsonb[])
    AS t (employee, address, added_at, tags)
"""

EMPLOYEES = """
INSERT INTO channels_employee AS e (channel_id, external_id, name, store, daily_tasks)
SELECT %(channel)s, left(t.external_id, 80), left(t.name, 120), '', 200
FROM unnest(%(ids)s::text[], %(names)s::text[]) AS t (external_id, name)
ON CONFLICT (channel_id, external_id) DO UPDATE SET left_at = NULL, name = excluded.name
WHERE e.left_at IS NOT NULL OR e.name <> excluded.name
"""

DEPARTED = """
UPDATE channels_employee e SET left_at = coalesce(
    (SELECT l.at FROM unnest(%(left)s::text[], %(times)s::timestamptz[]) AS l (external_id, at)
     WHERE l.external_id = e.external_id), %(now)s)
WHERE e.channel_id = %(channel)s AND e.left_at IS NULL AND NOT e.external_id = ANY (%(ids)s::text[])
"""

CONTACTS = """
INSERT INTO channels_employeecontact AS c (employee_id, identity_id, added_at)
SELECT DISTINCT ON (e.id, i.id) e.id, i.id, t.added_at
FROM told_contacts t
JOIN channels_employee e ON e.channel_id = %(channel)s AND e.external_id = t.employee
JOIN audiences_identity i ON i.value = t.address AND i.kind = %(kind)s AND i.issuer = %(issuer)s
ORDER BY e.id, i.id, t.added_at
ON CONFLICT (identity_id, employee_id) DO UPDATE SET removed_at = NULL, added_at = excluded.added_at
WHERE c.removed_at IS NOT NULL OR c.added_at <> excluded.added_at
"""

REMOVED = """
UPDATE channels_employeecontact c SET removed_at = %(now)s
FROM channels_employee e, audiences_identity i
WHERE e.id = c.employee_id AND e.channel_id = %(channel)s AND c.removed_at IS NULL
  AND i.id = c.identity_id AND i.kind = %(kind)s AND i.issuer = %(issuer)s
  AND NOT EXISTS (SELECT FROM told_contacts t WHERE t.employee = e.external_id AND t.address = i.value)
"""

# Whose tags are whose: names in ``outward`` are ours and go out, all others come in.
NEW_TAGS = """
INSERT INTO audiences_tag (name, "group")
SELECT DISTINCT tag, '' FROM told_contacts, unnest(tags) AS tag WHERE NOT tag = ANY (%(outward)s::text[]) AND tag <> ''
ORDER BY tag
ON CONFLICT (name) DO NOTHING
"""
WORN = """
SELECT DISTINCT coalesce(c.merged_into_id, c.id) AS customer_id, g.id AS tag_id
FROM told_contacts t
CROSS JOIN unnest(t.tags) AS tag
JOIN audiences_tag g ON g.name = tag
JOIN audiences_identity i ON i.value = t.address AND i.kind = %(kind)s AND i.issuer = %(issuer)s
JOIN audiences_customer c ON c.id = i.customer_id
WHERE NOT tag = ANY (%(outward)s::text[])
"""
PUT_TAGS = f"""
INSERT INTO audiences_customertag (customer_id, tag_id, source, tagged_at)
SELECT customer_id, tag_id, %(source)s, %(now)s FROM ({WORN}) AS worn
ON CONFLICT (tag_id, customer_id) DO NOTHING
"""
TAKEN_OFF = f"""
DELETE FROM audiences_customertag p
WHERE p.source = %(source)s AND NOT EXISTS (
    SELECT FROM ({WORN}) AS worn WHERE worn.customer_id = p.customer_id AND worn.tag_id = p.tag_id)
"""

TO_SEND = """
WITH wanted AS (
    SELECT t.employee, t.address, t.tags AS there,
           ARRAY(
               SELECT g.name FROM audiences_customertag p JOIN audiences_tag g ON g.id = p.tag_id
               WHERE p.customer_id = coalesce(c.merged_into_id, c.id) AND g.name = ANY (%(outward)s::text[])
               ORDER BY g.name
           ) AS ours
    FROM told_contacts t
    JOIN audiences_identity i ON i.value = t.address AND i.kind = %(kind)s AND i.issuer = %(issuer)s
    JOIN audiences_customer c ON c.id = i.customer_id
),
changes AS (
    SELECT employee, address,
           ARRAY(SELECT unnest(ours) EXCEPT SELECT unnest(there)) AS put,
           ARRAY(SELECT name FROM unnest(there) AS name WHERE name = ANY (%(outward)s::text[])
                 EXCEPT SELECT unnest(ours)) AS off
    FROM wanted
)
SELECT employee, address, put, off FROM changes WHERE cardinality(put) + cardinality(off) > 0
ORDER BY employee, address LIMIT %(limit)s
"""

GROUPS = """
INSERT INTO channels_customergroup AS g (channel_id, external_id, name, owner_id, customers)
SELECT %(channel)s, t.id, left(t.name, 120), e.id, t.customers
FROM unnest(%(ids)s::text[], %(names)s::text[], %(owners)s::text[], %(customers)s::integer[])
    AS t (id, name, owner, customers)
LEFT JOIN channels_employee e ON e.channel_id = %(channel)s AND e.external_id = t.owner
ON CONFLICT (channel_id, external_id) DO UPDATE
SET name = excluded.name, owner_id = excluded.owner_id, customers = excluded.customers, gone_at = NULL
"""
GROUPS_GONE = """
UPDATE channels_customergroup SET gone_at = %(now)s
WHERE channel_id = %(channel)s AND gone_at IS NULL AND NOT external_id = ANY (%(ids)s::text[])
"""

HAS_DAY = """
SELECT EXISTS (
    SELECT FROM channels_employeeday d JOIN channels_employee e ON e.id = d.employee_id
    WHERE e.channel_id = %(channel)s AND d.day = %(day)s)
"""
DAYS = """
INSERT INTO channels_employeeday (employee_id, day, customers_added, deletions, messages, first_reply_minutes)
SELECT e.id, t.day, t.added, t.deletions, t.messages, t.minutes
FROM unnest(%(employees)s::text[], %(days)s::date[], %(added)s::integer[], %(deletions)s::integer[],
    %(messages)s::integer[], %(minutes)s::float8[]) AS t (employee, day, added, deletions, messages, minutes)
JOIN channels_employee e ON e.channel_id = %(channel)s AND e.external_id = t.employee
ON CONFLICT (employee_id, day) DO UPDATE SET customers_added = excluded.customers_added,
    deletions = excluded.deletions, messages = excluded.messages, first_reply_minutes = excluded.first_reply_minutes
"""

# A first reply is averaged over days by their messages.
SUMMARY = """
SELECT e.id, e.external_id, e.name, e.store, e.daily_tasks, e.left_at,
       (SELECT count(*) FROM channels_employeecontact c WHERE c.employee_id = e.id AND c.removed_at IS NULL),
       (SELECT count(*) FROM channels_customergroup g WHERE g.owner_id = e.id AND g.gone_at IS NULL),
       coalesce(d.added, 0), coalesce(d.deletions, 0), d.minutes,
       coalesce((SELECT sum(k.n) FROM channels_channelcount k
           WHERE k.channel_id = %(channel)s AND k.hour >= %(since)s AND k.name LIKE 'click:%%:' || e.id), 0)
FROM channels_employee e
LEFT JOIN LATERAL (
    SELECT sum(customers_added) AS added, sum(deletions) AS deletions,
           sum(first_reply_minutes * greatest(messages, 1)) / nullif(
               sum(greatest(messages, 1)) FILTER (WHERE first_reply_minutes IS NOT NULL), 0) AS minutes
    FROM channels_employeeday WHERE employee_id = e.id AND day >= %(first)s
) AS d ON true
WHERE e.channel_id = %(channel)s
ORDER BY e.left_at DESC NULLS FIRST, e.name, e.id
"""


def begin() -> None:
    """A table of this session for what is told; emptied."""
    with connection.cursor() as cursor:
        cursor.execute(BEGIN)
        cursor.execute("TRUNCATE told_contacts")


def end() -> None:
    if connection.is_usable():
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS told_contacts")


def tell(contacts: Sequence[RosterContact]) -> int:
    """Rows of what was told."""
    return _run(
        TELL,
        {
            "employees": [one.employee for one in contacts],
            "addresses": [one.address for one in contacts],
            "added": [one.added_at for one in contacts],
            "tags": [json.dumps([tag[:80] for tag in one.tags]) for one in contacts],
        },
    )


def employees(channel_id: int, ids: Sequence[str], names: Sequence[str]) -> int:
    """Employees that are new, came back or have another name."""
    return _run(EMPLOYEES, {"channel": channel_id, "ids": list(ids), "names": list(names)})


def departed(
    channel_id: int, ids: Sequence[str], left: Sequence[str], times: Sequence[datetime], now: datetime
) -> int:
    """Employees that are not among ``ids`` any more, with the time they left where it is known."""
    return _run(
        DEPARTED,
        {"channel": channel_id, "ids": list(ids), "left": list(left), "times": list(times), "now": now},
    )


def contacts(channel_id: int, kind: str, issuer: str) -> int:
    """Contacts that are new, came back or have another beginning."""
    return _run(CONTACTS, {"channel": channel_id, "kind": kind, "issuer": issuer})


def removed(channel_id: int, kind: str, issuer: str, now: datetime) -> int:
    """Contacts that were not told any more."""
    return _run(REMOVED, {"channel": channel_id, "kind": kind, "issuer": issuer, "now": now})


def tags(kind: str, issuer: str, source: str, outward: Sequence[str], now: datetime) -> int:
    """Tags put on customers, and those taken off that came from here before."""
    params = {"kind": kind, "issuer": issuer, "source": source, "outward": list(outward), "now": now}
    _run(NEW_TAGS, params)
    return _run(PUT_TAGS, params) + _run(TAKEN_OFF, params)


def tags_to_send(
    kind: str, issuer: str, outward: Sequence[str], limit: int
) -> list[tuple[str, str, list[str], list[str]]]:
    """(employee, address, tags to put, tags to take off) where the provider's differ from ours."""
    if not outward:
        return []
    params = {"kind": kind, "issuer": issuer, "outward": list(outward), "limit": limit}
    return _rows(TO_SEND, params)


def groups(channel_id: int, told: Sequence[RosterGroup], now: datetime) -> int:
    """Groups as they are now; those not told any more are gone."""
    ids = [group.external_id for group in told]
    _run(GROUPS_GONE, {"channel": channel_id, "ids": ids, "now": now})
    return _run(
        GROUPS,
        {
            "channel": channel_id, "ids": ids, "names": [group.name for group in told],
            "owners": [group.owner for group in told], "customers": [group.customers for group in told],
        },
    )  # fmt: skip


def has_day(channel_id: int, day: date) -> bool:
    """Whether any employee has figures of this day."""
    return bool(_rows(HAS_DAY, {"channel": channel_id, "day": day})[0][0])


def days(channel_id: int, told: Sequence[RosterDay]) -> int:
    """Figures of employees by day, replaced where they were told before."""
    return _run(
        DAYS,
        {
            "channel": channel_id, "employees": [row.employee for row in told], "days": [row.day for row in told],
            "added": [row.customers_added for row in told], "deletions": [row.deletions for row in told],
            "messages": [row.messages for row in told], "minutes": [row.first_reply_minutes for row in told],
        },
    )  # fmt: skip


def summary(channel_id: int, first: date, since: datetime) -> list[tuple[Any, ...]]:
    """One row an employee: contacts, groups, and the figures since then."""
    return _rows(SUMMARY, {"channel": channel_id, "first": first, "since": since})


def _run(sql: str, params: Mapping[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.rowcount


def _rows(sql: str, params: Mapping[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()
