"""A data set is a pair of arrays; a split is three data sets that share no sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nolr.errors import BadInput

__all__ = ["Dataset", "Split", "check_inputs", "split_off", "split_rows", "split_stratified"]


def check_inputs(inputs: np.ndarray, where: str) -> None:
    """Raise BadInput unless `inputs` are finite numbers and at least one sample."""
    if not isinstance(inputs, np.ndarray):
        raise BadInput(
            f"{where} must be a NumPy array, got {type(inputs).__name__}: use numpy.asarray"
        )
    if inputs.dtype.kind not in "iufb":
        raise BadInput(f"{where} must hold real numbers, got an array of {inputs.dtype}")
    if inputs.ndim < 2:
        raise BadInput(
            f"{where} must have one row per sample, got shape {inputs.shape}: "
            "for a single sample add the sample axis, x[None]"
        )
    if inputs.shape[0] == 0:
        raise BadInput(f"{where} hold no samples, got shape {inputs.shape}")
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        bad = int((~np.isfinite(inputs)).reshape(len(inputs), -1).any(axis=1).argmax())
        raise BadInput(
            f"{where} contain NaN or infinity, first in sample {bad}: remove or replace it"
        )


@dataclass(frozen=True)
class Dataset:
    """Inputs (N, ...) and targets (N,) or (N, m), as NumPy arrays.

    Raises:
        BadInput: no samples, values that are not finite, or unequal lengths.
    """

    inputs: np.ndarray
    targets: np.ndarray

    def __post_init__(self) -> None:
        check_inputs(self.inputs, "the inputs")
        if not isinstance(self.targets, np.ndarray):
            raise BadInput(
                f"the targets must be a NumPy array, got {type(self.targets).__name__}: use "
                "numpy.asarray"
            )
        if len(self.inputs) != len(self.targets):
            raise BadInput(
                f"there are {len(self.inputs)} inputs but {len(self.targets)} targets: "
                "every sample needs one"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def rows(self, indices: np.ndarray) -> Dataset:
        """The given samples."""
        return Dataset(self.inputs[indices], self.targets[indices])


@dataclass(frozen=True)
class Split:
    """What is learned from, what is watched while learning, and what is looked at once."""

    train: Dataset
    validation: Dataset
    test: Dataset


def split_stratified(
    data: Dataset, seed: int, test_fraction: float = 0.2, validation_fraction: float = 0.1
) -> Split:
    """Split so that every part has the classes in equal proportions, drawn from the seed.

    The test part is scikit-learn's `train_test_split(..., stratify=targets, random_state=seed)`;
    the validation part is split off the rest in the same way, so it never touches the test part.

    Args:
        validation_fraction: of the samples that are not in the test part.

    Raises:
        BadInput: a fraction outside (0, 1), or too few samples of a class.
    """
    for name, fraction in (("test", test_fraction), ("validation", validation_fraction)):
        if not 0 < fraction < 1:
            raise BadInput(f"{name}_fraction must lie between 0 and 1, got {fraction}")
    rest, test = split_off(data, test_fraction, seed)
    train, validation = split_off(rest, validation_fraction, seed)
    return Split(train, validation, test)


def split_off(data: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """Return the rest and a part with the classes in equal proportions, drawn from the seed.

    Raises:
        BadInput: a fraction outside (0, 1), or too few samples of a class.
    """
    rest, part = split_rows(data.targets, fraction, seed)
    return data.rows(rest), data.rows(part)


def split_rows(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for the numbers of the samples alone, given their labels (N,)."""
    from sklearn.model_selection import train_test_split

    if not 0 < fraction < 1:
        raise BadInput(f"the fraction split off must lie between 0 and 1, got {fraction}")
    try:
        rest, part = train_test_split(
            np.arange(len(labels)), test_size=fraction, stratify=labels, random_state=seed
        )
    except ValueError as error:
        raise BadInput(f"the {len(labels)} samples cannot be split: {error}") from None
    return rest, part
