"""Texts that a provider approved before: how one has to read at the provider, and what fills its variables.

A provider refuses an address as the value of a variable. So the fixed part of a link of ours stands in the template, and
the variable is the code behind it; where not even that is permitted, a link stands in the template whole, the same for
everybody, and who clicked is not known.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils.translation import gettext as _

from campaigns.wording import ADDRESSES, LINES, Place, parse, render
from channels import links, platform_rules
from channels.accounts import template_adapter
from channels.models import Channel
from channels.platform_rules import Violation
from channels.tokens import LONGEST_SHORT

CODE, FIXED = "code", "fixed"
LINK = "link"
LETTERS = {LINK: "l", "unsubscribe": "u", "preferences": "p"}
KEYS = ("template_links", "template_characters", "template_variables_apart", "template_variables_once")
EXAMPLE = "7Hq2mZr9bX4cN8sLw3yKd5JpT6v"  # of the length that a code usually has
_ADDRESS = re.compile(r"https?://|www\.|\b[a-z0-9-]+\.(?:com|cn|net|org|io|link|top|shop)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a template, filled by a field, or by the code of a link of ours."""

    name: str  # the field; or link, link2, … unsubscribe, preferences
    fallback: str = ""
    letter: str = ""  # of a code: whose address it ends
    link: int = 0  # number in the mark of the link
    in_address: bool = False


@dataclass(frozen=True, slots=True)
class Codes:
    """The ends of one person's links: of a link by its number, to unsubscribe, to choose."""

    link: Callable[[int], str]
    unsubscribe: Callable[[], str]
    preferences: Callable[[], str]

    def of(self, variable: Variable) -> str:
        if variable.letter == LETTERS[LINK]:
            return self.link(variable.link)
        return self.unsubscribe() if variable.letter == LETTERS["unsubscribe"] else self.preferences()


EXAMPLES = Codes(lambda _link: EXAMPLE, lambda: EXAMPLE, lambda: EXAMPLE)
Outline = tuple["str | Variable", ...]


def links_of(channel: Channel, on: date) -> str:
    """How links stand in the texts of a channel: :data:`CODE`, :data:`FIXED`, or '' where it sends by no template."""
    if template_adapter(channel) is None:
        return ""
    row = platform_rules.in_force(channel, "template_links", on)
    return str(row.value) if row else CODE


def outline(text: str) -> Outline:
    """The words and variables of a text whose links are marked (:func:`channels.links.marked`), in order."""
    found: list[str | Variable] = []
    names = 0
    for piece in parse(text):
        if isinstance(piece, Place):
            letter = LETTERS.get(piece.name, "")
            if letter:
                found.append(links.beginning(letter))
            found.append(Variable(piece.name, piece.fallback, letter, in_address=piece.in_address))
            continue
        end = 0
        for mark in links.MARKS.finditer(piece):
            names += 1
            found.append(piece[end : mark.start()] + links.beginning(LETTERS[LINK]))
            name = LINK if names == 1 else f"{LINK}{names}"
            found.append(Variable(name, letter=LETTERS[LINK], link=int(mark[1])))
            end = mark.end()
        if piece[end:]:
            found.append(piece[end:])
    return tuple(found)


def filled(pieces: Outline, values: Mapping[str, Any], codes: Codes) -> tuple[str, dict[str, str]]:
    """(the text as the person reads it, variable → value) of one person."""
    out: list[str] = []
    told: dict[str, str] = {}
    for piece in pieces:
        if isinstance(piece, str):
            out.append(piece)
            continue
        if piece.letter:
            value = codes.of(piece)
        else:
            place = Place(piece.name, piece.fallback, piece.in_address, "")
            value = LINES.sub(" ", render((place,), values, "text")).strip()
        out.append(value)
        told[piece.name] = value
    return "".join(out), told


@dataclass(frozen=True, slots=True)
class Shown:
    """What the editor shows of a text on a channel: the template at the provider, and an example of each variable."""

    template: str
    text: str
    values: tuple[tuple[str, str], ...]
    links: str  # code or fixed
    fixed: tuple[str, ...]  # links that stand in the template whole


def shown(channel: Channel, text: str, values: Mapping[str, Any], on: date) -> Shown | None:
    """How a text has to read at this channel's provider; None where it sends by no template."""
    adapter, kept = template_adapter(channel), links_of(channel, on)
    if adapter is None:
        return None
    pieces = _outline(text, kept)
    read, told = filled(pieces, values, EXAMPLES)
    names = _named(adapter, pieces)
    template = "".join(piece if isinstance(piece, str) else names[piece.name] for piece in pieces)
    whole = tuple(links.found(text)) if kept == FIXED else ()
    return Shown(
        template, read, tuple((names[name], value) for name, value in told.items()), kept, whole
    )  # fmt: skip


def _outline(text: str, kept: str) -> Outline:
    return outline(links.marked(text) if kept == CODE else text)


def _named(adapter: Any, pieces: Outline) -> dict[str, str]:
    """Variable → how it stands in the template; a field that comes again is the same variable."""
    names = dict.fromkeys(piece.name for piece in pieces if isinstance(piece, Variable))
    return {name: adapter.template_variable(name, number) for number, name in enumerate(names, 1)}


def check(channel: Channel, text: str, on: date) -> list[Violation]:
    """What this channel's provider would refuse of a text as a template, by the rules in force on a day."""
    adapter, kept = template_adapter(channel), links_of(channel, on)
    if adapter is None:
        return []
    country = platform_rules.country_of(channel)
    rules = platform_rules.rule_values("sms", KEYS, channel=channel, country=country, on=on)
    pieces = _outline(text, kept)
    found = [
        *_links(pieces, kept),
        *_lengths(pieces, rules.get("template_characters")),
        *(_neighbours(pieces) if rules.get("template_variables_apart") else ()),
        *(_repeated(adapter, pieces) if rules.get("template_variables_once") else ()),
    ]
    return [platform_rules.with_source(violation, channel, country, on) for violation in found]


def _links(pieces: Outline, kept: str) -> Iterator[Violation]:
    for piece in pieces:
        if isinstance(piece, str):
            continue
        if _ADDRESS.search(piece.fallback):
            yield Violation(
                "text",
                "template_links",
                _("A variable may hold no address: write the address into the text, not behind {{%(name)s|.")
                % {"name": piece.name},
            )
        if kept == CODE:
            continue
        if piece.name in ADDRESSES:
            yield Violation(
                "text",
                "template_links",
                _(
                    "This provider takes no link of a person's own in a template: take out {{%(name)s}}. People opt out by "
                    "their reply."
                )
                % {"name": piece.name},
            )
        elif piece.in_address:
            yield Violation(
                "text",
                "template_links",
                _("This provider takes no variable in a link: take {{%(name)s}} out of the address.")
                % {"name": piece.name},
            )


def _lengths(pieces: Outline, longest: Any) -> Iterator[Violation]:
    if longest is None:
        return
    for piece in pieces:
        if isinstance(piece, str):
            continue
        needed = LONGEST_SHORT if piece.letter else len(piece.fallback)
        if needed > int(longest):
            yield Violation(
                "text",
                "template_characters",
                _(
                    "{{%(name)s}} may need %(n)d characters, and a variable holds %(longest)d at this provider."
                )
                % {"name": piece.name, "n": needed, "longest": int(longest)},
            )


def _neighbours(pieces: Outline) -> Iterator[Violation]:
    if all(not isinstance(piece, str) or not piece.strip() for piece in pieces):
        if pieces:
            text = _("A template may not be variables alone: write words around them.")
            yield Violation("text", "template_variables_apart", text)
        return
    for one, other in zip(pieces, pieces[1:], strict=False):
        if isinstance(one, Variable) and isinstance(other, Variable):
            yield Violation(
                "text",
                "template_variables_apart",
                _("Write words between {{%(one)s}} and {{%(other)s}}: variables may not stand side by side.")
                % {"one": one.name, "other": other.name},
            )


def _repeated(adapter: Any, pieces: Outline) -> Iterator[Violation]:
    names = [piece.name for piece in pieces if isinstance(piece, Variable)]
    known: dict[str, str] = {}
    for name in names:
        variable = adapter.template_variable(name, 0)
        if variable in known:
            yield Violation(
                "text",
                "template_variables_once",
                _("%(variable)s would stand in the template twice: use each field once.")
                % {"variable": variable},
            )
        known[variable] = name
