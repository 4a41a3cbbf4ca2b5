"""Cases: the program of a case makes the same numbers, and expressions the same objects."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from test_strategies import SEARCH_ALONE, found, host

from nolr.activations import Identity
from nolr.backends import backend_of, get_backend
from nolr.errors import BadInput
from nolr.estimation import Joint, LikelihoodRatio
from nolr.initializers import ScaledIdentity
from nolr.layers import LIF, Dense, SimpleRNN
from nolr.losses import CrossEntropy, MeanSquaredError
from nolr.network import Sequential
from nolr.noise import Gaussian
from nolr.optimizers import ravel
from nolr.testing import Case
from nolr.testing.source import Source
from nolr.testing.strategies import FAMILY_NAMES, cases, parameter_estimators

# --- programs -------------------------------------------------------------------------------------


def run(program):
    """What a program leaves behind; it may print."""
    left = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(program, "program", "exec"), left)
    return left


def outcomes(output, estimate):
    """All numbers that a run ends with."""
    return [host(output), host(estimate.loss), host(ravel(estimate.grads))]


def agree(case, left):
    """Whether a program ended with the numbers of a case, bit for bit."""
    pairs = zip(
        outcomes(case.output(), case.estimate()),
        outcomes(left["output"], left["estimate"]),
        strict=True,
    )
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_program_gives_the_same_numbers(family):
    @given(cases((family,), dtypes=("float64", "float32")))
    def check(case):
        assert agree(case, run(case.program()))

    check()


@given(cases(estimator=parameter_estimators(), dtypes=("float64", "float32")))
def test_a_program_knows_estimators_that_perturb_parameters(case):
    assert agree(case, run(case.program()))


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_programs_of_other_cases_give_other_numbers(family):
    # The control of both tests above: another seed or parameter is seen in what a program leaves.
    def told_apart(case):
        if case.given is None:
            return False
        left = run(case.program())
        moved = tuple({k: np.asarray(v) + 0.5 for k, v in theta.items()} for theta in case.given)
        others = replace(case, seed=case.seed + 1), replace(case, given=moved)
        return agree(case, left) and not any(agree(other, left) for other in others)

    assert found(cases((family,)), told_apart, SEARCH_ALONE)


@pytest.mark.parametrize("backend", ["torch", "array-api-strict"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_program_runs_on_the_backend_of_its_case(backend, dtype):
    try:
        get_backend(backend)
    except BadInput as error:
        pytest.skip(str(error))
    case = found(cases(("recurrent",)), lambda case: case.given is not None, SEARCH_ALONE)
    case = case.on(backend, dtype)
    left = run(case.program())
    assert agree(case, left)
    assert backend_of(left["output"]).name == backend
    assert dtype in str(left["output"].dtype)


@dataclass(frozen=True)
class Doubled:
    """An estimator of a user's own."""

    inner: LikelihoodRatio

    def init(self, network, params, loss):
        return self.inner.init(network, params, loss)

    def __call__(self, *arguments):
        estimate, state = self.inner(*arguments)
        grads = tuple({k: 2 * v for k, v in theta.items()} for theta in estimate.grads)
        return estimate._replace(grads=grads), state


def stateless(network, params, batch, loss, key, state):
    """Likewise, as a function that remembers nothing."""
    assert state is None
    plain = LikelihoodRatio(control_variate=None)
    return plain(network, params, batch, loss, key, plain.init(network, params, loss))


@pytest.mark.parametrize(
    ("estimator", "line"),
    [
        (Doubled(LikelihoodRatio()), "estimator = Doubled(nolr.LikelihoodRatio())"),
        (stateless, "estimator = stateless"),
    ],
    ids=["class", "function"],
)
def test_a_program_imports_what_is_not_of_nolr(estimator, line):
    case = Case(
        Sequential(Dense(1, 1), input_shape=(1,)),
        np.array([[1.0]]),
        np.array([[2.0]]),
        MeanSquaredError(),
        estimator,
    )
    program = case.program()
    assert line in program.splitlines()
    assert f"from {__name__} import" in program
    assert agree(case, run(program))


def test_a_program_is_short_and_complete():
    case = Case(
        Sequential(Dense(1, 1, Identity()), input_shape=(1,)),
        np.array([[0.5]]),
        np.array([0]),
        CrossEntropy(),
        LikelihoodRatio(Gaussian(0.5), control_variate=None),
        seed=7,
    )
    assert (
        case.program()
        == str(case)
        == """\
import nolr
import numpy as np

backend = nolr.get_backend("numpy")
network = nolr.Sequential(nolr.Dense(1, 1, nolr.Identity()), input_shape=(1,))
params = network.init(7, backend, "float64")
x = backend.asarray(np.array([[0.5]]), "float64")
target = backend.asarray(np.array([0]), "int64")
loss = nolr.CrossEntropy()
estimator = nolr.LikelihoodRatio(nolr.Gaussian(0.5), control_variate=None)

output = network.forward(params, x)
state = estimator.init(network, params, loss)
key = nolr.Key(7)
estimate, state = estimator(network, params, (x, target), loss, key, state)
print(output)
print(estimate.grads)
"""
    )
    assert repr(case) == (
        "<Case Dense, 1 × (1,), CrossEntropy, LikelihoodRatio, seed 7, numpy float64>"
    )


# --- expressions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        0.1 + 0.2,
        5e-324,
        -0.0,
        float("inf"),
        np.float64(0.3),
        np.array([[1.0, -0.0], [np.nan, -np.inf]]),
        np.array([1, 2], dtype="int64"),
        np.array([0.1], dtype="float32"),
        np.array([True]),
        np.zeros((0, 3), "int32"),
        (1,),
        ("it's", 'a "name"'),
        {"a": [1, (2.5, None)]},
        SimpleRNN(2, 2, recurrent_initializer=ScaledIdentity(0.5), last=False),
        LIF(2, 1, steps=3, learn_decay=True),
        Joint(2),
    ],
    ids=repr,
)
def test_an_expression_makes_the_value_again(value):
    source = Source()
    text = source.of(value)
    space = {}
    exec(source.header, space)
    again = eval(text, space)
    if isinstance(value, np.ndarray):
        assert (again.dtype, again.shape) == (value.dtype, value.shape)
        assert again.tobytes() == value.tobytes()
    else:
        expected = value.item() if isinstance(value, np.generic) else value
        assert (type(again), repr(again)) == (type(expected), repr(expected))


def test_what_cannot_be_imported_is_named():
    def local(network):
        return network

    source = Source()
    assert source.of(local) == "local"
    assert source.header == "# define here, or import: local"
    assert source.of((1, object())) == "(1, ...)"
    assert "<object object at" in source.header


# --- what is printed ------------------------------------------------------------------------------


FAILING = """
import numpy as np
from hypothesis import Phase, given, settings
from nolr.testing.strategies import cases

brief = [Phase.generate, Phase.shrink]

@settings(derandomize=True, database=None, deadline=None, max_examples=20, phases=brief)
@given(cases(("dense",)))
def test_outputs_are_small(case):
    np.save("output.npy", case.output())
    assert np.abs(case.output()).max() < 0.5
"""


def test_a_failing_test_prints_the_program_of_its_smallest_case(pytester):
    pytester.makepyfile(FAILING)
    result = pytester.runpytest("-p", "no:cacheprovider", "--tb=short")
    result.assert_outcomes(failed=1)
    lines = [line.removeprefix("E").strip("\n")[3:] for line in result.outlines]
    program = lines[lines.index("import nolr") : lines.index("print(estimate.grads)") + 1]
    left = run("\n".join(program))
    np.testing.assert_array_equal(left["output"], np.load(pytester.path / "output.npy"))
    assert left["network"].nodes == (Dense(1, 1, Identity()),)
    assert left["output"].size == 1
    assert "case=<Case Dense, 1 × (1,)" in result.stdout.str()
