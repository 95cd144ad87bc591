"""What people got, by the logs of the far sides; what the coverage report says of it; and where the two differ."""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection

from campaigns.models import Campaign
from campaigns.vocabulary import REACHED_TOUCH_STATES, Cause, TouchState
from channels import flights
from channels.models import DailyReport, PlatformAudience, PlatformAudienceMember
from channels.sandbox.ad_platform import ZONE
from config.torture import far_logs
from config.torture.count import FINAL, beyond_rule
from config.torture.families_scene import CAP, CAPPED, HOURS, Scene
from reports.coverage import Coverage, coverage

ATTEMPTS = """
SELECT a.id, a.reference, a.state, a.touch_id, a.customer_id, a.channel_id, i.value, t.state, t.reason
FROM campaigns_attempt a
JOIN campaigns_touch t ON t.campaign_id = a.campaign_id AND t.id = a.touch_id
LEFT JOIN audiences_identity i ON i.id = a.identity_id
ORDER BY a.id
"""
OWNERS = "SELECT kind, value, customer_id FROM audiences_identity"
TARGETS = """
SELECT channel_id, customer_id, sum(target) FROM campaigns_member_target WHERE campaign_id = %s GROUP BY 1, 2
"""
TOUCHES = (
    "SELECT channel_id, state, reason, count(*) FROM campaigns_touch WHERE campaign_id = %s GROUP BY 1, 2, 3"
)
# A message may have arrived, and yet its touch end so: the far side took it and told later that nobody got it.
TAKEN_BACK = {Cause.BOUNCED, Cause.REFUSED}


@dataclass
class Counts:
    """From the logs, but for what its comment says. Everything below ``accepted`` must be 0."""

    touches: int = 0  # by our tables
    accepted: int = 0  # touches that reached a far side
    over: int = 0  # messages to a person beyond the target on a channel, or beyond the rule in any window
    sent_twice: int = 0  # messages beyond the first of one touch
    stranger: int = 0  # messages that no attempt of ours names
    lost: int = 0  # touches we call reached that no far side has
    denied: int = 0  # touches that a far side has and that we neither call reached, unknown nor bounced
    stateless: int = 0  # touches without a final state, or without the reason it must have; by our tables
    told_over: int = 0  # over by us, as the coverage report has it
    astray: int = 0  # differences between the coverage report and the rows or logs, named in ``differences``
    differences: list[str] = field(default_factory=list)


@dataclass
class Attempts:
    """Ours, found by what a far side knows of them."""

    rows: list[tuple[Any, ...]]
    by_id: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    by_reference: dict[tuple[int, str], tuple[Any, ...]] = field(default_factory=dict)
    lost: dict[tuple[int, str], list[tuple[Any, ...]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for row in self.rows:
            number, reference, state, _touch, _customer, channel, address, *_ = row
            self.by_id[str(number)] = row
            # "job:address" may be followed by a deadline.
            self.by_reference[channel, ":".join(reference.split(":")[:2])] = row
            # Its answer was lost: only the address is known.
            if (not reference or reference.startswith("~")) and state not in {"refused", "throttled"}:
                self.lost[channel, address].append(row)

    def of(self, arrival: far_logs.Arrival) -> tuple[Any, ...] | None:
        if arrival.attempt.isdigit():
            return self.by_id.get(arrival.attempt)
        found = self.by_reference.get((arrival.channel, arrival.attempt))
        if found is None and self.lost[arrival.channel, arrival.address]:
            found = self.lost[arrival.channel, arrival.address].pop(0)
        return found


def count(
    scene: Scene,
    folder: Path,
    faults: Mapping[str, Mapping[str, int]],
    platforms: Mapping[str, Mapping[str, Any]],
    now: dt.datetime,
) -> dict[str, Any]:
    """Join logs, tables and the report. ``platforms``: as they were before the campaign ended."""
    campaign = Campaign.objects.get(pk=scene.campaign.pk)
    report = coverage(campaign, now)
    counts = Counts()
    attempts = Attempts(_rows(ATTEMPTS))
    states = _rows(TOUCHES, [campaign.pk])
    counts.touches = sum(row[3] for row in states)
    counts.stateless = sum(n for _channel, state, reason, n in states if not _is_final(state, reason))
    reached_by_log = _hold_against_logs(counts, scene, folder, attempts)
    _hold_report(counts, report, states, reached_by_log)
    _hold_platforms(counts, report)
    counts.astray = len(counts.differences)
    tried = Counter(row[2] for row in attempts.rows)
    return asdict(counts) | {
        "over_by_us": counts.told_over,
        "unknown": report.total.unknown,
        "unobserved": report.total.unobserved,
        "attempts": len(attempts.rows),
        "throttled": tried["throttled"],
        "refused": tried["refused"],
        "bounced": tried["bounced"],
        "gap": report.total.gap,
        "gap_by_cause": {line.cause: line.touches for line in report.causes},
        "released": {str(cause): n for cause, _label, n in report.released},
        "faults": {side: dict(told) for side, told in sorted(faults.items())},
        "channels": {
            line.channel.adapter: {
                "observability": line.channel.observability, "target": line.count.target,
                "reached": line.count.reached, "delivered": line.count.delivered, "unknown": line.count.unknown,
                "unobserved": line.count.unobserved, "gap": line.count.gap, "released": line.count.released_total,
                "by_log": reached_by_log[line.channel.pk],
            }
            for line in report.channels
        },
        "platforms": dict(platforms),
        "held_after": PlatformAudienceMember.objects.filter(held=True).count(),
        "left_out": scene.left_out,
    }  # fmt: skip


def _rows(sql: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, list(parameters))
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def _is_final(state: str, reason: str) -> bool:
    reasoned = state not in {TouchState.GAP, TouchState.RELEASED} or reason in Cause.values
    return state in FINAL and reasoned


def _hold_against_logs(counts: Counts, scene: Scene, folder: Path, attempts: Attempts) -> Counter[int]:
    """Channel → touches that a far side has."""
    owners = {(kind, value): customer for kind, value, customer in _rows(OWNERS)}
    targets = {(channel, customer): n for channel, customer, n in _rows(TARGETS, [scene.campaign.pk])}
    touches: Counter[int] = Counter()
    cells: Counter[tuple[int, int]] = Counter()
    times: dict[int, list[dt.datetime]] = defaultdict(list)
    state_of = {row[3]: (row[5], row[7], row[8]) for row in attempts.rows}
    by_channel: Counter[int] = Counter()
    for channel in scene.channels.values():
        if channel.adapter not in far_logs.READERS:
            continue
        kinds = _kinds(channel.adapter)
        for arrival in far_logs.arrivals(folder, channel):
            customer = next(
                (owners[kind, arrival.address] for kind in kinds if (kind, arrival.address) in owners), 0
            )
            cells[channel.pk, customer] += 1  # by the address alone: whatever attempts say
            found = attempts.of(arrival)
            if channel.medium == CAPPED and not (
                found and found[2] == "bounced"
            ):  # that place was given back
                times[customer].append(arrival.at)
            if found is None or found[4] != customer:
                counts.stranger += 1
                counts.differences.append(f"{channel.adapter}: nobody of ours sent {arrival}")
                continue
            touches[found[3]] += 1
            by_channel[channel.pk] += touches[found[3]] == 1
    counts.accepted = len(touches)
    counts.sent_twice = sum(n - 1 for n in touches.values())
    for cell, n in cells.items():
        if n > targets.get(cell, 0):
            counts.over += n - targets.get(cell, 0)
            counts.differences.append(
                f"customer {cell[1]} got {n} of {targets.get(cell, 0)} on channel {cell[0]}"
            )
    for customer, at in times.items():
        if beyond := beyond_rule(sorted(at), CAP, HOURS):
            counts.over += beyond
            counts.differences.append(f"customer {customer} got {beyond} beyond the rule")
    for touch, (_channel, state, reason) in state_of.items():
        if (
            touch in touches
            and state not in {*REACHED_TOUCH_STATES, TouchState.UNKNOWN}
            and reason not in TAKEN_BACK
        ):
            counts.denied += 1
            counts.differences.append(f"touch {touch} arrived and stands as {state} {reason}")
        if touch not in touches and state in REACHED_TOUCH_STATES:
            counts.lost += 1
            counts.differences.append(f"touch {touch} stands as {state} and never arrived")
    return by_channel


def _kinds(adapter: str) -> tuple[str, ...]:
    return {
        "email": ("email",), "wecom": ("wecom_external_id",), "official_account": ("openid",), "webhook": ("member_number",),
    }.get(adapter, ("phone",))  # fmt: skip


def _hold_report(
    counts: Counts, report: Coverage, states: list[tuple[Any, ...]], by_log: Mapping[int, int]
) -> None:
    """The report adds up, says what the rows say, and no channel of persons reached more than its far side has."""
    counts.told_over = report.over["over_by_us"]
    wrong = counts.differences
    if not report.total.adds_up:
        wrong.append(f"target {report.total.target} is not its parts {report.total.parts}")
    if sum(line.touches for line in report.causes) != report.total.gap:
        wrong.append("the causes do not sum to the gap")
    for line in report.channels:
        rows = Counter(
            {(state, reason): n for channel, state, reason, n in states if channel == line.channel.pk}
        )
        reached = sum(n for (state, _reason), n in rows.items() if state in REACHED_TOUCH_STATES)
        gaps = sum(n for (state, _reason), n in rows.items() if state == TouchState.GAP)
        unplanned = line.count.target - line.count.planned
        told = (line.count.reached, line.count.gap - unplanned, line.count.unobserved, line.count.unknown)
        seen = (reached, gaps, rows[TouchState.UNOBSERVED, ""], rows[TouchState.UNKNOWN, ""])
        if told != seen or not line.count.adds_up:
            wrong.append(f"{line.channel.adapter}: the report says {told}, the rows {seen}")
        if line.person_observed:
            if line.count.unobserved:
                wrong.append(f"{line.channel.adapter} observes persons and has unobserved touches")
            if line.count.reached > by_log[line.channel.pk]:
                wrong.append(
                    f"{line.channel.adapter}: {line.count.reached} reached, {by_log[line.channel.pk]} arrived"
                )
        elif line.count.reached or line.count.over_total or line.count.unknown:
            wrong.append(f"{line.channel.adapter} tells totals only, and the report knows persons")
    wrong += [
        f"receipts of {row.channel.adapter} differ by {row.difference}"
        for row in report.receipts
        if row.difference
    ]


def platforms(campaign_id: int, folder: Path) -> dict[str, dict[str, Any]]:
    """What platforms were told, hold, have shown by their logs, and report."""
    found: dict[str, dict[str, Any]] = {}
    today = dt.datetime.now(ZONE).date()
    for audience in PlatformAudience.objects.filter(campaign_id=campaign_id).select_related("channel"):
        adapter = audience.channel.adapter
        wanted, known = audience.wanted_flight, audience.known_flight
        exposures, spend = _reported(audience.channel_id)
        found[adapter] = {
            "members": audience.members.filter(held=True).count(),
            "settled": flights.settled(audience),
            "cap_wanted": wanted.get("cap_exposures"), "cap_held": known.get("cap_exposures"),
            # This one reports only days that are over.
            "shown": far_logs.shown(folder, adapter, today if adapter == "xiaohongshu" else None),
            "exposures": exposures, "spend": float(spend),
        }  # fmt: skip
    return found


def _reported(channel_id: int) -> tuple[int, Any]:
    """Exposures and spend of a channel's newest daily reports."""
    newest = {
        (row.day, row.placement): row
        for row in DailyReport.objects.filter(channel_id=channel_id).order_by("version")
    }
    return sum(row.exposures or 0 for row in newest.values()), sum(row.spend for row in newest.values())


def _hold_platforms(counts: Counts, report: Coverage) -> None:
    """The report's totals of platforms are those of the newest daily reports."""
    for line in report.channels:
        if not line.person_observed:
            told, shown = _reported(line.channel.pk), line.reported
            if (shown.exposures, shown.spend) != told if shown else told[0]:
                counts.differences.append(
                    f"{line.channel.adapter}: the report shows {shown}, the daily reports {told}"
                )
