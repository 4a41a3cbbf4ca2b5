"""Contrast: how much of a gradient estimate is the noise of its copies.

Let groups of copies count with alternating signs, Σ (-1)ᵏ Gₖ instead of Σ Gₖ. Groups are alike, so
what they have in common, the gradient and the differences of the samples, cancels; their noise does
not. The square of what is left is the variance that the copies are there to average away, which
half batches cannot tell from that of the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nolr.backends import namespace
from nolr.estimation.figures import squared_norm
from nolr.tails import Local
from nolr.types import Array, Layer, Params

__all__ = ["Contrast"]


@dataclass
class Contrast:
    """The contrast of one stage in one step. A single group, or an odd last one, stays whole."""

    layer: Layer
    _shared: Array | None = None
    """Of copies that share a local array, before the weight product, (N, *noise_shape)."""
    _pulled: Params | None = None
    """Of the gradient."""
    _groups: int = 0

    def add_shared(self, weighed: Array) -> None:
        """Add groups that share the clean local array, (groups, N, *noise_shape)."""
        for sign, group in zip(self._signs(weighed.shape[0]), range(weighed.shape[0]), strict=True):
            part = sign * weighed[group, ...]
            self._shared = part if self._shared is None else self._shared + part

    def add_apart(self, local: Local, weighed: Array, signs: int, groups: int) -> None:
        """Add copies with local arrays of their own, (signs·groups·N, *noise_shape)."""
        xp = namespace(weighed)
        alternating = xp.asarray(self._signs(groups), dtype=weighed.dtype)
        by_group = xp.reshape(weighed, (signs, groups, -1)) * alternating[None, :, None]
        self._add(self.layer.pullback(local.x, local.past, xp.reshape(by_group, weighed.shape)))

    def finish(self, local: Local, scale: float) -> None:
        """No more copies will come: one weight product for those that share the local array."""
        if self._shared is not None:
            self._add(self.layer.pullback(local.x, local.past, self._shared * scale))
            self._shared = None

    def absorb(self, other: Contrast) -> None:
        """Add that of another part of the batch; both are finished."""
        if other._pulled is not None:
            self._add(other._pulled)

    @property
    def power(self) -> float | None:
        """‖·‖², an estimate of the variance of the gradient estimate; None without copies."""
        return None if self._pulled is None else squared_norm(self._pulled)

    def _signs(self, groups: int) -> Sequence[float]:
        """Of groups that come after those that were added before."""
        first, self._groups = self._groups, self._groups + groups
        return [(-1.0) ** (first + group) for group in range(groups)]

    def _add(self, more: Params) -> None:
        total = self._pulled
        self._pulled = more if total is None else {name: total[name] + more[name] for name in more}
