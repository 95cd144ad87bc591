"""The browser fixtures themselves, on the one page that everybody sees first."""

from typing import Any

import pytest

pytestmark = [pytest.mark.needs_chromium, pytest.mark.django_db(transaction=True)]


def test_the_log_in_page_breaks_no_rule_of_its_own_content_policy(
    page: Any, live_server: Any, shots: Any
) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(live_server.url + "/accounts/login/")
    assert page.get_by_role("button").count() > 0
    shots(page, "log-in")
    assert [text for text in said if "Content Security Policy" in text] == []
