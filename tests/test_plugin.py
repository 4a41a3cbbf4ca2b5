"""The pytest plugin: verdicts as passes and failures, a readable report, one error rate for all."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from dataclasses import replace
from math import pi
from pathlib import Path

import pytest
from mutations import FAULTS, make

import nolr
import nolr.testing.layers
import nolr.testing.report
import nolr.testing.strategies
import nolr.testing.unbiased  # here, so that no inner session loads a second one
from nolr.testing import BIASED, UNBIASED, UNDECIDED, check_unbiased
from nolr.testing.plugin import PROPERTY, CheckFailed, SessionCertificates
from nolr.testing.report import hints, report

SETTING = """
import numpy as np
import pytest
import nolr

NETWORK = nolr.Sequential(nolr.Dense(2, 2, nolr.Identity()), input_shape=(2,))
PARAMS = NETWORK.init(0, nolr.get_backend("numpy"), "float64")
BATCH = np.array([[0.9, -0.4], [-0.7, 1.1]]), np.array([[0.5, 1.0], [-1.0, 0.3]])
PROBLEM = NETWORK, PARAMS, BATCH, nolr.MeanSquaredError()
PLAIN = nolr.LikelihoodRatio(nolr.Gaussian(0.5), control_variate=None)

def doubled(*arguments):
    estimate, state = PLAIN(*arguments)
    grads = tuple({name: 2 * array for name, array in grad.items()} for grad in estimate.grads)
    return estimate._replace(grads=grads), state

class Doubled:
    noise, schedule, init = PLAIN.noise, PLAIN.schedule, PLAIN.init
    __call__ = staticmethod(doubled)
"""


@pytest.fixture
def session(pytester):
    """Runs tests in a session of their own, in this process."""

    def run(tests, *options):
        pytester.makepyfile(SETTING + tests)
        return pytester.runpytest("-p", "no:cacheprovider", *options)

    return run


# --- verdicts -------------------------------------------------------------------------------------


def test_what_is_unbiased_passes_and_is_listed(session):
    result = session("def test_mine(certify): certify(PLAIN, *PROBLEM)")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*= certificates =*",
            "verdict * draws * bound * test",
            "unbiased * 64 * % *::test_mine",
        ]
    )


def test_what_is_biased_fails_with_a_table_and_no_traceback(session):
    result = session("def test_mine(certify): certify(Doubled(), *PROBLEM)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "expected unbiased, found biased",
            "estimand: *",
            "reference:  closed form",
            "draws:      64 of 2048 rows",
            "batch:      2 samples, 1024 times; whoever couples *",
            "tolerance:  5 % of the norm of a stage's gradient",
            "error rate: 6.1e-07 over all directions and looks",
            "stage  parameter  direction *bias *bound * z  verdict",
            "    0  W          * biased",
            "    0  b          * biased",
            "biased, not unbiased *::test_mine",
        ]
    )
    text = result.stdout.str()
    assert "def test_mine" not in text
    assert "plugin.py" not in text


def test_a_bias_that_is_expected_passes_and_one_that_is_missing_fails(session):
    result = session(
        """
def test_found(certify): assert certify(Doubled(), *PROBLEM, expect="biased").draws == 64
def test_missing(certify): certify(PLAIN, *PROBLEM, expect="biased")
"""
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "expected biased, found unbiased",
            "- No bias is as large as 5 %*",
            "biased   *::test_found",
            "unbiased, not biased *::test_missing",
        ]
    )


def test_undecided_fails_and_says_what_it_would_take(session):
    result = session(
        "def test_mine(certify): certify(PLAIN, *PROBLEM, rows=16)", "--nolr-max-draws=64"
    )
    result.assert_outcomes(failed=1)
    assert "expected unbiased, found undecided" in result.stdout.str()
    needed = re.search(r"About (\d+) draws of 16 rows would do", result.stdout.str())[1]
    result = session(
        f"def test_it(certify): certify(PLAIN, *PROBLEM, rows=16, max_draws={needed} * 3 // 2)",
        "--nolr-max-draws=64",
    )
    result.assert_outcomes(passed=1)


def test_arguments_that_make_no_sense_are_refused(session):
    result = session(
        """
@pytest.mark.parametrize(("settings", "words"), [
    ({"expect": "fine"}, 'certify expects "unbiased" or "biased", got \\'fine\\''),
    ({"error_rate": 0.1}, "certify has no error_rate"),
    ({"tolerance": 2}, "tolerance must lie between 0 and 1"),
])
def test_mine(certify, settings, words):
    with pytest.raises(nolr.BadInput, match=words):
        certify(PLAIN, *PROBLEM, **settings)
"""
    )
    result.assert_outcomes(passed=3)


def test_layers_are_asserted_with_a_table_and_no_traceback(session):
    result = session(
        """
from dataclasses import dataclass

class Forgetful(nolr.Dense):
    def pullback(self, x, past, score):
        grads = super().pullback(x, past, score)
        return {**grads, "b": 0 * grads["b"]}

def test_right(assert_layer): assert assert_layer(nolr.Dense(3, 2), (3,), samples=2).passed
def test_wrong(assert_layer): assert_layer(Forgetful(3, 2), (3,))
"""
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["Forgetful on samples of shape (3,): 1 of * checks failed", "  pullback * FAILED *"]
    )
    assert "def test_wrong" not in result.stdout.str()


def test_hypothesis_adds_the_program_to_a_report(session):
    result = session(
        """
from hypothesis import Phase, given, settings, strategies
from nolr.testing.strategies import cases

drawn = cases(
    network=strategies.just(NETWORK),
    loss=strategies.just(nolr.MeanSquaredError()),
    estimator=strategies.just(doubled),
)

@settings(derandomize=True, database=None, deadline=None, phases=[Phase.generate])
@given(drawn)
def test_mine(certify, case):
    certify(PLAIN, *case.arguments[1:])
    certify(Doubled(), *case.arguments[1:])
"""
    )
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "expected unbiased, found" in text
    assert "network = nolr.Sequential(nolr.Dense(2, 2, nolr.Identity())" in text
    assert "estimator = doubled" in text
    assert "case=<Case Dense, " in text


# --- the error rate -------------------------------------------------------------------------------


def test_certificates_share_the_error_rate_of_the_session(session):
    result = session(
        """
from math import pi

def test_shares(certify):
    rates = [certify(PLAIN, *PROBLEM).error_rate for _ in range(3)]
    assert rates == pytest.approx([6 / pi**2 * 1e-3 / n**2 for n in (1, 2, 3)])
""",
        "--nolr-error-rate=1e-3",
    )
    result.assert_outcomes(passed=1)


def test_a_declared_number_makes_all_shares_equal_and_is_kept(session):
    result = session(
        """
def test_shares(certify):
    assert [certify(PLAIN, *PROBLEM).error_rate for _ in range(2)] == [5e-7, 5e-7]

def test_one_more(certify): certify(PLAIN, *PROBLEM)
""",
        "--nolr-certificates=2",
    )
    result.assert_outcomes(passed=1, failed=1)
    assert "certificate 3 of a session of 2: raise --nolr-certificates" in result.stdout.str()


def test_shares_never_add_up_to_more_than_the_whole():
    plugin = SessionCertificates(1e-6, None, 4096)
    shares = [plugin.share() for _ in range(10_000)]
    assert 0.9999e-6 < sum(shares) < 1e-6
    assert shares[0] == 6 / pi**2 * 1e-6
    # The control: shares that fall with 1/n alone would.
    assert sum(shares[0] / n for n in range(1, 100)) > 1e-6


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--nolr-error-rate=0", "--nolr-error-rate must lie between 0 and 1, got 0.0"),
        ("--nolr-error-rate=1", "--nolr-error-rate must lie between 0 and 1, got 1.0"),
        ("--nolr-certificates=0", "--nolr-certificates must be at least 1, got 0"),
        ("--nolr-max-draws=63", "--nolr-max-draws must be at least 64, got 63: fewer conclude"),
    ],
)
def test_options_that_make_no_sense_are_refused(session, option, words):
    result = session("def test_mine(): pass", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in result.stderr.str()


def test_workers_divide_the_error_rate(session, pytester):
    # What pytest-xdist tells a worker, before any plugin is configured.
    pytester.makeconftest(
        """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    config.workerinput = {"workerid": "gw1", "workercount": 4}
"""
    )
    result = session(
        """
def test_share(certify):
    assert certify(PLAIN, *PROBLEM).error_rate == pytest.approx(6 / np.pi**2 * 1e-6 / 4)
"""
    )
    assert "1 passed" in result.stdout.str() or result.ret == 0


def test_what_a_worker_reports_can_be_sent(pytester):
    pytester.makepyfile(SETTING + "def test_mine(certify): certify(PLAIN, *PROBLEM)")
    record = pytester.inline_run("-p", "no:cacheprovider")
    (sent,) = (one for one in record.getreports() if getattr(one, "when", "") == "call")
    text = json.dumps(sent._to_json())
    received = pytest.TestReport._from_json(json.loads(text))
    (table,) = (value for name, value in received.user_properties if name == PROPERTY)
    assert table[UNBIASED][:2] == [1, 64]
    plugin = SessionCertificates(1e-6, None, 4096)
    plugin.pytest_runtest_logreport(received)
    assert list(plugin.found) == [received.nodeid]


# --- company --------------------------------------------------------------------------------------


def test_it_does_without_a_terminal_and_can_be_turned_off(session):
    tests = "def test_mine(certify): certify(PLAIN, *PROBLEM)"
    result = session(tests, "-p", "no:terminal")
    assert result.ret == 0
    assert result.stdout.str() == ""
    result = session(tests, "-p", "no:nolr")
    result.assert_outcomes(errors=1)
    assert "fixture 'certify' not found" in result.stdout.str()


def test_sessions_without_certificates_say_nothing_of_them(session):
    result = session("def test_mine(): pass", "-W", "error")
    result.assert_outcomes(passed=1)
    assert "= certificates =" not in result.stdout.str()


def loaded_by(code, modules):
    """Which of some modules are loaded behind a piece of code, in a new interpreter."""
    code += f"\nimport sys; print([m for m in {modules!r} if m in sys.modules])"
    command = [sys.executable, "-W", "error", "-c", code]
    root = Path(nolr.__file__).parent.parent
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    return done.stdout.strip()


def test_to_load_the_plugin_is_light():
    heavy = ("numpy", "scipy", "hypothesis", "nolr.network", "nolr.backends", "nolr.testing.layers")
    assert loaded_by("import nolr.testing.plugin", heavy) == "[]"
    assert loaded_by("from nolr.testing import check_layer", heavy) != "[]"  # it could have been


def test_neither_pytest_nor_hypothesis_is_needed():
    without = "import sys; sys.modules.update(dict.fromkeys(['pytest', 'hypothesis']))\n"
    use = "from nolr.testing import Case, check_layer, check_unbiased\n"
    assert loaded_by(without + use, ("nolr.testing.plugin", "nolr.testing.strategies")) == "[]"
    missing = (
        "try:\n    import nolr.testing.strategies\nexcept ImportError as error:\n    print(error)\n"
    )
    said = loaded_by(without + missing, ("nolr.network",)).splitlines()
    assert said[0] == ('nolr.testing.strategies needs Hypothesis: run pip install "nolr[testing]"')


# --- hints ----------------------------------------------------------------------------------------


def certificate_with(name, monkeypatch):
    """The certificate of a planted fault out of the table; of none, that of its setting."""
    fault = next(fault for fault in FAULTS if fault.name == name)
    right = inspect.getattr_static(fault.owner, fault.attribute)
    monkeypatch.setattr(fault.owner, fault.attribute, lambda *a, **k: fault.wrong(right, *a, **k))
    network, params, batch, loss = make(fault.setting.family)
    return check_unbiased(fault.setting.estimator, network, params, batch, loss)


SHARED = "Every array shows signs of it: look at what all stages share"


@pytest.mark.parametrize(
    ("fault", "words", "others"),
    [
        ("score a tenth too large", [SHARED], ["no sign of it"]),
        ("bias forgotten", ["the gradient of b is off and that of W shows no sign"], [SHARED]),
        (
            "clean inputs in every copy",
            ["the gradient of W is off and that of b shows no sign", "Off is stage 1, and stage 0"],
            [SHARED],
        ),
        ("this state for the last one", ["the gradient of U is off and that of"], [SHARED]),
    ],
)
def test_hints_point_to_where_the_fault_is(fault, words, others, monkeypatch):
    certificate = certificate_with(fault, monkeypatch)
    assert certificate.verdict == BIASED
    text = " ".join(hints(certificate))
    assert all(one in text for one in words), text
    assert not any(one in text for one in others), text


def test_an_estimator_that_admits_its_bias_is_believed():
    network, params, batch, loss = make("dense")
    variate = nolr.JacobianControlVariate(0.5)
    shrunk = nolr.LikelihoodRatio(nolr.Gaussian(0.5), control_variate=variate)
    certificate = check_unbiased(shrunk, network, params, batch, loss)
    (hint,) = hints(certificate)
    assert hint.startswith("The estimator says itself that it is biased")
    # The control: of an unbiased one that has a fault nothing of the kind is said.
    claimed = replace(certificate, estimand="gradient of the mean loss; unbiased")
    assert "says itself" not in " ".join(hints(claimed))


def test_undecided_for_want_of_a_gradient_is_called_so():
    network, params, batch, loss = make("dense")
    plain = nolr.LikelihoodRatio(nolr.Gaussian(0.5), control_variate=None)
    certificate = check_unbiased(plain, network, params, batch, loss, max_draws=64, rows=4)
    assert certificate.verdict == UNDECIDED
    none = tuple(replace(found, norm=0.0) for found in certificate.findings)
    (hint,) = hints(replace(certificate, findings=none))
    assert "is 0, and no bias is a small part of it" in hint
    assert "inf %" in report(replace(certificate, findings=none))


def test_a_failure_shows_its_notes():
    failure = CheckFailed("what", pytrace=False)
    failure.add_note("a note")
    assert str(failure) == "what\na note"
