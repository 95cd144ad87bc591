"""Every template: nothing that the content security policy would refuse, and errors told in both languages."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.template.loader import get_template, render_to_string
from django.test import Client
from django.utils import translation

FOLDER = Path(settings.BASE_DIR) / "templates"
TEMPLATES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.html"))

REFUSED = {
    "an inline style": re.compile(r"<[^>]*\sstyle\s*=", re.I),
    "a style element": re.compile(r"<style[\s>]", re.I),
    "an inline script": re.compile(r"<script(?![^>]*(\bsrc=|application/json))", re.I),
    "an event attribute": re.compile(r"<[^>]*\son[a-z]+\s*=", re.I),
    "hx-on": re.compile(r"\shx-on[:=]", re.I),
    "script in hx-vals": re.compile(r"hx-vals\s*=\s*[\"']js:", re.I),
    "an address of another site": re.compile(
        r"<(?:script|link|img|iframe)[^>]*(?:src|href)\s*=\s*[\"']https?://", re.I
    ),
}


def test_there_are_templates() -> None:
    assert len(TEMPLATES) > 30


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_compiles_and_holds_nothing_the_policy_refuses(name: str) -> None:
    get_template(name)
    text = (FOLDER / name).read_text("utf-8")
    found = [what for what, pattern in REFUSED.items() if pattern.search(text)]
    assert found == []


@pytest.mark.django_db
def test_an_old_form_is_told_as_such_in_the_reader_s_language() -> None:
    client = Client(enforce_csrf_checks=True, headers={"Accept-Language": "zh-hans"})
    answer = client.post("/accounts/login/", {"login": "x", "password": "y"})
    assert answer.status_code == 403
    assert "表单已过期" in answer.content.decode()


def test_the_page_of_a_broken_server_needs_nothing_of_it() -> None:
    with translation.override("zh-hans"):
        text = render_to_string("500.html")
    assert "出错了" in text
    assert 'lang="zh-hans"' in text


@pytest.mark.django_db
def test_an_address_that_does_not_exist_is_told_with_a_way_out(as_marketer: Client, log_in: Any) -> None:
    answer = as_marketer.get("/nothing-here/")
    assert answer.status_code == 404
    assert "There is nothing at this address." in answer.content.decode()
    assert 'href="/"' in answer.content.decode()
