"""The laboratory: exact gradients are exact, scores say what is known, and a study is complete."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace
from itertools import product
from math import isnan, pi, sqrt
from pathlib import Path

import numpy as np
import pytest

from nolr.activations import Step, identity, tanh
from nolr.backends import get_backend
from nolr.errors import BadInput
from nolr.estimation import (
    EvolutionStrategies,
    ForwardGradient,
    JacobianControlVariate,
    Joint,
    LeaveGroupOut,
    LikelihoodRatio,
)
from nolr.laboratory import ROSTER, find_checkpoints, open_subject, run_study
from nolr.laboratory.exact import Exact
from nolr.laboratory.figures import draw_bias, draw_cosine, draw_variance
from nolr.laboratory.measure import measure, memories_of
from nolr.laboratory.noised_runs import Problem
from nolr.laboratory.record import as_json, as_markdown
from nolr.laboratory.roster import choose_entries
from nolr.laboratory.scores import judge, variance
from nolr.laboratory.smoothing import CLEAN, PARAMETERS, Smoothing, smoothings
from nolr.laboratory.study import check_numbers
from nolr.laboratory.summary import Mean, at_budget, budgets, curve
from nolr.laboratory.sweep_figure import draw_sweeps
from nolr.laboratory.sweeps import LEVELS, exact_at
from nolr.layers import LIF, Conv2D, Dense, Embedding, Flatten, MaxPool2D, MeanOverTime, SimpleRNN
from nolr.losses import CrossEntropy, MeanSquaredError, ZeroOne
from nolr.network import Residual, Sequential
from nolr.noise import Gaussian
from nolr.sampling import Antithetic, Independent

NUMPY = get_backend("numpy")
STUDIES = Path(__file__).parents[1] / "examples" / "studies"


def make_problem(network, loss=None, samples=5, seed=0):
    """A network at its initial parameters, biases included, with a random batch."""
    rng = np.random.default_rng(seed)
    params = tuple(
        {name: np.asarray(a, np.float64) + 0.1 * rng.normal(size=a.shape) for name, a in p.items()}
        for p in network.init(seed, NUMPY, "float64")
    )
    inputs = rng.normal(size=(samples, *network.input_shape))
    if isinstance(network.nodes[0], Embedding):
        inputs = rng.integers(0, network.nodes[0].tokens - 1, size=inputs.shape).astype(float)
    shape = (samples, *network.output_shape[:-1])
    target = rng.integers(0, network.output_shape[-1], size=shape)
    return Problem(network, params, inputs, target, loss or CrossEntropy())


def make_exact(problem, sigma=0.5, **limits):
    noises = (Gaussian(sigma),) * len(problem.network.stages)
    return Exact(problem, noises, **limits)


# --- exact gradients against backprop -------------------------------------------------------------

NETWORKS = {
    "dense": lambda: Sequential(
        Dense(3, 6), Residual(Dense(6, 6, tanh)), Dense(6, 4, identity), input_shape=(3,)
    ),
    "images": lambda: Sequential(
        Conv2D(2, 3, padding=1), MaxPool2D(2), Flatten(), Dense(12, 3, identity),
        input_shape=(2, 4, 4),
    ),
    "recurrent": lambda: Sequential(SimpleRNN(3, 4), Dense(4, 2, identity), input_shape=(5, 3)),
    "words": lambda: Sequential(
        Embedding(7, 3), SimpleRNN(3, 4, last=False), MeanOverTime(), input_shape=(5,)
    ),
}  # fmt: skip


def by_backprop(problem, stage, noises=()):
    """The same gradient by torch, (P,)."""
    import torch
    from torch_twin import Twin

    model = Twin(problem.network, problem.params)
    inputs = torch.from_numpy(problem.inputs)
    if isinstance(problem.network.nodes[0], Embedding):
        inputs = inputs.long()
    still = {s: np.zeros((problem.samples, *e)) for s, e in enumerate(problem.network.noise_shapes)}
    output = model(inputs, {s: torch.from_numpy(e) for s, e in (still | dict(noises)).items()})
    torch.nn.functional.cross_entropy(output, torch.from_numpy(problem.target)).backward()
    theta = model.theta[problem.network.stages[stage]]
    return np.concatenate([theta[name].grad.numpy().ravel() for name in sorted(theta.keys())])


@pytest.fixture
def twins(monkeypatch):
    torch = pytest.importorskip("torch", reason="the twins need torch")
    monkeypatch.syspath_prepend(str(STUDIES))
    monkeypatch.delitem(sys.modules, "torch_twin", raising=False)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("method", ["units", "coordinates"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_clean_gradient_is_that_of_backprop(twins, name, method):
    problem = make_problem(NETWORKS[name]())
    exact = make_exact(problem, most_units=0 if method == "coordinates" else 512)
    for stage in range(len(problem.network.stages)):
        found = exact.stage(stage, CLEAN)
        assert found.method == method
        assert found.error == 0
        chosen = exact.coordinates(stage)
        expected = by_backprop(problem, stage)
        if chosen is not None:
            assert set(np.flatnonzero(expected)) <= set(chosen)
            expected = expected[chosen]
        np.testing.assert_allclose(found.values, expected, atol=1e-8)
        assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_a_draw_of_the_noised_gradient_is_that_of_backprop(twins, name):
    problem = make_problem(NETWORKS[name]())
    stages = tuple(range(len(problem.network.stages)))
    exact = make_exact(problem)
    for together in (stages, *((stage,) for stage in stages)):
        smoothing = Smoothing(stages=together, noises=(Gaussian(0.3),) * len(together))
        for stage in together:
            (one, other) = smoothing.draw(problem, 1, np.random.default_rng(3))
            found = exact._draws(stage, smoothing, 1, np.random.default_rng(3))
            for draw, values in zip((one, other), found, strict=True):
                expected = by_backprop(problem, stage, draw.noises)
                np.testing.assert_allclose(values, expected, atol=1e-8)
            assert np.abs(found[0] - found[1]).max() > 1e-3


def test_units_and_coordinates_agree_draw_by_draw():
    problem = make_problem(NETWORKS["dense"]())
    smoothing = Smoothing(stages=(0, 1, 2), noises=(Gaussian(0.3),) * 3)
    units, coordinates = make_exact(problem), make_exact(problem, most_units=0)
    for stage in range(3):
        draws = [
            exact._draws(stage, smoothing, 3, np.random.default_rng(3))
            for exact in (units, coordinates)
        ]
        np.testing.assert_allclose(*draws, atol=1e-8)


# --- noised gradients against quadrature ----------------------------------------------------------


def quadrature(problem, stage, smoothing, points=24):
    """The noised gradient of one stage by a Gauss-Hermite grid and differences, one by one."""
    network, node = problem.network, problem.network.stages[stage]
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    weights = weights / weights.sum()
    sizes = [np.prod(network.noise_shapes[s], dtype=int) for s in smoothing.stages]
    sigma = smoothing.noises[0].scale

    def loss(params):
        total = 0.0
        for sample in range(problem.samples):
            for index in product(range(points), repeat=int(sum(sizes))):
                state = problem.inputs[sample : sample + 1]
                drawn = iter(index)
                weight = 1.0
                for number, theta in enumerate(params):
                    layer, s = network.nodes[number], network.stages.index(number)
                    state = layer.drive(theta, state)
                    if s in smoothing.stages:
                        for unit in range(state.shape[1]):
                            i = next(drawn)
                            state[0, unit] += sigma * nodes[i]
                            weight *= weights[i]
                    state = layer.activation(state)
                total += weight * float(problem.loss(state, problem.target[[sample]])[0])
        return total / problem.samples

    found = []
    for name in sorted(problem.params[node]):
        array = problem.params[node][name]
        for i in range(array.size):
            sides = []
            for sign in (1, -1):
                params = [dict(theta) for theta in problem.params]
                moved = array.copy()
                moved.reshape(-1)[i] += sign * 1e-4
                params[node][name] = moved
                sides.append(loss(params))
            found.append((sides[0] - sides[1]) / 2e-4)
    return np.array(found)


def excess(found, expected):
    """Squared difference in units of the expected squared error: about 1 if there is no other."""
    return float(((found.values - expected) ** 2).sum()) / found.error


@pytest.fixture
def precise(monkeypatch):
    """More draws than a study takes, to tell smaller differences apart."""
    pairs = {"units": (250, 250), "coordinates": (250, 250)}
    monkeypatch.setattr("nolr.laboratory.exact.PAIRS", pairs)


def test_the_noised_gradient_is_that_of_quadrature(precise):
    network = Sequential(Dense(2, 1, tanh), Dense(1, 2, identity), input_shape=(2,))
    problem = make_problem(network, samples=2)
    exact = make_exact(problem, sigma=1.0)
    alone = Smoothing(stages=(0,), noises=(Gaussian(1.0),))
    expected = quadrature(problem, 0, alone)
    found = exact.stage(0, alone)
    assert found.draws > 0
    assert excess(found, expected) < 4
    # The check would see another loss: the clean one, and one with less noise.
    for other in (CLEAN, replace(alone, noises=(Gaussian(0.5),))):
        wrong = replace(exact.stage(0, other), error=found.error)
        assert excess(wrong, expected) > 8


def test_with_noise_in_all_stages_it_is_that_of_quadrature(precise):
    network = Sequential(Dense(1, 1, tanh), Dense(1, 1, tanh), input_shape=(1,))
    problem = make_problem(network, MeanSquaredError(), samples=2)
    problem = problem._replace(target=np.array([[1.0], [-0.5]]))
    together = Smoothing(stages=(0, 1), noises=(Gaussian(0.8),) * 2)
    exact = make_exact(problem, sigma=0.8)
    for stage in (0, 1):
        expected = quadrature(problem, stage, together, points=16)
        found = exact.stage(stage, together)
        assert excess(found, expected) < 4
        alone = Smoothing(stages=(stage,), noises=(Gaussian(0.8),))
        wrong = replace(exact.stage(stage, alone), error=found.error)
        assert excess(wrong, expected) > 8


def test_with_noise_in_the_parameters_it_is_that_of_quadrature(precise):
    """One tanh unit of one input: both parameters are noised, a grid of two dimensions."""
    network = Sequential(Dense(1, 1, tanh), input_shape=(1,))
    problem = make_problem(network, MeanSquaredError(), samples=3)
    problem = problem._replace(target=np.array([[1.0], [-0.5], [0.3]]))
    sigma = 0.7
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = np.outer(weights, weights) / weights.sum() ** 2
    w, b = (float(problem.params[0][name].reshape(-1)[0]) for name in ("W", "b"))
    y = np.tanh(
        problem.inputs[:, :, None] * (w + sigma * nodes[:, None]) + b + sigma * nodes[None, :]
    )
    slope = 2 * (y - problem.target[:, :, None]) * (1 - y**2)
    expected = np.array(
        [(slope * weights * problem.inputs[:, :, None]).sum(), (slope * weights).sum()]
    ) / len(y)
    found = make_exact(problem).stage(0, Smoothing(PARAMETERS, (0,), (Gaussian(sigma),)))
    assert excess(found, expected) < 4
    wrong = make_exact(problem).stage(0, Smoothing(PARAMETERS, (0,), (Gaussian(sigma / 2),)))
    assert excess(replace(wrong, error=found.error), expected) > 8


def test_behind_a_step_there_is_no_clean_gradient_but_a_noised_one(precise):
    """Of one neuron the noised gradient is known: φ(v/σ)/σ · (loss at 1 - loss at 0) · x."""
    network = Sequential(Dense(2, 1, Step()), Dense(1, 2, identity), input_shape=(2,))
    problem, sigma = make_problem(network, samples=12), 0.6
    exact = make_exact(problem, sigma=sigma)
    assert np.isnan(exact.stage(0, CLEAN).values).all()
    assert np.isfinite(exact.stage(1, CLEAN).values).all()
    theta, last = problem.params
    v = problem.inputs @ theta["W"].T + theta["b"]
    on, off = (problem.loss(s * last["W"].T + last["b"] + 0 * v, problem.target) for s in (1, 0))
    slope = np.exp(-0.5 * (v[:, 0] / sigma) ** 2) / sqrt(2 * pi) / sigma * (on - off)
    expected = np.concatenate([slope @ problem.inputs, [slope.sum()]]) / problem.samples
    found = exact.stage(0, Smoothing(stages=(0,), noises=(Gaussian(sigma),)))
    assert found.method == "coordinates"
    assert excess(found, expected) < 4
    assert excess(replace(found, values=0.5 * found.values), expected) > 8


@pytest.mark.parametrize(
    ("network", "loss", "jumps"),
    [
        (NETWORKS["dense"], CrossEntropy(), [False, False, False]),
        (NETWORKS["dense"], ZeroOne(), [True, True, True]),
        (
            lambda: Sequential(
                LIF(3, 4, steps=4), MeanOverTime(), Dense(4, 2, identity), input_shape=(3,)
            ),
            CrossEntropy(),
            [True, False],
        ),
    ],
)
def test_jumps_are_noticed(network, loss, jumps):
    exact = make_exact(make_problem(network(), loss, samples=32))
    found = [bool(np.isnan(exact.stage(s, CLEAN).values).all()) for s in range(len(jumps))]
    assert found == jumps


def test_gradients_are_computed_once_and_the_coordinates_are_the_same():
    exact = make_exact(make_problem(NETWORKS["dense"]()), most_units=0, most_coordinates=5)
    alone = Smoothing(stages=(0,), noises=(Gaussian(0.5),))
    assert exact.stage(0, CLEAN) is exact.stage(0, CLEAN)
    assert len(exact.coordinates(0)) == len(exact.stage(0, alone).values) == 5
    assert 0.9 < exact.stage(0, alone).ceiling <= 1


# --- what an estimator is about -------------------------------------------------------------------


def test_every_estimator_has_a_loss_of_its_own():
    network, loss = NETWORKS["dense"](), CrossEntropy()
    noise = Gaussian(0.5)

    def stages(estimator):
        return [smoothing.stages for smoothing in smoothings(estimator, network, loss)]

    assert stages(LikelihoodRatio(noise, control_variate=None)) == [(0,), (1,), (2,)]
    assert stages(LikelihoodRatio(noise, control_variate=JacobianControlVariate(0.0))) == [
        (0,), (1,), (),
    ]  # fmt: skip
    assert stages(LikelihoodRatio(noise, schedule=Joint(2), control_variate=None)) == [
        (0, 1), (0, 1), (2,),
    ]  # fmt: skip
    assert stages(EvolutionStrategies()) == [(0, 1, 2)] * 3
    assert {s.place for s in smoothings(EvolutionStrategies(), network, loss)} == {PARAMETERS}
    assert stages(ForwardGradient()) == [()] * 3


# --- scores ---------------------------------------------------------------------------------------


def estimates(draws, exact, bias=0.0, sigma=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return exact + bias + sigma * rng.normal(size=(draws, len(exact)))


def test_an_unbiased_estimator_has_no_squared_bias_and_a_biased_one_has():
    exact = np.linspace(-1, 1, 50)
    planted = 0.2 * np.ones(50)  # squared 2, under a variance of 50
    z = []
    for seed in range(20):
        found = judge(estimates(64, exact, seed=seed), exact)
        z.append(found.squared_bias / found.squared_bias_error)
    assert abs(np.mean(z)) < 1.0
    assert max(np.abs(z)) < 5
    found = judge(estimates(64, exact, planted), exact)
    assert found.squared_bias > 3 * found.squared_bias_error
    assert abs(found.squared_bias - 2.0) < 4 * found.squared_bias_error
    # The plain squared distance of the mean would find a bias in both.
    wrong = float(((estimates(64, exact).mean(axis=0) - exact) ** 2).sum())
    assert wrong > 0.5


def test_the_error_of_the_exact_gradient_is_taken_off():
    exact = np.linspace(-1, 1, 200)
    off = 0.2 * np.random.default_rng(1).normal(size=200)
    drawn = estimates(64, exact)
    with_error, without = (judge(drawn, exact + off, error) for error in (200 * 0.2**2, 0.0))
    assert abs(with_error.squared_bias) < 5 * with_error.squared_bias_error
    assert without.squared_bias > 5 * without.squared_bias_error
    assert with_error.squared_norm == pytest.approx(without.squared_norm - 8.0)


def test_cosine_and_variance_are_those_of_the_distribution():
    dimensions, sigma = 400, 0.5
    exact = np.ones(dimensions)
    drawn = estimates(500, exact, sigma=sigma)
    found = judge(drawn, exact)
    assert variance(drawn) == pytest.approx(dimensions * sigma**2, rel=0.02)
    assert found.cosine == pytest.approx(1 / sqrt(1 + sigma**2), abs=0.002)
    assert found.cosine_error < 0.002
    assert judge(-drawn, exact).cosine == pytest.approx(-found.cosine)
    assert judge(np.tile(exact, (3, 1)), exact).cosine == pytest.approx(1)
    assert judge(np.zeros((3, dimensions)), exact).cosine == 0


def test_the_jackknife_error_is_no_smaller_than_that_of_repetition():
    exact = np.linspace(-1, 1, 20)
    found = [judge(estimates(16, exact, 0.2, seed=seed), exact) for seed in range(300)]
    spread = np.std([one.squared_bias for one in found])
    claimed = sqrt(np.mean([one.squared_bias_error**2 for one in found]))
    assert 0.95 * spread < claimed < 1.4 * spread
    assert np.mean([one.squared_bias for one in found]) == pytest.approx(0.8, abs=0.1)


def test_where_there_is_no_gradient_there_is_no_score():
    found = judge(np.ones((4, 3)), np.full(3, np.nan))
    assert all(isnan(value) for value in found)
    assert isnan(judge(np.ones((4, 3)), np.zeros(3)).cosine)


# --- the roster -----------------------------------------------------------------------------------


def test_everyone_on_the_roster_can_be_told_apart():
    assert len({entry.name for entry in ROSTER}) == len(ROSTER)
    assert len({entry.marker for entry in ROSTER}) == len(ROSTER)
    plain = [entry.colour for entry in ROSTER if not entry.variant]
    assert len(set(plain)) == len(plain)


def test_entries_are_chosen_by_name_and_none_comes_twice():
    own = LikelihoodRatio()
    names = [entry.name for entry in choose_entries((), own)]
    assert names == [entry.name for entry in ROSTER]
    assert [e.name for e in choose_entries(("joint", "default", "joint"), own)] == [
        "joint",
        "default",
    ]
    assert [entry.name for entry in choose_entries(("lambda = 1",), own)] == ["λ = 1"]
    plain = replace(own, control_variate=None)
    left = {entry.name for entry in choose_entries((), plain)}
    assert set(names) - left == {"default, memory anew", "λ = 1", "plain antithetic"}
    with pytest.raises(BadInput, match="there is no estimator 'join' to study"):
        choose_entries(("join",), own)
    assert ROSTER[0].build(own, 3) is None  # no whole number of pairs


def test_everyone_draws_from_where_the_recipe_draws():
    """Else backends would disagree about an estimator, given the same noise."""
    for source in ("host", "device"):
        own = LikelihoodRatio(sampler=Antithetic(source))
        built = [entry.example(own) for entry in ROSTER]
        assert {estimator.sampler.source for estimator in built} == {source}


# --- studies --------------------------------------------------------------------------------------

TINY = {"hidden": (8, 6), "epochs": 2, "residual": 0.0, "learning_rate": 1e-2, "dtype": "float64"}


@pytest.fixture(scope="module")
def subject():
    return open_subject("digits-dense", TINY, samples=24)


@pytest.fixture(scope="module")
def study(subject):
    names = ("default", "default, memory anew", "λ = 1", "plain antithetic", "joint",
             "evolution strategies", "forward gradient", "plain Neyman")  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nolr.laboratory.subject.LESSONS", 25)
        places = find_checkpoints(subject)
        return run_study(subject, places, estimators=names, copies=(2, 8), draws=12)


def test_a_study_has_a_row_for_everything(study):
    assert [c.name for c in study.checkpoints] == ["start", "early", "late"]
    assert study.checkpoints[1].step < study.checkpoints[2].step
    keys = [(r.checkpoint, r.estimator, r.copies, r.stage) for r in study.rows]
    assert len(set(keys)) == len(keys) == 3 * (7 * 2 + 1) * 3
    assert {name: len(points) for name, points in study.sweeps.items()} == {
        "noise": 5,
        "depth": 5,
        "stages": 3,
    }
    assert [point.value for point in study.sweeps["noise"]] == list(LEVELS)


def test_what_is_unbiased_is_found_unbiased_and_learned_feedback_is_not(study):
    unbiased = {"λ = 1", "plain antithetic", "joint", "evolution strategies", "plain Neyman"}
    rows = [row for row in study.rows if row.estimator in unbiased]
    z = np.array([row.squared_bias_noised / row.squared_bias_noised_error for row in rows])
    assert z.max() < 5
    learned = [r for r in study.rows if r.estimator == "default" and r.stage == 0]
    for row in learned:
        assert row.variance < 1e-20
        assert row.squared_bias_noised > 0.005 * row.squared_norm_noised
    anew = [r for r in study.rows if r.estimator == "default, memory anew" and r.stage == 0]
    for row in anew:
        assert row.variance > 1e-5 * row.squared_norm_clean
        assert row.squared_bias_noised > 3 * row.squared_bias_noised_error


class Short(LikelihoodRatio):
    """A planted fault: every gradient is a fifth too short."""

    def __call__(self, *arguments):
        estimate, memory = super().__call__(*arguments)
        grads = tuple({k: 0.8 * v for k, v in theta.items()} for theta in estimate.grads)
        return estimate._replace(grads=grads), memory


def test_a_planted_bias_is_found(subject, precise):
    (place,) = find_checkpoints(subject, ("start",))
    honest = next(entry for entry in ROSTER if entry.name == "λ = 1")
    exact, worst = exact_at(subject, place), {}
    for kind in (LikelihoodRatio, Short):

        def make(own, copies, kind=kind):
            estimator = honest.make(own, copies)
            return kind(**{f.name: getattr(estimator, f.name) for f in fields(estimator)})

        entry = replace(honest, make=make)
        rows = measure(subject, place, exact, entry, 128, 24, lambda draw: place.memory)
        worst[kind] = [row.squared_bias_noised / row.squared_bias_noised_error for row in rows]
    assert max(worst[LikelihoodRatio]) < 4
    assert min(worst[Short]) > 6


def test_variance_falls_with_the_copies(study):
    for name in ("λ = 1", "plain antithetic", "joint", "forward gradient"):
        for checkpoint in ("start", "early"):
            few, many = curve(study.rows, name, checkpoint)
            assert 1.4 < few.deviation / many.deviation < 2.9  # √4, but for chance


def test_passes_are_charged_as_they_are_run(study):
    passes = {(r.estimator, r.copies): r.forward_passes for r in study.rows}
    # Two tails in every second step: the last stage is exact, and digits-dense probes so often.
    assert passes["default", 2] == 1 + 2 * 2 / 2
    assert passes["default", 8] == 1 + 2 * 8 / 2
    assert passes["λ = 1", 8] == passes["plain antithetic", 8] == 1 + 3 * 8
    assert passes["joint", 8] == passes["forward gradient", 8] == 1 + 8
    assert budgets(study.rows, "late") == [7, 25]


def test_a_budget_is_met_between_what_was_measured():
    def mean(passes, cosine):
        return Mean("any", 2, passes, 0.0, cosine, 0.0, 0.0, 0.0, 0.0)

    rising = [mean(2, 0.2), mean(8, 0.4)]
    assert at_budget(rising, 4) == pytest.approx(0.3)
    assert isnan(at_budget(rising, 1.9))
    assert isnan(at_budget(rising, 8.1))
    assert at_budget([mean(2, 0.9), mean(8, 0.9)], 100) == 0.9


def test_the_record_is_json_without_nan_and_complete(study):
    text = as_json(study, "nolr study variance digits-dense").decode()
    record = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert record["recipe"] == "digits-dense"
    assert record["samples"] == 24
    assert len(record["rows"]) == len(study.rows)
    assert set(record["sweeps"]) == {"noise", "depth", "stages"}
    assert {"versions", "machine", "date", "seed", "settings", "notes"} < set(record)
    losses = {row["loss"] for row in record["exact"]}
    assert {"clean", "Gaussian noise 0.01 in the parameters of stage 0, 1, 2"} < losses
    depth = record["sweeps"]["depth"][0]["rows"][0]
    assert depth["cosine_noised"] is None
    assert depth["cosine_clean"] > 0.5
    assert all(0 < row["ceiling"] <= 1 for row in record["exact"])


def test_the_tables_name_everyone(study):
    text = as_markdown(study, "nolr study variance digits-dense").decode()
    assert "## Late: after" in text
    for entry in study.entries:
        assert f"| {entry.name} | 2 |" in text
    assert "nan" not in text


def test_an_estimator_looks_the_same_in_every_figure(study):
    looks = {}
    for draw in (draw_variance, draw_cosine, draw_bias, draw_sweeps):
        figure = draw(study)
        assert figure.get_suptitle().startswith("digits-dense: ")
        for axes in figure.axes:
            assert axes.get_xlabel()
            for line in axes.get_lines():
                if (name := line.get_label()) in {entry.name for entry in study.entries}:
                    looks.setdefault(name, set()).add((line.get_color(), line.get_marker()))
    assert {name: len(found) for name, found in looks.items()} == dict.fromkeys(looks, 1)
    assert len(looks) >= 7


def test_where_the_layers_are_fixed_the_depth_is_not_swept(subject, monkeypatch):
    """A recipe that ignores or refuses the setting says so in a remark."""
    monkeypatch.setattr("nolr.laboratory.sweeps.LEVELS", ())

    def refuse(settings):
        if len(settings.hidden) != 2:
            raise BadInput("this one has two hidden layers")
        return subject.recipe.build(settings)

    for build, words in (
        (refuse, "this one has two hidden layers"),
        (lambda settings: subject.network, "does not depend on the setting hidden"),
    ):
        other = replace(subject, recipe=replace(subject.recipe, build=build))
        (place,) = find_checkpoints(other, ("start",))
        found = run_study(other, (place,), estimators=("plain antithetic",), copies=(2,), draws=3)
        assert set(found.sweeps) == {"stages"}
        (remark,) = found.remarks
        assert words in remark


def test_other_backends_find_the_same(other_backend, subject):
    """Estimators run where the recipe does; with the same noise they are the same."""
    found = {}
    for name in ("numpy", other_backend.name):
        settings = TINY | {"backend": name, "noise_source": "host"}
        there = open_subject("digits-dense", settings, samples=8)
        places = find_checkpoints(there, ("start",))
        names = ("default", "λ = 1", "joint")
        study = run_study(there, places, estimators=names, copies=(2,), draws=3, sweeps=False)
        found[name] = [(row.cosine_clean, row.variance) for row in study.rows]
    np.testing.assert_allclose(*found.values(), rtol=1e-6, atol=1e-9)


def test_a_memory_is_learned_anew_for_every_draw(subject):
    (place,) = find_checkpoints(subject, ("start",))
    kinds = {entry.name: entry for entry in ROSTER}
    anew = memories_of(subject, place, kinds["default, memory anew"])
    first, again, other = anew(0).evidence[0].moment, anew(0).evidence[0].moment, anew(1)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other.evidence[0].moment).max() > 1e-3
    assert memories_of(subject, place, kinds["λ = 1"])(3) is place.memory


def test_a_credit_that_is_exact_serves_those_who_have_learned_nothing_of_it(subject):
    """The recipe's own estimator has no noise in the last stage; λ = 1 has, and its memory."""
    (place,) = find_checkpoints(subject, ("start",))
    exact, entries = exact_at(subject, place), {entry.name: entry for entry in ROSTER}
    last = {}
    for name in ("λ = 1", "plain antithetic"):
        memories = memories_of(subject, place, entries[name])
        last[name] = measure(subject, place, exact, entries[name], 2, 4, memories)[-1]
    assert last["λ = 1"].cosine_clean > 0.99 > last["plain antithetic"].cosine_clean + 0.2


def test_whatever_the_recipe_draws_its_entries_can_be_built_or_are_left_out(subject):
    coupled = ("plain orthogonal", "plain Sobol")  # which have no use for a baseline of groups
    for own in (
        LikelihoodRatio(sampler=Independent(), copies=1),
        LikelihoodRatio(sampler=Independent(), copies=3),
        LikelihoodRatio(baseline=LeaveGroupOut(), copies=4),
        LikelihoodRatio(sampler=Independent(), baseline=LeaveGroupOut(), copies=2),
    ):
        there = replace(subject, trainer=replace(subject.trainer, estimator=own))
        (place,) = find_checkpoints(subject, ("start",))
        found = run_study(there, (place,), copies=(1, 2, 4), draws=3, sweeps=False)
        missing = {entry.name for entry in found.entries} - {row.estimator for row in found.rows}
        grouped = isinstance(own.baseline, LeaveGroupOut)
        assert missing >= (set(coupled) if grouped else set())
        assert "plain antithetic" not in missing


@pytest.mark.parametrize(
    ("copies", "draws", "words"),
    [
        ((), 16, "copies must be whole numbers"),
        ((0, 2), 16, "copies must be whole numbers"),
        ((2,), 2, "draws must be at least 3"),
    ],
)
def test_bad_numbers_are_refused(copies, draws, words):
    with pytest.raises(BadInput, match=words):
        check_numbers(copies, draws)


def test_copies_that_nobody_can_have_are_refused(subject):
    (place,) = find_checkpoints(subject, ("start",))
    with pytest.raises(BadInput, match="none of the estimators can have 3 copies"):
        run_study(subject, (place,), estimators=("joint",), copies=(3,), draws=3, sweeps=False)


def test_a_checkpoint_must_exist(subject):
    with pytest.raises(BadInput, match="there is no checkpoint 'last'"):
        find_checkpoints(subject, ("last",))
    with pytest.raises(BadInput, match="no checkpoint is given"):
        find_checkpoints(subject, ())
