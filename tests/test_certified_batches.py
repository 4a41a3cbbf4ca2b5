"""What a certificate is about: a gradient that is not 0, and a batch of one size."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import harness
import numpy as np
import pytest
from harness import SHARE, estimator
from test_check_unbiased import CASES, certify

from nolr.activations import Identity, Tanh
from nolr.estimation import CleanLoss, EvolutionStrategies, ForwardGradient, LayerWise
from nolr.layers import Dense
from nolr.losses import MeanSquaredError
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.sampling import Antithetic, Sobol
from nolr.testing import BIASED, UNBIASED, UNDECIDED, check_unbiased
from nolr.testing.identities import ConstantLoss
from nolr.testing.report import hints, report

# --- a gradient of 0 ------------------------------------------------------------------------------


def zeros(inner):
    """An estimator that knows nothing, and says 0."""

    def silent(*args):
        estimate, state = inner(*args)
        grads = tuple({k: 0 * v for k, v in theta.items()} for theta in estimate.grads)
        return estimate._replace(grads=grads), state

    silent.noise, silent.schedule = inner.noise, inner.schedule
    return silent


def test_a_gradient_of_zero_tells_nothing():
    case = CASES["chain"]
    inner = estimator(Antithetic(), LayerWise(), CleanLoss(), None)
    state = inner.init(case.network, case.params, case.loss)
    known = case.network, case.params, (case.inputs, case.target)
    for method in (inner, zeros(inner)):
        certificate = check_unbiased(method, *known, ConstantLoss(), state=state)
        assert (certificate.verdict, certificate.draws) == (UNDECIDED, 64)
        assert {found.bound for found in certificate.findings} == {np.inf}
        assert "a gradient of 0 tells nothing" in str(certificate)
        (hint,) = hints(certificate)
        assert "a gradient of 0 tells nothing" in hint
    # The control: where there is a gradient, the same zeros are found out.
    found = check_unbiased(zeros(inner), *known, case.loss, state=state)
    assert found.verdict == BIASED
    assert "tells nothing" not in str(found)


def test_a_stage_without_a_gradient_is_not_certified_beside_one_that_has_one():
    """Weights of 0 let nothing of the first stage through, but they have a gradient themselves."""
    network = Sequential(Dense(2, 2, Identity()), Dense(2, 2, Identity()), input_shape=(2,))
    method = estimator(Antithetic(), LayerWise(), CleanLoss(), None)
    batch, verdicts = (CASES["chain"].inputs[:2], np.array([[3.0, 1.0], [2.0, 4.0]])), []
    for factor in (0.0, 1.0):
        params = network.init(0, harness.NUMPY, "float64")
        params[1]["W"] *= factor
        found = check_unbiased(method, network, params, batch, MeanSquaredError())
        verdicts.append({(f.stage, f.verdict) for f in found.findings})
    assert verdicts == [{(0, UNDECIDED), (1, UNBIASED)}, {(0, UNBIASED), (1, UNBIASED)}]


# --- the batch ------------------------------------------------------------------------------------


def batch_mean(network, params, batch, loss, key, state):
    """The trap: losses are compared with their mean over the batch, the sample's own included."""
    x, target = batch
    rng, clean = np.random.default_rng([key.seed, key.step]), network.run_clean(params, x)
    grads = []
    for stage, visit in enumerate(clean.visits):
        eps = harness.SIGMA * rng.normal(size=visit.drive.shape)
        y, _ = network.layer(stage).respond(params[stage], visit.drive, eps)
        for later in range(stage + 1, len(network.stages)):
            layer = network.layer(later)
            y, _ = layer.respond(params[later], layer.drive(params[later], y), None)
        losses = loss(y, target)
        score = (losses - losses.mean())[:, None] * eps / (harness.SIGMA**2 * len(x))
        grads.append(network.layer(stage).pullback(visit.state[0], None, score))
    return SimpleNamespace(grads=tuple(grads)), state


def test_whoever_couples_samples_is_judged_at_the_size_of_the_batch():
    batch_mean.noise, batch_mean.schedule = Gaussian(harness.SIGMA), LayerWise()
    case = CASES["chain"]
    batch = case.inputs[:2], case.target[:2]
    known = batch_mean, case.network, case.params, batch, case.loss
    many = check_unbiased(*known, error_rate=SHARE)
    assert (many.verdict, many.rows, many.repeats) == (UNBIASED, 2048, 1024)
    assert "(the batch 1024 times)" in str(many)
    assert "2 samples, 1024 times; whoever couples the samples" in report(many)
    few = check_unbiased(*known, error_rate=SHARE, rows=2, max_draws=16384)
    assert (few.verdict, few.rows, few.repeats) == (BIASED, 2, 1)
    assert "times" not in str(few)
    assert "couples" not in report(few)


@pytest.mark.parametrize("method", [EvolutionStrategies(), ForwardGradient()], ids=str)
def test_a_batch_whose_noise_is_shared_is_not_repeated(method):
    found = certify("chain", method, max_draws=64)
    assert (found.rows, found.repeats) == (len(CASES["chain"].inputs), 1)
    plain = certify("chain", estimator(Antithetic(), LayerWise(), CleanLoss(), None), max_draws=64)
    assert (plain.rows, plain.repeats) == (2048, 2048 // len(CASES["chain"].inputs))


def test_evolution_strategies_are_certified_without_many_runs():
    """Every copy of their reference is a run of its own, so it has few, whatever the rows."""
    network = Sequential(Dense(1, 1, Tanh()), input_shape=(1,))
    params = network.init(0, harness.NUMPY, "float64")
    loss, runs = MeanSquaredError(), []

    class Counted(MeanSquaredError):
        def __call__(self, output, target):
            runs.append(1)
            return loss(output, target)

    batch = np.array([[0.9]]), np.array([[1.5]])
    right = EvolutionStrategies(0.3, 64, Sobol())
    known = network, params, batch, Counted()
    found = check_unbiased(right, *known, reference="differences")
    found.raise_unless_unbiased()
    assert len(runs) < 1000 * found.draws  # all rows would be 4 directions, 2 sides, 2048 copies
    assert check_unbiased(TenthMore(right), *known, reference="differences").verdict == BIASED


@dataclass(frozen=True)
class TenthMore:
    """The control: an estimate that is too long."""

    inner: EvolutionStrategies
    noise_in = "parameters"

    @property
    def noise(self):
        return self.inner.noise

    @property
    def schedule(self):
        return self.inner.schedule

    def __call__(self, *args):
        estimate, state = self.inner(*args)
        grads = tuple({k: 1.1 * v for k, v in theta.items()} for theta in estimate.grads)
        return estimate._replace(grads=grads), state
