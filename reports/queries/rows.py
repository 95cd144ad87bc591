"""The rows behind a figure of coverage: their ``touches`` sum to the figure.

Each branch is read in the order of its table's own key and only as far as a page needs, so a page costs the same
however large the campaign is (where rows of the figure are not very rare).
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from django.db import connection

from reports.models.coverage import NO_DAY
from reports.queries.people import OVER

COLUMNS = (
    "customer_id",
    "name",
    "channel",
    "round",
    "stage",
    "ordinal",
    "touches",
    "state",
    "cause",
    "at",
    "cost",
)

_TARGETS = """
SELECT m.customer_id, m.channel_id, m.round, m.stage, 0::smallint AS ordinal, {amount} AS touches,
       '{state}' AS state, m.cause, NULL::timestamptz AS at, 0::numeric AS cost
FROM campaigns_member_target m
WHERE m.campaign_id = %(campaign)s AND {amount} > 0 {filters} {after}
"""
_TARGETS_AFTER = """AND (m.customer_id, m.channel_id, m.round, 0)
      > (%(after_customer)s, %(after_channel)s, %(after_round)s, %(after_ordinal)s)
ORDER BY m.customer_id, m.channel_id, m.round LIMIT %(limit)s"""
_TOUCHES = """
SELECT t.customer_id, t.channel_id, t.round, t.stage, t.ordinal, 1 AS touches, t.state, t.reason AS cause,
       CASE WHEN t.state IN ('planned', 'claimed') THEN t.due_at ELSE t.state_at END AS at, t.cost
FROM campaigns_touch t
WHERE t.campaign_id = %(campaign)s AND t.state = ANY(%(states)s) AND t.reason <> 'changed' {filters} {after}
"""
_CHANGED = _TOUCHES.replace(
    "t.reason <> 'changed'", "t.reason = 'changed'"
)  # taken out, so in no other figure
_TOUCHES_AFTER = """AND (t.customer_id, t.channel_id, t.round, t.ordinal)
      > (%(after_customer)s, %(after_channel)s, %(after_round)s, %(after_ordinal)s)
ORDER BY t.customer_id, t.channel_id, t.round, t.ordinal LIMIT %(limit)s"""
_OVER = """
SELECT o.customer_id, o.channel_id, o.round, o.stage, o.ordinal, o.touches, o.state, o.cause, o.at, o.cost
FROM ({over}) o
WHERE true {{filters}} {{after}}
"""
_OVER_AFTER = """AND (o.customer_id, o.channel_id, o.round, o.ordinal)
      > (%(after_customer)s, %(after_channel)s, %(after_round)s, %(after_ordinal)s)
ORDER BY o.customer_id, o.channel_id, o.round, o.ordinal LIMIT %(limit)s"""

REACHED = ["sent", "delivered"]
OPEN = ["planned", "claimed", "held"]
EVERY_STATE = [*OPEN, *REACHED, "unknown", "unobserved", "gap", "released"]


def _aimed(amount: str, state: str) -> str:
    return _TARGETS.replace("{amount}", amount).replace("{state}", state)


# figure → (its statements with their aliases, states of its touches)
FIGURES: dict[str, tuple[tuple[tuple[str, str], ...], list[str]]] = {
    "target": (((_aimed("m.target", "target"), "m"),), []),
    "planned": (((_aimed("m.planned", "planned"), "m"),), []),
    "due": (((_TOUCHES, "t"),), EVERY_STATE),
    "reached": (((_TOUCHES, "t"),), REACHED),
    "delivered": (((_TOUCHES, "t"),), ["delivered"]),
    "awaited": (((_TOUCHES, "t"),), ["sent"]),
    "unknown": (((_TOUCHES, "t"),), ["unknown"]),
    "unobserved": (((_TOUCHES, "t"),), ["unobserved"]),
    "pending": (((_TOUCHES, "t"),), OPEN),
    "released": (((_TOUCHES, "t"),), ["released"]),
    "changed": (((_CHANGED, "t"),), ["released"]),
    "gap": (((_aimed("(m.target - m.planned)", "not_planned"), "m"), (_TOUCHES, "t")), ["gap"]),
    **{kind: (((_OVER.format(over=sql), "o"),), []) for kind, sql in OVER.items()},
}

_AFTER = {"m": _TARGETS_AFTER, "t": _TOUCHES_AFTER, "o": _OVER_AFTER}
# What a figure may be narrowed to, in each statement. {a} is its alias.
_FILTERS = {
    "channel": "{a}.channel_id = %(channel)s",
    "channels": "{a}.channel_id = ANY (%(channels)s::integer[])",
    "round": "{a}.round = %(round)s",
    "rounds": "{a}.round = ANY (%(rounds)s::smallint[])",
    "stage": "{a}.stage = %(stage)s",
    "cause": "{a}.{cause} = %(cause)s",
    "customer": "{a}.customer_id = %(customer)s",
}
_DAY = """{a}.due_at >= %(day)s::date::timestamp AT TIME ZONE %(zone)s
      AND {a}.due_at < (%(day)s::date + 1)::timestamp AT TIME ZONE %(zone)s"""

_PAGE = """
WITH figure AS MATERIALIZED ({branches})
SELECT f.customer_id, c.name, f.channel_id, f.round, f.stage, f.ordinal, f.touches, f.state, f.cause, f.at, f.cost
FROM (SELECT * FROM figure ORDER BY customer_id, channel_id, round, ordinal LIMIT %(limit)s) f
JOIN audiences_customer c ON c.id = f.customer_id
ORDER BY f.customer_id, f.channel_id, f.round, f.ordinal
"""
_SUM = """
WITH figure AS ({branches})
SELECT count(*) AS rows, coalesce(sum(f.touches), 0) AS touches, count(DISTINCT f.customer_id) AS people,
       coalesce(sum(f.cost), 0) AS cost
FROM figure f
"""

START = (0, 0, -1, -1)


def _filters(alias: str, narrowed: Mapping[str, Any]) -> str:
    found = []
    for name in narrowed:
        if name == "zone":
            continue
        if name == "day":
            if alias == "m":
                # Targets have no day: what was never planned is never due.
                found.append("true" if narrowed["day"] == NO_DAY else "false")
            else:
                found.append(_DAY.format(a=alias))
        else:
            found.append(
                _FILTERS[name].format(a=alias, cause={"m": "cause", "t": "reason", "o": "cause"}[alias])
            )
    return "".join(f" AND {each}" for each in found)


def _branches(figure: str, narrowed: Mapping[str, Any], paged: bool) -> str:
    branches = [
        sql.format(filters=_filters(alias, narrowed), after=_AFTER[alias] if paged else "")
        for sql, alias in FIGURES[figure][0]
    ]
    return " UNION ALL ".join(f"({branch})" for branch in branches)


def page(
    figure: str, campaign_id: int, narrowed: Mapping[str, Any], after: tuple[int, int, int, int], limit: int
) -> list[tuple[Any, ...]]:
    """Rows behind a figure after a key, in key order. Columns as :data:`COLUMNS`, the channel by id.

    ``narrowed``: channel, channels, round, rounds, stage, cause, customer, and day with its zone.
    """
    parameters = {"campaign": campaign_id, "states": FIGURES[figure][1], **narrowed, "limit": limit}
    parameters |= dict(
        zip(("after_customer", "after_channel", "after_round", "after_ordinal"), after, strict=True)
    )
    with connection.cursor() as cursor:
        cursor.execute(_PAGE.format(branches=_branches(figure, narrowed, paged=True)), parameters)
        return cursor.fetchall()


def every(
    figure: str, campaign_id: int, narrowed: Mapping[str, Any], step: int = 5000
) -> Iterator[tuple[Any, ...]]:
    """All rows behind a figure, fetched a page at a time, so that memory stays flat."""
    after = START
    while rows := page(figure, campaign_id, narrowed, after, step):
        yield from rows
        last = rows[-1]
        after = (last[0], last[2], last[3], last[5])


def totals(figure: str, campaign_id: int, narrowed: Mapping[str, Any]) -> dict[str, Any]:
    """How many rows, touches and people, and what they cost: from the rows, so as long as they are many."""
    parameters = {"campaign": campaign_id, "states": FIGURES[figure][1], **narrowed}
    with connection.cursor() as cursor:
        cursor.execute(_SUM.format(branches=_branches(figure, narrowed, paged=False)), parameters)
        names = [column.name for column in cursor.description or ()]
        return dict(zip(names, cursor.fetchone(), strict=True))


_COUNTED = """
SELECT coalesce(sum({amount}), 0)
FROM (
    SELECT * FROM (SELECT campaign_id, day, round, channel_id, stage, state, reason, touches, target, planned
        FROM reports_coverageday) d
    UNION ALL
    SELECT campaign_id, day, round, channel_id, stage, state, reason, touches, target, planned
    FROM reports_coveragechange
) c
WHERE c.campaign_id = %(campaign)s {filters}
"""
_AMOUNTS = {
    "target": "c.target",
    "planned": "c.planned",
    "changed": "CASE WHEN c.state = 'released' AND c.reason = 'changed' THEN c.touches ELSE 0 END",
    "gap": "CASE WHEN c.state = 'gap' THEN c.touches WHEN c.state = '' THEN c.target - c.planned ELSE 0 END",
}


_OF_STATES = "CASE WHEN c.state = ANY (%(states)s) AND c.reason <> 'changed' THEN c.touches ELSE 0 END"


def counted(figure: str, campaign_id: int, narrowed: Mapping[str, Any]) -> int | None:
    """The touches of a figure as counted, at once; None where cells do not tell (over, one customer)."""
    if figure in OVER or "customer" in narrowed:
        return None
    filters = "".join(
        " AND c.day = %(day)s" if name == "day" else " AND " + _FILTERS[name].format(a="c", cause="reason")
        for name in narrowed
        if name != "zone"
    )
    amount = _AMOUNTS.get(figure, _OF_STATES)
    parameters = {"campaign": campaign_id, "states": FIGURES[figure][1], **narrowed}
    with connection.cursor() as cursor:
        cursor.execute(_COUNTED.format(amount=amount, filters=filters), parameters)
        return int(cursor.fetchone()[0])


def of_day(day: dt.date, zone: str) -> dict[str, Any]:
    """What :func:`page` and :func:`totals` take to narrow to one day."""
    return {"day": day, "zone": zone}
