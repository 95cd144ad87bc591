"""Running a program as an ordinary account when we are root.

Run as a script it gives up root and becomes the program: `python unprivileged.py UID GID CAP program …`
(CAP is -1 for none). That happens in a fresh interpreter rather than between fork and exec, where
threads of the caller could hold locks.
"""

import ctypes
import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
WALKING = (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE)
"""Capabilities that let a process walk through any folder, the weaker one first."""

PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True)
class Account:
    uid: int
    gid: int


def account(owner_of: Path) -> Account:
    """The account for a server whose data is in `owner_of`: its present owner, else postgres, else nobody."""
    try:
        found = owner_of.stat()
        if found.st_uid != 0:
            return Account(found.st_uid, found.st_gid)
    except OSError:
        pass
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise RuntimeError("PostgreSQL cannot run as root, and there is no account `postgres` or `nobody` here.")


def command(words: list[str], who: Account, capability: int | None) -> list[str]:
    """The command line that runs `words` as `who`, with at most one capability kept."""
    keep = -1 if capability is None else capability
    # -I and -S: the interpreter must not read anything of the caller's environment on its way.
    return [sys.executable, "-I", "-S", __file__, str(who.uid), str(who.gid), str(keep), *words]


def can_walk(paths: list[Path], who: Account, capability: int | None) -> bool:
    """Whether `who` reaches every one of `paths`; tried for real."""
    # PostgreSQL asks access(2) about its own files, which judges more strictly than opening them: so do we.
    test = shutil.which("test") or "/usr/bin/test"
    return all(
        subprocess.run(command([test, "-r", str(path)], who, capability), capture_output=True).returncode == 0
        for path in paths
    )


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def become(who: Account, capability: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # Without this bit access(2) ignores the capabilities of everybody but root. It also keeps them over
    # setresuid; all but the wanted one are dropped below.
    if capability >= 0 and libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECUREBITS)")
    os.setgroups([])
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    if capability < 0:
        return
    bit = 1 << capability
    wanted = (_Data * 2)(_Data(bit, bit, bit), _Data(0, 0, 0))
    if libc.capset(ctypes.byref(_Header(CAPABILITY_VERSION_3, 0)), wanted):
        raise OSError(ctypes.get_errno(), "capset")
    if libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_CAP_AMBIENT)")


if __name__ == "__main__":
    become(Account(int(sys.argv[1]), int(sys.argv[2])), int(sys.argv[3]))
    os.execv(sys.argv[4], sys.argv[4:])  # noqa: S606
