"""The market with a known truth: who reacts to what, after how many touches, and who buys anyway.

Everything is drawn by hash from (seed, person, purpose, medium, ordinal), so the same touches have the same
consequences, live or in a batch, in any order. The model, for person i, medium c and the k-th touch on it:

- without any touch i buys once on a day with probability ``base_rate · p_i``, p_i log-normal with mean 1;
- touch k adds one order with probability ``r_ic · A_c · (e^(−b_c (k−1)) − e^(−b_c k))``, r_ic log-normal with
  mean 1: after k touches ``A_c (1 − e^(−b_c k))`` orders a person in all (diminishing returns);
- touch k makes i leave the medium with probability ``h_c · g_c^(k−1)`` (fatigue), whatever i buys;
- i opens and clicks with probabilities that fade by ``fade`` from touch to touch.

:func:`true_lift` says what an experiment should find.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Curve:
    """How people react on one medium."""

    ceiling: float  # A: added orders a person after very many touches
    speed: float  # b: how soon the ceiling is neared
    opt_out: float  # h: probability of leaving after the first touch
    opt_out_growth: float = 1.6  # g: factor a further touch
    open: float = 0.0
    click: float = 0.0
    reply: float = 0.0  # an ordinary reply
    fade: float = 0.85  # factor of open, click and reply a further touch


CURVES: dict[str, Curve] = {
    "email": Curve(ceiling=0.030, speed=0.55, opt_out=0.002, open=0.28, click=0.035),
    "sms": Curve(ceiling=0.045, speed=0.80, opt_out=0.006, opt_out_growth=1.9, click=0.045, reply=0.004),
    "wecom": Curve(ceiling=0.060, speed=0.70, opt_out=0.003, click=0.080),
    "social": Curve(ceiling=0.020, speed=0.25, opt_out=0.0),
    "video": Curve(ceiling=0.018, speed=0.20, opt_out=0.0),
    "search": Curve(ceiling=0.035, speed=0.60, opt_out=0.0),
    "official_account": Curve(ceiling=0.040, speed=0.60, opt_out=0.004, click=0.060, reply=0.003),
    "app_push": Curve(ceiling=0.025, speed=0.50, opt_out=0.005, click=0.050),
    "webhook": Curve(ceiling=0.025, speed=0.50, opt_out=0.005, click=0.050),
}
FIRST = ("email", "sms", "social", "wecom")  # their codes never change: what is drawn hangs on them


@dataclass(frozen=True)
class Truth:
    """What is so in the simulated market. Days are simulated ones; money in the shop's currency."""

    seed: int = 1
    base_rate: float = 0.004  # mean probability of an order a person and day, untouched
    propensity_spread: float = 0.8  # sigma of log p_i
    response_spread: float = 0.5  # sigma of log r_ic
    average_order: float = 180.0
    order_spread: float = 0.5  # sigma of the log of an order's amount
    order_days: float = 1.5  # mean wait from a touch to the order it caused
    click_days: float = 0.06
    open_days: float = 0.04
    scanner_share: float = 0.02  # of e-mail addresses behind a machine that opens every link at once
    memory_days: float = 30.0  # touches older than this no longer count as earlier ones
    curves: Mapping[str, Curve] = field(default_factory=lambda: dict(CURVES))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Truth":
        """From plain values; ``curves`` overrides fields of single media. Raises :class:`TypeError`."""
        curves = dict(CURVES)
        for medium, changed in values.get("curves", {}).items():
            curves[medium] = replace(curves[medium], **changed) if medium in curves else Curve(**changed)
        return cls(**{**values, "curves": curves})

    @cached_property
    def media(self) -> tuple[str, ...]:
        """Media by code: the position in this tuple is what arrays of media hold."""
        return (*(m for m in FIRST if m in self.curves), *sorted(set(self.curves) - set(FIRST)))

    def code(self, medium: str) -> int:
        return self.media.index(medium)

    def table(self, name: str) -> Floats:
        """One parameter of all curves, by code."""
        return np.array([getattr(self.curves[medium], name) for medium in self.media])


# -- draws ---------------------------------------------------------------------------------------------------
PURPOSES = {
    name: np.uint64(n)
    for n, name in enumerate(
        ("propensity", "propensity2", "response", "response2", "open", "open_wait", "click", "click_wait", "reply",
         "opt_out", "opt_out_wait", "order", "order_wait", "amount", "amount2", "base", "base_time", "base_amount",
         "base_amount2", "scanner"), 1,
    )
}  # fmt: skip
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: Hashes) -> Hashes:
    """splitmix64's finaliser: every bit of the input changes half of the output."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def draw(seed: int, purpose: str, people: Hashes, *keys: Any) -> Floats:
    """One number in (0, 1) a person (and key): the same for the same arguments, else independent."""
    with np.errstate(over="ignore"):
        state = _mix(
            people + np.uint64(seed % 2**64) * _GOLDEN + PURPOSES[purpose] * np.uint64(0xD1342543DE82EF95)
        )
        for key in keys:
            state = _mix(state + (np.asarray(key).astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def _normal(seed: int, purpose: str, people: Hashes, *keys: Any) -> Floats:
    """Standard normal, by Box and Muller."""
    first, second = draw(seed, purpose, people, *keys), draw(seed, purpose + "2", people, *keys)
    return np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second)


def _around_one(spread: float, normal: Floats) -> Floats:
    """Log-normal with mean 1."""
    return np.exp(spread * normal - spread * spread / 2)


def propensity(truth: Truth, people: Hashes) -> Floats:
    """p_i."""
    return _around_one(truth.propensity_spread, _normal(truth.seed, "propensity", people))


def responsiveness(truth: Truth, people: Hashes, media: Ints) -> Floats:
    """r_ic."""
    return _around_one(truth.response_spread, _normal(truth.seed, "response", people, media))


def added(truth: Truth, media: Ints, ordinals: Ints) -> Floats:
    """Probability that touch k adds an order to a person with r = 1."""
    ceiling, speed = truth.table("ceiling")[media], truth.table("speed")[media]
    return ceiling * (np.exp(-speed * (ordinals - 1)) - np.exp(-speed * ordinals))


def leaving(truth: Truth, media: Ints, ordinals: Ints) -> Floats:
    """Probability that touch k makes a person leave the medium."""
    return np.minimum(
        1.0, truth.table("opt_out")[media] * truth.table("opt_out_growth")[media] ** (ordinals - 1)
    )


# -- reactions to touches ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Reactions:
    """What each touch leads to; a wait is in days after the touch, NaN where it does not happen."""

    open: Floats
    click: Floats
    reply: Floats
    opt_out: Floats
    order: Floats
    amount: Floats  # of the order, NaN where none


def react(truth: Truth, people: Hashes, media: Ints, ordinals: Ints, contexts: Ints | int = 0) -> Reactions:
    """Reactions to touches (arrays of equal length). ``contexts`` tells occasions apart (a campaign, a month):
    the k-th touch of another occasion is drawn afresh."""
    keys = (media, ordinals, contexts)
    seed = truth.seed
    fade = truth.table("fade")[media] ** (ordinals - 1)
    taste = np.minimum(3.0, responsiveness(truth, people, media))

    def when(purpose: str, chances: Floats, days: float) -> Floats:
        wait = -days * np.log(draw(seed, purpose + "_wait", people, *keys))
        return np.where(draw(seed, purpose, people, *keys) < chances, wait, np.nan)

    order = when(
        "order", responsiveness(truth, people, media) * added(truth, media, ordinals), truth.order_days
    )
    click = when("click", truth.table("click")[media] * fade * taste, truth.click_days)
    # Most of those who buy because of a touch come through its link: before the order, not after it.
    through = (
        ~np.isnan(order) & (truth.table("click")[media] > 0) & (draw(seed, "click_wait", people, *keys) < 0.7)
    )
    click = np.where(through, np.fmin(click, order * 0.5), click)
    opened = when("open", np.minimum(1.0, truth.table("open")[media] * fade * taste), truth.open_days)
    opened = np.where(
        ~np.isnan(click) & (truth.table("open")[media] > 0), np.fmin(opened, click * 0.9), opened
    )
    replies = draw(seed, "reply", people, *keys) < truth.table("reply")[media] * fade
    leaves = when("opt_out", leaving(truth, media, ordinals), truth.click_days)
    amount = np.where(np.isnan(order), np.nan, _amounts(truth, "amount", people, *keys))
    return Reactions(opened, click, np.where(replies, truth.click_days, np.nan), leaves, order, amount)


def _amounts(truth: Truth, purpose: str, people: Hashes, *keys: Any) -> Floats:
    factor = _around_one(truth.order_spread, _normal(truth.seed, purpose, people, *keys))
    return np.maximum(1.0, np.round(truth.average_order * factor, 2))


def base_orders(truth: Truth, people: Hashes, day: int) -> tuple[Ints, Floats, Floats]:
    """Who buys on a day without being asked: (rows, time of day in days, amounts)."""
    chances = np.minimum(1.0, truth.base_rate * propensity(truth, people))
    rows = np.flatnonzero(draw(truth.seed, "base", people, day) < chances)
    who = people[rows]
    return rows, draw(truth.seed, "base_time", who, day), _amounts(truth, "base_amount", who, day)


def true_lift(
    truth: Truth, touches: Mapping[str, int], *, people: Hashes | None = None, until_opt_out: bool = True
) -> dict[str, float]:
    """Added orders and revenue a person, when each gets so many touches a medium: the truth behind an estimate.

    With ``until_opt_out`` who leaves a medium gets no further touch on it. ``people`` takes the mean over these
    people's own responsiveness; else its mean over all, 1.
    """
    orders = 0.0
    for medium, n in touches.items():
        ordinals = np.arange(1, n + 1)
        media = np.full(n, truth.code(medium))
        staying = np.cumprod(1 - leaving(truth, media, ordinals)) if until_opt_out else np.ones(n)
        reached = np.concatenate(([1.0], staying))[:n]
        step = added(truth, media, ordinals)
        if people is None:
            orders += float(step @ reached)
        else:
            own = responsiveness(truth, people, np.full(len(people), truth.code(medium)))
            orders += float(np.minimum(1.0, own[:, None] * step[None, :]).mean(axis=0) @ reached)
    return {"orders": orders, "revenue": orders * truth.average_order}


# -- a whole history at once ---------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Touches:
    """Touches of a past: equal-length arrays. ``person`` is a row of the people given beside."""

    person: Ints
    medium: Ints  # Truth.code
    day: Floats
    context: Ints | None = None  # the campaign: ordinals count within it


@dataclass(frozen=True, slots=True)
class Responses:
    """``touch`` is the position in the touches, ``kind`` one of open, click, reply, opt_out."""

    person: Ints
    touch: Ints
    kind: npt.NDArray[np.str_]
    day: Floats


@dataclass(frozen=True, slots=True)
class Orders:
    """``touch`` is the position of the touch that caused it, −1 for an order that nobody asked for."""

    person: Ints
    day: Floats
    amount: Floats
    touch: Ints


@dataclass(frozen=True, slots=True)
class History:
    sent: Bools  # False: the person had left the medium before, in this context
    ordinal: Ints
    responses: Responses
    orders: Orders


def simulate_history(
    truth: Truth, people: Hashes, touches: Touches, *, first_day: int, last_day: int, base: bool = True
) -> History:
    """What came of touches in the past, and the orders of days ``first_day`` to ``last_day`` (inclusive, numbers of
    any fixed calendar). Orders that touches caused keep their day, even behind the last one."""
    context = (
        touches.context if touches.context is not None else np.zeros(len(touches.person), dtype=np.int64)
    )
    ordinal = _ordinals(touches, context)
    who = people[touches.person]
    found = react(truth, who, touches.medium, ordinal, context)
    sent = _still_in(touches, context, ordinal, ~np.isnan(found.opt_out))

    kinds, owners, days = [], [], []
    for kind in ("open", "click", "reply", "opt_out"):
        wait = getattr(found, kind)
        rows = np.flatnonzero(sent & ~np.isnan(wait))
        kinds.append(np.full(len(rows), kind))
        owners.append(rows)
        days.append(touches.day[rows] + wait[rows])
    owner = np.concatenate(owners)
    responses = Responses(touches.person[owner], owner, np.concatenate(kinds), np.concatenate(days))

    rows = np.flatnonzero(sent & ~np.isnan(found.order))
    parts = [(touches.person[rows], touches.day[rows] + found.order[rows], found.amount[rows], rows)]
    for day in range(first_day, last_day + 1) if base else ():
        buyers, time, amount = base_orders(truth, people, day)
        parts.append((buyers, day + time, amount, np.full(len(buyers), -1)))
    person, day_of, amounts, cause = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(day_of, kind="stable")
    orders = Orders(person[order], day_of[order], amounts[order], cause[order])
    return History(sent, ordinal, responses, orders)


def _ordinals(touches: Touches, context: Ints) -> Ints:
    """Which touch of its person, medium and context each one is, by day: 1, 2, 3…"""
    n = len(touches.person)
    order = np.lexsort((np.arange(n), touches.day, context, touches.medium, touches.person))
    same = np.zeros(n, dtype=bool)
    for column in (touches.person, touches.medium, context):
        sorted_column = column[order]
        changed = np.ones(n, dtype=bool)
        changed[1:] = sorted_column[1:] != sorted_column[:-1]
        same |= changed
    starts = np.flatnonzero(same)
    group = np.cumsum(same) - 1
    ordinal = np.empty(n, dtype=np.int64)
    ordinal[order] = np.arange(n) - starts[group] + 1 if n else ordinal[order]
    return ordinal


def _still_in(touches: Touches, context: Ints, ordinal: Ints, leaves: Bools) -> Bools:
    """Touches at or before the one after which the person leaves that medium, in that context."""
    if not len(ordinal):
        return np.zeros(0, dtype=bool)
    groups = np.unique(
        np.stack((touches.person, touches.medium, context), axis=1), axis=0, return_inverse=True
    )[1]
    groups = groups.reshape(-1)
    last = np.full(groups.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(last, groups[leaves], ordinal[leaves])
    return ordinal <= last[groups]
