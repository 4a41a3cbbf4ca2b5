"""White draws by key: the same key the same numbers, any other key other numbers, all normal.

Samplers whose groups depend on each other have a file of their own, `test_coupled_samplers`.
"""

from __future__ import annotations

import numpy as np
import pytest
from conftest import open_backend
from scipy import stats

from nolr.backends import NAMES, get_backend
from nolr.backends.numpy import host_generator, host_normal
from nolr.errors import BadInput
from nolr.sampling import Antithetic, Independent, Orthogonal, Sobol, copy_groups
from nolr.types import Key, Stream

KEY = Key(seed=7, stream=Stream.NOISE, step=3, stage=2, block=1)
OTHER_KEYS = [
    KEY._replace(seed=8),
    KEY._replace(seed=7 + 2**40),
    KEY._replace(stream=Stream.INIT),
    KEY._replace(step=4),
    KEY._replace(stage=1),
    KEY._replace(block=0),
    KEY._replace(step=2, stage=3),  # fields are not added up
]


def dtype_of(backend, name):
    return getattr(backend.xp, name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_key_same_numbers(backend, dtype):
    first, again = (backend.normal(KEY, (5, 3), dtype_of(backend, dtype)) for _ in range(2))
    assert first.dtype == dtype_of(backend, dtype)
    np.testing.assert_array_equal(backend.to_host(first), backend.to_host(again))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("other", OTHER_KEYS, ids=str)
def test_any_other_field_other_numbers(backend, dtype, other):
    a, b = (
        backend.to_host(backend.normal(key, (2000,), dtype_of(backend, dtype)))
        for key in (KEY, other)
    )
    assert (a == b).mean() < 0.01
    # And they are uncorrelated, also when one is shifted: no overlapping streams.
    for shift in range(4):
        rho = np.corrcoef(a[shift:], b[: 2000 - shift])[0, 1]
        assert abs(rho) * np.sqrt(2000 - shift) < 5


def moments_z(x):
    """z-scores of the first four moments, and of the correlation of neighbours."""
    x = np.asarray(x, dtype=np.float64)
    n = x.size
    return np.array(
        [
            x.mean() * np.sqrt(n),
            (np.mean(x**2) - 1) * np.sqrt(n / 2),
            np.mean(x**3) * np.sqrt(n / 15),
            (np.mean(x**4) - 3) * np.sqrt(n / 96),
            np.mean(x[1:] * x[:-1]) * np.sqrt(n - 1),
        ]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments_are_those_of_a_standard_normal(backend, dtype):
    draws = backend.to_host(backend.normal(Key(1), (400_001,), dtype_of(backend, dtype)))
    assert np.abs(moments_z(draws)).max() < 5
    # Negative controls: one per cent too wide, and a Laplace of the same variance.
    assert np.abs(moments_z(1.01 * draws)).max() > 5
    laplace = np.random.default_rng(0).laplace(scale=np.sqrt(0.5), size=draws.size)
    assert np.abs(moments_z(laplace)).max() > 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distribution_is_normal(backend, dtype):
    draws = backend.to_host(backend.normal(Key(2), (300_000,), dtype_of(backend, dtype)))
    assert stats.kstest(draws.astype(np.float64), "norm").pvalue > 1e-3
    assert stats.kstest(1.02 * draws.astype(np.float64), "norm").pvalue < 1e-6  # negative control


def test_both_halves_of_box_muller_are_independent():
    # The float32 host draw puts all cosines before all sines of the same radii.
    draws = host_normal(Key(4), (200_000,), "float32").astype(np.float64)
    cosine, sine = np.split(draws, 2)
    for a, b in ((cosine, sine), (cosine**2 - 1, sine**2 - 1), (cosine**2 - 1, sine)):
        z = np.corrcoef(a, b)[0, 1] * np.sqrt(a.size)
        assert abs(z) < 5
    # The radii are shared, so a test that pairs the wrong way round must see it.
    radius = cosine**2 + sine**2
    assert abs(np.corrcoef(radius, cosine**2)[0, 1]) * np.sqrt(radius.size) > 50


def test_float32_tails_reach_and_stay_finite():
    draws = host_normal(Key(5), (2_000_000,), "float32")
    assert np.isfinite(draws).all()
    beyond = (np.abs(draws) > 4).sum()
    expected = draws.size * 2 * stats.norm.sf(4)
    assert abs(beyond - expected) < 5 * np.sqrt(expected)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 3, 5), (7, 0)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_shape_can_be_drawn(backend, shape, dtype):
    assert tuple(backend.normal(KEY, shape, dtype_of(backend, dtype)).shape) == shape


def test_a_longer_float64_draw_begins_with_the_shorter_one():
    np.testing.assert_array_equal(
        host_generator(KEY).standard_normal(9)[:4], host_normal(KEY, (4,), "float64")
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [Independent, Antithetic])
def test_host_source_is_the_same_on_every_backend(other_backend, kind, dtype):
    numpy = get_backend("numpy")
    draws = [
        b.to_host(kind(source="host").draw(b, KEY, 3, (4, 2), dtype_of(b, dtype)))
        for b in (numpy, other_backend)
    ]
    assert draws[0].dtype == draws[1].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(*draws)


@pytest.mark.parametrize("name", NAMES)
def test_groups_lead_the_shape(name):
    backend = open_backend(name)
    kinds = (Independent, Antithetic, Orthogonal, Sobol)
    for kind in [kind(source) for kind in kinds for source in ("device", "host")]:
        white = kind.draw(backend, KEY, 3, (4, 2, 5), backend.xp.float32)
        assert tuple(white.shape) == (3, 4, 2, 5)
        host = backend.to_host(white)
        assert len(np.unique(host)) > 0.99 * host.size  # no row of noise is used twice


def test_signs():
    assert Independent().signs == (1.0,)
    assert Antithetic().signs == (1.0, -1.0)
    assert Orthogonal().signs == Sobol().signs == Antithetic().signs
    assert sum(Antithetic().signs) == 0  # so that everything even cancels


def test_unknown_source_suggests_the_nearest():
    with pytest.raises(BadInput, match="did you mean 'device'"):
        Independent("devise")
    with pytest.raises(BadInput, match="did you mean 'host'"):
        Antithetic("hsot")
    for kind in (Orthogonal, Sobol):
        with pytest.raises(BadInput, match="did you mean 'device'"):
            kind("devise")


@pytest.mark.parametrize(
    ("sampler", "copies", "groups"),
    [
        (Independent(), 1, 1),
        (Independent(), 5, 5),
        (Antithetic(), 2, 1),
        (Antithetic(), 6, 3),
        (Orthogonal(), 6, 3),
        (Sobol(), 6, 3),
    ],
)
def test_copy_groups(sampler, copies, groups):
    assert copy_groups(sampler, copies) == groups


@pytest.mark.parametrize("copies", [0, -2])
def test_too_few_copies_are_refused(copies):
    for sampler in (Independent(), Antithetic()):
        with pytest.raises(BadInput, match="at least 1"):
            copy_groups(sampler, copies)


@pytest.mark.parametrize("copies", [1, 3, 7])
@pytest.mark.parametrize("kind", [Antithetic, Orthogonal, Sobol])
def test_half_a_pair_is_refused_with_the_fix(kind, copies):
    words = f"sampler '{kind.__name__.lower()}', got {copies}: choose {copies + 1}, or"
    with pytest.raises(BadInput, match=words):
        copy_groups(kind(), copies)
