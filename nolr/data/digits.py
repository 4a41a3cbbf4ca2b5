"""The optical recognition of handwritten digits, as scikit-learn bundles it: no download."""

from __future__ import annotations

import numpy as np

from nolr.data.dataset import Dataset

__all__ = ["load_digits"]


def load_digits() -> Dataset:
    """1797 images of 8 × 8 pixels, flattened (N, 64), grey values 0..16; labels 0..9 (N,).

    Source: the test part of E. Alpaydin and C. Kaynak: Optical Recognition of Handwritten Digits,
    UCI Machine Learning Repository (1998), https://doi.org/10.24432/C50P49.
    """
    from sklearn.datasets import load_digits as load

    inputs, targets = load(return_X_y=True)
    return Dataset(inputs.astype(np.float32), targets.astype(np.int64))
