"""The sandbox as a program: its options, and what it says."""

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path

from channels.sandbox.config import SIDES, BadConfig
from channels.sandbox.server import Sandbox


def add_options(parser: argparse.ArgumentParser, directory: Path) -> None:
    parser.add_argument(
        "--dir", type=Path, default=directory, help="Where log, ports and population are kept."
    )
    parser.add_argument("--ports", default="", help=f"0 for free ones, or side=port,… of {', '.join(SIDES)}.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--seed", type=int, help="Chance is drawn from it (default: the configuration's, 1).")
    parser.add_argument(
        "--config", type=Path, help="JSON file (default: config.json of the folder, if there)."
    )


def ports_of(text: str) -> dict[str, int] | int | None:
    """``""``, ``"0"`` or ``"smpp=2775,smtp=0"``. Raises :class:`BadConfig`."""
    if not text:
        return None
    if text == "0":
        return 0
    ports = {}
    for entry in text.split(","):
        side, _, number = entry.partition("=")
        if side.strip() not in SIDES or not number.strip().isdigit():
            raise BadConfig(f"--ports {entry!r}: write side=port with a side of {', '.join(SIDES)}")
        ports[side.strip()] = int(number)
    return ports


def run(options: dict[str, object], say: Callable[[str], object], app_url: str = "") -> None:
    """Serve until told to stop. Raises :class:`BadConfig` and :class:`~channels.sandbox.server.PortTaken`."""
    directory = Path(str(options["dir"]))
    config = options["config"] or directory / "config.json"
    seed = options["seed"]
    sandbox = Sandbox(
        directory,
        ports=ports_of(str(options["ports"] or "")),
        seed=seed if isinstance(seed, int) else None,
        config=Path(str(config)) if Path(str(config)).exists() or options["config"] else None,
        host=str(options["host"]),
    )
    market = sandbox.config.market
    market.app_url = market.app_url or app_url
    market.api_url = market.api_url or (f"{app_url}/api/v1" if app_url else "")

    def ready() -> None:
        ports = ", ".join(f"{side} {port}" for side, port in sandbox.ports.items())
        crowd = f"{len(sandbox.crowd.people)} people" if sandbox.crowd else "no population"
        say(f"Sandbox ready in {directory}: {ports}; {crowd}.")

    asyncio.run(sandbox.run(ready))
