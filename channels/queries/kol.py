"""What KOL accounts brought for their fees, in SQL: over accounts, placements, visits and orders, set by set."""

from datetime import date
from typing import Any

from django.conf import settings
from django.db import connection

# An order belongs to one post at most: by its code, or else by the last visit before it that bears a post's name.
BROUGHT = """
WITH post AS MATERIALIZED (
    SELECT p.id, p.account_id, p.campaign_id, p.fee, p.code, p.posted_on, p.link_id, c.currency
    FROM channels_kolplacement p
    JOIN channels_kolaccount a ON a.id = p.account_id
    JOIN channels_channel c ON c.id = a.channel_id
    WHERE p.state = 'posted' AND p.posted_on BETWEEN %(first)s AND %(last)s
      AND (%(channel)s::bigint IS NULL OR a.channel_id = %(channel)s)
      AND (%(campaign)s::bigint IS NULL OR p.campaign_id = %(campaign)s)
), visited AS (
    SELECT post.id, count(*) AS visits FROM post
    JOIN channels_inboxevent e ON e.detail ->> 'link_id' = post.link_id::text
     AND e.response = 'click' AND e.touch_id IS NULL AND NOT e.machine
    GROUP BY post.id
), coded AS (
    SELECT o.id AS order_id, post.id AS post_id, o.paid - o.returned AS net
    FROM post JOIN audiences_order o ON o.offer_code = post.code AND o.offer_code <> '' AND o.currency = post.currency
    WHERE o.placed_at >= post.posted_on::timestamp AT TIME ZONE %(zone)s
), followed AS (
    SELECT DISTINCT ON (o.id) o.id AS order_id, post.id AS post_id, o.paid - o.returned AS net
    FROM post
    JOIN audiences_behaviourevent b ON b.attributes ->> 'utm_content' = 'kol-' || post.id AND b.attributes ? 'utm_content'
    JOIN audiences_customer who ON who.id = b.customer_id
    JOIN audiences_customer own ON own.id = coalesce(who.merged_into_id, who.id)
        OR own.merged_into_id = coalesce(who.merged_into_id, who.id)
    JOIN audiences_order o ON o.customer_id = own.id AND o.currency = post.currency AND o.placed_at >= b.occurred_at
        AND o.placed_at < b.occurred_at + make_interval(days => %(days)s)
    ORDER BY o.id, b.occurred_at DESC, b.id DESC
), credited AS (
    SELECT order_id, post_id, net FROM coded
    UNION ALL
    SELECT order_id, post_id, net FROM followed WHERE order_id NOT IN (SELECT order_id FROM coded)
), sold AS (
    SELECT post_id, count(*) AS orders, sum(net) AS revenue FROM credited GROUP BY post_id
)
"""

BY_ACCOUNT = (
    BROUGHT
    + """
SELECT a.id, count(post.id), coalesce(sum(post.fee), 0), coalesce(sum(visited.visits), 0)::bigint,
       coalesce(sum(sold.orders), 0)::bigint, coalesce(sum(sold.revenue), 0)
FROM channels_kolaccount a
LEFT JOIN post ON post.account_id = a.id
LEFT JOIN visited ON visited.id = post.id
LEFT JOIN sold ON sold.post_id = post.id
WHERE (%(channel)s::bigint IS NULL OR a.channel_id = %(channel)s)
  AND (a.archived_at IS NULL OR post.id IS NOT NULL) AND (%(campaign)s::bigint IS NULL OR post.id IS NOT NULL)
GROUP BY a.id
"""
)

BY_POST = (
    BROUGHT
    + """
SELECT post.id, coalesce(visited.visits, 0)::bigint, coalesce(sold.orders, 0)::bigint, coalesce(sold.revenue, 0)
FROM post LEFT JOIN visited ON visited.id = post.id LEFT JOIN sold ON sold.post_id = post.id
"""
)


def _rows(
    sql: str, first: date, last: date, days: int, channel_id: int | None, campaign_id: int | None
) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            sql,
            {
                "first": first, "last": last, "days": days, "channel": channel_id, "campaign": campaign_id,
                "zone": settings.TIME_ZONE,
            },
        )  # fmt: skip
        return list(cursor.fetchall())


def by_account(
    first: date, last: date, days: int, channel_id: int | None = None, campaign_id: int | None = None
) -> list[tuple[Any, ...]]:
    """(account, posts, fees, visits, orders, revenue) of posts of these days; accounts without posts too."""
    return _rows(BY_ACCOUNT, first, last, days, channel_id, campaign_id)


def by_post(
    first: date, last: date, days: int, channel_id: int | None = None, campaign_id: int | None = None
) -> list[tuple[Any, ...]]:
    """(placement, visits, orders, revenue) of posts of these days."""
    return _rows(BY_POST, first, last, days, channel_id, campaign_id)
