"""How a text message is counted and cut into parts.

International: GSM 03.38 (160 septets alone, 153 a part; ``^{}\\[~]|€`` and form feed cost two) or, when one
character is outside it, UCS-2 (70 units alone, 67 a part). Mainland China: always UCS-2 units, even for pure
ASCII. A part never ends inside an escape pair or a surrogate pair. Limits are given, since they are dated
rules of the channel (:mod:`channels.platform_rules`); the defaults are those of the standard.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
ESCAPE = 0x1B
EXTENDED = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}
_CODE = {character: code for code, character in enumerate(BASIC) if code != ESCAPE}
_BASIC_OF = {code: character for character, code in _CODE.items()}
_EXTENDED_OF = {code: character for character, code in EXTENDED.items()}


class Counting(StrEnum):
    """How a country's operators count."""

    INTERNATIONAL = "international"  # GSM 03.38 where possible
    MAINLAND = "mainland"  # UCS-2 units, always


class Encoding(StrEnum):
    GSM7 = "gsm7"
    UCS2 = "ucs2"


@dataclass(frozen=True, slots=True)
class Lengths:
    """Units of a message alone, and of each part of a longer one."""

    gsm_single: int = 160
    gsm_part: int = 153
    ucs_single: int = 70
    ucs_part: int = 67


STANDARD = Lengths()


@dataclass(frozen=True, slots=True)
class Cut:
    """``units`` are septets or UTF-16 units of the whole; ``"".join(parts)`` is the text."""

    encoding: Encoding
    units: int
    parts: tuple[str, ...]


def is_gsm7(text: str) -> bool:
    return all(character in _CODE or character in EXTENDED for character in text)


def gsm7_units(text: str) -> int:
    """Septets. Raises :class:`KeyError` outside GSM 03.38."""
    return len(encode_gsm7(text))


def ucs2_units(text: str) -> int:
    """UTF-16 units: a character beyond the basic plane, such as an emoji, counts two."""
    return len(encode_ucs2(text)) // 2


def cut(text: str, counting: Counting = Counting.INTERNATIONAL, lengths: Lengths = STANDARD) -> Cut:
    """The parts a text is sent in; an empty text is one empty part."""
    if counting == Counting.INTERNATIONAL and is_gsm7(text):
        units = gsm7_units(text)
        parts = (
            _pack(text, EXTENDED.__contains__, lengths.gsm_part) if units > lengths.gsm_single else (text,)
        )
        return Cut(Encoding.GSM7, units, parts)
    units = ucs2_units(text)
    if units <= lengths.ucs_single:
        return Cut(Encoding.UCS2, units, (text,))
    return Cut(Encoding.UCS2, units, _pack(text, lambda character: character > "\uffff", lengths.ucs_part))


def _pack(text: str, is_double: Callable[[str], bool], longest: int) -> tuple[str, ...]:
    """Fill parts one after the other with whole characters; one character costs one unit or two."""
    parts, start, used = [], 0, 0
    for position, character in enumerate(text):
        cost = 2 if is_double(character) else 1
        if used + cost > longest:
            parts.append(text[start:position])
            start, used = position, 0
        used += cost
    parts.append(text[start:])
    return tuple(parts)


def encode_gsm7(text: str) -> bytes:
    """One byte a septet (unpacked), as SMPP carries it with data coding 0. Raises :class:`KeyError`."""
    coded = bytearray()
    for character in text:
        if character in EXTENDED:
            coded += bytes((ESCAPE, EXTENDED[character]))
        else:
            coded.append(_CODE[character])
    return bytes(coded)


def decode_gsm7(coded: bytes) -> str:
    """The text of unpacked septets; what the table does not know becomes a space, as phones show it."""
    text, escaped = [], False
    for code in coded:
        if escaped:
            text.append(_EXTENDED_OF.get(code) or _BASIC_OF.get(code, " "))
            escaped = False
        elif code == ESCAPE:
            escaped = True
        else:
            text.append(_BASIC_OF.get(code, " "))
    return "".join(text) + (" " if escaped else "")


def encode_ucs2(text: str) -> bytes:
    """UTF-16 big-endian, as SMPP carries it with data coding 8."""
    return text.encode("utf-16-be", "surrogatepass")


def decode_ucs2(coded: bytes) -> str:
    return coded[: len(coded) // 2 * 2].decode("utf-16-be", "replace")
