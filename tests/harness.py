"""Is an estimator unbiased? Tiny networks, their exact gradients, and the verdict of z-scores.

A `Case` knows a network and, written independently of nolr, the loss of its noised copies. The
exact gradient is the finite difference of the Gauss-Hermite quadrature of that loss: it owes
nothing to the likelihood-ratio identity. A batch is four samples tiled many times, so that one
call of an estimator holds many independent draws; calls at different steps give the standard
error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import reference
from scipy import stats

from nolr.activations import Identity, Tanh
from nolr.backends import get_backend
from nolr.copies import split_copies
from nolr.estimation import JacobianControlVariate, Joint, LikelihoodRatio
from nolr.estimation.evidence import Evidence
from nolr.layers import Dense
from nolr.losses import CrossEntropy, MeanSquaredError
from nolr.network import Residual, Sequential
from nolr.noise import Gaussian
from nolr.reach import Everywhere
from nolr.types import Noise

NUMPY = get_backend("numpy")
SIGMA = 0.5
SHARE = 1e-6 / 1000  # of one certificate: of all in the suite, fewer than a thousand, 1e-6
X = np.array([[0.9, -0.4], [-0.7, 1.1], [0.3, 0.8], [-1.2, -0.5]])
LABELS = np.array([0, 1, 1, 0])
TARGETS = np.array([[0.5, -1.0], [1.5, 0.3], [-0.4, 0.8], [0.1, 0.2]])


# --- objects that exist for these tests only ------------------------------------------------------


@dataclass(frozen=True)
class LinearLoss:
    """ℓ = c · o: the gradient of its mean is known exactly, for every noise."""

    c: tuple[float, ...] = (1.3, -0.6)
    differentiable = True

    def check(self, targets, output_shape):
        """Any target will do."""

    def __call__(self, output, target):
        return output @ np.array(self.c)

    def value_and_gradient(self, output, target):
        return self(output, target), np.tile(np.array(self.c), (output.shape[0], 1))


@dataclass(frozen=True)
class TwoSteps:
    """A recurrent layer of one unit and two time steps; x is (N, 2), one number a step.

    h₁ = tanh(w x₁ + b + ε₁),  h₂ = tanh(w x₂ + u h₁ + b + ε₂),  y = (h₁, h₂)

    It makes the estimator give every copy its own past, even in the first stage of a tail.
    """

    trainable = True
    affine = False
    recurrent = True
    pulls_past = True
    reach = Everywhere()
    noise_reach = Everywhere()

    def output_shape(self, input_shape):
        return (2,)

    def noise_shape(self, input_shape):
        return (2,)

    def init(self, key):
        return {"w": np.array([0.8]), "u": np.array([-1.1]), "b": np.array([0.2])}

    def drive(self, params, x):
        return x * params["w"] + params["b"]

    def respond(self, params, drive, noise):
        z = drive[None] if noise is None else split_copies(noise, drive.shape[0]) + drive
        z = z.reshape(-1, 2)
        first = np.tanh(z[:, 0])
        second = np.tanh(z[:, 1] + params["u"] * first)
        past = np.stack([np.zeros_like(first), first], axis=1)
        return np.stack([first, second], axis=1), past

    def pullback(self, x, past, score):
        total = {"w": score * x, "u": score * past, "b": score}
        return {name: np.sum(value).reshape(1) for name, value in total.items()}

    def gate(self, drive, past, scale):
        return 1 - np.tanh(drive + 0.3 * past) ** 2  # any fixed array will do


@dataclass(frozen=True)
class WrongScore:
    """Noise whose score is off by a factor, as with a wrong σ in it, or is that of other noise."""

    noise: Noise
    factor: float = 1.0
    other: Noise | None = None
    linear = False

    @property
    def scale(self):
        return self.noise.scale

    def colour(self, white):
        return self.noise.colour(white)

    def score(self, white):
        return self.factor * (self.other or self.noise).score(white)


# --- cases ----------------------------------------------------------------------------------------


def cross_entropy_rows(o, label):
    top = o.max(axis=1)
    return np.log(np.exp(o - top[:, None]).sum(axis=1)) + top - o[:, label]


@dataclass(frozen=True)
class Case:
    """A network, a loss, and the mean loss of four samples under P given noises."""

    network: Sequential
    loss: object
    target: np.ndarray
    mean_loss: Callable
    """(params, stage -> noise (P, units)) -> mean over samples of the loss (P,)."""
    given: tuple | None = None
    """Parameters, where the initial ones do not suit."""
    x: np.ndarray | None = None
    """Inputs, where they are not X."""
    expected: Callable | None = None
    """(params, noised stages, points an axis) -> E[mean loss], where a grid would be too large."""
    sigma: float = SIGMA

    @property
    def inputs(self):
        return X if self.x is None else self.x

    @property
    def stages(self):
        return range(len(self.network.stages))

    @property
    def params(self):
        """The initial parameters moved a little, so that no bias is 0."""
        if self.given is not None:
            return self.given
        rng = np.random.default_rng(8)
        return tuple(
            {name: array + 0.2 * rng.normal(size=array.shape) for name, array in theta.items()}
            for theta in self.network.init(4, NUMPY, "float64")
        )


def dense_case(loss, target, *layers, inputs=X, **more):
    network = Sequential(*layers, input_shape=(2,))

    def mean_loss(params, noises):
        links = reference.links_of(
            network, params, lambda f: reference.ROW_FUNCTIONS[type(f).__name__]
        )
        total = 0.0
        for x, t in zip(inputs, target, strict=True):
            o = reference.run_rows(links, x, noises)
            if isinstance(loss, LinearLoss):
                total = total + o @ np.array(loss.c)
            elif isinstance(loss, MeanSquaredError):
                total = total + np.mean((o - t) ** 2, axis=1)
            else:
                total = total + cross_entropy_rows(o, t)
        return total / len(inputs)

    return Case(network, loss, target, mean_loss, x=inputs, **more)


def recurrent_mean_loss(params, noises):
    hidden, output = params
    eps, last = noises.get(0, np.zeros((1, 2))), noises.get(1, 0.0)
    total = 0.0
    for x, label in zip(X, LABELS, strict=True):
        h1 = np.tanh(hidden["w"] * x[0] + hidden["b"] + eps[:, 0])
        h2 = np.tanh(hidden["w"] * x[1] + hidden["u"] * h1 + hidden["b"] + eps[:, 1])
        h = np.stack([h1, h2], axis=1)
        total = total + cross_entropy_rows(h @ output["W"].T + output["b"] + last, label)
    return total / len(X)


CASES = {
    "single": dense_case(CrossEntropy(), LABELS, Dense(2, 2, Identity())),
    "chain": dense_case(CrossEntropy(), LABELS, Dense(2, 2, Tanh()), Dense(2, 2, Identity())),
    "block": dense_case(CrossEntropy(), LABELS, Dense(2, 2, Tanh()), Residual(Dense(2, 2, Tanh()))),
    "recurrent": Case(
        Sequential(TwoSteps(), Dense(2, 2, Identity()), input_shape=(2,)),
        CrossEntropy(),
        LABELS,
        recurrent_mean_loss,
    ),
    "linear": dense_case(LinearLoss(), LABELS, Dense(2, 2, Identity()), Dense(2, 2, Identity())),
    "quadratic": dense_case(
        MeanSquaredError(), TARGETS, Dense(2, 2, Identity()), Dense(2, 2, Identity())
    ),
}


# --- truth, estimates, verdict --------------------------------------------------------------------


def expected_loss(case, params, noised, points):
    """E[mean loss] with noise in the given stages, by Gauss-Hermite quadrature."""
    if case.expected is not None:
        return case.expected(params, noised, points)
    shapes = [case.network.noise_shapes[stage] for stage in noised]
    grid, weights = reference.hermite_grid(sum(shape[0] for shape in shapes), points)
    noises, start = {}, 0
    for stage, (units,) in zip(noised, shapes, strict=True):
        noises[stage] = case.sigma * grid[:, start : start + units]
        start += units
    return float(weights @ case.mean_loss(params, noises))


def flat(grads, network):
    """One vector, stage by stage and name by name."""
    return np.concatenate(
        [grads[node][name].reshape(-1) for node in network.stages for name in sorted(grads[node])]
    )


def stage_gradient(case, stage, noised, points):
    """That of one stage, by the names of its parameters, with noise in the given stages."""
    (found,) = reference.parameter_gradient(
        lambda moved: expected_loss(case, moved, noised, points),
        case.params,
        [case.network.stages[stage]],
        step=1e-4,
    )
    return found


def scheduled_gradient(case, joint, points):
    """The gradient that the schedule promises: of its own loss for every stage, or of one."""
    grads = [{} for _ in case.params]
    for stage in case.stages:
        noised = tuple(case.stages) if joint else (stage,)
        grads[case.network.stages[stage]] = stage_gradient(case, stage, noised, points)
    return flat(grads, case.network)


@cache
def exact_gradient(name, joint, points=None):
    """That of a case by its name."""
    case = CASES[name]
    # Noise in two units or in four: the grid has points ** units nodes.
    return scheduled_gradient(case, joint, points or (12 if joint and len(case.stages) > 1 else 20))


def adversarial(estimator, case, seed=1):
    """A state whose predictions are strong, wrong, and fixed before every draw."""
    state = estimator.init(case.network, case.params, case.loss)
    rng = np.random.default_rng(seed)
    evidence = tuple(
        Evidence(
            moment=rng.normal(size=old.moment.shape),
            energy=rng.uniform(0.5, 2.0, size=old.energy.shape),
            draws=np.array(1e9),
            covariance=np.array(0.7),
            power=np.array(1.0),
        )
        for old in state.evidence
    )
    return state._replace(evidence=evidence)


def estimates_of(case, estimator, calls=64, tiles=500, seed=0):
    """Independent estimates (calls, P), all from the same, never updated state."""
    params, state = case.params, adversarial(estimator, case)
    batch = tuple(np.concatenate([array] * tiles) for array in (case.inputs, case.target))
    return np.stack(
        [
            flat(
                estimator(case.network, params, batch, case.loss, key, state)[0].grads, case.network
            )
            for key in reference.keys(calls, seed=seed)
        ]
    )


def estimates(name, *args, **kwargs):
    """Those of a case by its name."""
    return estimates_of(CASES[name], *args, **kwargs)


@dataclass(frozen=True)
class Verdict:
    """Largest |z| of a coordinate, and the p-value of all coordinates together."""

    largest: float
    p: float

    @property
    def unbiased(self):
        return self.largest < 5 and self.p > 1e-6

    @property
    def rejected(self):
        """Not merely `not unbiased`: far beyond what chance could do."""
        return self.largest > 6 or self.p < 1e-8


def judge(draws, truth):
    """Compare the mean of independent estimates with the truth.

    The coordinates of one estimate are correlated, so the aggregate is Hotelling's T², the
    chi-square test for a covariance that is itself estimated.
    """
    n, p = draws.shape
    deviation = draws.mean(axis=0) - truth
    t2 = n * deviation @ np.linalg.solve(np.cov(draws.T), deviation)
    pvalue = stats.f.sf(t2 * (n - p) / (p * (n - 1)), p, n - p)
    return Verdict(float(np.abs(reference.z_scores(draws, truth)).max()), float(pvalue))


def estimator(sampler, schedule, baseline, residual=None, copies=4, noise=None):
    """A likelihood-ratio estimator as these tests want it."""
    return LikelihoodRatio(
        noise=noise or Gaussian(SIGMA),
        copies=copies,
        sampler=sampler,
        schedule=schedule,
        baseline=baseline,
        control_variate=None if residual is None else JacobianControlVariate(residual),
    )


def truth_of(name, schedule):
    return exact_gradient(name, isinstance(schedule, Joint))
