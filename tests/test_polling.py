"""Asking providers: who is paused is asked all the same, and what breaks on one channel holds no other."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audiences.vocabulary import ResponseKind
from campaigns import polling
from channels.adapters.base import AdapterError, Inbound
from channels.models import Channel, ChannelFetch, InboxEvent
from tests.channel_rows import make_channel
from tests.wire import Wire, install

pytestmark = pytest.mark.django_db


def asked(**fields: Any) -> Channel:
    """A channel whose provider has one person's opt-out to tell, once."""
    told = [
        Inbound("opt-out", timezone.now(), response=ResponseKind.OPT_OUT, identity_kind="phone",
                identity_value="+8613800000001")
    ]  # fmt: skip
    wire = Wire(poll=lambda _references: [told.pop()] if told else [])
    return make_channel(install(wire).name, "sms", **fields)


def odd(_references: list[str]) -> list[Inbound]:
    raise IndexError("an answer nobody foresaw")


def test_an_opt_out_on_a_paused_channel_is_heard() -> None:
    paused = asked(state=Channel.State.PAUSED)
    archived = asked(state=Channel.State.ARCHIVED)
    assert polling.poll_all() == 1
    assert list(InboxEvent.objects.values_list("channel_id", "response")) == [(paused.pk, "opt_out")]
    assert not InboxEvent.objects.filter(channel=archived).exists()


def test_a_channel_that_breaks_is_logged_and_does_not_keep_the_next_from_being_asked(caplog: Any) -> None:
    breaks = make_channel(install(Wire(poll=odd)).name, "sms")
    later = asked()
    assert polling.poll_all() == 1
    assert InboxEvent.objects.get().channel_id == later.pk
    assert "an answer nobody foresaw" in caplog.text
    assert ChannelFetch.objects.get(channel=breaks).error == "IndexError: an answer nobody foresaw"


def test_how_asking_fares_is_kept_for_the_channels_page_and_written_once_in_a_while() -> None:
    now = timezone.now()
    answers: list[Any] = [[], [], AdapterError("the session is over", retryable=True), []]

    def answer(_references: list[str]) -> list[Inbound]:
        told = answers.pop(0)
        if isinstance(told, Exception):
            raise told
        return told  # type: ignore[no-any-return]

    channel = make_channel(install(Wire(poll=answer)).name, "sms")
    polling.poll(channel, now)
    polling.poll(channel, now + timedelta(seconds=10))
    row = ChannelFetch.objects.get(channel=channel, kind="events")
    assert (row.succeeded_at, row.error) == (now, "")
    polling.poll(channel, now + timedelta(seconds=20))
    polling.poll(channel, now + timedelta(seconds=30))
    row.refresh_from_db()
    assert (row.succeeded_at, row.failing_since) == (now + timedelta(seconds=30), None)
    assert (row.failed_at, row.error) == (now + timedelta(seconds=20), "the session is over")
