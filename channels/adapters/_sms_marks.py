"""Our attempt ids in the one reference field that a call for many numbers has.

A provider repeats that field with every receipt. For each number it holds four letters: fourteen bits of a hash of the
number, and ten of how far its attempt id lies behind the smallest one. So a receipt names its attempt even when the answer
to the call was lost, or its worker died. The head tells our own marks from references of other systems:
``<installation and channel>.<smallest id, base 36>.<four letters a number>``.
"""

import hashlib
from collections.abc import Iterator, Sequence

from channels.adapters.base import Account, Outgoing

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
BITS, FAR, EACH = 14, 10, 4  # of the hash; of the distance; letters for both
SPAN = 1 << FAR
HEAD = 4 + 1 + 13 + 1  # the longest head: 63 bits are 13 digits of base 36


def tag(account: Account) -> str:
    """Four letters of this installation's channel: two installations may share an account with the provider."""
    return _letters(_hash(f"{account.channel_id}\0{account.callback_url}", 24), 4)


def most(longest: int) -> int:
    """How many numbers fit into a field of ``longest`` characters."""
    return (longest - HEAD) // EACH


def fitting(messages: Sequence[Outgoing], many: int) -> Iterator[list[Outgoing]]:
    """The messages in calls of at most ``many``, each of which can be marked without doubt."""
    left = sorted(messages, key=lambda message: message.attempt_id)
    while left:
        taken: dict[int, Outgoing] = {}
        rest = []
        for message in left:
            spot = _spot(message.address)
            far = bool(taken) and message.attempt_id - left[0].attempt_id >= SPAN
            if spot in taken or far or len(taken) == many:
                rest.append(message)
            else:
                taken[spot] = message
        yield list(taken.values())
        left = rest


def mark(own: str, messages: Sequence[Outgoing]) -> str:
    """The field of one call; ``own`` is :func:`tag`. The messages are those of one :func:`fitting`."""
    first = min(message.attempt_id for message in messages)
    pairs = (
        _letters(_spot(message.address) << FAR | message.attempt_id - first, EACH) for message in messages
    )
    return f"{own}.{_base36(first)}.{''.join(pairs)}"


def attempt_of(own: str, told: str, address: str) -> int | None:
    """The attempt a receipt for ``address`` is of, by the mark it repeats; None where the mark is not ours."""
    head, _sep, rest = (told or "").partition(".")
    first, _sep, pairs = rest.partition(".")
    if head != own or not pairs or not first.isalnum():
        return None
    spot = _spot(address)
    try:
        for at in range(0, len(pairs), EACH):
            pair = _number(pairs[at : at + EACH])
            if pair >> FAR == spot:
                return int(first, 36) + pair % SPAN
    except ValueError:  # letters that are none of ours
        pass
    return None


def bare(address: str) -> str:
    """A number as vendors of the mainland write it: eleven digits at home, elsewhere with the country's, never a sign."""
    digits = address.removeprefix("+").removeprefix("00")
    return digits[2:] if len(digits) == 13 and digits.startswith("861") else digits


def _spot(address: str) -> int:
    return _hash(bare(address), BITS)


def _hash(text: str, bits: int) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> (64 - bits)


def _letters(number: int, length: int) -> str:
    return "".join(LETTERS[number >> 6 * place & 63] for place in reversed(range(length)))


def _number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number << 6 | LETTERS.index(letter)
    return number


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = DIGITS[rest] + digits
    return digits or "0"
