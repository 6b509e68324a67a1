"""What of a sentence was heard when only some of its sound was."""

from __future__ import annotations

from hypothesis import given, strategies as st

from agent.call.transcript import heard_words

PARK = "You can park right behind the building. There are twenty places."


def test_a_sentence_that_was_heard_whole_is_no_estimate() -> None:
    assert heard_words(PARK, 100, 100) == (PARK, False)
    assert heard_words(PARK, 120, 100) == (PARK, False)


def test_nothing_heard_is_no_estimate_either() -> None:
    assert heard_words(PARK, 0, 100) == ("", False)
    assert heard_words("", 50, 100) == ("", False)


def test_words_are_counted_by_their_letters_and_never_cut() -> None:
    assert heard_words(PARK, 50, 100) == ("You can park right behind the", True)
    assert heard_words("no no no no", 60, 100) == ("no no", True)


@given(st.text(alphabet="ab c", max_size=60), st.integers(0, 1000), st.integers(1, 1000))
def test_what_is_heard_is_the_beginning_and_grows(text: str, heard: int, total: int) -> None:
    words = heard_words(text, heard, total)[0].split()
    assert text.split()[: len(words)] == words
    more = heard_words(text, heard + 1, total)[0].split()
    assert len(more) >= len(words)
