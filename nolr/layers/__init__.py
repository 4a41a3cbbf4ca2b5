"""Layers, one family a file. Each fills `nolr.types.Layer`, or without parameters `Fixed`."""

from nolr.layers.conv import Conv2D
from nolr.layers.dense import Dense
from nolr.layers.embedding import Embedding
from nolr.layers.flatten import Flatten
from nolr.layers.graph import GraphConv
from nolr.layers.pooling import AvgPool2D, MaxPool2D
from nolr.layers.readout import LeakyOverTime, MeanOverTime, SumOverTime
from nolr.layers.recurrent import SimpleRNN
from nolr.layers.spiking import LIF

__all__ = [
    "LIF",
    "AvgPool2D",
    "Conv2D",
    "Dense",
    "Embedding",
    "Flatten",
    "GraphConv",
    "LeakyOverTime",
    "MaxPool2D",
    "MeanOverTime",
    "SimpleRNN",
    "SumOverTime",
]
