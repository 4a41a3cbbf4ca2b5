"""Cora, Citeseer and Pubmed with the Planetoid split: papers, their words, and who cites whom.

The official files are pickles of Python 2, and a pickle runs code when it is loaded. So a file is
loaded only after its sha256 agrees with the catalogue, and then by an unpickler that knows only
what these files need.

Source: Z. Yang, W. W. Cohen, R. Salakhutdinov: Revisiting Semi-Supervised Learning with Graph
Embeddings, ICML 2016, https://github.com/kimiyoung/planetoid; the order of the nodes as in
T. N. Kipf, M. Welling: Semi-Supervised Classification with Graph Convolutional Networks, ICLR 2017.
"""

from __future__ import annotations

import collections
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from nolr.data.catalogue import CATALOGUE
from nolr.data.graph import Graph
from nolr.data.python2_pickle import ARRAYS, PickleFormat
from nolr.data.source import SourceSet
from nolr.data.store import read_checked
from nolr.errors import BadInput

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["load_citeseer", "load_cora", "load_pubmed", "read_graph"]

VALIDATION = 500  # nodes after the training nodes, as in Kipf and Welling


class StoredCSR:
    """The attributes of a pickled csr_matrix: data, indices, indptr, _shape, not yet checked.

    Not scipy's own class, because what that makes of the attributes of another age is its affair.
    """


PICKLES = PickleFormat(
    "Planetoid",
    ARRAYS
    | {
        ("scipy.sparse.csr", "csr_matrix"): StoredCSR,
        ("collections", "defaultdict"): collections.defaultdict,
        ("__builtin__", "list"): list,
        ("__builtin__", "int"): int,
    },
)


def load_cora(folder: str | os.PathLike[str] | None = None) -> Graph:
    """2708 papers, 1433 words, 7 classes, 5278 edges; 140 / 500 / 1000 nodes of the split.

    Args:
        folder: the data folder, which has a sub-folder cora/; see nolr.data.store.data_folder.

    Raises:
        BadInput: a file is missing, truncated or altered.

    Source: the top of this file; the data: P. Sen et al.: Collective Classification in Network
    Data, AI Magazine 29(3), 2008.
    """
    return read_graph(CATALOGUE["cora"], folder)


def load_citeseer(folder: str | os.PathLike[str] | None = None) -> Graph:
    """3327 papers, 3703 words, 6 classes, 4552 edges; 120 / 500 / 1000 nodes of the split.

    15 papers are in `graph` only: their features are 0, their labels -1, and they are in no part of
    the split. Readers of Planetoid call them isolated; in the official file each has an edge or two
    all the same, and these are kept.

    Args:
        folder: the data folder, which has a sub-folder citeseer/; see nolr.data.store.data_folder.

    Raises:
        BadInput: a file is missing, truncated or altered.

    Source: the top of this file; the data: P. Sen et al.: Collective Classification in Network
    Data, AI Magazine 29(3), 2008.
    """
    return read_graph(CATALOGUE["citeseer"], folder)


def load_pubmed(folder: str | os.PathLike[str] | None = None) -> Graph:
    """19717 papers, 500 words, 3 classes, 44324 edges; 60 / 500 / 1000 nodes of the split.

    The features are weights of the words (tf-idf), where those of Cora and Citeseer are 0 and 1.

    Args:
        folder: the data folder, which has a sub-folder pubmed/; see nolr.data.store.data_folder.

    Raises:
        BadInput: a file is missing, truncated or altered.

    Source: the top of this file; the data: G. Namata, B. London, L. Getoor, B. Huang: Query-driven
    Active Surveying for Collective Classification, 2012.
    """
    return read_graph(CATALOGUE["pubmed"], folder)


def read_graph(
    source: SourceSet,
    folder: str | os.PathLike[str] | None = None,
    validation: int = VALIDATION,
) -> Graph:
    """The graph in the eight files of any catalogue entry in the form of Planetoid.

    The nodes are numbered as `graph` numbers them: first the rows of allx, of which the first are
    the training nodes; then those of tx, whose k-th row is the node in the k-th line of test.index.

    Raises:
        BadInput: a file is missing, altered, not of this form, or does not fit the others.
    """
    from scipy.sparse import csr_array, vstack

    def part(name: str) -> Any:
        return PICKLES.load(_content(source, name, folder), f"ind.{source.name}.{name}")

    known, tested = _csr(part("allx"), source, "allx"), _csr(part("tx"), source, "tx")
    known_labels = _classes(part("ally"), known.shape[0], source, "ally")
    tested_labels = _classes(part("ty"), tested.shape[0], source, "ty")
    training = len(_one_hot(part("y"), source, "y"))
    test = _test_index(_content(source, "test.index", folder), known.shape[0], source)
    if len(test) != tested.shape[0]:
        raise _unfit(source, "test.index", f"{tested.shape[0]} lines, as tx has rows", len(test))
    if tested.shape[1] != known.shape[1]:
        raise _unfit(source, "tx", f"{known.shape[1]} columns, as allx has", tested.shape[1])
    if training + validation > known.shape[0]:
        raise _unfit(source, "allx", f"at least {training + validation} rows", known.shape[0])

    nodes = int(test.max()) + 1
    # Every node's row among those of allx, those of tx, and one of zeros for who is in neither.
    row = np.full(nodes, known.shape[0] + tested.shape[0])
    row[: known.shape[0]] = np.arange(known.shape[0])
    row[test] = known.shape[0] + np.arange(len(test))
    nothing = csr_array((1, known.shape[1]), dtype=np.float32)
    features = csr_array(vstack([known, tested, nothing], format="csr")[row])
    labels = np.concatenate([known_labels, tested_labels, [-1]])[row]
    return Graph(
        features=features,
        labels=labels,
        edges=_edges(part("graph"), nodes, source),
        train=np.arange(training),
        validation=np.arange(training, training + validation),
        test=np.sort(test),
    )


def _content(source: SourceSet, name: str, folder: str | os.PathLike[str] | None) -> bytes:
    return read_checked(source, f"ind.{source.name}.{name}", folder)


def _csr(stored: Any, source: SourceSet, name: str) -> csr_array:
    """The sparse matrix of a pickle (rows, columns), its indices checked by scipy."""
    from scipy.sparse import csr_array

    if not isinstance(stored, StoredCSR):
        raise _unfit(source, name, "a scipy CSR matrix", type(stored).__name__)
    try:
        state = vars(stored)
        entries = (state["data"].astype(np.float32), state["indices"], state["indptr"])
        matrix = csr_array(entries, shape=state["_shape"])
        matrix.check_format(full_check=True)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise _unfit(source, name, "a scipy CSR matrix", error) from None
    return matrix


def _one_hot(stored: Any, source: SourceSet, name: str) -> np.ndarray:
    """Labels (rows, classes), one 1 in every row."""
    if not (
        isinstance(stored, np.ndarray)
        and stored.ndim == 2
        and np.isin(stored, (0, 1)).all()
        and (stored.sum(axis=1) == 1).all()
    ):
        raise _unfit(source, name, "rows with one 1 among 0", _in_words(stored))
    return stored


def _classes(stored: Any, rows: int, source: SourceSet, name: str) -> np.ndarray:
    """Labels (rows,), int64, from one-hot rows."""
    one_hot = _one_hot(stored, source, name)
    if len(one_hot) != rows:
        raise _unfit(source, name, f"{rows} rows, as its features have", len(one_hot))
    return one_hot.argmax(axis=1).astype(np.int64)


def _test_index(content: bytes, first: int, source: SourceSet) -> np.ndarray:
    """Node of every row of tx, (rows,), int64: different nodes, the lowest is `first`."""
    try:
        index = np.array([int(line) for line in content.split()], np.int64)
    except (ValueError, OverflowError) as error:
        raise _unfit(source, "test.index", "a node a line", error) from None
    if len(index) == 0 or len(np.unique(index)) != len(index) or index.min() < first:
        raise _unfit(source, "test.index", f"different nodes from {first} on", index[:9].tolist())
    if index.max() >= first + 10 * len(index):  # numbers nearly in a row, or a wrong file
        raise _unfit(source, "test.index", "nodes nearly in a row", int(index.max()))
    return index


def _edges(neighbours: Any, nodes: int, source: SourceSet) -> csr_array:
    """Symmetric adjacency (nodes, nodes) of {node: [neighbour, ...]}, without loops, of ones.

    The lists name most edges twice, some more often, and some nodes as their own neighbours.
    """
    from scipy.sparse import csr_array

    if not isinstance(neighbours, dict):
        raise _unfit(source, "graph", "a dictionary of lists", type(neighbours).__name__)
    try:
        pairs = np.array(
            [(node, other) for node, others in neighbours.items() for other in others], np.int64
        ).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError) as error:
        raise _unfit(source, "graph", "a dictionary of lists of nodes", error) from None
    if np.any((pairs < 0) | (pairs >= nodes)):
        raise _unfit(source, "graph", f"nodes from 0 to {nodes - 1}", pairs.max())
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    ones = np.ones(len(pairs), np.float32)
    return csr_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(nodes, nodes))


def _in_words(stored: Any) -> str:
    """What came, on one line."""
    if isinstance(stored, np.ndarray):
        return f"{stored.dtype} of shape {stored.shape} that are not"
    return type(stored).__name__


def _unfit(source: SourceSet, name: str, expected: str, got: object) -> BadInput:
    return BadInput(f"'ind.{source.name}.{name}' is not as it should be: expected {expected}, got "
                    f"{got}; get the file anew from where it is from")  # fmt: skip
