"""What a touch is worth: the chance that it brings a conversion, and that the sequence comes so far at all.

Rates by channel, stage and ordinal, from the touches and responses seen, smoothed towards a declared prior; the
prior alone where nothing was seen. They are *observed* rates: people who were contacted more often were chosen
to be, so they say what to expect of a plan like those before, and nothing about what one more touch causes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from audiences.vocabulary import Medium, ResponseKind
from campaigns.planner.spec import STAGES, PlannedChannel, Spec
from campaigns.queries import rates as queries

ORDINALS = 90
PRIOR_TOUCHES = 400.0  # a prior counts as so many touches seen
FALL = 0.7  # the prior rate of each further touch against the one before
KNOWN_DAYS = 365  # touches of so many days count

# Chance of a conversion after the first touch, and of any reaction: declared, to be replaced by what is seen.
CONVERSION: dict[str, float] = {
    Medium.SMS: 0.006, Medium.EMAIL: 0.004, Medium.WECOM: 0.015, Medium.OFFICIAL_ACCOUNT: 0.01,
    Medium.APP_PUSH: 0.005, Medium.CALL: 0.03, Medium.MAIL: 0.02, Medium.SEARCH: 0.004, Medium.SOCIAL: 0.002,
    Medium.VIDEO: 0.001, Medium.WEBHOOK: 0.004, Medium.OTHER: 0.003, Medium.KOL: 0.002,
}  # fmt: skip
REACTION: dict[str, float] = {
    Medium.SMS: 0.04, Medium.EMAIL: 0.12, Medium.WECOM: 0.15, Medium.OFFICIAL_ACCOUNT: 0.1, Medium.APP_PUSH: 0.06,
    Medium.CALL: 0.4, Medium.MAIL: 0.03,
}  # fmt: skip
OF_STAGE: dict[str, float] = {"prospect": 0.5, "member": 0.8, "customer": 1.0, "advocate": 1.5}
# Exits end a sequence for a person; these kinds are rare enough to be left to the prior conversion rate.
CONVERTED = (ResponseKind.CONVERSION, ResponseKind.REDEMPTION)
SILENT = (
    ResponseKind.EXPOSURE,
    ResponseKind.DELIVERED,
    ResponseKind.OPT_OUT,
    ResponseKind.COMPLAINT,
    ResponseKind.RETURN,
)

Rates = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ResponseModel:
    """By channel × stage × ordinal: ``conversion`` never rises with the ordinal; ``going`` is the chance that

    the touch is sent at all, given that it is planned (silence and exits stop a sequence before). ``seen`` is
    the number of touches behind each rate.
    """

    conversion: Rates
    reaction: Rates
    going: Rates
    seen: Rates
    margin_rate: float
    conversion_value: float

    def digest(self) -> str:
        told = (self.conversion.tobytes(), self.reaction.tobytes(), self.going.tobytes())
        text = f"{self.margin_rate}|{self.conversion_value}".encode()
        return hashlib.sha256(b"|".join((*told, text))).hexdigest()

    def stored(self, spec: Spec) -> dict[str, Any]:
        """What a plan keeps of it, for people and for explanations."""
        most = max(1, int(spec.targets.max(initial=1)))
        return {
            "basis": "Observed rates smoothed towards a declared prior; not causal.",
            "prior_touches": PRIOR_TOUCHES,
            "margin_rate": self.margin_rate,
            "conversion_value": self.conversion_value,
            "channels": {
                str(channel.id): {
                    stage: {
                        "conversion": _rounded(self.conversion[c, s, :most]),
                        "reaction": _rounded(self.reaction[c, s, :most]),
                        "going": _rounded(self.going[c, s, :most]),
                        "seen": int(self.seen[c, s].sum()),
                    }
                    for s, stage in enumerate(STAGES)
                }
                for c, channel in enumerate(spec.channels)
            },
        }


def read(spec: Spec) -> ResponseModel:
    """The model of a campaign's channels from what was seen until now."""
    shape = (len(spec.channels), len(STAGES), ORDINALS)
    seen, converted, reacted = (np.zeros(shape) for _ in range(3))
    places = {channel.id: n for n, channel in enumerate(spec.channels)}
    stages = {stage: n for n, stage in enumerate(STAGES)}
    for row in queries.rates(
        list(places),
        spec.now,
        KNOWN_DAYS,
        int(spec.document["attribution_days"]),
        list(CONVERTED),
        list(SILENT),
    ):
        at = (places[row.channel_id], stages.get(row.stage, 0), min(row.ordinal, ORDINALS) - 1)
        seen[at] += row.touches
        converted[at] += row.converted
        reacted[at] += row.reacted
    conversion = smooth(seen, converted, _prior(spec.channels, CONVERSION, 0.003))
    reaction = smooth(seen, reacted, _prior(spec.channels, REACTION, 0.05))
    going = np.stack(
        [
            np.stack([going_on(reaction[c, s], _silence(spec, channel)) for s in range(len(STAGES))])
            for c, channel in enumerate(spec.channels)
        ]
        or [np.ones(shape[1:])]
    ).reshape(shape)
    return ResponseModel(conversion, reaction, going, seen, spec.margin_rate, spec.conversion_value)


def _prior(channels: Sequence[PlannedChannel], by_medium: Mapping[str, float], otherwise: float) -> Rates:
    base = np.array([by_medium.get(channel.medium, otherwise) for channel in channels]).reshape(-1, 1, 1)
    stage = np.array([OF_STAGE.get(name, 1.0) for name in STAGES]).reshape(1, -1, 1)
    fall = FALL ** np.arange(ORDINALS).reshape(1, 1, -1)
    return cast(Rates, np.minimum(0.95, base * stage) * fall)


def smooth(seen: Rates, happened: Rates, prior: Rates) -> Rates:
    """Beta-smoothed rates along the last axis, made never to rise with the ordinal (pooled where they would)."""
    weight = seen + PRIOR_TOUCHES
    rate = (happened + PRIOR_TOUCHES * prior) / weight
    flat, weights = rate.reshape(-1, rate.shape[-1]), weight.reshape(-1, rate.shape[-1])
    for row in range(len(flat)):
        if (np.diff(flat[row]) > 0).any():
            flat[row] = _falling(flat[row], weights[row])
    return flat.reshape(rate.shape)


def _falling(rate: Rates, weight: Rates) -> Rates:
    """The nearest sequence that never rises (pool adjacent violators)."""
    blocks: list[list[float]] = []
    for value, count in zip(rate.tolist(), weight.tolist(), strict=True):
        blocks.append([value, count, 1])
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            value_b, count_b, length_b = blocks.pop()
            value_a, count_a, length_a = blocks.pop()
            total = count_a + count_b
            blocks.append([(value_a * count_a + value_b * count_b) / total, total, length_a + length_b])
    return np.concatenate([np.full(int(length), value) for value, _count, length in blocks])


def _silence(spec: Spec, channel: PlannedChannel) -> int | None:
    """Silent touches after which a sequence stops on this channel; None: silence is not judged."""
    return spec.silent_touches if channel.silence_hours and channel.sees_reactions else None


def going_on(reaction: Rates, silent_touches: int | None) -> Rates:
    """The chance that the k-th touch is sent: that no run of so many silent touches came before."""
    found = np.ones(len(reaction))
    if silent_touches is None:
        return found
    silent = np.zeros(silent_touches)  # chance of having n silent touches behind one
    silent[0] = 1.0
    for ordinal in range(1, len(reaction)):
        chance = reaction[ordinal - 1]
        reacted = silent.sum() * chance
        silent = np.concatenate([[reacted], silent[:-1] * (1 - chance)])
        found[ordinal] = silent.sum()
    return found


def _rounded(values: Rates) -> list[float]:
    return [round(float(value), 6) for value in values]
