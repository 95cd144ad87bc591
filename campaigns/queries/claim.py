"""The claim: due touches of one channel become attempts, in one statement.

Nobody is contacted but through a row this statement made. What it must not do wrong, and how it does not:

- *Two workers, one touch*: touches are locked first, those of others skipped.
- *Decided from an old picture*: all that may forbid a contact stands in the contact state, and is read from
  the locked row. A state that somebody else holds is skipped, never waited for; so a claim waits for
  nobody while it holds locks, and takes part in no deadlock. What was skipped is claimed a moment later.
- *Two touches of one person at once*: one touch a person and claim, the highest priority first.
- *A place taken without a touch*: everything is joined by key to what ``claimed`` says, which is computed once.

Planners expect one row of every set here: so no two large sets are joined with each other, only sets with
tables by their keys (a join of 4,000 rows with 4,000 took seconds as a nested loop).

Rejected: locking states before touches (a wide claim then waits for every opt-out); a LEFT JOIN of the locked
set inside the UPDATE (a nested loop over the whole set, 30 times slower); joining by ctid (an updated row
has another one, so a place was taken and nothing claimed).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection

from campaigns.queries.pressure import Window, frees_at_sql

CLAIM = """
WITH running AS MATERIALIZED (
    SELECT given.*, c.silent_touches
    FROM unnest(%(campaigns)s::bigint[], %(has_hours)s::boolean[], %(budgets)s::integer[], %(exhausted)s::boolean[],
        %(day_left)s::integer[]) AS given (campaign_id, has_hours, budgets, exhausted, day_left)
    JOIN campaigns_campaign c ON c.id = given.campaign_id AND c.state = 'running'
    JOIN campaigns_channelplan p
        ON p.campaign_id = given.campaign_id AND p.channel_id = %(channel)s AND p.paused_at IS NULL
    JOIN channels_channel ch ON ch.id = %(channel)s AND ch.state = 'active'
),
opening AS MATERIALIZED (
    SELECT * FROM unnest(
        %(hours_campaigns)s::bigint[], %(zones)s::text[], %(open)s::boolean[], %(opens_at)s::timestamptz[]
    ) AS hours (campaign_id, zone, open, opens_at)
),
apart AS MATERIALIZED (
    SELECT p.campaign_id, r.number AS round, f.stage, f.min_gap_hours * interval '1 hour' AS gap
    FROM campaigns_channelplan p
    JOIN campaigns_frequencytarget f ON f.channel_plan_id = p.id
    JOIN campaigns_round r ON r.campaign_id = p.campaign_id AND r.phase_id = f.phase_id
    WHERE p.channel_id = %(channel)s AND p.campaign_id = ANY (%(campaigns)s::bigint[])
),
-- What a change took back: its touches are let go when the change is applied, and here, if they came back since.
withdrawn AS MATERIALIZED (
    SELECT campaign_id, round, stage, ordinal FROM campaigns_approved_ordinal
    WHERE channel_id = %(channel)s AND campaign_id = ANY (%(campaigns)s::bigint[]) AND withdrawn_at IS NOT NULL
),
patience AS MATERIALIZED (
    SELECT p.campaign_id, p.channel_id, coalesce(p.silence_hours, c.silence_hours) * interval '1 hour' AS wait
    FROM campaigns_channelplan p
    JOIN campaigns_campaign c ON c.id = p.campaign_id
    JOIN channels_channel ch ON ch.id = p.channel_id AND ch.observability = 'person_observed'
        AND NOT ch.id = ANY (%(unseen)s::integer[])
    WHERE p.campaign_id = ANY (%(campaigns)s::bigint[]) AND coalesce(p.silence_hours, c.silence_hours) IS NOT NULL
      AND c.silent_touches > 0
),
purse AS MATERIALIZED (
    SELECT l.id, l.amount, b.campaign_id
    FROM campaigns_budgetlease l JOIN campaigns_budget b ON b.id = l.budget_id
    WHERE l.worker = %(purse)s AND l.expires_at > %(now)s AND b.campaign_id = ANY (%(campaigns)s::bigint[])
    ORDER BY l.id FOR UPDATE OF l
),
money AS MATERIALIZED (
    SELECT campaign_id, min(amount) AS amount, count(*) AS leases FROM purse GROUP BY campaign_id
),
due AS MATERIALIZED (
    SELECT t.campaign_id, t.id, t.customer_id, t.round, t.ordinal, t.stage, t.priority, t.due_at, t.deadline_at,
           t.deferred, t.attempts, t.reserved, t.message_version_id, t.variant
    FROM campaigns_touch t
    WHERE t.channel_id = %(channel)s AND t.state = 'planned' AND t.due_at <= %(now)s
      AND t.campaign_id = ANY (%(campaigns)s::bigint[])
    ORDER BY t.due_at LIMIT %(scan)s
    FOR NO KEY UPDATE SKIP LOCKED
),
first AS MATERIALIZED (
    SELECT DISTINCT ON (customer_id) due.* FROM due ORDER BY customer_id, priority DESC, due_at, id
),
locked AS MATERIALIZED (
    SELECT f.*, s.erased, s.absorbed,
           %(permission)s = ANY (s.allowed) AS allowed,
           s.blocked && %(blocks)s::varchar[] AS blocked,
           {frees_at} AS frees_at,
           {last_place_at} AS last_place_at,
           {quota_at} AS quota_at
    FROM first f JOIN audiences_contactstate s ON s.customer_id = f.customer_id
    ORDER BY s.customer_id
    FOR NO KEY UPDATE OF s SKIP LOCKED
),
judged AS (
    SELECT f.*, m.zone, h.opens_at, e.rested_at, e.waits_until, e.waits_because, r.budgets, r.exhausted, r.day_left,
           CASE
               WHEN m.state <> 'active' THEN 'left:' || m.state
               WHEN w.ordinal IS NOT NULL THEN 'withdrawn'
               WHEN f.deadline_at <= %(now)s THEN 'late'
               WHEN f.absorbed THEN 'merged'
               WHEN f.erased THEN 'erased'
               WHEN f.blocked THEN 'opted_out'
               WHEN NOT f.allowed THEN 'no_consent'
               WHEN r.has_hours AND h.zone IS NULL THEN 'new_zone'
               WHEN NOT h.open THEN 'hours'
               WHEN q.silent >= r.silent_touches AND NOT EXISTS (
                   SELECT FROM audiences_order bought
                   WHERE bought.customer_id = f.customer_id AND bought.placed_at > q.last_at
               ) THEN 'silent'
               WHEN e.waits_until IS NOT NULL THEN 'order'
               WHEN e.rested_at > %(now)s THEN 'apart'
               WHEN f.frees_at > %(now)s THEN 'pressure'
               WHEN f.quota_at > %(now)s THEN 'quota'
               {yields}
               ELSE 'fits'
           END AS verdict
    FROM locked f
    JOIN running r USING (campaign_id)
    JOIN campaigns_member m ON m.campaign_id = f.campaign_id AND m.customer_id = f.customer_id
    LEFT JOIN withdrawn w ON w.campaign_id = f.campaign_id AND w.round = f.round AND w.stage = f.stage
        AND w.ordinal = f.ordinal
    LEFT JOIN opening h ON h.campaign_id = f.campaign_id AND h.zone = m.zone
    LEFT JOIN apart g ON g.campaign_id = f.campaign_id AND g.round = f.round AND g.stage = f.stage
    LEFT JOIN LATERAL (
        SELECT max(o.state_at) FILTER (WHERE o.state IN ('sent', 'delivered', 'unknown')) + g.gap AS rested_at,
               max(CASE WHEN o.state = 'planned' THEN greatest(o.due_at, %(now)s) ELSE %(now)s END
                   + greatest(g.gap, interval '1 minute')) FILTER (WHERE o.open) AS waits_until,
               max(o.deferred) FILTER (WHERE o.open) AS waits_because
        FROM (
            SELECT earlier.*, earlier.state IN ('claimed', 'held')
                   OR (earlier.state = 'planned' AND earlier.round = f.round) AS open
            FROM campaigns_touch earlier
            WHERE (f.ordinal > 1 OR f.round > 1)  -- in here, so that first touches do not look at all
              AND earlier.campaign_id = f.campaign_id AND earlier.customer_id = f.customer_id
              AND earlier.channel_id = %(channel)s AND (earlier.round, earlier.ordinal) < (f.round, f.ordinal)
        ) AS o
    ) AS e ON true
    -- Touches that nothing followed within the wait of their channel, since the person last reacted.
    LEFT JOIN LATERAL (
        SELECT count(*) AS silent, max(o.state_at) AS last_at
        FROM campaigns_touch o JOIN patience w ON w.campaign_id = o.campaign_id AND w.channel_id = o.channel_id
        WHERE o.campaign_id = f.campaign_id AND o.customer_id = f.customer_id AND o.state IN ('sent', 'delivered')
          AND o.state_at + w.wait <= %(now)s AND o.state_at >= m.state_at
          AND o.state_at > coalesce(m.last_response_at, '-infinity')
    ) AS q ON f.campaign_id IN (SELECT campaign_id FROM patience)
    OFFSET 0  -- each verdict is found once, and not stored
),
addressed AS (
    SELECT j.*, i.id AS identity_id, i.value AS address
    FROM judged j
    LEFT JOIN LATERAL (
        SELECT id, value FROM audiences_identity
        WHERE customer_id = j.customer_id AND invalid_at IS NULL AND ({addresses})
        ORDER BY array_position(%(kinds)s::varchar[], kind), id DESC
        LIMIT 1
    ) AS i ON j.verdict = 'fits'
    OFFSET 0
),
ranked AS (
    SELECT a.*, {place} AS place,
           row_number() OVER (
               PARTITION BY a.fits, a.campaign_id ORDER BY a.priority DESC, a.due_at, a.id) AS own_place,
           sum(a.reserved) OVER (
               PARTITION BY a.fits, a.campaign_id ORDER BY a.priority DESC, a.due_at, a.id) AS taken
    FROM (SELECT *, verdict = 'fits' AND identity_id IS NOT NULL AS fits FROM addressed) AS a
),
decided AS MATERIALIZED (
    SELECT c.*, CASE WHEN c.decision = 'claimed' THEN nextval('campaigns_attempt_id_seq') END AS attempt_id
    FROM (
        SELECT r.*,
               CASE
                   WHEN r.verdict <> 'fits' THEN r.verdict
                   WHEN NOT r.fits THEN 'no_identity'
                   WHEN r.place > %(channel_left)s OR r.own_place > r.day_left THEN 'capacity'
                   WHEN r.place > %(most)s THEN 'later'
                   WHEN r.budgets = 0 OR r.reserved = 0 THEN 'claimed'
                   WHEN money.leases = r.budgets AND money.amount >= r.taken THEN 'claimed'
                   WHEN r.exhausted THEN 'budget'
                   ELSE 'short'
               END AS decision
        FROM ranked r LEFT JOIN money ON money.campaign_id = r.campaign_id
    ) AS c
),
moved AS (
    UPDATE campaigns_touch t
    SET state = CASE
            WHEN d.decision = 'claimed' THEN 'claimed'
            WHEN d.decision IN ('merged', 'silent') OR starts_with(d.decision, 'left:') THEN 'released'
            WHEN d.decision IN ('late', 'erased', 'opted_out', 'no_consent', 'no_identity') THEN 'gap'
            ELSE 'planned' END,
        reason = CASE
            WHEN d.decision = 'late' THEN coalesce(nullif(d.deferred, ''), 'deadline')
            WHEN d.decision IN ('erased', 'opted_out', 'no_consent', 'no_identity', 'merged') THEN d.decision
            WHEN d.decision IN ('silent', 'left:waiting') THEN 'silence'
            WHEN d.decision = 'left:exited' THEN 'exit'
            WHEN starts_with(d.decision, 'left:') THEN 'campaign_stopped'
            ELSE '' END,
        deferred = CASE
            WHEN d.decision IN ('pressure', 'yields') THEN 'pressure'
            WHEN d.decision = 'quota' THEN 'platform_rule'
            WHEN d.decision IN ('hours', 'budget', 'capacity') THEN d.decision
            WHEN d.decision = 'order' THEN coalesce(nullif(d.waits_because, ''), d.deferred)
            WHEN d.decision = 'claimed' THEN ''
            ELSE d.deferred END,
        due_at = least(t.deadline_at, CASE
            WHEN d.decision = 'pressure' THEN
                -- A place held for somebody's confirmation may free at any time.
                CASE WHEN d.frees_at > %(now)s + %(longest)s * interval '1 hour' + interval '1 minute'
                    THEN least(d.frees_at, %(now)s + interval '1 hour') ELSE d.frees_at END
            WHEN d.decision = 'quota' THEN least(d.quota_at, %(now)s + interval '1 day')
            WHEN d.decision = 'yields' THEN %(now)s + interval '20 seconds'
            WHEN d.decision = 'hours' THEN d.opens_at
            WHEN d.decision = 'capacity' THEN %(next_day)s
            WHEN d.decision = 'budget' THEN %(now)s + interval '10 minutes'
            WHEN d.decision = 'order' THEN
                least(d.waits_until, greatest(%(now)s + interval '1 minute', t.deadline_at - interval '5 minutes'))
            WHEN d.decision = 'apart' THEN d.rested_at
            WHEN d.decision = 'withdrawn' THEN %(now)s + interval '1 minute'  -- let go of right after the claim
            ELSE t.due_at END),
        attempts = t.attempts + (d.decision = 'claimed')::integer,
        state_at = CASE WHEN d.decision IN
                ('pressure', 'quota', 'yields', 'hours', 'budget', 'capacity', 'order', 'apart', 'withdrawn')
            THEN t.state_at ELSE %(now)s END
    FROM decided d
    WHERE t.campaign_id = d.campaign_id AND t.id = d.id AND t.campaign_id = ANY (%(campaigns)s::bigint[])
      AND d.decision NOT IN ('later', 'short', 'new_zone')
    RETURNING t.campaign_id, t.id
),
attempted AS (
    INSERT INTO campaigns_attempt
        (id, campaign_id, touch_id, n, customer_id, channel_id, identity_id, state, worker, lease_until, started_at)
    SELECT attempt_id, campaign_id, id, attempts + 1, customer_id, %(channel)s, identity_id, 'recorded',
           %(token)s, %(lease_until)s, %(now)s
    FROM decided WHERE decision = 'claimed'
),
placed AS (
    UPDATE audiences_contactstate s
    SET recent_attempts = {kept_attempts} || d.attempt_id,
        recent_channels = {kept_channels} || %(channel)s::integer,
        recent_at = {kept_at} || %(place_at)s::timestamptz,
        complete_since = CASE WHEN s.recent_at[1] <= %(horizon)s
            THEN greatest(s.complete_since, %(horizon)s) ELSE s.complete_since END
    FROM decided d
    WHERE s.customer_id = d.customer_id AND d.decision = 'claimed'
),
used AS (
    SELECT campaign_id, sum(reserved) AS amount FROM decided WHERE decision = 'claimed' GROUP BY campaign_id
),
paid AS (
    UPDATE campaigns_budgetlease l SET amount = l.amount - used.amount
    FROM purse JOIN used USING (campaign_id) WHERE l.id = purse.id
),
noted AS (
    INSERT INTO campaigns_dispatch_claim (token, channel_id, claimed_at, lease_until, size, called)
    SELECT %(token)s, %(channel)s, %(now)s, %(lease_until)s, count(*), '{{}}'
    FROM decided WHERE decision = 'claimed' HAVING count(*) > 0
)
SELECT decision, campaign_id, id, customer_id, attempt_id, identity_id, address, message_version_id, variant,
       extract(epoch FROM deadline_at)::float8, reserved, zone, attempts + 1
FROM decided
"""

# Places among all campaigns are counted only where there may be fewer than touches: that is a sort of its own.
PLACE = "row_number() OVER (PARTITION BY a.fits ORDER BY a.priority DESC, a.due_at, a.id)"

# The first entry is the oldest but for a few held ones: while it is young enough, nothing is trimmed.
KEPT = """CASE WHEN s.recent_at[1] <= %(horizon)s THEN ARRAY(
            SELECT e.kept FROM unnest(s.{column}, s.recent_at) WITH ORDINALITY AS e (kept, at, n)
            WHERE e.at > %(horizon)s ORDER BY e.n) ELSE s.{column} END"""

# A person with one place left keeps it for a touch of higher priority that came due just now. One that has
# been due for longer cannot go for reasons of its own, and nobody waits for it.
YIELDS = """WHEN f.last_place_at > %(now)s AND f.priority < %(rival_priority)s AND EXISTS (
                   SELECT FROM campaigns_touch rival
                   WHERE rival.campaign_id = ANY (%(rivals)s::bigint[]) AND rival.customer_id = f.customer_id
                     AND rival.channel_id = ANY (%(rival_channels)s::integer[]) AND rival.state = 'planned'
                     AND rival.due_at <= %(now)s AND rival.due_at > %(now)s - interval '10 minutes'
                     AND rival.deadline_at > %(now)s AND rival.priority > f.priority
               ) THEN 'yields'"""

SENDING = """
SELECT c.id, c.priority, p.id
FROM campaigns_campaign c
JOIN campaigns_channelplan p ON p.campaign_id = c.id AND p.channel_id = %(channel)s AND p.paused_at IS NULL
WHERE c.state = 'running' AND (c.starts_at IS NULL OR c.starts_at <= %(now)s) AND EXISTS (
    SELECT FROM campaigns_touch t
    WHERE t.campaign_id = c.id AND t.channel_id = %(channel)s AND t.state = 'planned' AND t.due_at <= %(now)s)
ORDER BY c.id
"""

RIVALS = """
SELECT DISTINCT c.id, c.priority, p.channel_id
FROM campaigns_campaign c
JOIN campaigns_channelplan p ON p.campaign_id = c.id AND p.paused_at IS NULL
JOIN channels_channel ch ON ch.id = p.channel_id AND ch.state = 'active'
WHERE c.state = 'running' AND c.priority > %(least)s
"""

DUE_CHANNELS = """
SELECT ch.id
FROM channels_channel ch
WHERE ch.state = 'active' AND ch.guarantee <> 'aggregate' AND EXISTS (
    SELECT FROM campaigns_channelplan p JOIN campaigns_campaign c ON c.id = p.campaign_id
    CROSS JOIN LATERAL (
        SELECT FROM campaigns_touch t
        WHERE t.campaign_id = c.id AND t.channel_id = ch.id AND t.state = 'planned' AND t.due_at <= %(now)s
        LIMIT 1
    ) AS due
    WHERE p.channel_id = ch.id AND p.paused_at IS NULL AND c.state = 'running'
)
ORDER BY ch.id
"""


class Decided(NamedTuple):
    """What a claim decided of one touch; the columns of :data:`CLAIM`."""

    decision: str
    campaign_id: int
    touch_id: int
    customer_id: int
    attempt_id: int | None
    identity_id: int | None
    address: str | None
    message_version_id: int | None
    variant: int
    deadline_at: datetime
    reserved: Decimal
    zone: str
    n: int


def claim(
    rules: Sequence[Window],
    addresses: Sequence[tuple[str, str | None]],
    params: Mapping[str, Any],
    rivalled: Sequence[Window] = (),
    quota_at: str = "NULL::timestamptz",
) -> list[Decided]:
    """Due touches of one channel: claimed as attempts, deferred, or closed with their cause.

    ``rules`` are those that a contact on this channel keeps; ``rivalled`` those of them that touches of
    higher priority keep as well. ``quota_at``: SQL for when a platform lets
    the person have another message. ``addresses`` are the identity kinds the channel can address, best first,
    each with its issuer (None: any).
    """
    few = params["most"] < params["scan"] or params["channel_left"] < params["scan"]
    last_place = [_Less(rule) for rule in rivalled]
    sql = CLAIM.format(
        frees_at=frees_at_sql(rules),
        last_place_at=frees_at_sql(last_place),
        quota_at=quota_at,
        yields=YIELDS if last_place else "",
        place=PLACE if few else "0",
        addresses=" OR ".join(
            f"kind = %(kind_{n})s" + ("" if issuer is None else f" AND issuer = %(issuer_{n})s")
            for n, (_kind, issuer) in enumerate(addresses)
        )
        or "false",
        kept_attempts=KEPT.format(column="recent_attempts"),
        kept_channels=KEPT.format(column="recent_channels"),
        kept_at=KEPT.format(column="recent_at"),
    )
    kinds: dict[str, Any] = {"kinds": [kind for kind, _issuer in addresses]}
    for n, (kind, issuer) in enumerate(addresses):
        kinds[f"kind_{n}"], kinds[f"issuer_{n}"] = kind, issuer
    with connection.cursor() as cursor:
        cursor.execute(sql, {**params, **kinds})
        rows = cursor.fetchall()
    # A moment as text takes longer to read than all the rest of its row; and many rows have the same.
    deadlines = {seconds: datetime.fromtimestamp(seconds, UTC) for seconds in {row[9] for row in rows}}
    return [Decided._make((*row[:9], deadlines[row[9]], *row[10:])) for row in rows]


class _Less:
    """A rule with one place less: it bites when this contact would take the last one."""

    def __init__(self, rule: Window) -> None:
        self.touches, self.hours, self.channels = rule.touches - 1, rule.hours, rule.channels


def sending(channel_id: int, now: datetime) -> list[tuple[int, int, int]]:
    """(campaign, its priority, its channel plan) of those that have a touch due on this channel."""
    return _rows(SENDING, {"channel": channel_id, "now": now})


def rivals(least: int) -> list[tuple[int, int, int]]:
    """(campaign, priority, channel) of running campaigns of a higher priority than ``least``."""
    return _rows(RIVALS, {"least": least})


def due_channels(now: datetime) -> list[int]:
    """Channels on which a touch of a running campaign is due."""
    return [row[0] for row in _rows(DUE_CHANNELS, {"now": now})]


def _rows(sql: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()
