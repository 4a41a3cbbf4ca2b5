"""A network of a few parameters, for estimators that move parameters, and its exact gradients.

    y = sin(tanh(x a) c),  a (1, units),  c (units, 1),  loss = y · target

What a certificate costs is the variance of a copy as a fraction of the squared norm of the
gradient, and the time of a copy. So there is as little work in a run as there can be, both stages
have gradients of similar size, and the loss turns where noise takes the parameters too far: then
it tells noise in one stage from noise in both, and either from none. The numbers were found by
random search and rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import reference
from controls import TOLERANCE
from harness import SHARE

from nolr.copies import add_noise
from nolr.network import Sequential
from nolr.optimizers import ravel, unravel
from nolr.reach import Same
from nolr.testing import check_unbiased

__all__ = ["BATCH", "LOSS", "NETWORK", "PARAMS", "SIGMA", "certify", "smaller", "truth"]


@dataclass(frozen=True)
class Line:
    """y = f(x a), with a of a given shape."""

    activation: object
    inputs: int
    units: int

    trainable = True
    affine = False
    recurrent = False
    pulls_past = False
    reach = Same()
    noise_reach = Same()

    def output_shape(self, input_shape):
        return (self.units,)

    def noise_shape(self, input_shape):
        return (self.units,)

    def init(self, key):
        return {"a": np.zeros((self.inputs, self.units))}

    def drive(self, params, x):
        return x @ params["a"]

    def respond(self, params, drive, noise):
        return self.activation(add_noise(drive, noise)), None


@dataclass(frozen=True)
class Product:
    """output · target."""

    differentiable = True

    def check(self, targets, output_shape):
        """Any target will do."""

    def __call__(self, output, target):
        return output[:, 0] * target


def network_of(units):
    return Sequential(Line(np.tanh, 1, units), Line(np.sin, units, 1), input_shape=(1,))


SIGMA = 0.5
BATCH = X, Y = np.array([[-0.4], [-1.6]]), np.array([2.4, 2.0])
PARAMS = {"a": np.array([[-0.5, 1.3, -1.2, 0.7]])}, {"a": np.array([[1.8], [0.8], [0.1], [0.1]])}
NETWORK, LOSS = network_of(4), Product()


def smaller(units):
    """The network with its first units alone, and their parameters."""
    first, second = (theta["a"] for theta in PARAMS)
    return network_of(units), ({"a": first[:, :units]}, {"a": second[:units]})


def smoothed(theta, noised, sigma):
    """E of the mean loss at θ (2·units,), with noise in some stages.

    Units are independent, so E exp(i Σ) is a product, and of normal c each factor is known given a.
    """
    first, second = np.split(theta, 2)
    levels = [sigma * (stage in noised) for stage in (0, 1)]
    nodes, weights = reference.hermite_grid(1, 60)
    total = 0.0
    for x, y in zip(X[:, 0], Y, strict=True):
        h = np.tanh((first + levels[0] * nodes) * x)
        waves = weights @ np.exp(1j * second * h - 0.5 * (levels[1] * h) ** 2)
        total += y * np.prod(waves).imag / len(X)
    return total


@cache
def truth(schedule, sigma=SIGMA, units=4):
    """The exact gradient of what a schedule promises; of the clean loss where σ is 0."""
    _, params = smaller(units)
    theta, found = ravel(params), np.zeros(2 * units)
    for stages in schedule.passes((0, 1)):
        for i in (stage * units + unit for stage in stages for unit in range(units)):
            sides = (
                smoothed(theta + h * np.eye(2 * units)[i], stages, sigma) for h in (1e-4, -1e-4)
            )
            found[i] = np.subtract(*sides) / 2e-4
    return unravel(found, params)


def certify(method, network=NETWORK, params=PARAMS, batch=BATCH, loss=LOSS, **more):
    """To 5 %. More rows would be the same directions once more."""
    settings = {"tolerance": TOLERANCE, "error_rate": SHARE, "rows": 2, "max_draws": 2048}
    return check_unbiased(method, network, params, batch, loss, **(settings | {"state": ()} | more))
