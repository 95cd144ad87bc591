"""Figures about people: touches received against target, over, receipts, contacts of the last days.

They are of persons, so cannot be added up from cells; each is one pass over a campaign, as of one moment.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any

from django.db import connection

from reports.queries.coverage import rows

# One pass over touches, one over targets. A person's touches on a channel in a round, against the target there.
# Measured on 2 busy cores with 10M touches and 5.4M targets: 53 s, half of it hash tables that spill.
PERSONS = """
WITH got AS (
    SELECT t.customer_id, t.channel_id, t.round, (count(*) FILTER (WHERE t.state <> 'unknown'))::int AS received,
           count(*)::int AS handed
    FROM campaigns_touch t
    WHERE t.campaign_id = %(campaign)s AND t.state IN ('sent', 'delivered', 'unknown')
    GROUP BY 1, 2, 3
), on_channel AS MATERIALIZED (
    SELECT m.customer_id, m.channel_id, m.stage, sum(m.target)::int AS target,
           coalesce(sum(g.received), 0)::int AS received, sum(greatest(g.handed - m.target, 0))::int AS beyond
    FROM campaigns_member_target m
    LEFT JOIN got g USING (customer_id, channel_id, round)
    WHERE m.campaign_id = %(campaign)s
    GROUP BY 1, 2, 3
), person AS (
    SELECT customer_id, sum(target) AS target, sum(received) AS received FROM on_channel GROUP BY 1
)
SELECT 'histogram' AS figure, NULL::integer AS channel_id, NULL AS stage, target::bigint, received::bigint,
       0::bigint AS beyond, count(*) AS people
FROM person WHERE target > 0 OR received > 0
GROUP BY 4, 5
UNION ALL
SELECT 'channel', channel_id, stage, max(target)::bigint, 0, coalesce(sum(beyond), 0)::bigint,
       count(*) FILTER (WHERE target > 0)
FROM on_channel
GROUP BY 2, 3
"""

# Reached or unknown touches beyond the target, the latest of each person. An ordinal is unique, so whoever got
# more than the target has one beyond it: only they are counted through.
OVER_BY_US = """
WITH beyond AS (
    SELECT DISTINCT t.customer_id, t.channel_id, t.round, m.target
    FROM campaigns_touch t
    JOIN campaigns_member_target m USING (campaign_id, customer_id, channel_id, round)
    WHERE t.campaign_id = %(campaign)s AND t.state IN ('sent', 'delivered', 'unknown') AND t.ordinal > m.target
)
SELECT r.customer_id, r.channel_id, r.round, r.stage, r.ordinal, 1 AS touches, r.state, r.reason AS cause,
       r.state_at AS at, r.cost, r.due_at
FROM beyond b
JOIN LATERAL (
    SELECT t.*, row_number() OVER (ORDER BY t.state_at, t.id) AS nth FROM campaigns_touch t
    WHERE t.campaign_id = %(campaign)s AND t.customer_id = b.customer_id AND t.channel_id = b.channel_id
      AND t.round = b.round AND t.state IN ('sent', 'delivered', 'unknown')
) r ON r.nth > b.target
"""

# Two members of one campaign who turned out to be one person. It begins with the absorbed members, who are few,
# and never looks at the touches of anybody else.
OVER_BY_MERGE = """
WITH merged AS (
    SELECT DISTINCT c.merged_into_id AS person
    FROM audiences_customer c
    JOIN campaigns_member m ON m.campaign_id = %(campaign)s AND m.customer_id = c.id
    WHERE c.merged_into_id IS NOT NULL
), same AS (
    SELECT person, person AS customer_id FROM merged
    UNION ALL
    SELECT c.merged_into_id, c.id FROM audiences_customer c JOIN merged ON merged.person = c.merged_into_id
), target AS (
    SELECT s.person, m.channel_id, m.round, max(m.target) AS target
    FROM same s
    JOIN campaigns_member_target m ON m.campaign_id = %(campaign)s AND m.customer_id = s.customer_id
    GROUP BY 1, 2, 3
), received AS (
    SELECT s.person, t.*, row_number() OVER (PARTITION BY s.person, t.channel_id, t.round ORDER BY t.state_at, t.id) AS nth,
           min(t.customer_id) OVER (PARTITION BY s.person, t.channel_id, t.round) AS one,
           max(t.customer_id) OVER (PARTITION BY s.person, t.channel_id, t.round) AS other
    FROM same s
    JOIN campaigns_touch t ON t.campaign_id = %(campaign)s AND t.customer_id = s.customer_id
    WHERE t.state IN ('sent', 'delivered', 'unknown')
)
SELECT r.customer_id, r.channel_id, r.round, r.stage, r.ordinal, 1 AS touches, r.state, r.reason AS cause,
       r.state_at AS at, r.cost, r.due_at
FROM received r JOIN target t USING (person, channel_id, round)
WHERE r.one <> r.other AND r.nth > t.target
"""

# Exposures a platform or pixel tells of one person, beyond the person's target on that channel over all rounds.
# Each belongs to the round that had begun when it was shown.
OVER_BY_PLATFORM = """
WITH target AS (
    SELECT m.customer_id, m.channel_id, min(m.stage) AS stage, sum(m.target) AS target
    FROM campaigns_member_target m
    WHERE m.campaign_id = %(campaign)s AND m.channel_id = ANY ({unobserved})
    GROUP BY 1, 2
), shown AS (
    SELECT r.customer_id, r.channel_id, r.occurred_at,
           row_number() OVER (PARTITION BY r.customer_id, r.channel_id ORDER BY r.occurred_at, r.id) AS nth
    FROM campaigns_response r
    WHERE r.campaign_id = %(campaign)s AND r.kind = 'exposure' AND NOT r.machine
      AND r.channel_id = ANY ({unobserved})
)
SELECT s.customer_id, s.channel_id, coalesce((
           SELECT r.number FROM campaigns_round r
           WHERE r.campaign_id = %(campaign)s AND (r.starts_at IS NULL OR r.starts_at <= s.occurred_at)
           ORDER BY r.starts_at DESC NULLS LAST, r.number LIMIT 1
       ), 1)::smallint AS round, t.stage, s.nth AS ordinal, 1 AS touches,
       'exposure' AS state, '' AS cause, s.occurred_at AS at, 0::numeric AS cost, s.occurred_at AS due_at
FROM shown s JOIN target t USING (customer_id, channel_id)
WHERE s.nth > t.target
""".replace("{unobserved}", "ARRAY(SELECT id FROM channels_channel WHERE observability <> 'person_observed')")

# Channels of a campaign, or reported for it, that do not observe persons. Most campaigns of messages have none.
UNOBSERVED = """
SELECT h.id FROM channels_channel h
WHERE h.observability <> 'person_observed' AND h.id IN (
    SELECT channel_id FROM reports_coverageday WHERE campaign_id = %(campaign)s
    UNION SELECT channel_id FROM reports_coveragechange WHERE campaign_id = %(campaign)s
    UNION SELECT channel_id FROM channels_dailyreport WHERE campaign_id = %(campaign)s)
"""

OVER = {"over_by_us": OVER_BY_US, "over_by_merge": OVER_BY_MERGE, "over_by_platform": OVER_BY_PLATFORM}

_BY_CELL = """
SELECT o.channel_id, o.round, o.stage, (o.due_at AT TIME ZONE c.zone)::date AS day, count(*) AS touches
FROM ({over}) AS o, campaigns_campaign c
WHERE c.id = %(campaign)s
GROUP BY 1, 2, 3, 4
"""

MEMBERS = """
SELECT count(*) AS members, count(*) FILTER (WHERE held_out) AS held_out,
       count(*) FILTER (WHERE state = 'exited') AS exited,
       count(*) FILTER (WHERE state = 'waiting') AS waiting
FROM campaigns_member WHERE campaign_id = %(campaign)s
"""

# The same touches as the attempts beside them: read in the same snapshot.
TOUCHES = """
SELECT channel_id, state, sum(touches)::bigint AS touches
FROM (
    SELECT channel_id, state, touches FROM reports_coverageday WHERE campaign_id = %(campaign)s
    UNION ALL
    SELECT channel_id, state, touches FROM reports_coveragechange WHERE campaign_id = %(campaign)s
) AS cell
WHERE state <> ''
GROUP BY 1, 2
"""

# What was handed to providers, by what they say became of it.
ATTEMPTS = """
SELECT a.channel_id, a.state, count(*) AS attempts
FROM campaigns_attempt a WHERE a.campaign_id = %(campaign)s
GROUP BY 1, 2
"""

AUDIENCES = """
SELECT a.channel_id, count(*) FILTER (WHERE m.wanted) AS wanted, count(*) FILTER (WHERE m.held) AS held,
       max(a.platform_size) AS platform_size, max(a.last_synced_at)::text AS synced_at
FROM channels_platformaudience a
JOIN channels_platformaudiencemember m ON m.audience_id = a.id
WHERE a.campaign_id = %(campaign)s
GROUP BY 1
"""

# Where persons are not observed, responses are what is seen of them.
RESPONSES = """
SELECT r.channel_id, count(*) AS responses
FROM campaigns_response r
WHERE r.campaign_id = %(campaign)s AND NOT r.machine
  AND r.channel_id = ANY (%(unobserved)s::integer[])
  AND r.kind NOT IN ('exposure', 'delivered', 'opt_out', 'complaint')
GROUP BY 1
"""

# Contacts are counted for the survivor of a merge: it is the person who was hit. The few absorbed customers
# are mapped, instead of joining all.
CONTACTS_OF_PEOPLE = """
WITH absorbed AS MATERIALIZED (
    SELECT id, merged_into_id FROM audiences_customer WHERE merged_into_id IS NOT NULL
), own AS (
    SELECT a.customer_id, count(*) AS contacts
    FROM campaigns_attempt a
    WHERE a.state IN ('accepted', 'delivered') AND coalesce(a.sent_at, a.started_at) >= %(since)s
    GROUP BY 1
), person AS (
    SELECT coalesce(b.merged_into_id, o.customer_id) AS person, sum(o.contacts)::bigint AS contacts
    FROM own o LEFT JOIN absorbed b ON b.id = o.customer_id
    GROUP BY 1
)
SELECT contacts, count(*) AS people FROM person GROUP BY 1 ORDER BY 1
"""


def figures(campaign_id: int) -> dict[str, Any]:
    """Everything about people of one campaign, fit for JSON. Call it in one snapshot.

    ``histogram``: [{target, received, people}]; ``channels``: [{channel, stage, people, most}] with the highest
    target of a person; ``over``: {kind: [{channel, round, stage, day, touches}]}; ``members``: counts;
    ``touches`` and ``attempts``: [{channel, state, touches or attempts}]; ``audiences``: [{channel, wanted, held,
    platform_size, synced_at}] and ``responses``: [{channel, responses}] of channels that observe no persons.
    """
    unobserved = [row["id"] for row in rows(UNOBSERVED, {"campaign": campaign_id})]
    parameters = {"campaign": campaign_id, "unobserved": unobserved}
    worthwhile = {"over_by_us": False, "over_by_merge": True, "over_by_platform": bool(unobserved)}
    histogram, channels, beyond = [], [], 0
    for row in rows(PERSONS, parameters):
        if row["figure"] == "histogram":
            histogram.append({name: row[name] for name in ("target", "received", "people")})
        else:
            channels.append(
                {
                    "channel": row["channel_id"],
                    "stage": row["stage"],
                    "people": row["people"],
                    "most": row["target"],
                }
            )
            beyond += row["beyond"]
    worthwhile["over_by_us"] = beyond > 0
    over = {
        kind: [
            {
                "channel": row["channel_id"],
                "round": row["round"],
                "stage": row["stage"],
                "day": row["day"].isoformat(),
                "touches": row["touches"],
            }
            for row in rows(_BY_CELL.format(over=sql), parameters)
        ]
        if worthwhile[kind]
        else []
        for kind, sql in OVER.items()
    }
    histogram.sort(key=lambda bar: (bar["received"], bar["target"]))
    return {
        "histogram": histogram,
        "channels": channels,
        "over": over,
        "members": rows(MEMBERS, parameters)[0],
        "touches": [_by_channel(row) for row in rows(TOUCHES, parameters)],
        "attempts": [_by_channel(row) for row in rows(ATTEMPTS, parameters)],
        "audiences": [_by_channel(row) for row in rows(AUDIENCES, parameters)],
        "responses": [_by_channel(row) for row in rows(RESPONSES, parameters)] if unobserved else [],
    }


def _by_channel(row: dict[str, Any]) -> dict[str, Any]:
    return {"channel" if name == "channel_id" else name: value for name, value in row.items()}


def contacts_of_people(since: dt.datetime) -> list[dict[str, int]]:
    """How many people were contacted how often since a moment, over all campaigns."""
    return [
        {"contacts": int(row["contacts"]), "people": int(row["people"])}
        for row in rows(CONTACTS_OF_PEOPLE, {"since": since})
    ]


def one_snapshot() -> None:
    """All statements of this transaction see the database of one moment; room to aggregate in memory.

    To be called first in a transaction; within another one (as in tests) nothing else changes anyway.
    """
    with connection.cursor() as cursor:
        if not connection.savepoint_ids:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SET LOCAL work_mem = '128MB'")


# People behind a bar of the histogram, in the order of the targets' key: only as far as a page needs.
OF_CAMPAIGN = """
SELECT p.customer_id, c.name, p.stage, p.target, p.received
FROM (
    SELECT m.customer_id, min(m.stage) AS stage, sum(m.target) AS target, (
        SELECT count(*) FROM campaigns_touch t
        WHERE t.campaign_id = %(campaign)s AND t.customer_id = m.customer_id AND t.state IN ('sent', 'delivered')
    ) AS received
    FROM campaigns_member_target m
    WHERE m.campaign_id = %(campaign)s AND m.customer_id > %(after)s
      AND (%(channel)s::integer IS NULL OR m.channel_id = %(channel)s)
      AND (%(stage)s::varchar IS NULL OR m.stage = %(stage)s)
    GROUP BY m.customer_id
) p
JOIN audiences_customer c ON c.id = p.customer_id
WHERE p.target + p.received > 0
  AND (%(received)s::integer IS NULL OR p.received = %(received)s)
  AND CASE %(side)s WHEN 'below' THEN p.received < p.target WHEN 'full' THEN p.received = p.target
                    WHEN 'beyond' THEN p.received > p.target ELSE true END
ORDER BY p.customer_id
LIMIT %(limit)s
"""

# Members, in the order of their key.
MEMBERS_OF = """
SELECT m.customer_id, c.name, m.stage, m.state, m.state_at
FROM campaigns_member m
JOIN audiences_customer c ON c.id = m.customer_id
WHERE m.campaign_id = %(campaign)s AND m.customer_id > %(after)s
  AND CASE %(which)s WHEN 'held_out' THEN m.held_out WHEN 'exited' THEN m.state = 'exited'
                     WHEN 'waiting' THEN m.state = 'waiting' ELSE true END
ORDER BY m.customer_id
LIMIT %(limit)s
"""

# People contacted so often since a moment, by person; contacts of those they absorbed are theirs.
CONTACTED = """
SELECT c.id AS customer_id, c.name, k.contacts, k.campaigns, k.last_at
FROM audiences_customer c
CROSS JOIN LATERAL (
    SELECT count(*) AS contacts, count(DISTINCT a.campaign_id) AS campaigns,
           max(coalesce(a.sent_at, a.started_at)) AS last_at
    FROM campaigns_attempt a
    WHERE a.customer_id IN (SELECT c.id UNION ALL SELECT b.id FROM audiences_customer b WHERE b.merged_into_id = c.id)
      AND a.state IN ('accepted', 'delivered') AND coalesce(a.sent_at, a.started_at) >= %(since)s
) k
WHERE c.merged_into_id IS NULL AND c.id > %(after)s AND k.contacts > 0
  AND (%(contacts)s::integer IS NULL OR k.contacts = %(contacts)s)
ORDER BY c.id
LIMIT %(limit)s
"""


def page(sql: str, parameters: dict[str, Any], after: int, limit: int) -> list[dict[str, Any]]:
    """One page of a list of people, after a customer's id."""
    return rows(sql, parameters | {"after": after, "limit": limit})


def every(sql: str, parameters: dict[str, Any], step: int = 5000) -> Iterator[dict[str, Any]]:
    """All of a list of people, a page at a time, so that memory stays flat."""
    after = 0
    while found := page(sql, parameters, after, step):
        yield from found
        after = found[-1]["customer_id"]
