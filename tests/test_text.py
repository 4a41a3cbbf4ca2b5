"""Texts, words and their numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nolr.data import Texts, Vocabulary, tokenise
from nolr.data.text import PADDING, UNKNOWN
from nolr.errors import BadInput

WORDS = st.lists(st.sampled_from(["a", "b", "rose", "is", "7", "über", "x1", "the"]), max_size=12)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" ... --", []),
        ("A rose is a ROSE.", ["a", "rose", "is", "a", "rose"]),
        ("world's U.S. 1,000 $3.5m", ["world", "s", "u", "s", "1", "000", "3", "5m"]),
        ("snake_case\tÜber naïve\n12b", ["snake", "case", "über", "naïve", "12b"]),
    ],
)
def test_words_are_letters_and_digits_in_lower_case(text, words):
    assert tokenise(text) == words


@given(st.text())
def test_words_of_words_are_themselves(text):
    words = tokenise(text)
    assert tokenise(" ".join(words)) == words


def test_numbers_go_by_frequency_and_then_by_the_alphabet():
    texts = ["c b b", "a c b", "d"]
    vocabulary = Vocabulary.build(texts)
    assert vocabulary.words == ("b", "c", "a", "d")
    assert len(vocabulary) == 6
    assert Vocabulary.build(reversed(texts)).words == vocabulary.words
    assert vocabulary.encode(["a b c d"], 4).tolist() == [[4, 2, 3, 5]]
    assert Vocabulary.build(texts, size=5).words == ("b", "c", "a")
    assert Vocabulary.build(texts, size=100).words == vocabulary.words
    assert Vocabulary.build(texts, size=2).words == ()
    assert Vocabulary.build(texts, min_count=2).words == ("b", "c")
    assert Vocabulary.build(texts, min_count=2, size=3).words == ("b",)


def test_padding_is_in_front_unless_asked_for_at_the_end():
    vocabulary = Vocabulary(("a", "b"))
    texts = ["a b", "b unknown a b a", ""]
    front = vocabulary.encode(texts, 4)
    np.testing.assert_array_equal(front, [[0, 0, 2, 3], [3, 1, 2, 3], [0, 0, 0, 0]], strict=True)
    end = vocabulary.encode(texts, 4, padding="end")
    np.testing.assert_array_equal(end, [[2, 3, 0, 0], [3, 1, 2, 3], [0, 0, 0, 0]], strict=True)
    assert (PADDING, UNKNOWN) == (0, 1)
    assert vocabulary.encode([], 4).shape == (0, 4)


@given(
    st.lists(WORDS, min_size=1, max_size=5), st.integers(1, 14), st.sampled_from(["front", "end"])
)
def test_what_was_encoded_is_decoded(texts, length, padding):
    lines = [" ".join(words) for words in texts]
    vocabulary = Vocabulary.build(lines)
    encoded = vocabulary.encode(lines, length, padding)
    assert encoded.shape == (len(texts), length)
    assert encoded.dtype == np.int64
    for row, words in zip(encoded, texts, strict=True):
        assert vocabulary.decode(row) == " ".join(words[:length])
        shown = row != PADDING
        assert shown.sum() == min(len(words), length)
        assert np.all(np.diff(shown.astype(int)) * (1 if padding == "front" else -1) >= 0)
    assert encoded.max(initial=0) < len(vocabulary)


def test_unknown_words_are_shown_as_such():
    vocabulary = Vocabulary(("a",))
    assert vocabulary.decode(vocabulary.encode(["a dog a"], 5)[0]) == "a ? a"
    for wrong in (3, -1):
        with pytest.raises(BadInput, match=f"from 0 to 2, got {wrong}"):
            vocabulary.decode(np.array([2, wrong]))


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: Vocabulary(("a", "b", "a")), "has 'a' twice"),
        (lambda: Vocabulary(("Rose",)), "single words in lower case, got 'Rose'"),
        (lambda: Vocabulary(("a b",)), "single words in lower case, got 'a b'"),
        (lambda: Vocabulary(("",)), "single words in lower case, got ''"),
        (lambda: Vocabulary.build(["a"], size=1), "size must be at least 2.*got 1"),
        (lambda: Vocabulary.build(["a"], min_count=0), "min_count must be at least 1, got 0"),
        (lambda: Vocabulary.build("a text"), "got a single one: put it into a list"),
        (lambda: Vocabulary.build(["a", 3]), "expected texts, got int as number 1"),
        (lambda: Vocabulary(("a",)).encode("a text", 3), "got a single one: put it into a list"),
        (lambda: Vocabulary(("a",)).encode([b"a"], 3), "expected texts, got bytes as number 0"),
        (lambda: Vocabulary(("a",)).encode(["a"], 0), "length must be at least 1, got 0"),
        (lambda: Vocabulary(("a",)).encode(["a"], 3, "left"), "'front' or 'end', got 'left'"),
    ],
)
def test_what_cannot_be_meant_is_named(act, words):
    with pytest.raises(BadInput, match=words) as caught:
        act()
    assert "\n" not in str(caught.value)


def test_texts_have_labels_and_rows():
    texts = Texts(("a", "b", "c"), np.array([0, 2, 1]))
    assert len(texts) == 3
    part = texts.rows(np.array([2, 0]))
    assert part.texts == ("c", "a")
    assert part.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("texts", "labels", "words"),
    [
        ((), np.zeros(0, np.int64), "tuple of at least one, got an empty tuple"),
        (["a"], np.array([1]), "tuple of at least one, got list"),
        ("a", np.array([1]), "tuple of at least one, got str"),
        (("a", None), np.array([1, 1]), "expected texts, got NoneType as number 1"),
        (("a",), [1], "NumPy array of int64, got list"),
        (("a",), np.array([1.0]), "NumPy array of int64, got an array of float64"),
        (("a",), np.array([1, 2]), r"there are 1 texts: expected labels \(1,\).*got \(2,\)"),
        (("a", "b"), np.array([1, -1]), "of 0 or more, got .* the least -1"),
    ],
)
def test_bad_texts_are_named(texts, labels, words):
    with pytest.raises(BadInput, match=words):
        Texts(texts, labels)
