"""Files of data sets: found where they should lie, checked, and downloaded from a local server."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from local_server import send, serving
from toy_sets import NOWHERE, describe, make_set, need_real

from nolr.data import store
from nolr.data.catalogue import CATALOGUE, find_set
from nolr.data.download import fetch
from nolr.data.store import available, data_folder, inspect, locate, read_checked, survey
from nolr.errors import BadInput

CONTENT = bytes(range(256)) * 5000  # more than one chunk


def toy(content=CONTENT, url=NOWHERE, **more):
    """A catalogue entry of one file."""
    return make_set(describe("toy.bin", content, url), **more)


def place(folder, content):
    (folder / "toy").mkdir(exist_ok=True)
    (folder / "toy" / "toy.bin").write_bytes(content)
    return folder / "toy" / "toy.bin"


def test_the_catalogue_is_well_formed():
    assert list(CATALOGUE) == [
        "mnist",
        "fashion-mnist",
        "cifar-10",
        "cifar-10-subset",
        "cifar-10-jpeg",
        "cora",
        "citeseer",
        "pubmed",
        "ag-news",
        "ag-news-part",
    ]
    for name, source in CATALOGUE.items():
        assert source.name == name
        assert source.size == sum(file.size for file in source.files)
        assert "\n" not in source.licence + source.citation + source.origin
        # Either all of it can be downloaded, or the set says what to do instead.
        assert all(file.url for file in source.files) == (not source.origin)
        files = [file for version in source.versions for file in version]
        assert len({file.name for file in files}) == len(files)
        for file in files:
            assert file.url is None or file.url.endswith("/" + file.name)
            assert file.url is None or file.url.startswith("http")
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.size > 0
            assert source.file(file.name) is file


def test_no_two_files_in_the_catalogue_have_one_checksum():
    """A line copied and not changed would show here."""
    files = {
        (source.folder, file)
        for source in CATALOGUE.values()
        for version in source.versions
        for file in version
    }
    assert len({file.sha256 for _, file in files}) == len(files) == 4 + 4 + 14 + 6 + 9 + 3 * 8 + 4


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(BadInput, match="did you mean 'cora'"):
        find_set("core")
    with pytest.raises(BadInput, match=r"cora has no file .*; did you mean 'ind.cora.x'"):
        find_set("cora").file("ind.cora.xx")


def test_the_folder_is_the_one_given_else_of_the_environment_else_datasets(monkeypatch):
    monkeypatch.delenv("NOLR_DATA", raising=False)
    assert data_folder() == Path("datasets")
    monkeypatch.setenv("NOLR_DATA", "")
    assert data_folder() == Path("datasets")
    monkeypatch.setenv("NOLR_DATA", "elsewhere")
    assert data_folder() == Path("elsewhere")
    assert data_folder("given") == Path("given")


def test_a_good_file_is_found(tmp_path):
    path = place(tmp_path, CONTENT)
    source = toy()
    assert locate(source, "toy.bin", tmp_path) == path
    assert read_checked(source, "toy.bin", tmp_path) == CONTENT
    assert inspect(source, source.files[0], tmp_path).state == "complete"


@pytest.mark.parametrize(
    ("content", "state", "words"),
    [
        (None, "missing", ["it is not there"]),
        (CONTENT[:-1], "altered", ["expected 1280000 bytes, got 1279999"]),
        (CONTENT + b"!", "altered", ["expected 1280000 bytes, got 1280001"]),
        (
            b"!" + CONTENT[1:],
            "altered",
            [
                f"expected sha256 {hashlib.sha256(CONTENT).hexdigest()}",
                f"got {hashlib.sha256(b'!' + CONTENT[1:]).hexdigest()}",
            ],
        ),
    ],
    ids=["missing", "truncated", "too long", "altered"],
)
@pytest.mark.parametrize("read", [locate, read_checked])
def test_a_bad_file_is_named_with_the_fix(tmp_path, content, state, words, read):
    if content is not None:
        place(tmp_path, content)
    source = toy()
    assert inspect(source, source.files[0], tmp_path).state == state
    with pytest.raises(BadInput) as caught:
        read(source, "toy.bin", tmp_path)
    for word in [*words, "toy.bin", "nolr data fetch toy", "--data-dir", "NOLR_DATA"]:
        assert word in str(caught.value)


def two_versions(**more):
    """A set that one archive holds, or two loose files."""
    loose = (describe("a.bin", b"a"), describe("b.bin", b"bb"))
    return make_set(describe("all.tar", CONTENT), alternatives=(loose,), **more)


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_any_complete_version_will_do(tmp_path):
    source = two_versions()
    with pytest.raises(BadInput, match=r"all\.tar.*not there.*nolr data fetch toy"):
        available(source, tmp_path)
    put(tmp_path / "toy" / "b.bin", b"!!")
    assert [finding.state for finding in survey(source, tmp_path)] == ["missing", "altered"]
    put(tmp_path / "toy" / "b.bin", b"bb")
    with pytest.raises(
        BadInput, match=r"a\.bin.*not there"
    ):  # of the version half of which is there
        available(source, tmp_path)
    assert [finding.state for finding in survey(source, tmp_path)] == ["missing", "complete"]
    put(tmp_path / "toy" / "a.bin", b"a")
    assert [file.name for file in available(source, tmp_path)] == ["a.bin", "b.bin"]
    put(tmp_path / "toy" / "all.tar", CONTENT[:-1])
    assert [file.name for file in available(source, tmp_path)] == ["a.bin", "b.bin"]
    put(tmp_path / "toy" / "all.tar", CONTENT)
    assert [file.name for file in available(source, tmp_path)] == ["all.tar"]
    put(tmp_path / "toy" / "all.tar", CONTENT[:-1])
    put(tmp_path / "toy" / "b.bin", b"b!")
    with pytest.raises(BadInput, match=r"b\.bin.*altered"):
        available(source, tmp_path)


def test_nothing_is_downloaded_where_an_alternative_is_complete(tmp_path):
    source = two_versions()
    put(tmp_path / "toy" / "a.bin", b"a")
    put(tmp_path / "toy" / "b.bin", b"bb")
    seen = []
    paths = fetch(source, tmp_path, lambda file, count: seen.append((file.name, count)))
    assert [path.name for path in paths] == ["a.bin", "b.bin"]
    assert seen == [("a.bin", 1), ("b.bin", 2)]


def test_files_may_lie_where_other_programs_unpack_them(tmp_path):
    source = two_versions(elsewhere=("toy/unpacked", "unpacked", ""))
    put(tmp_path / "toy" / "unpacked" / "a.bin", b"a")
    put(tmp_path / "b.bin", b"bb")
    assert locate(source, "a.bin", tmp_path) == tmp_path / "toy" / "unpacked" / "a.bin"
    assert read_checked(source, "b.bin", tmp_path) == b"bb"
    put(tmp_path / "toy" / "a.bin", b"!")  # its own folder comes first, even where it is wrong
    with pytest.raises(BadInput, match="altered"):
        locate(source, "a.bin", tmp_path)


def test_a_set_without_addresses_says_what_to_do_instead(tmp_path):
    source = make_set(
        describe("a.bin", b"a"), describe("b.bin", b"bb", url=None), origin="it is a gift"
    )
    words = r"toy cannot be downloaded: it is a gift"
    with pytest.raises(BadInput, match=rf"a\.bin.*{words}, or name the data folder"):
        locate(source, "a.bin", tmp_path)
    with pytest.raises(BadInput, match=rf"{words} \(.*b\.bin.*not there"):
        fetch(source, tmp_path)
    assert not (tmp_path / "toy").exists()  # nothing was tried that could not be of use
    put(tmp_path / "toy" / "b.bin", b"bb")
    with serving(lambda handler: send(handler, b"a")) as (url, _):
        source = make_set(describe("a.bin", b"a", url), source.files[1], origin="it is a gift")
        assert [path.read_bytes() for path in fetch(source, tmp_path)] == [b"a", b"bb"]


def test_a_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
    path = place(tmp_path, CONTENT)
    source = toy()
    hashed = []
    monkeypatch.setattr(store, "sha256_of", lambda p: hashed.append(p) or source.files[0].sha256)
    for _ in range(3):
        locate(source, "toy.bin", tmp_path)
    assert hashed == [path]
    later = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(later, later))
    locate(source, "toy.bin", tmp_path)
    assert hashed == [path, path]


def test_a_file_altered_after_it_was_checked_is_noticed(tmp_path):
    path = place(tmp_path, CONTENT)
    source = toy()
    locate(source, "toy.bin", tmp_path)
    before = path.stat()
    time.sleep(0.02)  # more than the grain of the file system's clock
    path.write_bytes(b"!" + CONTENT[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if os.name == "posix":  # where the time of a change cannot be set back
        with pytest.raises(BadInput, match="altered"):
            locate(source, "toy.bin", tmp_path)


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="needs a user whom file modes bind"
)
def test_an_unreadable_file_is_named(tmp_path):
    place(tmp_path, CONTENT).chmod(0)
    with pytest.raises(BadInput, match=r"cannot read .*toy\.bin.*Permission"):
        locate(toy(), "toy.bin", tmp_path)


def test_fetch_downloads_reports_and_then_asks_no_more(tmp_path):
    seen = []
    with serving(lambda handler: send(handler, CONTENT)) as (url, asked):
        source = toy(url=url)
        for _ in range(2):
            (path,) = fetch(source, tmp_path, lambda f, n: seen.append(n))
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["toy.bin"]
    assert asked == [None]
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, len(CONTENT))


def test_fetch_replaces_an_altered_file(tmp_path):
    path = place(tmp_path, b"x" * len(CONTENT))
    with serving(lambda handler: send(handler, CONTENT)) as (url, _):
        fetch(toy(url=url), tmp_path)
    assert path.read_bytes() == CONTENT


def break_off(handler):
    """Promise everything, send 700,000 bytes, hang up; when asked again, send the rest."""
    if handler.headers.get("Range") is None:
        send(handler, CONTENT[:700_000], promised=len(CONTENT))
    else:
        send(handler, CONTENT)


def test_fetch_goes_on_where_it_broke_off(tmp_path):
    with serving(break_off) as (url, asked):
        source = toy(url=url)
        with pytest.raises(BadInput, match=r"broke off after 700000 of 1280000 bytes.*again"):
            fetch(source, tmp_path)
        assert not (tmp_path / "toy" / "toy.bin").exists()
        (path,) = fetch(source, tmp_path)
    assert asked == [None, "bytes=700000-"]
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["toy.bin"]


def test_fetch_goes_on_through_a_redirection_as_well(tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / ".toy.bin.part").write_bytes(CONTENT[:5])

    def redirect(handler):
        if handler.path == "/elsewhere":
            send(handler, CONTENT)
            return
        handler.send_response(302)
        handler.send_header("Location", "/elsewhere")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with serving(redirect) as (url, asked):
        (path,) = fetch(toy(url=url), tmp_path)
    assert asked == ["bytes=5-", "bytes=5-"]
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("part", [CONTENT[:9], CONTENT, CONTENT + b"more", b"wrong" * 9])
@pytest.mark.parametrize("honour_range", [True, False])
def test_fetch_ends_well_whatever_was_left_and_whatever_the_server_can(
    tmp_path, part, honour_range
):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / ".toy.bin.part").write_bytes(part)
    with serving(lambda handler: send(handler, CONTENT, honour_range=honour_range)) as (url, _):
        (path,) = fetch(toy(url=url), tmp_path)
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["toy.bin"]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"!" + CONTENT[1:], "something else than the official file: expected sha256"),
        (CONTENT + b"!", "expected 1280000 bytes, got 1280001"),
        (b"<html>log in to the hotel</html>", "expected 1280000 bytes, got 32"),
    ],
    ids=["altered", "longer", "shorter"],
)
def test_a_corrupt_answer_never_reaches_its_place(tmp_path, sent, words):
    path = place(tmp_path, b"old")
    with serving(lambda handler: send(handler, sent)) as (url, _):
        source = toy(url=url)
        with pytest.raises(BadInput, match=words):
            fetch(source, tmp_path)
    assert path.read_bytes() == b"old"
    with serving(lambda handler: send(handler, CONTENT)) as (url, _):
        fetch(toy(url=url), tmp_path)
    assert path.read_bytes() == CONTENT


def test_an_answer_of_unknown_length_is_cut_off_when_it_is_too_long(tmp_path):
    def pour(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT * 2)

    with (
        serving(pour) as (url, _),
        pytest.raises(BadInput, match="expected 1280000 bytes, got more"),
    ):
        fetch(toy(url=url), tmp_path)
    if os.name == "posix":
        assert os.listdir(tmp_path / "toy") == []


def test_a_refusal_is_one_sentence(tmp_path):
    with (
        serving(lambda handler: handler.send_error(404)) as (url, _),
        pytest.raises(BadInput, match=r"toy\.bin cannot be downloaded: the server answered 404"),
    ):
        fetch(toy(url=url), tmp_path)


def test_no_network_is_one_sentence(tmp_path):
    with serving(lambda handler: None) as (url, _):
        pass  # nobody answers there any more
    with pytest.raises(BadInput, match=r"cannot be reached \(.*refused.*by hand") as caught:
        fetch(toy(url=url), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "toy").write_text("a file, where a folder should be")
    with pytest.raises(BadInput, match=r"cannot write .*toy\.bin.*--data-dir"):
        fetch(toy(), tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="locks files as POSIX does")
def test_two_processes_do_not_write_into_one_file(tmp_path):
    import fcntl

    (tmp_path / "toy").mkdir()
    with (tmp_path / "toy" / ".toy.bin.part").open("ab") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        with pytest.raises(BadInput, match=r"another process is downloading toy\.bin"):
            fetch(toy(), tmp_path)


def test_reading_data_loads_no_network_library():
    code = (
        "import nolr.data, sys; print([m for m in ('urllib.request', 'ssl') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_real_files_are_the_ones_in_the_catalogue(name):
    need_real(name)
    for file in available(CATALOGUE[name]):
        assert locate(CATALOGUE[name], file.name).stat().st_size == file.size
