"""Hypothesis strategies: networks, batches and estimators for property tests of one's own.

    from hypothesis import given, settings
    from nolr.testing.strategies import cases

    @settings(deadline=None)  # the first estimate of a session takes longer than others
    @given(cases(families=("dense", "graph")))
    def test_estimates_are_finite(case):
        assert all(np.isfinite(a).all() for grad in case.estimate().grads for a in grad.values())

Hypothesis draws shapes, values, settings and seeds; noise comes from keys with a drawn seed, so
that no statistical sample is ever drawn, or shrunk, by Hypothesis. Where a test fails it shrinks
the case and prints it as a program (`nolr.testing.case`). The plainest one, to which a case shrinks
if it need not be anything more:

    import nolr
    import numpy as np

    backend = nolr.get_backend("numpy")
    network = nolr.Sequential(nolr.Dense(1, 1, nolr.Identity()), input_shape=(1,))
    params = network.init(0, backend, "float64")
    x = backend.asarray(np.array([[0.0]]), "float64")
    target = backend.asarray(np.array([[0.0]]), "float64")
    loss = nolr.MeanSquaredError()
    estimator = nolr.LikelihoodRatio(
        nolr.Gaussian(1.0),
        copies=1,
        sampler=nolr.Independent(),
        baseline=nolr.NoBaseline(),
        control_variate=None,
    )

    output = network.forward(params, x)
    state = estimator.init(network, params, loss)
    key = nolr.Key(0)
    estimate, state = estimator(network, params, (x, target), loss, key, state)
    print(output)
    print(estimate.grads)

This module needs Hypothesis: pip install "nolr[testing]".
"""

from __future__ import annotations

try:
    import hypothesis  # noqa: F401
except ImportError as error:
    raise ImportError(
        'nolr.testing.strategies needs Hypothesis: run pip install "nolr[testing]"'
    ) from error

from nolr.testing.strategies.batch import batches, losses, parameters
from nolr.testing.strategies.case import cases
from nolr.testing.strategies.estimator import estimators, noises, parameter_estimators
from nolr.testing.strategies.network import FAMILY_NAMES, networks

__all__ = [
    "FAMILY_NAMES",
    "batches",
    "cases",
    "estimators",
    "losses",
    "networks",
    "noises",
    "parameter_estimators",
    "parameters",
]
