"""Citation graphs: toy files as Python 2 pickled them, what must be refused, and the real sets."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from python2_opcodes import array, dtype, integer, sequence, stored, string
from scipy.sparse import csr_array
from toy_sets import need_real, write_set

from nolr.data import Graph, load_citeseer, load_cora, load_pubmed
from nolr.data.catalogue import CATALOGUE
from nolr.data.planetoid import PICKLES, read_graph
from nolr.data.store import data_folder, read_checked, sha256_of
from nolr.errors import BadInput


def csr(dense, **replaced):
    matrix = csr_array(dense)
    state = {
        "_shape": sequence(*map(integer, matrix.shape)),
        "data": array(matrix.data),
        "indices": array(matrix.indices.astype("i4")),
        "indptr": array(matrix.indptr.astype("i4")),
    } | replaced
    entries = b"".join(string(name.encode()) + value for name, value in state.items())
    return b"cscipy.sparse.csr\ncsr_matrix\n)\x81}(" + entries + b"ub"


def lists(neighbours):
    entries = b"".join(
        integer(node) + b"](" + b"".join(map(integer, others)) + b"e"
        for node, others in neighbours.items()
    )
    return b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R(" + entries + b"u"


KNOWN = np.arange(24, dtype=np.float32).reshape(6, 4)
TESTED = 100 + np.arange(12, dtype=np.float32).reshape(3, 4)
CLASSES = np.eye(3, dtype=np.int32)


def toy_files():
    """Nodes 0..5 known, 6, 8, 9 tested (in the order 8, 6, 9); 7 is in none, as in Citeseer."""
    return {
        "x": stored(csr(KNOWN[:2])),
        "y": stored(array(CLASSES[[0, 1]])),
        "tx": stored(csr(TESTED)),
        "ty": stored(array(CLASSES[[2, 0, 1]])),
        "allx": stored(csr(KNOWN)),
        "ally": stored(array(CLASSES[[0, 1, 2, 2, 1, 0]])),
        "graph": stored(lists({0: [1, 1, 0], 1: [0, 8], 2: [9], 8: [1], 7: []})),
        "test.index": b"8\n6\n9\n",
    }


def toy_set(folder, contents):
    """A catalogue entry for files that this writes."""
    return write_set(folder, {f"ind.toy.{part}": content for part, content in contents.items()})


def test_every_node_gets_its_own_row(tmp_path):
    graph = read_graph(toy_set(tmp_path, toy_files()), tmp_path, validation=3)
    features = np.zeros((10, 4), np.float32)
    features[:6] = KNOWN
    features[[8, 6, 9]] = TESTED
    np.testing.assert_array_equal(graph.features.toarray(), features, strict=True)
    assert graph.labels.tolist() == [0, 1, 2, 2, 1, 0, 0, -1, 2, 1]
    assert graph.labels.dtype == np.int64
    edges = np.zeros((10, 10), np.float32)
    for a, b in ((0, 1), (1, 8), (2, 9)):
        edges[a, b] = edges[b, a] = 1
    np.testing.assert_array_equal(graph.edges.toarray(), edges, strict=True)
    assert graph.edges.nnz == 6
    assert graph.features.format == graph.edges.format == "csr"
    for part, nodes in (("train", [0, 1]), ("validation", [2, 3, 4]), ("test", [6, 8, 9])):
        assert getattr(graph, part).tolist() == nodes
        assert getattr(graph, part).dtype == np.int64


@pytest.mark.parametrize(
    ("part", "content", "words"),
    [
        ("allx", stored(array(KNOWN)), "allx.*expected a scipy CSR matrix, got ndarray"),
        ("allx", stored(csr(KNOWN, indices=array(np.full(23, 9, "i4")))), "allx.*CSR matrix"),
        ("allx", stored(csr(KNOWN, data=array(KNOWN[0]))), "allx.*CSR matrix"),
        ("allx", stored(csr(KNOWN, data=integer(3))), "allx.*CSR matrix"),
        ("allx", stored(csr(KNOWN[:4])), "ally.*expected 4 rows.*got 6"),
        ("tx", stored(csr(TESTED[:, :3])), "tx.*expected 4 columns, as allx has, got 3"),
        ("tx", stored(csr(TESTED[:2])), "ty.*expected 2 rows"),
        ("y", stored(array(np.array([0, 1]))), "y.*one 1 among 0"),
        ("ally", stored(array(CLASSES[[0, 1, 2, 2, 1, 0]] * 0)), "ally.*one 1 among 0"),
        ("ty", stored(integer(3)), "ty.*one 1 among 0, got int"),
        ("y", stored(array(CLASSES[[0, 1, 0, 1]])), "allx.*expected at least 7 rows, got 6"),
        ("graph", stored(integer(3)), "graph.*dictionary of lists, got int"),
        ("graph", stored(lists({0: [10]})), "graph.*nodes from 0 to 9"),
        ("graph", stored(lists({-1: [1]})), "graph.*nodes from 0 to 9"),
        ("graph", stored(b"}(" + integer(0) + integer(1) + b"u"), "graph.*lists of nodes"),
        ("test.index", b"8\n6\n", "test.index.*expected 3 lines, as tx has rows, got 2"),
        ("test.index", b"8\n6\n6\n", "test.index.*different nodes"),
        ("test.index", b"8\n6\n5\n", "test.index.*different nodes from 6 on"),
        ("test.index", b"8\n6\n5000000\n", "test.index.*nearly in a row"),
        ("test.index", b"8\n6\nx\n", "test.index.*a node a line"),
        ("test.index", b"", "test.index.*different nodes"),
    ],
)
def test_files_that_do_not_fit_are_refused_by_name(tmp_path, part, content, words):
    source = toy_set(tmp_path, toy_files() | {part: content})
    with pytest.raises(BadInput, match=words) as caught:
        read_graph(source, tmp_path, validation=3)
    assert "ind.toy." in str(caught.value)
    assert "\n" not in str(caught.value)


class Marker:
    """Pickles as a call that leaves a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_calls_something_is_refused_before_it_can(tmp_path):
    hostile = pickle.dumps(Marker(tmp_path / "trace"), protocol=2)
    with pytest.raises(BadInput, match=r"mkdir is not allowed") as caught:
        PICKLES.load(hostile, "ind.toy.x")
    assert "ind.toy.x" in str(caught.value)
    assert not (tmp_path / "trace").exists()
    pickle.loads(hostile)  # the negative control: Python's own reader does call it
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        stored(array(KNOWN))[:-30],
        stored(b"c__builtin__\neval\n" + sequence(string(b"1")) + b"R"),
        stored(b"cnumpy\nload\n"),
        stored(b"cbuiltins\nlist\n"),  # not one of the names in these files
        stored(dtype(b"O8")),
        stored(b"c__builtin__\nint\n" + sequence(string(b"x")) + b"R"),
        stored(b"h\x07"),
        stored(b"P1\n"),
    ],
)
def test_other_pickles_are_refused_as_well(content):
    with pytest.raises(BadInput, match="it is not a pickle of Planetoid"):
        PICKLES.load(content, "f")


def test_an_altered_file_is_not_unpickled(tmp_path):
    source = toy_set(tmp_path, toy_files())
    path = tmp_path / "toy" / "ind.toy.allx"
    hostile = pickle.dumps(Marker(tmp_path / "trace"), protocol=2)
    path.write_bytes(hostile.ljust(path.stat().st_size, b"."))
    with pytest.raises(BadInput, match="altered: expected sha256"):
        read_graph(source, tmp_path, validation=3)
    assert not (tmp_path / "trace").exists()


def test_missing_sets_say_how_to_get_them(tmp_path):
    with pytest.raises(BadInput, match="nolr data fetch cora"):
        load_cora(tmp_path)
    with pytest.raises(BadInput, match="nolr data fetch citeseer"):
        load_citeseer(tmp_path)
    with pytest.raises(BadInput, match="nolr data fetch pubmed"):
        load_pubmed(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": np.zeros(3, np.int64)}, "4 rows of features"),
        ({"edges": csr_array((4, 3))}, "4 rows of features"),
        ({"test": np.array([0])}, "different nodes"),
        ({"test": np.array([4])}, "numbered from 0 to 3"),
        ({"test": np.array([-1])}, "numbered from 0 to 3"),
        ({"test": np.array([3])}, "needs a label"),
    ],
)
def test_a_graph_is_checked_when_it_is_made(change, words):
    good = {
        "features": csr_array(np.eye(4, dtype=np.float32)),
        "labels": np.array([0, 1, 0, -1]),
        "edges": csr_array((4, 4), dtype=np.float32),
        "train": np.array([0]),
        "validation": np.array([1]),
        "test": np.array([2]),
    }
    Graph(**good)
    with pytest.raises(BadInput, match=words):
        Graph(**(good | change))


@pytest.mark.parametrize(
    ("name", "load", "nodes", "words", "edges", "counts", "unlabelled", "train"),
    [
        ("cora", load_cora, 2708, 1433, 5278, [351, 217, 418, 818, 426, 298, 180], 0, 140),
        ("citeseer", load_citeseer, 3327, 3703, 4552, [249, 590, 668, 701, 596, 508], 15, 120),
        ("pubmed", load_pubmed, 19717, 500, 44324, [4103, 7739, 7875], 0, 60),
    ],
)
def test_the_real_graphs(name, load, nodes, words, edges, counts, unlabelled, train):
    need_real(name)
    graph = load()
    assert graph.features.shape == (nodes, words)
    assert graph.features.dtype == graph.edges.dtype == np.float32
    assert graph.edges.nnz == 2 * edges
    assert (graph.edges != graph.edges.T).nnz == 0
    assert not graph.edges.diagonal().any()
    assert set(graph.edges.data) == {1}
    known = graph.labels >= 0
    assert np.bincount(graph.labels[known]).tolist() == counts
    assert np.sum(~known) == unlabelled
    assert graph.features[~known].nnz == 0
    # Not isolated, whatever they are called: `graph` gives these 15 nodes 16 neighbours.
    assert graph.edges[~known].nnz == (16 if unlabelled else 0)
    assert graph.train.tolist() == list(range(train))
    assert graph.validation.tolist() == list(range(train, train + 500))
    assert len(graph.test) == 1000
    assert graph.test[-1] == nodes - 1
    per_class = np.bincount(graph.labels[graph.train])
    assert per_class.tolist() == [20] * len(counts)


@pytest.mark.parametrize(
    ("name", "pairs"), [("cora", 10858), ("citeseer", 9464), ("pubmed", 88676)]
)
def test_the_real_files_agree_with_each_other(name, pairs):
    need_real(name)

    def part(end):
        file = f"ind.{name}.{end}"
        return PICKLES.load(read_checked(CATALOGUE[name], file), file)

    def dense(stored):
        return csr_array(
            (stored.data, stored.indices, stored.indptr), shape=stored._shape
        ).toarray()

    training = part("y")
    np.testing.assert_array_equal(part("ally")[: len(training)], training)
    np.testing.assert_array_equal(dense(part("allx"))[: len(training)], dense(part("x")))
    assert sum(map(len, part("graph").values())) == pairs


def test_the_seven_real_files_of_an_incomplete_pubmed():
    folder = data_folder() / "pubmed-incomplete"
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    files = [file for file in CATALOGUE["pubmed"].files if (folder / file.name).exists()]
    assert len(files) == 7
    for file in files:
        assert sha256_of(folder / file.name) == file.sha256
        assert (folder / file.name).stat().st_size == file.size
    lists = PICKLES.load((folder / "ind.pubmed.graph").read_bytes(), "ind.pubmed.graph")
    edges = {frozenset((node, other)) for node, others in lists.items() for other in others}
    assert len([edge for edge in edges if len(edge) == 2]) == 44324
    classes = PICKLES.load((folder / "ind.pubmed.ally").read_bytes(), "ind.pubmed.ally")
    tested = PICKLES.load((folder / "ind.pubmed.ty").read_bytes(), "ind.pubmed.ty")
    assert (classes.sum(axis=0) + tested.sum(axis=0)).tolist() == [4103, 7739, 7875]
