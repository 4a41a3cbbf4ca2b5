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
from nolr.copies import flatten_units, split_copies, tile
from nolr.estimation.control_variates import Evidence, JacobianControlVariate
from nolr.estimation.figures import Merit, measure
from nolr.network import Visit
from nolr.tails import Local
from nolr.types import Array, Layer, Noise, Params

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

    Arrays have their units flattened: (N, units).
    """

    layer: Layer
    visit: Visit
    noise: Noise
    copies: int
    """Noisy copies of every sample, in all blocks together."""
    monitor: bool
    """Whether to pull the two halves of the batch back apart, to measure signal and noise."""
    gate: Array | None = None
    credit: Array | None = None
    """ĝ, fixed before the draw; None without a control variate."""
    beta: Array | float = 0.0
    weight: float = 1.0
    """λ."""
    measures_residual: bool = False
    """Whether λ is adaptive."""
    noised: bool = True
    """False where the credit is exact, so that noise could only add variance."""
    _contracted: Array | None = None
    """Σ weight·score over copies that share the clean local array, (N, units)."""
    _groups: int = 0
    _pulled: list[Params] = field(default_factory=list)
    """The gradient, in one piece or in what each half batch adds to it."""
    _residual: list[Params] = field(default_factory=list)
    """The same of the residual alone."""
    _seen: Evidence | None = None

    @property
    def weighs(self) -> bool:
        """Whether the scores are needed: for the gradient, or to measure what they would add."""
        return self.noised and (self.weight != 0 or (self.measures_residual and self.monitor))

    def predict(
        self, control_variate: JacobianControlVariate, evidence: Evidence, error: Array, last: bool
    ) -> None:
        """Predict the credit ĝ of every unit from e = ∂loss/∂output (N, m)."""
        visit = self.visit
        self.gate = flatten_units(self.layer.gate(visit.drive, visit.past, self.noise.scale), 1)
        # Behind the last stage lies nothing: its Jacobian is the identity.
        self.credit = error if last else error @ control_variate.jacobian(evidence)
        self.credit = self.credit * self.gate
        if self.noised:
            self.beta = control_variate.beta(evidence)
        else:  # the credit is exact
            self.beta, self.weight = 1.0, 0.0

    def foresee(self, noise: Array) -> Array | float:
        """ĝ·ε, the change of the loss that the prediction foresees.

        (groups, N, units) -> (groups, N).
        """
        return 0.0 if self.credit is None else namespace(noise).vecdot(noise, self.credit)

    def observe(
        self,
        control_variate: JacobianControlVariate,
        shift: Array,
        noise: Array,
        odd_loss: Array,
        foreseen: Array | float,
    ) -> None:
        """Collect evidence for later steps; this step's prediction stays as it is."""
        seen = control_variate.observe(
            shift, self.gate, noise, self.noise.scale, odd_loss, foreseen
        )
        self._seen = seen if self._seen is None else self._seen.plus(seen)

    def weigh_shared(self, score: Array, weights: Array) -> None:
        """Add copies that share the clean local array.

        Args:
            score: s (groups, N, units).
            weights: odd part of what ĝ does not foresee of the loss, (groups, N).
        """
        weighed = weights[..., None] * score
        total = weighed[0, ...] if score.shape[0] == 1 else namespace(score).sum(weighed, axis=0)
        self._contracted = total if self._contracted is None else self._contracted + total
        self._groups += score.shape[0]

    def weigh_apart(
        self, local: Local, score: Array, weights: Array, signs: Sequence[float]
    ) -> None:
        """Add copies that each have a local array of their own.

        Args:
            local: what the stage saw in these copies.
            score: s (groups, N, units).
            weights: what ĝ does not foresee of every copy's loss, (signs, groups, N).
            signs: of the copies in a group.
        """
        xp = namespace(score)
        copies = len(signs) * score.shape[0]
        weighed = xp.concat(
            [(sign * weights[i, ...])[..., None] * score for i, sign in enumerate(signs)]
        )
        weighed = xp.reshape(weighed, (copies * score.shape[1], -1))
        if local.x.shape[0] != weighed.shape[0]:
            local = Local(tile(local.x, copies), local.past)
        weighed = weighed * (1.0 / self.copies)
        delta = weighed
        if self.credit is not None:
            delta = self.weight * weighed
            delta += tile((self.beta / self.copies) * self.credit, copies)
            if self.measures_residual and self.monitor:
                self._residual = _add(self._residual, self._pull(local, weighed))
        self._pulled = _add(self._pulled, self._pull(local, delta))

    def gradient(self) -> Params:
        """The estimate of ∇θ mean loss, of all copies added so far."""
        if not self._pulled:
            self._contract()
        first, *second = self._pulled
        return _sum(first, second[0]) if second else first

    def judge_gradient(self, merit: Merit) -> Merit:
        """Add this step's signal and power, if it was a monitored one."""
        return merit.update(*measure(self._pulled)) if self.monitor else merit

    def judge_residual(self, merit: Merit) -> Merit:
        """The same of the residual, if its scores were weighed."""
        return merit.update(*measure(self._residual)) if self._residual else merit

    def learn(self, control_variate: JacobianControlVariate, evidence: Evidence) -> Evidence:
        """The evidence for the next step."""
        return evidence if self._seen is None else control_variate.learn(evidence, self._seen)

    def _contract(self) -> None:
        """One weight product for all copies that share the clean local array."""
        local = Local(self.visit.state[0], self.visit.past)
        residual = None if self._contracted is None else self._contracted * (1.0 / self._groups)
        if self.credit is None:
            delta = residual
        elif residual is None:
            delta = self.beta * self.credit
        else:
            delta = self.beta * self.credit + self.weight * residual
            if self.measures_residual and self.monitor:
                self._residual = self._pull(local, residual)
        self._pulled = self._pull(local, delta)

    def _pull(self, local: Local, delta: Array) -> list[Params]:
        """mean over samples of (∂v/∂θ)ᵀ δ; when monitored, what each half batch adds to it."""
        samples = self.visit.drive.shape[0]
        delta = delta * (1.0 / samples)
        if delta.ndim != self.visit.drive.ndim:
            delta = namespace(delta).reshape(delta, (-1, *self.visit.drive.shape[1:]))
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
