"""Settings at the command line: --set KEY=VALUE, and options of their own."""

from __future__ import annotations

from typing import Any

from nolr.errors import BadInput

__all__ = ["check_samples", "gather"]


def gather(more: tuple[str, ...], **options: str | None) -> dict[str, Any]:
    """The settings of a command by name.

    Args:
        more: those of --set.
        options: those with an option of their own; None is not given.

    Raises:
        BadInput: a text that is no assignment, or a setting that is given in both ways.
    """
    settings: dict[str, Any] = {k: value for k, value in options.items() if value is not None}
    for name, value in _assignments(more).items():
        if name in settings:
            raise BadInput(f"{name} is given twice, as --{name.replace('_', '-')} and with --set")
        settings[name] = value
    return settings


def check_samples(asked: int | None, there: int) -> None:
    """Raise BadInput if --samples asks for more than the training data have.

    Where it is not given, a batch of fewer than usual is none that someone has asked for.
    """
    if asked is not None and asked > there:
        raise BadInput(
            f"--samples must be at most {there}, as many as there are to train on, got {asked}"
        )


def _assignments(texts: tuple[str, ...]) -> dict[str, str]:
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
