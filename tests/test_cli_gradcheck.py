"""nolr gradcheck, and the self-test of a backend, as typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import FAST, cli  # noqa: F401

from nolr.backends import get_backend
from nolr.testing import check_backend
from nolr.testing.families import FAMILIES

QUICK = ("--set", "hidden=4", "--samples", "2", "--draws", "64")


def test_a_recipe_at_its_settings_is_biased_and_says_so(cli):  # noqa: F811
    code, out, err = cli("gradcheck", "digits-dense", *QUICK, "--json", "found.json")
    assert (code, err) == (0, "")
    assert "digits-dense: biased" in out
    assert "shrunk towards learned feedback" in out
    found = json.loads(Path("found.json").read_text())
    assert found["verdict"] == "biased"
    assert [(f["stage"], f["name"]) for f in found["findings"]] == [
        (stage, name) for stage in (0, 1) for name in ("W", "b")
    ]
    # The last stage is exact for the clean loss.
    assert {f["verdict"] for f in found["findings"] if f["stage"] == 1} == {"unbiased"}


def test_without_a_residual_it_is_not_found_biased(cli):  # noqa: F811
    code, out, _ = cli("gradcheck", "digits-dense", *QUICK, "--residual", "1")
    assert code == 0
    assert "biased," not in out.replace("unbiased", "")


def test_too_few_draws_are_undecided_and_more_are_suggested(cli):  # noqa: F811
    few = ("--set", "hidden=64", "--samples", "2", "--draws", "64", "--residual", "1")
    code, out, _ = cli("gradcheck", "digits-dense", *few)
    assert code == 0
    assert "digits-dense: undecided" in out
    assert "--draws 256" in out


def test_a_loss_that_never_moves_leaves_nothing_to_tell(cli):  # noqa: F811
    code, out, _ = cli("gradcheck", "digits-dense", "--draws", "64", "--set", "loss=zero-one")
    assert code == 0
    assert "digits-dense: undecided" in out
    assert "undecided: a gradient of 0 tells nothing" in out
    assert "--draws" not in out


def test_a_large_network_has_fewer_rows_a_draw(cli, monkeypatch):  # noqa: F811
    rows = []
    for most in (1 << 22, 1 << 13):
        monkeypatch.setattr("nolr.cli_gradcheck.MOST_NUMBERS", most)
        cli("gradcheck", "digits-dense", *QUICK, "--json", "found.json")
        rows.append(json.loads(Path("found.json").read_text())["rows"])
    # 64 pixels, of the clean run and of two copies for both stages; in whole batches of two.
    assert rows == [512, (1 << 13) // (5 * 64) // 2 * 2]


def test_a_saved_run_is_checked_with_its_parameters(cli):  # noqa: F811
    cli("train", *FAST, "--out", "run.h5")
    code, out, err = cli("gradcheck", "run.h5", "--samples", "2", "--draws", "64")
    assert (code, err) == (0, "")
    assert "run.h5: biased" in out
    few = ("--samples", "2", "--draws", "64", "--json", "found.json")
    verdicts = []
    for backend in ("numpy", "array-api-strict"):  # the memory moves with the parameters
        more = ("--set", f"backend={backend}", "--set", "noise_source=host")
        assert cli("gradcheck", "run.h5", *few, *more)[0] == 0
        verdicts.append(
            [f["verdict"] for f in json.loads(Path("found.json").read_text())["findings"]]
        )
    assert verdicts[0] == verdicts[1]


def test_a_saved_run_is_neither_written_over_nor_given_settings_that_do_not_fit(cli):  # noqa: F811
    cli("train", *FAST, "--out", "run.h5")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    for words, message in (
        (("--json", "run.h5"), "'run.h5' would be written over 'run.h5'"),
        (("--json", "./run.h5"), "would be written over 'run.h5'"),
        (("--json", "run.png"), "would be written over 'run.png'"),
        (("--set", "hidden=32"), "hidden cannot change in the saved run 'run.h5'"),
        (("--set", "hidden=32,32,32"), "hidden cannot change in the saved run 'run.h5'"),
        (("--set", "loss=zero-one", "--residual", "1"), "loss, residual cannot change in the"),
    ):
        code, _, err = cli("gradcheck", "run.h5", *words)
        assert code == 2
        assert message in err
        assert err.count("\n") == 1
        assert {path: path.read_bytes() for path in Path().iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), "there is no recipe 'nothing'"),
        (("digits-dense", "--samples", "0"), "--samples must be at least 1"),
        (("digits-dense", "--tolerance", "2"), "tolerance must lie between 0 and 1"),
        (("digits-dense", "--draws", "3"), "max_draws must be at least 64"),
        (("digits-dense", "--samples", "100000"), "--samples must be at most 1293"),
        (("digits-dense", "--set", "nonsense"), "--set expected KEY=VALUE"),
        (
            ("digits-dense", "--residual", "0.5", "--set", "residual=1"),
            "residual is given twice, as --residual and with --set",
        ),
    ],
)
def test_bad_arguments_are_one_sentence(cli, arguments, words):  # noqa: F811
    code, _, err = cli("gradcheck", *arguments)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1


# --- the self-test --------------------------------------------------------------------------------


def test_numpy_passes_its_own_test():
    found = []
    report = check_backend("numpy", found.append)
    assert report.passed, str(report)
    assert found == list(report.checks)
    assert {f"{family}: unbiased" for family in FAMILIES} < {check.name for check in report.checks}


@pytest.mark.parametrize(
    ("method", "fault", "name"),
    [
        ("normal", lambda f: lambda *a: 1.01 * f(*a), "normal numbers"),
        ("normal", lambda f: lambda key, *a: f(key._replace(block=0), *a), "the same key"),
        ("uniform", lambda f: lambda *a: f(*a) ** 1.01, "uniform numbers"),
        ("coins", lambda f: lambda key, shape, p: f(key, shape, p + 0.005), "coins"),
        ("im2col", lambda f: lambda *a: f(*a)[:, ::-1], "im2col"),
        ("scatter_add", lambda f: lambda rows, v, n: f(rows, v, n) * (1 + 1e-6), "scatter-add"),
    ],
)
def test_a_faulty_backend_is_found_out(monkeypatch, method, fault, name):
    backend = get_backend("numpy")
    monkeypatch.setattr(backend, method, fault(getattr(backend, method)), raising=True)
    monkeypatch.setattr("nolr.testing.backends.FAMILIES", {})  # what is random or not, alone
    failed = {check.name for check in check_backend("numpy").checks if not check.passed}
    assert any(found.startswith(name) for found in failed), failed


def test_a_backend_that_raises_fails_its_check_and_no_other(monkeypatch):
    def broken(*args):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(get_backend("numpy"), "scatter_add", broken)
    monkeypatch.setattr("nolr.testing.backends.FAMILIES", {})
    report = check_backend("numpy")
    (failed,) = (check for check in report.checks if not check.passed)
    assert failed.name == "scatter-add"
    assert "RuntimeError: no kernel" in str(report)


def test_a_backend_that_is_not_there_is_one_sentence():
    command = [sys.executable, "-m", "nolr.testing", "--backend", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("nolr: error: there is no backend 'nothing'")
    assert done.stderr.count("\n") == 1
