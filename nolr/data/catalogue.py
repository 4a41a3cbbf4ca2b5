"""The data sets nolr knows, each with the length and the sha256 of every file.

The checksums pin the files byte for byte, so a mirror, a proxy or a broken disk cannot slip in
other data unnoticed. The files of every family are listed in nolr/data/sources/.
"""

from __future__ import annotations

from nolr.data.source import SourceSet
from nolr.data.sources.ag_news import AG_NEWS, AG_NEWS_PART
from nolr.data.sources.cifar10 import CIFAR10, CIFAR10_JPEG, CIFAR10_SUBSET
from nolr.data.sources.mnist import FASHION_MNIST, MNIST
from nolr.data.sources.planetoid import CITESEER, CORA, PUBMED
from nolr.errors import BadInput, nearest

__all__ = ["CATALOGUE", "find_set"]

CATALOGUE: dict[str, SourceSet] = {
    source.name: source
    for source in (
        MNIST,
        FASHION_MNIST,
        CIFAR10,
        CIFAR10_SUBSET,
        CIFAR10_JPEG,
        CORA,
        CITESEER,
        PUBMED,
        AG_NEWS,
        AG_NEWS_PART,
    )
}


def find_set(name: str) -> SourceSet:
    """The set of this name.

    Raises:
        BadInput: there is none, naming those there are.
    """
    if name not in CATALOGUE:
        raise BadInput(f"there is no data set {name!r}{nearest(name, CATALOGUE)}")
    return CATALOGUE[name]
