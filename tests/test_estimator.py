"""The estimator as a whole: against the plain loop, its figures, its blocks, and its errors."""

from __future__ import annotations

import itertools

import harness
import numpy as np
import pytest
import reference
from harness import SIGMA, estimates, flat, judge, truth_of

from nolr.activations import Step, identity, relu, tanh
from nolr.backends import get_backend
from nolr.copies import tile
from nolr.errors import BadInput
from nolr.estimation import (
    CleanLoss,
    JacobianControlVariate,
    Joint,
    LayerWise,
    LeaveGroupOut,
    LikelihoodRatio,
    NoBaseline,
    likelihood_ratio,
)
from nolr.estimation.figures import FORGETTING, Merit, measure
from nolr.layers import Dense, Flatten
from nolr.losses import CrossEntropy, MeanSquaredError, ZeroOne
from nolr.network import Residual, Sequential
from nolr.noise import Gaussian
from nolr.optimizers import Adam, ravel, unravel
from nolr.sampling import Antithetic, Independent
from nolr.types import Key

NUMPY = get_backend("numpy")


def make(backend=NUMPY, dtype="float64", samples=6):
    """A network with a residual block, a batch, and labels."""
    network = Sequential(
        Flatten(),
        Dense(4, 3, tanh),
        Residual(Dense(3, 3, relu)),
        Dense(3, 3, identity),
        input_shape=(2, 2),
    )
    rng = np.random.default_rng(2)
    params = network.init(3, backend, dtype)
    x = backend.asarray(rng.normal(size=(samples, 2, 2)), dtype)
    return network, params, (x, backend.asarray(np.arange(samples) % 3, "int64"))


def run(estimator, network, params, batch, loss, steps=1, seed=0, first=0):
    """Several steps with the state passed on, the parameters fixed; the last estimate."""
    state = estimator.init(network, params, loss)
    for step in range(first, first + steps):
        estimate, state = estimator(network, params, batch, loss, Key(seed, step=step), state)
    return estimate, state


# --- the plain loop -------------------------------------------------------------------------------

BASELINES = {
    "none": (NoBaseline(), None),
    "clean": (CleanLoss(), lambda losses, copy, clean: clean),
    # Copies of a sample are listed by sign, then group: with two signs, copy c and c ± groups
    # make a pair.
    "others": (
        LeaveGroupOut(),
        lambda losses, copy, clean, signs: np.mean(
            np.delete(np.reshape(losses, (signs, -1)), copy % (len(losses) // signs), axis=1)
        ),
    ),
}


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("schedule", [LayerWise(), Joint()], ids=["layer-wise", "joint"])
@pytest.mark.parametrize("sampler", [Independent(), Antithetic()], ids=["single", "pair"])
@pytest.mark.parametrize(
    ("loss", "oracle"),
    [
        (CrossEntropy(), reference.cross_entropy),
        (MeanSquaredError(), reference.mean_squared_error),
        (ZeroOne(), reference.zero_one),
    ],
    ids=["cross-entropy", "mse", "zero-one"],
)
@pytest.mark.parametrize("step", [0, 1], ids=["monitored", "not monitored"])
def test_plain_likelihood_ratios_are_the_loop(sampler, schedule, baseline, loss, oracle, step):
    copies, groups = 4, 4 // len(sampler.signs)
    network, params, (x, target) = make()
    rule, loop_rule = BASELINES[baseline]
    if baseline == "others":
        loop_rule = lambda *a: BASELINES["others"][1](*a, signs=len(sampler.signs))  # noqa: E731
    estimator = LikelihoodRatio(Gaussian(SIGMA), copies, sampler, schedule, rule, None)
    estimate, _ = run(estimator, network, params, (x, target), loss, first=step)

    def noise(stage, shape):
        white = sampler.draw(
            NUMPY, Key(0, step=step, stage=stage), groups, (len(x), *shape), np.float64
        )
        return SIGMA * np.concatenate([sign * white for sign in sampler.signs])

    drawn = {stage: noise(stage, shape) for stage, shape in enumerate(network.noise_shapes)}
    passes = [{s: drawn[s] for s in p} for p in schedule.passes(range(3))]
    links = reference.links_of(network, params)
    expected = reference.plain_likelihood_ratio(links, x, target, oracle, passes, SIGMA, loop_rule)
    for stage, node in enumerate(network.stages):
        for name, array in estimate.grads[node].items():
            np.testing.assert_allclose(array, expected[stage][name], rtol=1e-9, atol=1e-12)
    clean = [oracle(reference.run(links, a), t) for a, t in zip(x, target, strict=True)]
    assert float(estimate.loss) == pytest.approx(np.mean(clean))
    assert estimate.info.forward_passes == 1 + copies * len(passes)


# --- shapes, dtypes, keys -------------------------------------------------------------------------

VARIANTS = {
    "default": LikelihoodRatio(),
    "plain": LikelihoodRatio(control_variate=None),
    "joint": LikelihoodRatio(copies=4, schedule=Joint()),
    "unbiased": LikelihoodRatio(copies=4, control_variate=JacobianControlVariate(1.0)),
    "joint-unbiased": LikelihoodRatio(
        copies=4, schedule=Joint(), control_variate=JacobianControlVariate(1.0)
    ),
    "independent": LikelihoodRatio(copies=3, sampler=Independent(), baseline=LeaveGroupOut()),
    "feedback": LikelihoodRatio(control_variate=JacobianControlVariate(0)),
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)


@every_variant
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", [CrossEntropy(), ZeroOne(), MeanSquaredError()], ids=repr)
def test_gradients_have_the_layout_of_the_parameters(variant, dtype, loss, backend):
    network, params, batch = make(backend, dtype)
    estimate, _ = run(VARIANTS[variant], network, params, batch, loss, steps=3)
    assert len(estimate.grads) == len(params)
    for grad, theta in zip(estimate.grads, params, strict=True):
        assert set(grad) == set(theta)
        for name, array in grad.items():
            assert tuple(array.shape) == tuple(theta[name].shape)
            assert array.dtype == theta[name].dtype
            assert np.isfinite(backend.to_host(array)).all()
    assert tuple(estimate.loss.shape) == ()
    assert len(estimate.info.stages) == 3
    for figures in estimate.info.stages:
        assert 0 <= figures.beta <= 1
        assert 0 <= figures.residual <= 1


@every_variant
def test_the_same_key_gives_the_same_estimate(variant):
    network, params, batch = make(dtype="float32")
    first, again, other = (
        ravel(run(VARIANTS[variant], network, params, batch, CrossEntropy(), 4, seed)[0].grads)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@every_variant
def test_a_batch_of_one_works(variant):
    network, params, (x, target) = make(samples=1)
    estimate, _ = run(VARIANTS[variant], network, params, (x, target), CrossEntropy(), 25)
    assert np.isfinite(ravel(estimate.grads)).all()
    assert all(np.isnan(figures.gradient_norm) for figures in estimate.info.stages)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64"])
def test_inputs_of_any_number_type(dtype):
    network, params, (_, target) = make(dtype="float32")
    host = np.random.default_rng(0).integers(0, 4, (6, 2, 2))
    results = [
        run(LikelihoodRatio(), network, params, (host.astype(d), target), CrossEntropy(), 2)[0]
        for d in (dtype, "float32")
    ]
    np.testing.assert_array_equal(*(ravel(result.grads) for result in results))


@every_variant
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-10)])
@pytest.mark.parametrize("loss", [CrossEntropy(), ZeroOne()], ids=repr)
def test_backends_agree_given_the_same_noise(variant, other_backend, dtype, tolerance, loss):
    from dataclasses import replace

    method = VARIANTS[variant]
    method = replace(method, sampler=type(method.sampler)(source="host"))
    found = []
    for backend in (NUMPY, other_backend):
        network, params, batch = make(backend, dtype)
        estimate, state = run(method, network, params, batch, loss, steps=3)
        found.append(
            [backend.to_host(estimate.loss), backend.to_host(ravel(estimate.grads))]
            + [backend.to_host(array) for part in state.evidence for array in part]
            + [np.array(state.gradient), np.array(state.residual)]
        )
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=tolerance)


# --- constant losses, zero derivatives ------------------------------------------------------------


class ConstantLoss:
    """Nothing can be learned from it."""

    differentiable = False

    def check(self, targets, output_shape):
        """Any target will do."""

    def __call__(self, output, target):
        return 0 * output[:, 0] + 7.0

    def value_and_gradient(self, output, target):
        return self(output, target), None


@pytest.mark.parametrize("schedule", [LayerWise(), Joint()], ids=["layer-wise", "joint"])
@pytest.mark.parametrize("baseline", [CleanLoss(), LeaveGroupOut()], ids=repr)
@pytest.mark.parametrize("sampler", [Independent(), Antithetic()], ids=["single", "pair"])
@pytest.mark.parametrize("residual", [None, 1.0, "adaptive"])
def test_a_constant_loss_has_no_gradient(schedule, baseline, sampler, residual):
    network, params, batch = make()
    variate = None if residual is None else JacobianControlVariate(residual)
    method = LikelihoodRatio(Gaussian(SIGMA), 4, sampler, schedule, baseline, variate)
    estimate, _ = run(method, network, params, batch, ConstantLoss(), steps=3)
    np.testing.assert_allclose(ravel(estimate.grads), 0, atol=1e-13)
    # The control: without a baseline, single copies see the constant itself.
    bare = LikelihoodRatio(Gaussian(SIGMA), 4, Independent(), schedule, NoBaseline(), None)
    estimate, _ = run(bare, network, params, batch, ConstantLoss())
    assert np.abs(ravel(estimate.grads)).max() > 0.1


@pytest.mark.parametrize("variate", [None, JacobianControlVariate(1.0)], ids=["plain", "unbiased"])
@pytest.mark.parametrize("activation", [tanh, Step()], ids=repr)
def test_a_loss_without_derivative_trains(variate, activation):
    # Two blobs that a line can tell apart; the loss is the error rate itself, and with a step in
    # the hidden layer nothing in the network has a derivative either.
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    x = rng.normal(size=(200, 2)) + 3 * labels[:, None]
    network = Sequential(Dense(2, 4, activation), Dense(4, 2, identity), input_shape=(2,))
    params, loss, optimizer = network.init(1, NUMPY, "float64"), ZeroOne(), Adam(0.05)
    method = LikelihoodRatio(Gaussian(0.5), copies=8, control_variate=variate)
    state, vector = method.init(network, params, loss), ravel(params)
    moments = optimizer.init(vector)
    start = loss(network.forward(params, x), labels).mean()
    for step in range(150):
        estimate, state = method(
            network, unravel(vector, params), (x, labels), loss, Key(0, step=step), state
        )
        vector, moments = optimizer.update(ravel(estimate.grads), moments, vector, step)
    end = loss(network.forward(unravel(vector, params), x), labels).mean()
    assert start > 0.3
    assert end < 0.05


# --- blocks of copies -----------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [LayerWise(), Joint()], ids=["layer-wise", "joint"])
@pytest.mark.parametrize("sampler", [Independent(), Antithetic()], ids=["single", "pair"])
@pytest.mark.parametrize("residual", [None, 1.0])
def test_small_blocks_estimate_the_same_gradient(schedule, sampler, residual):
    variate = None if residual is None else JacobianControlVariate(residual)
    for block_bytes in (1, 1 << 30):
        method = LikelihoodRatio(
            Gaussian(SIGMA), 10, sampler, schedule, LeaveGroupOut(), variate, 20, block_bytes
        )
        draws = estimates("chain", method, tiles=150)
        truth = truth_of("chain", schedule)
        assert judge(draws, truth).unbiased
        assert judge(draws, 1.1 * truth).rejected


@pytest.mark.parametrize(
    ("copies", "sampler", "baseline", "rows", "expected"),
    [
        (8, Antithetic(), CleanLoss(), 2, [2, 2]),
        (10, Antithetic(), CleanLoss(), 2, [3, 2]),
        (8, Independent(), CleanLoss(), 0, [1] * 8),
        (5, Independent(), LeaveGroupOut(), 0, [3, 2]),
        (3, Independent(), LeaveGroupOut(), 0, [3]),
        (2, Antithetic(), CleanLoss(), 100, [1]),
    ],
)
def test_every_copy_is_run_once(monkeypatch, copies, sampler, baseline, rows, expected):
    # Block sizes, and with them the keys, are part of what makes a run repeatable.
    network, params, batch = make(dtype="float32")
    largest = 6 * 3 * 4  # samples, units of the widest stage, bytes
    method = LikelihoodRatio(
        copies=copies,
        sampler=sampler,
        baseline=baseline,
        block_bytes=rows * len(sampler.signs) * largest,
    )
    seen = []
    right = likelihood_ratio.run_copies

    def counting(clean, steps, draw, *choices):
        seen.append((draw.groups, draw.key.block))
        right(clean, steps, draw, *choices)

    monkeypatch.setattr(likelihood_ratio, "run_copies", counting)
    run(method, network, params, batch, CrossEntropy())
    assert [groups for groups, _ in seen] == expected
    assert [block for _, block in seen] == list(range(len(expected)))


def test_blocks_have_noise_of_their_own():
    # With equal noise in both blocks, four copies would be no better than two.
    def spread(copies, block_bytes):
        method = LikelihoodRatio(
            Gaussian(SIGMA), copies, control_variate=None, block_bytes=block_bytes
        )
        return estimates("chain", method, tiles=5, calls=400).var(axis=0).sum()

    two, four, blocks = spread(2, 1), spread(4, 1 << 30), spread(4, 1)
    # The variance of a sample variance of 400 draws is about (7 %)² per coordinate, less in sum.
    assert two / four == pytest.approx(2, rel=0.25)
    assert two / blocks == pytest.approx(2, rel=0.25)


# --- the control variate --------------------------------------------------------------------------


def linear_chain():
    """Identity activations: the Jacobian of the tail is a product of weights, the same for all."""
    network = Sequential(
        Dense(3, 4, identity), Dense(4, 3, identity), Dense(3, 2, identity), input_shape=(3,)
    )
    params = network.init(0, NUMPY, "float64")
    rng = np.random.default_rng(1)
    return network, params, (rng.normal(size=(20, 3)), rng.integers(0, 2, 20))


@pytest.mark.parametrize("schedule", [LayerWise(), Joint()], ids=["layer-wise", "joint"])
@pytest.mark.parametrize("sampler", [Independent(), Antithetic()], ids=["single", "pair"])
def test_the_learned_jacobian_is_the_mean_jacobian(schedule, sampler):
    network, params, batch = linear_chain()
    variate = JacobianControlVariate(1.0, forgetting=0.5, ridge=0.0)
    method = LikelihoodRatio(
        Gaussian(SIGMA), 4, sampler, schedule, CleanLoss(), control_variate=variate
    )
    W = [theta["W"] for theta in params]
    truth = [W[2] @ W[1], W[2]]
    state = method.init(network, params, CrossEntropy())
    # With forgetting ½ every 12th step is a new draw (to a part in 4096).
    found = []
    for step in range(12 * 60):
        _, state = method(network, params, batch, CrossEntropy(), Key(0, step=step), state)
        if step % 12 == 11:
            found.append([variate.jacobian(state.evidence[stage]) for stage in (0, 1)])
    for stage in (0, 1):
        draws = np.stack([row[stage] for row in found])
        z = np.abs(reference.z_scores(draws, truth[stage])).max()
        assert z < 5
        assert np.abs(reference.z_scores(draws, 1.2 * truth[stage])).max() > 6  # negative control


@pytest.mark.parametrize("name", ["linear", "chain"])
def test_a_learned_control_variate_lowers_the_variance(name):
    case = harness.CASES[name]
    batch = np.tile(harness.X, (8, 1)), np.concatenate([case.target] * 8)

    def variance(variate):
        method = LikelihoodRatio(Gaussian(SIGMA), 2, control_variate=variate)
        state = method.init(case.network, case.params, case.loss)
        draws = []
        for step in range(400):
            estimate, state = method(
                case.network, case.params, batch, case.loss, Key(0, step=step), state
            )
            draws.append(flat(estimate.grads, case.network))
        return np.stack(draws[100:]).var(axis=0).sum(), np.stack(draws[100:])

    plain, _ = variance(None)
    learned, draws = variance(JacobianControlVariate(1.0))
    assert learned < 0.2 * plain
    truth, noisy = truth_of(name, LayerWise()), draws.std(axis=0) > 1e-9
    assert np.abs(reference.z_scores(draws[:, noisy], truth[noisy])).max() < 5
    # A linear loss of the last stage is foreseen to the last digit: no variance is left.
    np.testing.assert_allclose(draws[-1, ~noisy], truth[~noisy], atol=1e-7)
    assert noisy.all() == (name == "chain")


def test_the_last_stage_needs_no_noise_unless_asked():
    case = harness.CASES["chain"]
    batch = harness.X, case.target
    for residual, noised in (("adaptive", False), (0, False), (0.5, True), (1.0, True)):
        method = LikelihoodRatio(control_variate=JacobianControlVariate(residual))
        estimate, _ = run(method, case.network, case.params, batch, case.loss)
        assert (estimate.info.stages[-1].copies > 0) == noised
        assert estimate.info.forward_passes == 1 + 2 * (2 if noised else 1)
        if not noised:  # exact for the clean loss
            (expected,) = reference.parameter_gradient(
                lambda params: float(case.mean_loss(params, {})[0]), case.params, [1]
            )
            for name, array in estimate.grads[1].items():
                np.testing.assert_allclose(array, expected[name], atol=1e-8)
    # Behind a residual block's last stage the block's sum still follows: no shortcut there.
    case = harness.CASES["block"]
    estimate, _ = run(LikelihoodRatio(), case.network, case.params, batch, case.loss)
    assert estimate.info.stages[-1].copies == 2


def test_an_output_function_makes_the_last_stage_no_less_honest():
    # "Exact for the clean loss" must be true whatever the last activation is.
    network = Sequential(Dense(2, 2, tanh), Dense(2, 2, tanh), input_shape=(2,))
    params = network.init(0, NUMPY, "float64")
    batch = harness.X, harness.TARGETS
    loss = MeanSquaredError()
    estimate, _ = run(LikelihoodRatio(Gaussian(SIGMA)), network, params, batch, loss)
    if "exact for the clean loss" in estimate.info.estimand:
        (expected,) = reference.parameter_gradient(
            lambda moved: float(loss(network.forward(moved, batch[0]), batch[1]).mean()),
            params,
            [1],
        )
        for name, array in estimate.grads[1].items():
            np.testing.assert_allclose(array, expected[name], atol=1e-8)
    else:
        assert estimate.info.stages[-1].copies > 0 or "biased" in estimate.info.estimand


def test_adaptive_weight_is_zero_before_there_is_evidence():
    network, params, batch = make()
    method = LikelihoodRatio(Gaussian(SIGMA))
    estimate, state = run(method, network, params, batch, CrossEntropy())
    assert [figures.residual for figures in estimate.info.stages[:-1]] == [0.0, 0.0]
    assert all(merit.best_weight() == 0.0 for merit in state.residual)
    # No evidence means no prediction either: nothing moves but the last stage.
    for node in network.stages[:-1]:
        for array in estimate.grads[node].values():
            np.testing.assert_array_equal(array, 0)
    assert np.abs(estimate.grads[network.stages[-1]]["W"]).max() > 0


def test_adaptive_weight_finds_a_clear_signal():
    # A big batch of a few samples, each with a Jacobian of its own: what one mean Jacobian leaves
    # over is nearly all signal.
    case = harness.CASES["chain"]
    batch = np.tile(harness.X, (500, 1)), np.tile(case.target, 500)
    method = LikelihoodRatio(Gaussian(SIGMA), copies=8, monitor_every=1)
    state = method.init(case.network, case.params, CrossEntropy())
    weights = []
    for step in range(40):
        estimate, state = method(
            case.network, case.params, batch, CrossEntropy(), Key(0, step=step), state
        )
        weights.append(estimate.info.stages[0].residual)
    assert weights[0] == 0.0
    assert weights[-1] > 0.3


def test_forgetting_is_exponential():
    variate = JacobianControlVariate(forgetting=0.5)
    evidence = variate.init(NUMPY, 1, 1, np.float64)
    one = type(evidence)(*(np.ones_like(array) for array in evidence))
    for expected in (1.0, 1.5, 1.75):
        evidence = variate.learn(evidence, one, 0)
        assert [float(np.sum(array)) for array in evidence] == [expected] * 5


def test_no_evidence_is_no_prediction():
    variate = JacobianControlVariate()
    evidence = variate.init(NUMPY, 2, 3, np.float32)
    np.testing.assert_array_equal(variate.jacobian(evidence), np.zeros((2, 3)))
    assert float(variate.beta(evidence)) == 0.0
    for covariance, beta in ((-1.0, 0.0), (0.25, 0.5), (9.0, 1.0)):
        known = evidence._replace(covariance=np.float64(covariance), power=np.float64(0.5))
        assert float(variate.beta(known)) == pytest.approx(beta)


def test_the_ridge_shrinks_units_that_hardly_respond():
    evidence = JacobianControlVariate().init(NUMPY, 1, 2, np.float64)
    evidence = evidence._replace(moment=np.array([[2.0, 2e-6]]), energy=np.array([1.0, 1e-6]))
    bare = JacobianControlVariate(ridge=0.0).jacobian(evidence)
    np.testing.assert_allclose(bare, [[2.0, 2.0]])
    held = JacobianControlVariate(ridge=0.1).jacobian(evidence)
    ridge = 0.1 * (1 + 1e-6) / 2
    np.testing.assert_allclose(held, [[2 / (1 + ridge), 2e-6 / (1e-6 + ridge)]])
    with pytest.raises(BadInput, match="ridge"):
        JacobianControlVariate(ridge=-0.1)


@pytest.mark.parametrize("residual", [-0.1, 1.1, "adaptiv", None])
def test_a_residual_out_of_range_is_refused(residual):
    with pytest.raises(BadInput, match="residual must be"):
        JacobianControlVariate(residual)


@pytest.mark.parametrize("forgetting", [0, 1, -0.5, 2])
def test_a_forgetting_out_of_range_is_refused(forgetting):
    with pytest.raises(BadInput, match="forgetting must lie"):
        JacobianControlVariate(forgetting=forgetting)


# --- figures of merit -----------------------------------------------------------------------------


def test_measure_finds_signal_and_power():
    rng = np.random.default_rng(0)
    truth, spread, draws = np.array([0.3, -0.4, 0.0]), np.array([0.5, 0.3, 0.8]), 20_000
    halves = truth + spread * rng.normal(size=(draws, 2, 3))
    found = np.array([measure([{"W": a / 2}, {"W": b / 2}]) for a, b in halves])
    signal, power = 0.25, 0.25 + np.sum(spread**2) / 2
    assert np.abs(reference.z_scores(found, [signal, power])).max() < 5
    assert np.abs(reference.z_scores(found, [signal + 0.1, power])).max() > 5  # negative control


@pytest.mark.parametrize("residual", [None, 1.0])
@pytest.mark.parametrize("schedule", [LayerWise(), Joint()], ids=["layer-wise", "joint"])
def test_figures_are_the_empirical_signal_and_variance(schedule, residual):
    # One sample many times over: the batch itself adds no variance, so the figures of single
    # steps can be compared with the spread over steps.
    case = harness.CASES["chain"]
    x, target = np.tile(harness.X[:1], (4, 1)), np.tile(case.target[:1], 4)
    variate = None if residual is None else JacobianControlVariate(residual)
    method = LikelihoodRatio(
        Gaussian(SIGMA), 2, schedule=schedule, control_variate=variate, monitor_every=1
    )
    state = harness.adversarial(method, case)
    figures, draws = [], []
    for key in reference.keys(2000):
        estimate, after = method(case.network, case.params, (x, target), case.loss, key, state)
        figures.append([(m.signal, m.power) for m in after.gradient])
        draws.append([
            np.concatenate([estimate.grads[node][name].reshape(-1) for name in ("W", "b")])
            for node in case.network.stages
        ])  # fmt: skip
    figures = np.array(figures)
    for stage in case.stages:
        grads = np.array([row[stage] for row in draws])
        mean = grads.mean(axis=0)
        variance = grads.var(axis=0, ddof=1).sum()
        # The power of a monitored step is the squared norm of what it returns, exactly.
        np.testing.assert_allclose(figures[:, stage, 1], np.sum(grads**2, axis=1), rtol=1e-9)
        expected = mean @ mean - variance / len(grads)  # ‖E[G]‖² without the noise's bias
        error = figures[:, stage, 0].std() / np.sqrt(len(figures))
        assert abs(figures[:, stage, 0].mean() - expected) < 5 * error
        # Negative control: the naive signal, the squared norm of one estimate.
        assert abs(figures[:, stage, 1].mean() - expected) > 5 * error


def test_figures_of_a_report():
    merit = Merit()
    for signal, power in ((1.0, 4.0), (3.0, 8.0)):
        merit = merit.update(signal, power)
    assert merit.weight == pytest.approx(1 + FORGETTING)
    assert merit.signal == pytest.approx(FORGETTING * 1 + 3)
    assert merit.power == pytest.approx(FORGETTING * 4 + 8)
    network, params, batch = make()
    method = LikelihoodRatio(Gaussian(SIGMA), control_variate=None)
    first, state = run(method, network, params, batch, CrossEntropy())
    for figures, merit in zip(first.info.stages, state.gradient, strict=True):
        assert figures.gradient_norm == pytest.approx(np.sqrt(merit.power))
        assert figures.variance == pytest.approx(max(merit.power - merit.signal, 0))
        assert (figures.beta, figures.residual, figures.copies) == (0.0, 1.0, 2)
    # A last stage whose credit is exact has no noise, so nothing of it is a residual.
    for residual, weight, copies in ((0.0, 0.0, 0), ("adaptive", 0.0, 0), (0.5, 0.5, 2)):
        method = LikelihoodRatio(Gaussian(SIGMA), control_variate=JacobianControlVariate(residual))
        last = run(method, network, params, batch, CrossEntropy())[0].info.stages[-1]
        assert (float(last.beta), last.residual, last.copies) == (1.0, weight, copies)


def test_the_best_weight_is_signal_over_power():
    # λ* = ‖E[R]‖²/(‖E[R]‖² + Var[R]), less two standard errors of the signal.
    merit = Merit()
    for _ in range(500):
        merit = merit.update(0.6, 2.0)
    assert merit.best_weight() == pytest.approx(0.3)
    # Where there is no signal at all, hardly any noise is let in; clipping alone lets in more.
    rng = np.random.default_rng(0)
    guarded, clipped = [], []
    for _ in range(100):
        noisy = Merit()
        for value in rng.normal(0.0, 1.0, 300):
            noisy = noisy.update(value, 2.0)
        guarded.append(noisy.best_weight())
        clipped.append(max(noisy.signal / noisy.power, 0.0))
    assert np.mean(guarded) < 0.004
    assert np.mean(clipped) > 0.01
    assert Merit().best_weight() == 0.0
    assert Merit().update(5.0, 5.0).best_weight() == 0.0  # one measurement has no spread


@pytest.mark.parametrize(
    "options",
    [{}, {"control_variate": JacobianControlVariate(residual=0.0), "probe_every": 2}],
    ids=["with copies in every step", "without copies in some measured steps"],
)
def test_only_every_so_many_steps_are_measured(options):
    network, params, batch = make()
    method = LikelihoodRatio(monitor_every=3, **options)
    state = method.init(network, params, CrossEntropy())
    weights = []
    for step in range(7):
        _, state = method(network, params, batch, CrossEntropy(), Key(0, step=step), state)
        weights.append(round(state.gradient[0].weight))
    assert weights == [1, 1, 1, 2, 2, 2, 3]


def test_measuring_does_not_change_the_estimate():
    network, params, batch = make()
    for options in ({}, {"schedule": Joint(), "copies": 4, "control_variate": None}):
        watched, blind = (LikelihoodRatio(monitor_every=every, **options) for every in (1, 10_000))
        grads = []
        for method in (watched, blind):
            state = method.init(network, params, CrossEntropy())
            estimate, _ = method(network, params, batch, CrossEntropy(), Key(0, step=1), state)
            grads.append(ravel(estimate.grads))
        np.testing.assert_allclose(*grads, rtol=1e-10, atol=1e-14)


# --- errors at the boundary -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"copies": 3}, "multiple of 2"),
        ({"copies": 0}, "at least 1"),
        ({"copies": -2}, "at least 1"),
        ({"copies": 2, "baseline": LeaveGroupOut()}, "at least 4 copies"),
        ({"copies": 1, "sampler": Independent(), "baseline": LeaveGroupOut()}, "at least 2 copies"),
        ({"monitor_every": 0}, "monitor_every"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, words):
    with pytest.raises(BadInput, match=words):
        LikelihoodRatio(**options)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_wrong_number_of_noises_is_refused(count):
    network, params, _ = make()
    method = LikelihoodRatio(noise=(Gaussian(0.1),) * count)
    with pytest.raises(BadInput, match=f"has 3 stages but {count} noises"):
        method.init(network, params, CrossEntropy())


def test_a_batch_of_two_lengths_is_refused():
    network, params, (x, target) = make()
    method = LikelihoodRatio()
    state = method.init(network, params, CrossEntropy())
    with pytest.raises(BadInput, match="6 inputs but 5 targets"):
        method(network, params, (x, target[:5]), CrossEntropy(), Key(0), state)


def test_a_batch_of_two_backends_is_refused(other_backend):
    network, params, (x, target) = make()
    method = LikelihoodRatio()
    state = method.init(network, params, CrossEntropy())
    with pytest.raises(BadInput, match="target is an array of"):
        method(network, params, (x, other_backend.asarray(target)), CrossEntropy(), Key(0), state)
    moved = other_backend.asarray(x), other_backend.asarray(target)
    with pytest.raises(BadInput, match=r"x is an array of .* but parameters is one of 'numpy'"):
        method(network, params, moved, CrossEntropy(), Key(0), state)


# --- baselines and schedules, by hand -------------------------------------------------------------


def test_leave_group_out_by_hand(backend):
    losses = np.arange(2 * 3 * 2.0).reshape(1, 2, 3, 2) ** 2  # passes, signs, groups, samples
    got = LeaveGroupOut()(backend.asarray(losses), backend.asarray(np.zeros(2)))
    got = np.broadcast_to(backend.to_host(got), losses.shape)
    for sign, group, n in itertools.product(range(2), range(3), range(2)):
        others = [losses[0, s, g, n] for s in range(2) for g in range(3) if g != group]
        assert got[0, sign, group, n] == pytest.approx(np.mean(others))


def test_other_baselines_by_hand(backend):
    clean = backend.asarray([1.0, 2.0])
    losses = backend.asarray(np.ones((1, 2, 1, 2)))
    np.testing.assert_array_equal(backend.to_host(CleanLoss()(losses, clean)), [1.0, 2.0])
    np.testing.assert_array_equal(backend.to_host(NoBaseline()(losses, clean)), [0.0, 0.0])


def test_schedules_partition_the_stages():
    assert LayerWise().passes([0, 2, 3]) == ((0,), (2,), (3,))
    assert Joint().passes([0, 2, 3]) == ((0, 2, 3),)
    assert LayerWise().passes([]) == Joint().passes([]) == ()
    assert LayerWise().estimand != Joint().estimand


def test_tiles_of_targets_follow_the_copies():
    # Losses of copy c of sample n are rows c·N + n: the loss must see the target of sample n.
    np.testing.assert_array_equal(tile(np.array([4, 7]), 3), [4, 7, 4, 7, 4, 7])


def test_by_default_a_loss_without_derivative_is_learned_without_bias():
    # Feedback alone would be the same for every sample, and drive the network to one answer.
    method = LikelihoodRatio(Gaussian(0.5), copies=8)
    rng = np.random.default_rng(0)
    target = np.arange(200) % 2
    batch = rng.normal(size=(200, 2)) + 3 * target[:, None], target
    network = Sequential(Dense(2, 4, tanh), Dense(4, 2, identity), input_shape=(2,))
    assert method.estimand(network, ZeroOne()).endswith("unbiased")
    vector = ravel(network.init(0, NUMPY, "float64"))
    like, optimizer = network.init(0, NUMPY, "float64"), Adam(0.05)
    memory, state = optimizer.init(vector), method.init(network, like, ZeroOne())
    for step in range(150):
        params = unravel(vector, like)
        estimate, state = method(network, params, batch, ZeroOne(), Key(0, step=step), state)
        vector, memory = optimizer.update(ravel(estimate.grads), memory, vector, step)
    assert float(estimate.loss) < 0.05
