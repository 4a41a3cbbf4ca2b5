"""Hypothesis strategies: what they draw, how it shrinks, and the programs that are printed."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import random
from math import prod
from textwrap import indent

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from mutations import FAULTS

from nolr.activations import Identity, Step
from nolr.backends import backend_of, get_backend
from nolr.errors import BadInput
from nolr.estimation import (
    CleanLoss,
    EvolutionStrategies,
    ForwardGradient,
    Joint,
    LayerWise,
    LeaveGroupOut,
    LikelihoodRatio,
    NoBaseline,
)
from nolr.estimation.allocation import Equal, Neyman, RandomTails
from nolr.layers import LIF, AvgPool2D, Conv2D, Dense, Flatten, MaxPool2D, SimpleRNN, dense
from nolr.losses import CrossEntropy, MeanSquaredError, ZeroOne
from nolr.network import Sequential
from nolr.nodes import Fork
from nolr.noise import Gaussian, Laplace
from nolr.optimizers import ravel
from nolr.sampling import Antithetic, Independent, Orthogonal, Sobol
from nolr.testing import strategies
from nolr.testing.strategies import (
    FAMILY_NAMES,
    batches,
    cases,
    estimators,
    losses,
    networks,
    noises,
    parameter_estimators,
    parameters,
)

SEARCH = settings(
    max_examples=1000, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


SEARCH_ALONE = settings(SEARCH, phases=[Phase.generate])
IN_VAIN = settings(SEARCH, max_examples=50)


def found(strategy, condition=lambda value: True, how=SEARCH):
    """The plainest example, or without shrinking the first one; the same in every run."""
    return find(strategy, condition, settings=how, random=random.Random(0))


def host(array):
    return np.asarray(backend_of(array).to_host(array))


# --- what is drawn --------------------------------------------------------------------------------


def test_the_plainest_case_is_one_unit_one_sample_and_the_plainest_estimator():
    case = found(cases())
    assert indent(case.program(), "    ") in inspect.getdoc(strategies)
    assert [type(node) for node in case.network.nodes] == [Dense]
    assert case.network.nodes[0] == Dense(1, 1, Identity())
    assert case.inputs.shape == (1, 1)
    assert (case.seed, case.steps, case.given) == (0, 1, None)
    assert case.estimator == LikelihoodRatio(
        Gaussian(1.0), 1, Independent(), baseline=NoBaseline(), control_variate=None
    )


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_plainest_network_of_a_family_is_one_unit(family):
    network = found(networks((family,)))
    assert len(network.stages) == 1
    params = network.init(0, get_backend("numpy"), "float64")
    assert all(array.size == 1 for theta in params for array in theta.values())


@pytest.mark.parametrize(
    ("family", "condition"),
    [
        ("dense", lambda net: len(net.stages) == 3 and isinstance(net.nodes[0], Flatten)),
        ("dense", lambda net: len(net.output_shape) == 2),
        ("dense", lambda net: isinstance(net.layer(0).activation, Step)),
        ("residual", lambda net: sum(isinstance(node, Fork) for node in net.nodes) == 2),
        ("convolution", lambda net: net.nodes[0].stride == 2 and net.nodes[0].padding == 1),
        ("convolution", lambda net: net.nodes[0].dilation == 2 and net.nodes[0].kernel == 3),
        ("convolution", lambda net: isinstance(net.nodes[1], Conv2D)),
        ("pooling", lambda net: any(n == MaxPool2D(2) for n in net.nodes)),
        ("pooling", lambda net: any(n == AvgPool2D(3) for n in net.nodes)),
        ("recurrent", lambda net: len(net.output_shape) == 2 and net.input_shape[0] == 3),
        ("spiking", lambda net: net.nodes[0].steps == 3 and net.nodes[0].learn_decay),
        ("spiking", lambda net: net.nodes[0].reset == "subtract" and net.nodes[0].steps is None),
        ("graph", lambda net: net.nodes[0].operator.nodes == 3 and len(net.stages) == 3),
        (
            "graph",
            lambda net: (net.nodes[0].operator.matrix != net.nodes[0].operator.matrix.T).nnz > 0,
        ),
        ("embedding", lambda net: isinstance(net.nodes[1], SimpleRNN) and net.nodes[0].tokens == 3),
    ],
)
def test_families_are_rich(family, condition):
    def guarded(network):
        try:
            return condition(network)
        except (AttributeError, IndexError):
            return False

    assert found(networks((family,)), guarded, SEARCH_ALONE)


def test_every_pair_of_choices_is_drawn():
    seen = set()

    @given(estimators())
    @settings(SEARCH_ALONE, max_examples=1500, derandomize=True)
    def look(estimator):
        variate = estimator.control_variate
        choices = [estimator.sampler, estimator.schedule, estimator.baseline]
        choices += ["plain" if variate is None else variate.residual, estimator.allocation]
        seen.update(itertools.combinations(choices, 2))

    look()
    samplers = (Independent(), Antithetic(), Orthogonal(), Sobol())
    schedules = (LayerWise(), Joint(), Joint(2))
    baselines = (NoBaseline(), CleanLoss(), LeaveGroupOut())
    residuals = ("plain", 0, 1.0, "adaptive")
    allocations = (Equal(), Neyman(), RandomTails(1))
    refused = {(Orthogonal(), LeaveGroupOut()), (Sobol(), LeaveGroupOut())}
    for kinds in itertools.combinations(
        (samplers, schedules, baselines, residuals, allocations), 2
    ):
        assert set(itertools.product(*kinds)) - refused <= seen


@given(cases(estimator=estimators(unbiased=True)))
def test_estimators_can_be_had_without_bias(case):
    assert case.estimate().info.estimand.endswith("unbiased")


@given(cases(jumps=False))
def test_jumps_can_be_left_out(case):
    assert not any(isinstance(node, LIF) for node in case.network.nodes)
    assert not any(
        isinstance(getattr(node, "activation", None), Step) for node in case.network.nodes
    )
    assert case.loss.differentiable


@given(st.data())
def test_targets_suit_the_loss(data):
    network, loss = data.draw(networks()), data.draw(losses())
    x, target = data.draw(batches(network, loss, max_samples=2))
    loss.check(target, network.output_shape)
    assert x.shape[1:] == network.input_shape
    assert 1 <= len(x) == len(target) <= 2


def test_peers_laplace_noise_and_every_loss_are_drawn():
    for kind in (EvolutionStrategies, ForwardGradient):
        assert found(parameter_estimators(), lambda one, kind=kind: isinstance(one, kind))
    for kind in (Gaussian, Laplace):
        assert found(noises(), lambda one, kind=kind: isinstance(one, kind)) == kind(1.0)
    for kind in (MeanSquaredError, CrossEntropy, ZeroOne):
        assert found(losses(), lambda one, kind=kind: isinstance(one, kind)) == kind()


def test_parameters_have_the_shapes_of_the_initial_ones():
    network = Sequential(LIF(2, 1, learn_decay=True), Dense(1, 2), input_shape=(2, 2))
    initial = network.init(0, get_backend("numpy"), "float64")

    @given(parameters(network))
    def check(params):
        for theta, start in zip(params, initial, strict=True):
            assert {k: v.shape for k, v in theta.items()} == {k: v.shape for k, v in start.items()}
        assert 0 <= params[0]["decay"][0] <= 1

    check()
    moved = found(parameters(network), lambda params: (params[1]["b"] != 0).all())
    assert (moved[1]["W"] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"families": ("dens",)}, "no family 'dens'; did you mean 'dense'"),
        ({"families": ()}, "families must be names like"),
        ({"families": "dense"}, "families must be names like"),
        ({"families": ("spiking",), "jumps": False}, "spiking networks jump"),
    ],
)
def test_families_that_make_no_sense_are_refused(arguments, words):
    for strategy in (networks, cases):
        with pytest.raises(BadInput, match=words):
            strategy(**arguments)


# --- planted faults, and how small what shows them is ---------------------------------------------


@contextlib.contextmanager
def planted(owner, attribute, wrong):
    right = inspect.getattr_static(owner, attribute)
    setattr(owner, attribute, wrong)
    try:
        yield
    finally:
        setattr(owner, attribute, right)


def bias_forgotten(case):
    """Whether a dense layer that forgets its bias gives another output."""
    right = case.output()
    with planted(dense, "linear", lambda x, params: x @ params["W"].T):
        return not np.array_equal(right, case.output())


def shows(name):
    """Whether a fault out of the table changes the estimate."""
    (fault,) = (fault for fault in FAULTS if fault.name == name)
    right = inspect.getattr_static(fault.owner, fault.attribute)

    def wrong(*args, **kwargs):
        return fault.wrong(right, *args, **kwargs)

    def condition(case):
        expected = host(ravel(case.estimate().grads))
        with planted(fault.owner, fault.attribute, wrong):
            return not np.allclose(expected, host(ravel(case.estimate().grads)), atol=1e-9)

    return condition


def size(case):
    """Stages, samples, units of the last stage, copies and steps."""
    network = case.network
    return len(network.stages), len(case.inputs), network.output_shape, case.estimator.copies


def test_a_fault_that_needs_a_bias_is_found_in_one_stage_of_few_units():
    case = found(cases(), bias_forgotten)
    stages, samples, shape, copies = size(case)
    # Where a search ends depends on the modules loaded: Hypothesis tries the numbers in them.
    assert (stages, samples, copies) == (1, 1, 1)
    assert prod(shape) <= 6
    (theta,) = case.given
    assert not np.any(theta["W"])
    assert np.any(theta["b"])
    with pytest.raises(NoSuchExample):  # the control: initial biases are 0, so none shows
        found(cases(), lambda case: case.given is None and bias_forgotten(case), IN_VAIN)


def test_a_fault_that_needs_two_stages_is_found_in_two():
    condition = shows("clean inputs in every copy")
    case = found(cases(("dense",)), condition)
    # With cross-entropy as the loss it takes two outputs.
    assert size(case) in [(2, 1, (1,), 1), (2, 1, (2,), 1)]
    assert isinstance(case.estimator.schedule, Joint)
    with pytest.raises(NoSuchExample):  # the control: a single stage has clean inputs
        found(
            cases(("dense",)),
            lambda case: len(case.network.stages) == 1 and condition(case),
            IN_VAIN,
        )
