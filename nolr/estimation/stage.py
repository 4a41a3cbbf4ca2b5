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
from nolr.estimation.control_variates import Evidence, JacobianControlVariate
from nolr.estimation.figures import Merit, measure
from nolr.network import Visit
from nolr.pathways import Pathway
from nolr.tails import Local
from nolr.types import Array, Layer, Noise, Params, Reach, Route

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
    pathway: Pathway
    reach: Reach
    noise: Noise
    copies: int
    """Noisy copies of every sample, in all blocks together."""
    total: int
    """Samples of the whole batch, of which this may see a part."""
    monitor: bool
    """Whether to pull the two halves of the batch back apart, to measure signal and noise."""
    error: Array | None = None
    """e, the derivative of the losses with respect to the features, (N, P, m)."""
    credit: Array | None = None
    """ĝ (N, *noise_shape), fixed before the draw; None without a control variate."""
    beta: Array | float = 0.0
    weight: float = 1.0
    """λ."""
    measures_residual: bool = False
    """Whether λ is adaptive."""
    noised: bool = True
    """False where the credit is exact, so that noise could only add variance."""
    _route: Route | None = None
    _jacobian: Array | None = None
    """J̄; None where it is the identity."""
    _moved: Array | None = None
    """u of the last draw, (rows, units)."""
    _contracted: Array | None = None
    """Σ weight·score over copies that share the clean local array, (N, *noise_shape)."""
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
        self,
        control_variate: JacobianControlVariate,
        evidence: Evidence,
        error: Array,
        inputs: Sequence[Array],
        exact: bool,
    ) -> None:
        """Predict the credit ĝ of every unit from e = ∂loss/∂features (N, P, m).

        Args:
            inputs: what entered every node of the network.
            exact: whether the pathway leads to the features themselves, so that J̄ = I.
        """
        xp, samples = namespace(error), error.shape[0]
        self.error = error
        gate = self.layer.gate(self.visit.drive, self.visit.past, self.noise.scale)
        self._route = route = self.pathway.route(gate, inputs)
        if exact:
            felt = error
        else:
            self._jacobian = self._within_reach(control_variate.jacobian(evidence))
            felt = xp.reshape(error, (-1, self._jacobian.shape[0])) @ self._jacobian
        self.credit = route.pull(xp.reshape(felt, (samples, *self.pathway.target)))
        if self.noised:
            self.beta = control_variate.beta(evidence)
        else:  # the credit is exact
            self.beta, self.weight = 1.0, 0.0

    def _within_reach(self, jacobian: Array) -> Array:
        """J̄ without the losses that a position does not reach: they are not weighed with its noise.

        Were they foreseen, they would be in ĝ and not be taken out again: a bias.
        """
        losses = self.error.shape[1]  # type: ignore[union-attr]
        if losses == 1 or self.pathway.mixing is not None:  # which leads only where it reaches
            return jacobian
        xp = namespace(jacobian)
        reached = self.reach.gather(xp.eye(losses, dtype=jacobian.dtype))
        shape = (losses, -1, reached.shape[1], jacobian.shape[1] // reached.shape[1])
        by_position = xp.reshape(jacobian, shape) * reached[:, None, :, None]
        return xp.reshape(by_position, jacobian.shape)

    def foresee(self, noise: Array) -> Array | float:
        """ĝ·ε, the change of every loss that the prediction foresees.

        (groups, N, *noise_shape) -> (groups, N·P).
        """
        if self.credit is None:
            return 0.0
        xp, groups = namespace(noise), noise.shape[0]
        moved = self._route.push(noise)  # type: ignore[union-attr]
        if self._jacobian is None:
            change = moved
        else:
            self._moved = xp.reshape(moved, (-1, self._jacobian.shape[1]))
            change = self._moved @ self._jacobian.T
        change = xp.reshape(change, (groups, *self.error.shape))  # type: ignore[union-attr]
        return xp.reshape(xp.vecdot(change, self.error), (groups, -1))

    def observe(
        self,
        control_variate: JacobianControlVariate,
        shift: Array,
        odd_loss: Array,
        foreseen: Array,
        blocks: bool,
    ) -> None:
        """Collect evidence for later steps, of the noise that was foreseen last.

        This step's prediction stays as it is.

        Args:
            shift: Δo (groups, N, P·m).
            odd_loss: odd part of every loss, (groups, N·P).
            foreseen: what `foresee` returned.
            blocks: whether the noise was the same all over a block.
        """
        xp, groups = namespace(shift), shift.shape[0]
        if self._moved is None:  # J̄ = I: nothing to learn but β
            shift = moved = xp.zeros((1, 0), dtype=shift.dtype)
            energy = moved[0, :]
        else:
            moved = self._moved
            shift = xp.reshape(shift, (moved.shape[0], -1))
            energy = (groups * self.noise.scale**2) * self._spread(blocks)
        seen = control_variate.observe(
            shift, moved, energy, xp.reshape(odd_loss, (-1,)), xp.reshape(foreseen, (-1,))
        )
        self._seen = seen if self._seen is None else self._seen.plus(seen)

    def _spread(self, blocks: bool) -> Array:
        """E[u²] for noise of level 1, summed over samples (and positions that are alike)."""
        xp, route = namespace(self.credit), self._route
        ones = xp.ones_like(self.credit)
        if blocks and self.pathway.probe > 1:  # a block moves as one
            together = route.push(ones)  # type: ignore[union-attr]
            variance = together * together
        else:
            variance = route.variance(ones)  # type: ignore[union-attr]
        rows = xp.reshape(variance, (-1, self._jacobian.shape[1]))  # type: ignore[union-attr]
        return xp.sum(rows, axis=0)

    def weigh_shared(self, score: Array, weights: Array) -> None:
        """Add copies that share the clean local array.

        Args:
            score: s (groups, N, *noise_shape).
            weights: odd part of what ĝ does not foresee of the losses, (groups, N·P).
        """
        weighed = self._weigh(score, weights)
        total = weighed[0, ...] if score.shape[0] == 1 else namespace(score).sum(weighed, axis=0)
        self._contracted = total if self._contracted is None else self._contracted + total
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
        weighed = weighed * (1.0 / self.copies)
        delta = weighed
        if self.credit is not None:
            delta = self.weight * weighed
            delta += tile((self.beta / self.copies) * self.credit, copies)
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

    def absorb(self, other: StageStep) -> None:
        """Add what another part of the same batch found; both are finished."""
        self._pulled = _merge(self._pulled, other._pulled)
        self._residual = _merge(self._residual, other._residual)
        if other._seen is not None:
            self._seen = other._seen if self._seen is None else self._seen.plus(other._seen)

    def gradient(self) -> Params:
        """The estimate of ∇θ mean loss, of all copies, once it is finished."""
        first, *second = self._pulled
        return _sum(first, second[0]) if second else first

    def judge_gradient(self, merit: Merit) -> Merit:
        """Add this step's signal and power, if it was a monitored one."""
        return merit.update(*measure(self._pulled)) if len(self._pulled) == 2 else merit

    def judge_residual(self, merit: Merit) -> Merit:
        """The same of the residual, if its scores were weighed."""
        return merit.update(*measure(self._residual)) if len(self._residual) == 2 else merit

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
        """Mean over all samples of (∂v/∂θ)ᵀ δ; when monitored, what each half here adds to it."""
        samples = self.visit.drive.shape[0]
        delta = delta * (1.0 / self.total)
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


def _merge(ours: list[Params], theirs: list[Params]) -> list[Params]:
    """Add two parts of a batch; one of a single sample has no halves, and then the whole has none.

    Halves are added to halves: samples of different halves stay independent.
    """
    if len(ours) != len(theirs):
        ours, theirs = ([_sum(*part) if len(part) == 2 else part[0]] for part in (ours, theirs))
    return _add(ours, theirs)
