"""Graph convolution: v = Â x Wᵀ + b, y = f(v + ε), node by node.

Â averages over every node and its neighbours. Kipf and Welling: Semi-supervised classification
with graph convolutional networks (ICLR 2017). A sample is a whole graph; its nodes are positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nolr.activations import Identity, relu
from nolr.backends import namespace
from nolr.checks import check_activation, check_sizes
from nolr.copies import add_noise
from nolr.errors import BadInput
from nolr.graphs import GraphOperator
from nolr.initializers import Initializer, glorot_normal
from nolr.linear import linear_pullback
from nolr.reach import Neighbours, Same
from nolr.types import Activation, Array, Key, Params, Shape

__all__ = ["GraphConv"]


@dataclass(frozen=True)
class GraphConv:
    """Node features x (N, nodes, in) to v and y (N, nodes, out); W is (out, in), b is (out).

    Args:
        inputs: number of features of a node.
        outputs: number of features of a node in the result.
        operator: Â, for example `nolr.graphs.normalized_adjacency(edges)`.
        activation: the function f; ReLU unless given.
        initializer: draws W; b starts at 0.

    Raises:
        BadInput: a size that is no whole number from 1 on, or an operator or activation that is
            none.
    """

    inputs: int
    outputs: int
    operator: GraphOperator
    activation: Activation = relu
    initializer: Initializer = glorot_normal

    trainable: ClassVar[Literal[True]] = True
    recurrent = False
    pulls_past = False
    noise_reach = Same()

    def __post_init__(self) -> None:
        check_sizes(self, "inputs", "outputs")
        if not isinstance(self.operator, GraphOperator):
            raise BadInput(
                "the operator of GraphConv must be a nolr.GraphOperator, got "
                f"{type(self.operator).__name__}: make one with normalized_adjacency(edges)"
            )
        check_activation(self, self.activation)

    @property
    def affine(self) -> bool:
        return isinstance(self.activation, Identity)

    @property
    def reach(self) -> Neighbours:
        return Neighbours(self.operator)

    def output_shape(self, input_shape: Shape) -> Shape:
        if input_shape != (self.operator.nodes, self.inputs):
            raise BadInput(
                f"GraphConv({self.inputs}, {self.outputs}) expected samples of shape "
                f"({self.operator.nodes}, {self.inputs}), got {input_shape}: a row of features "
                "for every node of its graph"
            )
        return (self.operator.nodes, self.outputs)

    def noise_shape(self, input_shape: Shape) -> Shape:
        return self.output_shape(input_shape)

    def init(self, key: Key) -> Params:
        return {
            "W": self.initializer(key, (self.outputs, self.inputs)),
            "b": np.zeros(self.outputs),
        }

    def drive(self, params: Params, x: Array) -> Array:
        # The weights first: they leave fewer features for the graph to mix.
        v = self.operator.push(x @ params["W"].T)
        v += params["b"]
        return v

    def respond(self, params: Params, drive: Array, noise: Array | None) -> tuple[Array, None]:
        return self.activation(add_noise(drive, noise)), None

    def pullback(self, x: Array, past: Array | None, score: Array) -> Params:
        weights = linear_pullback(x, self.operator.pull(score))["W"]
        return {"W": weights, "b": namespace(score).sum(score, axis=(0, 1))}

    def gate(self, drive: Array, past: Array | None, scale: float) -> Array:
        return self.activation.smoothed_derivative(drive, scale)
