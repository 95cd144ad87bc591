"""Right before a call: what is about to be handed over is noted, and conditions are read once more."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection, transaction

from audiences.queries import literals

# A statement of its own: it sees every opt-out, pause and stop committed since the claim. A sweep locks the same
# claim row: either it finds these attempts noted, or this finds no claim and nothing is handed over.
LOOK = """
WITH noted AS (
    UPDATE campaigns_dispatch_claim SET called = called || %(attempts)s::bigint[]
    WHERE token = %(token)s AND lease_until > coalesce(%(now)s::timestamptz, clock_timestamp())
    RETURNING token
)
SELECT given.attempt_id,
       CASE
           WHEN NOT EXISTS (SELECT FROM noted) THEN 'expired'
           WHEN s.absorbed THEN 'merged'
           WHEN s.erased THEN 'erased'
           WHEN s.blocked && %(blocks)s::varchar[] THEN 'opted_out'
           WHEN NOT %(permission)s = ANY (s.allowed) THEN 'no_consent'
           WHEN ch.state <> 'active' THEN 'channel_stopped'
           WHEN c.state <> 'running' OR p.paused_at IS NOT NULL THEN 'stopped'
           ELSE ''
       END
FROM unnest(%(attempts)s::bigint[], %(customers)s::bigint[], %(campaigns)s::bigint[])
    AS given (attempt_id, customer_id, campaign_id)
JOIN audiences_contactstate s ON s.customer_id = given.customer_id
JOIN campaigns_campaign c ON c.id = given.campaign_id
JOIN campaigns_channelplan p ON p.campaign_id = given.campaign_id AND p.channel_id = %(channel)s
JOIN channels_channel ch ON ch.id = %(channel)s
"""

# The employee who has the person as a contact for longest; one who left is nobody's contact.
SENDERS = """
SELECT DISTINCT ON (k.identity_id) k.identity_id, e.external_id, e.id
FROM channels_employeecontact k JOIN channels_employee e ON e.id = k.employee_id
WHERE k.identity_id = ANY (%(identities)s) AND k.removed_at IS NULL AND e.left_at IS NULL
  AND e.channel_id = %(channel)s
ORDER BY k.identity_id, k.added_at, k.id
"""

FORGET = "DELETE FROM campaigns_dispatch_claim WHERE token = %(token)s"


class Look(NamedTuple):
    token: str
    channel_id: int
    permission: str
    blocks: Sequence[str]


def look(
    claim: Look,
    attempts: Sequence[int],
    customers: Sequence[int],
    campaigns: Sequence[int],
    now: datetime | None,
) -> dict[int, str]:
    """Attempt → why it must not be handed over, '' if it may; they are noted as being called.

    Without ``now`` the database's clock tells whether the claim's lease still runs.
    """
    params: dict[str, Any] = {
        "token": claim.token, "channel": claim.channel_id, "permission": claim.permission,
        "blocks": list(claim.blocks), "attempts": literals.ints(attempts),
        "customers": literals.ints(customers), "campaigns": literals.ints(campaigns), "now": now,
    }  # fmt: skip
    with transaction.atomic(), connection.cursor() as cursor:
        # The note must survive whatever kills the database, or a sweep would give back what was sent.
        cursor.execute("SET LOCAL synchronous_commit TO on")
        cursor.execute(LOOK, params)
        return dict(cursor.fetchall())


def senders(channel_id: int, identities: Sequence[int]) -> dict[int, tuple[str, int]]:
    """Identity → the employee of this channel who has it as a contact: the provider's id, and ours."""
    rows = _rows(SENDERS, {"channel": channel_id, "identities": list(identities)})
    return {identity: (external_id, employee_id) for identity, external_id, employee_id in rows}


def forget(token: str) -> int:
    """A claim all of whose attempts are recorded."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, {"token": token})
        return cursor.rowcount


def _rows(sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()
