"""Texts, the words in them, and a number for every word.

A word is a run of letters and digits, in lower case; everything else separates words:

    The U.S. won 3-1, didn't it?   ->   the u s won 3 1 didn t it
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from nolr.errors import BadInput

__all__ = ["PADDING", "UNKNOWN", "Texts", "Vocabulary", "tokenise"]

PADDING, UNKNOWN = 0, 1  # the numbers that stand for no word, and for one that is not known
WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Texts:
    """Texts and their labels (N,), int64, 0 or more.

    Raises:
        BadInput: no texts, something that is not text, or labels that do not fit.
    """

    texts: tuple[str, ...]
    labels: np.ndarray

    def __post_init__(self) -> None:
        if not isinstance(self.texts, tuple) or not self.texts:
            raise BadInput(f"the texts must be a tuple of at least one, got {_brief(self.texts)}")
        _check_texts(self.texts)
        if not isinstance(self.labels, np.ndarray) or self.labels.dtype != np.int64:
            raise BadInput(f"the labels must be a NumPy array of int64, got {_brief(self.labels)}")
        if self.labels.shape != (len(self.texts),) or self.labels.min() < 0:
            raise BadInput(
                f"there are {len(self.texts)} texts: expected labels ({len(self.texts)},) of 0 or "
                f"more, got {self.labels.shape}, the least {self.labels.min(initial=0)}"
            )

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, indices: np.ndarray) -> Texts:
        """The given samples."""
        return Texts(tuple(self.texts[index] for index in indices), self.labels[indices])


def tokenise(text: str) -> list[str]:
    """The words of a text, in order.

    >>> tokenise("The U.S. won 3-1, didn't it?")
    ['the', 'u', 's', 'won', '3', '1', 'didn', 't', 'it']
    """
    return WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """The words that are known, most frequent first: words[k] has the number k + 2.

    >>> vocabulary = Vocabulary.build(["a rose is a rose", "is it"])
    >>> vocabulary.words
    ('a', 'is', 'rose', 'it')
    >>> vocabulary.encode(["a rose is red"], length=6)
    array([[0, 0, 2, 4, 3, 1]])

    Raises:
        BadInput: a word is there twice, or is no word.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        for word in self.words:
            if tokenise(word) != [word]:
                raise BadInput(f"a vocabulary holds single words in lower case, got {word!r}")
        if len(self._numbers) < len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise BadInput(f"the vocabulary has {twice!r} twice: every word has one number")

    @classmethod
    def build(cls, texts: Iterable[str], size: int | None = None, min_count: int = 1) -> Vocabulary:
        """The words of some texts, most frequent first, equally frequent ones by the alphabet.

        Args:
            texts: those to learn from. With the texts to test on among them, a network would know
                words that it cannot have learned, and results on new texts would be worse.
            size: how many numbers there may be, with those of padding and of unknown words: the
                rows of an embedding. None for as many as there are words.
            min_count: how often a word must occur.

        Raises:
            BadInput: not texts, a size below 2, or a count below 1.
        """
        if size is not None and size < 2:
            raise BadInput(f"size must be at least 2, for padding and unknown words, got {size}")
        if min_count < 1:
            raise BadInput(f"min_count must be at least 1, got {min_count}")
        counts = Counter(word for text in _check_texts(texts) for word in tokenise(text))
        known = sorted(
            (word for word, count in counts.items() if count >= min_count),
            key=lambda word: (-counts[word], word),
        )
        return cls(tuple(known if size is None else known[: size - 2]))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=2)}

    def __len__(self) -> int:
        """How many numbers there are, with those of padding and of unknown words."""
        return len(self.words) + 2

    def encode(
        self, texts: Iterable[str], length: int, padding: Literal["front", "end"] = "front"
    ) -> np.ndarray:
        """The numbers of the first words of every text, (N, length), int64.

        Args:
            length: in words. What is longer is cut off at its end.
            padding: where 0 is put into what is shorter. In front, so that the last step of a
                recurrent network sees a word; only a text without any word is all padding.

        Raises:
            BadInput: not texts, or a length below 1.
        """
        if length < 1:
            raise BadInput(f"length must be at least 1, got {length}")
        if padding not in ("front", "end"):
            raise BadInput(f"padding must be 'front' or 'end', got {padding!r}")
        rows = [
            [self._numbers.get(word, UNKNOWN) for word in tokenise(text)[:length]]
            for text in _check_texts(texts)
        ]
        encoded = np.full((len(rows), length), PADDING, np.int64)
        for row, numbers in zip(encoded, rows, strict=True):
            start = length - len(numbers) if padding == "front" else 0
            row[start : start + len(numbers)] = numbers
        return encoded

    def decode(self, numbers: np.ndarray) -> str:
        """The words of one row of `encode`, with ? for unknown ones and without padding.

        Raises:
            BadInput: a number that no word has.
        """
        wrong = [number for number in numbers if not 0 <= number < len(self)]
        if wrong:
            raise BadInput(f"words have numbers from 0 to {len(self) - 1}, got {wrong[0]}")
        known = ["", "?", *self.words]
        return " ".join(known[number] for number in numbers if number != PADDING)


def _check_texts(texts: Iterable[str]) -> Sequence[str]:
    """The texts, all of them.

    Raises:
        BadInput: it is one text, or something in it is not text.
    """
    if isinstance(texts, str):
        raise BadInput("expected several texts, got a single one: put it into a list")
    texts = tuple(texts)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise BadInput(f"expected texts, got {_brief(text)} as number {number} of them")
    return texts


def _brief(thing: object) -> str:
    if isinstance(thing, np.ndarray):
        return f"an array of {thing.dtype}"
    return "an empty tuple" if thing == () else type(thing).__name__
