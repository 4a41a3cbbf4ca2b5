"""Hypothesis draws noise and estimators; every combination that can be made is drawn."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from nolr.estimation import (
    CleanLoss,
    EvolutionStrategies,
    ForwardGradient,
    JacobianControlVariate,
    Joint,
    LayerWise,
    LeaveGroupOut,
    LikelihoodRatio,
    NoBaseline,
)
from nolr.estimation.allocation import Equal, Neyman, RandomTails
from nolr.noise import Gaussian, Laplace
from nolr.sampling import Antithetic, Independent, Orthogonal, Sobol
from nolr.testing.strategies.family import Draw
from nolr.types import Allocation, Baseline, Noise, Sampler, Schedule

__all__ = ["estimators", "noises", "parameter_estimators"]

ALLOCATIONS: list[Allocation] = [Equal(), Neyman(), RandomTails(1), RandomTails(2)]
BASELINES: list[Baseline] = [NoBaseline(), CleanLoss(), LeaveGroupOut()]
PAIRS: list[Sampler] = [Antithetic(), Antithetic("host"), Orthogonal(), Sobol()]
SAMPLERS: list[Sampler] = [Independent(), Independent("host"), *PAIRS]
SCHEDULES: list[Schedule] = [LayerWise(), Joint(), Joint(2)]

# Made once: to make a strategy takes longer than to draw from it.
yes, several = st.booleans(), st.integers(1, 3)
levels = st.floats(0.01, 2.0)
shapes_of_noise = st.sampled_from([Gaussian, Laplace])
block_sizes = st.sampled_from([1, 100, 1000])
allocations, baselines = st.sampled_from(ALLOCATIONS), st.sampled_from(BASELINES)
samplers, pairs = st.sampled_from(SAMPLERS), st.sampled_from(PAIRS)
schedules = st.sampled_from(SCHEDULES)
residuals = st.sampled_from([1.0, 0, "adaptive", 0.25])
methods = st.sampled_from([EvolutionStrategies, ForwardGradient])


def noises() -> st.SearchStrategy[Noise]:
    """Gaussian and Laplace noise with a standard deviation of 0.01 to 2."""
    return _draw_noise()


@st.composite
def _draw_noise(draw: Draw) -> Noise:
    return draw(shapes_of_noise)(draw(levels))


def estimators(*, unbiased: bool = False) -> st.SearchStrategy[LikelihoodRatio]:
    """Likelihood-ratio estimators: noise, copies, sampler, schedule, baseline, λ and allocation.

    Args:
        unbiased: only those that are: without a control variate, or with λ = 1.
    """
    return _draw_estimator(unbiased)


@st.composite
def _draw_estimator(draw: Draw, unbiased: bool) -> LikelihoodRatio:
    noise, sampler, baseline = draw(_draw_noise()), draw(samplers), draw(baselines)
    if isinstance(baseline, LeaveGroupOut) and not sampler.independent_groups:
        baseline = CleanLoss()  # the other is refused
    groups = baseline.minimum_groups - 1 + draw(several)
    usual = not draw(yes)  # how it works, which changes the cost more than the estimate
    return LikelihoodRatio(
        noise,
        groups * len(sampler.signs),
        sampler,
        draw(schedules),
        baseline,
        _control_variate(draw, unbiased) if draw(yes) else None,
        probe_every=1 if usual else draw(several),
        monitor_every=20 if usual else draw(several),
        workers=1 if usual else draw(several),
        block_bytes=1 << 20 if usual else draw(block_sizes),
        allocation=draw(allocations),
    )


def _control_variate(draw: Draw, unbiased: bool) -> JacobianControlVariate:
    return JacobianControlVariate(
        1.0 if unbiased else draw(residuals),
        forgetting=0.5 if draw(yes) else 0.98,
        ridge=0.0 if draw(yes) else 0.01,
        probe="block" if draw(yes) else "white",
    )


def parameter_estimators() -> st.SearchStrategy[Any]:
    """Their peers that perturb parameters: evolution strategies and forward gradients."""
    return _draw_parameter_estimator()


@st.composite
def _draw_parameter_estimator(draw: Draw) -> EvolutionStrategies | ForwardGradient:
    if draw(methods) is ForwardGradient:
        return ForwardGradient(2 * draw(several), draw(pairs), draw(schedules))
    sampler, baseline = draw(samplers), draw(baselines)
    groups = baseline.minimum_groups - 1 + draw(several)
    return EvolutionStrategies(
        draw(levels), groups * len(sampler.signs), sampler, draw(schedules), baseline
    )
