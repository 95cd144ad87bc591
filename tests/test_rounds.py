"""Rounds keep their numbers; approved ordinals are withdrawn, never deleted."""

import datetime as dt

import pytest

from audiences.vocabulary import Stage
from campaigns import rounds
from campaigns.models import ApprovedOrdinal, FrequencyTarget, Phase, Round
from tests import plan_rows as rows

pytestmark = pytest.mark.django_db


def in_force(campaign) -> list[tuple[int, int]]:
    found = ApprovedOrdinal.objects.filter(campaign_id=campaign.pk, withdrawn_at=None, stage=Stage.MEMBER)
    return sorted(found.values_list("round", "ordinal"))


def test_a_phase_without_round_days_is_one_round() -> None:
    campaign = rows.campaign([], [rows.channel()], 3)
    assert rounds.write_rounds(campaign, 1) == 3 * len(Stage.values)
    assert list(Round.objects.values_list("number", "starts_at", "ends_at")) == [
        (1, campaign.starts_at, campaign.ends_at)
    ]
    assert in_force(campaign) == [(1, 1), (1, 2), (1, 3)]


def test_writing_rounds_again_changes_nothing() -> None:
    campaign = rows.campaign([], [rows.channel()], 2, round_days=2)
    first = rounds.write_rounds(campaign, 1)
    before = list(ApprovedOrdinal.objects.values_list("round", "stage", "ordinal", "version").order_by("pk"))
    assert rounds.write_rounds(campaign, 2) == first
    assert (
        list(ApprovedOrdinal.objects.values_list("round", "stage", "ordinal", "version").order_by("pk"))
        == before
    )
    assert Round.objects.count() == 4


def test_the_last_round_may_be_shorter() -> None:
    campaign = rows.campaign([], [rows.channel()], 1, days=7, round_days=3)
    rounds.write_rounds(campaign, 1)
    lengths = [found.ends_at - found.starts_at for found in Round.objects.all()]
    assert lengths == [3 * rows.DAY, 3 * rows.DAY, 1 * rows.DAY]


def test_a_lower_target_withdraws_and_a_raised_one_takes_back() -> None:
    campaign = rows.campaign([], [rows.channel()], 3)
    rounds.write_rounds(campaign, 1)
    FrequencyTarget.objects.update(touches=1)
    rounds.write_rounds(campaign, 2)
    assert in_force(campaign) == [(1, 1)]
    assert ApprovedOrdinal.objects.filter(stage=Stage.MEMBER).count() == 3
    FrequencyTarget.objects.update(touches=2)
    rounds.write_rounds(campaign, 3)
    assert in_force(campaign) == [(1, 1), (1, 2)]


def test_a_longer_first_phase_gives_its_new_round_a_new_number() -> None:
    campaign = rows.campaign([], [rows.channel()], 1, days=4, round_days=2)
    second = Phase.objects.create(
        campaign=campaign, position=1, name="Phase 2", starts_at=campaign.ends_at,
        ends_at=campaign.ends_at + 2 * rows.DAY, round_days=None,
    )  # fmt: skip
    rounds.write_rounds(campaign, 1)
    assert list(Round.objects.values_list("number", "phase__position")) == [(1, 0), (2, 0), (3, 1)]
    campaign.phases.filter(position=0).update(ends_at=campaign.ends_at + 2 * rows.DAY)
    Phase.objects.filter(pk=second.pk).update(
        starts_at=second.starts_at + 2 * rows.DAY, ends_at=second.ends_at + 2 * rows.DAY
    )
    rounds.write_rounds(campaign, 2)
    assert list(Round.objects.values_list("number", "phase__position")) == [(1, 0), (2, 0), (3, 1), (4, 0)]


def test_a_shorter_phase_withdraws_its_last_round_and_keeps_its_row() -> None:
    campaign = rows.campaign([], [rows.channel()], 1, days=6, round_days=2)
    rounds.write_rounds(campaign, 1)
    campaign.phases.update(ends_at=campaign.starts_at + 3 * rows.DAY)
    rounds.write_rounds(campaign, 2)
    assert in_force(campaign) == [(1, 1), (2, 1)]
    assert Round.objects.count() == 3


def test_rounds_begin_at_the_same_clock_time_after_the_clocks_change() -> None:
    starts = dt.datetime(2026, 3, 7, 14, 0, tzinfo=dt.UTC)  # 09:00 in New York; clocks change the night after
    found = rounds.spans_of(starts, starts + 3 * rows.DAY, 1, "America/New_York")
    assert [begin.hour for begin, _end in found] == [14, 13, 13, 13]
