"""Settings at the command line: --set KEY=VALUE."""

from __future__ import annotations

from typing import Any

from nolr.errors import BadInput

__all__ = ["assignments"]


def assignments(texts: tuple[str, ...]) -> dict[str, Any]:
    """Read --set KEY=VALUE options."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise BadInput(
                f"--set expected KEY=VALUE, got {text!r}: for example --set batch_size=64"
            )
        pairs[key.strip().replace("-", "_")] = value.strip()
    return pairs
