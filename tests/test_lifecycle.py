"""From draft to reviewed, and every way one might cheat on the road."""

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction

from audiences import jobs
from audiences.models import Job
from campaigns import approvals, definition, lifecycle, readiness, versions
from campaigns.lifecycle import IllegalTransition, NotReady
from campaigns.models import (
    Approval,
    ApprovalRule,
    ApprovedOrdinal,
    Campaign,
    CampaignVersion,
    MessageVariant,
    MessageVersion,
    Plan,
)
from campaigns.vocabulary import CampaignState
from tests.campaign_drafts import NOW, make_channel, make_draft, make_person, make_plan

pytestmark = pytest.mark.django_db


@pytest.fixture
def submitted() -> Callable[..., CampaignVersion]:
    """submitted(**changes) → a version that waits for approval, made by “maker”."""

    def make(**changes: Any) -> CampaignVersion:
        campaign = make_draft(**changes)
        make_plan(campaign)
        return lifecycle.submit(campaign, make_person("maker", "marketer"), NOW)

    return make


def state_of(campaign: Campaign | CampaignVersion) -> str:
    campaign_id = campaign.campaign_id if isinstance(campaign, CampaignVersion) else campaign.pk
    return Campaign.objects.get(pk=campaign_id).state


# Submitting -----------------------------------------------------------------------------------


def test_a_complete_draft_with_a_forecast_is_submitted_as_it_stands() -> None:
    campaign = make_draft()
    plan = make_plan(campaign)
    version = lifecycle.submit(campaign, make_person("maker", "marketer"), NOW)
    assert (version.state, version.number, version.plan_id) == ("submitted", 1, plan.pk)
    assert version.definition == definition.read(campaign)
    assert state_of(campaign) == CampaignState.SUBMITTED


def test_a_double_click_on_submit_makes_one_version() -> None:
    campaign = make_draft()
    make_plan(campaign)
    maker = make_person("maker", "marketer")
    lifecycle.submit(campaign, maker, NOW)
    with pytest.raises(IllegalTransition):
        lifecycle.submit(campaign, maker, NOW)
    assert campaign.versions.count() == 1


def test_what_is_missing_is_told_with_its_step() -> None:
    campaign = make_draft(channels=[], segment=None)
    with pytest.raises(NotReady) as refused:
        lifecycle.submit(campaign, make_person("maker", "marketer"), NOW)
    assert {entry.step for entry in refused.value.missing} == {"basics", "matrix", "forecast"}
    assert state_of(campaign) == CampaignState.DRAFT


def test_a_campaign_without_a_forecast_cannot_be_submitted() -> None:
    with pytest.raises(NotReady, match="Run the forecast"):
        lifecycle.submit(make_draft(), make_person("maker", "marketer"), NOW)


def test_a_change_of_the_definition_makes_the_forecast_stale() -> None:
    campaign = make_draft()
    plan = make_plan(campaign)
    maker = make_person("maker", "marketer")
    with versions.editing(campaign.pk, maker, NOW) as (_campaign, document):
        document["matrix"][0]["touches"] = 3
    plan.refresh_from_db()
    assert plan.state == Plan.State.STALE
    with pytest.raises(NotReady, match="Run the forecast again"):
        lifecycle.submit(campaign, maker, NOW)


def test_a_new_name_leaves_the_forecast_as_it_is() -> None:
    campaign = make_draft()
    plan = make_plan(campaign)
    with versions.editing(campaign.pk, make_person("maker", "marketer"), NOW) as (_campaign, document):
        document["name"] = "Another name"
    plan.refresh_from_db()
    assert plan.state == Plan.State.READY


def test_a_message_that_breaks_a_platform_rule_cannot_be_submitted() -> None:
    campaign = make_draft(channels=[make_channel("sms")])
    MessageVariant.objects.update(text="Buy now")  # no opt-out words
    make_plan(campaign)
    with pytest.raises(NotReady, match="拒收请回复R"):
        lifecycle.submit(campaign, make_person("maker", "marketer"), NOW)


def test_touches_that_do_not_fit_their_round_are_told() -> None:
    channel = make_channel()
    cell = {"phase": 0, "channel": channel.pk, "stage": "member", "touches": 9, "min_gap_hours": 48}
    campaign = make_draft(channels=[channel], matrix=[cell])
    found = readiness.missing(definition.read(campaign), now=NOW)
    assert any("do not fit" in entry.text for entry in readiness.blocking(found))


def test_a_submitted_campaign_is_not_editable(submitted: Callable[..., CampaignVersion]) -> None:
    version = submitted()
    with pytest.raises(versions.NotEditable, match="Withdraw"):
        with versions.editing(version.campaign_id, make_person("maker", "marketer"), NOW) as (
            _campaign,
            document,
        ):
            document["budget"] = "999999.0000"


# Deciding -------------------------------------------------------------------------------------


def test_the_approval_freezes_the_words_and_approves_the_ordinals(
    submitted: Callable[..., CampaignVersion],
) -> None:
    version = submitted()
    job = lifecycle.approve(version, make_person("approver", "approver"), "approver", "", NOW)
    campaign = Campaign.objects.get(pk=version.campaign_id)
    assert campaign.state == CampaignState.APPROVED
    assert campaign.release_plan_id == version.plan_id
    assert job is not None
    assert (job.kind, job.arguments) == ("release", {"campaign": campaign.pk, "plan": version.plan_id})
    assert not MessageVersion.objects.filter(frozen_at=None).exists()
    rows = ApprovedOrdinal.objects.filter(campaign_id=campaign.pk).values_list("stage", "round", "ordinal")
    assert sorted(rows) == [("member", 1, 1), ("member", 1, 2)]


def test_frozen_words_cannot_be_changed_in_the_database(submitted: Callable[..., CampaignVersion]) -> None:
    lifecycle.approve(submitted(), make_person("approver", "approver"), "approver", "", NOW)
    with pytest.raises(IntegrityError, match="frozen"), transaction.atomic():
        MessageVariant.objects.update(text="Something else")


def test_the_maker_does_not_approve_even_with_the_role(submitted: Callable[..., CampaignVersion]) -> None:
    version = submitted()
    with pytest.raises(approvals.NotPermitted, match="somebody else"):
        lifecycle.approve(version, make_person("maker", "marketer", "approver"), "approver", "", NOW)
    assert state_of(version) == CampaignState.SUBMITTED


def test_the_author_does_not_approve_what_a_colleague_submitted_for_them() -> None:
    author = make_person("author", "marketer", "approver")
    campaign = make_draft(author)
    make_plan(campaign)
    version = lifecycle.submit(campaign, make_person("colleague", "marketer"), NOW)
    with pytest.raises(approvals.NotPermitted, match="You made this campaign"):
        lifecycle.approve(version, author, "approver", "", NOW)


def test_the_database_refuses_the_maker_too(submitted: Callable[..., CampaignVersion]) -> None:
    version = submitted()
    with pytest.raises(IntegrityError, match="the_maker_does_not_approve"), transaction.atomic():
        Approval.objects.create(
            version=version,
            step="approver",
            decision="approved",
            submitted_by=version.made_by,
            decided_by=version.made_by,
            decided_at=NOW,
        )


def test_somebody_without_the_role_does_not_approve(submitted: Callable[..., CampaignVersion]) -> None:
    with pytest.raises(approvals.NotPermitted, match="Approver"):
        lifecycle.approve(submitted(), make_person("finance", "finance"), "approver", "", NOW)


def test_a_plan_out_of_date_is_not_approved(submitted: Callable[..., CampaignVersion]) -> None:
    version = submitted()
    Plan.objects.filter(pk=version.plan_id).update(state=Plan.State.STALE)
    with pytest.raises(IllegalTransition, match="no longer holds"):
        lifecycle.approve(version, make_person("approver", "approver"), "approver", "", NOW)
    assert not Approval.objects.exists()


def test_a_segment_changed_after_submission_is_not_approved(
    submitted: Callable[..., CampaignVersion],
) -> None:
    version = submitted()
    segment = version.campaign.segment
    assert segment is not None
    segment.rule = {"any": []}
    segment.save()
    with pytest.raises(IllegalTransition, match="changed after it was submitted"):
        lifecycle.approve(version, make_person("approver", "approver"), "approver", "", NOW)


def test_words_changed_after_submission_are_not_approved(submitted: Callable[..., CampaignVersion]) -> None:
    version = submitted()
    MessageVariant.objects.update(subject="Something nobody looked at")
    with pytest.raises(IllegalTransition, match="changed after it was submitted"):
        lifecycle.approve(version, make_person("approver", "approver"), "approver", "", NOW)


def test_a_rejection_needs_a_reason_and_sends_the_draft_back(
    submitted: Callable[..., CampaignVersion],
) -> None:
    version = submitted()
    approver = make_person("approver", "approver")
    with pytest.raises(IllegalTransition, match="Say why"):
        lifecycle.reject(version, approver, "approver", " ", NOW)
    lifecycle.reject(version, approver, "approver", "Too often", NOW)
    assert state_of(version) == CampaignState.DRAFT
    assert Approval.objects.get().comment == "Too often"


def test_a_withdrawn_version_cannot_be_approved_any_more(submitted: Callable[..., CampaignVersion]) -> None:
    version = submitted()
    lifecycle.withdraw(version.campaign, make_person("maker", "marketer"), NOW)
    with pytest.raises(IllegalTransition, match="does not wait"):
        lifecycle.approve(version, make_person("approver", "approver"), "approver", "", NOW)
    assert state_of(version) == CampaignState.DRAFT


def test_the_next_submission_is_a_version_of_its_own_whose_old_decisions_count_no_more() -> None:
    ApprovalRule.objects.create(above="50", currency="CNY")
    campaign = make_draft()
    make_plan(campaign)
    maker, approver = make_person("maker", "marketer"), make_person("approver", "approver")
    first = lifecycle.submit(campaign, maker, NOW)
    lifecycle.approve(first, approver, "approver", "", NOW)
    lifecycle.withdraw(campaign, maker, NOW)
    second = lifecycle.submit(campaign, maker, NOW)
    assert (second.number, approvals.steps_open(second)) == (2, ["approver", "finance"])


# Finance --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "currency", "steps"),
    [
        ("50.0000", "CNY", ["approver"]),
        ("50.0001", "CNY", ["approver", "finance"]),
        ("1.0000", "USD", ["approver", "finance"]),  # no threshold of its own: money does not slip past
        (None, "CNY", ["approver", "finance"]),  # unlimited, and email costs something
        ("0.0000", "CNY", ["approver"]),
    ],
)
def test_finance_agrees_above_the_threshold(
    budget: str | None, currency: str, steps: list[str], submitted: Callable[..., CampaignVersion]
) -> None:
    ApprovalRule.objects.create(above="50", currency="CNY")
    version = submitted(budget=budget, currency=currency, channels=[make_channel(currency=currency)])
    assert approvals.steps_needed(version) == steps


def test_both_steps_are_needed_in_any_order_by_two_people(submitted: Callable[..., CampaignVersion]) -> None:
    ApprovalRule.objects.create(above="50", currency="CNY")
    version = submitted()
    both = make_person("both", "approver", "finance")
    assert lifecycle.approve(version, both, "finance", "", NOW) is None
    assert state_of(version) == CampaignState.SUBMITTED
    with pytest.raises(approvals.NotPermitted, match="decided on this version already"):
        lifecycle.approve(version, both, "approver", "", NOW)
    assert lifecycle.approve(version, make_person("approver", "approver"), "approver", "", NOW) is not None
    assert state_of(version) == CampaignState.APPROVED


def test_finance_alone_can_reject(submitted: Callable[..., CampaignVersion]) -> None:
    ApprovalRule.objects.create(above="50", currency="CNY")
    version = submitted()
    lifecycle.approve(version, make_person("approver", "approver"), "approver", "", NOW)
    lifecycle.reject(version, make_person("finance", "finance"), "finance", "No money", NOW)
    assert state_of(version) == CampaignState.DRAFT


@pytest.mark.django_db(transaction=True)
def test_two_approvals_at_once_release_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "wake", lambda _ids: None)  # nobody runs the job here
    campaign = make_draft()
    make_plan(campaign)
    version = lifecycle.submit(campaign, make_person("maker", "marketer"), NOW)
    people = [make_person(f"approver {n}", "approver") for n in range(4)]
    start = threading.Barrier(len(people))
    ended: list[str] = []

    def decide(person: Any) -> None:
        try:
            start.wait()
            lifecycle.approve(version, person, "approver", "", NOW)
            ended.append("approved")
        except IllegalTransition:
            ended.append("refused")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=decide, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["approved", "refused", "refused", "refused"]
    assert Approval.objects.count() == 1
    assert Job.objects.filter(kind="release").count() == 1


# Running --------------------------------------------------------------------------------------


@pytest.fixture
def in_state(submitted: Callable[..., CampaignVersion]) -> Callable[[str], Campaign]:
    """in_state("running") → a campaign that came there by the usual road."""

    def make(state: str) -> Campaign:
        version = submitted()
        approver = make_person("approver", "approver")
        lifecycle.approve(version, approver, "approver", "", NOW)
        campaign = Campaign.objects.get(pk=version.campaign_id)
        steps: dict[str, Callable[[], Any]] = {
            "scheduled": lambda: lifecycle.released(campaign, NOW),
            "running": lambda: lifecycle.start_due(NOW + dt.timedelta(days=2)),
            "paused": lambda: lifecycle.pause(campaign, approver, NOW),
            "finished": lambda: lifecycle.stop(campaign, approver, "", NOW),
        }
        if state == "approved":
            return campaign
        for name, step in steps.items():
            step()
            if name == state:
                break
        campaign.refresh_from_db()
        assert campaign.state == state
        return campaign

    return make


def test_a_released_campaign_waits_for_its_start(in_state: Callable[[str], Campaign]) -> None:
    campaign = in_state("scheduled")
    assert lifecycle.start_due(NOW) == 0
    assert lifecycle.start_due(NOW + dt.timedelta(days=1)) == 1
    assert state_of(campaign) == CampaignState.RUNNING


def test_a_schedule_that_is_over_is_not_started_late(in_state: Callable[[str], Campaign]) -> None:
    """A restored copy must not fire what was due while it slept."""
    campaign = in_state("scheduled")
    late = NOW + dt.timedelta(days=100)
    assert lifecycle.start_due(late) == 0
    assert lifecycle.finish_due(late) == 1
    assert state_of(campaign) == CampaignState.FINISHED


def test_pause_and_resume(in_state: Callable[[str], Campaign]) -> None:
    campaign, marketer = in_state("running"), make_person("maker", "marketer")
    lifecycle.pause(campaign, marketer, NOW, "Wrong price in the message")
    campaign.refresh_from_db()
    assert (campaign.state, campaign.state_reason) == ("paused", "Wrong price in the message")
    with pytest.raises(IllegalTransition):
        lifecycle.pause(campaign, marketer, NOW)
    lifecycle.resume(campaign, marketer, NOW)
    with pytest.raises(IllegalTransition):
        lifecycle.resume(campaign, marketer, NOW)
    assert state_of(campaign) == CampaignState.RUNNING


def test_nothing_is_resumed_after_its_end(in_state: Callable[[str], Campaign]) -> None:
    campaign = in_state("paused")
    with pytest.raises(IllegalTransition, match="end has passed"):
        lifecycle.resume(campaign, make_person("maker", "marketer"), NOW + dt.timedelta(days=100))


@pytest.mark.parametrize("state", ["approved", "scheduled", "running", "paused"])
def test_whatever_is_released_can_be_stopped_at_once(state: str, in_state: Callable[[str], Campaign]) -> None:
    campaign = in_state(state)
    job = lifecycle.stop(campaign, make_person("finance", "finance"), "Overspent", NOW)
    campaign.refresh_from_db()
    assert (campaign.state, campaign.state_reason) == ("finished", "Stopped by finance: Overspent")
    assert job.kind == "wind_down"
    with pytest.raises(IllegalTransition):
        lifecycle.stop(campaign, make_person("finance", "finance"), "", NOW)


def test_a_stop_during_the_release_cancels_it_and_is_not_undone_by_it(
    in_state: Callable[[str], Campaign],
) -> None:
    campaign = in_state("approved")
    lifecycle.stop(campaign, make_person("finance", "finance"), "", NOW)
    assert Job.objects.get(kind="release").state == Job.State.CANCELLED
    assert lifecycle.released(campaign, NOW) == CampaignState.FINISHED
    assert state_of(campaign) == CampaignState.FINISHED


@pytest.mark.parametrize("state", ["approved", "scheduled", "running", "paused", "finished"])
def test_nothing_released_can_be_submitted_or_deleted_as_a_draft(
    state: str, in_state: Callable[[str], Campaign]
) -> None:
    campaign = in_state(state)
    with pytest.raises(IllegalTransition):
        lifecycle.submit(campaign, make_person("maker", "marketer"), NOW)
    with pytest.raises(IllegalTransition):
        lifecycle.delete(campaign)


def test_a_review_closes_a_finished_campaign_only(in_state: Callable[[str], Campaign]) -> None:
    campaign, marketer = in_state("finished"), make_person("maker", "marketer")
    with pytest.raises(IllegalTransition, match="what was learned"):
        lifecycle.review(campaign, marketer, " ", NOW)
    lifecycle.review(campaign, marketer, "Members like mornings", NOW)
    assert state_of(campaign) == CampaignState.REVIEWED
    with pytest.raises(IllegalTransition):
        lifecycle.review(make_draft(), marketer, "Too early", NOW)


# Changing what was released -------------------------------------------------------------------


def change(campaign: Campaign, **changes: Any) -> None:
    with versions.editing(campaign.pk, make_person("maker", "marketer"), NOW) as (_campaign, document):
        document.update(changes)


def test_a_change_of_a_running_campaign_stays_beside_it_until_approved(
    in_state: Callable[[str], Campaign],
) -> None:
    campaign = in_state("running")
    cell = definition.read(campaign)["matrix"][0]
    change(campaign, matrix=[cell | {"touches": 1}])
    assert definition.read(campaign)["matrix"][0]["touches"] == 2
    plan = make_plan(campaign)
    version = lifecycle.submit(campaign, make_person("maker", "marketer"), NOW)
    assert version.plan == plan, "the approver sees what the change costs"
    assert [entry["what"] for entry in version.difference] == ["cell"]
    assert state_of(campaign) == CampaignState.RUNNING
    job = lifecycle.approve(version, make_person("approver", "approver"), "approver", "", NOW)
    assert job is not None
    assert job.kind == "change"
    assert definition.read(campaign)["matrix"][0]["touches"] == 1
    withdrawn = ApprovedOrdinal.objects.filter(campaign_id=campaign.pk).exclude(withdrawn_at=None)
    assert list(withdrawn.values_list("ordinal", flat=True)) == [2]


def test_a_change_cannot_be_submitted_without_a_forecast_of_it(in_state: Callable[[str], Campaign]) -> None:
    campaign, maker = in_state("running"), make_person("maker", "marketer")
    change(campaign, budget="500.0000")
    with pytest.raises(lifecycle.NotReady, match="Run the forecast again"):
        lifecycle.submit(campaign, maker, NOW)
    make_plan(campaign)
    change(campaign, budget="600.0000")
    with pytest.raises(lifecycle.NotReady, match="Run the forecast again"):
        lifecycle.submit(campaign, maker, NOW)


def test_a_change_that_is_taken_back_leaves_no_version(in_state: Callable[[str], Campaign]) -> None:
    campaign = in_state("running")
    change(campaign, budget="500.0000")
    assert versions.open_version(campaign) is not None
    change(campaign, budget="100.0000")
    assert versions.open_version(campaign) is None


@pytest.mark.parametrize("field", ["holdout_share", "currency", "starts_at", "segment"])
def test_who_is_in_and_how_it_is_measured_is_fixed_at_release(
    field: str, in_state: Callable[[str], Campaign]
) -> None:
    values = {"holdout_share": "0.2000", "currency": "USD", "starts_at": None, "segment": None}
    with pytest.raises(definition.DefinitionError, match=field):
        change(in_state("running"), **{field: values[field]})


def test_a_rejected_change_can_be_mended_and_submitted_again(in_state: Callable[[str], Campaign]) -> None:
    campaign, maker = in_state("running"), make_person("maker", "marketer")
    change(campaign, budget="500.0000")
    make_plan(campaign)
    version = lifecycle.submit(campaign, maker, NOW)
    lifecycle.reject(version, make_person("approver", "approver"), "approver", "Less", NOW)
    change(campaign, budget="200.0000")
    make_plan(campaign)
    again = lifecycle.submit(campaign, maker, NOW)
    assert (again.number, again.definition["budget"], state_of(campaign)) == (3, "200.0000", "running")


def test_a_duplicate_is_a_draft_that_sends_nothing(in_state: Callable[[str], Campaign]) -> None:
    campaign = in_state("running")
    copy = versions.duplicate(campaign, make_person("somebody", "marketer"))
    assert (copy.state, copy.released_at, copy.release_plan_id) == ("draft", None, None)
    assert copy.seed != campaign.seed
    assert not ApprovedOrdinal.objects.filter(campaign_id=copy.pk).exists()
    assert definition.fingerprint(definition.read(copy)) == definition.fingerprint(definition.read(campaign))


def test_two_people_saving_two_parts_do_not_overwrite_each_other() -> None:
    campaign, maker = make_draft(), make_person("maker", "marketer")
    with versions.editing(campaign.pk, maker, NOW) as (_campaign, document):
        document["budget"] = "7.0000"
    with versions.editing(campaign.pk, make_person("other", "marketer"), NOW) as (_campaign, document):
        document["silence_hours"] = 72
    campaign.refresh_from_db()
    assert (str(campaign.budget), campaign.silence_hours) == ("7.0000", 72)


def test_the_document_survives_the_tables() -> None:
    campaign = make_draft(channels=[make_channel(), make_channel("sms")])
    document = definition.read(campaign)
    definition.write(campaign, document)
    assert definition.read(campaign) == document
    assert jobs.job_kinds.get("release")
