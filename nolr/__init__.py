"""nolr: neural networks trained without backpropagation, by forward runs and likelihood ratios.

>>> import nolr
>>> run = nolr.train("digits-dense", epochs=2)
>>> run.test_accuracy > 0.8
True

Everything public can be reached from here and is imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "nolr.activations": ("Identity", "ReLU", "Sigmoid", "Step", "Tanh"),
    "nolr.augmentation": ("FeatureDropout",),
    "nolr.backends": ("find_backends", "get_backend"),
    "nolr.coding": ("PoissonCoding",),
    "nolr.data": ("Dataset", "Split", "split_stratified"),
    "nolr.errors": ("BadInput", "Diverged"),
    "nolr.estimation": (
        "CleanLoss",
        "Equal",
        "EvolutionStrategies",
        "ForwardGradient",
        "JacobianControlVariate",
        "Joint",
        "LayerWise",
        "LeaveGroupOut",
        "Lengthening",
        "LikelihoodRatio",
        "Neyman",
        "NoBaseline",
        "RandomTails",
    ),
    "nolr.graphs": ("GraphOperator", "normalized_adjacency"),
    "nolr.layers": (
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
    ),
    "nolr.learning_rates": ("Constant", "Cosine", "StepDecay"),
    "nolr.initializers": ("Normal", "ScaledIdentity", "glorot_normal", "he_normal"),
    "nolr.losses": ("CrossEntropy", "MeanSquaredError", "ZeroOne"),
    "nolr.network": ("Residual", "Sequential"),
    "nolr.noise": ("Gaussian", "Laplace"),
    "nolr.optimizers": ("SGD", "Adam", "ravel", "unravel"),
    "nolr.run": ("Run",),
    "nolr.runs": ("load", "resume", "train"),
    "nolr.sampling": ("Antithetic", "Independent", "Orthogonal", "Sobol"),
    "nolr.training": ("Trainer",),
    "nolr.types": ("Key",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

if TYPE_CHECKING:
    from nolr.activations import Identity, ReLU, Sigmoid, Step, Tanh
    from nolr.augmentation import FeatureDropout
    from nolr.backends import find_backends, get_backend
    from nolr.coding import PoissonCoding
    from nolr.data import Dataset, Split, split_stratified
    from nolr.errors import BadInput, Diverged
    from nolr.estimation import (
        CleanLoss,
        Equal,
        EvolutionStrategies,
        ForwardGradient,
        JacobianControlVariate,
        Joint,
        LayerWise,
        LeaveGroupOut,
        Lengthening,
        LikelihoodRatio,
        Neyman,
        NoBaseline,
        RandomTails,
    )
    from nolr.graphs import GraphOperator, normalized_adjacency
    from nolr.initializers import Normal, ScaledIdentity, glorot_normal, he_normal
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
        SumOverTime,
    )
    from nolr.learning_rates import Constant, Cosine, StepDecay
    from nolr.losses import CrossEntropy, MeanSquaredError, ZeroOne
    from nolr.network import Residual, Sequential
    from nolr.noise import Gaussian, Laplace
    from nolr.optimizers import SGD, Adam, ravel, unravel
    from nolr.run import Run
    from nolr.runs import load, resume, train
    from nolr.sampling import Antithetic, Independent, Orthogonal, Sobol
    from nolr.training import Trainer
    from nolr.types import Key

__all__ = [
    "LIF",
    "SGD",
    "Adam",
    "Antithetic",
    "AvgPool2D",
    "BadInput",
    "CleanLoss",
    "Constant",
    "Conv2D",
    "Cosine",
    "CrossEntropy",
    "Dataset",
    "Dense",
    "Diverged",
    "Embedding",
    "Equal",
    "EvolutionStrategies",
    "FeatureDropout",
    "Flatten",
    "ForwardGradient",
    "Gaussian",
    "GraphConv",
    "GraphOperator",
    "Identity",
    "Independent",
    "JacobianControlVariate",
    "Joint",
    "Key",
    "Laplace",
    "LayerWise",
    "LeakyOverTime",
    "LeaveGroupOut",
    "Lengthening",
    "LikelihoodRatio",
    "MaxPool2D",
    "MeanOverTime",
    "MeanSquaredError",
    "Neyman",
    "NoBaseline",
    "Normal",
    "Orthogonal",
    "PoissonCoding",
    "RandomTails",
    "ReLU",
    "Residual",
    "Run",
    "ScaledIdentity",
    "Sequential",
    "Sigmoid",
    "SimpleRNN",
    "Sobol",
    "Split",
    "Step",
    "StepDecay",
    "SumOverTime",
    "Tanh",
    "Trainer",
    "ZeroOne",
    "find_backends",
    "get_backend",
    "glorot_normal",
    "he_normal",
    "load",
    "normalized_adjacency",
    "ravel",
    "resume",
    "split_stratified",
    "train",
    "unravel",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'nolr' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
