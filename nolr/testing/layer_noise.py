"""What makes a likelihood ratio of a layer unbiased: noise enters v, and z alone is carried on.

    v_t = drive_t(θ, x) + recurrence(θ, z_1 .. z_{t-1}),    z = v + ε,    y = f(z)
    ∇θ E[loss] = E[ loss · Σ_t (∂v_t/∂θ)ᵀ s_t ],    z held, s = -∇ε log p(ε)

Parameters must reach the loss through z and nothing else: what goes past it is a part of the
gradient that no score sees. And the pullback must be (∂v/∂θ)ᵀ, the past being held.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nolr.copies import tile
from nolr.testing.layer_example import Check, Example, NotRun, unequal
from nolr.types import Array

__all__ = ["NOISE"]

STEP = 1e-5  # of a central difference
DIFFERENCE = 1e-6  # what is left of its error


def check_past(e: Example) -> Iterator[str]:
    """The past is z: it takes the noise of a step whole, and none of later steps."""
    drive = e.drive()
    past = e.respond(drive, e.noise)[1]
    if past is None:
        raise NotRun("it is not recurrent")
    fix = "return z = v + ε of every step as the past, noise and all"
    for step in range(past.shape[1]):
        more = np.zeros_like(e.noise)
        more[:, step, ...] = e.normal("more", e.noise.shape)[:, step, ...]
        moved = e.respond(drive, e.noise + more)[1] - past
        until = slice(0, step + 1)
        what = f"change of the past by noise in step {step}"
        if broken := list(unequal(what, moved[:, until], more[:, until], fix)):
            yield broken[0]
            return


def check_noise(e: Example) -> Iterator[str]:
    """y depends on drive and noise through drive + noise alone: d may go from one to the other."""
    drive = e.drive()
    shift = e.normal("shift", drive.shape)
    before = e.respond(drive, e.noise)
    after = e.respond(drive + shift, e.noise - tile(shift, e.copies))
    fix = (
        "everything later must be a function of z = v + ε, so carry the noisy z on; a clean "
        "potential beside it takes the parameters past the noise, a bias"
    )
    for what, found, expected in zip(("y", "past"), after, before, strict=True):
        yield from unequal(f"{what} of (drive + d, noise - d)", found, expected, fix)


def check_parameters(e: Example) -> Iterator[str]:
    """Parameters reach y through v alone: z being the same, others give the same y."""
    drive = e.drive()
    y, past = e.respond(drive, e.noise)
    fix = (
        "no score sees what a parameter does after z, so its gradient is biased; make it a part "
        "of v (a threshold is a bias), or a constant of the layer"
    )
    for number in range(2):
        params = e.moved(e.params, f"other parameters {number}", 0.9)
        noise = e.noise if past is None else e.hold(params, drive, past)
        found = e.respond(drive, noise, params)[0]
        if broken := list(unequal("y of the same z under other parameters", found, y, fix)):
            yield broken[0]
            return


def check_pullback(e: Example) -> Iterator[str]:
    """⟨pullback(s), u⟩ = d/dh ⟨s, v(θ + h u | past)⟩ for random scores s and directions u.

    Of N rows with the clean past, which all copies may share, and of C·N rows with their own.
    """
    fix = "return (∂v/∂θ)ᵀ score, the past held, summed over rows and positions"
    wrong: set[str] = set()  # parameters, to say it of the fewer rows alone
    apart = np.concatenate([np.roll(e.x, copy, axis=0) for copy in range(e.copies)])
    for x, noise in ((e.x, None), (apart, e.noise)):
        past = e.respond(e.drive(x), noise)[1]
        score = e.normal("score", (len(x), *e.noise_shape))
        pulled, what = e.pullback(x, past, score), f"pullback of {len(x)} rows"
        if set(pulled) != set(e.params):
            yield f"{what}: expected {sorted(e.params)} as in init, got {sorted(pulled)}: {fix}"
            return
        for name in sorted(set(pulled) - wrong):
            array = e.params[name]
            if np.shape(pulled[name]) != array.shape:
                wrong.add(name)
                got = np.shape(pulled[name])
                yield f"{what}, {name!r}: expected shape {array.shape} as in init, got {got}: {fix}"
                continue
            direction = e.normal(f"direction of {name}", array.shape)
            along = float(np.sum(pulled[name] * direction))
            expected = _slope(e, name, direction, x, past, score)
            if not abs(along - expected) <= DIFFERENCE * max(1.0, abs(expected), abs(along)):
                wrong.add(name)
                hint = ""
                if np.isclose(along * len(x), expected, rtol=1e-4):
                    hint = f", which is 1/{len(x)} of it, a mean over rows"
                yield (
                    f"{what}, {name!r}: expected {expected:.6g} along a random direction (central "
                    f"differences of ⟨score, v⟩), got {along:.6g}{hint}: {fix}"
                )


def _slope(
    e: Example, name: str, direction: Array, x: Array, past: Array | None, score: Array
) -> float:
    """d/dh ⟨score, v(θ + h·direction | past)⟩."""
    values = []
    for h in (STEP, -STEP):
        params = {**e.params, name: e.params[name] + h * direction}
        values.append(np.sum(score * e.pre_activation(params, x, past)))
    return float(values[0] - values[1]) / (2 * STEP)


def check_pulls_past(e: Example) -> Iterator[str]:
    """Unless pulls_past, the pullback is the same whatever the past was."""
    drive = e.drive()
    past = e.respond(drive, None)[1]
    if past is None:
        raise NotRun("it is not recurrent")
    if e.layer.pulls_past:
        return
    score = e.normal("score", (len(e.x), *e.noise_shape))
    other = past + e.loud[: len(e.x)]
    pulled, again = e.pullback(e.x, past, score), e.pullback(e.x, other, score)
    fix = "announce pulls_past = True, or all copies share the clean past, a bias"
    for name in pulled:
        what = f"pullback of {name!r} under another past"
        yield from unequal(what, again[name], pulled[name], fix)


NOISE: dict[str, Check] = {
    "past": check_past,
    "noise": check_noise,
    "parameters": check_parameters,
    "pullback": check_pullback,
    "pulls_past": check_pulls_past,
}
