"""A release writes members, targets and touches once, whatever happens in between."""

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from decimal import Decimal

import pghistory
import pytest
from django.db import IntegrityError, connection, transaction

from audiences.models import ContactState, Customer
from audiences.vocabulary import permission_key
from campaigns import rounds
from campaigns.models import Attempt, Budget, Campaign, FrequencyTarget, Member, MemberTarget, Plan, Touch
from campaigns.planner import PlanError, make_plan
from campaigns.release import admit, release
from campaigns.release.release import ANALYSE_FROM
from campaigns.vocabulary import CampaignState, Cause
from tests import plan_rows as rows
from tests.factories import database_url

pytestmark = pytest.mark.django_db
NOW = rows.NOON


def released(campaign: Campaign, now: dt.datetime = NOW):
    plan = make_plan(campaign, user=None, now=now)
    rounds.write_rounds(campaign, 1)
    return release(campaign, plan, now=now)


def touches(campaign: Campaign, **wanted):
    return Touch.objects.filter(campaign_id=campaign.pk, **wanted)


def targets(campaign: Campaign, **wanted):
    return MemberTarget.objects.filter(campaign_id=campaign.pk, **wanted)


def assert_no_attempt_without_a_touch(campaign: Campaign) -> None:
    """One of a touch there is may be written, one of a touch there is not may not."""
    given = {"campaign_id": campaign.pk, "n": 1, "customer_id": 1, "channel_id": 1, "started_at": NOW}
    known = touches(campaign).values_list("pk", flat=True)[0][-1]
    with transaction.atomic():
        Attempt.objects.create(id=10**9, touch_id=known, **given)
        transaction.set_rollback(True)
    with pytest.raises(IntegrityError, match="an_attempt_belongs_to_a_touch"), transaction.atomic():
        Attempt.objects.create(id=10**9, touch_id=10**9, **given)


def test_everybody_who_may_be_contacted_gets_the_full_target() -> None:
    people = rows.customers(5)
    campaign = rows.campaign(people, [rows.channel()], 2)
    found = released(campaign)
    assert (found.members, found.held_out, found.targets, found.touches) == (5, 0, 5, 10)
    assert set(touches(campaign).values_list("customer_id", "ordinal")) == {
        (p.pk, k) for p in people for k in (1, 2)
    }
    assert set(targets(campaign).values_list("target", "planned", "cause")) == {(2, 2, "")}


def test_a_round_that_starts_now_is_due_at_once() -> None:
    campaign = rows.campaign(rows.customers(3), [rows.channel()], 1)
    released(campaign)
    assert set(touches(campaign).values_list("due_at", "deadline_at")) == {(NOW, campaign.ends_at)}


def test_the_plan_and_what_is_released_are_the_same() -> None:
    people = rows.customers(40, ("email", "sms"))
    campaign = rows.campaign(
        people, [rows.channel(), rows.channel("sms")], {"email": 2, "sms": 1}, holdout_share="0.2", budget="3"
    )
    plan = make_plan(campaign, user=None, now=NOW)
    rounds.write_rounds(campaign, 1)
    found = release(campaign, plan, now=NOW)
    plan.refresh_from_db()
    assert plan.state == Plan.State.RELEASED
    assert (plan.audience, plan.held_out, plan.touches) == (found.members, found.held_out, found.touches)
    assert campaign.release_plan == plan


def test_the_held_out_are_members_with_neither_target_nor_touch() -> None:
    campaign = rows.campaign(rows.customers(200), [rows.channel()], 1, holdout_share="0.25")
    found = released(campaign)
    held = set(
        Member.objects.filter(campaign_id=campaign.pk, held_out=True).values_list("customer_id", flat=True)
    )
    assert 25 <= found.held_out == len(held) <= 75
    assert not targets(campaign, customer_id__in=held).exists()
    assert not touches(campaign, customer_id__in=held).exists()


def test_holdouts_and_arms_fall_the_same_way_for_whoever_computes_them() -> None:
    people = rows.customers(100)
    segment = rows.fixed_list(people)
    sides = []
    for _again in range(2):
        campaign = rows.campaign(
            segment,
            [rows.channel()],
            1,
            holdout_share="0.3",
            arms={"a": ("0.5", None), "b": ("0.5", None)},
            seed=77,
        )
        released(campaign)
        sides.append(
            list(
                Member.objects.filter(campaign_id=campaign.pk)
                .order_by("customer_id")
                .values_list("customer_id", "held_out", "arm")
            )
        )
    assert sides[0] == sides[1]
    assert {arm for _id, held, arm in sides[0] if not held} == {"a", "b"}


def test_the_universal_holdout_is_kept_out_of_every_campaign(settings) -> None:
    settings.UNIVERSAL_HOLDOUT = 0.05
    people = rows.customers(4)
    Customer.objects.filter(pk=people[0].pk).update(bucket=499)
    Customer.objects.filter(pk__in=[p.pk for p in people[1:]]).update(bucket=500)
    campaign = rows.campaign(people, [rows.channel()], 1)
    released(campaign)
    assert list(
        Member.objects.filter(campaign_id=campaign.pk, held_out=True).values_list("customer_id", flat=True)
    ) == [people[0].pk]


def test_every_shortfall_has_one_cause() -> None:
    both = ("email", "sms")
    reachable = rows.customers(1, both)
    no_phone = rows.customers(1, both, identities=("email",))
    no_consent = rows.customers(1, both, consents=("email",))
    opted_out = rows.customers(1, both)
    ContactState.objects.filter(customer__in=opted_out).update(blocked=["contact:*:sms"])
    bounced = rows.customers(1, both)
    bounced[0].identities.filter(kind="phone").update(invalid_at=NOW)
    campaign = rows.campaign(
        [*reachable, *no_phone, *no_consent, *opted_out, *bounced],
        [rows.channel(), rows.channel("sms")],
        {"email": 1, "sms": 2},
    )
    released(campaign)
    sms = campaign.channel_plans.get(channel__medium="sms").channel_id
    assert dict(targets(campaign, channel_id=sms).values_list("customer_id", "cause")) == {
        reachable[0].pk: "",
        no_phone[0].pk: Cause.NO_IDENTITY,
        no_consent[0].pk: Cause.NO_CONSENT,
        opted_out[0].pk: Cause.OPTED_OUT,
        bounced[0].pk: Cause.NO_IDENTITY,
    }
    assert targets(campaign).exclude(channel_id=sms).filter(planned=1, cause="").count() == 5


@pytest.mark.parametrize(
    "block", ["contact:{brand}:email", "contact:{brand}:*", "contact:*:email", "contact:*:*"]
)
def test_every_form_of_a_block_keeps_a_person_from_it(block: str) -> None:
    people = rows.customers(1)
    ContactState.objects.filter(customer__in=people).update(blocked=[block.format(brand=rows.brand().pk)])
    campaign = rows.campaign(people, [rows.channel()], 1)
    assert released(campaign).touches == 0
    assert targets(campaign).get().cause == Cause.OPTED_OUT


def test_the_erased_and_the_absorbed_are_no_members() -> None:
    people = rows.customers(3)
    Customer.objects.filter(pk=people[0].pk).update(merged_into=people[1])
    Customer.objects.filter(pk=people[2].pk).update(erased_at=NOW)
    campaign = rows.campaign(people, [rows.channel()], 1)
    released(campaign)
    assert list(Member.objects.filter(campaign_id=campaign.pk).values_list("customer_id", flat=True)) == [
        people[1].pk
    ]


def test_a_channel_that_is_stopped_is_the_cause_for_everybody() -> None:
    campaign = rows.campaign(rows.customers(2), [rows.channel(state="stopped")], 1)
    released(campaign)
    assert set(targets(campaign).values_list("planned", "cause")) == {(0, Cause.CHANNEL_STOPPED)}


def test_a_platform_audience_needs_consent_to_the_upload() -> None:
    people = rows.customers(2, ("social",))
    ContactState.objects.filter(customer=people[1]).update(
        allowed=[permission_key(rows.brand().pk, "social", "upload")]
    )
    channel = rows.channel("social", observability="person_targeted", guarantee="aggregate", domain="public")
    campaign = rows.campaign(people, [channel], 3)
    released(campaign)
    assert dict(targets(campaign).values_list("customer_id", "planned")) == {people[0].pk: 0, people[1].pk: 3}


def test_a_placement_has_no_touches_of_persons() -> None:
    channels = [rows.channel(), rows.channel("kol", observability="placement", domain="public")]
    campaign = rows.campaign(rows.customers(2), channels, {"email": 1, "kol": 1})
    assert released(campaign).touches == 2


def test_the_greatest_cost_fits_every_budget() -> None:
    people = rows.customers(60, ("email", "sms"))
    channels = [rows.channel(unit_price=Decimal("0.01")), rows.channel("sms", unit_price=Decimal("0.10"))]
    campaign = rows.campaign(people, channels, {"email": 2, "sms": 2}, budget="5")
    campaign.channel_plans.filter(channel=channels[1]).update(budget=Decimal("3"))
    released(campaign)
    spent = Counter()
    for channel_id, reserved in touches(campaign).values_list("channel_id", "reserved"):
        spent[channel_id] += reserved
    assert spent[channels[1].pk] <= 3
    assert sum(spent.values()) <= 5
    assert set(Budget.objects.filter(campaign=campaign).values_list("channel_id", "amount")) == {
        (None, Decimal(5)),
        (channels[1].pk, Decimal(3)),
    }
    assert set(targets(campaign).filter(planned__lt=2).values_list("cause", flat=True)) == {Cause.BUDGET}


def test_releasing_twice_writes_once() -> None:
    campaign = rows.campaign(rows.customers(5), [rows.channel()], 2)
    first = released(campaign)
    again = release(campaign, campaign.plans.first(), now=NOW + rows.DAY)
    assert again == first
    assert touches(campaign).count() == 10


def test_what_was_never_approved_is_not_released() -> None:
    campaign = rows.campaign(rows.customers(2), [rows.channel()], 1)
    plan = make_plan(campaign, user=None, now=NOW)
    with pytest.raises(PlanError, match="never approved"):
        release(campaign, plan, now=NOW)
    rounds.write_rounds(campaign, 1)
    FrequencyTarget.objects.update(touches=2)
    with pytest.raises(PlanError, match="never approved"):
        release(campaign, plan, now=NOW)
    assert not Member.objects.exists()


def test_a_consent_withdrawn_after_the_forecast_is_a_gap_and_no_touch() -> None:
    people = rows.customers(2)
    campaign = rows.campaign(people, [rows.channel()], 1)
    plan = make_plan(campaign, user=None, now=NOW)
    rounds.write_rounds(campaign, 1)
    ContactState.objects.filter(customer=people[0]).update(allowed=[])
    release(campaign, plan, now=NOW)
    assert list(touches(campaign).values_list("customer_id", flat=True)) == [people[1].pk]
    plan.refresh_from_db()
    assert plan.state == Plan.State.STALE
    assert campaign.release_plan != plan
    assert campaign.release_plan.touches == 1


def test_a_stopped_campaign_is_not_released() -> None:
    campaign = rows.campaign(rows.customers(2), [rows.channel()], 1)
    plan = make_plan(campaign, user=None, now=NOW)
    rounds.write_rounds(campaign, 1)
    Campaign.objects.filter(pk=campaign.pk).update(state=CampaignState.FINISHED)
    with pytest.raises(PlanError, match="stopped"):
        release(campaign, plan, now=NOW)
    assert not Member.objects.exists()


@pytest.mark.parametrize("own_partition", [100_000, 1])
@pytest.mark.django_db(transaction=True)
def test_a_release_in_somebodys_name_writes_all_that_one_of_nobody_does(
    settings, make_user, own_partition
) -> None:
    """As a job runs it: what changes is written down with the person who approved, statements of every kind too."""
    settings.OWN_PARTITION = own_partition
    campaign = rows.campaign(rows.customers(ANALYSE_FROM // 2), [rows.channel()], 2)
    with pghistory.context(user=make_user("marketer").pk, job=7):
        assert released(campaign).touches == ANALYSE_FROM
    assert touches(campaign).count() == ANALYSE_FROM


def test_nobody_can_write_a_fourth_touch_of_three() -> None:
    campaign = rows.campaign(rows.customers(1), [rows.channel()], 3)
    released(campaign)
    third = touches(campaign, ordinal=3).get()
    with pytest.raises(IntegrityError, match="a_touch_was_approved"), transaction.atomic():
        Touch.objects.create(
            id=10**9, campaign_id=campaign.pk, customer_id=third.customer_id, channel_id=third.channel_id, round=1,
            ordinal=4, stage=third.stage, due_at=NOW, deadline_at=NOW, state_at=NOW,
        )  # fmt: skip
    with pytest.raises(IntegrityError, match="duplicate key"), transaction.atomic():
        Touch.objects.create(
            id=10**9, campaign_id=campaign.pk, customer_id=third.customer_id, channel_id=third.channel_id, round=1,
            ordinal=3, stage=third.stage, due_at=NOW, deadline_at=NOW, state_at=NOW,
        )  # fmt: skip


def test_a_held_out_member_cannot_be_given_a_target() -> None:
    campaign = rows.campaign(rows.customers(50), [rows.channel()], 1, holdout_share="0.5")
    released(campaign)
    held = Member.objects.filter(campaign_id=campaign.pk, held_out=True).first()
    with pytest.raises(IntegrityError, match="a_target_belongs_to_a_member"), transaction.atomic():
        MemberTarget.objects.create(
            campaign_id=campaign.pk, customer_id=held.customer_id, channel_id=campaign.channel_plans.get().channel_id,
            round=1, stage=held.stage, target=1, planned=1,
        )  # fmt: skip


def test_variants_are_shared_out_by_weight_and_stay_with_the_person() -> None:
    people = rows.customers(300)
    campaign = rows.campaign(people, [rows.channel()], 2)
    plan = campaign.channel_plans.get()
    plan.message = rows.message("email", variants=3)
    plan.save()
    released(campaign)
    of_person: dict[int, set[int]] = {}
    for customer, variant in touches(campaign).values_list("customer_id", "variant"):
        of_person.setdefault(customer, set()).add(variant)
    assert all(len(found) == 1 for found in of_person.values())
    assert all(60 <= n <= 140 for n in Counter(next(iter(found)) for found in of_person.values()).values())


def test_an_arm_with_a_cap_has_a_lower_target_and_no_gap() -> None:
    people = rows.customers(60, ("email", "sms"))
    campaign = rows.campaign(
        people,
        [rows.channel(), rows.channel("sms")],
        {"email": 2, "sms": 2},
        arms={"one": ("0.3", 1), "none": ("0.2", 0)},
    )
    released(campaign)
    for arm, expected in (("one", 1), ("none", 0), ("", 4)):
        members = set(
            Member.objects.filter(campaign_id=campaign.pk, arm=arm).values_list("customer_id", flat=True)
        )
        assert members
        assert touches(campaign, customer_id__in=members).count() == expected * len(members)
    assert not targets(campaign).exclude(cause="").exists()


def test_the_persons_cap_holds_over_all_channels() -> None:
    people = rows.customers(10, ("email", "sms"))
    campaign = rows.campaign(
        people, [rows.channel(), rows.channel("sms")], {"email": 2, "sms": 2}, person_cap=3
    )
    released(campaign)
    assert set(Counter(touches(campaign).values_list("customer_id", flat=True)).values()) == {3}
    assert set(targets(campaign).exclude(cause="").values_list("cause", flat=True)) == {Cause.CAP}


def test_late_joiners_become_members_once() -> None:
    people = rows.customers(3)
    segment = rows.fixed_list(people)
    campaign = rows.campaign(segment, [rows.channel()], 2)
    released(campaign)
    late = rows.customers(2)
    segment.members.bulk_create([segment.members.model(segment=segment, customer=one) for one in late])
    found = admit(campaign, NOW + rows.DAY)
    assert (found.members, found.touches) == (2, 4)
    assert admit(campaign, NOW + rows.DAY).members == 0
    assert touches(campaign).count() == 10


def test_late_joiners_get_only_the_money_that_is_left() -> None:
    people = rows.customers(3)
    segment = rows.fixed_list(people)
    campaign = rows.campaign(segment, [rows.channel(unit_price=Decimal(1))], 1, budget="4")
    released(campaign)
    late = rows.customers(3)
    segment.members.bulk_create([segment.members.model(segment=segment, customer=one) for one in late])
    assert admit(campaign, NOW).touches == 1
    assert touches(campaign).count() == 4


# A process of its own that is killed when it loads the table after ``turn`` others, or once all is written.
DIES = """
import datetime as dt, os, signal, sys
import django
django.setup()
from django.conf import settings
from campaigns.models import Campaign, Plan
from campaigns.queries import binary
from campaigns.release import release

campaign, plan, settings.OWN_PARTITION, turn = (int(one) for one in sys.argv[1:5])
load, calls = binary.load, []

def dies(*args):
    calls.append(args)
    if len(calls) > turn:
        os.kill(os.getpid(), signal.SIGKILL)
    return load(*args)

binary.load = dies
release(Campaign.objects.get(pk=campaign), Plan.objects.get(pk=plan), now=dt.datetime.fromisoformat(sys.argv[5]))
os.kill(os.getpid(), signal.SIGKILL)  # done, and nobody heard of it
"""


class TestConcurrently:
    pytestmark = pytest.mark.django_db(transaction=True)

    @pytest.mark.parametrize("own_partition", [10**9, 0], ids=["shared", "own partition"])
    def test_two_releases_at_once_write_once(self, settings, own_partition: int) -> None:
        settings.OWN_PARTITION = own_partition
        campaign = rows.campaign(rows.customers(30), [rows.channel()], 2)
        plan = make_plan(campaign, user=None, now=NOW)
        rounds.write_rounds(campaign, 1)
        results, errors = [], []

        def go() -> None:
            try:
                results.append(release(Campaign.objects.get(pk=campaign.pk), plan, now=NOW))
            except Exception as error:  # noqa: BLE001
                errors.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=go) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert [found.touches for found in results] == [60, 60, 60]
        assert touches(campaign).count() == 60

    def test_a_large_release_has_partitions_of_its_own(self, settings) -> None:
        settings.OWN_PARTITION = 10
        small = rows.campaign(rows.customers(2), [rows.channel()], 1)
        released(small)
        campaign = rows.campaign(rows.customers(20), [rows.channel()], 2, holdout_share="0.2")
        found = released(campaign)
        with connection.cursor() as cursor:
            for table in ("member", "member_target", "touch", "attempt"):
                cursor.execute(f"SELECT count(*) FROM campaigns_{table}_c{campaign.pk}")
                assert (
                    cursor.fetchone()[0]
                    == {"member": 20, "member_target": found.targets, "touch": found.touches, "attempt": 0}[
                        table
                    ]
                )
                cursor.execute(
                    "SELECT count(*) FROM pg_index i WHERE i.indrelid = %s::regclass"
                    " AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = i.indexrelid)",
                    [f"campaigns_{table}_c{campaign.pk}"],
                )
                assert cursor.fetchone()[0] == 0, "every index of the partition belongs to one of the whole"
                cursor.execute(
                    "SELECT array_agg(conname) FROM pg_constraint WHERE conrelid = %s::regclass AND NOT convalidated",
                    [f"campaigns_{table}_c{campaign.pk}"],
                )
                assert cursor.fetchone()[0] is None
            cursor.execute("SELECT count(*) FROM pg_constraint WHERE conname LIKE 'without_c%'")
            assert cursor.fetchone()[0] == 0
        assert touches(small).count() == 2
        for one in (small, campaign):
            assert_no_attempt_without_a_touch(one)
        with pytest.raises(IntegrityError):
            touches(campaign).filter(ordinal=2).update(ordinal=3)

    @pytest.mark.parametrize(
        ("own_partition", "turn"), [(10**9, 0), (10**9, 1), (10**9, 2), (10**9, 3), (10, 2), (10, 3)]
    )
    def test_a_process_killed_while_it_writes_leaves_nothing(
        self, settings, own_partition: int, turn: int
    ) -> None:
        settings.OWN_PARTITION = own_partition
        campaign = rows.campaign(rows.customers(20), [rows.channel()], 2)
        plan = make_plan(campaign, user=None, now=NOW)
        rounds.write_rounds(campaign, 1)
        arguments = [str(one) for one in (campaign.pk, plan.pk, own_partition, turn, NOW.isoformat())]
        child = subprocess.run(
            [sys.executable, "-c", DIES, *arguments],
            env=os.environ
            | {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "config.test_settings"},
            timeout=120,
        )
        assert child.returncode == -signal.SIGKILL
        members = Member.objects.filter(campaign_id=campaign.pk).count()
        assert (members, touches(campaign).count()) == ((20, 40) if turn == 3 else (0, 0))
        assert Budget.objects.count() == 0
        assert release(Campaign.objects.get(pk=campaign.pk), plan, now=NOW).touches == 40
        assert touches(campaign).count() == 40

    @pytest.mark.parametrize("turn", range(12))
    def test_a_large_release_killed_anywhere_leaves_nothing_or_is_finished(self, settings, turn: int) -> None:
        settings.OWN_PARTITION = 10
        campaign = rows.campaign(rows.customers(20), [rows.channel()], 2)
        plan = make_plan(campaign, user=None, now=NOW)
        rounds.write_rounds(campaign, 1)
        calls = 0

        def dies(done: int, total: int = 0, step: str = "") -> None:
            nonlocal calls
            calls += 1
            if calls == turn + 1:
                connection.close()  # the server sees what it sees of a process killed with −9
                raise KeyboardInterrupt

        try:
            release(campaign, plan, now=NOW, report=dies)
        except KeyboardInterrupt:
            assert touches(campaign).count() == 0
        assert release(Campaign.objects.get(pk=campaign.pk), plan, now=NOW).touches == 40
        assert touches(campaign).count() == 40
        assert_no_attempt_without_a_touch(campaign)
        with connection.cursor() as cursor:
            # Of this database: tests beside this one have locks of their own.
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            assert cursor.fetchone()[0] == 0
