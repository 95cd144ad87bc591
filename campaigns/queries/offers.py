"""Who has an offer, and what became of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection


class Held(NamedTuple):
    """The last grant of an offer to somebody."""

    turn: int
    code: str
    redeemed_at: datetime | None


# A grant of somebody who was merged since is the survivor's.
LATEST = """
WITH asked AS (
    SELECT t.id AS asked_id, coalesce(c.merged_into_id, c.id) AS id
    FROM unnest(%(customers)s::bigint[]) AS t (id) JOIN audiences_customer c ON c.id = t.id
)
SELECT DISTINCT ON (a.asked_id) a.asked_id, g.turn, g.code, g.redeemed_at
FROM asked a
JOIN audiences_customer c ON c.id = a.id OR c.merged_into_id = a.id
JOIN campaigns_offergrant g ON g.offer_id = %(offer)s AND g.customer_id = c.id
ORDER BY a.asked_id, g.turn DESC, g.id DESC
"""


def latest(offer_id: int, customers: Sequence[int]) -> dict[int, Held]:
    """Customer → their last grant of the offer."""
    rows = _rows(LATEST, {"offer": offer_id, "customers": list(customers)})
    return {row[0]: Held(*row[1:]) for row in rows}


TAKE = """
WITH free AS (
    SELECT id FROM campaigns_offercode WHERE offer_id = %(offer)s AND taken_at IS NULL
    ORDER BY id LIMIT %(n)s FOR UPDATE SKIP LOCKED
)
UPDATE campaigns_offercode k SET taken_at = %(now)s FROM free WHERE k.id = free.id RETURNING k.code
"""


def take(offer_id: int, n: int, now: datetime) -> list[str]:
    """Up to ``n`` free codes of an offer, taken."""
    return [row[0] for row in _rows(TAKE, {"offer": offer_id, "n": n, "now": now})] if n else []


REDEEM = """
WITH bought AS (
    SELECT DISTINCT ON (g.id) g.id, o.placed_at
    FROM audiences_order o
    JOIN audiences_customer buyer ON buyer.id = o.customer_id
    JOIN campaigns_offergrant g ON g.code = o.offer_code AND g.redeemed_at IS NULL AND g.granted_at <= o.placed_at
    JOIN audiences_customer holder ON holder.id = g.customer_id
        AND coalesce(holder.merged_into_id, holder.id) = coalesce(buyer.merged_into_id, buyer.id)
    WHERE o.offer_code <> '' AND o.received_at > %(since)s
    ORDER BY g.id, o.placed_at
)
UPDATE campaigns_offergrant g SET redeemed_at = b.placed_at FROM bought b WHERE g.id = b.id
RETURNING g.campaign_id, g.customer_id
"""


def redeem(since: datetime) -> list[tuple[int | None, int]]:
    """Grants whose holder placed an order with their code, told since then: (campaign, customer) of each."""
    return [(row[0], row[1]) for row in _rows(REDEEM, {"since": since})]


COUNTS = """
SELECT count(*), count(*) FILTER (WHERE redeemed_at IS NOT NULL) FROM campaigns_offergrant
WHERE offer_id = %(offer)s AND campaign_id = %(campaign)s
"""


def counts(offer_id: int, campaign_id: int) -> tuple[int, int]:
    """Grants of an offer in a campaign, and how many of them are redeemed."""
    row = _rows(COUNTS, {"offer": offer_id, "campaign": campaign_id})[0]
    return int(row[0]), int(row[1])


def _rows(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()
