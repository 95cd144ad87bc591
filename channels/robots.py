"""Group robots of WeCom, DingTalk and Feishu: one message into one group, by the robot's webhook.

What may have arrived is ``UNKNOWN`` and must not be sent again; what is known not to have arrived says whether
and when another try makes sense. The webhook's address holds the robot's key: it is never told in an error.
"""

import base64
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx
from django.utils.translation import gettext as _

from channels.adapters.base import Outcome

TIMEOUT = 10.0
MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Note:
    """What is told: a title, and lines in the little markdown that all three understand (``**bold**``, links)."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one note. ``retry_after`` seconds: not before then; None: only after somebody mends it."""

    outcome: Outcome
    code: str = ""
    text: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Robot:
    """One vendor's robot. ``longest`` is in bytes of the note's text; ``per_minute`` what the vendor takes."""

    longest: int
    per_minute: int
    body: Callable[[Note], dict[str, Any]]
    sign: Callable[[str, dict[str, Any], str, float], tuple[str, dict[str, Any]]]
    code: str  # the field of the answer that is 0 when all is well
    message: str
    throttled: Mapping[str, float]  # code → seconds to leave the robot alone
    busy: frozenset[str] = frozenset()  # the vendor's own trouble: nothing was taken, soon again


def fitted(note: Note, longest: int, more: Callable[[int], str]) -> Note:
    """The note with as many lines as fit into ``longest`` bytes; ``more(n)`` says how many are left out."""
    lines = list(note.lines)
    while lines and _size(note.title, lines, more(len(note.lines) - len(lines))) > longest:
        lines.pop()
    left_out = len(note.lines) - len(lines)
    return Note(note.title, (*lines, more(left_out)) if left_out else tuple(lines))


def _size(title: str, lines: list[str], last: str) -> int:
    return len("\n\n".join([f"### {title}", *lines, last]).encode())


def send(
    kind: str, address: str, secret: str, note: Note, *, now: Callable[[], float] = time.time
) -> Delivery:
    """Hand one note to the robot at ``address``. Never raises for the far side's sake."""
    robot = ROBOTS[kind]
    url, body = robot.sign(address, robot.body(note), secret, now())
    raw = json.dumps(body, ensure_ascii=False).encode()
    try:
        answer = httpx.post(
            url, content=raw, headers={"Content-Type": "application/json; charset=utf-8"}, timeout=TIMEOUT
        )
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
        return Delivery(Outcome.THROTTLED, "connect", _("Nobody answers at the robot's address."), MINUTE)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        return Delivery(Outcome.REFUSED, "address", _("The robot's address is no web address."))
    except httpx.HTTPError as error:  # the request may have left: what came of it nobody knows
        return Delivery(
            Outcome.UNKNOWN, type(error).__name__, _("The connection broke off before the robot answered.")
        )
    return _judged(robot, answer)


def _judged(robot: Robot, answer: httpx.Response) -> Delivery:
    try:
        told = answer.json()
        code = str(told[robot.code])
    except (ValueError, KeyError, TypeError):
        status = str(answer.status_code)
        if answer.status_code == 429:
            return Delivery(Outcome.THROTTLED, status, _("The robot is called too often."), MINUTE)
        if answer.status_code >= 500 or answer.is_success:
            return Delivery(Outcome.UNKNOWN, status, _("The robot's answer cannot be read."))
        return Delivery(
            Outcome.REFUSED, status, _("There is no robot at this address (HTTP %(n)s).") % {"n": status}
        )
    text = str(told.get(robot.message, ""))[:200]
    if code == "0":
        return Delivery(Outcome.ACCEPTED, code, text)
    if code in robot.throttled:
        return Delivery(Outcome.THROTTLED, code, text, robot.throttled[code])
    if code in robot.busy:
        return Delivery(Outcome.THROTTLED, code, text, MINUTE)
    return Delivery(Outcome.REFUSED, code, text)


# WeCom: the key in the address is all the proof; markdown of 4096 bytes; 20 a minute ----------------


def _wecom_body(note: Note) -> dict[str, Any]:
    return {
        "msgtype": "markdown",
        "markdown": {"content": "\n".join([f"### {note.title}", *(f"> {line}" for line in note.lines)])},
    }


def _unsigned(address: str, body: dict[str, Any], secret: str, now: float) -> tuple[str, dict[str, Any]]:
    return address, body


# DingTalk: timestamp (ms) and sign in the address; 20 a minute, then shut for ten minutes ------------


def _dingtalk_body(note: Note) -> dict[str, Any]:
    text = "\n\n".join([f"### {note.title}", *note.lines])
    return {"msgtype": "markdown", "markdown": {"title": note.title, "text": text}}


def _dingtalk_sign(address: str, body: dict[str, Any], secret: str, now: float) -> tuple[str, dict[str, Any]]:
    if not secret:
        return address, body
    stamp = str(round(now * 1000))
    proof = base64.b64encode(
        hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), sha256).digest()
    ).decode()
    parts = urlsplit(address)
    query = [*parse_qsl(parts.query), ("timestamp", stamp), ("sign", proof)]
    return urlunsplit(parts._replace(query=urlencode(query))), body


# Feishu: timestamp (s) and sign in the body, the key being both and the message empty; 100 a minute ---


def _feishu_body(note: Note) -> dict[str, Any]:
    return {
        "msg_type": "interactive",
        "card": {
            "config": {"wide_screen_mode": True},
            "header": {"title": {"tag": "plain_text", "content": note.title}, "template": "blue"},
            "elements": [{"tag": "markdown", "content": "\n".join(note.lines)}],
        },
    }


def _feishu_sign(address: str, body: dict[str, Any], secret: str, now: float) -> tuple[str, dict[str, Any]]:
    if not secret:
        return address, body
    stamp = str(int(now))
    proof = base64.b64encode(hmac.new(f"{stamp}\n{secret}".encode(), b"", sha256).digest()).decode()
    return address, {"timestamp": stamp, "sign": proof, **body}


ROBOTS: dict[str, Robot] = {
    "wecom": Robot(
        4096 - 200, 20, _wecom_body, _unsigned, "errcode", "errmsg", {"45009": MINUTE, "45033": MINUTE},
        frozenset({"-1"}),
    ),
    "dingtalk": Robot(
        20_000 - 2000, 20, _dingtalk_body, _dingtalk_sign, "errcode", "errmsg",
        {"130101": 10 * MINUTE, "410100": 10 * MINUTE, "90018": MINUTE}, frozenset({"-1"}),
    ),
    "feishu": Robot(
        20 * 1024 - 4096, 100, _feishu_body, _feishu_sign, "code", "msg",
        {"11232": MINUTE, "99991400": MINUTE},
    ),
}  # fmt: skip
