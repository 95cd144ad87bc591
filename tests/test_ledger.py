"""What finance must be able to rely on, tried against the real database."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from reports import ledger
from reports.fx import RateMissing
from reports.ledger import Account, LedgerRefused, cost_lines, post, reverse
from reports.models import FxRate, LedgerBatch, LedgerEntry, LedgerPeriod, SourceDocument

NOW = dt.datetime(2026, 3, 10, 4, tzinfo=dt.UTC)


@pytest.fixture
def finance_user(make_user: Callable[..., Any]) -> Any:
    return make_user("treasurer", role="finance")


def document(number: str = "INV-1", **fields: Any) -> SourceDocument:
    values = {"kind": SourceDocument.Kind.INVOICE, "number": number, "day": NOW.date(), **fields}
    return SourceDocument.objects.create(**values)


def lines(
    exact: str = "12.345", day: dt.date = dt.date(2026, 3, 9), key: str = "a", **rest: Any
) -> list[ledger.Line]:
    values = {"currency": "CNY", "service_date": day, "source_line": key, **rest}
    return cost_lines(Account.MEDIA_COST, Decimal(exact), **values)


def posted(**rest: Any) -> LedgerBatch:
    number = rest.pop("number", "INV-1")
    batch = post(lines(**rest), document=document(number), description="media", user=None, now=NOW)
    assert batch is not None
    return batch


@pytest.mark.django_db
def test_a_cost_is_rounded_once_half_even_and_the_residual_is_kept() -> None:
    batch = posted(exact="12.345")
    assert [(e.side, e.account, e.amount, e.residual) for e in batch.entries.order_by("line")] == [
        ("debit", "media_cost", Decimal("12.3400"), Decimal("0.005000")),
        ("credit", "accruals", Decimal("12.3400"), Decimal("0.005000")),
    ]


@pytest.mark.django_db
def test_the_same_source_line_is_posted_once() -> None:
    posted()
    again = post(lines(), document=document("INV-2"), description="again", user=None, now=NOW)
    assert again is None
    assert LedgerEntry.objects.count() == 2


@pytest.mark.django_db
def test_lines_that_do_not_balance_are_refused() -> None:
    lopsided = lines()[:1]
    with pytest.raises(LedgerRefused, match="out of balance"):
        post(lopsided, document=document(), description="half", user=None, now=NOW)


@pytest.mark.django_db(transaction=True)
def test_the_database_refuses_an_unbalanced_batch_past_our_code() -> None:
    batch = posted()
    entry = batch.entries.first()
    assert entry is not None
    entry.pk, entry.line, entry.source_line = None, 3, "forged"
    with pytest.raises(DatabaseError, match="out of balance"), transaction.atomic():
        entry.save(force_insert=True)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "break_it",
    [
        lambda: LedgerEntry.objects.update(amount=1),
        lambda: LedgerEntry.objects.all().delete(),
        lambda: LedgerBatch.objects.update(description="other"),
        lambda: connection.cursor().execute("TRUNCATE reports_ledgerentry CASCADE"),
    ],
)
def test_nothing_posted_is_changed_or_deleted(break_it: Callable[[], Any]) -> None:
    posted()
    with pytest.raises(DatabaseError, match="never changed|pending trigger"), transaction.atomic():
        break_it()


@pytest.mark.django_db
def test_a_closed_month_takes_no_entry_and_late_costs_go_to_the_open_one(finance_user: Any) -> None:
    posted(day=dt.date(2026, 2, 3))
    ledger.close(dt.date(2026, 2, 1), user=finance_user, now=NOW)
    late = posted(day=dt.date(2026, 2, 27), key="late", number="INV-9")
    assert {str(entry.period) for entry in late.entries.all()} == {"2026-03"}
    closed = LedgerPeriod.objects.get(month=dt.date(2026, 2, 1))
    entry = late.entries.first()
    assert entry is not None
    entry.pk, entry.line, entry.source_line, entry.period = None, 3, "forged", closed
    with pytest.raises(DatabaseError, match="2026-02 is closed"), transaction.atomic():
        entry.save(force_insert=True)


@pytest.mark.django_db
def test_a_closed_month_never_opens_again(finance_user: Any) -> None:
    posted(day=dt.date(2026, 2, 3))
    ledger.close(dt.date(2026, 2, 1), user=finance_user, now=NOW)
    with pytest.raises(DatabaseError, match="closed for good"), transaction.atomic():
        LedgerPeriod.objects.update(state="open")
    with pytest.raises(LedgerRefused, match="already"):
        ledger.close(dt.date(2026, 2, 1), user=finance_user, now=NOW)


@pytest.mark.django_db
def test_a_month_that_is_not_over_is_not_closed(finance_user: Any) -> None:
    posted()
    with pytest.raises(LedgerRefused, match="not over"):
        ledger.close(dt.date(2026, 3, 1), user=finance_user, now=NOW)


@pytest.mark.django_db
def test_another_currency_needs_a_dated_rate() -> None:
    with pytest.raises(RateMissing, match="USD/CNY"):
        posted(currency="USD")
    FxRate.objects.create(
        day=dt.date(2026, 3, 1), base="USD", quote="CNY", rate=Decimal("7.1"), source="PBoC"
    )
    batch = post(
        lines(currency="USD", exact="10"), document=document("INV-3"), description="usd", user=None, now=NOW
    )
    assert batch is not None
    entry = batch.entries.get(line=1)
    assert (entry.functional_amount, entry.fx_day, entry.fx_source) == (
        Decimal("71.0000"),
        dt.date(2026, 3, 1),
        "PBoC",
    )


@pytest.mark.django_db
def test_a_reversal_leaves_nothing_and_is_posted_once(finance_user: Any) -> None:
    batch = posted()
    assert reverse(batch, reason="wrong account", user=finance_user, now=NOW) is not None
    assert reverse(batch, reason="wrong account", user=finance_user, now=NOW) is None
    entries = LedgerEntry.objects.filter(account="media_cost")
    assert sum(e.amount if e.side == "debit" else -e.amount for e in entries) == 0


@pytest.mark.django_db
def test_the_chain_shows_what_was_forged_past_the_triggers() -> None:
    posted()
    posted(key="b", number="INV-2")
    assert ledger.chain_is_whole()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE reports_ledgerentry DISABLE TRIGGER USER")
        cursor.execute("UPDATE reports_ledgerentry SET amount = amount + 1")
        cursor.execute("ALTER TABLE reports_ledgerentry ENABLE TRIGGER USER")
    assert not ledger.chain_is_whole()


class AnyPostingBalances(TestCase):
    @settings(max_examples=25, deadline=None)
    @given(
        amounts=st.lists(
            st.decimals(min_value=-10_000, max_value=10_000, places=6, allow_nan=False),
            min_size=1,
            max_size=6,
        )
    )
    def test_debits_equal_credits_and_residuals_explain_the_rounding(self, amounts: list[Decimal]) -> None:
        all_lines = [
            line
            for position, amount in enumerate(amounts)
            for line in lines(exact=str(amount), key=f"{position}")
        ]
        batch = post(all_lines, document=document("INV-P"), description="p", user=None, now=NOW)
        assert batch is not None
        entries = list(batch.entries.all())
        assert sum(e.amount if e.side == "debit" else -e.amount for e in entries) == 0
        costs = [e for e in entries if e.account == "media_cost"]
        exact = sum((e.amount + e.residual) * (1 if e.side == "debit" else -1) for e in costs)
        assert exact == sum(amounts)
