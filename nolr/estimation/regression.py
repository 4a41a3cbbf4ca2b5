"""Ridge regression of the output on the units of a stage, from two sums alone.

    J̄ = Σ Δo uᵀ (Σ E[uuᵀ] + ridge)⁻¹

Places respond to noise of their own, so E[uuᵀ] is a block for every place. Where a place is one
unit the block is a number, E[u²], its *energy*; where it is one for each feature of its context
(`nolr.context`), and they move together, the block is a matrix and is solved.

Ridge regression: Hoerl and Kennard, Technometrics 12 (1970).
"""

from __future__ import annotations

from nolr.backends import namespace
from nolr.types import Array

__all__ = ["explain", "regress"]

TINY = 1e-30  # makes 0/0 a 0: no evidence, no prediction
# Until the evidence for a feature weighs as much as its ridge. A choice, made on a ResNet-5.
DRAWS_A_PLACE = 20.0
LEAST_VARIANCE = 1e-6  # of a feature, a share of open units; what varies less may be rounding


def regress(moment: Array, energy: Array, draws: Array, ridge: float) -> Array:
    """J̄ (m, units); 0 where nothing has been seen yet.

    The ridge shrinks the units that hardly ever respond: without it the ratio of two tiny sums
    would be a huge J̄, ready for the day on which such a unit wakes up.

    Features of a context are not trusted before there is enough evidence to tell them all from
    noise, which takes the more draws the more places are learned from the same ones. Until then
    their ridge leaves J̄ what it is on average.

    Args:
        moment: Σ Δo uᵀ, (m, units).
        energy: Σ E[u²], (units,), or Σ E[uuᵀ] of every place, (places, F, F).
        draws: how many there were, ().
        ridge: added to the energy of every unit, as a fraction of the mean over all places; not
            to that of features, which have their own.
    """
    xp = namespace(moment)
    if energy.ndim == 1:  # a sum, because a mean takes NumPy twice the time
        mean = xp.sum(energy) / max(energy.shape[0], 1)
        return moment / (energy + (ridge * mean + TINY))
    places, count, _ = energy.shape
    identity = xp.eye(count, dtype=energy.dtype)
    ridges = identity * (DRAWS_A_PLACE * places / (draws + 1.0))
    ridges[0, 0] = ridge
    means = xp.mean(energy, axis=0)
    means = xp.maximum(means, LEAST_VARIANCE * means[0, 0])
    system = energy + ridges * means + TINY * identity
    blocks = xp.permute_dims(xp.reshape(moment, (-1, places, count)), (1, 2, 0))
    solved = xp.linalg.solve(system, blocks)
    return xp.reshape(xp.permute_dims(solved, (2, 0, 1)), moment.shape)


def explain(jacobian: Array, energy: Array) -> Array:
    """J̄ Σ E[uuᵀ], the moment that J̄ explains, (m, units)."""
    if energy.ndim == 1:
        return jacobian * energy
    xp, (places, count, _) = namespace(jacobian), energy.shape
    blocks = xp.permute_dims(xp.reshape(jacobian, (-1, places, count)), (1, 0, 2))
    return xp.reshape(xp.permute_dims(blocks @ energy, (1, 0, 2)), jacobian.shape)
