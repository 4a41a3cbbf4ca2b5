"""What more than one part of nolr does with arguments, so that they all say and take the same."""

from __future__ import annotations

from dataclasses import fields
from numbers import Integral
from typing import Any

import numpy as np

from nolr.backends import same_backend
from nolr.errors import BadInput, nearest
from nolr.types import Array, Shape

__all__ = [
    "SOURCES",
    "check_activation",
    "check_batch",
    "check_sizes",
    "check_source",
    "check_steps",
    "use_plain_numbers",
]

SOURCES = ("device", "host")
"""Where random numbers can be drawn."""


def check_batch(x: Array, target: Array) -> None:
    """Raise BadInput unless inputs and targets are as many, and on one backend."""
    same_backend(x=x, target=target)
    if x.shape[0] != target.shape[0]:
        raise BadInput(f"the batch has {x.shape[0]} inputs but {target.shape[0]} targets")


def check_sizes(owner: object, *names: str, minimum: int = 1) -> None:
    """Raise BadInput unless these attributes are whole numbers, Python's or NumPy's."""
    for name in names:
        value = getattr(owner, name)
        if not isinstance(value, Integral) or int(value) < minimum:
            raise BadInput(
                f"{name} of {type(owner).__name__} must be a whole number of at least {minimum}, "
                f"got {value!r}"
            )


def check_activation(owner: object, activation: object) -> None:
    """Raise BadInput unless the activation of a layer is a function."""
    if not callable(activation):
        raise BadInput(
            f"the activation of {type(owner).__name__} must be a function like nolr.ReLU(), got "
            f"{activation!r}"
        )


def check_steps(owner: object, input_shape: Shape) -> None:
    """Raise BadInput unless a sample has a time step; time is its first axis."""
    if input_shape[0] < 1:
        raise BadInput(
            f"{type(owner).__name__} expected samples of shape (time steps, ...) with at least one "
            f"time step, got {input_shape}"
        )


def check_source(source: object) -> None:
    """Raise BadInput unless random numbers can be drawn there."""
    if source not in SOURCES:
        raise BadInput(f"there is no noise source {source!r}{nearest(str(source), SOURCES)}")


def use_plain_numbers(owner: Any) -> None:
    """Make Python's numbers of those of NumPy among the attributes of a frozen dataclass.

    A Python number leaves the dtype of an array as it is; one out of `np.linspace` makes float64 of
    float32, without a word.
    """
    for field in fields(owner):
        if isinstance(value := getattr(owner, field.name), np.number):
            object.__setattr__(owner, field.name, value.item())
