"""What happened on a channel, counted by the hour."""

from collections.abc import Mapping
from datetime import datetime

from django.db import connection

# Sorted by name: two workers that add the same names never wait for each other in a circle.
ADD = """
INSERT INTO channels_channelcount AS counted (channel_id, hour, name, n)
SELECT %(channel)s, date_trunc('hour', %(now)s::timestamptz), added.name, sum(added.n)
FROM unnest(%(names)s::text[], %(ns)s::bigint[]) AS added (name, n)
GROUP BY added.name
ORDER BY added.name
ON CONFLICT (channel_id, hour, name) DO UPDATE SET n = counted.n + excluded.n
"""


def add(channel_id: int, counts: Mapping[str, int], now: datetime) -> int:
    """The hour's counts of a channel, each raised by what was counted."""
    names = [name[:80] for name, n in counts.items() if n]
    if not names:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            ADD, {"channel": channel_id, "now": now, "names": names, "ns": [n for n in counts.values() if n]}
        )
        return cursor.rowcount
