"""From a campaign's definition to a schedule, in memory: what both the forecast and the release compute."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from django.utils.translation import gettext as _
from numpy.typing import NDArray

from campaigns import cadence as cadences
from campaigns import definition
from campaigns.models import Campaign
from campaigns.planner import calendar as calendars
from campaigns.planner import (
    choice,
    cost,
    expecting,
    limits,
    people,
    prices,
    response_model,
    schedule,
    spec,
    targets,
)
from campaigns.planner import given as givens
from campaigns.planner.calendar import Calendar
from campaigns.planner.choice import Choice
from campaigns.planner.cost import TouchCost
from campaigns.planner.given import Given
from campaigns.planner.limits import Contacts, Limit
from campaigns.planner.people import People
from campaigns.planner.response_model import ResponseModel
from campaigns.planner.schedule import Schedule
from campaigns.planner.spec import Spec
from campaigns.planner.targets import Targets
from campaigns.queries import plan as queries
from campaigns.queries.plan import Committed, Place, Standing

Report = Callable[[int, int, str], None]
EVERYBODY, LATE_JOINERS, MEMBERS = "everybody", "late joiners", "members"
STEPS = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a plan consists of, before it is stored or released."""

    spec: Spec
    people: People
    targets: Targets
    calendar: Calendar
    costs: tuple[TouchCost, ...]  # by channel
    model: ResponseModel
    limits: Sequence[Limit]
    contacts: Contacts
    choice: Choice
    schedule: Schedule
    given: Given  # what there was before
    committed: Mapping[Place, Committed]  # what is gone before
    standing: Mapping[int, Standing]  # of a change: what members have before it, by channel
    planned: NDArray[np.uint8]  # people × cells, with what is given
    cause: NDArray[np.uint8]  # people × cells: why planned < target
    certificates: Sequence[Mapping[str, Any]]  # of each thing maximised: bound, value, gap
    prices: Sequence[Mapping[str, Any]]
    input_hash: str
    seconds: float


def compute(
    campaign: Campaign,
    *,
    now: Any,
    document: Mapping[str, Any] | None = None,
    report: Report | None = None,
    whom: str = EVERYBODY,
    window: spec.Window | None = None,
    only: Sequence[int] | None = None,
) -> Outcome:
    """Plan a campaign for its segment, or for those of it who join late, or for its members.

    A triggered campaign is planned for ``only`` those it opens for, in their ``window``; its forecast for those who
    will be triggered in the flight, as far as that can be known.

    For the latter two what the campaign has spent, holds and takes is gone; members keep what they have. The
    first and its members leave late joiners the share of the budgets that is kept for them.
    """
    begun = time.monotonic()
    tell = report or (lambda _done, _total, _step: None)
    tell(0, STEPS, _("Reading the audience"))
    plan = spec.read(campaign, now, document, window)
    audience = people.audience_sql(plan.segment)
    if window is None and cadences.is_triggered(plan.document):
        audience = expecting.audience(plan, audience)
    if whom == LATE_JOINERS:
        audience = queries.without_members(audience, campaign.pk)
    elif whom == MEMBERS:
        audience = queries.members(campaign.pk)
    committed = {} if whom == EVERYBODY else queries.committed(campaign.pk, plan.approved())
    if whom != LATE_JOINERS and window is None:
        plan = spec.less_joiners(plan)
    plan = spec.less_committed(plan, committed)
    everybody = people.fetch(plan, audience, only)
    if whom == MEMBERS:
        everybody = givens.as_at_entry(plan, everybody)
        given = givens.read(plan, everybody)
    else:
        given = givens.nothing(plan, everybody)
    tell(1, STEPS, _("Reading what takes people's places"))
    found_limits = limits.read(plan)
    # What members have from this campaign takes their places like any other contact.
    other_than = 0 if whom == MEMBERS else campaign.pk
    contacts = limits.fetch(plan, found_limits, everybody, audience, other_than=other_than)
    calendar = calendars.build(plan, everybody.zones, joining=whom != EVERYBODY)
    wanted = targets.set_targets(plan, everybody, calendar, given, whole=whom == EVERYBODY)
    # What was sent beyond a target that was lowered since stays, and counts as wanted.
    wanted = replace(wanted, target=np.maximum(wanted.target, given.kept))
    model = response_model.read(plan)
    costs = tuple(
        cost.of(
            channel, plan.begins.date(), definition.as_amount(plan.document["conversion_value"]) or cost.ZERO
        )
        for channel in plan.channels
    )
    tell(2, STEPS, _("Choosing who gets what"))
    chosen = choice.choose(plan, everybody, wanted, calendar, costs, model, found_limits, contacts, given)
    tell(3, STEPS, _("Placing the touches in time"))
    placed = schedule.place(plan, everybody, chosen.counts, calendar, found_limits, contacts, given)
    planned = np.zeros(wanted.target.shape, dtype=np.uint8)
    np.add.at(planned, (placed.person, placed.cell), 1)
    more = planned.copy()
    planned += given.kept
    cause = np.where(wanted.cause > 0, wanted.cause, np.where(placed.missed > 0, placed.missed, chosen.cause))
    cause[planned >= wanted.target] = 0
    tell(4, STEPS, _("Writing it down"))
    return Outcome(
        spec=plan,
        people=everybody,
        targets=wanted,
        calendar=calendar,
        costs=costs,
        model=model,
        limits=found_limits,
        contacts=contacts,
        choice=chosen,
        schedule=placed,
        planned=planned,
        cause=cause.astype(np.uint8),
        given=given,
        committed=committed,
        standing=queries.standing(campaign.pk) if whom == MEMBERS and window is None else {},
        certificates=choice.bounds(chosen, more),
        prices=prices.told(plan, chosen, more),
        input_hash=_hash(plan, everybody, wanted, calendar, costs, model, found_limits, contacts, given),
        seconds=time.monotonic() - begun,
    )


def _hash(
    plan: Spec,
    everybody: People,
    wanted: Targets,
    calendar: Calendar,
    costs: Sequence[TouchCost],
    model: ResponseModel,
    limits_: Sequence[Limit],
    contacts: Contacts,
    given: Given,
) -> str:
    """64 hex digits over all that the answer depends on: definition, people, places, prices, model, seed.

    Money is what is left of it, and limits are the contact policy and the platforms' quotas in force.
    """
    digest = hashlib.sha256(definition.fingerprint(plan.document).encode())
    money = [plan.budget, *(channel.budget for channel in plan.channels)]
    digest.update(f"{[str(amount) for amount in money]}|{list(limits_)}".encode())
    digest.update(
        f"{plan.seed}|{model.digest()}|{[(str(c.expected), str(c.greatest)) for c in costs]}".encode()
    )
    arrays = (
        everybody.ids, everybody.stage, everybody.zone, everybody.factor, everybody.held_out, everybody.arm,
        wanted.target, wanted.possible, wanted.cause, calendar.starts, calendar.ends, calendar.gaps, calendar.capacity,
        *(side for _key, hours in sorted(calendar.hours.items()) for side in (hours.opens, hours.closes)),
        contacts.person, contacts.at, contacts.mask, given.ordinal, given.kept, given.last,
    )  # fmt: skip
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    digest.update("|".join(everybody.zones).encode())
    return digest.hexdigest()
