"""The little language of messages: words with fields in them, read once and filled for many people.

A field is ``{{name}}``, or ``{{name|friend}}`` with what stands in when the person has none. That is the
whole language: there is no template engine, so nothing a marketer writes is ever executed, and a value that
looks like a field is never read again. Values are escaped in HTML, percent-encoded inside an address, and
freed of line breaks in a subject.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any
from urllib.parse import quote

from django.utils.translation import gettext_lazy

ADDRESSES = {
    "unsubscribe": gettext_lazy("address where the person unsubscribes"),
    "preferences": gettext_lazy("address where the person chooses media"),
}

FIELD = re.compile(r"\{\{\s*([^\s{}|]+)\s*(?:\|([^{}]*))?\}\}")
_OPEN_ADDRESS = re.compile(r"""https?://[^\s"'<>]*$""", re.IGNORECASE)
# Control characters would break headers, links' marks and text protocols; line breaks may stay in a text.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029]")
LINES = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Place:
    """A field in a part: where it stands decides how its value is made safe."""

    name: str
    fallback: str
    in_address: bool
    source: str


Part = tuple["str | Place", ...]


@lru_cache(maxsize=2048)
def parse(text: str) -> Part:
    """Literal pieces and fields, in order."""
    pieces: list[str | Place] = []
    end, address = 0, ""
    for found in FIELD.finditer(text):
        literal = text[end : found.start()]
        if literal:
            pieces.append(literal)
        # An address goes on through a field: https://x.cn/?a={{a}}&b={{b}}
        address = (address + literal) if address and not re.search(r"""[\s"'<>]""", literal) else literal
        open_address = _OPEN_ADDRESS.search(address)
        address = open_address[0] if open_address else ""
        pieces.append(Place(found[1], (found[2] or "").strip(), bool(address), found[0]))
        end = found.end()
    if text[end:]:
        pieces.append(text[end:])
    return tuple(pieces)


def fields_used(*texts: str) -> list[str]:
    """Names of the fields in these texts, each once."""
    return list(
        dict.fromkeys(piece.name for text in texts for piece in parse(text) if isinstance(piece, Place))
    )


def render(part: Part, values: Mapping[str, Any], how: str) -> str:
    """``how`` is subject, text or html."""
    if len(part) == 1 and isinstance(part[0], str):
        return part[0]
    out = []
    for piece in part:
        if isinstance(piece, str):
            out.append(piece)
            continue
        given = values.get(piece.name)
        value = str(given).strip() if given not in (None, "") else piece.fallback
        value = LINES.sub(" ", value) if how == "subject" else CONTROL.sub("", value)
        if piece.in_address and piece.name not in ADDRESSES:
            value = quote(value, safe="")
        out.append(escape(value) if how == "html" else value)
    return "".join(out)
