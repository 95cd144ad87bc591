"""Webhooks, pixels and short links as a WSGI server calls them: past the screens' middleware, and as safe."""

import hmac
import io
import threading
from hashlib import sha256
from typing import Any

import psycopg
import pytest
from django.db import connection

from channels import links
from channels.models import InboxEvent
from config.wsgi import application
from tests.channel_rows import make_channel

pytestmark = pytest.mark.django_db(transaction=True)
BROWSER = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148"


def ask(method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) of one call to the WSGI entry."""
    told: list[Any] = []
    environ = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "SERVER_NAME": "testserver",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.input": io.BytesIO(body), "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(), "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json",
        "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost", "HTTP_USER_AGENT": BROWSER, **headers,
    }  # fmt: skip
    parts = application(environ, lambda status, heads: told.extend([status, dict(heads)]))
    answer = b"".join(parts)
    if hasattr(parts, "close"):
        parts.close()
    return int(told[0][:3]), told[1], answer


def test_a_click_is_stored_and_led_on_with_the_headers_of_a_safe_site() -> None:
    channel = make_channel()
    prepared = links.prepare(7, channel.pk, "https://shop.example/a")
    url = links.link_url(prepared.link_ids[0], 7, channel.pk, 5, 6)
    status, headers, body = ask("GET", "/l/" + url.rpartition("/")[2])
    assert (status, headers["Location"], body) == (302, "https://shop.example/a", b"")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "no-store" in headers["Cache-Control"]
    event = InboxEvent.objects.get()
    assert (event.response, event.campaign_id, event.touch_id, event.machine) == ("click", 7, 5, False)


def test_a_thread_that_ends_gives_its_connection_back() -> None:
    url = links.pixel_url(7, make_channel().pk, 5, 6)
    seen: list[Any] = []

    def opened() -> None:
        ask("GET", "/o/" + url.rpartition("/")[2])
        seen.append(connection.connection)
        assert not seen[0].closed

    thread = threading.Thread(target=opened)
    thread.start()
    thread.join()
    assert seen[0].closed


def test_a_head_request_has_no_body_and_is_a_machine() -> None:
    channel = make_channel()
    url = links.pixel_url(7, channel.pk, 5, 6)
    status, headers, body = ask("HEAD", "/o/" + url.rpartition("/")[2])
    assert (status, headers["Content-Type"], body) == (200, "image/gif", b"")
    assert InboxEvent.objects.get().machine is True


def test_a_link_that_is_not_ours_is_a_page_in_the_readers_language() -> None:
    status, headers, body = ask("GET", "/l/nonsense", HTTP_ACCEPT_LANGUAGE="zh-hans")
    assert status == 404
    assert "Content-Security-Policy" in headers
    assert "链接" in body.decode()


def test_a_webhook_is_verified_and_a_wrong_method_or_address_is_refused() -> None:
    channel = make_channel("email", "email", credentials={"webhook_key": "key"})
    path, body = f"/in/{channel.pk}/{channel.inbound_secret}/", b'{"events": []}'
    proof = "sha256=" + hmac.new(b"key", body, sha256).hexdigest()
    assert ask("POST", path, body, HTTP_X_EVENREACH_SIGNATURE=proof)[0] == 200
    assert ask("POST", path, body, HTTP_X_EVENREACH_SIGNATURE="sha256=00")[0] == 403
    assert ask("DELETE", path)[0] == 405
    assert ask("POST", path.replace(channel.inbound_secret, "x"), body)[0] == 404
    assert ask("GET", "/in/")[0] == 404


def test_a_connection_that_died_is_replaced_and_the_call_is_answered() -> None:
    channel = make_channel()
    url = links.pixel_url(7, channel.pk, 5, 6)
    path = "/o/" + url.rpartition("/")[2]
    assert ask("GET", path)[0] == 200
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    params = connection.get_connection_params() | {"cursor_factory": psycopg.Cursor}
    params.pop("context", None)
    with psycopg.connect(**params) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert ask("GET", path)[0] == 200


def test_the_screens_are_still_served() -> None:
    status, headers, _body = ask("GET", "/accounts/login/")
    assert status == 200
    assert "Content-Security-Policy" in headers
