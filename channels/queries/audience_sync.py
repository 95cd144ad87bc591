"""Members of platform audiences in SQL: what is wanted, what the platform holds, who may be pushed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from audiences.contact_state import permitted_sql
from audiences.vocabulary import Purpose

PERMITTED = permitted_sql("state", "%(brand)s::text", "%(medium)s::text", Purpose.UPLOAD)

WANT = """
INSERT INTO channels_platformaudiencemember AS member (audience_id, customer_id, wanted, held, changed_at, error)
SELECT %(audience)s, id, %(wanted)s, false, %(now)s, '' FROM unnest(%(customers)s::bigint[]) AS customers (id)
ORDER BY id
ON CONFLICT (audience_id, customer_id) DO UPDATE
SET wanted = excluded.wanted, changed_at = excluded.changed_at, lease_until = NULL, error = ''
WHERE member.wanted <> excluded.wanted
"""

# Wanted or held by the platform, and not permitted any more: to be taken out, or never pushed.
WITHDRAW = f"""
UPDATE channels_platformaudiencemember member
SET wanted = false, changed_at = %(now)s, lease_until = NULL, error = 'not permitted'
FROM audiences_contactstate state
WHERE member.audience_id = %(audience)s AND member.wanted AND state.customer_id = member.customer_id
  AND (%(customers)s::bigint[] IS NULL OR member.customer_id = ANY(%(customers)s))
  AND NOT {PERMITTED}
"""

CLAIM = """
WITH differing AS (
    SELECT id FROM channels_platformaudiencemember
    WHERE audience_id = %(audience)s AND wanted <> held AND wanted = %(wanted)s
      AND (lease_until IS NULL OR lease_until < %(now)s)
    ORDER BY id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE channels_platformaudiencemember member SET lease_until = %(until)s
FROM differing WHERE member.id = differing.id
RETURNING member.id, member.customer_id, member.identity_id
"""

# Read right before the push: permission from the contact state, the best identity the platform takes; the one
# pushed before is kept to, so that the platform never holds a person under two of them.
ADDRESSES = f"""
SELECT DISTINCT ON (claimed.customer_id) claimed.customer_id, identity.id, identity.kind, identity.value
FROM unnest(%(customers)s::bigint[], %(identities)s::bigint[]) AS claimed (customer_id, identity_id)
JOIN audiences_contactstate state ON state.customer_id = claimed.customer_id AND {PERMITTED}
JOIN audiences_identity identity ON identity.customer_id = claimed.customer_id
    AND identity.kind = ANY(%(kinds)s) AND identity.invalid_at IS NULL
ORDER BY claimed.customer_id, identity.id = claimed.identity_id DESC NULLS LAST,
         array_position(%(kinds)s::text[], identity.kind::text), identity.id
"""

HELD_ADDRESSES = """
SELECT claimed.customer_id, identity.id, identity.kind, identity.value
FROM unnest(%(customers)s::bigint[], %(identities)s::bigint[]) AS claimed (customer_id, identity_id)
JOIN audiences_identity identity ON identity.id = claimed.identity_id AND identity.value NOT LIKE 'erased-%%'
"""

PUSHED = """
UPDATE channels_platformaudiencemember member
SET held = %(held)s, identity_id = coalesce(pushed.identity_id, member.identity_id), lease_until = NULL, error = ''
FROM unnest(%(customers)s::bigint[], %(identities)s::bigint[]) AS pushed (customer_id, identity_id)
WHERE member.audience_id = %(audience)s AND member.customer_id = pushed.customer_id
"""

FAILED = """
UPDATE channels_platformaudiencemember member SET lease_until = %(until)s, error = failed.code
FROM unnest(%(customers)s::bigint[], %(codes)s::text[]) AS failed (customer_id, code)
WHERE member.audience_id = %(audience)s AND member.customer_id = failed.customer_id
"""

RELEASE = """
UPDATE channels_platformaudiencemember SET lease_until = %(until)s
WHERE audience_id = %(audience)s AND customer_id = ANY(%(customers)s)
"""

# Somebody the platform cannot be told of (no phone, no email): wanted in vain until an identity comes.
UNREACHABLE = """
UPDATE channels_platformaudiencemember SET lease_until = %(until)s, error = %(code)s
WHERE audience_id = %(audience)s AND customer_id = ANY(%(customers)s) AND wanted AND NOT held
"""

COUNTS = """
SELECT count(*) FILTER (WHERE wanted), count(*) FILTER (WHERE held), count(*) FILTER (WHERE wanted AND NOT held),
       count(*) FILTER (WHERE held AND NOT wanted), count(*) FILTER (WHERE error <> '' AND wanted <> held)
FROM channels_platformaudiencemember WHERE audience_id = %(audience)s
"""

WAITING = """
SELECT audience.id FROM channels_platformaudience audience
JOIN channels_channel channel ON channel.id = audience.channel_id AND channel.state <> 'stopped'
WHERE EXISTS (SELECT FROM channels_platformremoval removal WHERE removal.audience_id = audience.id
              AND (removal.lease_until IS NULL OR removal.lease_until < %(now)s))
   OR EXISTS (SELECT FROM channels_platformaudiencemember member WHERE member.audience_id = audience.id
              AND member.wanted <> member.held AND (member.held OR channel.state = 'active')
              AND (member.lease_until IS NULL OR member.lease_until < %(now)s))
ORDER BY audience.id
"""

REST = """
UPDATE channels_platformaudiencemember SET lease_until = %(until)s WHERE audience_id = %(audience)s AND held AND NOT wanted
"""

MERGED_WANT = """
INSERT INTO channels_platformaudiencemember (audience_id, customer_id, wanted, held, changed_at, error)
SELECT audience_id, %(survivor)s, true, false, %(now)s, '' FROM channels_platformaudiencemember
WHERE customer_id = %(absorbed)s AND wanted
ON CONFLICT (audience_id, customer_id) DO NOTHING
"""

# The platform may take both for one person: what it forgets with the absorbed one is pushed again for the survivor.
MERGED_AGAIN = """
UPDATE channels_platformaudiencemember kept SET held = false, changed_at = %(now)s
FROM channels_platformaudiencemember gone
WHERE gone.customer_id = %(absorbed)s AND gone.held AND kept.customer_id = %(survivor)s
  AND kept.audience_id = gone.audience_id AND kept.held AND kept.wanted
"""

MERGED_DROP = """
UPDATE channels_platformaudiencemember SET wanted = false, changed_at = %(now)s, lease_until = NULL
WHERE customer_id = %(absorbed)s AND wanted
"""


def _run(sql: str, **params: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.rowcount


def _all(sql: str, **params: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def want(audience_id: int, customer_ids: Sequence[int], wanted: bool, now: datetime) -> int:
    """Members of an audience whose wish changed."""
    return _run(WANT, audience=audience_id, customers=list(customer_ids), wanted=wanted, now=now)


def withdraw(
    audience_id: int, brand_id: int, medium: str, now: datetime, customer_ids: Sequence[int] | None = None
) -> int:
    """Members wanted (all, or of these customers) who do not permit the upload (any more)."""
    customers = None if customer_ids is None else list(customer_ids)
    return _run(WITHDRAW, audience=audience_id, brand=brand_id, medium=medium, now=now, customers=customers)


def claim(
    audience_id: int, wanted: bool, limit: int, now: datetime, until: datetime
) -> list[tuple[int, int, int | None]]:
    """Members to add (or to remove) that nobody else works on, leased: (row id, customer id, identity pushed)."""
    return _all(CLAIM, audience=audience_id, wanted=wanted, limit=limit, now=now, until=until)  # type: ignore[return-value]


def addresses(
    customer_ids: Sequence[int],
    identity_ids: Sequence[int | None],
    brand_id: int,
    medium: str,
    kinds: Sequence[str],
) -> list[tuple[Any, ...]]:
    """Of these customers those who permit the upload now, each with the identity to push: as before, or the best."""
    return _all(
        ADDRESSES,
        customers=list(customer_ids),
        identities=list(identity_ids),
        brand=brand_id,
        medium=medium,
        kinds=list(kinds),
    )


def held_addresses(customer_ids: Sequence[int], identity_ids: Sequence[int | None]) -> list[tuple[Any, ...]]:
    """The identities these customers were pushed with, where they still have a value."""
    return _all(HELD_ADDRESSES, customers=list(customer_ids), identities=list(identity_ids))


def pushed(
    audience_id: int, customer_ids: Sequence[int], identity_ids: Sequence[int | None], held: bool
) -> int:
    """Members the platform confirmed."""
    return _run(
        PUSHED, audience=audience_id, customers=list(customer_ids), identities=list(identity_ids), held=held
    )


def failed(audience_id: int, codes: dict[int, str], until: datetime) -> int:
    """Members the platform did not take; they rest until ``until``."""
    return _run(
        FAILED,
        audience=audience_id,
        customers=list(codes),
        codes=[code[:120] for code in codes.values()],
        until=until,
    )


def release(audience_id: int, customer_ids: Sequence[int], until: datetime | None) -> int:
    """Members given back, to be tried again from ``until`` on."""
    return _run(RELEASE, audience=audience_id, customers=list(customer_ids), until=until)


def unreachable(audience_id: int, customer_ids: Sequence[int], code: str, until: datetime) -> int:
    """Members of whom the platform cannot be told."""
    return _run(UNREACHABLE, audience=audience_id, customers=list(customer_ids), code=code, until=until)


def counts(audience_id: int) -> tuple[int, int, int, int, int]:
    """Wanted, held, to add, to remove, in trouble."""
    return _all(COUNTS, audience=audience_id)[0]  # type: ignore[return-value]


def waiting(now: datetime) -> list[int]:
    """Audiences where something is to be done, and may be in their channel's state."""
    return [row[0] for row in _all(WAITING, now=now)]


def rest(audience_id: int, until: datetime) -> int:
    """Members to be taken out, not before ``until``."""
    return _run(REST, audience=audience_id, until=until)


def merged(absorbed_id: int, survivor_id: int, now: datetime) -> int:
    """The survivor takes the absorbed customer's place in every audience."""
    params = {"absorbed": absorbed_id, "survivor": survivor_id, "now": now}
    return _run(MERGED_WANT, **params) + _run(MERGED_AGAIN, **params) + _run(MERGED_DROP, **params)
