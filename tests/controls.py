"""A certificate and its control: the same draws with a fault in a stage are found biased there."""

from __future__ import annotations

from types import SimpleNamespace

from nolr.testing import BIASED

__all__ = ["PLANTED", "TOLERANCE", "Remembered", "assert_certified"]

TOLERANCE = 0.05
PLANTED = 1.1  # times the estimate of a stage: twice what is tolerated


class Remembered:
    """An estimator whose draws can be looked at again, with a fault in one stage."""

    def __init__(self, estimator):
        self.estimator, self.seen, self.faulty = estimator, {}, None

    def __call__(self, network, params, batch, loss, key, state):
        if key not in self.seen:
            args = network, params, batch, loss, key, state
            self.seen[key] = self.estimator(*args)[0].grads
        grads = list(self.seen[key])
        if self.faulty is not None:
            node = network.stages[self.faulty]
            grads[node] = {name: PLANTED * array for name, array in grads[node].items()}
        return SimpleNamespace(grads=grads), state


def assert_certified(certify, method, stages):
    """certify(estimator) -> Certificate, to TOLERANCE; method is certified, and its faults are not.

    Args:
        stages: that are given a fault, one after another.
    """
    draws = Remembered(method)
    certificate = certify(draws)
    certificate.raise_unless_unbiased()
    assert certificate.tolerance == TOLERANCE
    assert all(found.bound <= TOLERANCE for found in certificate.findings)
    for stage in stages:
        draws.faulty = stage
        findings = certify(draws).findings
        assert {found.stage for found in findings if found.verdict == BIASED} == {stage}
