"""Public domains in SQL: who should be in a platform's audience, and what became of their touches."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connection

from audiences.contact_state import permitted_sql
from audiences.vocabulary import Purpose, ResponseKind

CAP_REACHED = "cap reached"
# Why the platform cannot be told of a person: none of their addresses is one it takes.
UNTELLABLE = "'no identity', 'identity_kind', 'not_taken_here', 'empty'"
PERMITTED = permitted_sql("s", "%(brand)s::text", "%(medium)s::text", Purpose.UPLOAD)

STEERED = """
SELECT c.id, p.channel_id, ch.brand_id, ch.medium, ch.observability, c.name
FROM campaigns_campaign c
JOIN campaigns_channelplan p ON p.campaign_id = c.id AND p.paused_at IS NULL
JOIN channels_channel ch ON ch.id = p.channel_id AND ch.state = 'active' AND ch.guarantee = 'aggregate'
WHERE c.state = 'running' AND (c.starts_at IS NULL OR c.starts_at <= %(now)s)
ORDER BY c.id, p.channel_id
"""

# Nobody is pushed without permission to upload; whoever lacks it is a gap, by the same state dispatch reads.
REFUSE = f"""
WITH due AS MATERIALIZED (
    SELECT t.campaign_id, t.id, s.erased, s.absorbed, m.state AS member_state,
           s.blocked && ARRAY['upload:' || %(brand)s::text || ':' || %(medium)s::text, 'upload:' || %(brand)s::text || ':*',
               'upload:*:' || %(medium)s::text, 'upload:*:*']::varchar[] AS blocked
    FROM campaigns_touch t
    JOIN audiences_contactstate s ON s.customer_id = t.customer_id
    JOIN campaigns_member m ON m.campaign_id = t.campaign_id AND m.customer_id = t.customer_id
    WHERE t.campaign_id = %(campaign)s AND t.channel_id = %(channel)s AND t.state = 'planned' AND t.due_at <= %(now)s
      AND (m.state <> 'active' OR NOT {PERMITTED})
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF t SKIP LOCKED
)
UPDATE campaigns_touch t
SET state = CASE WHEN d.member_state <> 'active' OR d.absorbed THEN 'released' ELSE 'gap' END,
    reason = CASE
        WHEN d.member_state = 'waiting' THEN 'silence' WHEN d.member_state = 'exited' THEN 'exit'
        WHEN d.member_state <> 'active' THEN 'campaign_stopped' WHEN d.absorbed THEN 'merged'
        WHEN d.erased THEN 'erased' WHEN d.blocked THEN 'opted_out' ELSE 'no_consent' END,
    state_at = %(now)s
FROM due d WHERE t.campaign_id = d.campaign_id AND t.id = d.id AND t.campaign_id = %(campaign)s
"""

WANT = f"""
INSERT INTO channels_platformaudiencemember AS member (audience_id, customer_id, wanted, held, changed_at, error)
SELECT DISTINCT %(audience)s::bigint, t.customer_id, true, false, %(now)s::timestamptz, ''
FROM campaigns_touch t
JOIN audiences_contactstate s ON s.customer_id = t.customer_id AND {PERMITTED}
WHERE t.campaign_id = %(campaign)s AND t.channel_id = %(channel)s AND t.state = 'planned'
  AND t.due_at <= %(now)s AND t.deadline_at > %(now)s
ORDER BY t.customer_id
ON CONFLICT (audience_id, customer_id) DO UPDATE
SET wanted = true, changed_at = excluded.changed_at, lease_until = NULL, error = ''
WHERE NOT member.wanted
"""

# Where the platform has no cap of its own: who saw the planned exposures is taken out, and not wanted again before
# they lie further back than the cap's days.
DROP_SEEN = f"""
WITH seen AS (
    SELECT r.customer_id FROM campaigns_response r
    WHERE r.campaign_id = %(campaign)s AND r.channel_id = %(channel)s AND r.kind = '{ResponseKind.EXPOSURE}'
      AND NOT r.machine AND r.occurred_at > %(now)s::timestamptz - make_interval(days => %(days)s::int)
    GROUP BY r.customer_id HAVING count(*) >= %(cap)s
)
UPDATE channels_platformaudiencemember pm
SET wanted = false, changed_at = %(now)s, lease_until = NULL, error = '{CAP_REACHED}'
FROM seen WHERE pm.audience_id = %(audience)s AND pm.customer_id = seen.customer_id AND pm.wanted
"""

# Once the platform holds a person, what it shows them is not known: neither over nor gap.
OBSERVED_NO_MORE = f"""
WITH due AS MATERIALIZED (
    SELECT t.campaign_id, t.id, pm.held, pm.error
    FROM campaigns_touch t
    JOIN channels_platformaudiencemember pm ON pm.audience_id = %(audience)s AND pm.customer_id = t.customer_id
    WHERE t.campaign_id = %(campaign)s AND t.channel_id = %(channel)s AND t.state = 'planned' AND t.due_at <= %(now)s
      AND (pm.held OR pm.error IN ({UNTELLABLE}, '{CAP_REACHED}'))
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF t SKIP LOCKED
)
UPDATE campaigns_touch t
SET state = CASE WHEN d.held OR d.error = '{CAP_REACHED}' THEN 'unobserved' ELSE 'gap' END,
    reason = CASE WHEN d.held OR d.error = '{CAP_REACHED}' THEN '' ELSE 'no_identity' END,
    state_at = %(now)s
FROM due d WHERE t.campaign_id = d.campaign_id AND t.id = d.id AND t.campaign_id = %(campaign)s
"""

PLACED = """
UPDATE campaigns_touch t SET state = 'unobserved', state_at = %(now)s
WHERE t.campaign_id = %(campaign)s AND t.channel_id = %(channel)s AND t.state = 'planned' AND t.due_at <= %(now)s
  AND t.deadline_at > %(now)s
"""

# Campaigns that are over, and plans taken out of them, want nobody any more.
DROP_ENDED = """
UPDATE channels_platformaudiencemember pm
SET wanted = false, changed_at = %(now)s, lease_until = NULL, error = ''
FROM channels_platformaudience a
LEFT JOIN campaigns_campaign c ON c.id = a.campaign_id
WHERE pm.audience_id = a.id AND pm.wanted AND a.campaign_id IS NOT NULL
  AND (c.id IS NULL OR c.state NOT IN ('scheduled', 'running', 'paused') OR NOT EXISTS (
      SELECT FROM campaigns_channelplan p WHERE p.campaign_id = a.campaign_id AND p.channel_id = a.channel_id))
"""

# The ads of a flight show while its campaign runs on that channel, or another one that goes by the same flight does.
HOLD = """
WITH running AS MATERIALIZED (
    SELECT o.id, o.channel_id, o.flight_reference
    FROM channels_platformaudience o
    JOIN campaigns_campaign c ON c.id = o.campaign_id AND c.state = 'running'
    JOIN campaigns_channelplan p ON p.campaign_id = c.id AND p.channel_id = o.channel_id AND p.paused_at IS NULL
    JOIN channels_channel ch ON ch.id = o.channel_id AND ch.state NOT IN ('paused', 'archived')
), changed AS MATERIALIZED (
    SELECT held.id
    FROM channels_platformaudience held
    WHERE held.campaign_id IS NOT NULL AND held.pause_wanted = (
        held.id IN (SELECT id FROM running)
        OR (held.channel_id, held.flight_reference) IN (
            SELECT channel_id, flight_reference FROM running WHERE flight_reference <> '')
    )
    ORDER BY held.id  -- two pauses at once meet in one order
    FOR NO KEY UPDATE OF held
)
UPDATE channels_platformaudience a
SET pause_wanted = NOT a.pause_wanted, pause_wanted_at = %(now)s, pause_known = NULL, pause_tried_at = NULL, pause_error = ''
FROM changed WHERE a.id = changed.id
"""


def hold(now: datetime) -> int:
    """Flights to be paused on the platform since their campaign stands still, or to go on; how many changed."""
    return _run(HOLD, {"now": now})


def steered(now: datetime) -> list[tuple[int, int, int, str, str, str]]:
    """(campaign, channel, brand, medium, observability, name) of running plans on platforms."""
    with connection.cursor() as cursor:
        cursor.execute(STEERED, {"now": now})
        return cursor.fetchall()


def refuse(params: Mapping[str, Any]) -> int:
    """Due touches of people who may not be uploaded, or left: closed."""
    return _run(REFUSE, params)


def want(params: Mapping[str, Any]) -> int:
    """People with a due touch, wanted in the audience."""
    return _run(WANT, params)


def drop_seen(params: Mapping[str, Any]) -> int:
    """People who saw ``cap`` exposures in ``days`` days, not wanted any more."""
    return _run(DROP_SEEN, params)


def observed_no_more(params: Mapping[str, Any]) -> int:
    """Due touches of people the platform holds, unobserved; of those it cannot be told of, gaps."""
    return _run(OBSERVED_NO_MORE, params)


def placed(params: Mapping[str, Any]) -> int:
    """Due touches on placements, unobserved."""
    return _run(PLACED, params)


def drop_ended(now: datetime) -> int:
    """Members of audiences whose campaign is over, not wanted any more."""
    return _run(DROP_ENDED, {"now": now})


def _run(sql: str, params: Mapping[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.rowcount
