"""The short tokens in our links: who was to follow which link of which touch, sealed.

AES-SIV with a key of its own: a token tells nothing to whoever reads it, cannot be changed or made up, and
the same content always gives the same token. Numbers are packed as variable-length integers, so that a
token of a usual installation has about 40 characters and fits a text message.

Where a provider lets a variable have few characters, letters and digits only, the same content is sealed shorter, with 64
bits that prove it instead of 128: :func:`seal_short`.
"""

import hashlib
import math
import string
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from functools import lru_cache
from hmac import compare_digest
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

KINDS = 8
LONGEST = 120
LONGEST_SHORT = 35
"""Enough for 2,000 channels, 2 million links and campaigns, 34 thousand million touches and people."""
_TAG = 8
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BITS = math.log2(len(_ALPHABET))  # a letter carries


class TokenKind(IntEnum):
    LINK = 1
    PIXEL = 2
    UNSUBSCRIBE = 3
    PREFERENCES = 4
    SHARED = 5  # a link that many people get: it names no person


class BadToken(ValueError):
    """Not one of ours, or cut short on its way."""


class Token(NamedTuple):
    """0 stands for none. A shared link has a message version and an employee in the places of touch and customer."""

    kind: TokenKind
    channel_id: int = 0
    link_id: int = 0
    campaign_id: int = 0
    touch_id: int = 0
    customer_id: int = 0

    @property
    def version_id(self) -> int:
        return self.touch_id if self.kind == TokenKind.SHARED else 0

    @property
    def employee_id(self) -> int:
        return self.customer_id if self.kind == TokenKind.SHARED else 0


_local = threading.local()


@lru_cache(maxsize=8)
def _key(secret: str) -> bytes:
    derive = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"evenreach links 1")
    return derive.derive(secret.encode())


def _ciphers() -> list[AESSIV]:
    """The present key, then retired ones: links in old messages work as long as those are configured."""
    present: Any = getattr(settings, "_wrapped")  # noqa: B009  (another object whenever a setting is overridden)
    if getattr(_local, "settings", None) is not present:
        secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
        _local.settings, _local.ciphers = present, [AESSIV(_key(secret)) for secret in secrets]
    ciphers: list[AESSIV] = _local.ciphers
    return ciphers


def _pack(numbers: Iterable[int]) -> bytearray:
    packed = bytearray()
    for number in numbers:
        if number < 0:
            raise ValueError("a token carries no negative number")
        while number > 127:
            packed.append(number & 127 | 128)
            number >>= 7
        packed.append(number)
    return packed


@lru_cache(maxsize=4096)
def _head(*numbers: int) -> bytes:
    """What the tokens of one message on one channel begin with."""
    return bytes(_pack(numbers))


def _unpack(packed: bytes) -> list[int]:
    numbers, number, shift = [], 0, 0
    for byte in packed:
        number |= (byte & 127) << shift
        if byte & 128:
            shift += 7
        else:
            numbers.append(number)
            number = shift = 0
    return numbers


def seal(token: Token) -> str:
    """URL-safe text of about 40 characters."""
    kind, channel_id, link_id, campaign_id, touch_id, customer_id = token
    return sealer(kind, channel_id, link_id, campaign_id)(touch_id, customer_id)


def sealer(kind: TokenKind, channel_id: int, link_id: int, campaign_id: int) -> Callable[[int, int], str]:
    """Seals (touch, customer) of one message after the other; to be used in the thread that made it."""
    head, encrypt = _head(channel_id * KINDS + kind, link_id, campaign_id), _ciphers()[0].encrypt

    def sealed(touch_id: int, customer_id: int) -> str:
        return urlsafe_b64encode(encrypt(head + _pack((touch_id, customer_id)), None)).rstrip(b"=").decode()

    return sealed


def seal_short(token: Token) -> str:
    """At most :data:`LONGEST_SHORT` letters and digits. Raises :class:`ValueError` where they do not suffice.

    The proof over the content is also what its mask is made from, so that equal masks mean equal content.
    """
    kind, channel_id, link_id, campaign_id, touch_id, customer_id = token
    plain = _head(channel_id * KINDS + kind, link_id, campaign_id) + _pack((touch_id, customer_id))
    proof = _proof(settings.SECRET_KEY, plain)
    text = _to_letters(proof + _masked(settings.SECRET_KEY, proof, plain))
    if len(text) > LONGEST_SHORT:
        raise ValueError(f"a short token has {LONGEST_SHORT} characters at most, and this one {len(text)}")
    return text


@lru_cache(maxsize=8)
def _short_keys(secret: str) -> tuple[bytes, bytes]:
    derive = HKDF(algorithm=hashes.SHA256(), length=64, salt=None, info=b"evenreach short links 1")
    derived = derive.derive(secret.encode())
    return derived[:32], derived[32:]


def _proof(secret: str, plain: bytes) -> bytes:
    return hashlib.blake2b(plain, key=_short_keys(secret)[0], digest_size=_TAG).digest()


def _masked(secret: str, proof: bytes, octets: bytes) -> bytes:
    mask = hashlib.blake2b(proof, key=_short_keys(secret)[1], digest_size=max(1, len(octets))).digest()
    return bytes(one ^ other for one, other in zip(octets, mask, strict=False))


def _width(octets: int) -> int:
    """Letters that so many octets take."""
    return math.ceil(octets * 8 / _BITS)


def _to_letters(packed: bytes) -> str:
    number, letters = int.from_bytes(packed), []
    for _n in range(_width(len(packed))):
        number, letter = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return "".join(reversed(letters))


def _from_letters(text: str) -> bytes | None:
    octets = int(len(text) * _BITS / 8)
    if not _TAG < octets <= 64 or _width(octets) != len(text) or not set(text) <= set(_ALPHABET):
        return None
    number = 0
    for letter in text:
        number = number * len(_ALPHABET) + _ALPHABET.index(letter)
    return number.to_bytes(octets) if number < 256**octets else None


def _opened(text: str) -> Iterator[list[int]]:
    """The numbers in a token of either form, by any of our keys."""
    try:
        sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        sealed = b""  # no base64, but perhaps the other form
    for cipher in _ciphers() if sealed else ():
        try:
            yield _unpack(cipher.decrypt(sealed, None))
        except (InvalidTag, ValueError):
            continue
    if (packed := _from_letters(text)) is not None:
        for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
            plain = _masked(secret, packed[:_TAG], packed[_TAG:])
            if compare_digest(_proof(secret, plain), packed[:_TAG]):
                yield _unpack(plain)


def unseal(text: str, *kinds: TokenKind) -> Token:
    """Raises :class:`BadToken` for anything that we did not seal as one of these kinds."""
    if len(text) > LONGEST:
        raise BadToken(text[:20])
    for numbers in _opened(text):
        if len(numbers) != 5 or numbers[0] % KINDS not in kinds:
            raise BadToken(text)
        return Token(TokenKind(numbers[0] % KINDS), numbers[0] // KINDS, *numbers[1:])
    raise BadToken(text)
