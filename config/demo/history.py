"""Half a year before today: orders as the simulated market makes them, and a campaign that ran elsewhere.

The same model answers later, live, so the past and the present of the demo are of one piece. The past
campaign kept a fifth of its audience out, so its reports show lift beside its truth.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from channels.sandbox.market import Orders, Touches, Truth, simulate_history
from channels.sandbox.people import hashes_of
from config.demo.people import People, lines_of

DAYS = 180
PAST = "AUTUMN"
PAST_START, PAST_DAYS = DAYS - 42, 14  # day numbers count from the beginning of the half year
HELD_OUT = 0.2
MEDIA = (("email", "Email", 2), ("sms", "SMS", 1))  # consent column, channel, touches

Rows = list[dict[str, str]]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Past:
    """Rows for the import kinds of these names."""

    campaigns: Rows
    touches: Rows
    responses: Rows
    orders: Rows
    order_lines: Rows


def make_past(people: People, seed: int, now: dt.datetime) -> Past:
    """Everything up to ``now``; times are whole seconds in UTC."""
    truth, random = Truth(seed=1), np.random.default_rng(seed)
    begin = now - dt.timedelta(days=DAYS)
    hashes = hashes_of(row["member_number"] for row in people.rows)

    def at(day: float) -> str:
        return (begin + dt.timedelta(days=float(day))).isoformat(timespec="seconds")

    held_out = random.random(len(people)) < HELD_OUT
    person, medium, day = _touches(people, held_out, truth)
    history = simulate_history(truth, hashes, Touches(person, medium, day), first_day=0, last_day=DAYS - 1)
    number = [row["member_number"] for row in people.rows]
    names = {truth.code(consent.removeprefix("consent_")): name for consent, name, _n in _media()}

    touches: Rows = [
        {
            "campaign": PAST, "member_number": number[person[k]], "channel": names[int(medium[k])],
            "sent_at": at(day[k]), "outcome": "delivered", "cost": "0.02" if names[int(medium[k])] == "Email" else "0.045",
            "held_out": "",
        }
        for k in np.flatnonzero(history.sent)
    ]  # fmt: skip
    touches += [
        {
            "campaign": PAST,
            "member_number": number[i],
            "channel": "",
            "sent_at": "",
            "outcome": "",
            "cost": "",
            "held_out": "yes",
        }
        for i in _audience(people)
        if held_out[i]
    ]
    answers = history.responses
    responses: Rows = [
        {
            "campaign": PAST, "member_number": number[answers.person[k]], "channel": names[int(medium[answers.touch[k]])],
            "kind": str(answers.kind[k]), "occurred_at": at(answers.day[k]), "key": f"{PAST}-{k}",
        }
        for k in range(len(answers.person))
        if answers.day[k] < DAYS
    ]  # fmt: skip
    orders, lines = _orders(history.orders, number, at, random)
    start = begin + dt.timedelta(days=PAST_START)
    campaigns = [
        {
            "campaign": PAST, "name": "秋茶上新 · Autumn harvest", "starts_at": start.isoformat(timespec="seconds"),
            "ends_at": (start + dt.timedelta(days=PAST_DAYS)).isoformat(timespec="seconds"), "currency": "CNY",
            "budget": "500", "margin_rate": "0.45", "holdout_share": str(HELD_OUT), "goal": "Bring in the new harvest",
        }
    ]  # fmt: skip
    return Past(campaigns, touches, responses, orders, lines)


def _media() -> Sequence[tuple[str, str, int]]:
    return tuple((f"consent_{name}", channel, touches) for name, channel, touches in MEDIA)


def _audience(people: People) -> list[int]:
    """Who can be reached by at least one of the media."""
    return [i for i, row in enumerate(people.rows) if any(row[consent] for consent, _channel, _n in _media())]


def _touches(
    people: People, held_out: npt.NDArray[np.bool_], truth: Truth
) -> tuple[Ints, Ints, npt.NDArray[np.float64]]:
    person, medium, day = [], [], []
    for consent, _channel, n in _media():
        who = [i for i, row in enumerate(people.rows) if row[consent] and not held_out[i]]
        for k in range(n):
            person += who
            medium += [truth.code(consent.removeprefix("consent_"))] * len(who)
            day += [PAST_START + 0.1 + 5 * k + (i % 97) / 970 for i in who]
    return np.array(person), np.array(medium), np.array(day)


def _orders(
    found: Orders, number: list[str], at: Callable[[float], str], random: np.random.Generator
) -> tuple[Rows, Rows]:
    orders, lines = [], []
    order = np.argsort(found.day, kind="stable")
    for n, k in enumerate(order, 1):
        if found.day[k] >= DAYS:
            break
        amount = round(float(found.amount[k]), 2)
        returned = amount if random.random() < 0.02 else 0.0
        orders.append(
            {
                "number": f"H{n:07d}", "source": "shop", "member_number": number[found.person[k]],
                "placed_at": at(found.day[k]), "paid": f"{amount:.2f}", "returned": f"{returned:.2f}",
                "tax": f"{amount / 1.13 * 0.13:.2f}", "currency": "CNY",
            }
        )  # fmt: skip
        lines += [
            {"number": f"H{n:07d}", "source": "shop", "line_number": str(position), "sku": sku, "quantity": str(quantity),
             "amount": f"{part:.2f}"}
            for position, (sku, quantity, part) in enumerate(lines_of(amount, random), 1)
        ]  # fmt: skip
    return orders, lines
