"""Trying a transaction again: after a conflict with another one, or after the database went away.

Only for transactions that are safe to repeat as a whole: whatever they decide, they decide from rows they
lock, so a commit whose answer was lost changes nothing when it comes a second time.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import Error, IntegrityError, InterfaceError, OperationalError, connection
from psycopg import errors

T = TypeVar("T")
CONFLICTS = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)
LONGEST_NAP = 2.0


def is_conflict(error: Error) -> bool:
    """Whether the server ended this transaction in favour of another one."""
    if isinstance(error, IntegrityError):
        return "a_touch_has_one_live_attempt" in str(error)
    return isinstance(error.__cause__, CONFLICTS)


def is_gone(error: Error) -> bool:
    """Whether there was nobody to talk to; not an error of the statement."""
    if not isinstance(error, OperationalError | InterfaceError) or is_conflict(error):
        return False
    state = getattr(error.__cause__, "sqlstate", None)
    return state is None or state[:2] in ("08", "57")


def steadily(work: Callable[[], T], seconds: float = 0.0, conflicts: int = 5) -> T:
    """Do ``work``, again after each conflict, and for ``seconds`` while the database cannot be reached."""
    deadline = time.monotonic() + seconds
    nap = 0.05
    while True:
        try:
            return work()
        except (OperationalError, InterfaceError, IntegrityError) as error:
            if connection.in_atomic_block:
                raise  # only the outermost transaction can be tried again
            if is_conflict(error) and conflicts > 0:
                conflicts -= 1
            elif is_gone(error) and time.monotonic() < deadline:
                connection.close()
            else:
                raise
            time.sleep(nap)
            nap = min(nap * 2, LONGEST_NAP)
