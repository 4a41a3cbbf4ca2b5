"""One stage in one step: from the losses of its noisy copies to its gradient.

    δ = β ĝ + λ · mean_k[ weight_k · s_k ]        gradient = mean over samples of (∂v/∂θ)ᵀ δ

With a clean input shared by all copies the mean over copies comes first, and one product δᵀx is
left. Where every copy has a local array of its own (joint noise, recurrent pasts), every copy
needs its own product: contracting first would be biased.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nolr.backends import namespace
from nolr.copies import split_copies, tile
from nolr.estimation.contrast import Contrast
from nolr.estimation.figures import Merit, measure
from nolr.estimation.prediction import Prediction
from nolr.network import Visit
from nolr.tails import Local
from nolr.types import Array, Layer, Noise, Params, Reach

__all__ = ["StageStep", "odd_part"]


def odd_part(values: Array, signs: Sequence[float]) -> Array:
    """mean over signs of sign·value, (tails, signs, ...) -> (tails, ...): of a pair ±η, half the
    difference."""
    if len(signs) == 1:
        return values[:, 0, ...]
    difference = values[:, 0, ...] - values[:, 1, ...]
    difference *= 0.5
    return difference


@dataclass
class StageStep:
    """Working memory of one stage during one step of an estimator.

    A sample has P losses: one, or where the output has positions one of every position. They come
    flattened, (draws, N·P).
    """

    layer: Layer
    visit: Visit
    reach: Reach
    noise: Noise
    total: int
    """Samples of the whole batch, of which this may see a part."""
    monitor: bool
    """Whether to pull the two halves of the batch back apart, to measure signal and noise."""
    copies: int = 0
    """Noisy copies of every sample, in all blocks together."""
    importance: float = 1.0
    """What their residual counts for; 0 where the allocation leaves them out."""
    apart: bool = False
    """Whether every copy has a local array of its own, and its scores are weighed."""
    prediction: Prediction | None = None
    """What the control variate says, fixed before the draw; None without one."""
    weight: float = 1.0
    """λ."""
    measures_residual: bool = False
    """Whether λ is adaptive."""
    noised: bool = True
    """False where the credit is exact, so that noise could only add variance."""
    _contracted: Array | None = None
    """Σ weight·score over copies that share the clean local array, (N, *noise_shape)."""
    _groups: int = 0
    _pulled: list[Params] = field(default_factory=list)
    """The gradient, in one piece or in what each half batch adds to it."""
    _residual: list[Params] = field(default_factory=list)
    """The same of the residual alone."""
    _contrast: Contrast = field(init=False)

    def __post_init__(self) -> None:
        self._contrast = Contrast(self.layer)

    @property
    def weighs(self) -> bool:
        """Whether the scores are needed: for the gradient, or to measure what they would add."""
        return self.noised and (self.weight != 0 or (self.measures_residual and self.monitor))

    @property
    def beta(self) -> Array | float:
        """Coefficient of the prediction: 0 without one, 1 where it is exact."""
        return 0.0 if self.prediction is None else self.prediction.beta

    def weigh_shared(self, score: Array, weights: Array) -> None:
        """Add copies that share the clean local array.

        Args:
            score: s (groups, N, *noise_shape).
            weights: odd part of what ĝ does not foresee of the losses, (groups, N·P).
        """
        weighed = self._weigh(score, weights)
        total = weighed[0, ...] if score.shape[0] == 1 else namespace(score).sum(weighed, axis=0)
        self._contracted = total if self._contracted is None else self._contracted + total
        if self.monitor:
            self._contrast.add_shared(weighed)
        self._groups += score.shape[0]

    def weigh_apart(
        self, local: Local, score: Array, weights: Array, signs: Sequence[float]
    ) -> None:
        """Add copies that each have a local array of their own.

        Args:
            local: what the stage saw in these copies.
            score: s (groups, N, *noise_shape).
            weights: what ĝ does not foresee of every copy's losses, (signs, groups, N·P).
            signs: of the copies in a group.
        """
        xp = namespace(score)
        copies = len(signs) * score.shape[0]
        weighed = xp.concat(
            [self._weigh(score, sign * weights[i, ...]) for i, sign in enumerate(signs)]
        )
        weighed = xp.reshape(weighed, (copies * score.shape[1], *score.shape[2:]))
        if local.x.shape[0] != weighed.shape[0]:
            local = Local(tile(local.x, copies), local.past)
        weighed = weighed * (self.importance / (self.copies * self.total))
        if self.monitor:
            once = weighed * (self.weight / self.importance)
            self._contrast.add_apart(local, once, len(signs), score.shape[0])
        delta = weighed
        if self.prediction is not None:
            # The credit too goes through the copies' own arrays, so it is there when they are.
            delta = self.weight * weighed
            delta += tile((self.importance / self.copies) * self.prediction.credit, copies)
            if self.measures_residual and self.monitor:
                self._residual = _add(self._residual, self._pull(local, weighed))
        self._pulled = _add(self._pulled, self._pull(local, delta))

    def _weigh(self, score: Array, weights: Array) -> Array:
        """Every unit's score times the losses that its position reaches."""
        xp, (groups, samples) = namespace(score), score.shape[:2]
        weights = xp.reshape(weights, (groups, samples, -1))
        if weights.shape[2] > 1:
            weights = self.reach.gather(weights)
        by_position = xp.reshape(score, (groups, samples, weights.shape[2], -1))
        return xp.reshape(by_position * weights[..., None], score.shape)

    def finish(self) -> None:
        """No more copies will come."""
        if not self._pulled:
            self._contract()
        if self._groups:
            self._contrast.finish(self._clean_local, self.weight / (self._groups * self.total))

    def absorb(self, other: StageStep) -> None:
        """Add what another part of the same batch found; both are finished."""
        self._pulled = _add(self._pulled, other._pulled)
        self._residual = _add(self._residual, other._residual)
        self._contrast.absorb(other._contrast)
        if self.prediction and other.prediction and other.prediction.seen is not None:
            ours, theirs = self.prediction.seen, other.prediction.seen
            self.prediction.seen = theirs if ours is None else ours.plus(theirs)

    def gradient(self) -> Params:
        """The estimate of ∇θ mean loss, of all copies, once it is finished."""
        first, *second = self._pulled
        return _sum(first, second[0]) if second else first

    def judge_gradient(self, merit: Merit) -> Merit:
        """Add this step's signal and power, if it was a monitored one.

        An estimate that is there by lot counts in all steps for what it is worth on average. Where
        only its residual is, beside a credit, it is not measured.
        """
        lot = self.importance != 1
        if len(self._pulled) != 2 or self.importance == 0 or (lot and not self._waits):
            return merit
        signal, power = measure(self._pulled)
        return merit.update(signal / self.importance**2, power / self.importance)

    def judge_residual(self, merit: Merit) -> Merit:
        """The same of the residual, if its scores were weighed: the lot is noise, too."""
        if len(self._residual) != 2:
            return merit
        signal, power = measure(self._residual)
        return merit.update(signal / self.importance**2, power / self.importance)

    def judge_spread(self, merit: Merit) -> Merit:
        """Add the variance of one copy, if this step measured it."""
        power = self._contrast.power
        return merit if power is None else merit.update(0.0, self.copies * power)

    @property
    def _waits(self) -> bool:
        """Whether nothing of the gradient is there without copies, not even a credit."""
        return self.prediction is None or self.apart

    @property
    def _clean_local(self) -> Local:
        return Local(self.visit.state[0], self.visit.past)

    def _contract(self) -> None:
        """One weight product for all copies that share the clean local array."""
        local, residual = self._clean_local, None
        if self._contracted is not None:
            residual = self._contracted * (self.importance / (self._groups * self.total))
        if self.importance == 0 and self._waits:
            delta = namespace(self.visit.drive).zeros_like(self.visit.drive)
        elif self.prediction is None:
            delta = residual
        elif residual is None:
            delta = self.prediction.credit
        else:
            delta = self.prediction.credit + self.weight * residual
            if self.measures_residual and self.monitor:
                self._residual = self._pull(local, residual)
        self._pulled = self._pull(local, delta)

    def _pull(self, local: Local, delta: Array) -> list[Params]:
        """Sum over the samples here of (∂v/∂θ)ᵀ δ; when monitored, of each half of them."""
        samples = self.visit.drive.shape[0]
        if not self.monitor:
            return [self.layer.pullback(local.x, local.past, delta)]
        half = samples // 2
        return [
            self.layer.pullback(*(_rows(array, samples, rows) for array in (*local, delta)))
            for rows in (slice(0, half), slice(half, samples))
        ]


def _rows(array: Array | None, samples: int, rows: slice) -> Array | None:
    """The given samples of every copy."""
    if array is None or array.shape[0] == samples:
        return None if array is None else array[rows, ...]
    part = split_copies(array, samples)[:, rows, ...]
    return namespace(array).reshape(part, (-1, *array.shape[1:]))


def _sum(a: Params, b: Params) -> Params:
    return {name: a[name] + b[name] for name in a}


def _add(total: list[Params], more: list[Params]) -> list[Params]:
    return [_sum(a, b) for a, b in zip(total, more, strict=True)] if total else more
