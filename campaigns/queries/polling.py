"""References of attempts whose fate is still open."""

from django.db import connection

OPEN = """
SELECT id, reference FROM campaigns_attempt
WHERE channel_id = %(channel)s AND state = ANY (%(states)s) AND reference <> '' AND id > %(after)s
ORDER BY id LIMIT %(limit)s
"""

BESIDE_LOST = """
SELECT o.reference
FROM campaigns_attempt lost
JOIN campaigns_attempt o ON o.customer_id = lost.customer_id
    AND o.started_at BETWEEN lost.started_at - make_interval(mins => %(minutes)s)
        AND lost.started_at + make_interval(mins => %(minutes)s)
WHERE lost.id = ANY (%(ids)s) AND lost.channel_id = %(channel)s AND lost.state = 'unknown'
  AND o.channel_id = %(channel)s AND o.reference <> '' AND o.state IN ('accepted', 'delivered', 'bounced', 'expired')
"""


def open_references(channel_id: int, states: list[str], after: int, limit: int) -> list[tuple[int, str]]:
    """(attempt, reference) of a channel's attempts in these states after this one, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(OPEN, {"channel": channel_id, "states": states, "after": after, "limit": limit})
        return cursor.fetchall()


def beside_lost(channel_id: int, attempt_ids: list[int], minutes: int) -> list[str]:
    """References of what the people of these unknown attempts were given on the channel at about the same time, and
    what is known of."""
    with connection.cursor() as cursor:
        cursor.execute(BESIDE_LOST, {"channel": channel_id, "ids": attempt_ids, "minutes": minutes})
        return [row[0] for row in cursor.fetchall()]
