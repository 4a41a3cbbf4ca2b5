"""Losses: values against loops, gradients against finite differences, and their checks."""

from __future__ import annotations

import numpy as np
import pytest
import reference

from nolr.errors import BadInput
from nolr.losses import UNLABELLED, CrossEntropy, MeanSquaredError, ZeroOne

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


# --- outputs with positions -----------------------------------------------------------------------

# Time steps or nodes: 5 samples, 3 positions, 4 outputs. Some positions have no label.
OUTPUTS = RNG.normal(size=(5, 3, 4)) * 2
MANY_LABELS = np.array([[0, 3, 1], [2, -1, 0], [-1, -1, 3], [1, 2, 0], [3, 3, -1]])
MANY_VALUES = RNG.normal(size=(5, 3, 4))


def mean_squares(o, target):
    return [reference.mean_squared_error(row, t) / len(o) for row, t in zip(o, target, strict=True)]


POSITIONS = {
    "cross-entropy": (
        CrossEntropy(),
        MANY_LABELS,
        lambda o, t: reference.by_position(reference.cross_entropy, o, t),
    ),
    "zero-one": (
        ZeroOne(),
        MANY_LABELS,
        lambda o, t: reference.by_position(reference.zero_one, o, t),
    ),
    "mse": (MeanSquaredError(), MANY_VALUES, mean_squares),
}
every_position = pytest.mark.parametrize("name", POSITIONS)


@every_position
def test_every_position_has_a_loss_of_its_own(name, backend):
    loss, target, oracle = POSITIONS[name]
    expected = [oracle(o, t) for o, t in zip(OUTPUTS, target, strict=True)]
    o, t = backend.asarray(OUTPUTS, "float64"), backend.asarray(target, host_target(target))
    for found in (loss(o, t), loss.value_and_gradient(o, t)[0]):
        assert tuple(found.shape) == (5, 3)
        np.testing.assert_allclose(backend.to_host(found), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["cross-entropy", "mse"])
def test_gradient_of_a_sample_is_that_of_the_sum_over_its_positions(name, backend):
    loss, target, oracle = POSITIONS[name]
    o, t = backend.asarray(OUTPUTS, "float64"), backend.asarray(target, host_target(target))
    gradient = backend.to_host(loss.value_and_gradient(o, t)[1])
    for n in range(len(OUTPUTS)):
        expected = reference.finite_difference(
            lambda rows, n=n: sum(oracle(rows, target[n])), OUTPUTS[n]
        )
        np.testing.assert_allclose(gradient[n], expected, atol=1e-8)


@every_position
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_that_of_the_output_with_positions(name, backend, dtype):
    loss, target, _ = POSITIONS[name]
    o, t = backend.asarray(OUTPUTS, dtype), backend.asarray(target, host_target(target))
    value, gradient = loss.value_and_gradient(o, t)
    assert loss(o, t).dtype == value.dtype == o.dtype
    assert (gradient is not None) == loss.differentiable
    if gradient is not None:
        assert gradient.dtype == o.dtype
        assert tuple(gradient.shape) == tuple(o.shape)


@pytest.mark.parametrize("loss", [CrossEntropy(), ZeroOne()], ids=repr)
def test_positions_without_a_label_take_no_part(loss):
    assert UNLABELLED == -1
    values, gradient = loss.value_and_gradient(OUTPUTS, MANY_LABELS)
    without = MANY_LABELS == UNLABELLED
    np.testing.assert_array_equal(values[without], 0)
    # Whatever the output says there, nothing else changes.
    shouting = np.where(without[..., None], 1e4 * OUTPUTS, OUTPUTS)
    again, other = loss.value_and_gradient(shouting, MANY_LABELS)
    np.testing.assert_array_equal(again, values)
    if gradient is not None:
        np.testing.assert_array_equal(gradient[without], 0)
        np.testing.assert_array_equal(other, gradient)
        assert (gradient[~without] != 0).all()  # a control


@pytest.mark.parametrize("loss", [CrossEntropy(), ZeroOne()], ids=repr)
def test_the_sum_over_positions_is_the_mean_over_those_with_a_label(loss):
    # So that a sample with few labels weighs as much as one with many.
    summed = loss(OUTPUTS, MANY_LABELS).sum(axis=1)
    for n, labels in enumerate(MANY_LABELS):
        labelled = labels >= 0
        alone = loss(OUTPUTS[n][labelled], labels[labelled])
        assert summed[n] == pytest.approx(alone.mean(), rel=1e-12)


def test_the_sum_over_positions_is_the_squared_error_of_the_sample():
    summed = MeanSquaredError()(OUTPUTS, MANY_VALUES).sum(axis=1)
    flat = MeanSquaredError()(OUTPUTS.reshape(5, 12), MANY_VALUES.reshape(5, 12))
    np.testing.assert_allclose(summed, flat, rtol=1e-12)


@pytest.mark.parametrize("loss", [CrossEntropy(), ZeroOne(), MeanSquaredError()], ids=repr)
def test_one_position_is_no_position(loss):
    target = VALUES if isinstance(loss, MeanSquaredError) else LABELS
    expected, slope = loss.value_and_gradient(OUTPUT, target)
    found, gradient = loss.value_and_gradient(OUTPUT[:, None, :], target[:, None])
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12)
    if slope is not None:
        np.testing.assert_allclose(gradient[:, 0], slope, rtol=1e-12)


@pytest.mark.parametrize("labels", ["int8", "int32", "int64"])
@pytest.mark.parametrize("loss", [CrossEntropy(), ZeroOne()], ids=repr)
def test_narrow_labels_of_positions_count(loss, labels, backend):
    if not hasattr(backend.xp, labels):
        pytest.skip(f"{backend.name} has no {labels}")
    output, target = np.tile(OUTPUTS, (50, 1, 1)), np.tile(MANY_LABELS, (50, 1))
    loss.check(target.astype(labels), (3, 4))
    found = loss(backend.asarray(output), backend.asarray(target.astype(labels)))
    np.testing.assert_allclose(backend.to_host(found), loss(output, target), atol=1e-12)


@pytest.mark.parametrize("loss", [CrossEntropy(), ZeroOne()], ids=repr)
def test_good_labels_of_positions_pass(loss):
    loss.check(MANY_LABELS, (3, 4))
    loss.check(np.abs(MANY_LABELS).astype("uint8"), (3, 4))


@pytest.mark.parametrize("loss", [CrossEntropy(), ZeroOne()], ids=repr)
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS, r"one class index per position, shape \(N, 3\), got \(7,\)"),
        (MANY_LABELS[:, :2], r"one class index per position, shape \(N, 3\), got \(5, 2\)"),
        (np.eye(4, dtype=int)[MANY_LABELS], "one class index per position"),
        (MANY_LABELS + 1, r"-1\.\.3 for 4 outputs, got values from 0 to 4"),
        (MANY_LABELS - 1, r"-1\.\.3 for 4 outputs, got values from -2 to 2"),
        (MANY_LABELS.astype(float), "integers"),
        (np.array([[0, 1, 2], [-1, -1, -1]]), "a label of 0 or more at one position at least"),
    ],
    ids=["one a sample", "too few", "one-hot", "too large", "below -1", "floats", "no label"],
)
def test_bad_labels_of_positions_are_refused(loss, labels, words):
    with pytest.raises(BadInput, match=words):
        loss.check(labels, (3, 4))


@pytest.mark.parametrize("loss", [CrossEntropy(), ZeroOne()], ids=repr)
def test_without_positions_every_sample_has_a_label(loss):
    with pytest.raises(BadInput, match=r"0\.\.3"):
        loss.check(np.array([0, -1]), (4,))


def test_squared_errors_of_positions_need_targets_of_their_shape():
    MeanSquaredError().check(MANY_VALUES, (3, 4))
    for wrong in (MANY_VALUES[:, :2], MANY_VALUES[:, 0], MANY_LABELS):
        with pytest.raises(BadInput, match=r"targets must have shape \(N, 3, 4\)"):
            MeanSquaredError().check(wrong, (3, 4))
    with pytest.raises(BadInput, match="NaN"):
        MeanSquaredError().check(np.full((2, 3, 4), np.nan), (3, 4))


def test_squared_errors_of_images_have_a_loss_for_every_line():
    # No positions of a sequence or graph, but the sum is the error of the whole image.
    rng = np.random.default_rng(0)
    output, target = rng.normal(size=(2, 6, 2, 3, 4))
    loss = MeanSquaredError()
    loss.check(target, (2, 3, 4))
    value, gradient = loss.value_and_gradient(output, target)
    assert value.shape == (6, 2, 3)
    np.testing.assert_allclose(
        value.sum(axis=(1, 2)), ((output - target) ** 2).mean(axis=(1, 2, 3)), rtol=1e-12
    )
    np.testing.assert_allclose(gradient, 2 * (output - target) / 24, rtol=1e-12)
