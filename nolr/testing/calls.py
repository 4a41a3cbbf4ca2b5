"""Calls of an estimator: what it is lent, and what it must hand back.

An estimator is a stranger's function. One that writes into its arguments would change what its mean
is compared with, and the caller's arrays as well; so it is lent copies, and they are looked at
after every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nolr.backends import backend_of, namespace
from nolr.errors import BadInput
from nolr.network import Sequential
from nolr.testing.layout import check_layout
from nolr.types import Array, Key, Loss, Params

__all__ = ["Calls"]

LAYOUT = "return them in the layout of the parameters"


class Calls:
    """An estimator on one network, one batch and one loss.

    Args:
        estimator: called as `LikelihoodRatio` is, with copies of the parameters and the batch.
        batch: inputs and targets, which nobody else changes meanwhile.
    """

    def __init__(
        self,
        estimator: Any,
        network: Sequential,
        params: Sequence[Params],
        batch: tuple[Array, Array],
        loss: Loss,
    ) -> None:
        self._estimator, self._network, self._loss = estimator, network, loss
        self._params, self._batch = params, batch
        self._lent = tuple({name: _copy(a) for name, a in theta.items()} for theta in params)
        self._lent_arrays = [dict(theta) for theta in self._lent]
        self._lent_batch = _copy(batch[0]), _copy(batch[1])
        self._layout = tuple(
            {name: tuple(a.shape) for name, a in theta.items()} for theta in params
        )

    def start(self) -> Any:
        """The initial state; None of an estimator that has no `init`."""
        if not hasattr(self._estimator, "init"):
            return None
        state = self._estimator.init(self._network, self._lent, self._loss)
        self._check_loan()
        return state

    def __call__(self, key: Key, state: Any) -> tuple[Sequence[Params], Any]:
        """An estimate in the layout of the parameters, and the next state.

        Raises:
            BadInput: the estimator returned something else, or changed what it was lent.
        """
        returned = self._estimator(
            self._network, self._lent, self._lent_batch, self._loss, key, state
        )
        self._check_loan()
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            got = type(returned).__name__
            got += f" of {len(returned)}" if isinstance(returned, tuple | list) else ""
            raise BadInput(
                f"an estimator must return a pair (estimate, state), got {got}: return the state "
                "as it came, or None, if there is nothing to remember"
            )
        estimate, state = returned
        if not hasattr(estimate, "grads"):
            raise BadInput(
                "the estimate that an estimator returns must have the attribute `grads`, got "
                f"{type(estimate).__name__}: return (types.SimpleNamespace(grads=...), state)"
            )
        check_layout("the `grads` of the estimator", estimate.grads, self._layout, LAYOUT)
        return estimate.grads, state

    def _check_loan(self) -> None:
        """Raise BadInput if the estimator has changed its arguments."""
        for name, lent, own in zip(
            ("inputs", "targets"), self._lent_batch, self._batch, strict=True
        ):
            if not _same(lent, own):
                raise _changed(f"the {name} of the batch")
        loans = zip(self._lent, self._lent_arrays, self._params, strict=True)
        for node, (theta, arrays, own) in enumerate(loans):
            if set(theta) != set(own):
                raise _changed(f"the dict of the parameters of node {node}")
            for name, array in theta.items():
                if array is not arrays[name] or not _same(array, own[name]):
                    raise _changed(f"the parameter {name!r} of node {node}")


def _changed(what: str) -> BadInput:
    return BadInput(
        f"the estimator changed {what}, which it was given: make an array of its own, as in "
        "a = 2 * a, not a *= 2"
    )


def _copy(array: Array) -> Array:
    return backend_of(array).xp.asarray(array, copy=True)


def _same(one: Array, other: Array) -> bool:
    """Whether all entries are the same; NaN, where a target has it, is the same as NaN."""
    if tuple(one.shape) != tuple(other.shape):
        return False
    return bool(namespace(one).all((one == other) | (other != other)))
