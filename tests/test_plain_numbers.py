"""NumPy's numbers as arguments, as they come out of `np.linspace`, leave float32 what it is."""

from __future__ import annotations

import numpy as np
import pytest

from nolr.activations import Identity, Step
from nolr.augmentation import FeatureDropout
from nolr.backends import get_backend
from nolr.estimation import (
    EvolutionStrategies,
    ForwardGradient,
    JacobianControlVariate,
    Lengthening,
    LikelihoodRatio,
)
from nolr.layers import LIF, Dense, LeakyOverTime
from nolr.losses import CrossEntropy
from nolr.network import Sequential
from nolr.noise import Gaussian, Laplace
from nolr.optimizers import SGD, Adam
from nolr.types import Key

A_TENTH, NINE_TENTHS, ONE = np.float64(0.1), np.float64(0.9), np.float32(1.0)
READOUT = Dense(4, 2, Identity())
SMOOTH = (Dense(3, 4), READOUT)


def dtypes(layers, estimator) -> set[str]:
    """Of the gradients, and of what is remembered, after three steps in float32."""
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(8, 3)).astype(np.float32), rng.integers(0, 2, 8)
    network, loss = Sequential(*layers, input_shape=(3,)), CrossEntropy()
    params = network.init(0, get_backend("numpy"))
    state = estimator.init(network, params, loss)
    for step in range(3):
        estimate, state = estimator(network, params, batch, loss, Key(0, step=step), state)
    arrays = [array for layer in estimate.grads for array in layer.values()]
    arrays += [array for seen in getattr(state, "evidence", ()) for array in seen]
    return {str(array.dtype) for array in arrays}


@pytest.mark.parametrize(
    ("layers", "estimator"),
    [
        (SMOOTH, LikelihoodRatio(noise=Gaussian(A_TENTH))),
        (SMOOTH, LikelihoodRatio(noise=Laplace(A_TENTH))),
        (SMOOTH, LikelihoodRatio(control_variate=JacobianControlVariate(ONE, ridge=A_TENTH))),
        (SMOOTH, LikelihoodRatio(control_variate=JacobianControlVariate(forgetting=NINE_TENTHS))),
        (
            SMOOTH,
            LikelihoodRatio(
                control_variate=JacobianControlVariate(
                    forgetting=Lengthening(NINE_TENTHS, np.float64(0.99), 10)
                )
            ),
        ),
        (SMOOTH, EvolutionStrategies(A_TENTH)),
        (SMOOTH, ForwardGradient(step=A_TENTH)),
        ((Dense(3, 4, Step(A_TENTH)), READOUT), LikelihoodRatio()),
        (
            (LIF(3, 4, 3, NINE_TENTHS, ONE), LeakyOverTime(NINE_TENTHS), READOUT),
            LikelihoodRatio(),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_estimates_stay_float32(layers, estimator):
    assert dtypes(layers, estimator) == {"float32"}


def test_the_check_sees_a_number_that_is_not_plain():
    noise = Gaussian()
    object.__setattr__(noise, "sigma", A_TENTH)
    assert "float64" in dtypes(SMOOTH, LikelihoodRatio(noise=noise))


def test_time_steps_make_no_arrays_of_another_dtype():
    layer = LIF(3, 4, 3, NINE_TENTHS, ONE)  # which adds them to float32 in place: none comes out
    assert type(layer.decay) is type(layer.threshold) is float


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(A_TENTH, NINE_TENTHS, A_TENTH),
        SGD(lambda step: A_TENTH, weight_decay=0.1),
        Adam(A_TENTH, NINE_TENTHS, NINE_TENTHS, A_TENTH, A_TENTH),
        Adam(lambda step: A_TENTH, weight_decay=0.1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_updates_stay_float32(optimizer):
    vector = np.ones(5, np.float32)
    new, state = optimizer.update(2 * vector, optimizer.init(vector), vector, 0)
    assert {str(array.dtype) for array in (new, *state)} == {"float32"}


def test_dropout_stays_float32():
    x = np.ones((4, 5), np.float32)
    assert FeatureDropout(A_TENTH)(x, Key(0)).dtype == np.float32
