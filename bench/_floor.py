"""The floor of ``bench intake``: a bare WSGI application that stores one row a request, durably, and answers."""

import itertools
import os
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from psycopg_pool import ConnectionPool

_pool: list[ConnectionPool] = []
_numbers, _own = itertools.count(), uuid.uuid4().hex


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A POST is read and stored; a GET is stored and sent on."""
    if not _pool:
        _pool.append(ConnectionPool(os.environ["DATABASE_URL"], min_size=1, max_size=8, open=True))
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    with _pool[0].connection() as connection:
        connection.execute(
            "INSERT INTO bench_floor (key, body) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [f"{_own}{next(_numbers)}", body.decode()],
        )
    if environ["REQUEST_METHOD"] == "GET":
        start_response("302 Found", [("Location", "https://shop.example/"), ("Content-Length", "0")])
    else:
        start_response("200 OK", [("Content-Length", "0")])
    return [b""]
