"""The shared throttle in SQL. ``%(now)s`` null means the database's clock, the one clock of all workers."""

from datetime import datetime
from decimal import Decimal

from django.db import connection

ENSURE = """
INSERT INTO channels_channelthrottle (channel_id, next_at) SELECT id, 'epoch' FROM channels_channel WHERE id = %s
ON CONFLICT (channel_id) DO NOTHING
"""

# The clock is read after the row is locked: a worker that waited for the lock must not judge by an old time.
LEASE = """
WITH locked AS MATERIALIZED (
    SELECT throttle.channel_id, throttle.next_at, throttle.backoff_until, channel.rate_per_second AS rate
    FROM channels_channelthrottle throttle JOIN channels_channel channel ON channel.id = throttle.channel_id
    WHERE throttle.channel_id = %(channel)s
    FOR UPDATE OF throttle
),
clock AS MATERIALIZED (
    SELECT locked.*, coalesce(%(now)s::timestamptz, clock_timestamp()) AS now FROM locked
),
times AS (
    SELECT clock.*, greatest(clock.next_at, clock.now) AS starts_at,
           clock.backoff_until IS NOT NULL AND clock.backoff_until > clock.now AS backed_off
    FROM clock
),
granted AS (
    SELECT times.*,
           CASE WHEN backed_off THEN 0
                WHEN rate IS NULL THEN %(wanted)s
                WHEN rate <= 0 THEN 0
                ELSE least(%(wanted)s, greatest(0, 1 + floor(
                    extract(epoch FROM now + %(ahead)s * interval '1 second' - starts_at) * rate::numeric
                )))::integer
           END AS n
    FROM times
),
taken AS (
    UPDATE channels_channelthrottle throttle
    SET next_at = granted.starts_at + granted.n / granted.rate * interval '1 second'
    FROM granted
    WHERE throttle.channel_id = granted.channel_id AND granted.n > 0 AND granted.rate IS NOT NULL
)
SELECT n,
       CASE WHEN n > 0 THEN 0
            WHEN backed_off THEN extract(epoch FROM backoff_until - now)
            WHEN rate <= 0 THEN 60
            ELSE greatest(0.001, extract(epoch FROM starts_at - now) - %(ahead)s)
       END
FROM granted
"""

BACK_OFF = """
UPDATE channels_channelthrottle
SET backoff_until = greatest(
    backoff_until, coalesce(%(now)s::timestamptz, clock_timestamp()) + %(seconds)s * interval '1 second'
)
WHERE channel_id = %(channel)s
"""


def ensure_throttle(channel_id: int) -> int:
    """The throttle row of a channel that has none yet."""
    with connection.cursor() as cursor:
        cursor.execute(ENSURE, [channel_id])
        return cursor.rowcount


def lease(channel_id: int, wanted: int, ahead: float, now: datetime | None) -> tuple[int, float] | None:
    """How many of ``wanted`` messages may start, taken from the throttle; seconds to wait if none. None: no row."""
    with connection.cursor() as cursor:
        # A lease lost with the server only lets a few messages out early: no need to wait for the disk.
        cursor.execute("SET LOCAL synchronous_commit TO off")
        cursor.execute(
            LEASE, {"channel": channel_id, "wanted": wanted, "ahead": Decimal(str(ahead)), "now": now}
        )
        row = cursor.fetchone()
    return None if row is None else (int(row[0]), float(row[1]))


def back_off(channel_id: int, seconds: float, now: datetime | None) -> int:
    """The throttle of a channel held shut for ``seconds`` from now, never shorter than it already is."""
    with connection.cursor() as cursor:
        cursor.execute(BACK_OFF, {"channel": channel_id, "seconds": seconds, "now": now})
        return cursor.rowcount
