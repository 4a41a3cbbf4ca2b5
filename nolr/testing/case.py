"""A case: a network, a batch, a loss and an estimator, with all that it takes to run them again.

Hypothesis draws cases (`nolr.testing.strategies`), but a case knows nothing of Hypothesis. Its
`program` is a short Python program that makes the same network output and the same estimate, bit
for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nolr.backends import get_backend
from nolr.network import Sequential
from nolr.testing.source import Source, call
from nolr.types import Array, Backend, Key, Loss, Params

__all__ = ["Case"]


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """Something to try an estimator on; arrays on the host, in float64 or int64.

    Args:
        network: small, since a program writes its batch out.
        inputs: (N, *input_shape).
        target: what the loss compares the output with, N rows.
        loss: one number a sample, or one a position.
        estimator: called as `nolr.LikelihoodRatio` is; `init`, if it has one, makes its state.
        seed: of the initial parameters and of the noise.
        steps: how often the estimator is called; from the second time on it remembers something.
        given: parameters (node by node, as `network.init` returns them) in place of the initial
            ones.
        backend: name of the one to run on.
        dtype: "float64" or "float32", of parameters and inputs.
    """

    network: Sequential
    inputs: np.ndarray
    target: np.ndarray
    loss: Loss
    estimator: Any
    seed: int = 0
    steps: int = 1
    given: tuple[Params, ...] | None = None
    backend: str = "numpy"
    dtype: str = "float64"

    def on(self, backend: str, dtype: str | None = None) -> Case:
        """The same case on another backend, or with other numbers."""
        return replace(self, backend=backend, dtype=dtype or self.dtype)

    @property
    def library(self) -> Backend:
        """The backend itself."""
        return get_backend(self.backend)

    @property
    def params(self) -> tuple[Params, ...]:
        """The parameters of all nodes, new arrays each time."""
        library = self.library
        if self.given is None:
            return self.network.init(self.seed, library, self.dtype)
        return tuple(
            {name: library.asarray(np.array(array), self.dtype) for name, array in theta.items()}
            for theta in self.given
        )

    @property
    def batch(self) -> tuple[Array, Array]:
        """Inputs and targets."""
        x = self.library.asarray(np.array(self.inputs), self.dtype)
        return x, self.library.asarray(np.array(self.target), self._target_dtype)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What `check_unbiased` takes: estimator, network, params, batch, loss."""
        return self.estimator, self.network, self.params, self.batch, self.loss

    def output(self) -> Array:
        """The network's output without noise, (N, *output_shape)."""
        return self.network.forward(self.params, self.batch[0])

    def estimate(self) -> Any:
        """The estimate of the last step."""
        estimator, network, params, batch, loss = self.arguments
        state = estimator.init(network, params, loss) if self._remembers else None
        for step in range(self.steps):
            key = Key(self.seed, step=step)
            estimate, state = estimator(network, params, batch, loss, key, state)
        return estimate

    def program(self) -> str:
        """A Python program; it leaves `output` and `estimate` behind, and prints them."""
        source = Source()
        source.imports |= {"import nolr", "import numpy as np"}
        lines = [
            f"backend = nolr.get_backend({source.of(self.backend)})",
            f"network = {source.of(self.network)}",
            *self._parameter_lines(source),
            f"x = {self._array(source, self.inputs, self.dtype)}",
            f"target = {self._array(source, self.target, self._target_dtype)}",
            f"loss = {source.of(self.loss)}",
            f"estimator = {source.of(self.estimator)}",
            "",
            "output = network.forward(params, x)",
            *self._steps_lines(source),
            "print(output)",
            "print(estimate.grads)",
        ]
        return "\n".join([source.header, "", *lines, ""])

    def __str__(self) -> str:
        return self.program()

    def __repr__(self) -> str:
        links = " ".join(type(node).__name__ for node in self.network.nodes)
        return (
            f"<Case {links}, {len(self.inputs)} × {self.network.input_shape}, "
            f"{type(self.loss).__name__}, {type(self.estimator).__name__}, seed {self.seed}, "
            f"{self.backend} {self.dtype}>"
        )

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """For Hypothesis and IPython, which would show all fields of a dataclass."""
        printer.text(repr(self))

    @property
    def _remembers(self) -> bool:
        return hasattr(self.estimator, "init")

    @property
    def _target_dtype(self) -> str:
        return "int64" if np.asarray(self.target).dtype.kind in "iu" else self.dtype

    def _array(self, source: Source, array: np.ndarray, dtype: str) -> str:
        return call("backend.asarray", [source.of(array), source.of(dtype)])

    def _parameter_lines(self, source: Source) -> list[str]:
        if self.given is None:
            arguments = [source.of(self.seed), "backend", source.of(self.dtype)]
            return [f"params = {call('network.init', arguments)}"]
        values = [
            {name: np.asarray(a).tolist() for name, a in theta.items()} for theta in self.given
        ]
        return [
            f"values = {source.of(values)}",
            "params = tuple(",
            f"    {{name: backend.asarray(np.array(rows), {source.of(self.dtype)})",
            "     for name, rows in theta.items()}",
            "    for theta in values",
            ")",
        ]

    def _steps_lines(self, source: Source) -> list[str]:
        state = "estimator.init(network, params, loss)" if self._remembers else "None"
        run = "estimate, state = estimator(network, params, (x, target), loss, key, state)"
        seed = source.of(self.seed)
        if self.steps == 1:
            return [f"state = {state}", f"key = nolr.Key({seed})", run]
        return [
            f"state = {state}",
            f"for step in range({self.steps}):",
            f"    key = nolr.Key({seed}, step=step)",
            f"    {run}",
        ]
