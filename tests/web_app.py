"""An application for the web server's tests: says what it was told, or takes its time."""

import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

time.sleep(float(os.environ.get("TEST_WEB_LOADS", "0")))  # seconds it takes to load


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/slow":
        time.sleep(1.5)
    if path == "/fail":
        raise RuntimeError("as asked")
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    told |= {"pid": os.getpid(), "body": len(environ["wsgi.input"].read())}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
