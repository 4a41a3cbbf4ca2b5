"""Certificates of evolution strategies and forward gradients in one network of every family.

A run of these networks takes long enough that their directions are drawn by a sampler with far less
variance than those of nolr, which have their certificates in `test_parameter_certificates`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from math import lcm

import certified
import numpy as np
import pytest
from controls import TOLERANCE, assert_certified
from parameter_line import certify
from parameter_smoothing import PAIRS, SIGMA, clean_gradient, smoothed_gradient
from scipy import stats
from test_coupled_samplers import is_white
from test_parameter_space import SCHEDULES, name_of

from nolr.backends import get_backend
from nolr.estimation import EvolutionStrategies, ForwardGradient, Joint
from nolr.optimizers import ravel
from nolr.testing import BIASED
from nolr.types import Key

SMOOTH = [name for name in certified.FAMILIES if name != "spiking"]


@dataclass(frozen=True)
class Frames:
    """Pairs along the axes of random frames, as many as it takes: they miss no direction.

    Two frames after one another have lengths that even out, the quantiles u and 1 - u of those of
    normal vectors, so that every η is white noise. With `equal` lengths it has E[η ηᵀ] = I, which
    is all that a forward gradient needs.
    """

    equal: bool = False
    signs = (1.0, -1.0)
    independent_groups = False

    def draw(self, backend, key, groups, shape, dtype):
        rng, d = np.random.default_rng([key.seed, key.step, key.stage, key.block]), shape[1]
        frames = -(-groups // d)
        axes = np.linalg.qr(rng.normal(size=(frames, d, d)))[0]
        axes *= rng.choice((-1.0, 1.0), (frames, 1, d))  # as QR fixes their signs
        u = rng.random((-(-frames // 2), 1))
        chances = np.concatenate([u, 1 - u], axis=1).reshape(-1)[:frames]
        lengths = np.full(frames, np.sqrt(d)) if self.equal else stats.chi.ppf(chances, d)
        directions = np.swapaxes(axes, 1, 2) * lengths[:, None, None]
        return directions.reshape(-1, *shape)[:groups].astype(dtype)


def test_every_direction_of_the_frames_is_white():
    draws = np.stack(
        [
            Frames().draw(get_backend("numpy"), Key(0, step=step), 8, (1, 4), float)
            for step in range(2500)
        ]
    )
    assert all(is_white(draws[:, group]) for group in range(8))
    assert not any(is_white(1.05 * draws[:, group]) for group in range(8))


@cache
def task(name):
    case = certified.FAMILIES[name]
    return case.network, case.params, (case.inputs, case.target), case.loss


def sizes(name):
    """The number of parameters of every stage."""
    network, params, *_ = task(name)
    return [sum(array.size for array in params[node].values()) for node in network.stages]


def certify_in(name, truth, method):
    network, params, batch, loss = task(name)
    given = {"rows": len(batch[0]), "reference": truth}
    return certify(method, network, params, batch, loss, **given)


@pytest.mark.parametrize("name", certified.FAMILIES)
def test_evolution_strategies_have_their_certificates(name):
    method = EvolutionStrategies(SIGMA[name], 2 * 2 * sum(sizes(name)), Frames())
    assert_certified(partial(certify_in, name, smoothed_gradient(name)), method, (0, 1))


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_forward_gradients_have_their_certificates(name, schedule):
    """But behind spikes, where a loss has no slope that is of use."""
    whole = sum(sizes(name)) if isinstance(schedule, Joint) else lcm(*sizes(name))
    method = ForwardGradient(2 * whole, Frames(equal=True), schedule)
    assert_certified(partial(certify_in, name, clean_gradient(name)), method, (0, 1))


def test_a_forward_gradient_knows_nothing_of_what_noise_makes_of_a_jump():
    method = ForwardGradient(2 * sum(sizes("spiking")), Frames(equal=True))
    assert certify_in("spiking", smoothed_gradient("spiking"), method).verdict == BIASED


@pytest.mark.parametrize("name", SMOOTH)
def test_the_points_of_the_exact_gradients_are_enough(name):
    """Half of them are off by less than a fifth of what is tolerated, either way."""
    pairs = np.arange(2 * PAIRS) // 2
    one, other = (smoothed_gradient(name, pairs % 2 == half) for half in (0, 1))
    for node in task(name)[0].stages:
        mean, apart = (
            ravel([one[node]]) + ravel([other[node]]),
            ravel([one[node]]) - ravel([other[node]]),
        )
        assert np.linalg.norm(apart) < 0.2 * TOLERANCE * np.linalg.norm(mean)
