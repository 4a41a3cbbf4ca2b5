"""Quasi-random noise: Sobol points for pairs ±η, with a random shift of their own by sample.

The points of a digital net fill the unit cube more evenly than independent ones. In every dimension
they are integers of 32 bits, and exclusive or (⊕) with any shift leaves them a net. A shift that is
uniform on 0 .. 2³² - 1, drawn for every dimension and sample, makes every single point uniform and
samples independent (L'Ecuyer and Lemieux: Recent advances in randomized quasi-Monte Carlo methods;
2002). The inverse normal distribution function then makes white noise of it.

Pairs need care. The first direction of a Sobol net flips the leading bit of all dimensions, so its
points come in near mirror images: pairs of them are pairs twice, and worse than independent pairs
(1.4 times the variance in 32 dimensions, a linear loss). Here the leading bit is the sign of η, and
the others count how large |η| is. Then the first direction is the mirror itself: the points without
it, and their mirror images, are one net.

The directions are those of Joe and Kuo (SIAM Journal on Scientific Computing 30, 2008). The bits of
every dimension but the leading one are scrambled once and for all by a random triangular matrix
(Matoušek: On the L₂-discrepancy for anchored boxes; Journal of Complexity 14, 1998).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["MOST_DIMENSIONS", "quasi_normal"]

MOST_DIMENSIONS = 21_201  # of Joe and Kuo's directions; more units take another net, and so on
BITS = 32
NETS = 32  # that are remembered


def quasi_normal(
    rng: np.random.Generator, points: int, samples: int, units: int, dtype: str
) -> np.ndarray:
    """White noise whose points, together with their mirror images, are a net in every sample.

    Args:
        rng: draws the shifts.
        points: of every sample; a power of 2 is best.
        dtype: "float32" or "float64".

    Returns:
        (points, samples, units): every number is standard normal, samples are independent, and the
        numbers of one point are too. None is larger than 6.4 in absolute value.
    """
    from scipy.special import ndtri

    net = _net(points, units)
    shift = rng.bit_generator.random_raw((samples * units + 1) // 2).view(np.uint32)
    shift = shift[: samples * units].reshape(samples, units)
    # Stages that are noised together go through the net in orders of their own, or a unit of one
    # and a unit of another would move in step (Latin supercube sampling: Owen, 1998).
    net = net[rng.permutation(points)]
    normal = np.empty((points, samples, units), dtype)
    for place, point in zip(normal, net, strict=True):  # one at a time: they stay in the cache
        uniform = _with_sign(point ^ shift).astype(np.float64)
        uniform += 0.5
        uniform *= 2.0**-BITS
        place[...] = ndtri(uniform, out=uniform)
    return normal


def _with_sign(bits: np.ndarray) -> np.ndarray:
    """From a sign and a size to an integer: the lower bits turn where the leading one is 0."""
    flip = (bits >> (BITS - 1)) - 1
    flip >>= 1
    return bits ^ flip


@lru_cache(NETS)
def _net(points: int, units: int) -> np.ndarray:
    """The points, (points, units); beyond the directions there are, units take further nets."""
    blocks = [
        _scrambled(points, min(MOST_DIMENSIONS, units - start), start)[
            np.random.default_rng(start).permutation(points) if start else slice(None)
        ]
        for start in range(0, units, MOST_DIMENSIONS)
    ]
    net = np.concatenate([np.zeros((points, 0), np.uint32), *blocks], axis=1)
    net.flags.writeable = False
    return net


def _scrambled(points: int, units: int, seed: int) -> np.ndarray:
    """One net: each bit adds, modulo 2, some of the bits between it and the leading one."""
    net, rng = _sobol(points, units), np.random.default_rng(seed)
    leading = 1 << (BITS - 1)
    scrambled = net & np.uint32(leading)
    for bit in range(BITS - 1):
        between = leading - (2 << bit)
        rows = rng.integers(0, 1 << BITS, units, np.uint32) & np.uint32(between)
        parity = np.bitwise_count(net & (rows | np.uint32(1 << bit))) & 1
        scrambled |= parity.astype(np.uint32) << np.uint32(bit)
    return scrambled


def _sobol(points: int, units: int) -> np.ndarray:
    """Points of the Sobol sequence that do without the first direction."""
    from scipy.stats import qmc

    engine = qmc.Sobol(units, scramble=False, bits=BITS)
    every = engine.random_base2(max(points - 1, 0).bit_length() + 1)
    place = np.arange(len(every))
    without = (place ^ place >> 1) & 1 == 0  # their directions count up in a Gray code
    return (every[without][:points] * 2.0**BITS).astype(np.uint32)
