"""The arguments of a certificate, checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nolr import checks
from nolr.backends import backend_of
from nolr.errors import BadInput, nearest
from nolr.network import Sequential
from nolr.testing.confidence import FEWEST_DRAWS
from nolr.testing.directions import to_host
from nolr.testing.references import NAMES
from nolr.types import Array, Loss, Params

__all__ = ["check_batch", "check_noised", "check_numbers"]


def check_numbers(
    reference: str | Sequence[Params],
    tolerance: float,
    error_rate: float,
    max_draws: int,
    rows: int,
) -> None:
    """Raise BadInput unless every number is in its range, and the reference has a name we know."""
    if isinstance(reference, str) and reference not in ("auto", *NAMES):
        raise BadInput(f"there is no reference {reference!r}{nearest(reference, NAMES)}")
    if not 0 < tolerance < 1:
        raise BadInput(f"tolerance must lie between 0 and 1, got {tolerance}")
    if not 0 < error_rate < 1:
        raise BadInput(f"error_rate must lie between 0 and 1, got {error_rate}")
    if max_draws < FEWEST_DRAWS:
        raise BadInput(f"max_draws must be at least {FEWEST_DRAWS}, got {max_draws}")
    if rows < 1:
        raise BadInput(f"rows must be at least 1, got {rows}")


def check_batch(
    network: Sequential, params: Sequence[Params], batch: tuple[Array, Array], loss: Loss
) -> tuple[Array, Array]:
    """The batch in the dtype of the parameters."""
    x, target = batch
    backend = backend_of(x)
    if x.shape[0] == 0:
        raise BadInput("the batch of check_unbiased is empty: give it a few samples")
    checks.check_batch(x, target)
    x = network.check_input(params, x)
    loss.check(backend.to_host(target), network.output_shape)
    for name, arrays in (("inputs", [x]), ("parameters", [a for p in params for a in p.values()])):
        if not all(np.isfinite(to_host(array)).all() for array in arrays):
            raise BadInput(f"the {name} of check_unbiased contain NaN or infinity: replace them")
    return x, target


def check_noised(network: Sequential, noised: Sequence[Sequence[int]]) -> None:
    """Raise BadInput unless every stage has an entry."""
    if len(noised) != len(network.stages):
        raise BadInput(
            f"the network has {len(network.stages)} stages, but noised says of {len(noised)} which "
            "stages have noise: give one tuple for every stage"
        )
