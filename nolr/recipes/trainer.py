"""The trainer that settings describe, put together."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import numpy as np

from nolr.augmentation import FeatureDropout
from nolr.backends import get_backend
from nolr.data.dataset import Split
from nolr.errors import BadInput
from nolr.estimation import LikelihoodRatio
from nolr.estimation.forgetting import Forgetting, Lengthening
from nolr.learning_rates import Constant, Cosine, LearningRate
from nolr.network import Sequential
from nolr.optimizers import SGD, Adam
from nolr.recipes.settings import CHOICES, Settings, keep_default
from nolr.training import Trainer
from nolr.types import Optimizer

__all__ = ["build_trainer"]


def build_trainer(settings: Settings, network: Sequential, data: Split) -> Trainer:
    """Put the trainer together that the settings describe.

    Raises:
        BadInput: a setting out of its range.
    """
    if settings.batch_size < 1:
        raise BadInput(f"batch_size must be at least 1, got {settings.batch_size}")
    rounding = float(np.finfo(settings.dtype).eps)
    for name, beside in (("sigma", "pre-activations"), ("probe_sigma", "activations")):
        if 0 < (level := getattr(settings, name)) < rounding:
            raise BadInput(
                f"{name} {level:g} is lost in the rounding of {settings.dtype}, {rounding:.1e}, "
                f"beside {beside} of order 1: choose a larger one, such as 0.01"
            )
    if settings.schedule == "joint":
        keep_default(settings, "allocation", "in joint noise, which has a single tail")
    if settings.residual == 0 and settings.control_variate != "none":
        keep_default(settings, "allocation", "with residual 0, which weighs no copies")
    if settings.context and not _has_context(network, settings.context):
        raise BadInput(
            f"no stage of this network has a context within {settings.context} units: choose more, "
            "or leave it at 0 where there are no convolutions one after another"
        )
    if settings.probe_sigma and all(pathway.blocks is None for pathway in network.pathways):
        raise BadInput(
            "no stage of this network is probed in blocks, as no pooling takes pixels together: "
            "leave probe_sigma and leak at 0"
        )
    steps = settings.epochs * ceil(len(data.train) / settings.batch_size)
    estimator = LikelihoodRatio(
        noise=_choose(settings, "noise")(settings.sigma),
        copies=settings.copies,
        sampler=_choose(settings, "sampler")(source=settings.noise_source),
        schedule=_choose(settings, "schedule")(),
        baseline=_choose(settings, "baseline")(),
        allocation=_choose(settings, "allocation")(),
        control_variate=_choose(settings, "control_variate")(
            residual=settings.residual,
            forgetting=_forgetting(settings, max(steps, 1)),
            ridge=settings.ridge,
            probe=settings.probe,
            probe_sigma=settings.probe_sigma,
            leak=settings.leak,
            forgets=settings.forgets,
            context=settings.context,
        ),
        probe_every=settings.probe_every,
        monitor_every=settings.monitor_every,
        workers=settings.workers,
    )
    return Trainer(
        network=network,
        loss=_choose(settings, "loss")(),
        estimator=estimator,
        optimizer=_optimizer(settings, max(steps, 1)),
        data=data,
        backend=get_backend(settings.backend),
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        seed=settings.seed,
        patience=settings.patience,
        dtype=settings.dtype,
        augmentation=FeatureDropout(settings.dropout, settings.noise_source)
        if settings.dropout
        else None,
        coding=_choose(settings, "coding")(settings.time_steps, settings.noise_source),
    )


def _choose(settings: Settings, name: str) -> Callable[..., Any]:
    return CHOICES[name][getattr(settings, name)]


def _has_context(network: Sequential, units: int) -> bool:
    return any(pathway.within(units).context for pathway in network.pathways)


def _forgetting(settings: Settings, steps: int) -> float | Forgetting:
    """The same throughout, unless the last steps have a factor of their own."""
    first, last = settings.forgetting, settings.forgetting_last
    if last == 0:
        return first
    if not first <= last < 1:
        raise BadInput(
            f"forgetting_last must lie between forgetting, {first}, and 1, got {last}: or leave it "
            "at 0 for the same memory throughout"
        )
    return Lengthening(settings.forgetting, settings.forgetting_last, steps)


def _optimizer(settings: Settings, steps: int) -> Optimizer:
    rate: LearningRate = Constant(settings.learning_rate)
    if settings.learning_rate_schedule == "cosine":
        rate = Cosine(settings.learning_rate, steps)
    if settings.optimizer == "sgd":
        if settings.l2:
            raise BadInput("l2 is a setting of adam: with sgd it is the same as weight_decay")
        return SGD(rate, settings.momentum, settings.weight_decay)
    return Adam(rate, weight_decay=settings.weight_decay, l2=settings.l2)
