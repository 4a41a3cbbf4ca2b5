"""Faults of layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mutations.estimators import PAIRS
from mutations.table import planted
from nolr.backends.numpy import NumpyBackend
from nolr.copies import tile
from nolr.graphs import GraphOperator
from nolr.layers import LIF, Conv2D, Dense, GraphConv, SimpleRNN


@planted(Dense, "pullback", "dense", PAIRS)
def weights_transposed(right, layer, x, past, score):
    """(in, out) where (out, in) belongs: of a square matrix no shape tells."""
    grads = right(layer, x, past, score)
    return {**grads, "W": grads["W"].T}


@planted(Dense, "pullback", "dense", PAIRS)
def bias_forgotten(right, layer, x, past, score):
    """The bias never learns."""
    grads = right(layer, x, past, score)
    return {**grads, "b": 0 * grads["b"]}


@planted(Conv2D, "pullback", "conv", PAIRS)
def stride_where_dilation_belongs(right, layer, x, past, score):
    """The windows of the weights' gradient: as many positions, but not the same."""
    swapped = replace(layer, stride=layer.dilation, dilation=layer.stride)
    return right(swapped, x, past, score)


@planted(Conv2D, "pullback", "conv", PAIRS)
def kernel_upside_down(right, layer, x, past, score):
    """A convolution of the books flips its kernel; v = W · im2col(x) does not."""
    grads = right(layer, x, past, score)
    return {**grads, "W": grads["W"][..., ::-1, ::-1]}


@planted(Conv2D, "pullback", "conv", PAIRS)
def positions_averaged(right, layer, x, past, score):
    """The mean over positions instead of their sum."""
    grads = right(layer, x, past, score)
    return {name: grad / np.prod(score.shape[2:]) for name, grad in grads.items()}


@planted(SimpleRNN, "respond", "rnn", PAIRS)
def noise_not_carried_by_states(right, layer, params, drive, noise):
    """The state is noisy for those who read it, but a clean one is carried on."""
    copies = 1 if noise is None else noise.shape[0] // drive.shape[0]
    clean = tile(right(layer, params, drive, None)[1], copies)
    past = clean if noise is None else clean + noise
    return layer.activation(past), past


@planted(SimpleRNN, "pullback", "rnn", PAIRS)
def this_state_for_the_last_one(right, layer, x, past, score):
    """U meets h_{t-1}, not h_t."""
    ahead = np.concatenate([past[:, 1:], past[:, :1]], axis=1)
    return right(layer, x, ahead, score)


@planted(LIF, "respond", "lif", PAIRS)
def noise_at_the_threshold_alone(right, layer, params, drive, noise):
    """Spikes are noisy, but a clean potential is carried on."""
    copies = 1 if noise is None else noise.shape[0] // drive.shape[0]
    clean = tile(right(layer, params, drive, None)[1], copies)
    past = clean if noise is None else clean + noise
    return (past > layer.threshold).astype(past.dtype), past


@planted(LIF, "pullback", "lif, decay", PAIRS)
def decay_without_reset(right, layer, x, past, score):
    """After a spike nothing is left to decay."""
    return right(replace(layer, threshold=np.inf), x, past, score)


@planted(NumpyBackend, "scatter_add", "embedding", PAIRS)
def scatter_that_overwrites(right, backend, rows, values, size):
    """table[rows] = values keeps the last score of every token."""
    table = np.zeros((size, values.shape[1]))
    table[rows] = values
    return table


@planted(GraphConv, "pullback", "graph", PAIRS)
def graph_not_transposed(right, layer, x, past, score):
    """Âᵀ carries scores back; Â itself is the same only where all edges go both ways."""
    flipped = GraphOperator(layer.operator.matrix.T)
    return right(replace(layer, operator=flipped), x, past, score)
