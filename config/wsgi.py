"""The web application; Django starts the embedded database with the first connection.

Webhooks, pixels and short links are called by machines and by thousands at once. They have no session, no
language and no form, so that they pass by the middleware of the screens and keep their thread's connection.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpResponse
from django.middleware.security import SecurityMiddleware
from django.urls import set_script_prefix

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

BUSY = ("/in/", "/l/", "/o/")
RESTED = 5.0
"""Seconds after which a kept connection is asked whether it still stands."""

_thread = threading.local()


class _Kept:
    """A thread's open connection: given back when the thread ends, or the pool would wait for it for ever."""

    def __init__(self, kept: BaseDatabaseWrapper) -> None:
        self.kept = kept

    def __del__(self) -> None:
        self.kept.close()


class BusyHandler(WSGIHandler):
    """Security headers, then the view. An answer is small and whole, and leaves the connection open."""

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        view: Any = self._get_response  # type: ignore[attr-defined]
        inner: Any = convert_exception_to_response(view)
        self._middleware_chain = convert_exception_to_response(SecurityMiddleware(inner))

    def answer(self, environ: dict[str, Any]) -> HttpResponse:
        set_script_prefix("/")
        request = WSGIRequest(environ)
        request.urlconf = "config.busy_urls"  # type: ignore[assignment]
        now = time.monotonic()
        if not hasattr(_thread, "kept"):
            _thread.kept = _Kept(connections[DEFAULT_DB_ALIAS])
        if (
            now - getattr(_thread, "used", 0.0) > RESTED
            and connection.connection
            and not connection.is_usable()
        ):
            connection.close()
        _thread.used = now
        response: Any = self._middleware_chain(request)
        if response.status_code >= 500 or connection.errors_occurred:
            connection.close()  # whatever is wrong with it is not the next caller's
        assert isinstance(response, HttpResponse)  # noqa: S101  (nothing here is streamed)
        return response


_screens = get_wsgi_application()
_busy = BusyHandler()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The one entry of every WSGI server."""
    path = environ.get("PATH_INFO", "")
    if not path.startswith(BUSY):
        return _screens(environ, start_response)
    response = _busy.answer(environ)
    if response.status_code == 404 and not path.startswith("/in/"):
        return _screens(environ, start_response)  # a page for a person, in their language
    body = response.content
    headers = [*response.items(), *(("Set-Cookie", one.OutputString()) for one in response.cookies.values())]
    if not response.has_header("Content-Length"):
        headers.append(("Content-Length", str(len(body))))
    start_response(f"{response.status_code} {response.reason_phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
