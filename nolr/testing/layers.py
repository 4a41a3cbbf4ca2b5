"""Does a layer keep the contract of `nolr.types.Layer`?

    from nolr.testing.layers import check_layer
    print(check_layer(MyLayer(3, 5), (3,)))

A layer of one's own fits into every network and estimator of nolr if it passes; a likelihood ratio
of one that does not may be biased without a sign of it. Checks are independent and tell all they
find. Two derivatives are compared as their products with random directions, ⟨s, J u⟩ = ⟨Jᵀs, u⟩,
which no wrong entry survives, whatever the size of the layer; take a small one, it is run often.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from nolr.backends import NAMES, get_backend
from nolr.errors import BadInput, nearest
from nolr.testing.layer_claims import CLAIMS
from nolr.testing.layer_example import Broken, Example, NotRun
from nolr.testing.layer_interface import INTERFACE, check_agreement
from nolr.testing.layer_noise import NOISE
from nolr.testing.numbers import check_whole
from nolr.types import Array, Layer, Shape

__all__ = ["FAILED", "NOT_RUN", "PASSED", "CheckResult", "LayerReport", "check_layer"]

PASSED, FAILED, NOT_RUN = "passed", "FAILED", "not run"


@dataclass(frozen=True)
class CheckResult:
    """What one check found."""

    name: str
    verdict: str
    """PASSED, FAILED or NOT_RUN."""
    sentences: tuple[str, ...] = ()
    """What failed, one sentence each; or why it was not run."""


@dataclass(frozen=True)
class LayerReport:
    """What all checks found; `str` is a table of check, verdict and sentence."""

    layer: str
    input_shape: Shape
    results: tuple[CheckResult, ...]

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        return tuple(result for result in self.results if result.verdict == FAILED)

    @property
    def passed(self) -> bool:
        """Whether no check failed; one that was not run did not."""
        return not self.failures

    def raise_for_failures(self) -> None:
        """Raise AssertionError with the table as its text, if a check failed."""
        if self.failures:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        count = f"{len(self.failures)} of {len(self.results)} checks failed"
        lines = [f"{self.layer} on samples of shape {self.input_shape}: {count}"]
        width = max(len(result.name) for result in self.results)
        for result in self.results:
            name, verdict = result.name, result.verdict
            for sentence in result.sentences or ("",):
                lines.append(f"  {name:{width}}  {verdict:7}  {sentence}".rstrip())
                name = verdict = ""
        return "\n".join(lines)


def check_layer(
    layer: Layer,
    input_shape: Sequence[int],
    *,
    samples: int = 4,
    seed: int = 0,
    input: Array | None = None,
    backends: Sequence[str] = ("numpy",),
    sigma: float = 0.5,
) -> LayerReport:
    """Check that a layer keeps the contract of `nolr.types.Layer`, in float64 on NumPy.

    | check | the promise |
    |---|---|
    | attributes | trainable, affine, recurrent, pulls_past, reaches and methods are there |
    | init | NumPy float64 parameters, a pure function of the key |
    | shapes | of drive, y, past, gate and pullback as announced; dtypes kept, in float32 too |
    | rows | a batch is its samples |
    | copies | row c·N + n of a response is copy c of sample n |
    | zero noise | is no noise |
    | purity | nothing is written into, and nothing remembered |
    | past | of a recurrent layer is z = v + ε |
    | noise | y is a function of drive + noise, and of neither alone |
    | parameters | reach y through v alone |
    | pullback | is (∂v/∂θ)ᵀ score, the past held, summed over rows |
    | pulls_past | if False, the past does not change the pullback |
    | gate | is d/dv E[f(v + ε)], to within 2e-3/σ and 2 % of the largest slope |
    | affine | says whether y = z |
    | reach | no position feels a change that it is said not to feel |
    | backend … | another backend gives the same numbers, to within 1e-10 |

    Parameters are the initial ones, moved towards 0 by up to 10 % and off it where they are 0.

    Args:
        layer: the layer; take it small, and with several steps or nodes if it has any.
        input_shape: shape of one sample, without the sample axis.
        samples: N, the rows of a batch, if no input is given.
        seed: of parameters, inputs and noise.
        input: samples to try it on (N, *input_shape), where normal numbers will not do: the token
            numbers of an embedding.
        backends: names of backends; one that is not installed is not run.
        sigma: σ of the noise, in units of the pre-activation; also that of the gate.

    Raises:
        BadInput: fewer than two samples, inputs of another shape, σ not positive, a shape or seed
            that is none, or an unknown backend.

    >>> from nolr.layers import Dense
    >>> check_layer(Dense(3, 5), (3,)).passed
    True
    """
    _check_arguments(input_shape, samples, seed, backends, sigma)
    x = _inputs(tuple(input_shape), samples, seed, input)
    example = Example(layer, tuple(input_shape), x, sigma, seed)
    checks = {name: partial(check, example) for name, check in _CHECKS.items()}
    for name in backends:
        if name != "numpy":
            checks[f"backend {name}"] = partial(_on_backend, example, name)
    results: list[CheckResult] = []
    with np.errstate(all="ignore"):  # what is not finite is found, and said in a sentence
        for name, check in checks.items():
            results.append(_run(name, check, results, type(layer)))
    return LayerReport(type(layer).__name__, tuple(input_shape), tuple(results))


_CHECKS = {**INTERFACE, **NOISE, **CLAIMS}


def _check_arguments(input_shape: Any, samples: Any, seed: Any, backends: Any, sigma: Any) -> None:
    if not isinstance(input_shape, Sequence) or not all(
        isinstance(size, Integral) and int(size) > 0 for size in input_shape
    ):
        fix = f"write ({input_shape},)" if isinstance(input_shape, Integral) else "such as (3,)"
        raise BadInput(
            "input_shape must be the shape of one sample, a tuple of positive whole numbers, got "
            f"{input_shape!r}: {fix}"
        )
    check_whole("samples", samples, 2, "a layer is checked with at least two samples")
    check_whole("seed", seed, 0, "any such number will do")
    if not (isinstance(sigma, Real) and 0 < float(sigma) < inf):
        raise BadInput(f"sigma must be positive, got {sigma!r}: 0.5 is usual")
    if isinstance(backends, str):
        raise BadInput(
            f"backends must be a tuple of names, got {backends!r}: write ({backends!r},)"
        )
    for name in backends:
        if name not in NAMES:
            raise BadInput(f"there is no backend {name!r}{nearest(str(name), NAMES)}")


def _inputs(input_shape: Shape, samples: int, seed: int, given: Array | None) -> np.ndarray:
    if given is None:
        x = np.random.default_rng(seed).normal(size=(samples, *input_shape))
    else:
        x = np.array(given, dtype=np.float64)
    if x.shape[1:] != input_shape:
        sizes = ", ".join(map(str, input_shape))
        raise BadInput(f"input must have shape (samples, {sizes}), got {x.shape}")
    if len(x) < 2:
        raise BadInput(f"a layer is checked with at least two samples, got {len(x)}")
    return x


def _on_backend(example: Example, name: str) -> Iterator[str]:
    try:
        backend = get_backend(name)
    except BadInput as error:
        raise NotRun(str(error)) from None
    yield from check_agreement(example, backend)


def _run(
    name: str, check: Callable[[], Iterator[str]], earlier: Sequence[CheckResult], kind: type
) -> CheckResult:
    """Collect the sentences of a check; what the layer raises is one of them."""
    sentences: list[str] = []
    try:
        sentences.extend(check())
    except NotRun as reason:
        return CheckResult(name, NOT_RUN, (str(reason),))
    except Broken as sentence:
        sentences.append(str(sentence))
    except Exception as error:
        text = f"{type(error).__name__}: {error} (in {_place(error, kind)})"
        same = [result.name for result in earlier if text in result.sentences]
        sentences.append(f"{type(error).__name__} as in {same[0]!r}" if same else text)
    return CheckResult(name, FAILED if sentences else PASSED, tuple(sentences))


def _place(error: Exception, kind: type) -> str:
    """Where it was raised: in the layer's own file if possible."""
    frames = traceback.extract_tb(error.__traceback__)
    modules = [sys.modules.get(parent.__module__) for parent in kind.__mro__]
    files = {getattr(module, "__file__", None) for module in modules}
    frame = next((f for f in reversed(frames) if f.filename in files), frames[-1])
    return f"{frame.name}, line {frame.lineno} of {Path(frame.filename).name}"
