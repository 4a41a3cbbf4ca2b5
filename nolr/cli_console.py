"""Where the command line prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["open_console"]


def open_console() -> Console:
    """The standard output, as wide as its terminal; imported late, since help needs none of it."""
    from rich.console import Console

    return Console()
