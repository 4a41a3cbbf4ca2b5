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

from nolr.data import store
from nolr.data.catalogue import CATALOGUE, SourceFile, SourceSet, find_set
from nolr.data.download import fetch
from nolr.data.store import data_folder, inspect, locate, read_checked
from nolr.errors import BadInput

CONTENT = bytes(range(256)) * 5000  # more than one chunk


def make_file(content, url="http://127.0.0.1:9/toy.bin"):
    return SourceFile("toy", "toy.bin", url, len(content), hashlib.sha256(content).hexdigest())


def make_set(*files):
    return SourceSet("toy", files, "none", "nobody")


def place(folder, content):
    (folder / "toy").mkdir(exist_ok=True)
    (folder / "toy" / "toy.bin").write_bytes(content)
    return folder / "toy" / "toy.bin"


def test_the_catalogue_is_well_formed():
    assert list(CATALOGUE) == ["mnist", "fashion-mnist", "cora", "citeseer"]
    for source in CATALOGUE.values():
        assert len({file.name for file in source.files}) == len(source.files) in (4, 8)
        assert source.size == sum(file.size for file in source.files)
        for file in source.files:
            assert file.folder == source.name
            assert file.url.endswith("/" + file.name)
            assert file.url.startswith("http")
            assert len(bytes.fromhex(file.sha256)) == 32
            assert "\n" not in source.licence + source.citation
            assert source.file(file.name) is file
    hashes = [file.sha256 for source in CATALOGUE.values() for file in source.files]
    assert len(set(hashes)) == len(hashes) == 24


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(BadInput, match="did you mean 'cora'"):
        find_set("core")
    with pytest.raises(BadInput, match=r"no file .*; did you mean 'ind.cora.x'"):
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
    file = make_file(CONTENT)
    assert locate(file, tmp_path) == path
    assert read_checked(file, tmp_path) == CONTENT
    assert inspect(file, tmp_path).state == "complete"


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
    file = make_file(CONTENT)
    assert inspect(file, tmp_path).state == state
    with pytest.raises(BadInput) as caught:
        read(file, tmp_path)
    for word in [*words, "toy.bin", "nolr data fetch toy", "--data-dir", "NOLR_DATA"]:
        assert word in str(caught.value)


def test_a_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
    path = place(tmp_path, CONTENT)
    file = make_file(CONTENT)
    hashed = []
    monkeypatch.setattr(store, "sha256_of", lambda p: hashed.append(p) or file.sha256)
    for _ in range(3):
        locate(file, tmp_path)
    assert hashed == [path]
    later = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(later, later))
    locate(file, tmp_path)
    assert hashed == [path, path]


def test_a_file_altered_after_it_was_checked_is_noticed(tmp_path):
    path = place(tmp_path, CONTENT)
    file = make_file(CONTENT)
    locate(file, tmp_path)
    before = path.stat()
    time.sleep(0.02)  # more than the grain of the file system's clock
    path.write_bytes(b"!" + CONTENT[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if os.name == "posix":  # where the time of a change cannot be set back
        with pytest.raises(BadInput, match="altered"):
            locate(file, tmp_path)


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="needs a user whom file modes bind"
)
def test_an_unreadable_file_is_named(tmp_path):
    place(tmp_path, CONTENT).chmod(0)
    with pytest.raises(BadInput, match=r"cannot read .*toy\.bin.*Permission"):
        locate(make_file(CONTENT), tmp_path)


def test_fetch_downloads_reports_and_then_asks_no_more(tmp_path):
    seen = []
    with serving(lambda handler: send(handler, CONTENT)) as (url, asked):
        file = make_file(CONTENT, url)
        for _ in range(2):
            (path,) = fetch(make_set(file), tmp_path, lambda f, n: seen.append(n))
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["toy.bin"]
    assert asked == [None]
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, len(CONTENT))


def test_fetch_replaces_an_altered_file(tmp_path):
    path = place(tmp_path, b"x" * len(CONTENT))
    with serving(lambda handler: send(handler, CONTENT)) as (url, _):
        fetch(make_set(make_file(CONTENT, url)), tmp_path)
    assert path.read_bytes() == CONTENT


def break_off(handler):
    """Promise everything, send 700,000 bytes, hang up; when asked again, send the rest."""
    if handler.headers.get("Range") is None:
        send(handler, CONTENT[:700_000], promised=len(CONTENT))
    else:
        send(handler, CONTENT)


def test_fetch_goes_on_where_it_broke_off(tmp_path):
    with serving(break_off) as (url, asked):
        file = make_file(CONTENT, url)
        with pytest.raises(BadInput, match=r"broke off after 700000 of 1280000 bytes.*again"):
            fetch(make_set(file), tmp_path)
        assert not (tmp_path / "toy" / "toy.bin").exists()
        (path,) = fetch(make_set(file), tmp_path)
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
        (path,) = fetch(make_set(make_file(CONTENT, url)), tmp_path)
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
        (path,) = fetch(make_set(make_file(CONTENT, url)), tmp_path)
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
        file = make_file(CONTENT, url)
        with pytest.raises(BadInput, match=words):
            fetch(make_set(file), tmp_path)
    assert path.read_bytes() == b"old"
    with serving(lambda handler: send(handler, CONTENT)) as (url, _):
        fetch(make_set(make_file(CONTENT, url)), tmp_path)
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
        fetch(make_set(make_file(CONTENT, url)), tmp_path)
    if os.name == "posix":
        assert os.listdir(tmp_path / "toy") == []


def test_a_refusal_is_one_sentence(tmp_path):
    with (
        serving(lambda handler: handler.send_error(404)) as (url, _),
        pytest.raises(BadInput, match=r"toy\.bin cannot be downloaded: the server answered 404"),
    ):
        fetch(make_set(make_file(CONTENT, url)), tmp_path)


def test_no_network_is_one_sentence(tmp_path):
    with serving(lambda handler: None) as (url, _):
        pass  # nobody answers there any more
    with pytest.raises(BadInput, match=r"cannot be reached \(.*refused.*by hand") as caught:
        fetch(make_set(make_file(CONTENT, url)), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "toy").write_text("a file, where a folder should be")
    with pytest.raises(BadInput, match=r"cannot write .*toy\.bin.*--data-dir"):
        fetch(make_set(make_file(CONTENT)), tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="locks files as POSIX does")
def test_two_processes_do_not_write_into_one_file(tmp_path):
    import fcntl

    (tmp_path / "toy").mkdir()
    with (tmp_path / "toy" / ".toy.bin.part").open("ab") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        with pytest.raises(BadInput, match=r"another process is downloading toy\.bin"):
            fetch(make_set(make_file(CONTENT)), tmp_path)


def test_reading_data_loads_no_network_library():
    code = (
        "import nolr.data, sys; print([m for m in ('urllib.request', 'ssl') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_real_files_are_the_official_ones(name):
    if not os.environ.get("NOLR_DATA"):
        pytest.skip("NOLR_DATA does not name a folder with the real data")
    for file in CATALOGUE[name].files:
        assert locate(file).stat().st_size == file.size
