"""References of attempts whose fate is still open."""

from django.db import connection

OPEN = """
SELECT id, reference FROM campaigns_attempt
WHERE channel_id = %(channel)s AND state = ANY (%(states)s) AND reference <> '' AND id > %(after)s
ORDER BY id LIMIT %(limit)s
"""


def open_references(channel_id: int, states: list[str], after: int, limit: int) -> list[tuple[int, str]]:
    """(attempt, reference) of a channel's attempts in these states after this one, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(OPEN, {"channel": channel_id, "states": states, "after": after, "limit": limit})
        return cursor.fetchall()
