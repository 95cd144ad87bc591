"""Why this touch, why not that one: answered for any person from the prices of the plan."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from numpy.typing import NDArray

from campaigns import definition, versions
from campaigns.models import Campaign, Member, MemberTarget, Plan, Touch
from campaigns.planner import calendar as calendars
from campaigns.planner import cost, limits, people, prices, problem, recover, response_model, spec, targets
from campaigns.planner import given as givens
from campaigns.planner.causes import CODE, ORDER
from campaigns.planner.errors import PlanError
from campaigns.planner.instance import Counts, Floats, Instance
from campaigns.planner.problem import Modelled
from campaigns.planner.solve import AllOrNothing, ByTouch
from campaigns.planner.spec import Spec
from campaigns.planner.targets import Targets
from campaigns.vocabulary import Cause

SENTENCES: dict[str, Any] = {
    Cause.CHANNEL_STOPPED: gettext_lazy("The channel is stopped."),
    Cause.CONTENT: gettext_lazy("The channel has no message yet."),
    Cause.OPTED_OUT: gettext_lazy("The person opted out of this."),
    Cause.NO_IDENTITY: gettext_lazy(
        "No valid address is known by which this channel could reach the person."
    ),
    Cause.NO_CONSENT: gettext_lazy("The person has not consented to this."),
    Cause.DEADLINE: gettext_lazy("The round was over before the campaign could begin."),
    Cause.HOURS: gettext_lazy(
        "No permitted hour is left for it in the round, far enough from the other touches."
    ),
    Cause.PLATFORM_RULE: gettext_lazy("The platform's own limit for a person is used up."),
    Cause.PRESSURE: gettext_lazy("Other contacts take the places that the contact policy leaves the person."),
    Cause.CAP: gettext_lazy("The campaign's own cap of touches a person goes to others that are worth more."),
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """One touch of a person that the matrix wants: whether it is planned, when, and why or why not.

    ``value`` and ``price`` are in money (or in people fully reached, where that is what the plan maximises);
    ``parts`` are the limits the price is made of. ``round`` is None for a person who is kept out of all of it.
    """

    round: int | None
    channel_id: int | str
    ordinal: int | None
    planned: bool
    text: str
    due_at: datetime | None = None
    cause: str = ""
    value: float | None = None
    price: float | None = None
    parts: tuple[tuple[str, float], ...] = field(default_factory=tuple)


def explain(campaign_id: int, customer_id: int) -> list[Explanation]:
    """A person's touches in the order of rounds and channels; [] for somebody outside the audience.

    After the release from what was written, before it from the newest forecast. Raises :class:`PlanError` when
    there is none.
    """
    campaign = Campaign.objects.select_related("release_plan").get(pk=campaign_id)
    plan = _plan(campaign)
    released = plan.state == Plan.State.RELEASED
    member = (
        Member.objects.filter(campaign_id=campaign_id, customer_id=customer_id).first() if released else None
    )
    if member is not None and member.held_out:
        return [_held_out()]
    document = versions.holding(campaign) if released else versions.working(campaign)
    read = spec.read(campaign, plan.made_at, document)
    person = _person(read, plan, customer_id)
    if person is None:
        return []
    if person.held_out:
        return [_held_out()]
    if member is not None:
        return _written(person, campaign_id, customer_id)
    return _forecast(person)


def _plan(campaign: Campaign) -> Plan:
    released = campaign.plans.filter(state=Plan.State.RELEASED).first()
    found = released or campaign.plans.filter(state__in=(Plan.State.READY, Plan.State.STALE)).first()
    if found is None:
        raise PlanError(_("Run the forecast first: it is what touches are explained from."))
    return found


def _held_out() -> Explanation:
    return Explanation(
        None,
        "",
        None,
        False,
        _("Kept out of the campaign, so that its effect can be measured: the holdout gets nothing."),
    )


@dataclass(frozen=True, slots=True)
class _Person:
    """One person as an instance of one row, and the plan's prices by phase × limit."""

    spec: Spec
    plan: Plan
    held_out: bool
    targets: Targets
    modelled: Modelled
    prices: Floats
    coverage: bool


def _person(read: Spec, plan: Plan, customer_id: int) -> _Person | None:
    audience = people.audience_sql(read.segment)
    found = people.fetch(read, audience, [customer_id])
    if len(found) == 0:
        return None
    limits_ = limits.read(read)
    given = givens.nothing(read, found)
    contacts = limits.fetch(read, limits_, found, audience, other_than=read.campaign.pk, only=[customer_id])
    calendar = calendars.build(read, found.zones)
    wanted = targets.set_targets(read, found, calendar, given)
    worth = definition.as_amount(read.document["conversion_value"]) or cost.ZERO
    costs = [cost.of(channel, read.begins.date(), worth) for channel in read.channels]
    model = response_model.read(read)
    modelled = problem.build(read, found, wanted, calendar, costs, model, limits_, contacts, given)
    known = {entry["limit"]: entry["prices"] for entry in plan.prices}
    phases = max((len(one) for one in known.values()), default=1)
    own = [known.get(prices.key(read, resource), [0.0] * phases) for resource in modelled.resources]
    by_phase = np.array([np.array(row) / one.unit for row, one in zip(own, modelled.resources, strict=True)])
    by_phase = by_phase.reshape(len(own), phases).T
    return _Person(
        read,
        plan,
        bool(found.held_out[0]),
        wanted,
        modelled,
        by_phase,
        plan.objective == Campaign.Objective.COVERAGE,
    )


def _written(person: _Person, campaign_id: int, customer_id: int) -> list[Explanation]:
    """What was released to a member."""
    rows = {
        (row.channel_id, row.round): row
        for row in MemberTarget.objects.filter(campaign_id=campaign_id, customer_id=customer_id)
    }
    due = {
        (touch.channel_id, touch.round, touch.ordinal): touch.due_at
        for touch in Touch.objects.filter(campaign_id=campaign_id, customer_id=customer_id)
    }
    found = []
    for number, cell in enumerate(person.spec.cells):
        channel = person.spec.channels[cell.channel].id
        row = rows.get((channel, cell.round))
        if row is None:
            continue
        for ordinal in range(1, row.target + 1):
            at = due.get((channel, cell.round, ordinal))
            cause = "" if ordinal <= row.planned else row.cause
            found.append(_told(person, number, ordinal, ordinal <= row.planned, cause, at))
    return found


def _forecast(person: _Person) -> list[Explanation]:
    """What the prices of the forecast say of somebody; a touch exactly at its price goes to a share of people."""
    counts, cause = _answer(person)
    found = []
    for number in range(len(person.spec.cells)):
        for ordinal in range(1, int(person.targets.target[0, number]) + 1):
            planned = ordinal <= counts[0, number]
            found.append(
                _told(person, number, ordinal, planned, "" if planned else ORDER[int(cause[number])], None)
            )
    return found


def _answer(person: _Person) -> tuple[Counts, NDArray[np.uint8]]:
    instance = person.modelled.instance
    row = np.zeros(1, dtype=np.int64)
    lossless = replace(instance, loss=np.zeros_like(instance.loss))
    if person.coverage and len(person.prices) > 1:
        whole = recover.best_within_groups(lossless)
        complete = (person.targets.possible == person.targets.target).all()
        taken = AllOrNothing(lossless, whole, np.array([1.0 if complete else 0.0])).answer(
            person.prices[0], row
        )[0]
        if taken.any():
            return taken, np.full(len(person.spec.cells), CODE[Cause.CAP], dtype=np.uint8)
    prices_ = person.prices[-1]
    used = lossless if person.coverage else instance
    counts = ByTouch(used).answer(prices_, row)[0]
    cause = person.targets.cause[0].copy()
    for number in range(len(person.spec.cells)):
        if cause[number] == 0 and counts[0, number] < person.targets.target[0, number]:
            cause[number] = _why(used, person, number, int(counts[0, number]) + 1, counts)
    return counts, cause


def _why(instance: Instance, person: _Person, cell: int, ordinal: int, counts: Counts) -> int:
    for group in instance.groups:
        if group.cells[cell] and counts[0, group.cells].sum() >= group.cap[0]:
            return group.cause
    parts = _parts(person, cell, ordinal, len(person.prices) - 1)
    budget = sum(price for kind, _name, price in parts if kind == "budget")
    places = sum(price for kind, _name, price in parts if kind != "budget")
    if budget == places == 0:
        return CODE[Cause.PRICE]
    return CODE[Cause.CAPACITY if places > budget else Cause.BUDGET]


def _item(person: _Person, cell: int, ordinal: int) -> int:
    """Where a touch stands; one beyond the matrix, kept from before it was lowered, is told as the cell's last."""
    instance = person.modelled.instance
    own = np.flatnonzero(instance.cell == cell)
    found = own[instance.ordinal[own] == ordinal]
    return int(found[0] if found.size else own[np.argmax(instance.ordinal[own])])


def _parts(person: _Person, cell: int, ordinal: int, phase: int) -> list[tuple[str, str, float]]:
    """(kind, limit, price) of what a touch takes, the dearest first."""
    item = _item(person, cell, ordinal)
    usage = person.modelled.instance.usage[:, item]
    found = [
        (
            resource.kind,
            prices.name(person.spec, resource),
            float(person.prices[phase, number] * usage[number]),
        )
        for number, resource in enumerate(person.modelled.resources)
    ]
    return sorted((part for part in found if part[2] > prices.NOTHING), key=lambda part: -part[2])


def _told(
    person: _Person, cell: int, ordinal: int, planned: bool, cause: str, due_at: datetime | None
) -> Explanation:
    instance = person.modelled.instance
    item = _item(person, cell, ordinal)
    kind = int(instance.kind[0])
    loss = 0.0 if person.coverage else float(instance.loss[kind, item])
    value = float(instance.worth[0] * instance.gain[kind, item]) - loss
    parts = _parts(person, cell, ordinal, len(person.prices) - 1)
    price = sum(part[2] for part in parts)
    if cause in SENTENCES:
        text = str(SENTENCES[cause])
    elif person.coverage and len(person.prices) > 1:
        text = _of_coverage(person, planned)
    else:
        text = _of_value(person, planned, value, price, parts)
    return Explanation(
        round=person.spec.cells[cell].round,
        channel_id=person.spec.channels[person.spec.cells[cell].channel].id,
        ordinal=ordinal,
        planned=bool(planned),
        due_at=due_at,
        cause=cause,
        text=text,
        value=value,
        price=price,
        parts=tuple((name, part) for _kind, name, part in parts),
    )


FREE = gettext_lazy("Planned: worth %(value)s, and no limit asks a price for it.")
NO_ROOM = gettext_lazy("Not sent: worth %(value)s, but no room was left for it.")
LOSS = gettext_lazy("Not sent: it would cost more than it is expected to bring (%(value)s).")
SENT = gettext_lazy("Planned: value %(value)s ≥ price %(price)s (%(parts)s).")
TOO_DEAR = gettext_lazy("Not sent: value %(value)s < price %(price)s (%(parts)s).")
AT_THE_PRICE = gettext_lazy(
    "Not sent: value %(value)s is at the price %(price)s (%(parts)s), and its share of people is full."
)
REACHED = gettext_lazy("Planned: part of the plan that brings the most people to their full target.")
ONLY_A_PART = gettext_lazy(
    "Not sent: the person cannot get the full target, so those who can come first; what was left brings more elsewhere."
)
OTHERS_FIRST = gettext_lazy(
    "Not sent: the person's full target takes what would bring %(price)s others to theirs (%(parts)s)."
)
AS_EASY = gettext_lazy("Not sent: others, as easy to bring to their full target, have used up the limits.")


def _of_value(
    person: _Person, planned: bool, value: float, price: float, parts: Sequence[tuple[str, str, float]]
) -> str:
    told = {"value": _money(person, value), "price": _money(person, price), "parts": _listed(parts)}
    if value <= 0:
        sentence = LOSS
    elif not parts:
        sentence = FREE if planned else NO_ROOM
    elif planned:
        sentence = SENT
    else:
        sentence = AT_THE_PRICE if value >= price else TOO_DEAR
    return str(sentence) % told


def _of_coverage(person: _Person, planned: bool) -> str:
    """Coverage first: somebody's whole target is weighed against one person reached."""
    if planned:
        return str(REACHED)
    if not (person.targets.possible == person.targets.target).all():
        return str(ONLY_A_PART)
    instance = person.modelled.instance
    whole = recover.best_within_groups(instance)
    total: dict[str, float] = {}
    for cell in range(instance.cells):
        for ordinal in range(1, int(whole[0, cell]) + 1):
            for _kind, name, price in _parts(person, cell, ordinal, 0):
                total[name] = total.get(name, 0.0) + price
    if sum(total.values()) <= 1:
        return str(AS_EASY)
    dearest = sorted(total.items(), key=lambda part: -part[1])
    return str(OTHERS_FIRST) % {
        "price": f"{sum(total.values()):.2f}",
        "parts": ", ".join(f"{name} {price:.2f}" for name, price in dearest),
    }


def _listed(parts: Sequence[tuple[str, str, float]]) -> str:
    return " + ".join(f"{name} {price:.4g}" for _kind, name, price in parts)


def _money(person: _Person, amount: float) -> str:
    return f"{amount:.4g} {person.spec.currency}"
