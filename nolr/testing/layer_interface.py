"""What a layer says of itself, and that it is a function of its arguments, row by row.

These are the promises that every other part of nolr takes for granted; `nolr.testing.layer_noise`
has those that make a likelihood ratio unbiased.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from nolr.backends import get_backend
from nolr.copies import tile
from nolr.testing.layer_example import Check, Example, flat, own, unequal
from nolr.types import Array, Backend, Key, Stream

__all__ = ["INTERFACE", "check_agreement"]

AGREEMENT = 1e-10

METHODS = ("output_shape", "noise_shape", "init", "drive", "respond", "pullback", "gate")
PARTS_OF_A_REACH = ("mixing", "then", "beside", "gather")


def check_attributes(e: Example) -> Iterator[str]:
    """Everything that the protocol names is there."""
    absent = object()
    if getattr(e.layer, "trainable", None) is not True:
        yield "trainable: expected True, which tells a layer with parameters: set trainable = True"
    for name in ("affine", "recurrent", "pulls_past"):
        if not isinstance(value := getattr(e.layer, name, absent), bool):
            got = "no such attribute" if value is absent else repr(value)
            yield f"{name}: expected True or False, got {got}: announce it on the layer"
    for name in ("reach", "noise_reach"):
        reach = getattr(e.layer, name, absent)
        lacking = [part for part in PARTS_OF_A_REACH if getattr(reach, part, absent) is absent]
        if lacking:
            yield (
                f"{name}: expected a reach such as nolr.reach.Everywhere(), got one without "
                f"{', '.join(lacking)}: announce which positions feel a change"
            )
    for name in METHODS:
        if not callable(getattr(e.layer, name, None)):
            yield f"{name}: expected a method, got none: see nolr.types.Layer"


def check_init(e: Example) -> Iterator[str]:
    """Initial parameters are NumPy float64 arrays, and a pure function of the key."""
    key = Key(e.seed, Stream.INIT)
    params, again = e.layer.init(key), e.layer.init(key)
    if not params:
        yield "init: expected at least one parameter, got none: fill nolr.types.Fixed instead"
    for name, array in params.items():
        if not isinstance(array, np.ndarray) or array.dtype != np.float64:
            kind = getattr(array, "dtype", type(array).__name__)
            yield f"init of {name!r}: expected a NumPy float64 array, got {kind}: convert it there"
    fix = "draw from a generator that is made of the key alone, as nolr.initializers do"
    if set(params) != set(again):
        yield f"init: expected {sorted(params)} again for the same key, got {sorted(again)}: {fix}"
        return
    for name in params:
        yield from unequal(f"init of {name!r} for the same key", again[name], params[name], fix)

    def changes(other: Key) -> bool:
        return any(not np.array_equal(array, params[n]) for n, array in e.layer.init(other).items())

    if changes(key._replace(seed=key.seed + 1)) and not changes(key._replace(stage=1)):
        yield (
            "init: expected other numbers for key.stage = 1 than for 0, got the same: use the "
            "whole key, or two such layers of a network start as twins"
        )


def check_shapes(e: Example) -> Iterator[str]:
    """Shapes are as announced and dtypes those of the arguments, in float32 and float64."""
    n, output, noise = len(e.x), e.layer.output_shape(e.input_shape), e.noise_shape
    for name, shape in (("output_shape", output), ("noise_shape", noise)):
        if not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape):
            yield f"{name}: expected a tuple of integers, got {shape!r}: return (..., units)"
    if not e.layer.recurrent and tuple(output) != noise:
        yield (
            f"output_shape: expected noise_shape {noise}, got {output}: y = f(z) is unit by unit, "
            "so pool or reshape in a link of its own (nolr.types.Fixed)"
        )
    wrong: set[str] = set()  # to say it in one dtype alone
    for dtype in ("float32", "float64"):
        params = {name: np.asarray(array, dtype=dtype) for name, array in e.params.items()}
        x, eps = e.x.astype(dtype), e.noise.astype(dtype)
        drive = e.drive(x, params)
        (clean, past), (noisy, later) = (
            e.respond(drive, None, params),
            e.respond(drive, eps, params),
        )
        pulled = e.pullback(x, past, np.ones((n, *noise), dtype=dtype))
        wanted = [
            ("drive", drive, (n, *noise)),
            ("clean y", clean, (n, *output)),
            ("noisy y", noisy, (len(eps), *output)),
            ("gate", e.gate(drive, past), (n, *noise)),
            *((f"pullback of {name!r}", a, np.shape(a)) for name, a in pulled.items()),
        ]
        if e.layer.recurrent:
            wanted += [("clean past", past, (n, *noise)), ("noisy past", later, (len(eps), *noise))]
        elif past is not None or later is not None:
            yield "past: expected None, since recurrent is False, got an array: return y, None"
        for what, array, shape in wanted:
            got = f"{getattr(array, 'dtype', type(array).__name__)} {np.shape(array)}"
            if what in wrong:
                continue
            if got != f"{dtype} {shape}":
                wrong.add(what)
                yield f"{what}: expected {dtype} {shape}, got {got}: keep to nolr.types.Layer"
            elif not np.isfinite(array).all():
                wrong.add(what)
                yield f"{what} in {dtype}: expected finite numbers, got nan or inf: scale it"


def check_rows(e: Example) -> Iterator[str]:
    """A batch is its samples, one by one: rows never mix."""
    n, fix = len(e.x), "rows of axis 0 must not see each other"
    batch = _run(e, slice(0, n))
    single = [_run(e, slice(row, row + 1)) for row in range(n)]
    for what, found in batch.items():
        parts = [one[what] for one in single]
        if found is not None and all(part is not None for part in parts):
            yield from unequal(f"{what} of a batch", found, np.concatenate(parts), fix)


def _run(e: Example, rows: slice) -> dict[str, Array]:
    drive = e.drive(e.x[rows])
    clean, past = e.respond(drive, None)
    noisy, later = e.respond(drive, e.noise[rows])
    gate = e.gate(drive, past)
    found = {"drive": drive, "clean y": clean, "past": past, "noisy y": noisy, "gate": gate}
    return {**found, "noisy past": later}


def check_copies(e: Example) -> Iterator[str]:
    """Row c·N + n of a response is copy c of sample n, as if it were the only copy."""
    n, drive = len(e.x), e.drive()
    together = e.respond(drive, e.noise)
    alone = [e.respond(drive, e.noise[c * n : (c + 1) * n]) for c in range(e.copies)]
    fix = "copies are tiled, row c·N + n: use nolr.copies.add_noise(drive, noise)"
    for what, found, parts in zip(("y", "past"), together, zip(*alone, strict=True), strict=True):
        if found is not None:
            yield from unequal(f"{what} of {e.copies} copies", found, np.concatenate(parts), fix)


def check_zero_noise(e: Example) -> Iterator[str]:
    """Noise that is 0 is no noise."""
    drive = e.drive()
    clean, silent = e.respond(drive, None), e.respond(drive, 0.0 * e.noise)
    fix = "noise=None is a clean response, with the same formula"
    for what, found, expected in zip(("y", "past"), silent, clean, strict=True):
        tiled = None if expected is None else tile(expected, e.copies)
        yield from unequal(f"{what} under noise 0", found, tiled, fix)


def check_purity(e: Example) -> Iterator[str]:
    """The same arguments give the same results, whatever came between, and are left alone."""
    n, drive, noise = len(e.x), e.drive(), e.noise
    past, score = e.respond(drive, None)[1], e.normal("score", (n, *e.noise_shape))
    given_to = {"params": e.params, "drive": drive}
    calls: list[tuple[str, Callable[..., object], dict[str, Array]]] = [
        ("drive", e.layer.drive, {"params": e.params, "x": e.x}),
        ("respond", e.layer.respond, {**given_to, "noise": noise[:n]}),
        ("respond with copies", e.layer.respond, {**given_to, "noise": noise}),
        ("clean respond", e.layer.respond, {**given_to, "noise": None}),
        ("gate", e.layer.gate, {"drive": drive, "past": past, "scale": e.sigma}),
        ("pullback", e.layer.pullback, {"x": e.x, "past": past, "score": score}),
    ]
    found = {}
    for name, method, arguments in calls:
        given = own(arguments)
        found[name] = [own(array) for array in flat(method(*given.values()))]
        for argument, array in arguments.items():
            fix = "do not write into arguments; make an array of its own"
            for after, before in zip(flat(given[argument]), flat(array), strict=True):
                yield from unequal(f"{argument} after {name}", after, before, fix)
    fix = "hold no state and no generator; noise is an argument"
    for name, method, arguments in calls:
        for _, between, values in calls:  # a layer that remembers these gives itself away
            between(*own(_others(e, values)).values())
        again = flat(method(*own(arguments).values()))
        for after, before in zip(again, found[name], strict=True):
            yield from unequal(f"{name}, called again", after, before, fix)


def _others(e: Example, arguments: dict[str, Array]) -> dict[str, Array]:
    """Other values of the same shapes: other parameters, and rows in another order.

    Rows that a user gave stay valid so, token numbers for one.
    """
    found = dict(arguments)
    for name, value in arguments.items():
        if name == "params":
            found[name] = e.moved(value, "parameters in between", 0.5)
        elif isinstance(value, np.ndarray):
            found[name] = np.roll(value, 1, axis=0)
    return found


def check_agreement(e: Example, backend: Backend) -> Iterator[str]:
    """A backend gives the numbers of NumPy, in float64."""
    ours, theirs = _everything(e, get_backend("numpy")), _everything(e, backend)
    fix = "write it with nolr.backends.namespace(array), not with numpy"
    for name, expected in ours.items():
        what, found = f"{name} on {backend.name}", theirs[name]
        if found is not None and type(found) is not type(backend.asarray(0.0)):
            yield f"{what}: expected an array from there, got {type(found).__name__}: {fix}"
            continue
        found = None if found is None else backend.to_host(found)
        yield from unequal(what, found, expected, fix, relative=AGREEMENT)


def _everything(e: Example, backend: Backend) -> dict[str, Array]:
    """All that the layer's methods return there."""
    params = {name: backend.asarray(own(array)) for name, array in e.params.items()}
    noise, x = backend.asarray(own(e.noise)), backend.asarray(own(e.x))
    score = backend.asarray(e.normal("score", (len(e.x), *e.noise_shape)))
    drive = e.layer.drive(params, x)
    (clean, past), (noisy, later) = (e.layer.respond(params, drive, eps) for eps in (None, noise))
    found = {"drive": drive, "clean y": clean, "past": past, "noisy y": noisy, "noisy past": later}
    found["gate"] = e.layer.gate(drive, past, e.sigma)
    for name, array in e.layer.pullback(x, past, score).items():
        found[f"pullback of {name!r}"] = array
    return found


INTERFACE: dict[str, Check] = {
    "attributes": check_attributes,
    "init": check_init,
    "shapes": check_shapes,
    "rows": check_rows,
    "copies": check_copies,
    "zero noise": check_zero_noise,
    "purity": check_purity,
}
