"""Whether words that break a rule may still go out."""

from django.db import connection

# Planned, or under way and perhaps given back: then it is planned again, with the same words.
TO_COME = """
SELECT EXISTS (
    SELECT FROM campaigns_touch
    WHERE campaign_id = %(campaign)s AND channel_id = %(channel)s AND state = 'planned'
      AND message_version_id = %(version)s
) OR EXISTS (
    SELECT FROM campaigns_attempt a
    JOIN campaigns_touch t ON t.campaign_id = a.campaign_id AND t.id = a.touch_id
    WHERE a.campaign_id = %(campaign)s AND a.channel_id = %(channel)s AND a.state IN ('recorded', 'held')
      AND t.message_version_id = %(version)s
)
"""


def to_come(campaign_id: int, channel_id: int, version_id: int) -> bool:
    """Whether a touch of a channel is planned or under way with the words of a version."""
    with connection.cursor() as cursor:
        cursor.execute(TO_COME, {"campaign": campaign_id, "channel": channel_id, "version": version_id})
        return bool(cursor.fetchone()[0])
