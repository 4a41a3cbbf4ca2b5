"""The command line, as typed: what it prints, what it leaves behind, how it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import nolr
import nolr.__main__
from nolr.cli import main
from nolr.data import load_digits

FAST = ["--epochs", "2", "--set", "hidden=8"]


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Run the command line in an empty folder; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["nolr", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return caught.value.code, captured.out, captured.err

    return run


def test_train_leaves_a_run_a_picture_and_json(cli, tmp_path):
    code, out, err = cli("train", *FAST, "--json", "out.json")
    assert (code, err) == (0, "")
    assert "test accuracy" in out
    assert "signal/noise" in out
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["recipe"] == "digits-dense"
    assert report["epochs"] == 2
    run = nolr.load(tmp_path / "runs" / "digits-dense-seed0.h5")
    assert run.test_accuracy == report["test_accuracy"]
    picture = (tmp_path / "runs" / "digits-dense-seed0.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


def test_a_second_run_takes_a_fresh_name(cli, tmp_path):
    for _ in range(3):
        assert cli("train", *FAST)[0] == 0
    names = sorted(path.name for path in (tmp_path / "runs").glob("*.h5"))
    assert names == [f"digits-dense-seed0{suffix}.h5" for suffix in ("-2", "-3", "")]


def test_every_option_reaches_the_run(cli, tmp_path):
    options = {
        "backend": "numpy",
        "noise-source": "host",
        "seed": 5,
        "epochs": 1,
        "copies": 4,
        "sigma": 0.3,
        "sampler": "antithetic",
        "schedule": "joint",
        "baseline": "leave-group-out",
        "control-variate": "jacobian",
        "residual": 1.0,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    code, _, err = cli(
        "train", "digits-dense", *words, "--set", "batch-size=64", "--out", "r.h5", *FAST[2:]
    )
    assert (code, err) == (0, "")
    settings = nolr.load(tmp_path / "r.h5").settings.to_dict()
    for name, value in (options | {"batch_size": 64}).items():
        assert settings[name.replace("-", "_")] == value


def test_evaluate_and_predict(cli, tmp_path):
    cli("train", *FAST, "--out", "r.h5")
    code, out, _ = cli(
        "evaluate", "r.h5", "--json", "e.json", "--backend", "numpy", "--data-dir", "elsewhere"
    )
    assert code == 0
    assert "test accuracy" in out
    run = nolr.load(tmp_path / "r.h5")
    assert json.loads((tmp_path / "e.json").read_text())["test_accuracy"] == run.test_accuracy

    images = load_digits().inputs[:7]
    np.save(tmp_path / "in.npy", images)
    code, out, _ = cli("predict", "r.h5", "in.npy")
    assert code == 0
    assert [int(line) for line in out.split()] == run.predict(images).tolist()
    assert cli("predict", "r.h5", "in.npy", "--out", "classes.npy")[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "classes.npy"), run.predict(images))


def test_recipes_and_info(cli):
    code, out, _ = cli("recipes")
    assert code == 0
    assert "digits-dense" in out
    code, out, _ = cli("info")
    assert code == 0
    for word in ("numpy", "cupy", "threads", nolr.__version__):
        assert word in out
    assert "unknown" not in out
    assert "available, version" in nolr.find_backends()["cupy"] or "nolr[cuda12]" in out


def test_help_and_version(cli):
    assert "Commands:" in cli()[1]
    assert cli("--version")[1].strip().endswith(nolr.__version__)
    for arguments in (["--help"], ["train", "-h"], ["predict", "--help"]):
        code, out, _ = cli(*arguments)
        assert code == 0
        assert "Usage" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "digits-dens"], "did you mean 'digits-dense'"),
        (["train", "--epoch", "3"], "--epochs"),
        (["trian"], "train"),
        (["train", "--sigma", "0"], "sigma must be a positive"),
        (["train", "--sigma", "loud"], "sigma must be a number, got 'loud'"),
        (["train", "--copies", "3"], "multiple of 2"),
        (["train", "--copies", "0"], "at least 1"),
        (["train", "--sampler", "sobl"], "did you mean 'sobol'"),
        (["train", "--set", "hiden=3"], "did you mean 'hidden'"),
        (["train", "--set", "hidden"], "KEY=VALUE"),
        (["train", "--out", "/dev/null/run.h5"], "cannot write"),
        (["train", "--out", "."], "folder"),
        (["train", "--out", "r.png"], "where the picture goes"),
        (["train", "--out", "s.h5", "--json", "s.h5"], "over"),
        (["train", "--out", "s.h5", "--json", "s.png"], "over"),
        (["evaluate", "r.h5", "--json", "r.h5"], "over"),
        (["predict", "r.h5", "wide.npy", "--out", "r.h5"], "over"),
        (["predict", "r.h5", "wide.npy", "--out", "wide.npy"], "over"),
        (["train", "--sigma", "1", "--set", "sigma=2"], "given twice"),
        (["train", "--sigma", "1e200"], "sigma must be a positive"),
        (["train", "--seed", "1e3"], "seed must be a whole number"),
        (["train", "--out", "x" * 300], "File name too long"),
        (["evaluate", "x" * 300], "File name too long"),
        (["predict", "r.h5", "huge.npy"], "as float32, contain NaN or infinity"),
        (["train", "--json", "/dev/null/out.json"], "cannot write"),
        (["train", "--resume", "nowhere.h5"], "no run file 'nowhere.h5'"),
        (["train", "digits-dense", "--resume", "r.h5"], "leave out RECIPE"),
        (["train", "--resume", "r.h5", "--sigma", "1"], "sigma cannot change"),
        (["train", "--out", "r.h5"], "exists already"),
        (["evaluate", "nowhere.h5"], "no run file"),
        (["evaluate", "text.npy"], "damaged, or not HDF5"),
        (["predict", "r.h5", "nowhere.npy"], "cannot read 'nowhere.npy'"),
        (["predict", "r.h5", "text.npy"], "cannot read 'text.npy'"),
        (["predict", "r.h5", "wide.npy"], "expected samples of shape (64,)"),
        (["predict", "r.h5", "nan.npy"], "NaN or infinity, first in sample 1"),
        (["predict", "r.h5", "empty.npy"], "no samples"),
        (["predict", "r.h5", "objects.npy"], "cannot read 'objects.npy'"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_two(cli, tmp_path, arguments, message):
    cli("train", *FAST, "--out", "r.h5")
    before = (tmp_path / "r.h5").read_bytes()
    (tmp_path / "text.npy").write_text("hello")
    np.save(tmp_path / "wide.npy", np.zeros((2, 65)))
    np.save(tmp_path / "nan.npy", np.array([[0.0] * 64, [np.nan] * 64]))
    np.save(tmp_path / "empty.npy", np.zeros((0, 64)))
    np.save(tmp_path / "huge.npy", np.full((1, 64), 1e300))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    code, _, err = cli(*arguments)
    assert code == 2
    assert err.startswith("nolr: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert (tmp_path / "r.h5").read_bytes() == before


def test_a_gpu_asked_for_where_there_is_none(cli):
    if "available, " in nolr.find_backends()["cupy"]:
        pytest.skip("this machine has a GPU")
    code, _, err = cli("train", "--backend", "cupy")
    assert code == 2
    assert "--backend numpy" in err


def test_divergence_is_one_sentence_and_keeps_the_run(cli, tmp_path):
    code, _, err = cli(
        "train", *FAST, "--set", "optimizer=sgd", "--set", "learning_rate=1e20", "--out", "r.h5"
    )
    assert code == 1
    assert "diverged in step" in err
    assert np.isfinite(nolr.load(tmp_path / "r.h5").state.vector).all()


def test_an_interrupt_while_the_command_line_loads_is_one_sentence(monkeypatch, capsys):
    class Interrupt:
        def find_spec(self, name, path=None, target=None):
            if name == "nolr.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "nolr.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupt(), *sys.meta_path])
    with pytest.raises(SystemExit) as caught:
        nolr.__main__.main()
    assert caught.value.code == 130
    assert capsys.readouterr().err == "nolr: error: interrupted\n"


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-m", "nolr", "train", "--epochs", "100000", "--out", "r.h5"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "r.h5").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Ctrl-C once more" in err
    assert "nolr train --resume r.h5" in out
    assert nolr.load(tmp_path / "r.h5").state.step > 0
