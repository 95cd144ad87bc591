"""``python -m channels.sandbox``: the same as ``manage.py sandbox``, without loading Django."""

import argparse
import sys
from pathlib import Path

from channels.sandbox import cli
from channels.sandbox.config import BadConfig
from channels.sandbox.server import PortTaken

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m channels.sandbox", description="Run the far sides.")
    cli.add_options(parser, Path("var/sandbox"))
    parser.add_argument(
        "--app-url", default="", help="Address of Evenreach: only links below it are followed."
    )
    options = vars(parser.parse_args())
    try:
        cli.run(
            options, lambda text: sys.stdout.write(text + "\n") and sys.stdout.flush(), options["app_url"]
        )
    except (BadConfig, PortTaken) as error:
        sys.exit(f"sandbox: {error}")
