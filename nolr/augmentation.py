"""Augmentation: what is done at random to the inputs of a training batch, by key.

The network itself knows no randomness, so dropout of features is a change of its inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

from nolr.backends import backend_of, get_backend, namespace
from nolr.errors import BadInput
from nolr.types import Array, Key, Shape

__all__ = ["FeatureDropout", "keyed_uniform"]


def keyed_uniform(like: Array, key: Key, shape: Shape, source: str) -> Array:
    """Numbers uniform on [0, 1), float32, where `like` lives.

    Args:
        source: "device" draws them there, "host" with NumPy, which gives every backend the same.
    """
    backend = backend_of(like)
    if source == "host":
        return backend.asarray(get_backend("numpy").uniform(key, shape, "float32"))
    return backend.uniform(key, shape, backend.xp.float32)


@dataclass(frozen=True)
class FeatureDropout:
    """Set every entry to 0 with probability `rate` and divide the others by 1 - rate.

    Srivastava et al.: Dropout, a simple way to prevent neural networks from overfitting (Journal of
    Machine Learning Research 15, 2014).

    Args:
        rate: in [0, 1).
        source: "device" draws where the arrays live; "host" draws with NumPy and copies, which
            gives every backend the same numbers.

    Raises:
        BadInput: a rate out of its range.
    """

    rate: float
    source: str = "device"

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise BadInput(f"the rate of dropout must lie in [0, 1), got {self.rate}")

    def __call__(self, x: Array, key: Key) -> Array:
        """(N, ...) -> (N, ...), a pure function of the arguments."""
        kept = namespace(x).astype(
            keyed_uniform(x, key, x.shape, self.source) >= self.rate, x.dtype
        )
        kept *= 1.0 / (1.0 - self.rate)
        kept *= x
        return kept
