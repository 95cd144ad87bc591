"""What every adapter must keep to. A test of an adapter inherits the classes that fit its verbs:

    class TestEmail(AdapterContract, SenderContract):
        name = "email"

and gives the fixtures they ask for.
"""

import logging
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.utils.encoding import force_str

from audiences.vocabulary import IdentityKind, Medium
from channels.accounts import clean_values, defaults
from channels.adapters import adapter_class, all_adapters
from channels.adapters.base import Account, AdapterError, BaseAdapter, Outcome, Outgoing, Sent
from channels.vocabulary import Domain, Guarantee, Observability, PriceModel

DOCS = Path(__file__).resolve().parent.parent / "docs" / "adapters"
KINDS = {"text", "textarea", "password", "number", "url", "choice", "boolean"}
SECRET = "s3cret-that-must-not-be-seen"  # noqa: S105
ADDRESSES = {
    IdentityKind.EMAIL: "customer{n}@example.com",
    IdentityKind.PHONE: "+8613800{n:06d}",
    IdentityKind.WECOM_EXTERNAL_ID: "wmExternal{n:06d}",
    IdentityKind.OPENID: "oOpenid{n:06d}",
}


class AdapterContract:
    """What a class declares."""

    name: ClassVar[str]

    @property
    def cls(self) -> type[BaseAdapter]:
        return adapter_class(self.name)

    def test_it_is_found_by_its_file(self) -> None:
        assert all_adapters()[self.name].__module__ == f"channels.adapters.{self.name}"

    def test_it_declares_what_it_is(self) -> None:
        cls = self.cls
        assert force_str(cls.label)
        assert cls.media
        assert set(cls.media) <= set(Medium.values)
        assert set(cls.address_kinds) <= set(IdentityKind.values)
        assert cls.price_model in PriceModel.values
        assert cls.batch_size >= 1
        for medium in cls.media:
            domain, guarantee, observability = cls.traits(medium)
            assert domain in Domain.values
            assert guarantee in Guarantee.values
            assert observability in Observability.values
            # Totals only: nobody is observed. Person by person: somebody must be addressed.
            assert (guarantee == Guarantee.AGGREGATE) == (observability != Observability.PERSON_OBSERVED)

    def test_it_has_the_verbs_its_guarantee_needs(self) -> None:
        verbs = self.cls.verbs()
        assert verbs <= set(BaseAdapter.VERBS)
        assert "check" in verbs
        if self.cls.guarantee == Guarantee.AGGREGATE:
            assert verbs & {"sync_audience", "fetch_report"}
        else:
            assert "send" in verbs
        if self.cls.guarantee == Guarantee.CONFIRMED_LATER and self.name != "manual":
            assert verbs & {"poll", "status", "parse_inbound"}, (
                "nobody would ever learn what became of a held task"
            )

    def test_each_setting_can_be_asked_for(self) -> None:
        seen = set()
        for setting in self.cls.settings:
            assert setting.name.isidentifier()
            assert setting.name not in seen
            seen.add(setting.name)
            assert force_str(setting.label)
            assert setting.kind in KINDS
            assert setting.secret or setting.kind != "password", (
                f"{setting.name} looks secret and is not kept so"
            )
            if setting.kind == "choice":
                assert setting.default in dict(setting.choices)
            assert not (setting.secret and setting.default)

    def test_its_form_renders_and_never_shows_a_secret(self) -> None:
        from channels.forms import AdapterSettingsForm

        kept = {setting.name: SECRET for setting in self.cls.settings if setting.secret}
        form = AdapterSettingsForm(self.cls, settings={}, credentials=kept)
        page = str(form)
        for setting in self.cls.settings:
            assert f'name="adapter-{setting.name}"' in page
        assert SECRET not in page

    def test_defaults_pass_its_own_check_where_nothing_else_is_needed(self) -> None:
        needed = {setting.name for setting in self.cls.settings if setting.required and setting.default == ""}
        if not needed:
            clean_values(self.cls, defaults(self.cls))

    def test_it_is_documented(self) -> None:
        page = DOCS / f"{self.name}.md"
        assert page.exists(), f"write docs/adapters/{self.name}.md"
        text = page.read_text()
        missing = [setting.name for setting in self.cls.settings if f"`{setting.name}`" not in text]
        assert not missing, f"{page.name} does not tell of {missing}"
        assert f"{self.name}.md" in (DOCS / "README.md").read_text()

    def test_an_account_does_not_print_its_secrets(self) -> None:
        account = Account(1, "main", self.cls.media[0], {}, {"password": SECRET}, f"https://x/in/1/{SECRET}/")
        assert SECRET not in repr(account)
        assert SECRET not in str(account)


class SenderContract:
    """What ``send`` does. Fixtures: ``adapter`` (a far side that takes everything), ``unreachable`` (nobody
    listens), ``dropping`` (the far side takes the messages and breaks off before it answers)."""

    name: ClassVar[str]

    @pytest.fixture
    def adapter(self) -> BaseAdapter:
        raise NotImplementedError

    @pytest.fixture
    def unreachable(self) -> BaseAdapter:
        raise NotImplementedError

    @pytest.fixture
    def dropping(self) -> BaseAdapter:
        raise NotImplementedError

    def outgoing(self, attempt_id: int, **fields: Any) -> Outgoing:
        kinds = adapter_class(self.name).address_kinds
        address = ADDRESSES[IdentityKind(kinds[0])].format(n=attempt_id) if kinds else f"person-{attempt_id}"
        fields = {"subject": "双十一", "text": f"Hello 你好 {attempt_id}"} | fields
        return Outgoing(attempt_id, address, **fields)

    def batch(self, n: int) -> list[Outgoing]:
        return [self.outgoing(1000 + k) for k in range(n)]

    @staticmethod
    def assert_one_each(batch: Sequence[Outgoing], results: Sequence[Sent]) -> None:
        assert sorted(sent.attempt_id for sent in results) == [message.attempt_id for message in batch]

    def test_each_result_matches_exactly_one_message(self, adapter: BaseAdapter) -> None:
        batch = self.batch(min(7, adapter.batch_size))
        results = adapter.send(batch)
        self.assert_one_each(batch, results)
        assert {sent.outcome for sent in results} <= {Outcome.ACCEPTED, Outcome.HELD}
        assert all(sent.reference for sent in results)
        held = adapter.traits(adapter.account.medium)[1] == Guarantee.CONFIRMED_LATER
        assert all((sent.outcome == Outcome.HELD) == held for sent in results)

    def test_a_whole_batch_goes_and_an_empty_one_does_nothing(self, adapter: BaseAdapter) -> None:
        assert list(adapter.send([])) == []
        batch = self.batch(adapter.batch_size)
        self.assert_one_each(batch, adapter.send(batch))

    def test_it_can_be_closed_and_used_again(self, adapter: BaseAdapter) -> None:
        adapter.close()
        assert len(adapter.send(self.batch(1))) == 1
        adapter.close()
        adapter.close()

    def test_the_connection_can_be_tested(self, adapter: BaseAdapter) -> None:
        checked = adapter.check()
        assert checked.ok, checked.text
        assert force_str(checked.text)


class NetworkContract:
    """Besides :class:`SenderContract`, for an adapter with a far side that may fail."""

    def test_nobody_listening_is_known_not_to_have_arrived(self, unreachable: BaseAdapter) -> None:
        batch = self.batch(3)  # type: ignore[attr-defined]
        try:
            results = unreachable.send(batch)
        except AdapterError as error:
            known = error.retryable or error.stops_channel
        else:
            SenderContract.assert_one_each(batch, results)
            known = {sent.outcome for sent in results} == {Outcome.THROTTLED}
        assert known
        assert not unreachable.check().ok

    def test_a_connection_lost_after_handing_over_is_unknown_and_no_exception(
        self, dropping: BaseAdapter
    ) -> None:
        batch = self.batch(3)  # type: ignore[attr-defined]
        results = dropping.send(batch)
        SenderContract.assert_one_each(batch, results)
        outcomes = {sent.outcome for sent in results}
        assert Outcome.UNKNOWN in outcomes
        assert Outcome.ACCEPTED not in outcomes

    def test_secrets_are_in_no_log_and_no_error(
        self, unreachable: BaseAdapter, dropping: BaseAdapter, caplog: pytest.LogCaptureFixture
    ) -> None:
        told = []
        with caplog.at_level(logging.DEBUG):
            for adapter in (unreachable, dropping):
                secrets = [
                    str(value) for value in adapter.account.credentials.values() if len(str(value)) > 5
                ]
                try:
                    told += [str(sent) for sent in adapter.send(self.batch(2))]  # type: ignore[attr-defined]
                except AdapterError as error:
                    told += [str(error), repr(error)]
                told += [str(adapter.check()), repr(adapter), repr(adapter.account)]
                for secret in secrets:
                    assert secret not in caplog.text
                    assert not any(secret in text for text in told)


class BalanceContract:
    """What ``fetch_balance`` does. Fixtures: ``rich`` (an adapter whose far side has something left), ``barred`` (one
    with a wrong secret)."""

    @pytest.fixture
    def rich(self) -> BaseAdapter:
        raise NotImplementedError

    @pytest.fixture
    def barred(self) -> BaseAdapter:
        raise NotImplementedError

    def test_what_is_left_is_told_in_a_currency_or_by_package(self, rich: BaseAdapter) -> None:
        told = rich.fetch_balance()
        assert told
        for one in told:
            assert isinstance(one.left, Decimal)
            assert one.unit == "messages" or (len(one.unit) == 3 and one.unit.isupper())
            assert bool(one.package) == (one.unit == "messages")
        assert rich.fetch_balance() == told, "asking changes nothing"
        rich.close()

    def test_a_wrong_secret_is_an_error_and_no_balance(self, barred: BaseAdapter) -> None:
        with pytest.raises(AdapterError):
            barred.fetch_balance()
        barred.close()
