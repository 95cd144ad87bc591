"""Two customers turn out to be one person.

History rows never move: orders, touches and events stay under the id they were written with, and readers
resolve through ``merged_into``. What moves are identities, since a value must name who is contacted now.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from audiences import consent, contact_state
from audiences.models import ContactState, Customer, Identity, Merge
from audiences.registers import followers
from audiences.vocabulary import Stage

FILLED = ("name", "gender", "birth_date", "language", "country", "province", "city")
"""What the survivor takes over where it has nothing."""


def merge(absorbed_id: int, survivor_id: int, *, reason: str, by: str = "", now: dt.datetime) -> Merge:
    """The survivor stands for both from now on.

    Both contact states are locked in customer order; contacts are united, blocks OR-ed, and followers
    (unsent touches of the absorbed are cancelled there) run in the same transaction. Raises
    :class:`ValueError` when either is absorbed or erased already, or both are the same.
    """
    if absorbed_id == survivor_id:
        raise ValueError(_("A customer cannot be merged into itself."))
    with transaction.atomic():
        states = {state.pk: state for state in contact_state.lock([absorbed_id, survivor_id])}
        if len(states) < 2:
            raise ValueError(_("There is no such customer."))
        away, kept = states[absorbed_id], states[survivor_id]
        if away.absorbed or kept.absorbed:
            raise ValueError(_("One of them is merged into another customer already."))
        if away.erased or kept.erased:
            raise ValueError(_("One of them is erased."))
        customers = Customer.objects.select_for_update().order_by("pk").in_bulk([absorbed_id, survivor_id])
        moved = list(
            Identity.objects.filter(customer_id=absorbed_id).order_by("pk").values_list("pk", flat=True)
        )
        pointed = list(
            Customer.objects.filter(merged_into_id=absorbed_id).order_by("pk").values_list("pk", flat=True)
        )
        detail = {
            "identities": moved,
            "pointed": pointed,
            "absorbed": _seen(away),
            "survivor": _seen(kept),
            "filled": _fill(customers[survivor_id], customers[absorbed_id]),
        }
        Identity.objects.filter(pk__in=moved).update(customer_id=survivor_id)
        _unite(kept, away)
        # Pointers stay flat: first those who pointed to the absorbed one, then itself.
        Customer.objects.filter(pk__in=pointed).update(merged_into_id=survivor_id)
        Customer.objects.filter(pk=absorbed_id).update(merged_into_id=survivor_id, updated_at=now)
        for follower in followers:
            if follower.merged:
                follower.merged(absorbed_id, survivor_id)
        return Merge.objects.create(
            absorbed_id=absorbed_id,
            survivor_id=survivor_id,
            reason=reason[:200],
            detail=detail,
            merged_by=by,
            merged_at=now,
        )


def undo(merge_id: int, *, by: str, now: dt.datetime) -> Merge:
    """Part them again: identities, pointers, contacts and permissions as they were.

    What happened to the survivor since stays with the survivor; an opt-out since then holds for both, by the
    suppression list. Raises :class:`ValueError` when it is undone already, the survivor was erased, or the
    survivor was itself merged since (undo that first).
    """
    with transaction.atomic():
        one = Merge.objects.select_for_update().get(pk=merge_id)
        if one.undone_at:
            raise ValueError(_("This merge is undone already."))
        states = {state.pk: state for state in contact_state.lock([one.absorbed_id, one.survivor_id])}
        kept = states[one.survivor_id]
        if kept.erased:
            raise ValueError(_("The customer is erased; nothing can be parted any more."))
        if Customer.objects.get(pk=one.absorbed_id).merged_into_id != one.survivor_id:
            raise ValueError(_("The customer was merged again since. Undo the later merge first."))
        Identity.objects.filter(pk__in=one.detail["identities"], customer_id=one.survivor_id).update(
            customer_id=one.absorbed_id
        )
        Customer.objects.filter(pk=one.absorbed_id).update(merged_into_id=None, updated_at=now)
        Customer.objects.filter(pk__in=one.detail["pointed"], merged_into_id=one.survivor_id).update(
            merged_into_id=one.absorbed_id
        )
        _unfill(one.survivor_id, one.detail["filled"])
        _part(kept, one.detail)
        consent.rebuild([one.absorbed_id, one.survivor_id])
        for follower in followers:
            if follower.unmerged:
                follower.unmerged(one.absorbed_id, one.survivor_id)
        one.undone_at, one.undone_by = now, by
        one.save(update_fields=["undone_at", "undone_by"])
        return one


def _seen(state: ContactState) -> dict[str, Any]:
    return {
        "allowed": state.allowed,
        "blocked": state.blocked,
        "attempts": state.recent_attempts,
        "channels": state.recent_channels,
        "at": [at.isoformat() for at in state.recent_at],
    }


def _unite(kept: ContactState, away: ContactState) -> None:
    """The survivor's state holds the contacts and blocks of both; the absorbed one's stays as it is."""
    contacts = sorted(
        {
            attempt: (at, attempt, channel)
            for state in (away, kept)
            for attempt, channel, at in zip(
                state.recent_attempts, state.recent_channels, state.recent_at, strict=True
            )
        }.values()
    )
    _write(kept, contacts)
    kept.allowed = _united(kept.allowed, away.allowed)
    kept.blocked = _united(kept.blocked, away.blocked)
    kept.complete_since = max(filter(None, (kept.complete_since, away.complete_since)), default=None)
    kept.save()


def _part(kept: ContactState, detail: dict[str, Any]) -> None:
    """The survivor's state loses the contacts that only the absorbed one had."""
    theirs = set(detail["absorbed"]["attempts"]) - set(detail["survivor"]["attempts"])
    contacts = [
        (at, attempt, channel)
        for attempt, channel, at in zip(
            kept.recent_attempts, kept.recent_channels, kept.recent_at, strict=True
        )
        if attempt not in theirs
    ]
    _write(kept, contacts)
    kept.save()


def _write(state: ContactState, contacts: Iterable[tuple[dt.datetime, int, int]]) -> None:
    contacts = list(contacts)
    state.recent_at = [at for at, _attempt, _channel in contacts]
    state.recent_attempts = [attempt for _at, attempt, _channel in contacts]
    state.recent_channels = [channel for _at, _attempt, channel in contacts]


def _united(mine: list[str], theirs: list[str]) -> list[str]:
    return list(dict.fromkeys([*mine, *theirs]))


def _fill(kept: Customer, away: Customer) -> dict[str, Any]:
    """Fill the survivor's blanks; returns what was filled, so that undo can empty it."""
    filled: dict[str, Any] = {}
    for name in FILLED:
        if not getattr(kept, name) and getattr(away, name):
            setattr(kept, name, getattr(away, name))
            filled[name] = str(getattr(away, name))
    if "birth_date" in filled:
        filled["birth_calendar"] = kept.birth_calendar
        kept.birth_calendar = away.birth_calendar
    new = {key: value for key, value in away.attributes.items() if key not in kept.attributes}
    if new:
        kept.attributes = {**kept.attributes, **new}
        filled["attributes"] = new
    if Stage.values.index(away.stage) > Stage.values.index(kept.stage):
        filled["stage"] = kept.stage
        kept.stage = away.stage
    kept.save()
    return filled


def _unfill(customer_id: int, filled: dict[str, Any]) -> None:
    """Empty what the merge filled, unless it was changed since."""
    kept = Customer.objects.select_for_update().get(pk=customer_id)
    for name in FILLED:
        if name in filled and str(getattr(kept, name)) == filled[name]:
            setattr(kept, name, None if name == "birth_date" else "")
    if "birth_calendar" in filled and kept.birth_date is None:
        kept.birth_calendar = filled["birth_calendar"]
    for key, value in filled.get("attributes", {}).items():
        if kept.attributes.get(key) == value:
            del kept.attributes[key]
    if "stage" in filled:
        kept.stage = filled["stage"]
    kept.save()
