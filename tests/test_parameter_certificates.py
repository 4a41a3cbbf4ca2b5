"""Certificates of evolution strategies and forward gradients, and what these certificates find."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from controls import assert_certified
from parameter_line import BATCH, LOSS, NETWORK, PARAMS, SIGMA, certify, truth
from test_parameter_space import BASELINES, SCHEDULES, MeanOfAll, estimate, name_of, plain_loop

from nolr.estimation import EvolutionStrategies, ForwardGradient, Joint, LayerWise, LeaveGroupOut
from nolr.optimizers import ravel
from nolr.sampling import Antithetic, Independent, Orthogonal, Sobol
from nolr.testing import BIASED
from nolr.types import Key

COPIES = {"Independent": 256, "Antithetic": 256, "Orthogonal": 256, "Sobol": 128}
PAIRED = (Antithetic(), Orthogonal(), Sobol())
STAGES = (0, 1)


def estimate_at(method, key):
    return ravel(estimate(method, NETWORK, PARAMS, BATCH, LOSS, key).grads)


# --- certificates ---------------------------------------------------------------------------------


def claims():
    """Every combination; in pairs a baseline cancels, as the test below says, so one stands for
    all."""
    yield from itertools.product([Independent()], SCHEDULES, BASELINES)
    yield from itertools.product(PAIRED, SCHEDULES, [LeaveGroupOut()])


@pytest.mark.parametrize(("sampler", "schedule", "baseline"), list(claims()), ids=name_of)
def test_evolution_strategies_have_their_certificates(sampler, schedule, baseline):
    method = EvolutionStrategies(SIGMA, COPIES[name_of(sampler)], sampler, schedule, baseline)
    assert_certified(partial(certify, reference=truth(schedule)), method, STAGES)


@pytest.mark.parametrize("sampler", [Independent(), *PAIRED], ids=name_of)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_a_baseline_cancels_in_pairs_and_nowhere_else(sampler, schedule):
    for key in reference.keys(3):
        first, *others = (
            estimate_at(EvolutionStrategies(SIGMA, 6, sampler, schedule, baseline), key)
            for baseline in BASELINES
        )
        same = [np.allclose(first, other, rtol=0, atol=1e-12) for other in others]
        assert same == [sampler in PAIRED] * 2


def test_another_block_of_noise_is_another_estimate():
    one, other = (estimate_at(EvolutionStrategies(SIGMA), Key(0, block=b)) for b in (0, 1))
    assert not np.isclose(one, other).any()


@pytest.mark.parametrize("sampler", PAIRED, ids=name_of)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
def test_forward_gradients_have_their_certificates(sampler, schedule):
    method = ForwardGradient(COPIES[name_of(sampler)], sampler, schedule)
    assert_certified(partial(certify, reference=truth(schedule, 0.0)), method, STAGES)


@pytest.mark.parametrize(
    ("method", "sigma"),
    [(EvolutionStrategies(SIGMA, 128, Sobol()), SIGMA), (ForwardGradient(128, Sobol()), 0.0)],
    ids=name_of,
)
def test_float32_has_its_certificate(method, sigma):
    single = tuple({k: a.astype(np.float32) for k, a in theta.items()} for theta in PARAMS)
    settings = {
        "params": single,
        "batch": tuple(array.astype(np.float32) for array in BATCH),
        "reference": truth(Joint(), sigma),
    }
    assert_certified(partial(certify, **settings), method, STAGES)


@pytest.mark.parametrize("sampler", [Orthogonal(), Sobol()], ids=name_of)
def test_directions_that_are_drawn_together_are_worth_it(sampler):
    """Of the same number of copies the estimate has less variance."""

    def spread(method):
        return np.linalg.norm(np.std([estimate_at(method, k) for k in reference.keys(40)], axis=0))

    method = EvolutionStrategies(SIGMA, 160, sampler, Joint(), LeaveGroupOut())
    assert spread(method) < 0.75 * spread(replace(method, sampler=Antithetic()))


# --- what is biased -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        (EvolutionStrategies(SIGMA, 128, Sobol()), truth(LayerWise())),
        (EvolutionStrategies(SIGMA, 128, Sobol()), truth(Joint(), 0.0)),
        (EvolutionStrategies(SIGMA, 128, Sobol()), truth(Joint(), 1.2 * SIGMA)),
        (EvolutionStrategies(SIGMA, 128, Sobol(), LayerWise()), truth(Joint())),
        (EvolutionStrategies(SIGMA, 128, Sobol(), LayerWise()), truth(LayerWise(), 1.2 * SIGMA)),
        (ForwardGradient(128, Sobol()), truth(Joint(), 0.2)),
        (ForwardGradient(128, Sobol(), LayerWise()), truth(LayerWise(), 0.2)),
    ],
)
def test_the_gradient_of_another_estimand_is_found(method, wrong):
    assert certify(method, reference=wrong).verdict == BIASED


class Loop:
    """The plain loop as an estimator; it leaves a stage as it is, though it draws for it."""

    def __init__(self, method, unused):
        self.method, self.unused = method, unused

    def __call__(self, network, params, batch, loss, key, state):
        grads = plain_loop(self.method, network, params, batch, loss, key, unused=(self.unused,))
        return SimpleNamespace(grads=tuple(grads)), state


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
@pytest.mark.parametrize("unused", STAGES)
def test_a_stage_that_is_not_moved_is_found(schedule, unused):
    method = EvolutionStrategies(SIGMA, 64, schedule=schedule)
    certificate = certify(Loop(method, unused), reference=truth(schedule))
    assert unused in {found.stage for found in certificate.findings if found.verdict == BIASED}


def test_a_score_of_slightly_the_wrong_scale_is_found():
    class Louder(Sobol):
        """Directions that are 10 % too long, and taken for normal ones."""

        def draw(self, *args):
            return 1.1 * super().draw(*args)

    method = EvolutionStrategies(SIGMA, 128, Louder())
    assert certify(method, reference=truth(Joint())).verdict == BIASED


def test_a_baseline_that_includes_the_copy_itself_is_found():
    for copies in (2, 4):
        method = EvolutionStrategies(SIGMA, copies, Independent(), Joint(), MeanOfAll())
        certificate = certify(method, reference=truth(Joint()), max_draws=4096)
        assert certificate.verdict == BIASED
        # It shrinks the gradient to (K - 1) / K.
        share = abs(certificate.worst.bias) / certificate.worst.norm
        assert share == pytest.approx(1 / copies, rel=0.5)
