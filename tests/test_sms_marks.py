"""Attempt ids in the one reference field of a call for many numbers."""

from hypothesis import given
from hypothesis import strategies as st

from channels.adapters import _sms_marks as marks
from channels.adapters.base import Account, Outgoing

OWN = marks.tag(Account(7, "main", "sms", {}, {}, "https://evenreach.example/in/7/secret/"))
batches = st.lists(
    st.tuples(st.integers(0, 10**9), st.integers(0, 3000)),
    min_size=1,
    max_size=200,
    unique_by=lambda pair: pair[1],
)


def phone(n: int) -> str:
    return f"+86138{n % 10**8:08d}" if n % 7 else f"+1415555{n % 10**4:04d}"


@given(batches, st.integers(1, 2**62), st.sampled_from([255, 511]))
def test_every_number_finds_its_attempt_in_the_mark_of_its_call(
    pairs: list[tuple[int, int]], first: int, longest: int
) -> None:
    batch = [Outgoing(first + distance, phone(n)) for n, distance in pairs]
    calls = list(marks.fitting(batch, marks.most(longest)))
    sent = [message for call in calls for message in call]
    assert sorted(message.attempt_id for message in sent) == sorted(message.attempt_id for message in batch)
    for call in calls:
        mark = marks.mark(OWN, call)
        assert len(mark) <= longest
        assert mark.isascii()
        for message in call:
            for written in (
                message.address,
                message.address.removeprefix("+"),
                message.address.removeprefix("+86"),
            ):
                assert marks.attempt_of(OWN, mark, written) == message.attempt_id


def test_a_number_comes_once_in_a_call() -> None:
    batch = [Outgoing(n, "+8613800138000") for n in range(1, 4)]
    assert [len(call) for call in marks.fitting(batch, 60)] == [1, 1, 1]


def test_calls_are_few() -> None:
    batch = [Outgoing(5_000_000 + n, f"+86138{n * 7919 % 10**8:08d}") for n in range(600)]
    assert len(list(marks.fitting(batch, 60))) <= 15


@given(st.text(max_size=40))
def test_what_other_systems_write_names_no_attempt(text: str) -> None:
    assert marks.attempt_of(OWN, text, "+8613800138000") is None
    assert marks.attempt_of(OWN, f"{OWN}.{text}", "+8613800138000") in {None} or text.count(".")


def test_another_channel_or_installation_has_marks_of_its_own() -> None:
    message = Outgoing(1, "+8613800138000")
    for account in (
        Account(8, "main", "sms", {}, {}, "https://evenreach.example/in/7/secret/"),
        Account(7, "main", "sms", {}, {}, "https://other.example/in/7/secret/"),
    ):
        assert marks.attempt_of(OWN, marks.mark(marks.tag(account), [message]), message.address) is None
