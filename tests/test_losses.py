"""Losses: values against loops, gradients against finite differences, and their checks."""

from __future__ import annotations

import numpy as np
import pytest
import reference

from nolr.errors import BadInput
from nolr.losses import CrossEntropy, MeanSquaredError, ZeroOne

RNG = np.random.default_rng(5)
OUTPUT = RNG.normal(size=(7, 4)) * 2
LABELS = np.array([0, 3, 1, 2, 2, 0, 3])
VALUES = RNG.normal(size=(7, 4))

TABLE = [
    (CrossEntropy(), LABELS, reference.cross_entropy),
    (MeanSquaredError(), VALUES, reference.mean_squared_error),
    (MeanSquaredError(), LABELS, reference.mean_squared_error),
    (ZeroOne(), LABELS, reference.zero_one),
]
IDS = ["cross-entropy", "mse", "mse-labels", "zero-one"]
SMOOTH = [row for row in TABLE if row[0].differentiable]


def host_target(target):
    return "float64" if target.dtype.kind == "f" else "int64"


@pytest.mark.parametrize(("loss", "target", "oracle"), TABLE, ids=IDS)
def test_value_is_one_number_per_sample(loss, target, oracle, backend):
    expected = [oracle(o, t) for o, t in zip(OUTPUT, target, strict=True)]
    o, t = backend.asarray(OUTPUT, "float64"), backend.asarray(target, host_target(target))
    np.testing.assert_allclose(backend.to_host(loss(o, t)), expected, rtol=1e-12, atol=1e-14)
    value, _ = loss.value_and_gradient(o, t)
    assert tuple(value.shape) == (7,)
    np.testing.assert_allclose(backend.to_host(value), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("loss", "target", "oracle"), SMOOTH, ids=IDS[:3])
def test_gradient_matches_finite_differences(loss, target, oracle, backend):
    o, t = backend.asarray(OUTPUT, "float64"), backend.asarray(target, host_target(target))
    gradient = backend.to_host(loss.value_and_gradient(o, t)[1])
    for n in range(len(OUTPUT)):
        expected = reference.finite_difference(lambda row, n=n: oracle(row, target[n]), OUTPUT[n])
        np.testing.assert_allclose(gradient[n], expected, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("loss", "target", "oracle"), TABLE, ids=IDS)
def test_dtype_is_that_of_the_output(loss, target, oracle, backend, dtype):
    o, t = backend.asarray(OUTPUT, dtype), backend.asarray(target, host_target(target))
    value, gradient = loss.value_and_gradient(o, t)
    assert loss(o, t).dtype == value.dtype == o.dtype
    assert (gradient is not None) == loss.differentiable
    if gradient is not None:
        assert gradient.dtype == o.dtype
        assert tuple(gradient.shape) == tuple(o.shape)


@pytest.mark.parametrize("labels", ["uint8", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("loss", [CrossEntropy(), ZeroOne(), MeanSquaredError()], ids=repr)
def test_narrow_integer_labels_count(loss, labels, backend):
    # More samples times classes than uint8 can count: images often bring their labels as bytes.
    output = np.tile(OUTPUT, (100, 1))
    target = np.tile(LABELS, 100)
    if not hasattr(backend.xp, labels):
        pytest.skip(f"{backend.name} has no {labels}")
    expected = loss(output, target)
    loss.check(target.astype(labels), (4,))
    o, t = backend.asarray(output, "float64"), backend.asarray(target.astype(labels))
    np.testing.assert_allclose(backend.to_host(loss(o, t)), expected, atol=1e-12)
    value = loss.value_and_gradient(o, t)[0]
    np.testing.assert_allclose(backend.to_host(value), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_logits_stay_finite(backend, dtype):
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4]])
    labels = np.array([1, 1, 0])
    o, t = backend.asarray(logits, dtype), backend.asarray(labels, "int64")
    value, gradient = CrossEntropy().value_and_gradient(o, t)
    for values in (CrossEntropy()(o, t), value):
        np.testing.assert_allclose(backend.to_host(values), [2e4, np.log(2), np.log(3)], rtol=1e-6)
    np.testing.assert_allclose(
        backend.to_host(gradient),
        [[1, -1, 0], [0, -0.5, 0.5], [-2 / 3, 1 / 3, 1 / 3]],
        atol=1e-6,
    )


def test_cross_entropy_gradient_sums_to_zero():
    gradient = CrossEntropy().value_and_gradient(OUTPUT, LABELS)[1]
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-14)


def test_mean_squared_error_of_labels_is_that_of_one_hot_rows():
    loss = MeanSquaredError()
    for got, expected in zip(
        loss.value_and_gradient(OUTPUT, LABELS),
        loss.value_and_gradient(OUTPUT, np.eye(4)[LABELS]),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected)


@pytest.mark.parametrize("loss", [CrossEntropy(), ZeroOne(), MeanSquaredError()], ids=repr)
def test_good_labels_pass(loss):
    loss.check(LABELS, (4,))
    loss.check(LABELS.astype(np.uint8), (4,))
    loss.check(list(range(4)), (4,))


@pytest.mark.parametrize("loss", [CrossEntropy(), ZeroOne()], ids=repr)
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS + 1, "0..3"),
        (LABELS - 1, "-1 to 2"),
        (LABELS.astype(float), "integers"),
        (np.eye(4, dtype=int)[LABELS], "one class index per sample"),
        (np.array(["cat", "dog"]), "integers"),
    ],
    ids=["too large", "negative", "floats", "one-hot", "words"],
)
def test_bad_labels_are_refused(loss, labels, words):
    with pytest.raises(BadInput, match=words):
        loss.check(labels, (4,))


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (VALUES[:, :3], r"shape \(N, 4\)"),
        (VALUES[:, 0], r"shape \(N, 4\)"),
        (LABELS + 1, "0..3"),
        (np.where(VALUES > 2, VALUES, np.nan), "NaN"),
        (np.full((2, 4), np.inf), "infinity"),
    ],
    ids=["width", "flat", "labels", "nan", "inf"],
)
def test_bad_regression_targets_are_refused(targets, words):
    with pytest.raises(BadInput, match=words):
        MeanSquaredError().check(targets, (4,))


def test_good_regression_targets_pass():
    MeanSquaredError().check(VALUES, (4,))
    MeanSquaredError().check(VALUES.astype(int), (4,))


@pytest.mark.parametrize("loss", [CrossEntropy(), ZeroOne(), MeanSquaredError()], ids=repr)
def test_labels_for_an_output_that_is_no_row_are_refused_clearly(loss):
    with pytest.raises(BadInput):
        loss.check(LABELS, (4, 2, 2))
