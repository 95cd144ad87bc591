"""Statements that answer who may be planned for, and what already takes people's places."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from campaigns.queries import binary


@dataclass(frozen=True, slots=True)
class Asked:
    """What the people query must know of one channel."""

    key: str  # the permission it needs
    blocking: Sequence[str]  # entries of ``blocked`` that forbid it
    addressed_by: Sequence[tuple[str, str | None]]  # identity kind, issuer (None: any)


@dataclass(frozen=True, slots=True)
class Codes:
    """Numbers of the causes this query can tell."""

    opted_out: int
    no_identity: int
    no_consent: int


# ``customer`` rows of the audience that can be contacted at all; with the cause, for each channel, why not by it.
PEOPLE = """
WITH audience AS (
    SELECT id FROM ({audience}) AS chosen(id) {only}
),
living AS (
    SELECT c.id, c.stage, c.zone, c.bucket, s.allowed, s.blocked
    FROM audience a
    JOIN audiences_customer c ON c.id = a.id
    JOIN audiences_contactstate s ON s.customer_id = c.id
    WHERE c.merged_into_id IS NULL AND c.erased_at IS NULL AND NOT s.erased AND NOT s.absorbed
),
addresses AS (
    SELECT i.customer_id, bit_or({reach}) AS reach
    FROM audiences_identity i {near}
    WHERE i.invalid_at IS NULL AND i.kind = ANY ({kinds})
    GROUP BY i.customer_id
),
bought AS (
    SELECT o.customer_id, count(*)::float8 AS orders, sum(o.paid - o.returned)::float8 AS spent
    FROM audiences_order o {near_orders}
    WHERE o.placed_at >= {since} AND o.placed_at < {now} AND o.currency = {currency}
    GROUP BY o.customer_id
),
usual AS (
    SELECT coalesce(sum(spent) / nullif(sum(orders), 0), 0) AS order_value FROM bought
)
SELECT l.id, coalesce(array_position({stages}, l.stage), 1)::int2 - 1::int2,
    hashtextextended(l.zone, 0), l.bucket,
    CASE WHEN b.orders IS NULL OR u.order_value <= 0 THEN 0
        ELSE least({levels}, greatest(-{levels}, round(
            {steps} / ln(2::float8) * ln(greatest(
                0.01, ({prior} * u.order_value + b.spent) / (({prior} + b.orders) * u.order_value)
            ))
        )))
    END::int2{causes}
FROM living l
CROSS JOIN usual u
LEFT JOIN addresses a ON a.customer_id = l.id
LEFT JOIN bought b ON b.customer_id = l.id
"""


def fetch_people(
    audience: str,
    asked: Sequence[Asked],
    codes: Codes,
    *,
    stages: Sequence[str],
    since: dt.datetime,
    now: dt.datetime,
    currency: str,
    prior: float,
    steps: int,
    levels: int,
    only: Sequence[int] | None = None,
) -> NDArray[Any]:
    """Everybody of an audience who can be contacted at all, in id order.

    Columns: id, stage (index), zone (hash), bucket, factor (steps of a log₂ scale: what an order of this
    person is worth against the usual one) and ``cause0…`` for each channel (0: can be planned).
    """
    with connection.cursor() as cursor:
        words = _Words(cursor)
        reach = " | ".join(
            f"CASE WHEN {words.addressed(one.addressed_by)} THEN {1 << n}::int8 ELSE 0 END"
            for n, one in enumerate(asked)
        )
        kinds = sorted({kind for one in asked for kind, _issuer in one.addressed_by})
        causes = "".join(
            f""",
    CASE WHEN l.blocked && {words.texts(one.blocking)} THEN {codes.opted_out}
        WHEN {"true" if not one.addressed_by else f"coalesce(a.reach, 0) & {1 << n} = 0"} THEN {codes.no_identity}
        WHEN NOT {words.text(one.key)} = ANY (l.allowed) THEN {codes.no_consent}
        ELSE 0 END::int2"""
            for n, one in enumerate(asked)
        )
        few = only is not None
        statement = PEOPLE.format(
            audience=audience,
            only="" if not few else f"WHERE id = ANY ({words.integers(only or [])})",
            reach=reach or "0::int8",
            kinds=words.texts(kinds),
            near="JOIN living l ON l.id = i.customer_id" if few else "",
            near_orders="JOIN living l ON l.id = o.customer_id",
            since=words.moment(since),
            now=words.moment(now),
            currency=words.text(currency),
            stages=words.texts(stages),
            prior=float(prior),
            steps=int(steps),
            levels=int(levels),
            causes=causes,
        )
    columns = [("id", "i8"), ("stage", "i2"), ("zone", "i8"), ("bucket", "i2"), ("factor", "i2")]
    columns += [(f"cause{n}", "i2") for n in range(len(asked))]
    found = binary.fetch(statement, columns)
    return found[np.argsort(found["id"], kind="stable")]


ZONES = "SELECT DISTINCT zone, hashtextextended(zone, 0) FROM audiences_customer WHERE id = ANY (%s)"


def zone_names(examples: Sequence[int]) -> dict[int, str]:
    """The zones of these customers by their hash."""
    with connection.cursor() as cursor:
        cursor.execute(ZONES, [list(examples)])
        return {int(code): zone for zone, code in cursor.fetchall()}


# Contacts that take a place: sent or in flight, and what other campaigns have planned within the horizon.
CONTACTS = """
WITH audience AS (
    SELECT id FROM ({audience}) AS chosen(id) {only}
)
SELECT s.customer_id, e.channel::int4, extract(epoch FROM e.at)::int8
FROM audience a
JOIN audiences_contactstate s ON s.customer_id = a.id
CROSS JOIN LATERAL unnest(s.recent_channels, s.recent_at) AS e(channel, at)
WHERE cardinality(s.recent_at) > 0 AND e.at > {since}
UNION ALL
SELECT t.customer_id, t.channel_id::int4, extract(epoch FROM greatest(t.due_at, {now}))::int8
FROM campaigns_touch t
JOIN audience a ON a.id = t.customer_id
JOIN campaigns_campaign c ON c.id = t.campaign_id
WHERE t.state = 'planned' AND t.campaign_id <> {campaign} AND t.due_at < {until} AND t.deadline_at > {now}
    AND c.state IN ('approved', 'scheduled', 'running', 'paused')
"""


def fetch_contacts(
    audience: str,
    *,
    campaign_id: int,
    since: dt.datetime,
    now: dt.datetime,
    until: dt.datetime,
    only: Sequence[int] | None = None,
) -> NDArray[Any]:
    """Contacts of the audience that count in the contact policy: customer, channel, at (Unix seconds)."""
    with connection.cursor() as cursor:
        words = _Words(cursor)
        statement = CONTACTS.format(
            audience=audience,
            only="" if only is None else f"WHERE id = ANY ({words.integers(only)})",
            since=words.moment(since),
            now=words.moment(now),
            until=words.moment(until),
            campaign=int(campaign_id),
        )
    return binary.fetch(statement, [("customer", "i8"), ("channel", "i4"), ("at", "i8")])


# What a platform's own quota has used up: contacts of these channels since the quota's period began.
QUOTA_USED = """
WITH audience AS (
    SELECT id FROM ({audience}) AS chosen(id) {only}
)
SELECT t.customer_id, t.channel_id::int4, extract(epoch FROM coalesce(t.sent_at, t.started_at))::int8
FROM campaigns_attempt t
JOIN audience a ON a.id = t.customer_id
WHERE t.channel_id = ANY ({channels}) AND t.started_at >= {since}
    AND t.state IN ('recorded', 'accepted', 'held', 'delivered', 'unknown')
UNION ALL
SELECT t.customer_id, t.channel_id::int4, extract(epoch FROM greatest(t.due_at, {now}))::int8
FROM campaigns_touch t
JOIN audience a ON a.id = t.customer_id
WHERE t.state = 'planned' AND t.campaign_id <> {campaign} AND t.channel_id = ANY ({channels})
    AND t.due_at < {until} AND t.deadline_at > {now}
"""


def fetch_quota_used(
    audience: str,
    *,
    campaign_id: int,
    channels: Sequence[int],
    since: dt.datetime,
    now: dt.datetime,
    until: dt.datetime,
    only: Sequence[int] | None = None,
) -> NDArray[Any]:
    """Contacts of the audience on channels whose platform has a quota: customer, channel, at."""
    with connection.cursor() as cursor:
        words = _Words(cursor)
        statement = QUOTA_USED.format(
            audience=audience,
            only="" if only is None else f"WHERE id = ANY ({words.integers(only)})",
            channels=words.integers(channels),
            since=words.moment(since),
            now=words.moment(now),
            until=words.moment(until),
            campaign=int(campaign_id),
        )
    return binary.fetch(statement, [("customer", "i8"), ("channel", "i4"), ("at", "i8")])


# Places of a channel's days that other campaigns have taken, by day of the company's zone.
DAYS_TAKEN = """
SELECT t.channel_id, (greatest(t.due_at, %(now)s) AT TIME ZONE %(zone)s)::date AS day, count(*)
FROM campaigns_touch t
JOIN campaigns_campaign c ON c.id = t.campaign_id
WHERE t.channel_id = ANY (%(channels)s) AND t.state IN ('planned', 'claimed')
    AND t.campaign_id <> %(campaign)s AND t.due_at < %(until)s AND t.deadline_at > %(now)s
    AND c.state IN ('approved', 'scheduled', 'running', 'paused')
GROUP BY 1, 2
UNION ALL
SELECT a.channel_id, (a.started_at AT TIME ZONE %(zone)s)::date, count(*)
FROM campaigns_attempt a
WHERE a.channel_id = ANY (%(channels)s) AND a.started_at >= %(today)s AND a.started_at < %(now)s
GROUP BY 1, 2
"""


def days_taken(
    channels: Sequence[int],
    *,
    campaign_id: int,
    zone: str,
    today: dt.datetime,
    now: dt.datetime,
    until: dt.datetime,
) -> dict[tuple[int, dt.date], int]:
    """(channel, day) → messages planned by other campaigns or handed over already."""
    parameters: dict[str, Any] = {
        "channels": list(channels), "campaign": campaign_id, "zone": zone, "today": today, "now": now, "until": until,
    }  # fmt: skip
    found: dict[tuple[int, dt.date], int] = {}
    with connection.cursor() as cursor:
        cursor.execute(DAYS_TAKEN, parameters)
        for channel, day, count in cursor.fetchall():
            found[channel, day] = found.get((channel, day), 0) + count
    return found


@dataclass(frozen=True, slots=True)
class Approved:
    """How many touches of a channel, round and stage a definition has: those unsent beyond it are let go."""

    channel: int
    round: int
    stage: str
    touches: int


# A touch that a definition keeps: sent, on its way, or within its number.
KEPT = "t.state <> 'released' AND (t.state <> 'planned' OR t.ordinal <= coalesce(a.touches, 0))"
# A touch that is not given again: kept, or let go by a rule. What a change let go of, a change may give back.
HAD = "t.reason <> 'changed' AND (t.state <> 'planned' OR t.ordinal <= coalesce(a.touches, 0))"
APPROVED = """
LEFT JOIN unnest({channels}, {rounds}, {stages}, {touches}) AS a (channel_id, round, stage, touches)
    ON a.channel_id = t.channel_id AND a.round = t.round AND a.stage = t.stage"""

COMMITTED = """
SELECT t.channel_id, t.round, t.stage, count(*)::int8,
    sum(CASE WHEN t.state IN ('planned', 'claimed', 'held') THEN greatest(t.reserved, t.cost) ELSE t.cost END)
FROM campaigns_touch t {approved}
WHERE t.campaign_id = {campaign} AND {kept}
GROUP BY t.channel_id, t.round, t.stage
"""


class Committed(NamedTuple):
    """Touches of a channel, round and stage that a released campaign keeps; money spent on them or held."""

    touches: int
    money: Decimal


Place = tuple[int, int, str]  # channel, round, stage


def committed(campaign_id: int, approved: Sequence[Approved]) -> dict[Place, Committed]:
    """Where a released campaign has spent money, or holds it for touches that a definition keeps."""
    with connection.cursor() as cursor:
        words = _Words(cursor)
        cursor.execute(
            COMMITTED.format(approved=words.approved(approved), campaign=int(campaign_id), kept=KEPT)
        )
        return {(row[0], row[1], row[2]): Committed(row[3], row[4]) for row in cursor.fetchall()}


def without_members(audience: str, campaign_id: int) -> str:
    """The query of an audience less those who are members of a campaign."""
    return f"""
SELECT id FROM ({audience}) AS whole(id)
WHERE NOT EXISTS (
    SELECT FROM campaigns_member m WHERE m.campaign_id = {int(campaign_id)} AND m.customer_id = whole.id
)"""


def members(campaign_id: int) -> str:
    """The query of a campaign's members who take part and whom nothing has stopped."""
    return f"""
SELECT customer_id AS id FROM campaigns_member
WHERE campaign_id = {int(campaign_id)} AND NOT held_out AND state = 'active'"""


MEMBERS = """
SELECT m.customer_id, coalesce(array_position({stages}, m.stage), 1)::int2 - 1::int2,
    coalesce(array_position({arms}, m.arm), 0)::int2 - 1::int2, hashtextextended(m.zone, 0), m.zone
FROM campaigns_member m WHERE m.campaign_id = {campaign} AND NOT m.held_out AND m.state = 'active'
"""


def fetch_members(
    campaign_id: int, stages: Sequence[str], arms: Sequence[str]
) -> tuple[NDArray[Any], dict[int, str]]:
    """Members as at entry, in id order: id, stage and arm (indexes; −1: none), zone (hash); and the zones' names."""
    with connection.cursor() as cursor:
        words = _Words(cursor)
        statement = MEMBERS.format(
            stages=words.texts(stages), arms=words.texts(arms), campaign=int(campaign_id)
        )
        cursor.execute(f"SELECT DISTINCT hash, zone FROM ({statement}) AS m(id, stage, arm, hash, zone)")
        zones = dict(cursor.fetchall())
    found = binary.fetch(
        f"SELECT id, stage, arm, hash FROM ({statement}) AS m(id, stage, arm, hash, zone)",
        [("id", "i8"), ("stage", "i2"), ("arm", "i2"), ("zone", "i8")],
    )
    return found[np.argsort(found["id"], kind="stable")], zones


GIVEN = """
SELECT t.customer_id, t.channel_id::int4, t.round::int4, max(t.ordinal)::int4, extract(epoch FROM max(t.due_at))::int8,
    count(*)::int4
FROM campaigns_touch t {approved}
WHERE t.campaign_id = {campaign} AND {had}
GROUP BY t.customer_id, t.channel_id, t.round
"""


def fetch_given(campaign_id: int, approved: Sequence[Approved]) -> NDArray[Any]:
    """What members have of each channel and round: the highest ordinal, when it is due, touches they keep.

    What a rule let go of (silence, an exit) was had; what an approved change let go of was not.
    """
    with connection.cursor() as cursor:
        statement = GIVEN.format(
            campaign=int(campaign_id), approved=_Words(cursor).approved(approved), had=HAD
        )
    return binary.fetch(
        statement,
        [
            ("customer", "i8"),
            ("channel", "i4"),
            ("round", "i4"),
            ("ordinal", "i4"),
            ("due", "i8"),
            ("kept", "i4"),
        ],
    )


STANDING_TARGETS = """
SELECT channel_id, sum(target)::int8 FROM campaigns_member_target
WHERE campaign_id = {campaign} AND customer_id IN ({members}) GROUP BY channel_id
"""
STANDING_TOUCHES = """
SELECT channel_id, (count(*) FILTER (WHERE state <> 'released' AND customer_id IN ({members})))::int8,
    sum(CASE WHEN state IN ('planned', 'claimed', 'held') THEN greatest(reserved, cost) ELSE cost END)
FROM campaigns_touch WHERE campaign_id = {campaign} GROUP BY channel_id
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """What active members have now of a channel, and the money spent or held on it."""

    target: int = 0
    touches: int = 0
    cost: Decimal = Decimal(0)


def standing(campaign_id: int) -> dict[int, Standing]:
    """Channel → what a released campaign's members have of it."""
    own = {"members": members(campaign_id), "campaign": int(campaign_id)}
    with connection.cursor() as cursor:
        cursor.execute(STANDING_TARGETS.format(**own))
        targets = dict(cursor.fetchall())
        cursor.execute(STANDING_TOUCHES.format(**own))
        touches = {channel: (n, cost) for channel, n, cost in cursor.fetchall()}
    return {
        channel: Standing(targets.get(channel, 0), *touches.get(channel, (0, Decimal(0))))
        for channel in targets.keys() | touches.keys()
    }


NOBODY = "SELECT id FROM audiences_customer WHERE false"


def literal(statement: str, parameters: Sequence[Any]) -> str:
    """A compiled queryset as text that can stand inside another statement."""
    with connection.cursor() as cursor:
        return str(cursor.mogrify(statement, parameters))


class _Words:
    """Values as SQL literals, for statements whose shape depends on the campaign."""

    def __init__(self, cursor: Any) -> None:
        self.cursor = cursor

    def _say(self, value: Any) -> str:
        return str(self.cursor.mogrify("%s", [value]))

    def text(self, value: str) -> str:
        return self._say(value) + "::varchar"

    def texts(self, values: Sequence[str]) -> str:
        return self._say(list(values)) + "::varchar[]"

    def integers(self, values: Sequence[int]) -> str:
        return "'{" + ",".join(str(int(value)) for value in values) + "}'::int8[]"

    def approved(self, approved: Sequence[Approved]) -> str:
        return APPROVED.format(
            channels=self.integers([one.channel for one in approved]),
            rounds=self.integers([one.round for one in approved]),
            stages=self.texts([one.stage for one in approved]),
            touches=self.integers([one.touches for one in approved]),
        )

    def moment(self, value: dt.datetime) -> str:
        return self._say(value) + "::timestamptz"

    def addressed(self, by: Sequence[tuple[str, str | None]]) -> str:
        """Whether an identity is one of these kinds, of that issuer."""
        ways = [
            f"i.kind = {self.text(kind)}" + ("" if issuer is None else f" AND i.issuer = {self.text(issuer)}")
            for kind, issuer in by
        ]
        return " OR ".join(f"({way})" for way in ways) or "false"
