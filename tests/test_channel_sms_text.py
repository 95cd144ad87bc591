"""Counting and cutting text messages, held against an independent implementation."""

import smsutil
from hypothesis import example, given
from hypothesis import strategies as st

from channels.sms_text import (
    BASIC,
    EXTENDED,
    Counting,
    Encoding,
    cut,
    decode_gsm7,
    decode_ucs2,
    encode_gsm7,
    encode_ucs2,
    gsm7_units,
    is_gsm7,
    ucs2_units,
)

GSM = "".join(character for character in BASIC if character != "\x1b") + "".join(EXTENDED)
gsm_texts = st.text(alphabet=GSM, min_size=1, max_size=700)
any_texts = st.text(
    alphabet=st.one_of(st.sampled_from("中文促销券😀é€a1"), st.characters(exclude_categories=["Cs"])),
    min_size=1,
    max_size=400,
)


@given(gsm_texts)
@example("{" * 80)
@example("a" * 152 + "{" + "b" * 20)
@example("a" * 160)
@example("`")
def test_a_gsm_text_is_cut_as_the_oracle_cuts_it(text: str) -> None:
    ours, theirs = cut(text), smsutil.split(text)
    if not is_gsm7(text):
        assert theirs.encoding == "utf_16_be"
        return
    assert ours.encoding == Encoding.GSM7
    assert list(ours.parts) == [part.content for part in theirs.parts]
    assert ours.units == theirs.total_bytes


@given(any_texts)
@example("😀" * 35)
@example("😀" * 36)
@example("中" * 66 + "😀😀")
def test_any_other_text_is_cut_as_the_oracle_cuts_it(text: str) -> None:
    if "\x1b" in text:
        return  # the oracle takes the escape sign itself for a character
    ours, theirs = cut(text), smsutil.split(text)
    assert (ours.encoding == Encoding.GSM7) == (theirs.encoding == "gsm0338")
    assert list(ours.parts) == [part.content for part in theirs.parts]


@given(gsm_texts)
def test_septets_are_those_of_the_oracle_and_read_back(text: str) -> None:
    assert encode_gsm7(text) == text.encode("gsm0338")
    assert decode_gsm7(encode_gsm7(text)) == text
    assert gsm7_units(text) == len(encode_gsm7(text))


@given(any_texts)
def test_no_part_splits_a_character_and_together_they_are_the_text(text: str) -> None:
    for counting in Counting:
        done = cut(text, counting)
        assert "".join(done.parts) == text
        for part in done.parts:
            assert decode_ucs2(encode_ucs2(part)) == part
            if done.encoding == Encoding.UCS2:
                assert ucs2_units(part) <= (70 if len(done.parts) == 1 else 67)


def test_mainland_counts_plain_english_by_the_character() -> None:
    assert len(cut("a" * 70, Counting.MAINLAND).parts) == 1
    assert [len(part) for part in cut("a" * 71, Counting.MAINLAND).parts] == [67, 4]
    assert len(cut("a" * 160).parts) == 1


def test_an_empty_text_is_one_empty_part() -> None:
    assert cut("").parts == ("",)
