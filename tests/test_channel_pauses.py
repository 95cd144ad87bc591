"""One channel of a campaign is paused while the others go on, and resumed by the rules of a pause."""

import datetime as dt

import pytest
from django.test import Client
from django.urls import reverse

from campaigns import channel_pauses, dispatch, lifecycle, recalling
from campaigns.models import Campaign, ChannelPlan, Touch
from campaigns.planner import make_plan
from channels.models import Channel
from config import audit
from tests import factories as make
from tests import plan_rows
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.test_recalling import held, running  # noqa: F401
from tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)


def beats(first: dt.datetime, last: dt.datetime) -> None:
    """Dispatch as it runs by itself, every half hour."""
    at = first
    while at <= last:
        dispatch.tick(lambda number, at=at: dispatch.dispatch_channel(number, now=at), at)  # type: ignore[misc]
        at += 30 * MINUTE


@pytest.fixture
def two() -> tuple[Campaign, Channel, Channel]:
    """A campaign on two channels, each with a touch due in ten minutes for one person of its own."""
    one, other = make.channel(wire=Wire()), make.channel(wire=Wire())
    found = make.campaign([one, other])
    for channel in (one, other):
        make.released(
            found, make.customers(1), [channel], due_at=NOW + 10 * MINUTE, deadline_at=NOW + 2 * DAY
        )
    beats(NOW, NOW)
    return found, one, other


def test_the_paused_channel_waits_and_the_others_go_on(two: tuple[Campaign, Channel, Channel]) -> None:
    found, one, other = two
    channel_pauses.pause(found, one.pk, NOW)
    beats(NOW + 30 * MINUTE, NOW + 30 * MINUTE)
    assert make.states(found, channel_id=one.pk) == {"planned": 1}
    assert make.states(found, channel_id=other.pk) == {"sent": 1}
    channel_pauses.resume(found, one.pk)
    beats(NOW + 45 * MINUTE, NOW + 45 * MINUTE)
    assert make.states(found, channel_id=one.pk) == {"sent": 1}, "a short pause delays"


def test_what_became_overdue_in_a_long_pause_moves_to_the_next_day_and_what_is_not_overdue_goes(
    two: tuple[Campaign, Channel, Channel],
) -> None:
    found, one, _other = two
    make.released(found, make.customers(1), [one], due_at=NOW + 4 * HOUR, deadline_at=NOW + 2 * DAY)
    too_late = make.customers(1)
    make.released(found, too_late, [one], due_at=NOW + 10 * MINUTE, deadline_at=NOW + 8 * HOUR)
    channel_pauses.pause(found, one.pk, NOW)
    beats(NOW + 30 * MINUTE, NOW + 3 * HOUR)
    channel_pauses.resume(found, one.pk)
    beats(NOW + 4 * HOUR, NOW + 4 * HOUR)
    assert make.states(found, channel_id=one.pk) == {"planned": 1, "sent": 1, "gap:deadline": 1}
    assert make.states(found, customer_id=too_late[0]) == {"gap:deadline": 1}
    assert Touch.objects.get(state="planned").due_at == NOW + DAY + 10 * MINUTE


def test_a_channel_paused_before_it_ever_sent_fires_nothing_late() -> None:
    channel = make.channel(wire=(wire := Wire()))
    found = make.campaign([channel])
    make.released(found, make.customers(1), deadline_at=NOW + 2 * DAY)
    channel_pauses.pause(found, channel.pk, NOW)  # before the first look of dispatch
    beats(NOW, NOW + 3 * HOUR)
    channel_pauses.resume(found, channel.pk)
    beats(NOW + 4 * HOUR, NOW + 4 * HOUR)
    assert (wire.log, Touch.objects.get().due_at) == ([], NOW + DAY)


def test_pausing_twice_or_in_a_campaign_that_is_over_is_refused(
    two: tuple[Campaign, Channel, Channel],
) -> None:
    found, one, _other = two
    with pytest.raises(lifecycle.IllegalTransition, match="not paused"):
        channel_pauses.resume(found, one.pk)
    channel_pauses.pause(found, one.pk, NOW)
    with pytest.raises(lifecycle.IllegalTransition, match="already"):
        channel_pauses.pause(found, one.pk, NOW)
    with pytest.raises(lifecycle.IllegalTransition, match="not in the campaign"):
        channel_pauses.pause(found, make.channel().pk, NOW)
    Campaign.objects.update(state="finished")
    with pytest.raises(lifecycle.IllegalTransition, match="Finished"):
        channel_pauses.resume(found, one.pk)


def test_tasks_of_employees_are_called_back_and_made_anew(request: pytest.FixtureRequest) -> None:
    channel, found, _people, now, _msgid = held(request.getfixturevalue("running"))
    channel_pauses.pause(found, channel.pk, now)
    assert recalling.recall_all(now) == 4
    assert dispatch.dispatch_channel(channel.pk, now=now).claimed == 0
    channel_pauses.resume(found, channel.pk)
    assert dispatch.dispatch_channel(channel.pk, now=now).held == 4


def test_the_forecast_of_a_change_plans_a_paused_channel_which_may_go_on_any_time() -> None:
    channel = plan_rows.channel()
    found = plan_rows.campaign(plan_rows.customers(3), [channel])
    before = make_plan(found, user=None, now=plan_rows.NOON)
    ChannelPlan.objects.update(paused_at=plan_rows.NOON)
    again = make_plan(found, user=None, now=plan_rows.NOON)
    assert (again.touches, again.input_hash) == (3, before.input_hash)


# Doors --------------------------------------------------------------------------------------------


def test_marketers_and_approvers_pause_a_channel_on_the_live_page_and_the_audit_trail_says_who(
    two: tuple[Campaign, Channel, Channel], as_marketer: Client, as_finance: Client
) -> None:
    found, one, other = two
    live = reverse("campaigns:live", args=[found.pk])
    pause = reverse("campaigns:pause_channel", args=[found.pk, one.pk])
    resume = reverse("campaigns:resume_channel", args=[found.pk, one.pk])
    assert as_finance.post(pause).status_code == 403
    assert pause not in as_finance.get(live).content.decode()
    assert pause in as_marketer.get(live).content.decode()
    as_marketer.post(pause)
    assert dict(found.channel_plans.filter(paused_at=None).values_list("channel_id", "id")).keys() == {
        other.pk
    }
    page = as_marketer.get(live).content.decode()
    assert "Paused here" in page
    assert resume in page
    assert pause not in page
    assert one.name in as_marketer.get(reverse("config:home")).content.decode()
    (change, *_made) = audit.Trail(audit.Wanted(kind="campaigns.channelplan"))[0:9]
    assert (change.who, [str(one.field) for one in change.differences]) == ("marketer", ["paused since"])
    as_marketer.post(resume)
    assert not found.channel_plans.exclude(paused_at=None).exists()


def test_the_api_pauses_and_resumes_a_channel(
    two: tuple[Campaign, Channel, Channel], as_approver: Client, as_finance: Client
) -> None:
    found, one, _other = two
    where = f"/api/v1/campaigns/{found.pk}/channels/{one.pk}"
    assert as_finance.post(f"{where}/pause/").status_code == 403
    assert as_approver.post(f"{where}/pause/").status_code == 200
    assert as_approver.post(f"{where}/pause/").status_code == 409
    told = as_approver.get(f"/api/v1/campaigns/{found.pk}/progress/").json()
    assert {row["channel"]: row["paused_at"] is not None for row in told["channels"]}[one.pk] is True
    assert as_approver.post(f"{where}/resume/").status_code == 200
    assert as_approver.post(f"/api/v1/campaigns/{found.pk}/channels/{one.pk + 999}/pause/").status_code == 404
