"""Testing: is an estimator unbiased, does a layer keep its contract, is a backend right?

    from nolr.testing import check_layer, check_unbiased
    print(check_layer(MyLayer(3, 2), (3,)))
    print(check_unbiased(estimator, network, params, (x, target), loss))

`check_unbiased` draws an estimator until a confidence sequence decides, and returns a certificate.
`check_layer` names everything that is wrong with a layer. `python -m nolr.testing --backend NAME`
tests a backend.
"""

from nolr.testing.backends import BackendReport, check_backend
from nolr.testing.certificate import BIASED, UNBIASED, UNDECIDED, Certificate, Finding
from nolr.testing.identities import check_score, constant_loss_residue, even_loss_residue
from nolr.testing.layers import LayerReport, check_layer
from nolr.testing.unbiased import check_unbiased

__all__ = [
    "BIASED",
    "UNBIASED",
    "UNDECIDED",
    "BackendReport",
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
