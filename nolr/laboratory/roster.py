"""The roster: the estimators that are compared, each with one name, colour and marker everywhere.

To compare another one, add a line to ROSTER.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nolr.errors import BadInput, nearest
from nolr.estimation import (
    EvolutionStrategies,
    ForwardGradient,
    JacobianControlVariate,
    Joint,
    LayerWise,
    LikelihoodRatio,
    Neyman,
    RandomTails,
)
from nolr.noise import Laplace
from nolr.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from nolr.sampling import Antithetic, Independent, Orthogonal, Sobol
from nolr.types import Sampler

__all__ = ["ROSTER", "Entry", "choose_entries"]

Make = Callable[[LikelihoodRatio, int], Any]

EXAMPLES = (2, 4, 1)  # a pair, two pairs, a single copy


@dataclass(frozen=True)
class Entry:
    """An estimator by name.

    Args:
        name: in tables and plots.
        colour, marker: in plots; a marker is never used twice.
        make: makes it from a recipe's own estimator and a number of copies.
        says: what it is, in words.
        memory: what it remembers: "none"; "trained", what the recipe's own estimator has learned in
            training; "taught", what it learns in a few lessons of its own; or "many", the same in
            every draw anew, so that what lessons leave to chance shows as variance.
        variant: of plain likelihood ratios, drawn with a thin line and hollow markers.
    """

    name: str
    colour: str
    marker: str
    make: Make
    says: str
    memory: str = "none"
    variant: bool = False

    def build(self, own: LikelihoodRatio, copies: int) -> Any:
        """The estimator with so many copies, or None if it cannot have as many as that."""
        try:
            return self.make(own, copies)
        except BadInput:
            return None

    def example(self, own: LikelihoodRatio) -> Any:
        """The estimator with any number of copies that it can have, or None if there is none."""
        built = (self.build(own, copies) for copies in (own.copies, *EXAMPLES))
        return next((estimator for estimator in built if estimator is not None), None)


def _own(own: LikelihoodRatio, copies: int) -> LikelihoodRatio:
    return replace(own, copies=copies)


def _unbiased(own: LikelihoodRatio, copies: int) -> LikelihoodRatio:
    variate = replace(own.control_variate or JacobianControlVariate(), residual=1.0)
    return replace(own, copies=copies, control_variate=variate)


def _plain(
    own: LikelihoodRatio, copies: int, sampler: type = Antithetic, **changes: Any
) -> LikelihoodRatio:
    plain: dict[str, Any] = {"schedule": LayerWise(), "control_variate": None, "copies": copies}
    return replace(own, sampler=_as_drawn(own, sampler), **(plain | changes))


def _as_drawn(own: LikelihoodRatio, sampler: type) -> Sampler:
    """A sampler whose numbers come from where the recipe's own come from."""
    drawn: Sampler = sampler(getattr(own.sampler, "source", "device"))
    return drawn


def _with(**changes: Any) -> Make:
    return lambda own, copies: _plain(own, copies, **changes)


def _laplace(own: LikelihoodRatio, copies: int) -> LikelihoodRatio:
    noise = own.noise
    if isinstance(noise, tuple):
        return _plain(own, copies, noise=tuple(Laplace(one.scale) for one in noise))
    return _plain(own, copies, noise=Laplace(noise.scale))


ROSTER: tuple[Entry, ...] = (
    Entry("default", BLUE, "o", _own, "the recipe's own estimator", memory="trained"),
    Entry(
        "default, memory anew",
        BLUE,
        "*",
        lambda own, copies: _own(own, copies) if copies == own.copies else None,
        "the same, but every draw with a memory learned from nothing",
        memory="many",
        variant=True,
    ),
    Entry(
        "λ = 1",
        SKY,
        "s",
        _unbiased,
        "the same with the whole residual: unbiased for the noised loss",
        memory="trained",
    ),
    Entry("plain antithetic", VERMILION, "^", _with(), "likelihood ratios alone, in pairs"),
    Entry(
        "joint",
        PURPLE,
        "D",
        _with(schedule=Joint()),
        "likelihood ratios alone, with noise in all stages at once",
    ),
    Entry(
        "evolution strategies",
        BLACK,
        "P",
        lambda own, copies: EvolutionStrategies(copies=copies, sampler=_as_drawn(own, Antithetic)),
        "noise 0.01 in all parameters, in pairs",
    ),
    Entry(
        "forward gradient",
        GREY,
        "X",
        lambda own, copies: ForwardGradient(copies=copies, sampler=_as_drawn(own, Antithetic)),
        "slopes of the clean loss along random directions",
    ),
    Entry(
        "plain independent",
        ORANGE,
        "v",
        _with(sampler=Independent),
        "likelihood ratios alone, every copy with noise of its own",
        variant=True,
    ),
    Entry(
        "plain orthogonal",
        GREEN,
        "<",
        _with(sampler=Orthogonal),
        "likelihood ratios alone, pairs along orthogonal directions",
        variant=True,
    ),
    Entry(
        "plain Sobol",
        GREEN,
        ">",
        _with(sampler=Sobol),
        "likelihood ratios alone, pairs from a scrambled Sobol sequence",
        variant=True,
    ),
    Entry(
        "plain Laplace",
        PURPLE,
        "d",
        _laplace,
        "likelihood ratios alone, with Laplace noise of the same level",
        variant=True,
    ),
    Entry(
        "plain Neyman",
        VERMILION,
        "h",
        _with(allocation=Neyman()),
        "likelihood ratios alone, copies where they take off most variance",
        memory="taught",
        variant=True,
    ),
    Entry(
        "plain random stage",
        ORANGE,
        "p",
        _with(allocation=RandomTails(1)),
        "likelihood ratios alone, one random stage in every step",
        variant=True,
    ),
)


def choose_entries(names: Sequence[str], own: LikelihoodRatio) -> tuple[Entry, ...]:
    """The entries of these names, or all; without those that would be the recipe's own once more.

    Raises:
        BadInput: there is none of that name; the message suggests the nearest.
    """
    by_name = {entry.name: entry for entry in ROSTER}
    names = [name.replace("lambda", "λ") for name in names]  # as it can be typed
    for name in names:
        if name not in by_name:
            raise BadInput(f"there is no estimator {name!r} to study{nearest(name, by_name)}")
    chosen = [by_name[name] for name in dict.fromkeys(names)] if names else list(ROSTER)
    return tuple(entry for entry in chosen if entry.make is _own or not _is_idle(entry, own))


def _is_idle(entry: Entry, own: LikelihoodRatio) -> bool:
    """Whether this is the recipe's own estimator once more, or needs a memory that it has not."""
    if entry.memory in ("trained", "many") and own.control_variate is None:
        return True
    return entry.memory != "many" and bool(entry.build(own, own.copies) == own)
