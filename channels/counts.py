"""Counts of a channel by the hour: what its health page shows.

Names: an outcome (``accepted``, ``refused``, ``throttled``, ``unknown``, ``held``), an outcome with the
provider's code (``refused:550``), ``bad_signature``, ``too_large``, ``poison``, or a click on a link that many people
got (``click:<campaign>:<message version>:<employee>``, machines as ``machine_click:…``).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from django.utils import timezone

from channels.adapters.base import Sent
from channels.queries import counts as queries

BAD_SIGNATURE = "bad_signature"
TOO_LARGE = "too_large"
POISON = "poison"


def shared_click(campaign_id: int, version_id: int, employee_id: int, machine: bool) -> str:
    """The name under which clicks on a shared link are counted; whose they were is not known."""
    return f"{'machine_' if machine else ''}click:{campaign_id}:{version_id}:{employee_id}"


def count(channel_id: int, name: str, n: int = 1, now: datetime | None = None) -> None:
    queries.add(channel_id, {name: n}, now or timezone.now())


def count_many(channel_id: int, counts: Mapping[str, int], now: datetime | None = None) -> None:
    """One statement for a whole batch."""
    queries.add(channel_id, counts, now or timezone.now())


def of_sent(results: Iterable[Sent]) -> Counter[str]:
    """What a batch of results counts as: each outcome, and each code of those that were not accepted."""
    counted: Counter[str] = Counter()
    for (outcome, code), n in Counter((sent.outcome, sent.code) for sent in results).items():
        counted[str(outcome)] += n
        if code and outcome not in ("accepted", "held"):
            counted[f"{outcome}:{code}"] += n
    return counted
