"""What the far sides' logs say: who was given which message, and by which attempt."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from channels.accounts import account_of
from channels.adapters import _sms_marks
from channels.models import Channel
from channels.sandbox.log import read_log

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message that a far side took, or that a person got where an employee sends it.

    ``attempt`` is what the far side knows of ours: an id, or a reference (``job:address``); "" for nothing.
    """

    channel: int
    attempt: str
    address: str  # as our identities write it
    at: dt.datetime


def arrivals(folder: Path, channel: Channel) -> Iterator[Arrival]:
    """All that the far side of a channel took, in the order of its log."""
    kind = {"email": "smtp"}.get(channel.adapter, channel.adapter)
    read = READERS[channel.adapter]
    tag = _sms_marks.tag(account_of(channel))
    part_of: dict[str, int] = {}
    for line in read_log(folder, kind):
        found = read(line, tag)
        if found is not None:
            attempt, address = found
            # Of a message in parts the first one that came counts: the person has something of it then.
            if part_of.setdefault(attempt, line.get("part", 1)) != line.get("part", 1):
                continue
            yield Arrival(channel.pk, attempt, address, dt.datetime.fromisoformat(line["at"]))


def _by_mail(line: Line, tag: str) -> tuple[str, str] | None:
    taken = line["event"] == "message" and line["verdict"] == "accepted"
    return (str(line["attempt"]), line["address"]) if taken else None


def _by_smpp(line: Line, tag: str) -> tuple[str, str] | None:
    taken = line["event"] == "submit" and line["verdict"] == "accepted"
    return (str(line["attempt"]), line["address"]) if taken else None


def _by_mark(mark: str, address: str) -> Callable[[Line, str], tuple[str, str] | None]:
    """One field of a call for many numbers names the attempt of each."""

    def read(line: Line, tag: str) -> tuple[str, str] | None:
        if line["event"] != "submit" or line["verdict"] != "accepted":
            return None
        number = str(line[address])
        attempt = _sms_marks.attempt_of(tag, line[mark], number)
        return str(attempt or ""), number if number.startswith("+") else f"+86{number}"

    return read


def _by_twilio(line: Line, tag: str) -> tuple[str, str] | None:
    if line["event"] != "submit" or line["verdict"] != "accepted":
        return None
    named = parse_qs(urlsplit(line["callback"]).query).get("attempt", [""])
    return named[0], line["address"]


def _by_wecom(line: Line, tag: str) -> tuple[str, str] | None:
    """Only what an employee sent reached somebody."""
    sent = line["event"] == "result" and line["verdict"] == "sent"
    return (f"{line['msgid']}:{line['address']}", line["address"]) if sent else None


def _by_official_account(line: Line, tag: str) -> tuple[str, str] | None:
    if line["event"] == "template" and line["verdict"] == "accepted":
        return str(line["attempt"]), line["address"]
    return (f"{line['msgid']}:{line['address']}", line["address"]) if line["event"] == "sent" else None


READERS: dict[str, Callable[[Line, str], tuple[str, str] | None]] = {
    "email": _by_mail,
    "smpp": _by_smpp,
    "aliyun_sms": _by_mark("out_id", "number"),
    "tencent_sms": _by_mark("context", "address"),
    "twilio": _by_twilio,
    "webhook": _by_mail,
    "wecom": _by_wecom,
    "official_account": _by_official_account,
}


def shown(folder: Path, adapter: str, before: dt.date | None = None) -> int:
    """Exposures of an ad platform by its log: the newest figures of each placement and day, of days before one."""
    newest: dict[tuple[str, str], int] = {}
    for line in read_log(folder, adapter):
        if line["event"] == "delivered" and (before is None or line["day"] < before.isoformat()):
            figures = line.get("figures", line)
            place = line.get("placement") or line.get("campaign") or line.get("adset")
            newest[str(place), line["day"]] = figures.get("exposures", figures.get("impressions", 0))
    return sum(newest.values())
