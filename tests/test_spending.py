"""Budgets: never overspent by any number of workers, and nothing is lost with a dead one."""

import random
from decimal import Decimal

import pytest
from django.db import transaction

from campaigns import dispatch, spending
from campaigns.models import Budget, BudgetLease
from campaigns.spending import LEASE_TIME, Purse
from channels.adapters.base import Outcome, Sent
from tests import factories as make
from tests.factories import MINUTE, NOW
from tests.test_pressure import broken_promises, in_threads
from tests.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)


def budgets(found):
    return dict(Budget.objects.filter(campaign=found).values_list("channel_id", "leased"))


def test_a_lease_takes_from_every_budget_that_binds_and_no_more_than_the_scarcest_has():
    channel = make.channel()
    found = make.campaign([channel], budget="10", channel_budget="3")
    assert spending.lease(found.pk, channel.pk, "a", Decimal(2), NOW) == 2
    assert spending.lease(found.pk, channel.pk, "b", Decimal(2), NOW) == 1
    assert spending.lease(found.pk, channel.pk, "c", Decimal(2), NOW) == 0
    assert budgets(found) == {None: 3, channel.pk: 3}


def test_leases_are_taken_outside_of_transactions():
    channel = make.channel()
    found = make.campaign([channel], budget="10")
    with pytest.raises(RuntimeError), transaction.atomic():
        spending.lease(found.pk, channel.pk, "a", Decimal(2), NOW)


def test_what_a_dead_worker_held_comes_back_when_its_lease_expires():
    channel = make.channel()
    found = make.campaign([channel], budget="10")
    spending.lease(found.pk, channel.pk, "dead", Decimal(8), NOW)
    spending.lease(found.pk, channel.pk, "alive", Decimal(1), NOW + 5 * MINUTE)
    assert spending.expire(NOW + 2 * MINUTE) == 0
    assert spending.expire(NOW + LEASE_TIME + MINUTE) == 1
    assert budgets(found) == {None: 1}
    assert spending.unused(found.pk) == 1


def test_a_purse_gives_back_what_it_did_not_use():
    channel = make.channel()
    found = make.campaign([channel], budget="10")
    purse = Purse("w", channel.pk)
    purse.bind([found.pk])
    assert purse.fill(found.pk, Decimal(20), NOW) == 10
    assert purse.exhausted == {found.pk}
    purse.close()
    assert (budgets(found), BudgetLease.objects.count(), purse.exhausted) == ({None: 0}, 0, set())


@pytest.mark.parametrize("seed", range(3))
def test_leases_never_add_up_to_more_than_the_budget_whatever_the_threads_do(seed):
    channel = make.channel()
    found = make.campaign([channel], budget="50", channel_budget="40")
    held = [Decimal(0)] * 6

    def work(number):
        chance = random.Random(f"{seed}/{number}")
        for turn in range(20):
            name = f"w{number}.{turn}"
            got = spending.lease(found.pk, channel.pk, name, Decimal(chance.randint(1, 9)), NOW)
            held[number] += got
            if chance.random() < 0.4:
                with transaction.atomic():
                    spending.queries.close(name)
                held[number] -= got
            for amount, leased in Budget.objects.filter(campaign=found).values_list("amount", "leased"):
                assert leased <= amount

    in_threads(6, work)
    assert set(budgets(found).values()) == {sum(held)}


@pytest.mark.parametrize("seed", range(3))
def test_four_workers_never_spend_more_than_there_is(seed):
    chance = random.Random(seed)

    def answer(message):
        share = random.Random(f"{seed}/{message.attempt_id}").random()
        if share < 0.2:
            return Sent(message.attempt_id, Outcome.REFUSED, code="550")
        if share < 0.3:
            return Sent(message.attempt_id, Outcome.THROTTLED, retry_after=60)
        return Outcome.UNKNOWN if share < 0.4 else Outcome.ACCEPTED

    mail = make.channel(wire=Wire(answer, batch_size=9))
    text = make.channel("sms", wire=Wire(answer, batch_size=4))
    amount = Decimal(chance.randint(100, 300)) / 100
    found = make.campaign([mail, text], budget=amount, channel_budget=amount * Decimal("0.7"))
    make.released(found, make.customers(60, ("email", "sms")))
    for step in range(4):
        at = NOW + step * 11 * MINUTE
        in_threads(
            4, lambda n, at=at: dispatch.dispatch_channel((mail, text)[n % 2].pk, now=at, worker=f"w{n}")
        )
        for budget in Budget.objects.filter(campaign=found):
            assert budget.spent + budget.leased <= budget.amount
    for step in range(4, 12):  # what refusals gave back is used as well
        for channel in (mail, text):
            dispatch.dispatch_channel(channel.pk, now=NOW + step * 11 * MINUTE)
    total = Budget.objects.get(channel=None)
    assert (total.leased, BudgetLease.objects.count()) == (0, 0)
    assert total.amount - total.spent < Decimal("0.05")  # all of it is used before anything is a gap
    assert broken_promises() == []
