"""Dense classifiers, as the settings describe them."""

from __future__ import annotations

from itertools import pairwise

from nolr.activations import identity
from nolr.initializers import glorot_normal, he_normal
from nolr.layers import Dense
from nolr.recipes.settings import Settings, get_activation

__all__ = ["dense_layers"]


def dense_layers(inputs: int, classes: int, settings: Settings) -> list[Dense]:
    """Hidden layers of the sizes in `settings.hidden`, then one logit per class."""
    sizes = (inputs, *settings.hidden)
    activation = get_activation(settings.activation)
    initializer = he_normal if settings.activation == "relu" else glorot_normal
    hidden = [Dense(a, b, activation, initializer) for a, b in pairwise(sizes)]
    return [*hidden, Dense(sizes[-1], classes, identity)]
