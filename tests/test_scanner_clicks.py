"""Pain 8 (mautic#16263, #9162): scanners and prefetchers follow links before people do, and must poison nothing."""

import datetime as dt
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from campaigns import dispatch, responses
from campaigns.models import Member, Response, Touch
from channels import click_ids, links
from channels.inbox import SETTLE
from channels.models import InboxEvent
from tests import factories as make

pytestmark = pytest.mark.django_db(transaction=True)
BROWSER = {"HTTP_USER_AGENT": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/130.0 Safari/537.36"}


def sent() -> tuple[Any, Touch, list[str]]:
    """A campaign that a click ends, one touch sent, and the paths of its three links."""
    now = dt.datetime.now(dt.UTC)
    channel = make.channel("email")
    people = make.customers(1)
    found = make.campaign([channel], now=now, exit_on=["click"], zone="Asia/Shanghai")
    make.released(found, people, due_at=now)
    dispatch.dispatch_channel(channel.pk, now=now)
    touch = Touch.objects.get(campaign_id=found.pk)
    text = " ".join(f"https://shop.example/{n}?utm_campaign=autumn" for n in range(3))
    prepared = links.prepare(found.pk, channel.pk, text, pixel=False)
    filled, _html = prepared.fill(prepared.text, "", touch_id=touch.id, customer_id=touch.customer_id)
    return found, touch, [url.removeprefix(settings.PUBLIC_URL) for url in filled.split()]


def drain() -> None:
    InboxEvent.objects.update(received_at=dt.datetime.now(dt.UTC) - 2 * SETTLE)
    responses.drain()


def test_a_scanner_that_looks_like_a_browser_is_known_by_following_every_link_at_once() -> None:
    found, touch, paths = sent()
    for path in paths:
        assert Client().get(path, **BROWSER).status_code == 302
    drain()
    assert list(Response.objects.values_list("kind", "machine")) == [("click", True)] * 3
    member = Member.objects.get(campaign_id=found.pk)
    assert (member.state, member.last_response_at) == ("active", None), (
        "a machine ends nothing and reacts to nothing"
    )


def test_a_prefetch_is_a_machines_and_the_persons_click_after_it_counts() -> None:
    found, touch, paths = sent()
    Client().get(paths[0], HTTP_SEC_PURPOSE="prefetch", **BROWSER)
    Client().head(paths[0], **BROWSER)
    drain()
    assert set(Response.objects.values_list("machine", flat=True)) == {True}
    assert Member.objects.get(campaign_id=found.pk).state == "active"
    Client().get(paths[0], **BROWSER)
    drain()
    assert Response.objects.filter(machine=False, kind="click", touch_id=touch.id).count() == 1
    assert Member.objects.get(campaign_id=found.pk).state == "exited"


def test_campaign_parameters_and_click_ids_come_through_the_redirect_and_nothing_else_does() -> None:
    _found, _touch, paths = sent()
    query = "?gclid=G1&utm_campaign=other&utm_term=tea&next=https://evil.example&bd_vid=B2"
    answer = Client().get(paths[0] + query, **BROWSER)
    assert answer["Location"] == "https://shop.example/0?utm_campaign=autumn&gclid=G1&utm_term=tea&bd_vid=B2"
    told = {"gclid": "G1", "utm_campaign": "other", "utm_term": "tea", "bd_vid": "B2"}
    assert InboxEvent.objects.get().detail["click_ids"] == told


def test_an_address_keeps_its_own_parts() -> None:
    assert (
        click_ids.kept("https://a.cn/x?a=1&b=#top", {"gclid": "1 &"})
        == "https://a.cn/x?a=1&b=&gclid=1+%26#top"
    )
    assert click_ids.kept("https://a.cn/x?a=%20", {}) == "https://a.cn/x?a=%20"
    assert click_ids.of_query({"gclid": "x" * 301, "utm_source": "", "page": "2"}) == {}
