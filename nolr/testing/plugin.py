"""The pytest plugin: certificates of unbiasedness and the contract of a layer, as fixtures.

    def test_my_estimator(certify):
        certify(MyEstimator(), network, params, (x, target), loss)

    def test_what_is_shrunk(certify):
        certify(shrunk, network, params, (x, target), loss, expect="biased")

    def test_my_layer(assert_layer):
        assert_layer(MyLayer(3, 2), (3,))

It is active wherever nolr and pytest are installed; `-p no:nolr` turns it off. `certify` takes what
`nolr.testing.check_unbiased` takes, but the error rate: that is the session's.

| option | what it does |
|---|---|
| `--nolr-error-rate P` | probability that any verdict of the session is wrong (1e-6) |
| `--nolr-certificates N` | there are at most N, each gets P/N; else the n-th gets 6/π² · P/n² |
| `--nolr-max-draws N` | draws of a certificate that names no number of its own (4096) |

The shares 6/π²/n² sum to 1 however many there are, so nobody has to know. The price is small: the
hundredth certificate takes 1.5 times the draws of the first, the thousandth 1.75 times. As the
shares go by order, a test that runs alone has a larger one; a number given beforehand makes them
all the same. Under pytest-xdist every worker has an equal part of P, and N is a worker's.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING, Any

import pytest

from nolr.testing.certificate import FEWEST_DRAWS

if TYPE_CHECKING:
    from nolr.network import Sequential
    from nolr.testing.certificate import Certificate
    from nolr.testing.layers import LayerReport
    from nolr.types import Array, Layer, Loss, Params

PROPERTY = "nolr_certificates"
"""Of a test's report, and in a JUnit file: what was certified in it, verdict by verdict."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("nolr", "certificates of unbiasedness")
    group.addoption(
        "--nolr-error-rate",
        type=float,
        default=1e-6,
        metavar="P",
        help="probability that any verdict of the session is wrong (default: 1e-6)",
    )
    group.addoption(
        "--nolr-certificates",
        type=int,
        metavar="N",
        help="there are at most N certificates: each gets P/N, not a share that falls with 1/n^2",
    )
    group.addoption(
        "--nolr-max-draws",
        type=int,
        default=4096,
        metavar="N",
        help="draws of a certificate that names no number of its own (default: 4096)",
    )


def pytest_configure(config: pytest.Config) -> None:
    rate, count = config.getoption("nolr_error_rate"), config.getoption("nolr_certificates")
    if not 0 < rate < 1:
        raise pytest.UsageError(f"--nolr-error-rate must lie between 0 and 1, got {rate}")
    if count is not None and count < 1:
        raise pytest.UsageError(f"--nolr-certificates must be at least 1, got {count}")
    draws = config.getoption("nolr_max_draws")
    if draws < FEWEST_DRAWS:
        raise pytest.UsageError(
            f"--nolr-max-draws must be at least {FEWEST_DRAWS}, got {draws}: fewer conclude "
            "nothing, so raise it or leave it out"
        )
    workers = getattr(config, "workerinput", {}).get("workercount", 1)  # of pytest-xdist
    plugin = SessionCertificates(rate / workers, count, draws)
    config.pluginmanager.register(plugin, "nolr-certificates")


class CheckFailed(pytest.fail.Exception):  # type: ignore[name-defined]
    """A failure that is shown without a traceback, but with the notes that Hypothesis adds."""

    __module__ = "builtins"  # pytest then shows the bare name

    def __str__(self) -> str:
        return "\n".join([self.msg or "", *getattr(self, "__notes__", [])])


class SessionCertificates:
    """What is left of the error rate, the test that runs, and what was certified so far."""

    def __init__(self, error_rate: float, count: int | None, max_draws: int) -> None:
        self.error_rate, self.count, self.max_draws = error_rate, count, max_draws
        self.given = 0
        self.item: pytest.Item | None = None
        self.found: dict[str, dict[str, tuple[int, int, float]]] = {}
        """By test and verdict: how many, their draws, and the largest bound."""

    def share(self) -> float:
        """The error rate of the next certificate."""
        self.given += 1
        if self.count is None:
            return 6.0 / pi**2 * self.error_rate / self.given**2
        if self.given > self.count:
            raise CheckFailed(
                f"certificate {self.given} of a session of {self.count}: raise "
                "--nolr-certificates, or leave it out",
                pytrace=False,
            )
        return self.error_rate / self.count

    def enter(self, certificate: Certificate, bound: float, expected: str) -> None:
        """Add it to the report of the running test, one line for every verdict."""
        if self.item is None:
            return
        properties = self.item.user_properties
        table: Any = next((value for name, value in properties if name == PROPERTY), None)
        if table is None:
            properties.append((PROPERTY, table := {}))
        verdict = certificate.verdict
        line = verdict if verdict == expected else f"{verdict}, not {expected}"
        count, draws, largest = table.get(line, (0, 0, 0.0))
        table[line] = (count + 1, draws + certificate.draws, max(largest, bound))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.item = item
        try:
            return (yield)
        finally:
            self.item = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, table in report.user_properties:
            if name == PROPERTY and isinstance(table, dict):
                self.found[report.nodeid] = table

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.found:
            return
        terminalreporter.write_sep("=", "certificates")
        terminalreporter.write_line(f"{'verdict':<22}{'draws':>8}{'bound':>10}  test")
        for test, table in self.found.items():
            for verdict, (count, draws, bound) in table.items():
                times = f" ({count} certificates)" if count > 1 else ""
                terminalreporter.write_line(
                    f"{verdict:<22}{draws:>8}{100 * bound:>8.1f} %  {test}{times}"
                )


@dataclass(frozen=True)
class Certify:
    """What the fixture `certify` is."""

    session: SessionCertificates

    def __call__(
        self,
        estimator: Any,
        network: Sequential,
        params: Sequence[Params],
        batch: tuple[Array, Array],
        loss: Loss,
        *,
        expect: str = "unbiased",
        max_draws: int | None = None,
        **settings: Any,
    ) -> Certificate:
        """Fail the test, with a table and without a traceback, unless the verdict is as expected.

        Args:
            expect: "unbiased", or "biased" for an estimator that must be found out.
            max_draws: in place of the session's.
            settings: the other keywords of `nolr.testing.check_unbiased`, but error_rate.

        Raises:
            BadInput: arguments that make no sense together.
        """
        __tracebackhide__ = True
        from nolr.errors import BadInput
        from nolr.testing.report import largest_bound, report
        from nolr.testing.unbiased import check_unbiased

        if expect not in ("biased", "unbiased"):
            raise BadInput(f'certify expects "unbiased" or "biased", got {expect!r}')
        if "error_rate" in settings:
            raise BadInput(
                "certify has no error_rate: all certificates share that of the session, "
                "--nolr-error-rate; call nolr.testing.check_unbiased for one of its own"
            )
        certificate = check_unbiased(
            estimator,
            network,
            params,
            batch,
            loss,
            error_rate=self.session.share(),
            max_draws=self.session.max_draws if max_draws is None else max_draws,
            **settings,
        )
        self.session.enter(certificate, largest_bound(certificate), expect)
        if certificate.verdict != expect:
            raise CheckFailed(report(certificate, expect), pytrace=False)
        return certificate


@pytest.fixture(scope="session")
def certify(pytestconfig: pytest.Config) -> Certify:
    """Certify that an estimator is unbiased; called as nolr.testing.check_unbiased is."""
    session = pytestconfig.pluginmanager.get_plugin("nolr-certificates")
    assert isinstance(session, SessionCertificates)
    return Certify(session)


@pytest.fixture(scope="session")
def assert_layer() -> Any:
    """Check that a layer keeps the contract; called as nolr.testing.check_layer is."""

    def assert_layer(layer: Layer, input_shape: Sequence[int], **settings: Any) -> LayerReport:
        __tracebackhide__ = True
        from nolr.testing.layers import check_layer

        found = check_layer(layer, input_shape, **settings)
        if not found.passed:
            raise CheckFailed(str(found), pytrace=False)
        return found

    return assert_layer
