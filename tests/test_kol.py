"""KOL accounts are ranked by what they bring for their fees; a post is a task with a day, a link and a cost."""

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audiences.days import begins
from audiences.models import BehaviourEvent, Customer, Order
from audiences.vocabulary import Medium
from campaigns import kol as posts
from campaigns import people_tasks
from campaigns.models import Campaign, PeopleTask
from channels import kol
from channels.models import Channel, DailyReport, Employee, InboxEvent, KolAccount, KolPlacement
from reports.accruals import post_incurred
from reports.models import LedgerEntry
from tests import factories as make
from tests.channel_rows import make_channel

pytestmark = pytest.mark.django_db
NOW = timezone.now()
TODAY = timezone.localdate(NOW)
SHOP = "https://shop.example.com/new?a=1"
BROWSER = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1"


@pytest.fixture
def channel() -> Channel:
    return make_channel("manual", Medium.KOL, name="KOL", price_model="fixed")


@pytest.fixture
def campaign(channel: Channel) -> Campaign:
    return make.campaign([channel], name="Spring")


def account(channel: Channel, name: str, followers: int = 1000, **fields: Any) -> KolAccount:
    return KolAccount.objects.create(
        channel=channel, name=name, handle=name.lower(), platform="小红书", followers=followers, **fields
    )


def out(
    campaign: Campaign, of: KolAccount, fee: str = "1000", code: str = "", days_ago: int = 1
) -> KolPlacement:
    day = TODAY - timedelta(days=days_ago)
    made = posts.place(campaign, of, day, Decimal(fee), SHOP, code)
    return posts.posted(made, day, NOW)


def visits(post: KolPlacement, n: int, **fields: Any) -> None:
    InboxEvent.objects.bulk_create(
        InboxEvent(
            channel=post.account.channel, dedupe_key=f"{post.pk}-{k}-{len(fields)}", kind="response", response="click",
            occurred_at=NOW, received_at=NOW, campaign_id=post.campaign_id, detail={"link_id": post.link_id}, **fields,
        )
        for k in range(n)
    )  # fmt: skip


def buy(number: str, customer: Customer, paid: str = "200", **fields: Any) -> Order:
    fields = {"placed_at": NOW, "received_at": NOW, "gross": Decimal(paid)} | fields
    return Order.objects.create(number=number, customer=customer, paid=Decimal(paid), **fields)


def standing(**asked: Any) -> list[tuple[Any, ...]]:
    rows = kol.ranking(TODAY - timedelta(days=30), TODAY, **asked)
    return [(row.rank, row.account.name, row.visits, row.orders) for row in rows]


# Ranking ------------------------------------------------------------------------------------------


def test_one_of_ten_brings_most_of_the_visits_and_stands_first_though_it_has_the_fewest_followers(
    campaign: Campaign, channel: Channel
) -> None:
    for n in range(9):
        visits(out(campaign, account(channel, f"Star {n}", followers=1_000_000 * (n + 1)), fee="5000"), 222)
    small = account(channel, "Small", followers=3000)
    visits(out(campaign, small, fee="5000"), 7002)
    rows = kol.ranking(TODAY - timedelta(days=30), TODAY)
    assert (rows[0].account, rows[0].rank, rows[0].visits) == (small, 1, 7002)
    assert sum(row.visits for row in rows) == 9000
    assert rows[0].share == pytest.approx(0.778)
    assert rows[0].per_fee == Decimal(7002) / 5000


def test_less_for_much_less_money_stands_before_more(campaign: Campaign, channel: Channel) -> None:
    visits(out(campaign, account(channel, "Dear"), fee="10000"), 50)
    visits(out(campaign, account(channel, "Cheap"), fee="100"), 5)
    visits(out(campaign, account(channel, "Free"), fee="0"), 9)
    account(channel, "New")
    assert standing() == [(1, "Cheap", 5, 0), (2, "Dear", 50, 0), (None, "Free", 9, 0), (None, "New", 0, 0)]


def test_scanners_other_links_and_other_days_do_not_count(campaign: Campaign, channel: Channel) -> None:
    post = out(campaign, account(channel, "A"))
    visits(post, 3)
    visits(post, 5, machine=True)
    visits(post, 2, touch_id=7, state="drained")
    visits(out(campaign, account(channel, "Old"), days_ago=60), 9)
    assert standing() == [(1, "A", 3, 0), (None, "Old", 0, 0)]


def test_orders_by_code_and_by_visit_are_credited_once(campaign: Campaign, channel: Channel) -> None:
    first = out(campaign, account(channel, "First"), code="FIRST10")
    second = out(campaign, account(channel, "Second"))
    people = [Customer.objects.create(name=f"P{n}") for n in range(4)]
    for customer, post, hours in ((0, second, 2), (0, first, 1), (1, second, 3), (2, second, 3)):
        BehaviourEvent.objects.create(
            source="shop", source_key=f"{customer}-{post.pk}", customer=people[customer], kind="visit",
            occurred_at=NOW - timedelta(hours=hours), received_at=NOW, attributes={"utm_content": post.reference},
        )  # fmt: skip
    buy("1", people[0])  # the last visit was by the first post
    buy("2", people[1], returned=Decimal(50))
    buy("3", people[2], offer_code="FIRST10")  # the code says more than the visit
    buy("4", people[3], offer_code="FIRST10")  # never seen before
    buy("5", people[1], placed_at=NOW + timedelta(days=16))  # too late
    buy("6", people[1], currency="USD")
    found = {
        row.account.name: (row.orders, row.revenue)
        for row in kol.ranking(TODAY - timedelta(days=9), TODAY, "revenue")
    }
    assert found == {"First": (3, Decimal(600)), "Second": (1, Decimal(150))}


def test_a_day_of_a_post_begins_at_midnight_here_and_not_in_greenwich(
    campaign: Campaign, channel: Channel
) -> None:
    post = out(campaign, account(channel, "First"), code="FIRST10")
    assert post.posted_on
    customer = Customer.objects.create(name="P")
    for number, moment in (("early", -timedelta(minutes=30)), ("of the day", timedelta(minutes=30))):
        buy(number, customer, offer_code="FIRST10", placed_at=begins(post.posted_on) + moment)
    (row,) = kol.ranking(TODAY - timedelta(days=9), TODAY, "revenue")
    assert (row.orders, row.revenue) == (1, Decimal(200))


def test_an_order_of_a_merged_person_is_found(campaign: Campaign, channel: Channel) -> None:
    post = out(campaign, account(channel, "A"))
    survivor = Customer.objects.create(name="S")
    absorbed = Customer.objects.create(name="A", merged_into=survivor)
    BehaviourEvent.objects.create(
        source="shop", source_key="1", customer=absorbed, kind="visit", occurred_at=NOW - timedelta(hours=1),
        received_at=NOW, attributes={"utm_content": post.reference},
    )  # fmt: skip
    buy("1", survivor)
    assert standing(by="orders") == [(1, "A", 0, 1)]


# The link -----------------------------------------------------------------------------------------


def test_strangers_who_follow_the_link_in_one_second_are_visits_of_their_own(
    client: Client, campaign: Campaign, channel: Channel
) -> None:
    first, second = (out(campaign, account(channel, name)) for name in ("A", "B"))
    for n in range(5):
        path = kol.tracked_url(first).partition("/l/")[2]
        answer = client.get(f"/l/{path}", headers={"user-agent": BROWSER}, REMOTE_ADDR=f"10.0.0.{n}")
        assert answer.status_code == 302
        assert (
            answer["Location"]
            == f"https://shop.example.com/new?a=1&utm_source=kol&utm_content=kol-{first.pk}"
        )
    client.get(f"/l/{kol.tracked_url(second).partition('/l/')[2]}", headers={"user-agent": BROWSER})
    client.get(
        f"/l/{kol.tracked_url(second).partition('/l/')[2]}", headers={"user-agent": "python-requests/2"}
    )
    assert standing() == [(1, "A", 5, 0), (2, "B", 1, 0)]
    assert "10.0.0" not in str(list(InboxEvent.objects.values_list("dedupe_key", "detail")))


# A post -------------------------------------------------------------------------------------------


def test_a_post_is_a_task_and_its_fee_is_spend_and_ledger_once_it_is_out(
    campaign: Campaign, channel: Channel
) -> None:
    post = posts.place(campaign, account(channel, "A"), TODAY, Decimal("3000.50"), SHOP)
    task = PeopleTask.objects.get(pk=post.task_id)
    assert (task.title, task.state, task.campaign_id) == ("Spring: A", "open", campaign.pk)
    people_tasks.make(NOW)
    assert PeopleTask.objects.count() == 1, "no second task for the channel as a whole"
    assert not DailyReport.objects.exists()
    posts.posted(post, TODAY, NOW, "https://xhs.example.com/1")
    posts.posted(post, TODAY - timedelta(days=1), NOW)
    report = DailyReport.objects.get()
    assert (report.spend, report.campaign_id, report.day, report.placement) == (
        Decimal("3000.50"), campaign.pk, TODAY, post.reference,
    )  # fmt: skip
    task.refresh_from_db()
    assert (task.state, task.outcome) == ("done", "posted")
    assert post_incurred(NOW)[1] == []
    cost = LedgerEntry.objects.get(account="media_cost")
    assert (cost.amount, cost.campaign_id, cost.channel_id) == (Decimal("3000.50"), campaign.pk, channel.pk)


def test_a_post_taken_back_gives_its_fee_back(campaign: Campaign, channel: Channel) -> None:
    post = out(campaign, account(channel, "A"))
    post_incurred(NOW)
    posts.cancel(post, NOW)
    assert list(DailyReport.objects.order_by("version").values_list("spend", flat=True)) == [1000, 0]
    post_incurred(NOW)
    lines = LedgerEntry.objects.filter(account="media_cost").values_list("side", "amount")
    assert sorted(lines) == [("credit", Decimal(1000)), ("debit", Decimal(1000))]
    with pytest.raises(ValidationError, match="cancelled"):
        posts.posted(post, TODAY, NOW)


def test_what_cannot_be_placed_says_why(campaign: Campaign, channel: Channel) -> None:
    one = account(channel, "A")
    elsewhere = account(make_channel("manual", Medium.KOL, price_model="fixed"), "B")
    by_message = make_channel("manual", Medium.KOL)
    by_message_campaign = make.campaign([by_message])
    posts.place(campaign, one, TODAY, Decimal(1), SHOP, "CODE")
    for what, words in (
        ((campaign, elsewhere, TODAY, Decimal(1), SHOP), "matrix"),
        ((by_message_campaign, account(by_message, "C"), TODAY, Decimal(1), SHOP), "Fixed"),
        ((campaign, one, TODAY, Decimal(1), SHOP, "CODE"), "offer code"),
        ((campaign, one, TODAY, Decimal(1), "shop"), "whole address"),
    ):
        with pytest.raises(ValidationError, match=words):
            posts.place(*what)  # type: ignore[arg-type]
    assert (KolPlacement.objects.count(), PeopleTask.objects.count()) == (1, 1), "nothing is half made"


# Screens ------------------------------------------------------------------------------------------


def test_the_road_over_the_screens(
    as_marketer: Client, as_finance: Client, campaign: Campaign, channel: Channel
) -> None:
    given = {
        "channel": channel.pk,
        "name": "Ann",
        "handle": "ann",
        "platform": "微博",
        "followers": "5",
        "fee": "10",
    }
    assert as_finance.post(reverse("channels:new_kol_account"), given).status_code == 403
    assert (
        as_marketer.post(reverse("channels:new_kol_account"), given | {"followers": "-1"}).status_code == 422
    )
    as_marketer.post(reverse("channels:new_kol_account"), given)
    ann = KolAccount.objects.get()
    planned = {
        "campaign": campaign.pk,
        "account": ann.pk,
        "day": str(TODAY),
        "fee": "500",
        "url": SHOP,
        "code": "ANN",
    }
    assert as_finance.post(reverse("campaigns:new_kol_post"), planned).status_code == 403
    as_marketer.post(reverse("campaigns:new_kol_post"), planned)
    post = KolPlacement.objects.get()
    page = as_marketer.get(reverse("campaigns:task", args=[post.task_id])).content.decode()
    assert kol.tracked_url(post) in page
    as_marketer.post(reverse("campaigns:report_task", args=[post.task_id]), {"outcome": "posted"})
    post.refresh_from_db()
    assert post.state == "posted"
    visits(post, 40)
    page = as_finance.get(reverse("channels:kol")).content.decode()
    assert "Ann" in page
    assert "0.0800" in page
    listed = as_finance.get(reverse("campaigns:kol_posts")).content.decode()
    assert kol.tracked_url(post) in listed
    body = b"".join(as_finance.get(reverse("channels:kol_export")).streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    (row,) = csv.DictReader(io.StringIO(body))
    assert (row["rank"], row["visits"], row["per_fee"]) == ("1", "40", "0.080000")
    body = b"".join(as_finance.get(reverse("campaigns:kol_posts_export")).streaming_content).decode(
        "utf-8-sig"
    )  # type: ignore[attr-defined]
    (row,) = csv.DictReader(io.StringIO(body))
    assert (row["link"], row["visits"], row["fee"]) == (kol.tracked_url(post), "40", "500.00")
    as_marketer.post(reverse("campaigns:kol_cancel", args=[post.pk]))
    as_marketer.post(reverse("channels:archive_kol_account", args=[ann.pk]))
    assert "Ann" not in as_marketer.get(reverse("channels:kol")).content.decode().partition("<tbody>")[2]


def test_the_api(as_marketer: Client, as_finance: Client, campaign: Campaign, channel: Channel) -> None:
    def send(client: Client, url: str, body: Any = None, verb: str = "post") -> Any:
        return getattr(client, verb)(url, body or {}, content_type="application/json")

    given = {"channel": channel.pk, "name": "Ann", "handle": "ann", "followers": 5}
    assert send(as_finance, "/api/v1/kol-accounts/", given).status_code == 403
    made = send(as_marketer, "/api/v1/kol-accounts/", given)
    assert made.status_code == 201, made.content
    ann = made.json()["id"]
    assert send(as_marketer, f"/api/v1/kol-accounts/{ann}/", {"fee": "9.50"}, "patch").json()["fee"] == "9.50"
    wrong = send(as_marketer, "/api/v1/kol-accounts/", given | {"channel": make_channel("manual", "sms").pk})
    assert wrong.status_code == 400
    planned = {"campaign": campaign.pk, "account": ann, "day": str(TODAY), "fee": "500", "url": SHOP}
    post = send(as_marketer, "/api/v1/kol-posts/", planned)
    assert post.status_code == 201, post.content
    assert "/l/" in post.json()["link"]
    assert send(as_marketer, "/api/v1/kol-posts/", planned | {"url": "x"}).status_code == 400
    said = send(
        as_marketer, f"/api/v1/kol-posts/{post.json()['id']}/posted/", {"posted_on": str(TODAY)}
    ).json()
    assert (said["state"], said["posted_on"]) == ("posted", str(TODAY))
    visits(KolPlacement.objects.get(), 3)
    (row,) = as_finance.get("/api/v1/kol-ranking/?by=visits").json()
    assert (row["name"], row["visits"], row["per_fee"], row["rank"]) == ("Ann", 3, "0.006000", 1)
    assert as_finance.get("/api/v1/kol-ranking/?by=followers").status_code == 400
    assert send(as_marketer, f"/api/v1/kol-posts/{post.json()['id']}/cancel/").json()["state"] == "cancelled"


def test_the_index_of_strangers_clicks_is_used(channel: Channel) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT count(*) FROM channels_inboxevent e WHERE e.detail ->> 'link_id' = '5' AND e.response = 'click'"
            " AND e.touch_id IS NULL AND NOT e.machine"
        )
        assert "inbox_click_of_a_stranger" in str(cursor.fetchall())


def test_a_post_is_the_task_of_whom_it_was_given_to(
    as_marketer: Client, channel: Channel, campaign: Campaign
) -> None:
    mei = Employee.objects.create(channel=channel, external_id="mei", name="Mei")
    asked = {
        "campaign": campaign.pk, "account": account(channel, "Lu").pk, "day": TODAY.isoformat(), "fee": "100", "url": SHOP,
        "employee": mei.pk,
    }  # fmt: skip
    assert as_marketer.post(reverse("campaigns:new_kol_post"), asked).status_code == 302
    assert PeopleTask.objects.get().employee == mei
    told = as_marketer.post("/api/v1/kol-posts/", asked, "application/json")
    assert told.status_code == 201, told.content
    assert list(PeopleTask.objects.values_list("employee", flat=True)) == [mei.pk, mei.pk]
