"""The rows behind a figure of coverage: their ``touches`` sum to the figure."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.db import connection

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
       {state} AS state, m.cause, NULL::timestamptz AS at, 0::numeric AS cost
FROM campaigns_member_target m
WHERE m.campaign_id = %(campaign)s AND {amount} > 0
"""
_TOUCHES = """
SELECT t.customer_id, t.channel_id, t.round, t.stage, t.ordinal, 1 AS touches, t.state, t.reason AS cause,
       CASE WHEN t.state IN ('planned', 'claimed') THEN t.due_at ELSE t.state_at END AS at, t.cost
FROM campaigns_touch t
WHERE t.campaign_id = %(campaign)s AND t.state = ANY(%(states)s)
"""

# figure → (statement, states of its touches)
FIGURES: dict[str, tuple[str, list[str]]] = {
    "target": (_TARGETS.format(amount="m.target", state="'target'"), []),
    "planned": (_TARGETS.format(amount="m.planned", state="'planned'"), []),
    "reached": (_TOUCHES, ["sent", "delivered"]),
    "delivered": (_TOUCHES, ["delivered"]),
    "unknown": (_TOUCHES, ["unknown"]),
    "unobserved": (_TOUCHES, ["unobserved"]),
    "pending": (_TOUCHES, ["planned", "claimed", "held"]),
    "released": (_TOUCHES, ["released"]),
    "gap": (
        _TARGETS.format(amount="(m.target - m.planned)", state="'not_planned'") + "UNION ALL" + _TOUCHES,
        ["gap"],
    ),
}

_FILTERS = {
    "channel": "f.channel_id = %(channel)s",
    "round": "f.round = %(round)s",
    "stage": "f.stage = %(stage)s",
    "cause": "f.cause = %(cause)s",
    "customer": "f.customer_id = %(customer)s",
}

_PAGE = """
WITH figure AS ({figure})
SELECT f.customer_id, c.name, f.channel_id, f.round, f.stage, f.ordinal, f.touches, f.state, f.cause, f.at, f.cost
FROM figure f
JOIN audiences_customer c ON c.id = f.customer_id
WHERE {filters}
  AND (f.customer_id, f.channel_id, f.round, f.ordinal)
      > (%(after_customer)s, %(after_channel)s, %(after_round)s, %(after_ordinal)s)
ORDER BY f.customer_id, f.channel_id, f.round, f.ordinal
"""

_SUM = """
WITH figure AS ({figure})
SELECT count(*) AS rows, coalesce(sum(f.touches), 0) AS touches, count(DISTINCT f.customer_id) AS people,
       coalesce(sum(f.cost), 0) AS cost
FROM figure f WHERE {filters}
"""

START = (0, 0, -1, -1)


def _parts(figure: str, campaign_id: int, narrowed: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    sql, states = FIGURES[figure]
    filters = " AND ".join(_FILTERS[name] for name in narrowed) or "true"
    return sql, filters, {"campaign": campaign_id, "states": states, **narrowed}


def page(
    figure: str, campaign_id: int, narrowed: Mapping[str, Any], after: tuple[int, int, int, int], limit: int
) -> list[tuple[Any, ...]]:
    """Rows behind a figure after a key, in key order. Columns as :data:`COLUMNS`, the channel by id."""
    sql, filters, parameters = _parts(figure, campaign_id, narrowed)
    parameters |= dict(
        zip(("after_customer", "after_channel", "after_round", "after_ordinal"), after, strict=True)
    )
    with connection.cursor() as cursor:
        cursor.execute(
            _PAGE.format(figure=sql, filters=filters) + " LIMIT %(limit)s", parameters | {"limit": limit}
        )
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
    """How many rows, touches and people, and what they cost."""
    sql, filters, parameters = _parts(figure, campaign_id, narrowed)
    with connection.cursor() as cursor:
        cursor.execute(_SUM.format(figure=sql, filters=filters), parameters)
        names = [column.name for column in cursor.description or ()]
        return dict(zip(names, cursor.fetchone(), strict=True))
