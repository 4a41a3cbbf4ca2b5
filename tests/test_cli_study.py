"""nolr study variance, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli import FAST, cli  # noqa: F401

from nolr.cli_study import _known_words
from nolr.laboratory import figures

QUICK = (
    "--set", "hidden=6", "--samples", "12", "--copies", "2,4", "--draws", "3",
    "--estimators", "default,plain antithetic,forward gradient",
)  # fmt: skip


def test_a_recipe_is_trained_and_studied(cli):  # noqa: F811
    code, out, err = cli("study", "variance", "digits-dense", *QUICK, "--epochs", "2")
    assert (code, err) == (0, "")
    assert "late: mean cosine to the exact gradient" in out
    assert "epoch 2/2" in out
    folder = Path("studies/variance-digits-dense")
    assert {path.name for path in folder.iterdir()} == {
        "variance.json",
        "variance.md",
        "variance.png",
        "cosine.png",
        "bias.png",
        "sweeps.png",
    }
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    record = json.loads((folder / "variance.json").read_text())
    assert record["command"].startswith("nolr study variance digits-dense --set hidden=6")
    assert [place["name"] for place in record["checkpoints"]] == ["start", "early", "late"]
    assert {row["estimator"] for row in record["rows"]} == {
        "default",
        "plain antithetic",
        "forward gradient",
    }
    assert "## Late" in (folder / "variance.md").read_text()

    # What is there is not written over unasked; what no longer belongs there goes.
    code, _, err = cli("study", "variance", "digits-dense", *QUICK)
    assert code == 2
    assert "exists already: replace it (--overwrite)" in err
    more = ("--no-sweeps", "--checkpoints", "start", "--overwrite", "--seed", "3")
    code, out, err = cli("study", "variance", "digits-dense", *QUICK, *more)
    assert (code, err) == (0, "")
    assert "epoch" not in out
    assert not (folder / "sweeps.png").exists()
    record = json.loads((folder / "variance.json").read_text())
    assert record["seed"] == 3
    assert record["sweeps"] == {}
    assert [place["name"] for place in record["checkpoints"]] == ["start"]


def test_a_saved_run_is_studied_as_it_is(cli):  # noqa: F811
    assert cli("train", *FAST, "--out", "run.h5")[0] == 0
    words = ("--no-sweeps", "--out", "found", *QUICK[2:])
    code, _, err = cli("study", "variance", "run.h5", *words)
    assert (code, err) == (0, "")
    record = json.loads(Path("found/variance.json").read_text())
    assert record["recipe"] == "digits-dense"
    (place,) = record["checkpoints"]
    assert place["name"] == "saved"
    assert place["step"] == 2 * 41
    for words, message in (
        (("--epochs", "3"), "epochs are of a training"),
        (("--checkpoints", "late"), "--checkpoints are of a training"),
        (("--set", "hidden=7"), "hidden cannot change in the saved run 'run.h5'"),
        (("--set", "loss=zero-one"), "loss cannot change in the saved run 'run.h5'"),
    ):
        code, _, err = cli("study", "variance", "run.h5", *words, *QUICK[2:])
        assert code == 2
        assert message in err


def test_an_interrupt_while_it_is_written_keeps_the_older_study_whole(cli, monkeypatch):  # noqa: F811
    words = ("study", "variance", "digits-dense", *QUICK, "--checkpoints", "start", "--no-sweeps")
    assert cli(*words, "--out", "found")[0] == 0
    before = {path: path.read_bytes() for path in Path("found").iterdir()}
    assert len(before) == 5

    def interrupt(study):
        raise KeyboardInterrupt

    monkeypatch.setattr(figures, "draw_bias", interrupt)  # the last but one of its files
    code, _, err = cli(*words, "--out", "found", "--overwrite", "--seed", "7")
    assert code == 130
    assert "interrupted" in err
    assert {path: path.read_bytes() for path in Path("found").iterdir()} == before
    monkeypatch.undo()


def test_a_name_with_a_comma_can_be_chosen(cli):  # noqa: F811
    words = ("--checkpoints", "start", "--no-sweeps", "--out", "found", *QUICK[:-1])
    names = "default,memory anew, plain antithetic"
    assert cli("study", "variance", "digits-dense", *words, names)[0] == 0
    record = json.loads(Path("found/variance.json").read_text())
    assert list(record["estimators"]) == ["default, memory anew", "plain antithetic"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b", ("a", "b")),
        (" a , b,", ("a", "b")),
        ("a, x", ("a, x",)),
        ("a,a,x,y", ("a", "a, x, y")),
        ("x,a,y", ("x", "a", "y")),
        ("", ()),
    ],
)
def test_words_are_the_longest_names(text, words):
    assert _known_words(text, ["a", "a, x", "a, x, y", "b"]) == words


def test_a_refused_study_leaves_nothing_behind(cli, tmp_path):  # noqa: F811
    code, _, err = cli("study", "variance", "mnist-dense", "--data-dir", "nowhere")
    assert code == 2
    assert err.count("\n") == 1
    code, _, err = cli("study", "variance", "digits-dense", "--estimators", "defualt")
    assert code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_study_is_not_written_over_its_run(cli):  # noqa: F811
    assert cli("train", *FAST, "--out", "variance.h5")[0] == 0
    code, _, err = cli("study", "variance", "variance.h5", "--out", ".", "--overwrite")
    assert code == 2
    assert "'variance.png' would be written over" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), "there is no recipe 'nothing'"),
        (("digits-dense", "--copies", "2,x"), "--copies expected whole numbers"),
        (("digits-dense", "--copies", "0"), "copies must be whole numbers from 1 on"),
        (("digits-dense", "--copies", ""), "copies must be whole numbers from 1 on"),
        (("digits-dense", "--draws", "2"), "draws must be at least 3"),
        (("digits-dense", "--samples", "0"), "samples must be at least 1"),
        (("digits-dense", "--checkpoints", "middle"), "there is no checkpoint 'middle'"),
        (("digits-dense", "--estimators", "defualt"), "did you mean 'default'"),
        (("digits-dense", "--epochs", "0"), "epochs must be at least 1"),
        (("digits-dense", "--set", "nonsense"), "--set expected KEY=VALUE"),
        (("digits-dense", "--out", "file"), "cannot write into"),
        (("digits-dense", "--out", ""), "--out is empty"),
        (("digits-dense", "--samples", "100000"), "--samples must be at most 1293"),
        (("digits-dense", "--epochs", "1", "--set", "epochs=1"), "epochs is given twice"),
        (("digits-dense", "--seed", "1", "--set", "seed=1"), "seed is given twice"),
        (("digits-dense", "--seed", "4294967296"), "seed must be at most 4294967295"),
        (("digits-dense", "--estimators", "memory anew"), "did you mean 'default, memory anew'"),
        (
            ("digits-dense", "--copies", "3", "--estimators", "plain antithetic"),
            "none of the estimators can have 3 copies: try 2",
        ),
        (
            ("digits-dense", "--set", "control_variate=none", "--estimators", "λ = 1"),
            "'λ = 1': of this recipe that is its own estimator once more",
        ),
    ],
)
def test_bad_arguments_are_one_sentence_before_any_work(cli, arguments, words):  # noqa: F811
    Path("file").write_text("")
    code, out, err = cli("study", "variance", *arguments)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert "epoch" not in out
