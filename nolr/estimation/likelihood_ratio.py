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

from dataclasses import dataclass
from functools import partial
from math import prod

from nolr.backends import backend_of, namespace
from nolr.checks import check_batch
from nolr.errors import BadInput
from nolr.estimation.allocation import Equal
from nolr.estimation.baselines import CleanLoss
from nolr.estimation.control_variates import JacobianControlVariate
from nolr.estimation.estimand import describe, is_exact
from nolr.estimation.estimate import Estimate, EstimatorState
from nolr.estimation.figures import Figures, Merit
from nolr.estimation.perturbation import CleanRun, run_copies
from nolr.estimation.plan import Plan
from nolr.estimation.preparation import prepare
from nolr.estimation.schedules import LayerWise
from nolr.estimation.stage import StageStep
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.sampling import Antithetic, copy_groups
from nolr.types import Allocation, Array, Baseline, Key, Loss, Noise, Params, Sampler, Schedule
from nolr.workers import run_together, split_evenly

__all__ = ["LikelihoodRatio"]


@dataclass(frozen=True)
class LikelihoodRatio:
    """Estimate the gradient of a network's mean loss by forward runs alone.

    Args:
        noise: distribution of ε, the same for every stage, or one per stage.
        copies: noisy copies of every sample in every tail, in whole groups of the sampler.
        sampler: how the copies' noise is drawn together.
        schedule: which stages are noised together; decides the estimand.
        baseline: what a copy's loss is compared with.
        control_variate: predicts the credit of every unit; None for plain likelihood ratios.
        probe_every: where only the control variate has use for the copies (λ = 0), run them in
            every so many steps: the mean Jacobian changes slowly. Likewise its block probes.
        monitor_every: measure signal and noise in every so many steps (never in batches of one
            sample, which cannot be halved).
        workers: threads that share the samples of a batch; on one core, or a GPU, 1. Every worker
            draws noise of its own, so the numbers depend on how many there are.
        block_bytes: copies are worked through in blocks whose largest array, of one tail, is about
            this size, so that it stays in the cache.
        allocation: how all these copies are shared among the tails.

    Raises:
        BadInput: copies that make no whole number of groups, or too few for the baseline; a
            baseline of other groups where those are not independent.
    """

    noise: Noise | tuple[Noise, ...] = Gaussian()
    copies: int = 2
    sampler: Sampler = Antithetic()
    schedule: Schedule = LayerWise()
    baseline: Baseline = CleanLoss()
    control_variate: JacobianControlVariate | None = JacobianControlVariate()
    probe_every: int = 1
    monitor_every: int = 20
    workers: int = 1
    block_bytes: int = 1 << 20
    allocation: Allocation = Equal()

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
        if self.baseline.minimum_groups > 1 and not self.sampler.independent_groups:
            raise BadInput(
                f"the baseline {type(self.baseline).__name__} compares a copy with other groups, "
                f"which {type(self.sampler).__name__} draws together with it: choose CleanLoss()"
            )
        for name in ("probe_every", "monitor_every", "workers"):
            if (value := getattr(self, name)) < 1:
                raise BadInput(f"{name} must be at least 1, got {value}")

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
        features = network.output_shape if loss.differentiable else (*network.output_shape[:-1], 1)
        merits = tuple(Merit() for _ in network.stages)
        evidence = []
        for pathway in (p.within(control_variate.context) for p in network.pathways):
            outputs, units = prod(features), pathway.units
            if pathway.mixing is not None:  # of one position
                outputs = features[-1]
            if is_exact(pathway, loss):  # nothing to learn
                outputs = units = 0
            evidence.append(control_variate.init(backend, outputs, units, dtype, pathway.dependent))
        return EstimatorState(tuple(evidence), merits, merits, merits)

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
        check_batch(x, target)
        # Two samples at least for every worker: a single one could not be halved.
        parts = split_evenly(x.shape[0], min(self.workers, max(1, x.shape[0] // 2)))
        total = x.shape[0]
        smallest = min(rows.stop - rows.start for rows in parts)
        monitor = key.step % self.monitor_every == 0 and smallest > 1
        results = run_together(
            [
                partial(
                    self._run_part,
                    (network, params, loss, total),
                    (x[rows, ...], target[rows, ...]),
                    key._replace(block=number << 16),
                    state,
                    monitor,
                )
                for number, rows in enumerate(parts)
            ]
        )
        loss_sum, steps, copies = results[0]
        for more_loss, more_steps, _ in results[1:]:
            loss_sum = loss_sum + more_loss
            for step, more in zip(steps, more_steps, strict=True):
                step.absorb(more)
        grads: list[Params] = [{} for _ in params]
        for node, step in zip(network.stages, steps, strict=True):
            grads[node] = step.gradient()
        if copies or monitor:  # else there is nothing new to learn, or to measure
            state = self._learn(steps, state, key.step)
        info = Figures(
            estimand=self.estimand(network, loss),
            forward_passes=1 + copies,
            weights=tuple((step.beta, step.weight, step.copies) for step in steps),
            merit=state.gradient,
        )
        return Estimate(loss_sum / total, tuple(grads), info), state

    def _run_part(
        self,
        task: tuple[Sequential, tuple[Params, ...], Loss, int],
        batch: tuple[Array, Array],
        key: Key,
        state: EstimatorState,
        monitor: bool,
    ) -> tuple[Array, list[StageStep], int]:
        """The clean run and the copies of a part of the batch.

        Args:
            task: the network, its parameters, the loss, and the number of samples in all parts.

        Returns:
            The sum of the losses, what every stage found, and the noisy copies of all tails.
        """
        network, params, loss, total = task
        xp = namespace(batch[0])
        trace = network.run_clean(params, batch[0])
        losses, error = loss.value_and_gradient(trace.output, batch[1])
        if error is None:  # the losses take the place of the output, with derivative 1
            error = xp.ones_like(losses)[..., None]
        error = xp.reshape(error, (losses.shape[0], -1, error.shape[-1]))
        clean = CleanRun(network, params, loss, batch[1], trace, losses, error)
        noises = self.noise if isinstance(self.noise, tuple) else (self.noise,) * len(trace.visits)
        steps = prepare(clean, noises, self.control_variate, state, self.copies, total, monitor)
        passes = self.schedule.passes([i for i, step in enumerate(steps) if step.noised])
        copies = 0
        if passes and (kinds := self._sweeps(key, any(step.weighs for step in steps))):
            portions = self._plan.share(clean, steps, passes, key, state)
            for sweep in self._plan.sweeps(trace, passes, portions, key, kinds):
                run_copies(clean, steps, *sweep, self.baseline)
                copies += sweep.draw.groups * len(self.sampler.signs) * len(sweep.passes)
        for step in steps:
            step.finish()
        return xp.sum(losses), steps, copies

    def estimand(self, network: Sequential, loss: Loss) -> str:
        """Say in words whose gradient is estimated, and whether without bias."""
        return describe(self.schedule, self.control_variate, network, loss)

    def _sweeps(self, key: Key, weighing: bool) -> tuple[tuple[bool, bool], ...]:
        """What to run copies for: (whether the noise is in blocks, whether to learn from it)."""
        if (control_variate := self.control_variate) is None:
            return ((False, False),) if weighing else ()
        probing = key.step % self.probe_every == 0
        if control_variate.probe == "white":  # one noise serves both
            return ((False, True),) if probing or weighing else ()
        return ((True, True),) * probing + ((False, False),) * weighing

    def _learn(self, steps: list[StageStep], state: EstimatorState, number: int) -> EstimatorState:
        evidence = tuple(
            old
            if step.prediction is None or step.prediction.seen is None
            else step.prediction.control_variate.learn(old, step.prediction.seen, number)
            for step, old in zip(steps, state.evidence, strict=True)
        )
        gradient = (s.judge_gradient(old) for s, old in zip(steps, state.gradient, strict=True))
        spread = (s.judge_spread(old) for s, old in zip(steps, state.spread, strict=True))
        residual = (s.judge_residual(old) for s, old in zip(steps, state.residual, strict=True))
        return EstimatorState(evidence, tuple(gradient), tuple(spread), tuple(residual))

    @property
    def _plan(self) -> Plan:
        groups = self.copies // len(self.sampler.signs)
        return Plan(self.sampler, groups, self.allocation, self.baseline, self.block_bytes)
