"""Spend, wallets, balances and receipts by file: loaded twice they change nothing."""

import io
from decimal import Decimal
from typing import Any

import pytest

from audiences.imports.loading import load
from audiences.imports.reading import open_file
from audiences.models import BadRow, ImportBatch
from channels.models import Channel, DailyReport, InboxEvent, WalletEntry, WalletStatement
from tests.channel_rows import make_channel

pytestmark = pytest.mark.django_db


@pytest.fixture
def channel() -> Channel:
    return make_channel(medium="search", name="Search A")


@pytest.fixture
def give() -> Any:
    """give("spend", "channel,day,…") → the batch, loaded."""

    def run(kind: str, text: str, name: str = "file.csv") -> ImportBatch:
        batch = ImportBatch.objects.create(kind=kind, name=name)
        return load(batch, lambda: open_file(io.BytesIO(text.encode()), name))

    return run


def counted(batch: ImportBatch) -> tuple[int, int, int, int]:
    assert batch.state == "done", batch.error
    return batch.rows_new, batch.rows_changed, batch.rows_same, batch.rows_bad


def bad(batch: ImportBatch) -> list[tuple[int, str, str]]:
    return list(
        BadRow.objects.filter(batch=batch).order_by("line", "column").values_list("line", "column", "reason")
    )


SPEND = """渠道,日期,投放,消耗,曝光,点击
Search A,2026-11-01,a,100.00,1000,10
Search A,2026-11-01,b,"1,250.5",2000,20
search a,2026/11/02,,30,,
"""


def test_a_file_of_daily_spend_is_loaded_by_its_own_headers(channel: Channel, give: Any) -> None:
    assert counted(give("spend", SPEND)) == (3, 0, 0, 0)
    rows = DailyReport.objects.order_by("day", "placement")
    assert list(
        rows.values_list("day__day", "placement", "version", "spend", "exposures", "clicks", "currency")
    ) == [
        (1, "a", 1, Decimal(100), 1000, 10, "CNY"),
        (1, "b", 1, Decimal("1250.5"), 2000, 20, "CNY"),
        (2, "", 1, Decimal(30), None, None, "CNY"),
    ]


def test_the_same_file_again_changes_nothing_and_a_settled_figure_is_a_new_version(
    channel: Channel, give: Any
) -> None:
    give("spend", SPEND)
    assert counted(give("spend", SPEND)) == (0, 0, 3, 0)
    settled = give("spend", SPEND.replace("100.00", "99.50"))
    assert counted(settled) == (0, 1, 2, 0)
    assert settled.totals["sums"]["spend"]["stored"].rstrip("0") == "1380."
    kept = DailyReport.objects.filter(placement="a").order_by("version").values_list("version", "spend")
    assert list(kept) == [(1, Decimal(100)), (2, Decimal("99.5"))]


def test_a_file_without_a_column_leaves_what_was_known(channel: Channel, give: Any) -> None:
    give("spend", SPEND)
    DailyReport.objects.update(campaign_id=7)
    only_spend = "channel,day,placement,spend\nSearch A,2026-11-01,a,100\nSearch A,2026-11-01,b,1300\n"
    assert counted(give("spend", only_spend)) == (0, 1, 1, 0)
    newest = DailyReport.objects.get(placement="b", version=2)
    assert (newest.exposures, newest.clicks, newest.campaign_id) == (2000, 20, 7)


def test_bad_rows_of_spend_are_told_by_line(channel: Channel, give: Any) -> None:
    batch = give(
        "spend",
        (
            "channel,day,placement,spend,clicks,currency\nSearch A,2026-11-01,a,1,1,\nNobody,2026-11-01,a,1,1,\n"
            "Search A,2026-11-01,a,2,1,\nSearch A,2026-11-03,a,-1,1,\nSearch A,2026-11-04,a,1,-5,\nSearch A,x,a,1,1,\n"
            "Search A,2026-11-05,a,1,1,1Y!\n"
        ),
    )
    assert counted(batch) == (1, 0, 0, 6)
    told = bad(batch)
    assert [(line, column) for line, column, _reason in told] == [
        (3, "channel"),
        (4, "day"),
        (5, "spend"),
        (6, "clicks"),
        (7, "day"),
        (8, "currency"),
    ]
    assert "known: Search A" in told[0][2]


def test_a_file_of_spend_can_be_taken_back(channel: Channel, give: Any) -> None:
    from audiences.registers import import_kinds

    give("spend", SPEND)
    wrong = give("spend", SPEND.replace("100.00", "900"))
    remove = import_kinds.get("spend").remove
    assert remove is not None
    assert remove(wrong.pk) == 1
    assert list(DailyReport.objects.filter(placement="a").values_list("version", "spend")) == [
        (1, Decimal(100))
    ]


WALLET = """channel,day,kind,amount,unit,reference
Search A,2026-11-01,期初,100,,
Search A,2026-11-02,充值,1000,,T1
Search A,2026-11-03,消耗,50,,
Search A,2026-11-03,消耗,50,,
Search A,2026-11-03,adjustment,-3,,
"""


def test_wallet_entries_are_loaded_once_though_two_of_them_look_alike(channel: Channel, give: Any) -> None:
    first = give("wallet", WALLET)
    assert counted(first) == (5, 0, 0, 0)
    assert counted(give("wallet", WALLET)) == (0, 0, 5, 0)
    assert list(WalletEntry.objects.order_by("id").values_list("kind", "amount", "unit")) == [
        ("opening", 100, "CNY"),
        ("top_up", 1000, "CNY"),
        ("cash_consumption", 50, "CNY"),
        ("cash_consumption", 50, "CNY"),
        ("adjustment", -3, "CNY"),
    ]
    assert first.totals["sums"]["amount"]["stored"] == "1197.0000"


def test_an_entry_never_changes(channel: Channel, give: Any) -> None:
    give("wallet", WALLET)
    batch = give("wallet", WALLET.replace("1000", "2000"))
    assert counted(batch) == (0, 0, 4, 1)
    assert bad(batch)[0][:2] == (3, "reference")
    assert WalletEntry.objects.get(kind="top_up").amount == 1000
    twice = give(
        "wallet",
        "channel,day,kind,amount,reference\nSearch A,2026-11-05,bonus,1,B\nSearch A,2026-11-05,bonus,1,B\n"
        "Search A,2026-11-05,bonus,-1,C\n",
    )
    assert counted(twice) == (1, 0, 0, 2)


def test_balances_are_the_last_word_of_a_day(channel: Channel, give: Any) -> None:
    text = "channel,day,balance\nSearch A,2026-11-01,100\nSearch A,2026-11-02,90\n"
    assert counted(give("balances", text)) == (2, 0, 0, 0)
    assert counted(give("balances", text)) == (0, 0, 2, 0)
    assert counted(give("balances", text.replace("90", "95"))) == (0, 1, 1, 0)
    assert list(WalletStatement.objects.order_by("day").values_list("balance", flat=True)) == [100, 95]


RECEIPTS = """channel,reference,attempt_id,outcome,occurred_at,cost,code
By hand,manual-7,,已送达,2026-11-03 10:00,0.05,
By hand,,8,退回,2026-11-03T10:00:00+08:00,,空号
SMTP,,9,delivered,2026-11-03 10:00,,
SMTP,<10.x@y>,10,DELIVERED,2026-11-03 10:00,,
"""


def test_receipts_go_into_the_inbox_once(give: Any) -> None:
    make_channel(name="By hand")
    make_channel("email", "email", name="SMTP", currency="USD")
    assert counted(give("receipts", RECEIPTS)) == (4, 0, 0, 0)
    assert counted(give("receipts", RECEIPTS)) == (0, 0, 4, 0)
    rows = InboxEvent.objects.order_by("id")
    assert [(row.kind, row.outcome, row.reference, row.currency, row.code, row.state) for row in rows] == [
        ("receipt", "delivered", "manual-7", "CNY", "", "new"),
        ("receipt", "bounced", "manual-8", "CNY", "空号", "new"),
        ("receipt", "delivered", "attempt-9", "USD", "", "new"),
        ("receipt", "delivered", "<10.x@y>", "USD", "", "new"),
    ]
    details = [{key: value for key, value in row.detail.items() if key != "import_batch"} for row in rows]
    assert details == [{"cost": "0.05"}, {"attempt_id": 8}, {"attempt_id": 9}, {"attempt_id": 10}]
    assert {row.occurred_at.isoformat() for row in rows} == {"2026-11-03T02:00:00+00:00"}


def test_bad_receipts_are_told_by_line(give: Any) -> None:
    make_channel(name="By hand")
    batch = give(
        "receipts",
        (
            "channel,reference,attempt_id,outcome,occurred_at,cost\nBy hand,,,sent,2026-11-03 10:00,\n"
            "By hand,r,,teleported,2026-11-03 10:00,\nBy hand,r,,sent,2999-01-01 10:00,\n"
            "By hand,r,,sent,2026-11-03 10:00,-1\n"
        ),
    )
    assert counted(batch) == (0, 0, 0, 4)
    assert [(line, column) for line, column, _reason in bad(batch)] == [
        (2, "reference"),
        (3, "outcome"),
        (4, "occurred_at"),
        (5, "cost"),
    ]
