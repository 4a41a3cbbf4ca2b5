"""The twin of a nolr network in torch: the same links, weights and data, trained by backprop.

A twin is for comparison only: nolr itself never asks torch for a gradient. Spikes get a surrogate
derivative, that of snnTorch's arctangent; every other derivative is autograd's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from nolr.layers import (
    LIF,
    AvgPool2D,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GraphConv,
    MaxPool2D,
    MeanOverTime,
    SimpleRNN,
)
from nolr.network import Sequential
from nolr.nodes import Fork, Join
from nolr.types import Params

__all__ = ["SnnTorchTwin", "Twin"]

FUNCTIONS = {"Identity": lambda z: z, "ReLU": torch.relu, "Tanh": torch.tanh}


class ArctanSpike(torch.autograd.Function):
    """1 above 0, else 0; in the backward pass 1 / (1 + (πu)²) / π · π, as snnTorch's `atan()`."""

    @staticmethod
    def forward(context, u):
        context.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(context, gradient):
        (u,) = context.saved_tensors
        return gradient / (1 + (torch.pi * u) ** 2)


class Twin(torch.nn.Module):
    """A nolr network as a torch module that starts from the given parameters.

    Args:
        network: made of the layers of nolr.
        params: its parameters on the host, one dict a node.
    """

    def __init__(self, network: Sequential, params: Sequence[Params]) -> None:
        super().__init__()
        self.nodes = network.nodes
        self.stages = {node: stage for stage, node in enumerate(network.stages)}
        self.theta = torch.nn.ModuleList(
            torch.nn.ParameterDict(
                {k: torch.nn.Parameter(torch.tensor(np.asarray(v))) for k, v in layer.items()}
            )
            for layer in params
        )
        self.operators = {
            index: _sparse(node.operator.matrix)
            for index, node in enumerate(self.nodes)
            if isinstance(node, GraphConv)
        }

    def forward(
        self, x: torch.Tensor, noises: Mapping[int, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """(N, *input_shape) -> (N, *output_shape), with noise (N, *noise_shape) in some stages."""
        skips = []
        for index, node in enumerate(self.nodes):
            if isinstance(node, Fork):
                skips.append(x)
            elif isinstance(node, Join):
                x = x + skips.pop()
            elif node.trainable:
                x = self._stage(index, x, (noises or {}).get(self.stages[index]))
            else:
                x = _fixed(node, x)
        return x

    def _stage(self, index: int, x: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        node, theta = self.nodes[index], self.theta[index]
        if isinstance(node, LIF):
            return _spikes(node, theta, x, noise)
        if isinstance(node, SimpleRNN):
            return _states(node, theta, x, noise)
        if isinstance(node, Embedding):
            z = F.embedding(x.long(), theta["W"])
        elif isinstance(node, Conv2D):
            z = F.conv2d(x, theta["W"], theta["b"], node.stride, node.padding, node.dilation)
        elif isinstance(node, GraphConv):
            z = (self.operators[index] @ (x[0] @ theta["W"].T))[None] + theta["b"]
        elif isinstance(node, Dense):
            z = F.linear(x, theta["W"], theta["b"])
        else:
            raise TypeError(f"no twin for {type(node).__name__}")
        z = z if noise is None else z + noise
        return (
            FUNCTIONS[type(getattr(node, "activation", None)).__name__](z)
            if hasattr(node, "activation")
            else z
        )


def _sparse(matrix) -> torch.Tensor:
    rows, columns = matrix.nonzero()
    values = torch.tensor(matrix[rows, columns], dtype=torch.float32)
    places = torch.tensor(np.stack([rows, columns]))
    with torch.sparse.check_sparse_tensor_invariants():
        return torch.sparse_coo_tensor(places, values, matrix.shape).coalesce()


def _fixed(node, x: torch.Tensor) -> torch.Tensor:
    if isinstance(node, Flatten):
        return x.flatten(1)
    if isinstance(node, MaxPool2D):
        return F.max_pool2d(x, node.size)
    if isinstance(node, AvgPool2D):
        return F.avg_pool2d(x, node.size)
    if isinstance(node, MeanOverTime):
        return x.mean(dim=1)
    raise TypeError(f"no twin for {type(node).__name__}")


def _states(layer: SimpleRNN, theta, x: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
    if noise is None and type(layer.activation).__name__ == "Tanh":  # torch's own loop, in C++
        zeros = torch.zeros_like(theta["b"])
        weights = [theta["W"], theta["U"], theta["b"], zeros]
        start = torch.zeros(1, len(x), layer.units)
        states, last = torch.rnn_tanh(x, start, weights, True, 1, 0.0, False, False, True)
        return last[0] if layer.last else states
    f = FUNCTIONS[type(layer.activation).__name__]
    drive = F.linear(x, theta["W"], theta["b"])
    drive = drive if noise is None else drive + noise
    state, states = torch.zeros(len(x), layer.units), []
    for step in range(x.shape[1]):
        state = f(drive[:, step] + state @ theta["U"].T)
        states.append(state)
    return state if layer.last else torch.stack(states, dim=1)


def _spikes(layer: LIF, theta, x: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
    drive = F.linear(x, theta["W"], theta["b"])
    if layer.steps is not None:
        drive = drive[:, None].expand(-1, layer.steps, -1)
    drive = drive if noise is None else drive + noise
    potential = spike = torch.zeros(())
    spikes = []
    for step in range(drive.shape[1]):
        if layer.reset == "zero":
            potential = drive[:, step] + layer.decay * potential * (1 - spike)
        else:
            potential = drive[:, step] + layer.decay * potential - layer.threshold * spike
        spike = ArctanSpike.apply(potential - layer.threshold)
        spikes.append(spike)
    return torch.stack(spikes, dim=1)


class SnnTorchTwin(torch.nn.Module):
    """The spiking network with snnTorch's `Leaky` neurons, stepped together as its tutorials do.

    Its reset to zero drops the input of the step after a spike, ours does not: a peer, no twin.
    """

    def __init__(self, network: Sequential, params: Sequence[Params]) -> None:
        super().__init__()
        from snntorch import Leaky

        layers = [node for node in network.nodes if isinstance(node, LIF)]
        self.steps = layers[0].steps
        stages = [layer for layer in params if layer]
        self.linear = torch.nn.ModuleList()
        for theta in stages:
            linear = torch.nn.Linear(theta["W"].shape[1], theta["W"].shape[0])
            with torch.no_grad():
                linear.weight.copy_(torch.tensor(theta["W"]))
                linear.bias.copy_(torch.tensor(theta["b"]))
            self.linear.append(linear)
        self.neurons = torch.nn.ModuleList(
            Leaky(beta=layer.decay, threshold=layer.threshold, reset_mechanism="zero")
            for layer in layers
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, *later, readout = self.linear
        current = first(x.flatten(1))  # the input is constant: once for all steps
        potentials = [neuron.init_leaky() for neuron in self.neurons]
        total = 0.0
        for _ in range(self.steps):
            spikes, potentials[0] = self.neurons[0](current, potentials[0])
            for index, linear in enumerate(later, start=1):
                spikes, potentials[index] = self.neurons[index](linear(spikes), potentials[index])
            total = total + spikes
        return readout(total / self.steps)
