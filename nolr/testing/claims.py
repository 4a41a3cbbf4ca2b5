"""Claims: what an estimator says of itself, which is what a certificate holds it to.

| attribute | says |
|---|---|
| `schedule` | which stages are noised together |
| `noise` | their noise: one for all stages, or a tuple with one for every stage |
| `noise_in` | where it is: "pre-activations" unless it says "parameters", or "nothing" |
| `estimand` | the loss whose gradient is estimated, in words |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nolr.errors import BadInput, nearest
from nolr.estimation.estimand import noised_together
from nolr.network import Sequential
from nolr.types import Loss, Noise

__all__ = ["Estimator", "estimand_of", "noise_in", "noise_of", "noised_by", "shares_noise"]

Estimator = Callable[..., tuple[Any, Any]]

PLACES = ("pre-activations", "parameters", "nothing")
FIX = "set its attribute `noise`, a nolr.Gaussian or a tuple with one for every stage"


def noised_by(estimator: Estimator, network: Sequential, loss: Loss) -> Sequence[Sequence[int]]:
    """For every stage, the stages that are noised in the loss whose gradient is estimated."""
    if not hasattr(estimator, "schedule"):
        raise BadInput(
            "the estimator has no schedule that says which stages are noised together: give "
            "check_unbiased noised=[(0,), (1,), ...], the noised stages for every stage"
        )
    if noise_in(estimator) == "nothing":
        return tuple(() for _ in network.stages)
    variate = getattr(estimator, "control_variate", None)
    return noised_together(estimator.schedule, variate, network, loss)


def noise_of(estimator: Estimator, network: Sequential, stage: int) -> Noise:
    """The noise of a stage."""
    noise = getattr(estimator, "noise", None)
    if noise is None:
        raise BadInput(f"the estimator has no noise: {FIX}")
    if isinstance(noise, tuple):
        if len(noise) != len(network.stages):
            raise BadInput(
                f"the network has {len(network.stages)} stages, but the estimator has noise for "
                f"{len(noise)}: {FIX}"
            )
        noise = noise[stage]
    if not all(hasattr(noise, part) for part in ("scale", "colour")):
        raise BadInput(
            f"the noise of the estimator must have a scale and a colour, got {noise!r}: {FIX}"
        )
    return noise


def noise_in(estimator: Estimator) -> str:
    """Where the noise is that smooths the loss; see `parameter_noise`."""
    place = getattr(estimator, "noise_in", PLACES[0])
    if place not in PLACES:
        raise BadInput(
            f"the estimator has its noise in {place!r}, which is no place{nearest(place, PLACES)}"
        )
    return place


def shares_noise(estimator: Estimator) -> bool:
    """Whether all samples of a batch have the same noise: more of them average nothing away."""
    return noise_in(estimator) != PLACES[0]


def estimand_of(estimator: Estimator, network: Sequential, loss: Loss) -> str:
    """Whose gradient it is, in words."""
    say = getattr(estimator, "estimand", None)
    return say(network, loss) if callable(say) else "gradient of the loss with noise"
