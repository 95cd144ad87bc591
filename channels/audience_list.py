"""The manual twin of audience sync: a list goes out by file, and a person says that the platform has it.

What was in the list is marked when it is made, so that "uploaded" means exactly that list: somebody who opts
out between the two is held by the platform, and stands in the next list to be removed.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Count

from audiences.vocabulary import REACHED_BY
from channels.models import PlatformAudience, PlatformRemoval
from channels.queries import audience_sync as queries

LISTED = "in the list"

# To add: whoever is wanted, permits it, and can be told of by the best identity.
LIST_ADDS = f"""
WITH found AS (
    SELECT DISTINCT ON (member.customer_id) member.id, identity.id AS identity_id
    FROM channels_platformaudiencemember member
    JOIN audiences_contactstate state ON state.customer_id = member.customer_id AND {queries.PERMITTED}
    JOIN audiences_identity identity ON identity.customer_id = member.customer_id
        AND identity.kind = ANY(%(kinds)s) AND identity.invalid_at IS NULL
    WHERE member.audience_id = %(audience)s AND member.wanted AND NOT member.held
    ORDER BY member.customer_id, identity.id = member.identity_id DESC NULLS LAST,
             array_position(%(kinds)s::text[], identity.kind::text), identity.id
)
UPDATE channels_platformaudiencemember member SET identity_id = found.identity_id, error = %(listed)s
FROM found WHERE member.id = found.id
"""

LIST_REMOVES = """
UPDATE channels_platformaudiencemember SET error = %(listed)s WHERE audience_id = %(audience)s AND held AND NOT wanted
"""

LIST = """
SELECT CASE WHEN member.held THEN 'remove' ELSE 'add' END, identity.kind, identity.value
FROM channels_platformaudiencemember member
JOIN audiences_identity identity ON identity.id = member.identity_id AND identity.value NOT LIKE 'erased-%%'
WHERE member.audience_id = %(audience)s AND member.error = %(listed)s
ORDER BY member.held, member.id
"""

# Whoever was in the list to be added is held now, wanted still or not.
ADDED = """
UPDATE channels_platformaudiencemember SET held = true, error = ''
WHERE audience_id = %(audience)s AND NOT held AND identity_id IS NOT NULL AND (error = %(listed)s OR NOT wanted)
"""

REMOVED = """
UPDATE channels_platformaudiencemember SET held = false, identity_id = NULL, error = ''
WHERE audience_id = %(audience)s AND held AND error = %(listed)s
"""


def _run(sql: str, audience: PlatformAudience) -> int:
    channel = audience.channel
    params: dict[str, Any] = {
        "audience": audience.pk,
        "brand": channel.brand_id,
        "medium": channel.medium,
        "kinds": list(REACHED_BY[channel.medium]),
        "listed": LISTED,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.rowcount


def make(audience: PlatformAudience, now: datetime) -> int:
    """Mark who stands in the list; returns how many."""
    with transaction.atomic():
        queries.withdraw(audience.pk, audience.channel.brand_id, audience.channel.medium, now)
        erased = PlatformRemoval.objects.filter(audience=audience).update(error=LISTED)
        return _run(LIST_REMOVES, audience) + _run(LIST_ADDS, audience) + erased


def rows(audience: PlatformAudience) -> Iterator[tuple[str, str, str]]:
    """(add or remove, identity kind, normalised value) of the list made last."""
    for removal in PlatformRemoval.objects.filter(audience=audience, error=LISTED).order_by("id").iterator():
        yield "remove", removal.person["kind"], removal.person["value"]
    with connection.cursor() as cursor:
        cursor.execute(LIST, {"audience": audience.pk, "listed": LISTED})
        while found := cursor.fetchmany(5000):
            yield from found


def is_listed(audience: PlatformAudience) -> bool:
    """Whether a list was made that nobody has called uploaded yet."""
    return audience.members.filter(error=LISTED).exists() or audience.removals.filter(error=LISTED).exists()


def uploaded(audience: PlatformAudience, now: datetime) -> int:
    """The platform has the list made last; returns how many people that changes there."""
    with transaction.atomic():
        changed = _run(REMOVED, audience)
        changed += _run(ADDED, audience)
        gone, _by_model = PlatformRemoval.objects.filter(audience=audience, error=LISTED).delete()
        PlatformAudience.objects.filter(pk=audience.pk).update(last_synced_at=now, last_error="")
    return changed + gone


def errors(audience: PlatformAudience) -> list[tuple[str, int]]:
    """Why members differ, the most frequent first."""
    found = audience.members.exclude(error__in=("", LISTED)).values_list("error").annotate(n=Count("id"))
    return [(error, n) for error, n in found.order_by("-n", "error")[:20]]
