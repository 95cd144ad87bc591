"""Measurements: the modules of ``bench/``, each run in a database of its own that is dropped afterwards.

A module has ``run(*, customers: int = 1_000_000, …) -> dict``: its keyword arguments become options of
``manage.py bench NAME``, its dictionary the figures. It measures a floor in the same run.
"""

import ast
import importlib
import inspect
import os
import resource
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.utils import timezone
from psycopg import sql

FOLDER = Path(settings.BASE_DIR) / "bench"
HERE = "EVENREACH_BENCH_DATABASE"  # set in the process that works inside the database of a measurement


class BenchRefused(Exception):
    """No such measurement, an option it does not have, or no database to run it in; says what to do."""


def names() -> dict[str, str]:
    """Every measurement with the first line of its docstring; nothing is imported."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        if not path.stem.startswith("_"):
            tree = ast.parse(path.read_text("utf-8"))
            if any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in tree.body):
                found[path.stem] = (ast.get_docstring(tree) or "").split("\n")[0]
    return found


def options() -> dict[str, list[str]]:
    """The options of all measurements: option → the measurements that have it; nothing is imported."""
    found: dict[str, list[str]] = {}
    for name in names():
        for node in ast.parse((FOLDER / f"{name}.py").read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == "run":
                for argument in [*node.args.args, *node.args.kwonlyargs]:
                    found.setdefault(argument.arg, []).append(name)
    return found


def named(name: str) -> str:
    """The full name of a measurement that may be shortened: ``import`` for ``import_customers``."""
    known = names()
    matching = [each for each in known if each.startswith(name)]
    if name in known:
        return name
    if len(matching) == 1:
        return matching[0]
    raise BenchRefused(f"There is no measurement {name!r}. There are: {', '.join(known) or 'none yet'}.")


def converted(run: Callable[..., Any], given: Mapping[str, str]) -> dict[str, Any]:
    """Options as typed on a command line, in the types of the defaults of ``run``."""
    known = inspect.signature(run).parameters
    values: dict[str, Any] = {}
    for option, text in given.items():
        if option not in known:
            raise BenchRefused(f"This measurement has no --{option.replace('_', '-')}.")
        default = known[option].default
        try:
            if isinstance(default, bool):
                values[option] = text.lower() in {"1", "true", "yes", "on"}
            elif isinstance(default, int | float):
                values[option] = type(default)(text.replace("_", "").replace(",", ""))
            else:
                values[option] = text
        except ValueError:
            raise BenchRefused(f"--{option.replace('_', '-')} is a number, not {text!r}.") from None
    return values


def measure(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Run a measurement in this process and database. The figures, and what they were measured on."""
    run = importlib.import_module(f"bench.{name}").run
    figures = run(**converted(run, given))
    mine, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "bench": name,
        "at": timezone.now().isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "peak_mb": round(max(mine.ru_maxrss, children.ru_maxrss) / 1024),
        **figures,
    }


@contextmanager
def own_database() -> Iterator[dict[str, str]]:
    """A fresh database beside the installation's own, migrated. Yields the environment to work there."""
    from config import postgres

    if settings.EMBEDDED:
        postgres.hold_default()
        url = postgres.default_server(settings.DATA_DIR, settings.DATABASES["default"]["PASSWORD"]).url()
    else:
        url = settings.DATABASE_URL
    name = f"evenreach_bench_{secrets.token_hex(4)}"
    head, mark, tail = url.partition("?")
    own = f"{head.rpartition('/')[0]}/{name}{mark}{tail}"
    try:
        connection = psycopg.connect(url, autocommit=True)
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise BenchRefused(
            f"A measurement needs a database of its own, and none can be made: {error}"
        ) from error
    with tempfile.TemporaryDirectory(prefix="evenreach-bench-") as folder, connection:
        environment = {
            **os.environ,
            "DATABASE_URL": own,
            "EVENREACH_DATA": folder,
            "SECRET_KEY": settings.SECRET_KEY,
            "EVENREACH_FIELD_KEYS": " ".join(settings.FIELD_KEYS),
            "EVENREACH_HASH_KEY": settings.HASH_KEY,
            HERE: name,
        }
        try:
            yield environment
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def elsewhere(arguments: list[str]) -> int:
    """Run this very command in a database of its own; its exit code."""
    with own_database() as environment:
        manage = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py")]
        quiet = ["migrate", "--verbosity", "0", "--skip-checks"]
        made = subprocess.run([*manage, *quiet], env=environment, check=False)
        if made.returncode:
            return made.returncode
        return subprocess.run([*manage, "bench", *arguments], env=environment, check=False).returncode
