"""The trainer: a generator of states, each of which is enough to go on from."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from math import isnan

import numpy as np
import pytest

from nolr import (
    SGD,
    Adam,
    BadInput,
    CrossEntropy,
    Dataset,
    Dense,
    Diverged,
    Gaussian,
    Identity,
    JacobianControlVariate,
    LikelihoodRatio,
    MeanSquaredError,
    Sequential,
    Split,
    Trainer,
    ZeroOne,
)
from nolr.backends import get_backend
from nolr.optimizers import unravel
from nolr.training_state import is_finite


def blobs(samples, seed, inputs=3):
    """Two classes, far apart."""
    rng = np.random.default_rng(seed)
    targets = np.arange(samples) % 2
    return Dataset(rng.normal(size=(samples, inputs)) + 3 * targets[:, None], targets)


def make_trainer(**changes):
    defaults = {
        "network": Sequential(Dense(3, 6), Dense(6, 2, Identity()), input_shape=(3,)),
        "loss": CrossEntropy(),
        "estimator": LikelihoodRatio(monitor_every=2),
        "optimizer": Adam(0.01),
        "data": Split(blobs(40, 0), blobs(10, 1), blobs(10, 2)),
        "backend": get_backend("numpy"),
        "batch_size": 16,
        "epochs": 3,
    }
    return Trainer(**(defaults | changes))


def assert_same(a, b):
    """Equal bit for bit, clocks aside."""
    if isinstance(a, dict):
        a, b = tuple(a.values()), tuple(b.values())
    if isinstance(a, tuple):
        assert len(a) == len(b)
        names = getattr(a, "_fields", range(len(a)))
        for name, x, y in zip(names, a, b, strict=True):
            if name != "train_seconds":
                assert_same(x, y)
    else:
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_a_state_is_yielded_after_every_step_and_counts_them():
    states = list(make_trainer().run(make_trainer().init()))
    assert [state.step for state in states] == list(range(1, 10))
    assert [state.position for state in states[:3]] == [16, 32, 0]
    assert states[-1].epoch == 3
    assert [record.epoch for record in states[-1].history] == [1, 2, 3]
    # 1 clean pass and 2 noisy copies for the one stage that needs noise
    assert states[-1].forward_passes == 3 * 40 * 3


def test_learns():
    trainer = make_trainer(epochs=40, optimizer=Adam(0.03))
    *_, last = trainer.run(trainer.init())
    assert last.history[-1].validation_accuracy == 1.0
    assert last.history[-1].loss < 0.5 * last.history[0].loss


@pytest.mark.parametrize("steps", [1, 3, 4, 7])
def test_going_on_from_any_state_is_bit_identical(steps):
    trainer = make_trainer()
    *_, straight = trainer.run(trainer.init())
    *_, paused = islice(trainer.run(trainer.init()), steps)
    *_, resumed = make_trainer().run(paused)
    assert_same(straight, resumed)


def test_another_seed_is_another_run():
    *_, a = make_trainer(seed=0).run(make_trainer(seed=0).init())
    *_, b = make_trainer(seed=1).run(make_trainer(seed=1).init())
    assert not np.array_equal(a.vector, b.vector)


def test_copies_are_run_only_where_they_are_of_use():
    """With λ = 0 they serve the mean Jacobian alone; with λ = 1 the gradient needs them."""
    for residual, passes in ((0, 3 + 1 + 3 + 1 + 3 + 1 + 3 + 1 + 3), (1, 9 * 5)):
        estimator = LikelihoodRatio(control_variate=JacobianControlVariate(residual), probe_every=2)
        trainer = make_trainer(estimator=estimator, batch_size=16, data=even_split())
        *_, last = trainer.run(trainer.init())
        assert last.forward_passes == 16 * passes


def even_split():
    """Three full batches."""
    return Split(blobs(48, 0), blobs(10, 1), blobs(10, 2))


def test_early_stopping_uses_the_best():
    trainer = make_trainer(optimizer=SGD(1e-12), epochs=50, patience=2)
    *_, last = trainer.run(trainer.init())
    assert (last.epoch, last.best_epoch) == (3, 1)
    best = unravel(last.best_vector, trainer.params(last))
    assert_same(trainer.params(last), best)
    assert not np.array_equal(last.vector, last.best_vector)
    assert trainer.finished(last)
    assert list(trainer.run(last)) == []


@pytest.mark.parametrize("name", ["torch", "array-api-strict"])
def test_other_backends_follow_numpy(name):
    try:
        backend = get_backend(name)
    except BadInput as error:
        pytest.skip(str(error))
    reference = [float(s.loss_sum) for s in make_trainer().run(make_trainer().init())]
    trainer = make_trainer(backend=backend)
    other = [float(s.loss_sum) for s in trainer.run(trainer.init())]
    np.testing.assert_allclose(other, reference, rtol=1e-4)


def _watch(trainer, states):
    """Keep what was yielded before an error."""
    for state in trainer.run(trainer.init()):
        states.append(state)
        yield from ()


def test_divergence_names_step_and_stage_and_the_state_before_is_good():
    trainer = make_trainer(optimizer=SGD(1e18), loss=MeanSquaredError(), epochs=40)
    states = []
    with pytest.raises(Diverged, match=r"step \d+ .*stage \d") as caught:
        states.extend(_watch(trainer, states))
    assert caught.value.step == len(states) >= 1
    assert caught.value.stage in (0, 1)
    assert np.isfinite(states[-1].vector).all()


def test_a_state_is_good_only_if_all_of_it_is():
    trainer = make_trainer()
    state = trainer.init()
    assert is_finite(state, trainer.backend)
    first, *rest = state.estimator.evidence
    poisoned = first._replace(energy=np.full_like(first.energy, np.inf))
    for bad in (
        state._replace(vector=np.full_like(state.vector, np.nan)),
        state._replace(optimizer=(state.vector, np.full_like(state.vector, np.inf))),
        state._replace(estimator=state.estimator._replace(evidence=(poisoned, *rest))),
    ):
        assert not is_finite(bad, trainer.backend)


def test_regression_has_no_accuracy():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(30, 3))
    data = Dataset(inputs, inputs[:, :2])
    trainer = make_trainer(data=Split(data, data, data), loss=MeanSquaredError())
    *_, last = trainer.run(trainer.init())
    assert isnan(last.history[-1].validation_accuracy)
    assert last.best_score == -min(record.validation_loss for record in last.history)


def test_zero_one_loss_trains_without_any_derivative():
    trainer = make_trainer(
        loss=ZeroOne(),
        estimator=LikelihoodRatio(Gaussian(1.0), copies=32, control_variate=None),
        epochs=60,
        seed=1,  # not every start is near enough to the boundary for the error rate to change
        optimizer=Adam(0.03),
    )
    *_, last = trainer.run(trainer.init())
    assert last.history[-1].validation_accuracy >= 0.9


def test_one_sample_batches_float64_and_integer_inputs():
    data = Dataset(np.arange(12).reshape(4, 3), np.array([0, 1, 0, 1]))
    trainer = make_trainer(data=Split(data, data, data), batch_size=1, dtype="float64", epochs=2)
    *_, last = trainer.run(trainer.init())
    assert last.step == 8
    assert last.vector.dtype == np.float64
    assert np.isfinite(last.vector).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"patience": -1}, "patience"),
        ({"seed": -1}, "seed"),
        ({"data": Split(blobs(4, 0, inputs=2), blobs(4, 0), blobs(4, 0))}, "train data have shape"),
    ],
)
def test_bad_trainers_are_explained(changes, message):
    with pytest.raises(BadInput, match=message):
        make_trainer(**changes)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.array([0, 2]), "0..1 for 2 outputs, got values from 0 to 2"),
        (np.array([0, -1]), "0..1"),
        (np.array([0.0, 1.0]), "must be integers"),
        (np.array([[0], [1]]), "one class index per sample"),
    ],
)
def test_bad_labels_are_explained(targets, message):
    part = replace(blobs(2, 0), targets=targets)
    with pytest.raises(BadInput, match=message):
        make_trainer(data=Split(part, part, part))


def test_params_have_the_layout_of_the_network():
    trainer = make_trainer()
    state = trainer.init()
    params = trainer.params(state)
    assert [sorted(layer) for layer in params] == [["W", "b"], ["W", "b"]]
    assert params[0]["W"].shape == (6, 3)
    assert_same(params, unravel(state.vector, params))
