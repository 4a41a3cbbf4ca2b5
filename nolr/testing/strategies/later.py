"""Notes that are written only if somebody reads them."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Later"]


class Later:
    """A text that is made when it is shown: for `hypothesis.note`, which shows few of many."""

    def __init__(self, write: Callable[[], str]) -> None:
        self.write = write

    def __repr__(self) -> str:
        return self.write()
