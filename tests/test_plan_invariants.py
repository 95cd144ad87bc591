"""What must hold of every released plan, looked for in campaigns drawn at random."""

import datetime as dt
import random
from collections import Counter, defaultdict
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from audiences.models import ContactState
from audiences.vocabulary import Stage
from campaigns import hours, pressure, rounds
from campaigns.models import ApprovedOrdinal, Campaign, Member, MemberTarget, Plan, PressureRule, Touch
from campaigns.planner import explain, make_plan
from campaigns.release import release
from campaigns.vocabulary import CampaignState, Cause
from tests import plan_rows as rows

pytestmark = pytest.mark.django_db
NOW = rows.NOON
MEDIA = ("email", "sms", "wecom")
SHANGHAI = ZoneInfo("Asia/Shanghai")


def drawn(chance: random.Random) -> list[Campaign]:
    """Two campaigns on the same people, with policy, past contacts, zones, caps, budgets and capacities."""
    for touches, window in chance.sample([(1, 24), (2, 72), (3, 168), (5, 240)], chance.randint(0, 2)):
        PressureRule.objects.create(
            name="drawn",
            touches=touches,
            hours=window,
            medium=chance.choice(["", "", "email"]),
            in_force_at=NOW,
        )
    people = []
    for _group in range(chance.randint(2, 5)):
        people += rows.customers(
            chance.randint(1, 15),
            MEDIA,
            stage=chance.choice(Stage.values),
            zone=chance.choice(["Asia/Shanghai", "America/New_York", "Europe/London", "nowhere"]),
            identities=chance.sample(MEDIA, chance.randint(1, 3)),
            consents=chance.sample(MEDIA, chance.randint(1, 3)),
        )
    channels = [
        rows.channel(
            medium,
            unit_price=Decimal(chance.randint(0, 20)) / 100,
            daily_capacity=chance.choice([None, None, chance.randint(1, 40)]),
        )
        for medium in chance.sample(MEDIA, chance.randint(1, 3))
    ]
    for person in chance.sample(people, len(people) // 3):
        n = chance.randint(1, 3)
        at = sorted(NOW - dt.timedelta(hours=chance.randint(0, 200)) for _ in range(n))
        ContactState.objects.filter(customer=person).update(
            recent_attempts=list(range(n)),
            recent_channels=[chance.choice(channels).pk for _ in range(n)],
            recent_at=at,
        )
    found = []
    for _number in range(2):
        campaign = rows.campaign(
            people,
            channels,
            chance.randint(1, 3),
            days=chance.choice([0.5, 3, 8, 15]),
            starts_at=NOW + dt.timedelta(hours=chance.randint(-20, 60)),
            gap=chance.choice([0, 1, 12, 24, 60]),
            round_days=chance.choice([None, 2, 7]),
            plans={
                "day_parts": chance.choice([[], [{"days": [1, 2, 4, 6], "from": "09:00", "to": "19:30"}]]),
                "daily_limit": chance.choice([None, chance.randint(1, 30)]),
                "budget": chance.choice([None, Decimal(chance.randint(0, 300)) / 100]),
            },
            arms={"a": ("0.4", chance.choice([None, 1])), "b": ("0.3", 2)} if chance.random() < 0.4 else None,
            budget=chance.choice([None, Decimal(chance.randint(0, 500)) / 100]),
            objective=chance.choice(["value", "coverage"]),
            person_cap=chance.choice([None, 1, 3]),
            holdout_share=chance.choice(["0", "0.3"]),
        )
        found.append(campaign)
    return found


def contacts_of(person: int) -> list[tuple[dt.datetime, int]]:
    state = ContactState.objects.get(pk=person)
    found = list(zip(state.recent_at, state.recent_channels, strict=True))
    return found + list(Touch.objects.filter(customer_id=person).values_list("due_at", "channel_id"))


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_drawn_everything_holds(seed: int) -> None:
    chance = random.Random(seed)
    campaigns = drawn(chance)
    for campaign in campaigns:
        plan = make_plan(campaign, user=None, now=NOW)
        rounds.write_rounds(campaign, 1)
        release(campaign, plan, now=NOW)
        Campaign.objects.filter(pk=campaign.pk).update(state=CampaignState.RUNNING)
        plan.refresh_from_db()
        assert plan.state == Plan.State.RELEASED, "nothing changed in between"
        check_rows(campaign, plan)
        check_times(campaign)
    check_places(campaigns)
    check_policy()
    for campaign in campaigns:
        for member in Member.objects.filter(campaign_id=campaign.pk)[:5]:
            explain(campaign.pk, member.customer_id)


def check_rows(campaign: Campaign, plan: Plan) -> None:
    members = {member.customer_id: member for member in Member.objects.filter(campaign_id=campaign.pk)}
    targets = list(MemberTarget.objects.filter(campaign_id=campaign.pk))
    touches = list(Touch.objects.filter(campaign_id=campaign.pk).order_by("ordinal"))
    assert (plan.audience, plan.touches) == (len(members), len(touches))
    assert plan.target == sum(row.target for row in targets)
    assert plan.touches == sum(row.planned for row in targets)
    assert sum(plan.gaps.values()) == plan.target - plan.touches
    assert plan.certified_gap is not None
    assert 0 <= plan.certified_gap <= 1
    assert plan.value <= plan.dual_bound * (1 + 1e-9) + 1e-9
    ordinals = defaultdict(list)
    for touch in touches:
        assert not members[touch.customer_id].held_out
        assert touch.stage == members[touch.customer_id].stage
        ordinals[touch.customer_id, touch.channel_id, touch.round].append(touch.ordinal)
    for row in targets:
        assert bool(row.cause) == (row.planned < row.target), row.cause
        mine = ordinals.pop((row.customer_id, row.channel_id, row.round), [])
        assert mine == list(range(1, row.planned + 1)), "no holes"
    assert not ordinals
    approved = Counter(
        ApprovedOrdinal.objects.filter(campaign_id=campaign.pk).values_list("channel_id", "round", "stage")
    )
    caps = {arm.name: arm.cap for arm in campaign.arms.all()}
    totals: Counter = Counter()
    for row in targets:
        member = members[row.customer_id]
        totals[row.customer_id] += row.planned
        assert row.target <= approved[row.channel_id, row.round, member.stage]
        state = ContactState.objects.get(pk=row.customer_id)
        medium = campaign.channel_plans.get(channel_id=row.channel_id).channel.medium
        key = f"contact:{rows.brand().pk}:{medium}"
        reachable = member_identities(row.customer_id, medium)
        if key not in state.allowed or not reachable:
            assert row.planned == 0
            assert row.cause == (Cause.NO_CONSENT if reachable else Cause.NO_IDENTITY)
    for customer, total in totals.items():
        cap = caps.get(members[customer].arm)
        assert cap is None or total <= cap
        assert campaign.person_cap is None or total <= campaign.person_cap
    spent: Counter = Counter()
    for touch in touches:
        spent[touch.channel_id] += touch.reserved
    assert campaign.budget is None or sum(spent.values()) <= campaign.budget
    for channel_plan in campaign.channel_plans.all():
        assert channel_plan.budget is None or spent[channel_plan.channel_id] <= channel_plan.budget


def member_identities(customer: int, medium: str) -> bool:
    from audiences.models import Identity
    from audiences.vocabulary import REACHED_BY

    return Identity.objects.filter(customer_id=customer, kind__in=REACHED_BY[medium]).exists()


def check_times(campaign: Campaign) -> None:
    gap = dt.timedelta(hours=campaign.channel_plans.first().targets.first().min_gap_hours)
    spans = {found.number: (found.starts_at, found.ends_at) for found in campaign.rounds.all()}
    members = dict(Member.objects.filter(campaign_id=campaign.pk).values_list("customer_id", "zone"))
    plans = {plan.channel_id: plan for plan in campaign.channel_plans.all()}
    last: dict[tuple[int, int], dt.datetime] = {}
    for touch in Touch.objects.filter(campaign_id=campaign.pk).order_by("due_at", "ordinal"):
        starts_at, ends_at = spans[touch.round]
        assert max(NOW, starts_at) <= touch.due_at < ends_at
        assert touch.due_at < touch.deadline_at <= ends_at
        zone = members[touch.customer_id]
        open_ = hours.windows(plans[touch.channel_id], touch.due_at.astimezone(hours.zone_info(zone)).date())
        assert hours.is_open(touch.due_at, zone, open_)
        key = (touch.customer_id, touch.channel_id)
        if key in last:
            assert touch.due_at - last[key] >= gap
        last[key] = touch.due_at


def check_places(campaigns: list[Campaign]) -> None:
    whole: Counter = Counter()
    for campaign in campaigns:
        own: Counter = Counter()
        for touch in Touch.objects.filter(campaign_id=campaign.pk):
            own[touch.channel_id, touch.due_at.astimezone(SHANGHAI).date()] += 1
        whole += own
        for plan in campaign.channel_plans.all():
            for (channel, day), n in own.items():
                assert channel != plan.channel_id or plan.daily_limit is None or n <= plan.daily_limit, day
    for plan in campaigns[0].channel_plans.all():
        for (channel, day), n in whole.items():
            most = plan.channel.daily_capacity
            assert channel != plan.channel_id or most is None or n <= most, day


def check_policy() -> None:
    """No window of any rule holds more than it may, unless it did before we came."""
    rules = pressure.rules_in_force(NOW)
    for person in set(Touch.objects.values_list("customer_id", flat=True)):
        contacts = contacts_of(person)
        for rule in rules:
            at = sorted(when for when, channel in contacts if rule.counts(channel))
            planned = {when for when, channel in contacts if when >= NOW and rule.counts(channel)}
            for start in at:
                inside = [when for when in at if start <= when < start + dt.timedelta(hours=rule.hours)]
                assert len(inside) <= rule.touches or not planned & set(inside)
