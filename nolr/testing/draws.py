"""Draws of an estimator: independent estimates from one fixed state, projected as they come.

One estimate is as large as the network, so none is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nolr.backends import backend_of
from nolr.errors import BadInput
from nolr.network import Sequential
from nolr.testing.calls import Calls
from nolr.testing.directions import Projection, flat
from nolr.types import Array, Key, Params

__all__ = ["Draws", "tiled", "warm"]

WARM_UP = 20  # steps in which a control variate learns, before its state is held fixed


class Draws:
    """Independent estimates from a state that never changes.

    Args:
        call: key -> an estimate in the layout of the parameters.
        network: of which it is.
        seed: of the keys; every draw has another step.
    """

    def __init__(
        self, call: Callable[[Key], Sequence[Params]], network: Sequential, seed: int
    ) -> None:
        self.call, self.network, self.seed, self.count = call, network, seed, 0

    def mean(self, count: int) -> np.ndarray:
        """Mean of so many draws, (P,): all parameters, stage by stage and name by name."""
        total = self._next(lambda grads: flat(self.network, grads))
        for _ in range(count - 1):
            total += self._next(lambda grads: flat(self.network, grads))
        return total / count

    def project(self, count: int, projection: Projection) -> np.ndarray:
        """So many draws along the directions of a projection, (count, directions)."""
        return np.stack([self._next(projection) for _ in range(count)])

    def _next(self, numbers: Callable[[Sequence[Params]], np.ndarray]) -> np.ndarray:
        self.count += 1
        grads = self.call(Key(self.seed, step=self.count))
        with np.errstate(invalid="ignore", over="ignore"):  # it is told in words
            found = numbers(grads)
        if not np.isfinite(found).all():
            raise BadInput(
                f"draw {self.count} of the estimator has an entry that is not finite: try smaller "
                "inputs, or look for a division by 0"
            )
        return found


def warm(calls: Calls, seed: int) -> Any:
    """The state of an estimator that has learned for a few steps; None without any."""
    state = calls.start()
    if state is None:
        return None
    for step in range(WARM_UP):
        _, state = calls(Key(seed + 1, step=step), state)
    return state


def tiled(batch: tuple[Array, Array], tiles: int) -> tuple[Array, Array]:
    """Every sample many times: one estimate then is the mean of as many independent ones."""
    x, target = batch
    xp = backend_of(x).xp
    return xp.concat([x] * tiles, axis=0), xp.concat([target] * tiles, axis=0)
