"""Testing: is an estimator unbiased, does a layer keep its contract, is a backend right?

    from nolr.testing import check_layer, check_unbiased
    print(check_layer(MyLayer(3, 2), (3,)))
    print(check_unbiased(estimator, network, params, (x, target), loss))

`check_unbiased` draws an estimator until a confidence sequence decides, and returns a certificate.
`check_layer` names everything that is wrong with a layer. `python -m nolr.testing --backend NAME`
tests a backend.

With pytest installed, tests have the fixtures `certify` and `assert_layer` (`nolr.testing.plugin`);
with Hypothesis, `nolr.testing.strategies` draws networks, batches and estimators. Neither is needed
here, and everything is imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nolr.testing.backends import BackendReport, check_backend
    from nolr.testing.case import Case
    from nolr.testing.certificate import BIASED, UNBIASED, UNDECIDED, Certificate, Finding
    from nolr.testing.identities import check_score, constant_loss_residue, even_loss_residue
    from nolr.testing.layers import LayerReport, check_layer
    from nolr.testing.unbiased import check_unbiased

_HOMES = {
    "nolr.testing.backends": ("BackendReport", "check_backend"),
    "nolr.testing.case": ("Case",),
    "nolr.testing.certificate": ("BIASED", "UNBIASED", "UNDECIDED", "Certificate", "Finding"),
    "nolr.testing.identities": ("check_score", "constant_loss_residue", "even_loss_residue"),
    "nolr.testing.layers": ("LayerReport", "check_layer"),
    "nolr.testing.unbiased": ("check_unbiased",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BIASED",
    "UNBIASED",
    "UNDECIDED",
    "BackendReport",
    "Case",
    "Certificate",
    "Finding",
    "LayerReport",
    "check_backend",
    "check_layer",
    "check_score",
    "check_unbiased",
    "constant_loss_residue",
    "even_loss_residue",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'nolr.testing' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
