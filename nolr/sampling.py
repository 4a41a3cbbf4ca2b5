"""Samplers: how the white noise of several copies of a sample is drawn together.

A sampler draws one η for each *group* of copies and uses it with every sign of the group, so
that anything even in the noise cancels exactly within the group. Draws go by key: see
`nolr.types.Key`.

Every η by itself is N(0, I), which is all that an unbiased estimate needs of it. Groups that depend
on each other can have less variance together, but a baseline made of their losses (`LeaveGroupOut`)
then depends on the noise that it should be free of. It cancels in a pair whose copies share their
local array. Where each has its own, in joint noise and in recurrent layers that learn from their
past, it can bias: `Orthogonal` and `Sobol` say when, and the clean loss is the baseline to take.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from nolr.backends import get_backend, namespace
from nolr.backends.numpy import host_generator
from nolr.checks import check_source
from nolr.errors import BadInput
from nolr.quasi_random import quasi_normal
from nolr.types import Array, Backend, Key, Sampler, Shape

__all__ = ["Antithetic", "Independent", "Orthogonal", "Sobol", "copy_groups"]

ROUNDS = 2  # of Gram-Schmidt: one loses digits where a vector nearly lies in the others' span
TINY = 1e-30  # makes 0/0 a 0


@dataclass(frozen=True)
class _KeyedNormal:
    """White noise by key; what a subclass adds is the signs.

    Args:
        source: "device" draws where the arrays live; "host" draws with NumPy and copies, which
            gives every backend the same numbers.

    Raises:
        BadInput: there is no such source.
    """

    source: str = "device"

    def __post_init__(self) -> None:
        check_source(self.source)

    def draw(self, backend: Backend, key: Key, groups: int, shape: Shape, dtype: Any) -> Array:
        return _draw(self.source, backend, key, (groups, *shape), dtype)


@dataclass(frozen=True)
class Independent(_KeyedNormal):
    """Every copy has its own noise."""

    signs = (1.0,)
    independent_groups = True


@dataclass(frozen=True)
class Antithetic(_KeyedNormal):
    """Copies come in pairs +η, -η (Hammersley and Morton, 1956): even terms of the loss cancel."""

    signs = (1.0, -1.0)
    independent_groups = True


@dataclass(frozen=True)
class Orthogonal:
    """Antithetic pairs whose directions η are orthogonal to each other, sample by sample.

    Independent directions look twice where they are nearly parallel; orthogonal ones do not. The
    gain is large where there are about as many groups as units: if the loss is linear in a stage's
    d units, G ≤ d groups have (d + 2 - G)/(d + 1) times the variance of independent pairs. There
    are no more than d orthogonal directions, so every d groups begin a new, independent block;
    groups that are drawn in blocks (`LikelihoodRatio.block_bytes`) are orthogonal within them.

    Gram-Schmidt turns Gaussian vectors into a basis that is uniform among all bases, independent of
    the triangular factor; the length of the k-th vector depends on that factor alone. So each
    direction, given its vector's own length back, is exactly N(0, I).

    Given one η, the others are distributed as they are given -η. So what a baseline of the other
    groups' losses can know of a stage's noise is even in it, and its product with the score has
    mean 0, also where the two copies of a pair have inputs of their own (joint noise). That is no
    help where ∂v/∂θ depends on the stage's own noise, in recurrent layers that learn from their
    past: there `LeaveGroupOut` biases.

    Choromanski et al.: Structured evolution with compact architectures for scalable policy
    optimization (ICML 2018). Rowland et al.: Geometrically coupled Monte Carlo sampling (NeurIPS
    2018).

    Args:
        source: "device" or "host", as of the others. Sums differ by rounding between backends.

    Raises:
        BadInput: there is no such source.
    """

    source: str = "device"
    signs = (1.0, -1.0)
    independent_groups = False

    def __post_init__(self) -> None:
        check_source(self.source)

    def draw(self, backend: Backend, key: Key, groups: int, shape: Shape, dtype: Any) -> Array:
        white = _draw(self.source, backend, key, (groups, *shape), dtype)
        samples, units = _sizes(shape)
        if min(groups, units) < 2 or not samples:  # a single direction is orthogonal
            return white
        vectors = backend.xp.reshape(white, (groups, samples, units))
        blocks = [
            _orthogonalized(vectors[start : min(start + units, groups), ...])
            for start in range(0, groups, units)
        ]
        return backend.xp.reshape(backend.xp.concat(blocks), (groups, *shape))


@dataclass(frozen=True)
class Sobol:
    """Antithetic pairs of a scrambled Sobol sequence through the inverse normal distribution.

    The copies of a sample, both of every pair, fill the space of its units evenly; every sample and
    step has a random shift of its own: see `nolr.quasi_random`. Any number of groups will do, a
    power of 2 is best. It is for few units and many groups: 16 groups have an eighth of the
    variance of independent pairs in 2 units, a quarter in 8, and 0.87 of it in 32 (measured, a
    linear loss); where there are many units `Orthogonal` does more. Groups that are drawn in blocks
    (`LikelihoodRatio.block_bytes`) are a net within them. Beyond 21,201 units of one sample the
    units are split into independently scrambled nets.

    Given η, the noise of all other groups is fixed, and turns to its opposite with η. So a baseline
    of the other groups' losses, pair by pair, is even in the noise of all stages together, but not
    in that of one: `LeaveGroupOut` biases in joint noise, and in recurrent layers that learn from
    their past.

    Args:
        source: "device" or "host", for the sake of the others: the numbers are made on the host
            either way, and every backend has the same ones.

    Raises:
        BadInput: there is no such source.
    """

    source: str = "device"
    signs = (1.0, -1.0)
    independent_groups = False

    def __post_init__(self) -> None:
        check_source(self.source)

    def draw(self, backend: Backend, key: Key, groups: int, shape: Shape, dtype: Any) -> Array:
        samples, units = _sizes(shape)
        host = quasi_normal(host_generator(key), groups, samples, units, _name(backend, dtype))
        return backend.asarray(host.reshape(groups, *shape))


def copy_groups(sampler: Sampler, copies: int) -> int:
    """Return how many groups `copies` copies make.

    Raises:
        BadInput: fewer than one copy, or not a whole number of groups.

    >>> copy_groups(Antithetic(), 4)
    2
    """
    if copies < 1:
        raise BadInput(
            f"copies must be at least 1, got {copies}: every estimate needs a noise draw"
        )
    size = len(sampler.signs)
    if copies % size:
        name = type(sampler).__name__.lower()
        raise BadInput(
            f"copies must be a multiple of {size} with the sampler {name!r}, got {copies}: "
            f"choose {copies + size - copies % size}, or the sampler 'independent'"
        )
    return copies // size


def _sizes(shape: Shape) -> tuple[int, int]:
    """How many samples, and units of each; axis 0 is the sample."""
    return (shape[0] if shape else 1), prod(shape[1:])


def _name(backend: Backend, dtype: Any) -> str:
    return "float32" if dtype == backend.xp.float32 else "float64"


def _draw(source: str, backend: Backend, key: Key, shape: Shape, dtype: Any) -> Array:
    if source == "device":
        return backend.normal(key, shape, dtype)
    return backend.asarray(get_backend("numpy").normal(key, shape, _name(backend, dtype)))


def _orthogonalized(vectors: Array) -> Array:
    """Gram-Schmidt along axis 0 that keeps every length: (directions ≤ units, N, units).

    The directions that are still to come lose their part along each new one at once.
    """
    xp = namespace(vectors)
    lengths = _lengths(vectors)
    basis = xp.asarray(vectors, copy=True)
    for _ in range(ROUNDS):
        for k in range(basis.shape[0]):
            basis[k, ...] /= xp.maximum(_lengths(basis[k, ...]), TINY)
            overlap = xp.vecdot(basis[k + 1 :, ...], basis[k, ...])
            basis[k + 1 :, ...] -= overlap[..., None] * basis[k, ...]
    basis *= lengths
    return basis


def _lengths(vectors: Array) -> Array:
    return namespace(vectors).sqrt(namespace(vectors).vecdot(vectors, vectors))[..., None]
