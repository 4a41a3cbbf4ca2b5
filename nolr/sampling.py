"""Samplers: how the white noise of several copies of a sample is drawn together.

A sampler draws one η for each *group* of copies and uses it with every sign of the group, so
that anything even in the noise cancels exactly within the group. Draws go by key: see
`nolr.types.Key`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nolr.backends import get_backend
from nolr.checks import check_source
from nolr.errors import BadInput
from nolr.types import Array, Backend, Key, Sampler, Shape

__all__ = ["Antithetic", "Independent", "copy_groups"]


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
        shape = (groups, *shape)
        if self.source == "device":
            return backend.normal(key, shape, dtype)
        kind = "float32" if dtype == backend.xp.float32 else "float64"
        return backend.asarray(get_backend("numpy").normal(key, shape, kind))


@dataclass(frozen=True)
class Independent(_KeyedNormal):
    """Every copy has its own noise."""

    signs = (1.0,)


@dataclass(frozen=True)
class Antithetic(_KeyedNormal):
    """Copies come in pairs +η, -η (Hammersley and Morton, 1956): even terms of the loss cancel."""

    signs = (1.0, -1.0)


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
