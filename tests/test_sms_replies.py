"""What people send back by text message: one way of reading it for SMPP, Aliyun, Tencent and Twilio."""

import datetime as dt
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from twilio.request_validator import RequestValidator

from audiences.models import ContactState, Identity
from audiences.vocabulary import ResponseKind
from campaigns import responses
from campaigns.models import Response
from channels import inbox, reply_rules, sms_replies
from channels.models import Channel, PlatformRule
from channels.sandbox import pdu
from channels.smpp.inbound import Reading, read
from channels.smpp.session import Session
from tests import factories as make

NOW = dt.datetime(2026, 11, 23, 4, tzinfo=dt.UTC)
WORDS = sms_replies.words(sms_replies.DEFAULT_WORDS)


@pytest.mark.parametrize(
    "text",
    [
        "STOP", "stop", " Stop! ", "“STOP”", "StopAll", "unsubscribe.", "CANCEL", "end", "QUIT", "T", "t。", "TD", "td",
        "R", "r", "Ｒ", "ＴＤ", "【R】", "(R)", "R\u200b", "退订", "退订！", "　退订　", "*退订*", "R\r\n",
    ],
)  # fmt: skip
def test_an_opt_out_word_is_known_however_it_is_written(text: str) -> None:
    assert sms_replies.opts_out(text, WORDS)


@pytest.mark.parametrize(
    "text",
    [
        "", "  ", "。", "请问还有货吗", "don't stop", "RT", "Right", "the end", "不要退订", "订", "STOP IT", "1",
        "Tomorrow",
    ],
)  # fmt: skip
def test_other_words_are_replies(text: str) -> None:
    assert not sms_replies.opts_out(text, WORDS)


def test_a_setting_holds_words_by_spaces_or_commas_in_any_form() -> None:
    assert sms_replies.words("stop, 退订、ｔｄ；N") == {"STOP", "退订", "TD", "N"}
    assert sms_replies.words("") == frozenset()
    assert not sms_replies.opts_out("", sms_replies.words(""))


def test_a_reply_without_an_id_is_one_a_day_and_with_one_is_itself() -> None:
    first = sms_replies.reply("13800138000", "R", WORDS, NOW)
    again = sms_replies.reply("+8613800138000", "R", WORDS, NOW + dt.timedelta(hours=1))
    tomorrow = sms_replies.reply("13800138000", "R", WORDS, NOW + dt.timedelta(days=1))
    assert first.dedupe_key == again.dedupe_key != tomorrow.dedupe_key
    one, two = (sms_replies.reply("13800138000", "R", WORDS, NOW, key=key) for key in ("1", "2"))
    assert one.dedupe_key != two.dedupe_key
    assert one.identity_value == "+8613800138000"


# By the dated rules -------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_countrys_word_opts_out_whatever_the_channels_settings_say() -> None:
    channel = make.channel("sms", adapter="smpp", settings={"opt_out_words": "N"})
    told = [
        sms_replies.reply("13800138000", text, sms_replies.words("N"), NOW) for text in ("N", "退订", "hm")
    ]
    judged = reply_rules.judged(channel, told, NOW.date())
    assert [str(event.response) for event in judged] == ["opt_out", "opt_out", "reply"]
    before = [str(event.response) for event in reply_rules.judged(channel, told, dt.date(2000, 1, 1))]
    assert before == ["opt_out", "reply", "reply"], "a rule holds from its day on"


@pytest.mark.django_db
def test_words_that_are_no_text_message_are_left_alone() -> None:
    channel = make.channel("email")
    told = [sms_replies.reply("13800138000", "STOP", (), NOW)]
    assert reply_rules.judged(channel, told, NOW.date()) == told


@pytest.mark.django_db
def test_a_rule_of_ones_own_adds_its_word() -> None:
    channel = make.channel("sms", adapter="smpp", settings={"opt_out_words": ""})
    PlatformRule.objects.create(
        medium="sms",
        channel=channel,
        key="opt_out_words",
        value=["别发了"],
        valid_from=NOW.date(),
        source="test",
    )
    told = [sms_replies.reply("13800138000", "别发了。", (), NOW)]
    inbox.store(channel, told, NOW)
    assert channel.inbox_events.get().response == ResponseKind.OPT_OUT


# From the provider to the person ------------------------------------------------------------------


def by_aliyun(client: Client, channel: Channel, phone: str, text: str) -> None:
    told = {
        "phone_number": phone.removeprefix("+86"), "send_time": "2026-11-20 10:00:00", "content": text,
        "sign_name": "Evenreach", "dest_code": "1069", "sequence_id": f"{phone}{text}",
    }  # fmt: skip
    post(client, channel, json.dumps([told]), "application/json")


def by_tencent(client: Client, channel: Channel, phone: str, text: str) -> None:
    told = {
        "extend": "01", "mobile": phone.removeprefix("+86"), "nationcode": "86", "sign": "Evenreach", "text": text,
        "time": 1_790_000_000,
    }  # fmt: skip
    post(client, channel, json.dumps(told), "application/json")


def by_twilio(client: Client, channel: Channel, phone: str, text: str) -> None:
    fields = {
        "From": phone,
        "To": "+14155550100",
        "Body": text,
        "SmsStatus": "received",
        "MessageSid": f"SM{text}{phone}",
    }
    url = f"{settings.PUBLIC_URL}/in/{channel.pk}/{channel.inbound_secret}/"
    signature = RequestValidator("token").compute_signature(url, fields)
    post(
        client,
        channel,
        urlencode(fields),
        "application/x-www-form-urlencoded",
        HTTP_X_TWILIO_SIGNATURE=signature,
    )


def by_smpp(client: Client, channel: Channel, phone: str, text: str) -> None:
    octets, coding = pdu.octets_of(text)
    made = pdu.Message(
        source=phone.removeprefix("+"), source_ton=1, source_npi=1, destination="1069", body=octets
    )
    made.data_coding = coding
    delivered = Session("127.0.0.1", 1, timeout=1).parse(
        pdu.frame(pdu.DELIVER_SM, 0, 7, pdu.make_message(made))
    )
    event = read(delivered, Reading(opt_out_words=sms_replies.words_of(channel.settings)), timezone.now())
    assert event is not None
    inbox.store(channel, [event], timezone.now())


def post(client: Client, channel: Channel, body: str, kind: str, **headers: Any) -> None:
    answer = client.post(
        f"/in/{channel.pk}/{channel.inbound_secret}/", body.encode(), content_type=kind, **headers
    )
    assert answer.status_code == 200, answer.content


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("adapter", "by"),
    [("smpp", by_smpp), ("aliyun_sms", by_aliyun), ("tencent_sms", by_tencent), ("twilio", by_twilio)],
)
def test_an_opt_out_closes_text_messages_for_its_sender_and_a_reply_closes_nothing(
    client: Client, adapter: str, by: Any
) -> None:
    channel = make.channel(
        "sms", adapter=adapter, settings={"opt_out_words": sms_replies.DEFAULT_WORDS}, credentials={"auth_token": "token"}
    )  # fmt: skip
    texts = ["退订。", "Stop", "R", "有货吗"]
    people = make.customers(len(texts), ("sms", "email"))
    phones = dict(
        Identity.objects.filter(kind="phone", customer_id__in=people).values_list("customer_id", "value")
    )
    for _twice in range(2):  # a provider may tell everything again
        for person, text in zip(people, texts, strict=True):
            by(client, channel, phones[person], text)
    responses.drain()
    told = list(Response.objects.order_by("customer_id").values_list("customer_id", "kind"))
    assert told == list(zip(people, ["opt_out", "opt_out", "opt_out", "reply"], strict=True))
    closed = {
        state.pk: state.blocked for state in ContactState.objects.filter(pk__in=people) if state.blocked
    }
    brand = channel.brand_id
    assert closed == {person: [f"contact:{brand}:sms", f"upload:{brand}:sms"] for person in people[:3]}


@pytest.mark.django_db
def test_a_reply_that_twilio_did_not_sign_is_refused_and_counted(client: Client) -> None:
    channel = make.channel("sms", adapter="twilio", credentials={"auth_token": "token"})
    answer = client.post(
        f"/in/{channel.pk}/{channel.inbound_secret}/",
        {"From": "+14155550199", "Body": "STOP", "MessageSid": "SM1"},
    )
    assert answer.status_code == 403
    assert not channel.inbox_events.exists()
    assert channel.counts.get().name == "bad_signature"
