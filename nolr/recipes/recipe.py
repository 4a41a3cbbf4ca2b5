"""What a recipe is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nolr.data.dataset import Split
from nolr.errors import BadInput
from nolr.network import Sequential
from nolr.recipes.settings import Settings

__all__ = ["Recipe"]


def _one_variant(settings: Settings) -> Settings:
    if settings.variant:
        raise BadInput(
            f"the data of this recipe have no variants, got variant={settings.variant!r}: leave it "
            "out"
        )
    return settings


@dataclass(frozen=True)
class Recipe:
    """A named experiment.

    Args:
        name: as typed at the command line.
        summary: one line: data, network, and what to expect.
        settings: the defaults, known to work.
        data: the split that the settings ask for, prepared for the network.
        prepare: turns inputs in the units of their source into what the network reads.
        build: makes the network.
        settle: decides what the settings leave open, before anything else.
    """

    name: str
    summary: str
    settings: Settings
    data: Callable[[Settings], Split]
    prepare: Callable[[np.ndarray], np.ndarray]
    build: Callable[[Settings], Sequential]
    settle: Callable[[Settings], Settings] = _one_variant
