"""The data sets nolr can download: where every official file lies, its length and its checksum.

The checksums pin the official files byte for byte (for MNIST and Fashion-MNIST they belong to the
files whose md5 torchvision and the Fashion-MNIST README publish), so a mirror, a proxy or a broken
disk cannot slip in other data unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass

from nolr.errors import BadInput, nearest

__all__ = ["CATALOGUE", "SourceFile", "SourceSet", "find_set"]

MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FASHION_MNIST = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
PLANETOID = "https://github.com/kimiyoung/planetoid/raw/master/data/"


@dataclass(frozen=True)
class SourceFile:
    """One official file of a set.

    Attributes:
        folder: name of the set, and of its sub-folder of the data folder.
        size: in bytes.
        sha256: 64 hexadecimal digits.
    """

    folder: str
    name: str
    url: str
    size: int
    sha256: str


@dataclass(frozen=True)
class SourceSet:
    """A data set as its authors publish it: files, licence and what to cite."""

    name: str
    files: tuple[SourceFile, ...]
    licence: str
    citation: str

    @property
    def size(self) -> int:
        """Of all files together, in bytes."""
        return sum(file.size for file in self.files)

    def file(self, name: str) -> SourceFile:
        """The file of this name.

        Raises:
            BadInput: the set has no such file.
        """
        for file in self.files:
            if file.name == name:
                return file
        names = [file.name for file in self.files]
        raise BadInput(f"{self.name} has no file {name!r}{nearest(name, names)}")


def find_set(name: str) -> SourceSet:
    """The set of this name.

    Raises:
        BadInput: there is none, naming those there are.
    """
    if name not in CATALOGUE:
        raise BadInput(f"there is no data set {name!r} to download{nearest(name, CATALOGUE)}")
    return CATALOGUE[name]


def _files(
    folder: str, base: str, rows: tuple[tuple[str, int, str], ...]
) -> tuple[SourceFile, ...]:
    return tuple(SourceFile(folder, name, base + name, size, sha) for name, size, sha in rows)


# fmt: off
_MNIST_FILES = _files("mnist", MNIST, (
    ("t10k-images-idx3-ubyte.gz", 1_648_877,
     "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    ("t10k-labels-idx1-ubyte.gz", 4_542,
     "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ("train-images-idx3-ubyte.gz", 9_912_422,
     "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    ("train-labels-idx1-ubyte.gz", 28_881,
     "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
))
_FASHION_FILES = _files("fashion-mnist", FASHION_MNIST, (
    ("t10k-images-idx3-ubyte.gz", 4_422_102,
     "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    ("t10k-labels-idx1-ubyte.gz", 5_148,
     "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ("train-images-idx3-ubyte.gz", 26_421_880,
     "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    ("train-labels-idx1-ubyte.gz", 29_515,
     "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
))
_CORA_FILES = _files("cora", PLANETOID, (
    ("ind.cora.allx", 257_305,
     "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543"),
    ("ind.cora.ally", 47_959,
     "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71"),
    ("ind.cora.graph", 59_847,
     "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d"),
    ("ind.cora.test.index", 5_000,
     "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875"),
    ("ind.cora.tx", 148_025,
     "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a"),
    ("ind.cora.ty", 28_135,
     "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad"),
    ("ind.cora.x", 22_119,
     "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab"),
    ("ind.cora.y", 4_054,
     "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1"),
))
_CITESEER_FILES = _files("citeseer", PLANETOID, (
    ("ind.citeseer.allx", 595_021,
     "2ac30345d95c9ec933a817ee0bdd6a5f077f8c184a20e696910192d534414668"),
    ("ind.citeseer.ally", 55_623,
     "f704b2d986dde6c2669934de1f3ae5696a6cf9455c0f6b2646a2d135ea0a1c95"),
    ("ind.citeseer.graph", 61_987,
     "d79a4ef9d3e7169aee8946145f6b7306e35bc79bffad26346cfb94e10e9912a7"),
    ("ind.citeseer.test.index", 5_000,
     "2af990671580b6b2df5d158d1038f8292e30c9cd821b5453f399659b25b723d4"),
    ("ind.citeseer.tx", 260_321,
     "539a8906a2da97628d212f2fdd668c109a8b3f0d36574b59e5d3fd5b5303da21"),
    ("ind.citeseer.ty", 24_135,
     "55e5bd1ba1e733a04598753ad1a8d57957f4b8f89e74519f41f4f4938767e4ce"),
    ("ind.citeseer.x", 31_087,
     "d20de19150741e555de0ed037195630fc194114ebc7fd72ced62810148aa22f6"),
    ("ind.citeseer.y", 3_014,
     "8ba87e515d8e3ee3cf52f6d2c5b86aa73f11ecad825a808455209ec26cd54924"),
))
# fmt: on

_PLANETOID_LICENCE = (
    "repository under MIT, Copyright 2016 Zhilin Yang; none stated for the data (LINQS group)"
)
_PLANETOID_CITATION = (
    "Z. Yang, W. W. Cohen, R. Salakhutdinov: Revisiting Semi-Supervised Learning with Graph "
    "Embeddings, ICML 2016; P. Sen, G. Namata, M. Bilgic, L. Getoor, B. Gallagher, T. Eliassi-Rad: "
    "Collective Classification in Network Data, AI Magazine 29(3), 2008"
)

CATALOGUE: dict[str, SourceSet] = {
    source.name: source
    for source in (
        SourceSet(
            "mnist",
            _MNIST_FILES,
            "CC BY-SA 3.0, copyright Yann LeCun and Corinna Cortes, says the Keras documentation",
            "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to "
            "document recognition, Proceedings of the IEEE 86(11):2278-2324, 1998",
        ),
        SourceSet(
            "fashion-mnist",
            _FASHION_FILES,
            "MIT, Copyright 2017 Zalando SE",
            "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking "
            "Machine Learning Algorithms, arXiv:1708.07747, 2017",
        ),
        SourceSet("cora", _CORA_FILES, _PLANETOID_LICENCE, _PLANETOID_CITATION),
        SourceSet("citeseer", _CITESEER_FILES, _PLANETOID_LICENCE, _PLANETOID_CITATION),
    )
}
