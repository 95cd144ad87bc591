"""The folder of adapters as a whole, and the contract kept by the manual twin."""

from typing import ClassVar

import pytest
from django.core.exceptions import ValidationError

from audiences.vocabulary import Medium
from channels import adapters
from channels.accounts import account_of, adapter_for, clean_values, release_adapters, save_channel
from channels.adapters import adapter_choices, adapter_class, all_adapters
from channels.adapters.base import Account, BaseAdapter, Outcome, Setting
from channels.models import Channel
from channels.vocabulary import Domain, Guarantee, Observability
from tests.adapter_contract import DOCS, SECRET, AdapterContract, SenderContract
from tests.channel_rows import make_channel


class TestManual(AdapterContract, SenderContract):
    name = "manual"

    @pytest.fixture
    def adapter(self) -> BaseAdapter:
        return adapter_class("manual")(Account(1, "main", "sms", {}, {}))

    def test_a_held_message_is_known_by_its_attempt(self, adapter: BaseAdapter) -> None:
        (sent,) = adapter.send(self.batch(1))
        assert (sent.outcome, sent.reference) == (Outcome.HELD, "manual-1000")


def test_every_medium_has_its_manual_twin_and_it_stands_last() -> None:
    for medium in Medium.values:
        assert adapter_choices(medium)[-1][0] == "manual"


def test_every_adapter_inherits_the_contract_somewhere() -> None:
    """A new adapter without a contract test is noticed here."""
    tests = "\n".join(path.read_text() for path in DOCS.parent.parent.glob("tests/test_*.py"))
    for name, adapter in all_adapters().items():
        if not adapter.__module__.startswith("channels."):
            continue  # a test's own, added to this process
        assert f'name = "{name}"' in tests, f"write a test class for {name} that inherits AdapterContract"


def test_an_unknown_adapter_is_told_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match="email.*manual"):
        adapter_class("pigeon")


class Pigeon(BaseAdapter):
    name = "pigeon"
    label = "Pigeon"
    media = (Medium.OTHER,)
    domain = Domain.PRIVATE
    guarantee = Guarantee.IMMEDIATE
    observability = Observability.PERSON_OBSERVED
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting("loft", "Loft"),
        Setting("birds", "Birds", kind="number", default=3),
        Setting("fed", "Fed", kind="boolean", default=True, required=False),
        Setting("site", "Site", kind="url", required=False),
        Setting(
            "breed",
            "Breed",
            kind="choice",
            choices=(("homing", "Homing"), ("fancy", "Fancy")),
            default="homing",
        ),
        Setting("whistle", "Whistle", kind="password", secret=True),
    )
    closed = 0

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def pigeon(monkeypatch: pytest.MonkeyPatch) -> type[Pigeon]:
    monkeypatch.setattr(adapters, "_added", {"pigeon": Pigeon})
    Pigeon.closed = 0
    return Pigeon


def test_settings_are_checked_field_by_field(pigeon: type[Pigeon]) -> None:
    values = clean_values(pigeon, {"loft": " roof ", "birds": "4", "fed": "off", "whistle": SECRET})
    assert values.settings == {"loft": "roof", "birds": 4, "fed": False, "site": "", "breed": "homing"}
    assert values.credentials == {"whistle": SECRET}
    assert SECRET not in repr(values)
    with pytest.raises(ValidationError) as caught:
        clean_values(pigeon, {"birds": "many", "site": "here", "breed": "wild", "colour": "grey"})
    assert set(caught.value.message_dict) == {"__all__", "loft", "birds", "site", "breed", "whistle"}


def test_a_secret_left_empty_stays_what_it_was(pigeon: type[Pigeon]) -> None:
    values = clean_values(pigeon, {"loft": "roof", "whistle": ""}, kept={"whistle": SECRET})
    assert values.credentials == {"whistle": SECRET}


@pytest.mark.django_db
def test_a_saved_channel_has_what_sql_reads_of_its_adapter() -> None:
    rows = {}
    for medium in ("sms", "search", "kol", "call"):
        channel = make_channel(medium=medium)
        rows[medium] = (channel.domain, channel.guarantee, channel.observability)
        assert len(channel.inbound_secret) >= 32
    assert rows == {
        "sms": ("private", "confirmed_later", "person_observed"),
        "search": ("public", "aggregate", "person_targeted"),
        "kol": ("public", "aggregate", "placement"),
        "call": ("private", "confirmed_later", "person_observed"),
    }


@pytest.mark.django_db
def test_a_channel_whose_adapter_does_not_serve_its_medium_is_refused() -> None:
    for adapter, medium in (("email", "sms"), ("pigeon", "other")):
        with pytest.raises(ValidationError):
            make_channel(adapter, medium)


@pytest.mark.django_db
def test_an_adapter_lives_as_long_as_its_channel_is_not_changed(pigeon: type[Pigeon]) -> None:
    channel = make_channel("pigeon", "other", settings={"loft": "roof"}, credentials={"whistle": SECRET})
    first = adapter_for(channel)
    assert adapter_for(Channel.objects.get(pk=channel.pk)) is first
    assert first.account.settings["birds"] == 3
    assert first.account.credentials == {"whistle": SECRET}
    channel.settings = {"loft": "tower"}
    save_channel(channel)
    second = adapter_for(channel)
    assert (second is first, second.account.settings["loft"], pigeon.closed) == (False, "tower", 1)
    release_adapters()
    assert pigeon.closed == 2


@pytest.mark.django_db
def test_credentials_are_unreadable_in_the_database_and_in_a_printed_account() -> None:
    from django.db import connection

    channel = make_channel("email", "email", credentials={"password": SECRET})
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials FROM channels_channel WHERE id = %s", [channel.pk])
        (stored,) = cursor.fetchone()
    assert SECRET not in stored
    assert Channel.objects.get(pk=channel.pk).credentials == {"password": SECRET}
    assert SECRET not in repr(account_of(channel))
