"""The table of all layers with parameters: a new layer is one row, and gains every test that runs
over it.

The tests know every link of a network a second time, as loops over one sample (see `reference`):
here is which loops belong to which link.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import reference
from scipy.sparse import csr_array

from nolr.activations import Identity, ReLU, Sigmoid, Step, Tanh
from nolr.backends import get_backend
from nolr.graphs import GraphOperator, normalized_adjacency
from nolr.initializers import ScaledIdentity, glorot_normal
from nolr.layers import (
    LIF,
    AvgPool2D,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GraphConv,
    LeakyOverTime,
    MaxPool2D,
    MeanOverTime,
    SimpleRNN,
)
from nolr.types import Key, Stream

NUMPY = get_backend("numpy")
SAMPLES, COPIES = 4, 3


# --- which loops belong to which link -------------------------------------------------------------


def drive_by_loops(layer, params, x):
    """v of one sample, for layers without a past."""
    if isinstance(layer, Dense):
        rows = [x] if x.ndim == 1 else x
        v = [reference.dense(params["W"], params["b"], lambda z: z, row) for row in rows]
        return v[0] if x.ndim == 1 else np.array(v)
    if isinstance(layer, Conv2D):
        windows = layer.stride, layer.padding, layer.dilation
        return reference.conv2d(params["W"], params["b"], x, *windows)
    if isinstance(layer, GraphConv):
        matrix = layer.operator.matrix.toarray()
        return reference.graph_conv(matrix, params["W"], params["b"], x)
    assert isinstance(layer, Embedding), layer
    return reference.embedding(params["W"], x)


def step_by_loops(layer, params, x, before):
    """v of one time step of one sample, given the past of the step before, or None."""
    if isinstance(layer, SimpleRNN):
        return reference.rnn_step(params, reference.function_of(layer.activation), x, before)
    decay = params["decay"] if layer.learn_decay else [layer.decay] * layer.units
    return reference.lif_step(params, decay, layer.threshold, layer.reset, x, before)


def over_time(layer, x):
    """One input a step: a constant one is shown again and again."""
    steps = getattr(layer, "steps", None)
    return x if steps is None else [x] * steps


def respond_by_loops(layer, params, x, noise=None):
    """(y, past) of one sample; the past is None where there is none."""
    if layer.recurrent:
        past = reference.unroll(partial(step_by_loops, layer, params), over_time(layer, x), noise)
        f = Step(layer.threshold) if isinstance(layer, LIF) else layer.activation
        z = past[-1] if getattr(layer, "last", False) else past
    else:
        past, v = None, drive_by_loops(layer, params, x)
        f = getattr(layer, "activation", Identity())
        z = v if noise is None else v + noise
    return np.vectorize(reference.function_of(f), otypes=[float])(z), past


def fixed_by_loops(link, x):
    """y of one sample."""
    if isinstance(link, Flatten):
        return np.array(reference.flatten(x))
    if isinstance(link, MaxPool2D):
        return reference.pool2d(max, link.size, x)
    if isinstance(link, AvgPool2D):
        return reference.pool2d(lambda window: sum(window) / len(window), link.size, x)
    if isinstance(link, LeakyOverTime):
        return reference.over_time(lambda left: link.decay**left, x)
    weight = 1 / len(x) if isinstance(link, MeanOverTime) else 1.0
    return reference.over_time(lambda left: weight, x)


# --- rows -----------------------------------------------------------------------------------------

# How far the smoothed derivative may be off at each noise level: see test_activations.
GATE_TOLERANCES = {
    "Identity": {0.1: 1e-6, 0.5: 1e-6},
    "ReLU": {0.1: 3.1e-4, 0.5: 3.1e-4},
    "Tanh": {0.1: 3e-6, 0.3: 1.1e-3},
    "Sigmoid": {0.1: 1e-7, 0.5: 1e-4},
    "Step": {0.1: 2e-3, 0.5: 1e-3},
}


def normal_inputs(rng, shape):
    return rng.normal(size=shape)


def token_inputs(rng, shape):
    return rng.integers(0, 4, shape).astype(float)  # of 5 tokens one is never seen


@dataclass(frozen=True)
class Row:
    """What the tests must know of a layer."""

    name: str
    layer: object
    input_shape: tuple
    bad_shapes: tuple
    inputs: Callable = normal_inputs

    def __str__(self):
        return f"{type(self.layer).__name__} {self.name}".strip()

    @property
    def noise_shape(self):
        return self.layer.noise_shape(self.input_shape)

    @property
    def gate_tolerance(self):
        """Of pointwise layers."""
        return GATE_TOLERANCES[type(getattr(self.layer, "activation", Identity())).__name__]

    def oracle(self, params, x, noise):
        """(y, past or None) of one sample."""
        return respond_by_loops(self.layer, params, x, noise)

    def pre_activation(self, params, x, past):
        """v of one sample, the past being held at what it was."""
        if past is None:
            return drive_by_loops(self.layer, params, x)
        before = [None, *past[:-1]]
        steps = zip(over_time(self.layer, x), before, strict=True)
        return np.array([step_by_loops(self.layer, params, *now) for now in steps])


def conv_row(name, layer, input_shape, *too_small):
    channels, height, width = input_shape
    bad_shapes = ((channels + 1, height, width), (height, width), (1, *input_shape), ())
    return Row(name, layer, input_shape, (*bad_shapes, *too_small))


# --- graphs ---------------------------------------------------------------------------------------

# A triangle with a tail and a node of its own: no two nodes look alike. Weighted edges.
EDGES = np.zeros((5, 5))
for a, b, weight in ((0, 1, 1.0), (1, 2, 2.0), (0, 2, 1.0), (2, 3, 0.5)):
    EDGES[a, b] = EDGES[b, a] = weight
GRAPH = normalized_adjacency(csr_array(EDGES))
# Of no symmetry at all, so that a transpose too many or too few shows; one entry is negative.
DIRECTED = GraphOperator(
    csr_array(
        np.array(
            [
                [0.0, 0.7, 0.0, 0.0, 1.3],
                [0.0, 0.5, -0.4, 0.0, 0.0],
                [0.9, 0.0, 0.0, 0.0, 0.0],
                [0.0, 0.0, 0.0, 0.0, 0.0],
                [0.2, 0.0, 0.6, 1.1, 0.3],
            ]
        )
    )
)


OF_FIVE_NODES = ((4, 3), (5, 2), (5,), (3,), (1, 5, 3))
OF_FOUR_STEPS = ((3,), (4, 2), (0, 3), (2, 4, 3), ())

ROWS = [
    *(
        Row(f"{f}", Dense(3, 5, f, glorot_normal), (3,), ((4,), (3, 1), (2, 1, 3), ()))
        for f in (Identity(), ReLU(), Tanh(), Sigmoid(), Step(), Step(0.4))
    ),
    *(
        Row(f"over time {f}", Dense(3, 2, f), (4, 3), ((3, 4), (4,), (0, 3), (2, 4, 3)))
        for f in (Identity(), ReLU())
    ),
    conv_row("plain", Conv2D(2, 3, 3), (2, 5, 4), (2, 2, 5), (2, 5, 2)),
    conv_row("stride", Conv2D(2, 2, 3, stride=2), (2, 6, 7), (2, 2, 7)),
    conv_row("padding", Conv2D(1, 2, 3, padding=1), (1, 3, 4)),
    conv_row("dilation", Conv2D(2, 2, 3, dilation=2), (2, 6, 5), (2, 4, 5)),
    conv_row("everything", Conv2D(2, 2, 3, 2, 2, 2), (2, 6, 9)),
    conv_row("kernel 1", Conv2D(3, 2, 1), (3, 2, 3)),
    conv_row("tanh", Conv2D(1, 2, 2, activation=Tanh()), (1, 3, 4)),
    conv_row("identity", Conv2D(1, 2, 2, 2, activation=Identity()), (1, 4, 5)),
    Row("relu", GraphConv(3, 2, GRAPH), (5, 3), OF_FIVE_NODES),
    Row("identity", GraphConv(3, 2, GRAPH, Identity()), (5, 3), OF_FIVE_NODES),
    Row("directed", GraphConv(3, 2, DIRECTED, Tanh()), (5, 3), OF_FIVE_NODES),
    Row("", Embedding(5, 3), (4,), ((4, 5), (0,), ()), token_inputs),
    Row("last", SimpleRNN(3, 2), (4, 3), OF_FOUR_STEPS),
    Row("all states", SimpleRNN(3, 2, last=False), (4, 3), OF_FOUR_STEPS),
    Row(
        "ReLU",
        SimpleRNN(3, 4, ReLU(), recurrent_initializer=ScaledIdentity(0.5)),
        (4, 3),
        OF_FOUR_STEPS,
    ),
    Row("one step", SimpleRNN(1, 2), (1, 1), ((1,), (1, 2), (0, 1))),
    Row("zero", LIF(3, 2, threshold=0.5), (4, 3), OF_FOUR_STEPS),
    Row("subtract", LIF(3, 2, None, 0.7, 0.5, "subtract"), (4, 3), OF_FOUR_STEPS),
    Row("constant input", LIF(3, 2, 4, threshold=0.5), (3,), ((4, 3), (4,), ())),
    Row(
        "learned decay",
        LIF(3, 2, None, 0.6, 0.5, "zero", learn_decay=True),
        (4, 3),
        OF_FOUR_STEPS,
    ),
    Row(
        "learned decay, subtract, constant input",
        LIF(3, 2, 4, 0.6, 0.5, "subtract", learn_decay=True),
        (3,),
        ((4, 3), (4,), ()),
    ),
]


def make(row, backend=NUMPY, dtype="float64", seed=0):
    """Parameters (none of them zero), inputs, and noise for COPIES copies of all samples."""
    rng = np.random.default_rng(seed)
    params = row.layer.init(Key(seed, Stream.INIT))
    params = {name: array + 0.1 * rng.normal(size=array.shape) for name, array in params.items()}
    x = row.inputs(rng, (SAMPLES, *row.input_shape))
    noise = 0.5 * rng.normal(size=(COPIES * SAMPLES, *row.noise_shape))
    return (
        {name: backend.asarray(array, dtype) for name, array in params.items()},
        backend.asarray(x, dtype),
        backend.asarray(noise, dtype),
    )


def on_host(params, backend):
    return {name: backend.to_host(array) for name, array in params.items()}
