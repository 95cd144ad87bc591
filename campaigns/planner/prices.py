"""The prices of a plan's limits, in words and money."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from campaigns.planner.choice import Choice
from campaigns.planner.instance import Counts
from campaigns.planner.problem import Resource
from campaigns.planner.spec import Spec

NOTHING = 1e-12
SOME_MONEY, SOME_PLACES = 100, 1_000  # how much more of a limit its worth is told for


def told(spec: Spec, choice: Choice, planned: Counts) -> list[dict[str, Any]]:
    """An entry for each limit of the campaign, the dearest first.

    ``limit`` names it for machines; ``amount``, ``used``; ``price`` of one more unit in the first phase that
    has one, ``prices`` in each phase; ``more`` units are ``worth`` that much money (None where the objective is
    people), told in ``words``.
    """
    instance = choice.modelled.instance
    used = instance.used(planned)
    found: list[dict[str, Any]] = []
    for number, resource in enumerate(choice.modelled.resources):
        prices = [float(phase.solution.prices[number] * resource.unit) for phase in choice.phases]
        phase = next((n for n, price in enumerate(prices) if price > NOTHING), None)
        price = 0.0 if phase is None else prices[phase]
        more = SOME_MONEY if resource.kind == "budget" else SOME_PLACES
        in_money = phase is not None and choice.phases[phase].of == "value"
        found.append({
            "limit": key(spec, resource),
            "kind": resource.kind,
            "name": name(spec, resource),
            "channel": None if resource.channel is None else spec.channels[resource.channel].id,
            "round": None if resource.cell is None else spec.cells[resource.cell].round,
            "ordinal": resource.ordinal,
            "amount": float(instance.amount[number] / resource.unit),
            "used": float(used[number] / resource.unit),
            "price": price,
            "prices": prices,
            "more": more,
            "worth": round(price * more, 4) if in_money else None,
            "words": words(spec, resource, price * more, in_money, more),
        })  # fmt: skip
    # A later ordinal's own capacity is of interest where it has a price.
    found = [entry for entry in found if entry["ordinal"] == 1 or entry["price"] > NOTHING]
    return sorted(found, key=lambda entry: -entry["price"] * entry["more"])


def key(spec: Spec, resource: Resource) -> str:
    """``budget``, ``budget:7``, ``capacity:7``, ``capacity:7:round 2``, ``capacity:7:round 2:from 3``."""
    words_ = [resource.kind]
    if resource.channel is not None:
        words_.append(str(spec.channels[resource.channel].id))
    if resource.cell is not None:
        words_.append(f"round {spec.cells[resource.cell].round}")
    if resource.ordinal > 1:
        words_.append(f"from {resource.ordinal}")
    return ":".join(words_)


def name(spec: Spec, resource: Resource) -> str:
    """What people call the limit."""
    if resource.kind == "budget":
        if resource.channel is None:
            return _("Budget of the campaign")
        return _("Budget of %(channel)s") % {"channel": spec.channels[resource.channel].name}
    channel = spec.channels[resource.channel or 0].name
    if resource.cell is None:
        return _("Places on %(channel)s") % {"channel": channel}
    found = _("Places on %(channel)s, round %(round)d") % {
        "channel": channel,
        "round": spec.cells[resource.cell].round,
    }
    if resource.ordinal > 1:
        found += " " + _("(touch %(ordinal)d and later)") % {"ordinal": resource.ordinal}
    return found


def words(spec: Spec, resource: Resource, worth: float, in_money: bool, more: int) -> str:
    """A sentence: what more of the limit would bring."""
    limit = name(spec, resource)
    if worth <= NOTHING:
        return _("%(limit)s: more of it would change nothing") % {"limit": limit}
    told = f"{more:,}"
    if resource.kind == "budget":
        limit = _("%(limit)s: %(more)s %(currency)s more") % {
            "limit": limit,
            "more": told,
            "currency": spec.currency,
        }
    else:
        limit = _("%(limit)s: %(more)s more") % {"limit": limit, "more": told}
    if in_money:
        return _("%(limit)s would bring %(worth)s %(currency)s") % {
            "limit": limit, "worth": f"{worth:,.2f}", "currency": spec.currency,
        }  # fmt: skip
    count = max(1, round(worth))
    return ngettext(
        "%(limit)s would bring %(n)s person more to the full target",
        "%(limit)s would bring %(n)s people more to their full target",
        count,
    ) % {"limit": limit, "n": f"{worth:,.1f}" if worth < 10 else f"{count:,}"}
