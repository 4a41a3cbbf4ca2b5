"""The tables of faults, and how a wrong function gets into them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from nolr.estimation import LikelihoodRatio
from nolr.testing import check_unbiased


class Setting(NamedTuple):
    """What a check is done with."""

    family: str
    estimator: LikelihoodRatio
    check: Callable = check_unbiased
    """The public check of nolr.testing."""
    rows: int = 2048
    """Of one draw of a certificate."""
    state: Callable | None = None
    """(estimator, network, params, loss) -> the estimator's state; None lets it learn one."""


class Fault(NamedTuple):
    """A wrong function, where it is planted, and the setting in which it must be seen."""

    wrong: Callable
    """Called as the right one is, but with the right one as its first argument."""
    owner: Any
    """The class or module that holds the right one."""
    attribute: str
    setting: Setting

    @property
    def name(self) -> str:
        return self.wrong.__name__.replace("_", " ")


FAULTS: list[Fault] = []
UNSEEN: list[Fault] = []


def planted(owner: Any, attribute: str, *setting: Any, **more: Any) -> Callable:
    """Enter a wrong function into the table."""

    def enter(wrong: Callable) -> Callable:
        FAULTS.append(Fault(wrong, owner, attribute, Setting(*setting, **more)))
        return wrong

    return enter


def unseen(owner: Any, attribute: str, *setting: Any) -> Callable:
    """The same for what costs variance alone."""

    def enter(wrong: Callable) -> Callable:
        UNSEEN.append(Fault(wrong, owner, attribute, Setting(*setting)))
        return wrong

    return enter
