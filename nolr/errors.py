"""Errors a user can act on: one clear sentence saying what, where, expected, got and the fix."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["BadInput", "Diverged", "nearest"]


class BadInput(ValueError):
    """Something the user gave cannot be used; the command line exits with code 2."""


class Diverged(ArithmeticError):
    """Training produced a value that is not finite.

    Attributes:
        step: number of the step (counted from 0) that failed.
        stage: index of the stage where it was noticed first.
    """

    def __init__(self, message: str, step: int, stage: int) -> None:
        super().__init__(message)
        self.step = step
        self.stage = stage


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest choice, else the list of all choices.

    >>> nearest("digits-dens", ["digits-dense", "mnist-conv"])
    "; did you mean 'digits-dense'?"
    >>> nearest("zzz", ["a", "b"])
    '; choose one of: a, b'
    """
    known = sorted(choices)
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; choose one of: {', '.join(known)}"
