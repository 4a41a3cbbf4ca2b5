"""Layers, one family a file. Each fills the protocol `nolr.types.Layer`."""

from nolr.layers.dense import Dense
from nolr.layers.flatten import Flatten

__all__ = ["Dense", "Flatten"]
