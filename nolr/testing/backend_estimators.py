"""Estimators on a backend: the figures of NumPy from the same noise, and no bias from its own.

A check returns in a few words how well the backend did, or raises CheckFailed.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from nolr.backends import get_backend
from nolr.estimation import JacobianControlVariate, LikelihoodRatio
from nolr.noise import Gaussian
from nolr.sampling import Antithetic
from nolr.testing.backend_operations import PRECISION, largest_difference, require
from nolr.testing.certificate import UNBIASED
from nolr.testing.families import FAMILIES
from nolr.testing.unbiased import check_unbiased
from nolr.types import Backend, Key

__all__ = ["certify_estimator", "compare_with_numpy"]

SIGMA = 0.5


def compare_with_numpy(backend: Backend, family: str) -> str:
    """Five steps of learning with noise from the host: outputs, gradients, and what is learned."""
    results = []
    for one in (get_backend("numpy"), backend):
        network, params, batch, loss = _task(one, family, "float64")
        estimator = _estimator("host")
        state = estimator.init(network, params, loss)
        for step in range(5):
            estimate, state = estimator(network, params, batch, loss, Key(0, step=step), state)
        arrays = [network.forward(params, batch[0]), *(a for e in state.evidence for a in e)]
        arrays += [theta[k] for theta in estimate.grads for k in sorted(theta)]
        results.append([np.asarray(one.to_host(array)).reshape(-1) for array in arrays])
    differences = [
        largest_difference(found, expected)
        for expected, found in zip(*results, strict=True)
        if expected.size
    ]
    require(max(differences) < PRECISION, f"off by {max(differences):.1e}")
    return f"to {max(differences):.0e}"


def certify_estimator(backend: Backend, family: str) -> str:
    """With noise from the device, in float32, as in training."""
    network, params, batch, loss = _task(backend, family, "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        certificate = check_unbiased(
            _estimator("device"), network, params, batch, loss, tolerance=0.2, error_rate=1e-7
        )
    require(certificate.verdict == UNBIASED, f"{certificate.verdict}: {certificate.worst}")
    bound = max(found.bound for found in certificate.findings)
    return f"to {bound:.0%} after {certificate.draws} draws, against {certificate.reference}"


def _estimator(source: str) -> LikelihoodRatio:
    return LikelihoodRatio(
        Gaussian(SIGMA), 4, Antithetic(source), control_variate=JacobianControlVariate(1.0)
    )


def _task(backend: Backend, family: str, dtype: str) -> tuple[Any, ...]:
    found = FAMILIES[family]
    params = found.network.init(3, backend, dtype)
    batch = backend.asarray(found.inputs, dtype), backend.asarray(found.target)
    return found.network, params, batch, found.loss
