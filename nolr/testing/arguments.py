"""The arguments of a certificate, checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from nolr import checks
from nolr.backends import backend_of
from nolr.errors import BadInput, nearest
from nolr.network import Sequential
from nolr.testing.certificate import FEWEST_DRAWS
from nolr.testing.directions import to_host
from nolr.testing.layout import check_layout, layout_of
from nolr.testing.numbers import check_whole
from nolr.testing.references import NAMES
from nolr.types import Array, Loss, Params

__all__ = ["check_batch", "check_losses", "check_noised", "check_numbers", "check_params"]


def check_numbers(
    reference: str | Sequence[Params],
    tolerance: float,
    error_rate: float,
    max_draws: int,
    rows: int,
    seed: int,
) -> None:
    """Raise BadInput unless every number is in its range, and the reference has a name we know."""
    if isinstance(reference, str) and reference not in ("auto", *NAMES):
        raise BadInput(f"there is no reference {reference!r}{nearest(reference, NAMES)}")
    for name, share in (("tolerance", tolerance), ("error_rate", error_rate)):
        if not (isinstance(share, Real) and 0 < share < 1):
            raise BadInput(f"{name} must lie between 0 and 1, got {share!r}")
    few = "fewer conclude nothing, so raise it (on the command line --draws, or --nolr-max-draws)"
    check_whole("max_draws", max_draws, FEWEST_DRAWS, few)
    check_whole("rows", rows, 1, "2048 is usual, and the size of the batch takes it as it is")
    check_whole("seed", seed, 0, "any such number will do")


def check_params(network: Sequential, params: Sequence[Params]) -> None:
    """Raise BadInput unless the parameters are those of such a network, and finite."""
    fix = "take them from network.init(seed, backend, dtype)"
    check_layout("the parameters", params, layout_of(network), fix)
    if not all(np.isfinite(to_host(array)).all() for theta in params for array in theta.values()):
        raise BadInput("the parameters of check_unbiased contain NaN or infinity: replace them")


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
    if missing := [name for name in ("check", "differentiable") if not hasattr(loss, name)]:
        raise BadInput(
            f"the loss {_name(loss)} has no {' and no '.join(map(repr, missing))}: give it what "
            "nolr.types.Loss lists"
        )
    loss.check(backend.to_host(target), network.output_shape)
    if not np.isfinite(to_host(x)).all():
        raise BadInput("the inputs of check_unbiased contain NaN or infinity: replace them")
    return x, target


def check_losses(
    network: Sequential, params: Sequence[Params], batch: tuple[Array, Array], loss: Loss
) -> None:
    """Raise BadInput unless the loss is one finite number a sample, or one a position."""
    losses = loss(network.forward(params, batch[0]), batch[1])
    samples = batch[0].shape[0]
    wanted = {(samples,), (samples, *network.output_shape[:-1])}
    words = f"the loss {_name(loss)} must be an array of one real number a sample, "
    words += " or ".join(f"shape {shape}" for shape in sorted(wanted, key=len))
    fix = "never reduce it over the batch, and give it the dtype of the output"
    shape, dtype = (getattr(losses, part, None) for part in ("shape", "dtype"))
    if shape is None or dtype is None:
        raise BadInput(f"{words}, got {type(losses).__name__}: {fix}")
    real = backend_of(losses).xp.isdtype(dtype, "real floating")
    if tuple(shape) not in wanted or not real:
        raise BadInput(f"{words}, got {dtype} of shape {tuple(shape)}: {fix}")
    if not np.isfinite(to_host(losses)).all():
        raise BadInput(
            f"the loss {_name(loss)} of the clean output contains NaN or infinity: try other "
            "inputs, or look for a division by 0"
        )


def check_noised(network: Sequential, noised: Sequence[Sequence[int]]) -> None:
    """Raise BadInput unless every stage has an entry, of stages that exist."""
    stages = len(network.stages)
    if len(noised) != stages:
        raise BadInput(
            f"the network has {stages} stages, but noised says of {len(noised)} which stages have "
            "noise: give one tuple for every stage"
        )
    for stage, together in enumerate(noised):
        if not isinstance(together, Sequence) or not all(
            isinstance(one, Integral) and 0 <= one < stages for one in together
        ):
            raise BadInput(
                f"the entry of noised for stage {stage} must be a tuple of stages, which are 0.."
                f"{stages - 1}, got {together!r}: name every noised stage by its number"
            )


def _name(loss: Any) -> str:
    return getattr(loss, "__name__", type(loss).__name__)
