"""The daily spend sheet goes out once a day: signed as the vendors want it, late rather than never, never twice."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from channels import pushing, robots, spend_note, spend_sheet
from channels.adapters.base import Outcome
from channels.models import PushDestination, SpendPush, WalletEntry
from channels.robots import Note
from channels.sandbox.server import Sandbox
from tests.channel_rows import make_channel
from tests.sandbox_fixture import start_sandbox

DUE = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)  # 09:30 in Shanghai
TODAY = date(2026, 11, 23)
NOTE = Note("Daily spend", ("**All** · 1", "**短信** · 2"))
KINDS = ("wecom", "dingtalk", "feishu")


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start_sandbox(tmp_path_factory.mktemp("robots")) as running:
        yield running


@pytest.fixture(autouse=True)
def _calm(groups: Sandbox) -> Iterator[None]:
    """Each test finds robots that take everything, and an empty minute."""
    yield
    for kind in KINDS:
        groups.faults(f"{kind}_robot", next=[], throttle=0.0)


def place(groups: Sandbox, kind: str) -> tuple[str, str]:
    """(address, secret) of a robot in the sandbox."""
    config: Any = getattr(groups.config.vendors, f"{kind}_robot")
    host = f"http://127.0.0.1:{groups.ports[f'{kind}_robot']}"
    return {
        "wecom": lambda: (f"{host}/cgi-bin/webhook/send?key={config.key}", ""),
        "dingtalk": lambda: (f"{host}/robot/send?access_token={config.token}", config.secret),
        "feishu": lambda: (f"{host}/open-apis/bot/v2/hook/{config.hook}", config.secret),
    }[kind]()


def make(groups: Sandbox, kind: str = "dingtalk", **fields: Any) -> PushDestination:
    address, secret = place(groups, kind)
    fields = {"name": kind, "first_day": TODAY, "language": "en"} | fields
    return PushDestination.objects.create(
        kind=kind, credentials={"address": address, "secret": secret}, **fields
    )


def taken(groups: Sandbox, kind: str, since: int = 0) -> list[dict[str, Any]]:
    return groups.log_lines(f"{kind}_robot", "message")[since:]


# The wire -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_robot_takes_a_signed_note(groups: Sandbox, kind: str) -> None:
    before = len(taken(groups, kind))
    address, secret = place(groups, kind)
    assert robots.send(kind, address, secret, NOTE).outcome == Outcome.ACCEPTED
    (line,) = taken(groups, kind, before)
    assert line["title"] == "Daily spend"
    assert "短信" in line["text"]


@pytest.mark.parametrize(("kind", "code"), [("dingtalk", "310000"), ("feishu", "19021")])
def test_a_wrong_secret_and_an_old_signature_are_refused_for_good(
    groups: Sandbox, kind: str, code: str
) -> None:
    address, secret = place(groups, kind)
    wrong = robots.send(kind, address, "another", NOTE)
    old = robots.send(kind, address, secret, NOTE, now=lambda: time.time() - 7200)
    for told in (wrong, old):
        assert (told.outcome, told.code, told.retry_after) == (Outcome.REFUSED, code, None)


@pytest.mark.parametrize(("kind", "code"), [("wecom", "93000"), ("dingtalk", "300005"), ("feishu", "19001")])
def test_a_robot_that_does_not_exist_is_told_without_its_key(groups: Sandbox, kind: str, code: str) -> None:
    address, secret = place(groups, kind)
    told = robots.send(kind, address[:-6] + "zzzzzz", secret, NOTE)
    assert (told.outcome, told.code) == (Outcome.REFUSED, code)
    assert "zzzzzz" not in told.text


def test_signatures_are_those_of_the_vendors_documents() -> None:
    """Worked out here once more, by hand: DingTalk signs by the secret, Feishu signs nothing by both."""
    url, _body = robots._dingtalk_sign("https://x.example/robot/send?access_token=t", {}, "SEC1", 1_600_000.0)
    digest = hmac.new(b"SEC1", b"1600000000\nSEC1", hashlib.sha256).digest()
    from urllib.parse import parse_qs, urlsplit

    query = parse_qs(urlsplit(url).query)
    assert query == {
        "access_token": ["t"],
        "timestamp": ["1600000000"],
        "sign": [base64.b64encode(digest).decode()],
    }
    _url, body = robots._feishu_sign("https://x.example", {}, "demo", 1_599_360_473.0)
    empty = hmac.new(b"1599360473\ndemo", digestmod=hashlib.sha256).digest()
    assert body == {"timestamp": "1599360473", "sign": base64.b64encode(empty).decode()}


def test_nobody_there_is_known_and_a_broken_connection_is_not(groups: Sandbox) -> None:
    nobody = robots.send("wecom", "http://127.0.0.1:1/cgi-bin/webhook/send?key=x", "", NOTE)
    assert (nobody.outcome, nobody.retry_after) == (Outcome.THROTTLED, 60.0)
    groups.faults("wecom_robot", next=["drop"])
    assert robots.send("wecom", *place(groups, "wecom"), NOTE).outcome == Outcome.UNKNOWN


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_sheet_still_fits_and_says_what_it_left_out(groups: Sandbox, kind: str) -> None:
    long = Note("每日消耗", tuple(f"**账户{n}** · 余额 ¥{n:,}" for n in range(2000)))
    short = robots.fitted(long, robots.ROBOTS[kind].longest, spend_note.more)
    assert 20 < len(short.lines) < 2000
    assert f"{2000 - len(short.lines) + 1} more lines" in short.lines[-1]
    assert robots.send(kind, *place(groups, kind), short).outcome == Outcome.ACCEPTED


# Once a day -----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_sheet_goes_out_at_its_hour_and_once(groups: Sandbox) -> None:
    before = len(taken(groups, "dingtalk"))
    make(groups)
    assert pushing.push_due(DUE - timedelta(minutes=1)) == 0
    assert [pushing.push_due(DUE + timedelta(minutes=n)) for n in range(3)] == [1, 0, 0]
    assert pushing.push_due(DUE + timedelta(hours=24)) == 1
    assert len(taken(groups, "dingtalk", before)) == 2
    assert list(SpendPush.objects.order_by("day").values_list("state", flat=True)) == ["sent", "sent"]


@pytest.mark.django_db(transaction=True)
def test_a_missed_run_is_made_up_for_the_same_day_and_not_on_the_next(groups: Sandbox) -> None:
    before = len(taken(groups, "feishu"))
    make(groups, "feishu")
    assert pushing.push_due(DUE + timedelta(hours=13)) == 1  # 22:30
    assert pushing.push_due(DUE + timedelta(hours=23, minutes=59)) == 0  # the next day, before its hour
    assert len(taken(groups, "feishu", before)) == 1


@pytest.mark.django_db(transaction=True)
def test_four_workers_at_once_send_it_once(groups: Sandbox) -> None:
    before = len(taken(groups, "wecom"))
    make(groups, "wecom")
    groups.faults("wecom_robot", seconds=0.05)
    begin, done = threading.Barrier(4), []

    def work() -> None:
        try:
            begin.wait()
            done.append(pushing.push_due(DUE))
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    groups.faults("wecom_robot", seconds=0.0)
    assert sorted(done) == [0, 0, 0, 1]
    assert len(taken(groups, "wecom", before)) == 1


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_killed_after_its_claim_leaves_an_unknown_and_nobody_sends_again(
    groups: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(taken(groups, "dingtalk"))
    make(groups)

    class Killed(BaseException):
        pass

    def killed(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(pushing, "_deliver", killed)
        with pytest.raises(Killed):
            pushing.push_due(DUE)
    assert SpendPush.objects.get().state == "sending"
    assert pushing.push_due(DUE + timedelta(minutes=1)) == 0
    assert pushing.push_due(DUE + timedelta(minutes=10)) == 0
    assert SpendPush.objects.get().state == "unknown"
    assert len(taken(groups, "dingtalk", before)) == 0
    assert [one.push.state for one in pushing.troubles()] == ["unknown"]


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_was_lost_is_unknown_and_not_sent_again(groups: Sandbox) -> None:
    before = len(taken(groups, "wecom"))
    make(groups, "wecom")
    groups.faults("wecom_robot", next=["drop"])
    assert [pushing.push_due(DUE + timedelta(minutes=5 * n)) for n in range(4)] == [1, 0, 0, 0]
    assert SpendPush.objects.get().state == "unknown"
    assert len(taken(groups, "wecom", before)) == 1


@pytest.mark.django_db(transaction=True)
def test_a_robot_that_says_slower_is_left_alone_as_long_as_its_vendor_wants(groups: Sandbox) -> None:
    before = len(taken(groups, "dingtalk"))
    make(groups)
    groups.faults("dingtalk_robot", next=["throttle"])
    assert pushing.push_due(DUE) == 1
    push = SpendPush.objects.get()
    assert (push.state, push.code) == ("waiting", "130101")
    assert push.again_at is not None
    assert push.again_at >= DUE + timedelta(minutes=10)
    assert pushing.push_due(DUE + timedelta(minutes=9)) == 0
    assert pushing.push_due(push.again_at) == 1
    assert SpendPush.objects.get().state == "sent"
    assert len(taken(groups, "dingtalk", before)) == 1


@pytest.mark.django_db(transaction=True)
def test_a_refusal_waits_for_somebody_and_goes_out_once_it_is_mended(groups: Sandbox) -> None:
    destination = make(groups)
    good = dict(destination.credentials)
    destination.credentials = good | {"secret": "wrong"}
    destination.save()
    assert pushing.push_due(DUE) == 1
    assert pushing.push_due(DUE + timedelta(hours=1)) == 0
    (trouble,) = pushing.troubles()
    assert (trouble.push.state, trouble.push.code) == ("failed", "310000")
    destination.credentials = good
    pushing.save(destination, DUE + timedelta(hours=2))
    assert pushing.push_due(DUE + timedelta(hours=2)) == 1
    assert pushing.troubles() == []


@pytest.mark.django_db(transaction=True)
def test_what_still_waits_at_the_end_of_the_day_has_failed(groups: Sandbox) -> None:
    make(groups)
    groups.faults("dingtalk_robot", throttle=1.0)
    late = DUE + timedelta(hours=14, minutes=25)  # 23:55: ten minutes later it is tomorrow
    pushing.push_due(late)
    assert SpendPush.objects.get().state == "failed"


@pytest.mark.django_db(transaction=True)
def test_the_button_sends_beside_the_days_push_and_keeps_to_the_robots_limit(groups: Sandbox) -> None:
    before = len(taken(groups, "wecom"))
    destination = make(groups, "wecom")
    groups.change({"vendors": {"wecom_robot": {"per_minute": 1000}}})
    assert pushing.send_now(destination, DUE).state == "sent"
    assert pushing.push_due(DUE) == 1
    assert len(taken(groups, "wecom", before)) == 2
    for _n in range(18):
        SpendPush.objects.create(destination=destination, day=TODAY, test=True, state="sent", started_at=DUE)
    with pytest.raises(pushing.TooOften):
        pushing.send_now(destination, DUE + timedelta(seconds=30))
    assert pushing.send_now(destination, DUE + timedelta(seconds=61)).state == "sent"
    groups.change({"vendors": {"wecom_robot": {"per_minute": 20}}})


@pytest.mark.django_db
def test_a_new_destination_begins_today_only_if_its_hour_is_still_to_come(groups: Sandbox) -> None:
    early = pushing.save(PushDestination(name="a", kind="email"), DUE - timedelta(hours=1))
    late = pushing.save(PushDestination(name="b", kind="email"), DUE + timedelta(hours=1))
    assert (early.first_day, late.first_day) == (TODAY, TODAY + timedelta(days=1))


# By email -------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_letter_goes_to_each_mailbox_by_a_connected_email_channel(groups: Sandbox) -> None:
    settings = {
        "host": "127.0.0.1",
        "port": groups.ports["smtp"],
        "tls": "none",
        "from_address": "a@shop.example",
    }
    channel = make_channel("email", "email", settings=settings)
    PushDestination.objects.create(
        name="letters", kind="email", channel=channel, recipients="one@shop.example\ntwo@shop.example",
        first_day=TODAY, language="en",
    )  # fmt: skip
    before = len(groups.log_lines("smtp", "message"))
    assert [pushing.push_due(DUE + timedelta(minutes=n)) for n in range(2)] == [1, 0]
    lines = groups.log_lines("smtp", "message")[before:]
    assert sorted(line["address"] for line in lines) == ["one@shop.example", "two@shop.example"]
    assert SpendPush.objects.get().state == "sent"


@pytest.mark.django_db(transaction=True)
def test_a_letter_without_a_channel_fails_and_says_so(groups: Sandbox) -> None:
    PushDestination.objects.create(name="l", kind="email", recipients="a@b.example", first_day=TODAY)
    pushing.push_due(DUE)
    push = SpendPush.objects.get()
    assert (push.state, push.code) == ("failed", "channel")


# What it says ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_note_names_balance_top_up_cash_and_bonus_consumption_in_both_languages() -> None:
    from django.utils import translation

    channel = make_channel(medium="search", name="Search *A*", price_model="cpc")
    day = date(2026, 11, 22)
    for n, (kind, amount) in enumerate(
        (("opening", 1000), ("top_up", 500), ("cash_consumption", 200), ("bonus_consumption", 50))
    ):
        WalletEntry.objects.create(
            channel=channel, day=day, kind=kind, amount=amount, source="file x", source_key=str(n)
        )
    with translation.override("en"):
        note = spend_note.note(spend_sheet.sheet(day), "spend-bot")
    assert note.title == "Daily spend of 2026-11-22 · spend-bot"
    words = "\n".join(note.lines)
    for part in (
        "balance ¥1,250.00",
        "top-up ¥500.00",
        "cash consumption ¥200.00",
        "bonus consumption ¥50.00",
    ):
        assert part in words
    assert "Search  A " in words
    with translation.override("zh-hans"):
        words = "\n".join(spend_note.note(spend_sheet.sheet(day)).lines)
    assert "余额 ¥1,250.00" in words


def test_an_address_of_another_robot_is_refused_with_what_is_missing() -> None:
    for kind, address in (
        ("wecom", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send"),
        ("dingtalk", "https://oapi.dingtalk.com/robot/send?key=1"),
        ("feishu", "https://open.feishu.cn/x"),
        ("feishu", "open.feishu.cn/hook/1"),
    ):
        with pytest.raises(ValidationError):
            pushing.checked_address(kind, address)


@pytest.mark.django_db
def test_a_robots_address_and_secret_are_unreadable_in_the_database(groups: Sandbox) -> None:
    destination = make(groups)
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials FROM channels_pushdestination")
        (stored,) = cursor.fetchone()
        cursor.execute("SELECT to_jsonb(e)::text FROM channels_pushdestinationevent e")
        events = json.dumps(cursor.fetchall())
    for secret in (destination.credentials["secret"], "sandbox-dingtalk-token"):
        assert secret not in stored + events + repr(destination)


def test_the_far_sides_know_nothing_of_our_robots() -> None:
    folder = Path(robots.__file__).parent / "sandbox"
    for path in (folder / "robot_group.py", *(folder / "vendors").glob("*_robot.py")):
        assert "robots import" not in path.read_text()
        assert "import robots" not in path.read_text()
