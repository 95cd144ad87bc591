"""Inbox events in SQL: stored once, taken by one drainer at a time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from audiences.queries import literals

# One array a column: a batch of any size is one statement with sixteen parameters. One that tells nothing is NULL.
STORE = """
INSERT INTO channels_inboxevent (
    channel_id, dedupe_key, kind, outcome, response, reference, campaign_id, touch_id,
    identity_kind, identity_issuer, identity_value, occurred_at, received_at, machine, value, currency, code,
    detail, state, error
)
SELECT %(channel)s, told.dedupe_key, told.kind, coalesce(told.outcome, ''), coalesce(told.response, ''),
       coalesce(told.reference, ''), told.campaign_id, told.touch_id, coalesce(told.identity_kind, ''),
       coalesce(told.identity_issuer, ''), coalesce(told.identity_value, ''), told.occurred_at,
       %(received_at)s, coalesce(told.machine, false), told.value, coalesce(told.currency, ''), coalesce(told.code, ''),
       coalesce(told.detail, '{}'), 'new', ''
FROM unnest(
    %(dedupe_key)s::text[], %(kind)s::text[], %(outcome)s::text[], %(response)s::text[], %(reference)s::text[],
    %(campaign_id)s::bigint[], %(touch_id)s::bigint[], %(identity_kind)s::text[], %(identity_issuer)s::text[],
    %(identity_value)s::text[], %(occurred_at)s::timestamptz[], %(machine)s::boolean[], %(value)s::numeric[],
    %(currency)s::text[], %(code)s::text[], %(detail)s::jsonb[]
) WITH ORDINALITY AS told (
    dedupe_key, kind, outcome, response, reference, campaign_id, touch_id, identity_kind, identity_issuer,
    identity_value, occurred_at, machine, value, currency, code, detail, position
)
ORDER BY told.position
ON CONFLICT (channel_id, dedupe_key) DO NOTHING
"""

# One event alone, as most webhooks and every click bring it: plain values, planned in no time.
STORE_ONE = """
INSERT INTO channels_inboxevent (
    channel_id, dedupe_key, kind, outcome, response, reference, campaign_id, touch_id,
    identity_kind, identity_issuer, identity_value, occurred_at, received_at, machine, value, currency, code,
    detail, state, error
)
VALUES (
    %(channel)s, %(dedupe_key)s, %(kind)s, %(outcome)s, %(response)s, %(reference)s, %(campaign_id)s, %(touch_id)s,
    %(identity_kind)s, %(identity_issuer)s, %(identity_value)s, %(occurred_at)s, %(received_at)s, %(machine)s,
    %(value)s, %(currency)s, %(code)s, %(detail)s, 'new', ''
)
ON CONFLICT (channel_id, dedupe_key) DO NOTHING
"""

SET_ASIDE_RAW = """
INSERT INTO channels_inboxevent (
    channel_id, dedupe_key, kind, outcome, response, reference, identity_kind, identity_issuer, identity_value,
    occurred_at, received_at, machine, currency, code, detail, state, error
) VALUES (
    %(channel)s, %(dedupe_key)s, 'response', '', '', '', '', '', '', %(now)s, %(now)s, false, '', 'unparsed',
    %(detail)s, 'poison', %(error)s
)
ON CONFLICT (channel_id, dedupe_key) DO UPDATE SET error = excluded.error
"""

# Clicks on two links of one touch within two seconds are no person's: a mail scanner walks through a message.
SWEEPS = """
WITH clicks AS (
    SELECT id, channel_id, touch_id, campaign_id, occurred_at, detail->>'link_id' AS link
    FROM channels_inboxevent
    WHERE id = ANY(%(ids)s) AND response = 'click' AND NOT machine AND touch_id IS NOT NULL
),
swept AS (
    SELECT one.id
    FROM clicks one JOIN clicks other USING (channel_id, campaign_id, touch_id)
    WHERE other.link <> one.link AND abs(extract(epoch FROM other.occurred_at - one.occurred_at)) < %(seconds)s
)
UPDATE channels_inboxevent event SET machine = true FROM (SELECT DISTINCT id FROM swept) AS swept
WHERE event.id = swept.id
"""

MARK = """
UPDATE channels_inboxevent SET state = 'drained', drained_at = %(now)s, error = '' WHERE id = ANY(%(ids)s)
"""


def store(channel_id: int, columns: Mapping[str, Sequence[Any]], received_at: datetime) -> int:
    """The events of one channel that were not stored before, in the order they were told."""
    params: dict[str, Any] = {"channel": channel_id, "received_at": received_at}
    alone = len(columns["dedupe_key"]) == 1
    params |= {name: values[0] if alone else _array(name, values) for name, values in columns.items()}
    with connection.cursor() as cursor:
        cursor.execute(STORE_ONE if alone else STORE, params)
        return cursor.rowcount


def _array(name: str, values: Sequence[Any]) -> str | None:
    """A column as an array's literal; None when no event has anything to tell in it."""
    if name == "occurred_at":
        return literals.moments(values)
    if name in ("campaign_id", "touch_id", "value"):
        return None if values.count(None) == len(values) else literals.known(values)
    if name == "machine":
        return literals.truths(values) if any(values) else None
    usual = "{}" if name == "detail" else ""
    return None if values.count(usual) == len(values) else literals.texts(values)


def set_aside_raw(channel_id: int, dedupe_key: str, detail: str, error: str, now: datetime) -> int:
    """A request that nobody could read, kept whole."""
    with connection.cursor() as cursor:
        cursor.execute(
            SET_ASIDE_RAW,
            {"channel": channel_id, "dedupe_key": dedupe_key, "detail": detail, "error": error, "now": now},
        )
        return cursor.rowcount


def mark_sweeps(ids: Sequence[int], seconds: float) -> int:
    """Clicks among these that a machine made: another link of the same touch was followed within ``seconds``."""
    with connection.cursor() as cursor:
        cursor.execute(SWEEPS, {"ids": list(ids), "seconds": seconds})
        return cursor.rowcount


def mark_drained(ids: Sequence[int], now: datetime) -> int:
    """These events, done with."""
    with connection.cursor() as cursor:
        cursor.execute(MARK, {"ids": list(ids), "now": now})
        return cursor.rowcount
