"""nolr data list, fetch, verify, as typed."""

from __future__ import annotations

import os
import sys

import pytest
from local_server import send, serving
from rich.console import Console
from toy_sets import describe, make_set

from nolr import cli_data
from nolr.cli import main
from nolr.data.catalogue import CATALOGUE
from nolr.data.source import SourceSet

CONTENT = bytes(range(256)) * 5000


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Run the command line in an empty folder; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOLR_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["nolr", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return caught.value.code, captured.out, captured.err

    return run


@pytest.fixture
def toy(monkeypatch):
    """A catalogue of one set with two files that a server on this machine sends."""
    with serving(lambda handler: send(handler, CONTENT)) as (url, asked):
        files = tuple(describe(name, CONTENT, url) for name in ("a.bin", "b.bin"))
        source = SourceSet("toy", "toy", files, "free [as air]", "Nobody 1")
        monkeypatch.setitem(CATALOGUE, "toy", source)
        yield asked


def test_list_says_what_is_there(cli, toy, tmp_path):
    (tmp_path / "datasets" / "toy").mkdir(parents=True)
    for name, content, state, count in (
        ("a.bin", CONTENT, "missing", "1/2"),
        ("b.bin", CONTENT, "complete", "2/2"),
        ("b.bin", CONTENT[:-1], "altered", "1/2"),
        ("b.bin", CONTENT[:-1] + b"!", "altered", "1/2"),
    ):
        (tmp_path / "datasets" / "toy" / name).write_bytes(content)
        code, out, err = cli("data", "list")
        assert (code, err) == (0, "")
        (row,) = [line for line in out.splitlines() if "│ toy " in line]
        assert f" {state} " in row
        assert f" {count} " in row
        assert " 1.3 MB " not in row  # of both files
        assert " 2.6 MB " in row
        assert os.path.join("datasets", "toy") in row
    for name in CATALOGUE:
        (row,) = [line for line in out.splitlines() if f"│ {name} " in line]
        assert (" altered " if name == "toy" else " missing ") in row


def test_sets_without_a_download_say_so_in_one_sentence(cli, tmp_path, monkeypatch):
    gift = make_set(describe("a.bin", CONTENT, url=None), name="gift", origin="it is [a] gift")
    monkeypatch.setitem(CATALOGUE, "gift", gift)
    sentence = "gift cannot be downloaded: it is [a] gift"
    assert cli("data", "list")[1].splitlines().count(sentence) == 1
    for command in ("fetch", "verify"):
        code, _, err = cli("data", command, "gift")
        assert code == 2
        assert sentence in err
        assert err.count("\n") == 1
    (tmp_path / "datasets" / "toy").mkdir(parents=True)
    (tmp_path / "datasets" / "toy" / "a.bin").write_bytes(CONTENT)
    assert sentence not in cli("data", "list")[1]
    code, out, _ = cli("data", "fetch", "gift")
    assert code == 0
    assert f"gift is complete in {os.path.join('datasets', 'toy')}" in out
    assert cli("data", "verify", "gift")[0] == 0


def test_an_alternative_version_counts(cli, tmp_path, monkeypatch):
    loose = (describe("loose.bin", b"loose"),)
    source = make_set(describe("all.tar", CONTENT), name="both", alternatives=(loose,))
    monkeypatch.setitem(CATALOGUE, "both", source)
    (tmp_path / "datasets" / "toy").mkdir(parents=True)
    (tmp_path / "datasets" / "toy" / "loose.bin").write_bytes(b"loose")
    (row,) = [line for line in cli("data", "list")[1].splitlines() if "│ both " in line]
    assert " complete " in row
    assert " 1/1 " in row
    assert " 0.0 MB " in row  # of what is there, not of the archive that is not needed
    code, out, _ = cli("data", "verify", "both")
    assert code == 0
    assert "loose.bin" in out
    assert "all.tar" not in out
    assert cli("data", "fetch", "both")[0] == 0
    assert not (tmp_path / "datasets" / "toy" / "all.tar").exists()


def test_fetch_downloads_into_the_folder_asked_for_and_then_verify_agrees(cli, toy, tmp_path):
    code, out, err = cli("data", "fetch", "toy", "--data-dir", "mine [1]")
    assert (code, err) == (0, "")
    for word in ("a.bin  1.3 MB", "b.bin  1.3 MB", "free [as air]", "please cite: Nobody 1"):
        assert word in out
    assert f"complete in {os.path.join('mine [1]', 'toy')}" in out
    assert (tmp_path / "mine [1]" / "toy" / "a.bin").read_bytes() == CONTENT
    assert len(toy) == 2
    assert cli("data", "fetch", "toy", "--data-dir", "mine [1]")[0] == 0
    assert len(toy) == 2
    code, out, err = cli("data", "verify", "toy", "--data-dir", "mine [1]")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["complete", "complete"]


def test_the_environment_names_the_folder(cli, toy, tmp_path, monkeypatch):
    monkeypatch.setenv("NOLR_DATA", "shared")
    assert cli("data", "fetch", "toy")[0] == 0
    assert sorted(os.listdir(tmp_path / "shared" / "toy")) == ["a.bin", "b.bin"]
    assert cli("data", "verify", "toy")[0] == 0


def test_a_terminal_shows_bars(cli, toy, monkeypatch):
    monkeypatch.setattr(
        cli_data, "open_console", lambda: Console(force_terminal=True, width=120, color_system=None)
    )
    code, out, _ = cli("data", "fetch", "toy")
    assert code == 0
    assert "1.3/1.3 MB" in out


def test_verify_names_every_bad_file_and_the_fix(cli, toy, tmp_path):
    assert cli("data", "fetch", "toy")[0] == 0
    (tmp_path / "datasets" / "toy" / "a.bin").unlink()
    (tmp_path / "datasets" / "toy" / "b.bin").write_bytes(CONTENT[:7])
    code, out, err = cli("data", "verify", "toy")
    assert code == 2
    first, second = out.splitlines()
    assert first.startswith("missing")
    assert "a.bin: it is not there" in first
    assert second.startswith("altered")
    assert "b.bin: it is truncated: expected 1280000 bytes, got 7" in second
    assert err.startswith("nolr: error: 2 of the 2 files of toy")
    assert "nolr data fetch toy" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "fetch", "minst"], "did you mean 'mnist'"),
        (["data", "verify", "core"], "did you mean 'cora'"),
        (["data", "fetch"], "NAME"),
        (["data", "fetch", "cora", "--data-dir", "/dev/null"], "cannot write"),
        (["data", "verify", "cora"], "8 of the 8 files of cora"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_two(cli, arguments, message):
    code, _, err = cli(*arguments)
    assert code == 2
    assert err.startswith("nolr: error: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_server_that_is_not_there_is_one_sentence(cli, toy, monkeypatch):
    with serving(lambda handler: None) as (url, _):
        pass
    monkeypatch.setitem(CATALOGUE, "toy", make_set(describe("a.bin", CONTENT, url)))
    code, _, err = cli("data", "fetch", "toy")
    assert code == 2
    assert "cannot be reached" in err
    assert err.count("\n") == 1


def test_help_names_the_commands(cli):
    code, out, _ = cli("data", "--help")
    assert code == 0
    for word in ("list", "fetch", "verify", "NOLR_CACHE"):
        assert word in out
    assert "data" in cli("--help")[1]
