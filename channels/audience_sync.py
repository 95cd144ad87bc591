"""Audiences on ad platforms as desired state: who is wanted, who is held, pushed until both agree.

A push may be repeated without harm, so it is no attempt: rows are leased, pushed, and marked when the platform
confirms; what fails or dies is pushed again. Permission to upload is read from the contact state right before
each push, and somebody who withdraws it, or is erased, is taken out: from paused and archived channels too, where
nobody is added. Only a channel stopped by an error cannot; its health says how many wait, and since when.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from audiences.identity import survivor
from audiences.models import Identity
from channels import calls, states
from channels.accounts import adapter_for
from channels.adapters import adapter_class
from channels.adapters.base import AdapterError, AudienceChange, AudienceResult
from channels.models import Channel, PlatformAudience, PlatformAudienceMember, PlatformRemoval
from channels.platform_rules import rule_value
from channels.queries import audience_sync as queries
from channels.queries.locks import alone

SYNC_LOCK = 0x65_76_61_75
CHUNK = 10_000
LEASE = timedelta(minutes=15)
REST = timedelta(hours=1)  # after the platform refused a member
SHORT_REST = timedelta(minutes=2)  # after a call that failed as a whole
NO_IDENTITY = "no identity"


@dataclass(slots=True)
class Synced:
    """What one run did."""

    added: int = 0
    removed: int = 0
    failed: int = 0
    withdrawn: int = 0  # wanted before, not permitted any more
    error: str = ""
    busy: bool = False  # another worker is at it
    codes: dict[str, int] = field(default_factory=dict)


def audience_for(channel: Channel, campaign_id: int | None, name: str) -> PlatformAudience:
    """The audience of a campaign on a channel; made where there is none."""
    return PlatformAudience.objects.get_or_create(
        channel=channel, campaign_id=campaign_id, defaults={"name": name[:200]}
    )[0]


def want(audience_id: int, customer_ids: Sequence[int], now: datetime) -> int:
    """These customers shall be in the audience; returns how many that changes."""
    return queries.want(audience_id, customer_ids, True, now) if customer_ids else 0


def unwant(audience_id: int, customer_ids: Sequence[int], now: datetime) -> int:
    """These customers shall not be in the audience; returns how many that changes."""
    return queries.want(audience_id, customer_ids, False, now) if customer_ids else 0


def sync(audience_id: int, now: datetime | None = None) -> Synced:
    """Push what differs until nothing does, or the platform says no. Runs outside a transaction."""
    done = Synced()
    with alone(SYNC_LOCK, audience_id) as mine:  # two at once would make it twice on the platform
        if not mine:
            done.busy = True
            return done
        audience = PlatformAudience.objects.select_related("channel__brand").get(pk=audience_id)
        channel = audience.channel
        if channel.state == Channel.State.STOPPED or not _mirrors(channel):
            return done
        now = now or timezone.now()
        try:
            _removals_of_erased(audience, now, done)
            # Who is to go, goes first; and only an active channel takes anybody in.
            for wanted in (False, True) if channel.state == Channel.State.ACTIVE else (False,):
                while _chunk(audience, wanted, now, done):
                    pass
            _publish(audience, now)
            audience.last_error = ""
        except AdapterError as error:
            done.error = audience.last_error = str(error)[:254]
            if error.stops_channel and not states.stop(channel, str(error)):
                # Paused already, and stays so: the platform is not asked all the time.
                _rest(audience, now + REST)
        audience.last_synced_at = now
        audience.save(update_fields=["last_synced_at", "last_error"])
    return done


def waiting(now: datetime) -> list[int]:
    """Audiences where something is to be pushed, or published, now: on an active channel whatever differs, on a paused
    or archived one who is to go, on one stopped by an error nothing."""
    late = PlatformAudience.objects.filter(publish_after__lte=now).exclude(
        channel__state=Channel.State.STOPPED
    )
    return sorted({*queries.waiting(now), *late.values_list("pk", flat=True)})


def _mirrors(channel: Channel) -> bool:
    try:
        return "sync_audience" in adapter_class(channel.adapter).verbs()
    except LookupError:  # an adapter of an archived channel may be gone
        return False


def _rest(audience: PlatformAudience, until: datetime) -> None:
    """Who is to go waits, since the account was refused."""
    queries.rest(audience.pk, until)
    PlatformRemoval.objects.filter(audience=audience).update(lease_until=until)
    if audience.publish_after is not None:
        audience.publish_after = until
        audience.save(update_fields=["publish_after"])


def _publishes(audience: PlatformAudience) -> bool:
    return "publish_audience" in adapter_class(audience.channel.adapter).verbs()


def _publish(audience: PlatformAudience, now: datetime) -> None:
    """Let what was pushed take force, where the platform wants that said. Raises :class:`AdapterError`."""
    if audience.publish_after is None or audience.publish_after > now or not audience.external_id:
        return
    calls.spend(audience.channel)
    left = adapter_for(audience.channel).publish_audience(audience.external_id)
    audience.publish_after = now + timedelta(seconds=left) if left else None
    audience.save(update_fields=["publish_after"])


def sweep(now: datetime) -> int:
    """Whoever withdrew the permission to upload is wanted no more in any audience; returns how many.

    It reads every member, so it runs every few minutes; who is about to be pushed is looked at right before.
    """
    rows = PlatformAudience.objects.order_by("pk").values_list("pk", "channel__brand_id", "channel__medium")
    return sum(queries.withdraw(pk, brand, medium, now) for pk, brand, medium in rows)


def chunk_size(channel: Channel, now: datetime) -> int:
    """Members in one call: the platform's rule of the day."""
    told = rule_value(
        channel.medium, "audience_members_a_call", channel=channel, on=now.date(), default=CHUNK
    )
    return max(1, min(CHUNK, int(told)))


def _chunk(audience: PlatformAudience, wanted: bool, now: datetime, done: Synced) -> bool:
    """Claim, push, record one chunk; False when there is none left."""
    channel = audience.channel
    with transaction.atomic():
        claimed = queries.claim(audience.pk, wanted, chunk_size(channel, now), now, now + LEASE)
    if not claimed:
        return False
    customers, before = [row[1] for row in claimed], [row[2] for row in claimed]
    if wanted:
        done.withdrawn += queries.withdraw(audience.pk, channel.brand_id, channel.medium, now, customers)
        kinds = adapter_class(channel.adapter).address_kinds
        found = queries.addresses(customers, before, channel.brand_id, channel.medium, kinds)
    else:
        found = queries.held_addresses(customers, before)
    identities = {customer: identity for customer, identity, _kind, _value in found}
    changes = [AudienceChange(customer, kind, value) for customer, _identity, kind, value in found]
    missing = [customer for customer in customers if customer not in identities]
    if missing and wanted:
        done.failed += queries.unreachable(audience.pk, missing, NO_IDENTITY, now + REST)
    elif missing:  # erased since: the value waits in a removal of its own row
        queries.pushed(audience.pk, missing, [None] * len(missing), False)
    if changes:
        _push(audience, wanted, changes, identities, now, done)
    return True


def _push(
    audience: PlatformAudience,
    wanted: bool,
    changes: Sequence[AudienceChange],
    identities: Mapping[int, int],
    now: datetime,
    done: Synced,
) -> None:
    everybody = [change.customer_id for change in changes]
    try:
        result = _call(audience, changes if wanted else (), () if wanted else changes)
    except AdapterError as error:
        rest = timedelta(seconds=error.retry_after) if error.retry_after else SHORT_REST
        queries.release(audience.pk, everybody, now + rest)
        raise
    except Exception as error:  # idempotent: whatever it was, it may be repeated
        queries.release(audience.pk, everybody, now + SHORT_REST)
        raise AdapterError(f"{type(error).__name__}: {error}"[:200], retryable=True) from error
    took = [customer for customer in dict.fromkeys(result.done) if customer in identities]
    with transaction.atomic():
        if took and _publishes(audience):
            # Kept with the push: whoever dies before publishing leaves it to the next run.
            audience.publish_after = now
            audience.save(update_fields=["publish_after"])
        queries.pushed(audience.pk, took, [identities[customer] for customer in took], wanted)
        if result.failed:
            queries.failed(audience.pk, dict(result.failed), now + REST)
        left = set(everybody) - set(took) - set(result.failed)
        if left:  # neither confirmed nor refused: again later
            queries.release(audience.pk, sorted(left), now + SHORT_REST)
    done.failed += len(result.failed) + len(left)
    for code in result.failed.values():
        done.codes[code] = done.codes.get(code, 0) + 1
    if wanted:
        done.added += len(took)
    else:
        done.removed += len(took)


def _call(
    audience: PlatformAudience, add: Sequence[AudienceChange], remove: Sequence[AudienceChange]
) -> AudienceResult:
    calls.spend(audience.channel)
    result = adapter_for(audience.channel).sync_audience(audience.external_id, audience.name, add, remove)
    changed = []
    if result.external_id and result.external_id != audience.external_id:
        audience.external_id = result.external_id
        changed.append("external_id")
    if result.platform_size is not None:
        audience.platform_size = result.platform_size
        changed.append("platform_size")
    if changed:
        audience.save(update_fields=changed)
    return result


def _removals_of_erased(audience: PlatformAudience, now: datetime, done: Synced) -> None:
    """Take out people who were erased; their values are forgotten as soon as the platform confirms."""
    while True:
        rows = list(
            PlatformRemoval.objects.filter(audience=audience)
            .exclude(lease_until__gt=now)
            .order_by("id")[:CHUNK]
        )
        if not rows:
            return
        if not audience.external_id:
            PlatformRemoval.objects.filter(pk__in=[row.pk for row in rows]).delete()
            continue
        # The platform is told of rows, not of customers: an erased customer may have been there with several.
        changes = [AudienceChange(row.pk, row.person["kind"], row.person["value"]) for row in rows]
        result = _call(audience, (), changes)
        gone = set(result.done)
        if gone and _publishes(audience):
            audience.publish_after = now
            audience.save(update_fields=["publish_after"])
        PlatformRemoval.objects.filter(pk__in=gone).delete()
        left = [row.pk for row in rows if row.pk not in gone]
        PlatformRemoval.objects.filter(pk__in=left).update(lease_until=now + REST, error="not confirmed")
        done.removed += len(gone)
        done.failed += len(left)


# People change ------------------------------------------------------------------------------------


def erasing(customer_id: int) -> None:
    """Before a person is blanked: what platforms hold of them is noted, encrypted, to be taken out there."""
    now = timezone.now()
    held = PlatformAudienceMember.objects.filter(customer_id=customer_id, held=True).exclude(identity_id=None)
    rows = list(held.values_list("audience_id", "identity_id"))
    identities = Identity.objects.in_bulk([identity for _audience, identity in rows])
    PlatformRemoval.objects.bulk_create(
        PlatformRemoval(
            audience_id=audience,
            customer_id=customer_id,
            created_at=now,
            person={"kind": identities[identity].kind, "value": identities[identity].value},
        )
        for audience, identity in rows
        if identity in identities
    )
    PlatformAudienceMember.objects.filter(customer_id=customer_id).update(
        wanted=False, held=False, identity_id=None, lease_until=None, error="erased", changed_at=now
    )


def merged(absorbed_id: int, survivor_id: int) -> None:
    queries.merged(absorbed_id, survivor_id, timezone.now())


def exported(customer_id: int) -> dict[str, Any]:
    """Which platforms hold this person for us."""
    rows = PlatformAudienceMember.objects.filter(customer_id=survivor(customer_id)).filter(held=True)
    return {
        "platform_audiences": [
            {"channel": channel, "audience": name}
            for channel, name in rows.values_list("audience__channel__name", "audience__name")
        ]
    }
