"""A gradient that is known beforehand: it saves a reference, where many estimators share one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nolr.errors import BadInput
from nolr.network import Sequential
from nolr.testing.directions import Direction, Projection, to_host
from nolr.testing.layout import check_layout
from nolr.types import Params

__all__ = ["KnownGradient"]


@dataclass(frozen=True)
class KnownGradient:
    """The exact gradient of an estimand, in place of a reference that would have to find it.

    Args:
        network: of which it is.
        params: on the host.
        grads: in the layout of the parameters, on any backend.

    Raises:
        BadInput: it has another layout than the parameters, or an entry that is not finite.
    """

    network: Sequential
    params: Sequence[Params]
    grads: Sequence[Params]
    name: ClassVar[str] = "known gradient"
    exact: ClassVar[Literal[True]] = True
    inaccuracy: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        layout = tuple({name: a.shape for name, a in theta.items()} for theta in self.params)
        fix = "give it the layout of the parameters"
        check_layout("the known gradient", self.grads, layout, fix)
        for stage, node in enumerate(self.network.stages):
            for name, array in self.grads[node].items():
                if not np.isfinite(to_host(array)).all():
                    raise BadInput(
                        f"the known gradient of {name!r} in stage {stage} contains NaN or "
                        "infinity: replace them"
                    )

    def project(
        self, params: Sequence[Params], directions: Sequence[Direction], rng: np.random.Generator
    ) -> np.ndarray:
        """Its projections on the directions, (directions,)."""
        return Projection(directions)(self.grads)

    def error(
        self, params: Sequence[Params], directions: Sequence[Direction], rng: np.random.Generator
    ) -> np.ndarray:
        """It is exact: zeros (directions,)."""
        return np.zeros(len(directions))
