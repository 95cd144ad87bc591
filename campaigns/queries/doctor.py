"""Questions whose answer should be nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

# Each returns rows that should not be; the first columns name them.
CLAIMED_WITHOUT_ATTEMPT = """
SELECT t.campaign_id, t.id FROM campaigns_touch t
WHERE t.state = 'claimed' AND NOT EXISTS (
    SELECT FROM campaigns_attempt a WHERE a.campaign_id = t.campaign_id AND a.touch_id = t.id AND a.state = 'recorded')
"""
ATTEMPT_WITHOUT_TOUCH_STATE = """
SELECT a.campaign_id, a.touch_id, a.n, a.state, t.state
FROM campaigns_attempt a JOIN campaigns_touch t ON t.campaign_id = a.campaign_id AND t.id = a.touch_id
WHERE a.n = t.attempts AND (a.state, t.state) NOT IN (
    ('recorded', 'claimed'), ('accepted', 'sent'), ('held', 'held'), ('delivered', 'delivered'), ('unknown', 'unknown'),
    ('refused', 'gap'), ('refused', 'planned'), ('refused', 'released'), ('throttled', 'gap'), ('throttled', 'planned'),
    ('throttled', 'released'), ('bounced', 'gap'), ('bounced', 'planned'), ('bounced', 'released'), ('expired', 'gap'),
    ('expired', 'planned'), ('expired', 'released'))
"""
PLACE_MISSING = """
SELECT a.customer_id, a.id FROM campaigns_attempt a
JOIN audiences_customer c ON c.id = a.customer_id
JOIN audiences_contactstate s ON s.customer_id = coalesce(c.merged_into_id, c.id)
WHERE a.state IN ('recorded', 'accepted', 'held', 'delivered', 'unknown')
  AND coalesce(a.sent_at, a.started_at) > %(now)s::timestamptz - %(kept)s
  AND coalesce(a.sent_at, a.started_at) > coalesce(s.complete_since, '-infinity')
  AND NOT a.id = ANY (s.recent_attempts)
  AND a.campaign_id NOT IN (SELECT id FROM campaigns_campaign WHERE kind = 'imported')  -- known by their touches
"""
PLACE_TOO_MANY = """
SELECT s.customer_id, e.attempt FROM audiences_contactstate s
CROSS JOIN LATERAL unnest(s.recent_attempts) AS e (attempt)
JOIN campaigns_attempt a ON a.id = e.attempt
WHERE e.attempt > 0 AND a.state IN ('refused', 'throttled', 'bounced', 'expired')
"""
OVERSPENT = """
SELECT campaign_id, channel_id, amount, spent, leased FROM campaigns_budget WHERE spent + leased > amount
"""
# Money lent out must be with a lease or with an attempt under way.
LEASES_ADRIFT = """
SELECT b.id, b.campaign_id, b.leased, coalesce(l.amount, 0) + coalesce(u.amount, 0) AS held
FROM campaigns_budget b
LEFT JOIN (SELECT budget_id, sum(amount) AS amount FROM campaigns_budgetlease GROUP BY budget_id) l ON l.budget_id = b.id
LEFT JOIN LATERAL (
    SELECT sum(t.reserved) AS amount
    FROM campaigns_attempt a JOIN campaigns_touch t ON t.campaign_id = a.campaign_id AND t.id = a.touch_id
    WHERE a.campaign_id = b.campaign_id AND a.state IN ('recorded', 'held')
      AND (b.channel_id IS NULL OR a.channel_id = b.channel_id)
) u ON true
WHERE b.leased <> coalesce(l.amount, 0) + coalesce(u.amount, 0)
"""
STUCK_CLAIMS = """
SELECT token, channel_id, size FROM campaigns_dispatch_claim WHERE lease_until < %(now)s::timestamptz - interval '2 minutes'
"""
# Where somebody paused the channel, in the campaign or altogether, it waits because that was wanted.
OVERDUE = """
SELECT t.campaign_id, t.channel_id, count(*), min(t.due_at)
FROM campaigns_touch t JOIN campaigns_campaign c ON c.id = t.campaign_id AND c.state = 'running'
    JOIN channels_channel h ON h.id = t.channel_id AND h.state <> 'paused'
WHERE t.state = 'planned' AND t.due_at < %(now)s::timestamptz - interval '10 minutes'
    AND NOT EXISTS (SELECT FROM campaigns_channelplan p
        WHERE p.campaign_id = t.campaign_id AND p.channel_id = t.channel_id AND p.paused_at IS NOT NULL)
GROUP BY t.campaign_id, t.channel_id
"""
PAST_DEADLINE = """
SELECT campaign_id, channel_id, count(*) FROM campaigns_touch
WHERE state = 'planned' AND deadline_at < %(now)s::timestamptz - interval '5 minutes' AND due_at <= %(now)s
GROUP BY campaign_id, channel_id
"""
FINISHED_OPEN = """
SELECT t.campaign_id, count(*) FROM campaigns_touch t JOIN campaigns_campaign c ON c.id = t.campaign_id
WHERE c.state IN ('finished', 'reviewed') AND t.state IN ('planned', 'claimed') GROUP BY t.campaign_id
"""
INBOX_WAITING = """
SELECT channel_id, kind, count(*), min(received_at) FROM channels_inboxevent
WHERE state = 'new' AND received_at < %(now)s::timestamptz - interval '5 minutes' GROUP BY channel_id, kind
"""
INBOX_POISON = (
    "SELECT channel_id, count(*) FROM channels_inboxevent WHERE state = 'poison' GROUP BY channel_id"
)
INBOX_STRANGE = """
SELECT channel_id, count(*) FROM channels_inboxevent
WHERE state = 'ignored' AND kind = 'receipt' AND received_at > %(now)s::timestamptz - interval '1 day' GROUP BY channel_id
"""
CHANNELS_STOPPED = "SELECT id, name, state_reason FROM channels_channel WHERE state = 'stopped'"
RULES_WAITING = """
SELECT id, name FROM campaigns_pressurerule
WHERE active AND in_force_at IS NULL AND created_at < %(now)s::timestamptz - interval '5 minutes'
"""
HELD_LONG = """
SELECT a.channel_id, count(*), min(a.started_at) FROM campaigns_attempt a
WHERE a.state = 'held' AND a.started_at < %(now)s::timestamptz - interval '2 days' GROUP BY a.channel_id
"""


def ask(sql: str, params: Mapping[str, Any], limit: int) -> tuple[int, list[Sequence[Any]]]:
    """How many rows there are, and the first few of them."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows = cursor.fetchall()
    return len(rows), rows[:limit]
