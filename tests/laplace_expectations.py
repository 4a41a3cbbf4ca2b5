"""Exact gradients with Laplace noise: of networks of `certified`, and of one with a step in it.

Where |ε|/b is exponentially distributed Gauss-Laguerre quadrature on either side of 0 is the
expectation; the density of the difference of two such numbers is (1 + |t|) exp(-|t|) / 4.
"""

from __future__ import annotations

from functools import cache, partial
from itertools import product

import certified
import harness
import numpy as np
import reference
import test_unbiased_families as families
from expectations import dense_mean_loss
from scipy import stats

from nolr.activations import Identity, Step
from nolr.layers import Dense
from nolr.losses import CrossEntropy
from nolr.network import Sequential

__all__ = ["FAMILIES", "STEP", "exact_gradient", "laplace_grid", "step_gradient"]

FAMILIES = {  # mean losses of networks of two stages, and the numbers with noise in the first one
    "dense": (partial(dense_mean_loss, skip=0), 2),
    "residual": (partial(dense_mean_loss, skip=1), 2),
    "recurrent": (families.rnn_mean_loss, 3),
}
NODES = {2: 32, 3: 12}  # on either side of 0, by numbers with noise


@cache
def laplace_grid(units, sigma, nodes):
    """Noise (P, units) and weights (P,), for a Laplace distribution of standard deviation σ."""
    t, weight = np.polynomial.laguerre.laggauss(nodes)
    axis, weight = np.concatenate([-t, t]) * sigma / np.sqrt(2), np.tile(weight, 2) / 2
    grid = np.array(list(product(axis, repeat=units)))
    return grid, np.prod(list(product(weight, repeat=units)), axis=1)


def cross_entropy_with_noise(sigma):
    """That of two outputs with Laplace noise in both, (P, 2), averaged over it."""
    t, weight = np.polynomial.laguerre.laggauss(32)
    shift, weight = np.concatenate([-t, t]) * sigma / np.sqrt(2), np.tile(weight * (1 + t) / 4, 2)

    def loss(o, label):
        margin = o[:, 1 - label] - o[:, label]
        return np.logaddexp(0, margin[:, None] + shift) @ weight

    return loss


def expected_loss(name, params, noised, nodes):
    """The mean loss with noise in some of the two stages, the last of which is affine."""
    (mean_loss, units), case = FAMILIES[name], certified.FAMILIES[name]
    grid, weights = np.zeros((1, units)), np.ones(1)
    if 0 in noised:
        grid, weights = laplace_grid(units, case.sigma, nodes)
    loss = cross_entropy_with_noise(case.sigma) if 1 in noised else harness.cross_entropy_rows
    noises = grid, np.zeros((1, 2))
    return float(weights @ mean_loss(params, noises, loss, case.inputs, case.target))


@cache
def stage_gradient(name, stage, noised, fewer):
    case, nodes = certified.FAMILIES[name], round((1 - fewer) * NODES[FAMILIES[name][1]])
    (found,) = reference.parameter_gradient(
        lambda moved: expected_loss(name, moved, noised, nodes),
        case.params,
        [case.network.stages[stage]],
        step=1e-4,
    )
    return found


def exact_gradient(name, noised, fewer=0.0):
    """In the layout of the parameters.

    Args:
        noised: for every stage, the stages that have noise.
        fewer: the share of nodes to do without, to see whether there are enough.
    """
    case = certified.FAMILIES[name]
    grads = [{} for _ in case.params]
    for stage, node in enumerate(case.network.stages):
        grads[node] = stage_gradient(name, stage, tuple(noised[stage]), fewer)
    return tuple(grads)


# --- a step ---------------------------------------------------------------------------------------

STEP = harness.Case(
    Sequential(Dense(2, 2, Step()), Dense(2, 2, Identity()), input_shape=(2,)),
    CrossEntropy(),
    harness.LABELS,
    None,
    (
        {"W": np.array([[0.9, -0.5], [0.4, 1.2]]), "b": np.array([0.1, -0.2])},
        {"W": np.array([[1.1, -0.8], [-0.3, 0.9]]), "b": np.array([-0.35, 0.15])},
    ),
)


@cache
def step_gradient():
    """Layer by layer: the four patterns of the units are a finite sum, and behind them the last
    stage is smooth."""
    first, second = STEP.params
    width = STEP.sigma / np.sqrt(2)  # b
    grads = [{name: np.zeros_like(a) for name, a in theta.items()} for theta in STEP.params]
    grid, weight = laplace_grid(2, STEP.sigma, 32)
    for x, label in zip(STEP.inputs, STEP.target, strict=True):
        v = first["W"] @ x + first["b"]
        delta = np.zeros(2)
        for pattern in product((0, 1), repeat=2):
            logits = second["W"] @ np.array(pattern) + second["b"]
            ell = reference.cross_entropy(logits, label)
            chance = stats.laplace.cdf((2 * np.array(pattern) - 1) * v, 0, width)
            slope = (2 * np.array(pattern) - 1) * stats.laplace.pdf(v, 0, width)
            delta += ell * np.array([slope[0] * chance[1], chance[0] * slope[1]])
        grads[0]["W"] += np.outer(delta, x) / len(STEP.inputs)
        grads[0]["b"] += delta / len(STEP.inputs)
        fires = (v > 0).astype(float)
        o = second["W"] @ fires + second["b"] + grid
        share = np.exp(o - o.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        delta = weight @ (share - np.eye(2)[label])
        grads[1]["W"] += np.outer(delta, fires) / len(STEP.inputs)
        grads[1]["b"] += delta / len(STEP.inputs)
    return tuple(grads)
