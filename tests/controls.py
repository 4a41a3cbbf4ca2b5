"""A certificate and its control: the same draws with a fault in one stage are found biased there.

An estimator whose draws are remembered, and the fault, are those of `test_certificates`.
"""

from __future__ import annotations

from test_certificates import TOLERANCE, Remembered

from nolr.testing import BIASED

__all__ = ["assert_certified"]


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
