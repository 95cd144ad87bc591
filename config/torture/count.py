"""What was sent, by the sandbox's log; what we say of it, by our tables; and where the two differ."""

import datetime as dt
from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.db import connection

from channels.sandbox.log import read_log
from config.torture.scene import CAP, HOURS

ATTEMPTS = """
SELECT a.id, a.campaign_id, a.touch_id, a.customer_id, a.channel_id, t.round, a.state, t.state
FROM campaigns_attempt a JOIN campaigns_touch t ON t.campaign_id = a.campaign_id AND t.id = a.touch_id
"""
TARGETS = "SELECT campaign_id, customer_id, channel_id, round, target FROM campaigns_member_target"
TOUCHES = "SELECT state, reason, count(*) FROM campaigns_touch GROUP BY 1, 2"
FINAL = {"sent", "delivered", "unknown", "unobserved", "gap", "released"}
CAPPED = {"pressure"}
EXPIRED = {"deadline", "capacity", "budget", "hours", "channel_stopped"}


@dataclass
class Counts:
    """All from the log but ``touches``, ``stateless`` and ``unknown``."""

    touches: int = 0
    accepted: int = 0  # touches that reached a far side
    sent_twice: int = 0  # touches or attempts that reached it more than once
    over: int = 0  # contacts beyond a target, or beyond the rule in any window
    lost: int = 0  # attempts we call accepted or delivered that no far side has
    stranger: int = 0  # messages on a far side that no attempt of ours names
    stateless: int = 0  # touches without a final state
    unknown: int = 0  # touches that stand as unknown
    unknown_arrived: int = 0  # of them, those a far side took: a receipt should have told
    capped: int = 0
    expired: int = 0  # touches that ended at their deadline or for want of capacity
    refused: int = 0
    accepted_share: float = 0.0  # of touches neither capped nor expired


def count(sandbox: Path) -> dict[str, Any]:
    """Join log and tables."""
    counts = Counts()
    with connection.cursor() as cursor:
        cursor.execute(ATTEMPTS)
        attempts = {row[0]: row[1:] for row in cursor.fetchall()}
        cursor.execute(TARGETS)
        targets = {row[:4]: row[4] for row in cursor.fetchall()}
        cursor.execute(TOUCHES)
        states = {(state, reason): n for state, reason, n in cursor.fetchall()}
    counts.touches = sum(states.values())
    counts.stateless = sum(n for (state, _reason), n in states.items() if state not in FINAL)
    counts.unknown = sum(n for (state, _reason), n in states.items() if state == "unknown")
    gaps = Counter({reason: n for (state, reason), n in states.items() if state in {"gap", "released"}})
    counts.capped = sum(gaps[reason] for reason in CAPPED)
    counts.expired = sum(gaps[reason] for reason in EXPIRED)
    counts.refused = sum(gaps.values()) - counts.capped - counts.expired
    taken = _taken(sandbox)
    counts.stranger = sum(1 for attempt_id in taken if attempt_id not in attempts)
    touches: Counter[tuple[int, int]] = Counter()
    cells: Counter[tuple[int, int, int, int]] = Counter()
    times: dict[int, list[dt.datetime]] = defaultdict(list)
    for attempt_id, found in taken.items():
        if attempt_id not in attempts:
            continue
        campaign_id, touch_id, customer_id, channel_id, round_number, _state, touch_state = attempts[
            attempt_id
        ]
        touches[campaign_id, touch_id] += len(found)
        cells[campaign_id, customer_id, channel_id, round_number] += len(found)
        times[customer_id] += found
        counts.unknown_arrived += touch_state == "unknown"
    counts.accepted = len(touches)
    counts.sent_twice = sum(n - 1 for n in touches.values() if n > 1)
    counts.over = sum(max(0, n - targets.get(cell, 0)) for cell, n in cells.items())
    counts.over += sum(beyond_rule(sorted(at), CAP, HOURS) for at in times.values())
    counts.lost = sum(
        1
        for attempt_id, (*_key, state, _touch) in attempts.items()
        if state in {"accepted", "delivered"} and attempt_id not in taken
    )
    owed = counts.touches - counts.capped - counts.expired
    counts.accepted_share = round(counts.accepted / owed, 5) if owed else 1.0
    return asdict(counts) | {
        "states": {f"{state}:{reason}".rstrip(":"): n for (state, reason), n in sorted(states.items())}
    }


def _taken(sandbox: Path) -> dict[int, list[dt.datetime]]:
    """Attempt → when a far side took a message of it; a message of several parts counts once."""
    taken: dict[int, list[dt.datetime]] = defaultdict(list)
    for kind, event in (("smtp", "message"), ("smpp", "submit")):
        for line in read_log(sandbox, kind):
            if line["event"] == event and line["verdict"] == "accepted" and line.get("part", 1) == 1:
                attempt = str(line["attempt"])
                taken[int(attempt) if attempt.isdigit() else -1].append(dt.datetime.fromisoformat(line["at"]))
    return taken


def beyond_rule(at: list[dt.datetime], most: int, hours: int) -> int:
    """Contacts that fell into a window of ``hours`` that held ``most`` already."""
    beyond = 0
    for position, moment in enumerate(at):
        first = bisect_right(at, moment - dt.timedelta(hours=hours))
        beyond += position - first + 1 > most
    return beyond
