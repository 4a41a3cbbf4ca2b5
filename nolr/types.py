"""The vocabulary of nolr: arrays, parameters, keys, and the protocols that everything else fills.

A network is a chain of stages. A stage with parameters θ computes a pre-activation v from its
input x (and, if it is recurrent, from its own past), adds noise ε and applies a function f:

    v = v(θ, x, past)        z = v + ε        y = f(z)

Axis 0 of every array is the sample; *copies* of a sample (its noise draws) are tiled into it:
rows 0..N-1 are copy 0 of all samples, rows N..2N-1 are copy 1, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

__all__ = [
    "Activation",
    "Allocation",
    "Array",
    "Augmentation",
    "Backend",
    "Baseline",
    "Coding",
    "Fixed",
    "Key",
    "Layer",
    "Loss",
    "Noise",
    "Optimizer",
    "Params",
    "Reach",
    "Route",
    "Sampler",
    "Schedule",
    "Shape",
    "Stream",
    "Window",
]

Array: TypeAlias = Any
"""An array of any backend. The array itself says where it lives; see `nolr.backends`."""

Shape: TypeAlias = tuple[int, ...]

Params: TypeAlias = dict[str, Array]
"""The parameters of one layer by name; empty for a layer without any."""


class Stream:
    """What a key's random numbers are for; different streams never share random numbers."""

    INIT, SHUFFLE, NOISE, PROBE, AUGMENT, CODE, CHOICE = 1, 2, 3, 4, 5, 6, 7


class Key(NamedTuple):
    """The address of a random draw: the same key always gives the same numbers.

    Nothing in nolr holds a random generator, so every draw can be made again: to compare
    backends, to replay a step, or to resume a stopped run bit for bit.
    """

    seed: int
    stream: int = Stream.NOISE
    step: int = 0
    stage: int = 0
    block: int = 0


class Window(NamedTuple):
    """How a convolution looks at an image: pairs for height and width, in pixels."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    """Rows and columns of zeros on either side."""
    dilation: tuple[int, int] = (1, 1)
    """Distance of neighbouring taps."""

    def positions(self, size: tuple[int, int]) -> tuple[int, int]:
        """How many windows fit into an image of this height and width; below 1 if none does."""
        first, second = (
            (length + 2 * pad - step * (taps - 1) - 1) // stride + 1
            for length, taps, stride, pad, step in zip(size, *self, strict=True)
        )
        return first, second


class Backend(Protocol):
    """Where arrays live, plus the few operations that the array-API standard lacks."""

    @property
    def name(self) -> str: ...

    @property
    def xp(self) -> Any:
        """The array-API namespace."""

    @property
    def device(self) -> str:
        """What computes, in words: "host", or the name of a GPU."""

    def asarray(self, host: Any, dtype: str | None = None) -> Array:
        """Bring a NumPy array, or anything NumPy can read, here; memory may be shared."""

    def to_host(self, array: Array) -> Any:
        """Return a NumPy array; it may share memory, so it is not to be written."""

    def normal(self, key: Key, shape: Shape, dtype: Any) -> Array:
        """Draw standard normal numbers on the device; a pure function of its arguments."""

    def uniform(self, key: Key, shape: Shape, dtype: Any) -> Array:
        """Draw numbers that are uniform on [0, 1); a pure function of the arguments."""

    def coins(self, key: Key, shape: Shape, probability: float) -> Array:
        """Draw booleans, True with this probability to within 2⁻¹⁷; a pure function likewise."""

    @property
    def cache_bytes(self) -> int:
        """How large a working array should be at most to stay where it is fast."""

    def im2col(self, x: Array, window: Window) -> Array:
        """The taps of every window, as columns: (N, C, H, W) -> (N, C·kh·kw, H', run).

        `run` is the number of windows W' in a line, or more: what is beyond is junk.
        """

    def scatter_add(self, rows: Array, values: Array, size: int) -> Array:
        """Sum the values (n, F) that have the same row (n,) into a table (size, F)."""

    def sparse(self, matrix: Any, dtype: Any) -> Any:
        """Bring a scipy CSR matrix here, to be multiplied with tables: matrix @ (n, F)."""

    def synchronize(self) -> None:
        """Wait until all queued work is done (a no-op where nothing is queued)."""


class Activation(Protocol):
    """An element-wise function f, with its derivative smoothed by Gaussian noise."""

    def __call__(self, z: Array) -> Array: ...

    def smoothed_derivative(self, v: Array, scale: float) -> Array:
        """Return d/dv E[f(v + ε)], ε ~ N(0, scale²): finite even where f is a step."""


class Reach(Protocol):
    """Which positions (time steps, nodes of a graph) a change at one position can reach."""

    @property
    def mixing(self) -> Route | None:
        """How a change spreads, where all positions are alike; None where they are not."""

    def then(self, later: Reach) -> Reach:
        """The reach through this link and a later one."""

    def beside(self, other: Reach) -> Reach:
        """The reach by this way or another one."""

    def gather(self, losses: Array) -> Array:
        """Add up for every position the losses that it reaches.

        (..., positions of the output) -> (..., positions), or (..., 1) where all are the same.
        """


class Route(Protocol):
    """A linear map from the units of one place to those of another, for every sample its own.

    A pool that is linear once its winners are known, a gate, a graph operator: what becomes of a
    small change on its way. Fixed before any noise is drawn.
    """

    def push(self, change: Array) -> Array:
        """(..., N, *from) -> (..., N, *to)."""

    def pull(self, credit: Array) -> Array:
        """The transpose: (N, *to) -> (N, *from)."""

    def variance(self, variance: Array) -> Array:
        """Variances of what independent changes become: (N, *from) -> (N, *to)."""


class Fixed(Protocol):
    """A link without parameters, and hence without noise: y = f(x)."""

    @property
    def trainable(self) -> Literal[False]: ...

    @property
    def reach(self) -> Reach:
        """Which positions of y one position of x reaches."""

    @property
    def lines(self) -> int:
        """How many lines of an image become one: the side of a pool's window, else 1."""

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of y without the sample axis; raises BadInput if `input_shape` does not fit."""

    def __call__(self, x: Array) -> Array:
        """(N, *input) -> (N, *output)."""

    def route(self, x: Array) -> Route:
        """f made linear at x."""


class Layer(Protocol):
    """A link with parameters: v = drive(θ, x) + recurrence(θ, past);  z = v + ε;  y = f(z).

    A layer holds no generator and no mutable state. The part of v that the input contributes,
    `drive`, is separate from the response to it because all copies of a sample share it: it is
    computed once, however many copies there are.
    """

    @property
    def trainable(self) -> Literal[True]: ...

    @property
    def affine(self) -> bool:
        """Whether y = z, so that a loss's own derivative at y is exact at v too."""

    @property
    def recurrent(self) -> bool:
        """Whether noise in one time step is carried on to later ones within the layer."""

    @property
    def pulls_past(self) -> bool:
        """Whether ∂v/∂θ depends on the past, which every copy has for itself."""

    @property
    def reach(self) -> Reach:
        """Which positions of y one position of x reaches."""

    @property
    def noise_reach(self) -> Reach:
        """Which positions of y the noise in one position of z reaches."""

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of y without the sample axis; raises BadInput if `input_shape` does not fit."""

    def noise_shape(self, input_shape: Shape) -> Shape:
        """Shape of ε without the sample axis."""

    def init(self, key: Key) -> Params:
        """Initial parameters as NumPy float64 arrays, the same on every backend."""

    def drive(self, params: Params, x: Array) -> Array:
        """(N, *input) -> (N, *noise_shape): the input's contribution to v."""

    def respond(
        self, params: Params, drive: Array, noise: Array | None
    ) -> tuple[Array, Array | None]:
        """Return y (C·N, *output) and the past (None if not recurrent).

        `noise` has C·N rows for the N rows of `drive`, or is None for a clean response (C = 1).
        """

    def pullback(self, x: Array, past: Array | None, score: Array) -> Params:
        """(∂v/∂θ)ᵀ score, summed over rows, for x of as many rows as `score`: one GEMM."""

    def gate(self, drive: Array, past: Array | None, scale: float) -> Array:
        """Derivative of y with respect to v, smoothed by noise of standard deviation `scale`."""


class Noise(Protocol):
    """A distribution of ε, as a colouring of white noise η ~ N(0, I).

    Linear, ε = C η, or an increasing function of every unit. Either way -η makes -ε and -s: that
    is what pairs of copies rely on.
    """

    @property
    def scale(self) -> float:
        """Standard deviation of one unit, in units of the pre-activation."""

    @property
    def linear(self) -> bool:
        """Whether the colour is linear, so that a loss quadratic in ε is quadratic in η."""

    def colour(self, white: Array) -> Array:
        """ε of white noise η, of any shape: C η where it is linear."""

    def score(self, white: Array) -> Array:
        """s = -∇ε log p(ε) of white noise η: C⁻ᵀ η where the colour is linear."""


class Sampler(Protocol):
    """How the white noise of several copies is drawn together.

    Copies come in groups of len(signs): each group draws one η and uses sign·η in each copy.
    """

    @property
    def signs(self) -> tuple[float, ...]: ...

    @property
    def independent_groups(self) -> bool:
        """Whether a group tells nothing of the others: a baseline made of their losses wants it."""

    def draw(self, backend: Backend, key: Key, groups: int, shape: Shape, dtype: Any) -> Array:
        """White noise η of shape (groups, *shape): N(0, I) in every group, samples independent.

        The first axis of `shape` is the sample.
        """


class Schedule(Protocol):
    """Which stages are noised together in one forward pass."""

    @property
    def estimand(self) -> str:
        """The loss whose gradient is estimated, in words."""

    def passes(self, stages: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """Partition the stages, in order, into passes; each pass is one noised tail."""


class Allocation(Protocol):
    """How the copies of a step are shared among the tails; see `nolr.estimation.allocation`."""

    def share(self, tails: Sequence[Any], groups: int, least: int, key: Key) -> list[Any]:
        """A Portion for every Tail, at about the cost of `groups` groups for each of them."""


class Baseline(Protocol):
    """What is subtracted from a copy's loss: anything independent of that copy's noise."""

    @property
    def minimum_groups(self) -> int:
        """How many groups of copies the baseline needs."""

    def __call__(self, losses: Array, clean: Array) -> Array:
        """losses (..., signs, groups, N), clean (N,) -> array that broadcasts with `losses`."""


class Loss(Protocol):
    """One loss per sample, never reduced over the batch; with positions, one for each of them.

    The loss of a sample is then the sum over its positions.
    """

    @property
    def differentiable(self) -> bool:
        """Whether the loss has a useful derivative with respect to the output."""

    def check(self, targets: Any, output_shape: Shape) -> None:
        """Raise BadInput unless `targets` (NumPy) suit outputs of `output_shape`."""

    def __call__(self, output: Array, target: Array) -> Array:
        """(N, m), (N, ...) -> (N,); with positions (N, P, m), (N, P, ...) -> (N, P)."""

    def value_and_gradient(self, output: Array, target: Array) -> tuple[Array, Array | None]:
        """The losses and e = ∂loss/∂output, of the output's shape; None if there is no such."""


class Augmentation(Protocol):
    """A random change of training inputs."""

    def __call__(self, x: Array, key: Key) -> Array:
        """(N, ...) -> (N, ...), a pure function of the arguments."""


class Coding(Protocol):
    """How samples become the inputs of a network that reads something else, such as spikes."""

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of a coded sample."""

    def __call__(self, x: Array, key: Key) -> Array:
        """(N, ...) -> (N, *output_shape), a pure function of the arguments."""


class Optimizer(Protocol):
    """A pair of pure functions on one flat parameter vector (P,)."""

    def init(self, vector: Array) -> tuple[Array, ...]: ...

    def update(
        self, gradient: Array, state: tuple[Array, ...], vector: Array, step: int
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return the new vector and the new state; `step` counts from 0."""
