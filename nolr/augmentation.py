"""Augmentation: what is done at random to the inputs of a training batch, by key.

The network itself knows no randomness, so dropout of features is a change of its inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

from nolr.backends import backend_of, get_backend
from nolr.checks import check_source
from nolr.errors import BadInput
from nolr.types import Array, Key

__all__ = ["FeatureDropout"]


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
        BadInput: a rate out of its range, or there is no such source.
    """

    rate: float
    source: str = "device"

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise BadInput(f"the rate of dropout must lie in [0, 1), got {self.rate}")
        check_source(self.source)

    def __call__(self, x: Array, key: Key) -> Array:
        """(N, ...) -> (N, ...), a pure function of the arguments."""
        backend = backend_of(x)
        if self.source == "host":
            kept = backend.asarray(get_backend("numpy").coins(key, x.shape, 1.0 - self.rate))
        else:
            kept = backend.coins(key, x.shape, 1.0 - self.rate)
        result = x * backend.xp.astype(kept, x.dtype)
        result *= 1.0 / (1.0 - self.rate)
        return result
