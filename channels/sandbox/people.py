"""The people of the simulated market: who is one person, over all channels.

A CSV file with the header ``key,phone,email,member_number,wecom_external_id,wecom_userid,openid``: ``key`` is any
unique text, ``wecom_userid`` the employee who has the person as a contact. Empty cells are allowed, and the last two
columns may be missing.
"""

import csv
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

COLUMNS = ("key", "phone", "email", "member_number", "wecom_external_id", "wecom_userid", "openid")
ADDRESSES = ("phone", "email", "member_number", "wecom_external_id", "openid")


@dataclass(frozen=True, slots=True)
class Person:
    key: str
    phone: str = ""  # E.164
    email: str = ""
    member_number: str = ""
    wecom_external_id: str = ""
    wecom_userid: str = ""
    openid: str = ""


@dataclass(frozen=True, slots=True)
class Touch:
    """One message (or advertisement) that a person of the population has before them."""

    row: int
    medium: str
    links: tuple[str, ...] = ()
    pixels: tuple[str, ...] = ()
    unsubscribe: str = ""
    number: str = ""  # ours, for replies by text message
    employee: str = ""
    via: str = ""  # the vendor's side it came by, and goes back
    about: str = ""  # how that side names the message


def write_population(path: Path | str, people: Iterable[Person]) -> int:
    """Write the population file, whole or not at all. Returns how many people."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    n = 0
    with aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for n, person in enumerate(people, 1):  # noqa: B007
            writer.writerow([getattr(person, name) for name in COLUMNS])
    aside.replace(path)
    return n


def hashes_of(keys: Iterable[str]) -> npt.NDArray[np.uint64]:
    """A stable 64-bit number a person, from the key."""
    return np.fromiter(
        (int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) for key in keys),
        dtype=np.uint64,
    )


class Population:
    """All people, found by any of their addresses. Rows are numbered from 0."""

    def __init__(self, people: Iterable[Person]) -> None:
        self.people = list(people)
        self.hashes = hashes_of(person.key for person in self.people)
        self._found: dict[str, dict[str, int]] = {}
        for name in ADDRESSES:
            values = ((getattr(person, name), row) for row, person in enumerate(self.people))
            self._found[name] = {value.lower(): row for value, row in values if value}

    def __len__(self) -> int:
        return len(self.people)

    def find(self, name: str, value: str) -> int | None:
        """The row of the person with this address, e.g. ``find("phone", "+8613800138000")``."""
        return self._found[name].get(value.lower())

    @classmethod
    def read(cls, path: Path | str) -> "Population":
        """Raises :class:`ValueError` when the header is another one."""
        with Path(path).open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS[:5] if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"{path} has no column {missing[0]}; wanted: {','.join(COLUMNS)}")
            return cls(Person(**{name: row.get(name) or "" for name in COLUMNS}) for row in reader)
