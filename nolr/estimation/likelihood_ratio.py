"""The likelihood-ratio estimator: noise in a pre-activation, weighed by the loss it causes.

For a stage with pre-activation v, noise ε and score s = -∇ε log p(ε),

    ∇θ E[loss] = E[ loss · (∂v/∂θ)ᵀ s ]

with the stage's input held at the value it had in that copy. No derivative of later stages
appears, so nothing is propagated backwards. Peng et al.: A new likelihood ratio method for
training artificial neural networks (INFORMS Journal on Computing 34, 2022).

One step is one clean forward run and one sweep of noised tails. Copies are contracted before the
weight product: δ = mean over copies of weight · score has the size of one stage, and the gradient
is the single product δᵀx.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from nolr.backends import backend_of, same_backend
from nolr.errors import BadInput
from nolr.estimation.baselines import CleanLoss
from nolr.estimation.control_variates import Evidence, JacobianControlVariate
from nolr.estimation.estimand import describe, ends_in_stage, is_last_exact, residual_weight
from nolr.estimation.figures import Figures, Merit
from nolr.estimation.perturbation import CleanRun, Draw, run_copies
from nolr.estimation.schedules import LayerWise
from nolr.estimation.stage import StageStep
from nolr.network import Sequential, Trace
from nolr.noise import Gaussian
from nolr.sampling import Antithetic, copy_groups
from nolr.types import Array, Baseline, Key, Loss, Noise, Params, Sampler, Schedule

__all__ = ["Estimate", "EstimatorState", "LikelihoodRatio"]


class EstimatorState(NamedTuple):
    """What an estimator remembers of earlier steps, one entry per stage."""

    evidence: tuple[Evidence, ...]
    """For the control variate: its running regressions."""
    gradient: tuple[Merit, ...]
    """Signal and power of the gradient estimate, for the report."""
    residual: tuple[Merit, ...]
    """Signal and power of the residual, for the adaptive λ."""


class Estimate(NamedTuple):
    """The result of one step."""

    loss: Array
    """Mean clean loss of the batch, ()."""
    grads: tuple[Params, ...]
    """Estimated gradient of the mean loss, in the layout of the parameters."""
    info: Figures


@dataclass(frozen=True)
class LikelihoodRatio:
    """Estimate the gradient of a network's mean loss by forward runs alone.

    Args:
        noise: distribution of ε, the same for every stage, or one per stage.
        copies: noisy copies of every sample, in whole groups of the sampler.
        sampler: how the copies' noise is drawn together.
        schedule: which stages are noised together; decides the estimand.
        baseline: what a copy's loss is compared with.
        control_variate: predicts the credit of every unit; None for plain likelihood ratios.
        probe_every: where only the control variate has use for the copies (λ = 0), run them in
            every so many steps: the mean Jacobian changes slowly.
        monitor_every: measure signal and noise in every so many steps (never in batches of one
            sample, which cannot be halved).
        block_bytes: copies are worked through in blocks whose largest array, of one tail, is about
            this size, so that it stays in the cache.

    Raises:
        BadInput: copies that make no whole number of groups, or too few for the baseline.
    """

    noise: Noise | tuple[Noise, ...] = Gaussian()
    copies: int = 2
    sampler: Sampler = Antithetic()
    schedule: Schedule = LayerWise()
    baseline: Baseline = CleanLoss()
    control_variate: JacobianControlVariate | None = JacobianControlVariate()
    probe_every: int = 1
    monitor_every: int = 20
    block_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        if isinstance(self.noise, float | int):
            raise BadInput(
                f"noise must be a distribution, got {self.noise}: write nolr.Gaussian({self.noise})"
            )
        groups = copy_groups(self.sampler, self.copies)
        if groups < self.baseline.minimum_groups:
            need = self.baseline.minimum_groups * len(self.sampler.signs)
            raise BadInput(
                f"the baseline {type(self.baseline).__name__} needs at least {need} copies with "
                f"the sampler {type(self.sampler).__name__}, got {self.copies}"
            )
        for name in ("probe_every", "monitor_every"):
            if (value := getattr(self, name)) < 1:
                raise BadInput(f"{name} must be at least 1 step, got {value}")

    def init(self, network: Sequential, params: tuple[Params, ...], loss: Loss) -> EstimatorState:
        """Nothing is remembered yet. The shapes depend on whether the loss has a derivative."""
        parameter = next(iter(params[network.stages[0]].values()))
        backend, dtype = backend_of(parameter), parameter.dtype
        if isinstance(self.noise, tuple) and len(self.noise) != len(network.stages):
            raise BadInput(
                f"the network has {len(network.stages)} stages but {len(self.noise)} noises were "
                "given: give one per stage, or a single one for all"
            )
        control_variate = self.control_variate or JacobianControlVariate()
        outputs = prod(network.output_shape) if loss.differentiable else 1
        merits = tuple(Merit() for _ in network.stages)
        evidence = tuple(
            control_variate.init(backend, outputs, prod(shape), dtype)
            for shape in network.noise_shapes
        )
        return EstimatorState(evidence, merits, merits)

    def __call__(
        self,
        network: Sequential,
        params: tuple[Params, ...],
        batch: tuple[Array, Array],
        loss: Loss,
        key: Key,
        state: EstimatorState,
    ) -> tuple[Estimate, EstimatorState]:
        """Estimate the gradient of the mean loss of one batch.

        Args:
            batch: inputs (N, *input_shape) and targets, on the backend of the parameters. The
                targets are not checked here, for speed: call `loss.check` once beforehand.
            key: address of this step's noise; its step must be new in every call.
            state: from `init`, or from the step before.

        Raises:
            BadInput: the batch does not fit the network.
        """
        x, target = batch
        backend = same_backend(x=x, target=target)
        if x.shape[0] != target.shape[0]:
            raise BadInput(f"the batch has {x.shape[0]} inputs but {target.shape[0]} targets")
        trace = network.run_clean(params, x)
        losses, error = loss.value_and_gradient(trace.output, target)
        if error is None:  # the loss takes the place of the output, with derivative 1
            error = backend.xp.ones_like(losses)[:, None]
        clean = CleanRun(network, params, loss, target, trace, losses, error)
        monitor = key.step % self.monitor_every == 0 and x.shape[0] > 1
        steps = self._predict(clean, state, monitor)
        passes: tuple[tuple[int, ...], ...] = ()
        if key.step % self.probe_every == 0 or any(step.weighs for step in steps):
            passes = self.schedule.passes([i for i, step in enumerate(steps) if step.noised])
        for block, groups in enumerate(self._blocks(trace) if passes else ()):
            draw = Draw(self.sampler, groups, key._replace(block=block))
            run_copies(clean, steps, passes, draw, self.baseline, self.control_variate)
        grads: list[Params] = [{} for _ in params]
        for node, step in zip(network.stages, steps, strict=True):
            grads[node] = step.gradient()
        state = self._learn(steps, state)
        info = Figures(
            estimand=self.estimand(network, loss),
            forward_passes=1 + self.copies * len(passes),
            weights=tuple((step.beta, step.weight, step.noised) for step in steps),
            merit=state.gradient,
            copies=self.copies,
        )
        return Estimate(backend.xp.sum(losses) / losses.shape[0], tuple(grads), info), state

    def estimand(self, network: Sequential, loss: Loss) -> str:
        """Say in words whose gradient is estimated, and whether without bias."""
        return describe(self.schedule, self.control_variate, network, loss)

    def _predict(self, clean: CleanRun, state: EstimatorState, monitor: bool) -> list[StageStep]:
        """Predict every stage's credit, before any noise is drawn."""
        network, trace = clean.network, clean.trace
        steps = [
            StageStep(network.layer(stage), visit, self._noise(stage), self.copies, monitor)
            for stage, visit in enumerate(trace.visits)
        ]
        if (control_variate := self.control_variate) is None:
            return steps
        residual = residual_weight(control_variate, clean.loss)
        last_is_identity = ends_in_stage(network, clean.loss)
        last_is_exact = is_last_exact(control_variate, network, clean.loss)
        for stage, step in enumerate(steps):
            last = last_is_identity and step is steps[-1]
            step.noised = not (last and last_is_exact)
            step.predict(control_variate, state.evidence[stage], clean.error, last)
            if step.noised:
                step.measures_residual = isinstance(residual, str)
                step.weight = (
                    state.residual[stage].best_weight() if isinstance(residual, str) else residual
                )
        return steps

    def _learn(self, steps: list[StageStep], state: EstimatorState) -> EstimatorState:
        evidence = state.evidence
        if self.control_variate is not None:
            evidence = tuple(
                step.learn(self.control_variate, old)
                for step, old in zip(steps, evidence, strict=True)
            )
        return EstimatorState(
            evidence,
            tuple(s.judge_gradient(old) for s, old in zip(steps, state.gradient, strict=True)),
            tuple(s.judge_residual(old) for s, old in zip(steps, state.residual, strict=True)),
        )

    def _noise(self, stage: int) -> Noise:
        return self.noise[stage] if isinstance(self.noise, tuple) else self.noise

    def _blocks(self, trace: Trace) -> Iterator[int]:
        """Yield the number of groups in every block of copies."""
        groups = self.copies // len(self.sampler.signs)
        largest = max(prod(visit.drive.shape) for visit in trace.visits)
        itemsize = 8 if "64" in str(trace.output.dtype) else 4
        group_bytes = len(self.sampler.signs) * largest * itemsize
        size = max(self.baseline.minimum_groups, self.block_bytes // group_bytes)
        blocks = max(1, groups // size)
        for block in range(blocks):
            yield groups // blocks + (block < groups % blocks)
