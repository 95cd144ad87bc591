"""Becomes a program that dies with its parent: `python child.py PARENT SIGNAL program …`.

Run in a fresh interpreter, since nothing may be executed between fork and exec of a process with threads.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def die_with(parent: int, how: int) -> None:
    """The kernel sends this process the signal ``how`` when the thread that started it ends; exits if it has."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, how, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before we asked to be told
        sys.exit(1)


if __name__ == "__main__":
    die_with(int(sys.argv[1]), int(sys.argv[2]))
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606
