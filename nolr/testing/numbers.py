"""Whole numbers among arguments: one sentence for those that are none, or too small."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from nolr.errors import BadInput

__all__ = ["check_whole"]


def check_whole(name: str, value: Any, least: int, fix: str) -> None:
    """Raise BadInput unless an argument is a whole number that is large enough.

    Args:
        fix: what to do about it, at the end of the sentence.
    """
    if not isinstance(value, Integral):
        raise BadInput(f"{name} must be a whole number of at least {least}, got {value!r}: {fix}")
    if int(value) < least:
        raise BadInput(f"{name} must be at least {least}, got {value}: {fix}")
