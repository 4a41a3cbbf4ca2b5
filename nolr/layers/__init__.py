"""Layers, one family a file. Each fills the protocol `nolr.types.Layer`."""

from nolr.layers.dense import Dense
from nolr.layers.flatten import Flatten
from nolr.layers.readout import MeanOverTime
from nolr.layers.recurrent import SimpleRNN
from nolr.layers.spiking import LIF

__all__ = ["LIF", "Dense", "Flatten", "MeanOverTime", "SimpleRNN"]
