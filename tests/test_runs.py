"""Runs: saved, resumed bit for bit, and readable whatever happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest

import nolr
from nolr import runs
from nolr.backends import backend_of
from nolr.data import load_digits
from nolr.errors import BadInput
from nolr.interchange import read_run
from nolr.recipes import get_recipe
from nolr.runs import reopen

SHORT = {"epochs": 3, "hidden": "16,8"}


def arrays(path):
    """The saved state without its clock."""
    found = dict(read_run(path).arrays)
    del found["state/train_seconds"]
    return found


def assert_same_run(a, b):
    first, second = arrays(a), arrays(b)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    history = [
        [record._replace(train_seconds=0.0) for record in read_run(path).history] for path in (a, b)
    ]
    assert repr(history[0]) == repr(history[1])  # repr: NaN equals NaN


def stop_after(steps):
    """A stop callback that says so after a number of steps."""
    left = iter(range(steps - 1))
    return lambda: next(left, None) is None


def test_five_lines_of_python():
    run = nolr.train("digits-dense", seed=0, epochs=5)
    assert run.test_accuracy > 0.9
    images = load_digits().inputs[:8]
    assert run.predict(images).shape == (8,)
    assert run.outputs(images).shape == (8, 10)


def test_a_saved_run_says_and_predicts_the_same(tmp_path):
    run = nolr.train(out=tmp_path / "run.h5", **SHORT)
    again = nolr.load(tmp_path / "run.h5")
    images = load_digits().inputs[:20]
    np.testing.assert_array_equal(run.outputs(images), again.outputs(images))
    assert again.finished
    assert again.test_accuracy == run.test_accuracy
    assert repr(again.history) == repr(run.history)
    assert again.settings == run.settings


# 1293 training samples make 41 steps an epoch: before, at and after the end of an epoch.
@pytest.mark.parametrize("steps", [1, 40, 41, 42, 100])
def test_resuming_is_bit_identical(tmp_path, steps):
    nolr.train(out=tmp_path / "straight.h5", **SHORT)
    stopped = nolr.train(out=tmp_path / "stopped.h5", stop=stop_after(steps), **SHORT)
    assert stopped.state.step == steps
    assert not stopped.finished
    assert nolr.resume(tmp_path / "stopped.h5").finished
    assert_same_run(tmp_path / "straight.h5", tmp_path / "stopped.h5")


def test_another_seed_would_not_pass_for_the_same_run(tmp_path):
    nolr.train(out=tmp_path / "a.h5", **SHORT)
    nolr.train(out=tmp_path / "b.h5", seed=1, **SHORT)
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "a.h5", tmp_path / "b.h5")


def test_resuming_can_train_longer_but_not_otherwise(tmp_path):
    path = tmp_path / "run.h5"
    nolr.train(out=path, **SHORT)
    assert nolr.resume(path, epochs=4).state.epoch == 4
    assert nolr.load(path).settings.epochs == 4
    with pytest.raises(BadInput, match="sigma cannot change"):
        nolr.resume(path, sigma=1.0)
    cosine = tmp_path / "cosine.h5"
    nolr.train(out=cosine, learning_rate_schedule="cosine", **SHORT)
    with pytest.raises(BadInput, match="depends on them"):
        nolr.resume(cosine, epochs=4)
    lengthening = tmp_path / "lengthening.h5"
    nolr.train(out=lengthening, forgetting_last=0.99, **SHORT)
    with pytest.raises(BadInput, match="a run whose memory lengthens up to its last step"):
        nolr.resume(lengthening, epochs=4)


def test_a_setting_that_came_later_has_the_default_of_the_library(tmp_path, monkeypatch):
    path = tmp_path / "run.h5"
    nolr.train(out=path, **SHORT)
    recipe = get_recipe("digits-dense")
    later = replace(recipe, settings=recipe.settings.with_values({"forgetting_last": 0.99}))
    monkeypatch.setattr(runs, "get_recipe", lambda name: later)
    with h5py.File(path, "r+") as file:
        configuration = json.loads(file.attrs["configuration"])
        del configuration["settings"]["forgetting_last"]
        file.attrs["configuration"] = json.dumps(configuration)
    assert nolr.load(path).settings.forgetting_last == 0


def test_training_longer_is_as_if_it_had_been_asked_for_at_once(tmp_path):
    long, short = tmp_path / "long.h5", tmp_path / "short.h5"
    settings = SHORT | {"patience": 50}
    nolr.train(out=long, **settings | {"epochs": 4})
    nolr.train(out=short, **settings)
    nolr.resume(short, epochs=4)
    assert_same_run(long, short)


def test_whatever_ends_training_the_state_is_saved(tmp_path):
    def close_the_terminal(trainer, state):
        if state.step == 7:
            raise SystemExit

    with pytest.raises(SystemExit):
        nolr.train(out=tmp_path / "run.h5", on_state=close_the_terminal, **SHORT)
    assert nolr.load(tmp_path / "run.h5").state.step == 7


def test_divergence_keeps_the_last_good_state(tmp_path):
    path = tmp_path / "run.h5"
    settings = SHORT | {"optimizer": "sgd", "learning_rate": 1e20, "loss": "squared"}
    with pytest.raises(nolr.Diverged, match="step"):
        nolr.train(out=path, **settings)
    for name, array in arrays(path).items():
        assert np.isfinite(array).all() or name == "state/best_score"
    assert not nolr.load(path).finished


def test_kill_at_any_moment_leaves_a_readable_run(tmp_path):
    path = tmp_path / "run.h5"
    program = (
        "import sys, nolr.runs; nolr.runs.SAVE_SECONDS = 0.0;"
        "nolr.train(out=sys.argv[1], epochs=100000)"
    )
    for wait in (0.0, 0.05, 0.2):
        process = subprocess.Popen([sys.executable, "-c", program, str(path)])
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        run = nolr.load(path)
        assert np.isfinite(run.state.vector).all()
        assert 0 < run.test_accuracy <= 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "no run file"),
        (lambda path: path.write_bytes(b"not HDF5"), "damaged, or not HDF5"),
        (lambda path: path.write_bytes(path.read_bytes()[:3000]), "damaged, or not HDF5"),
        (lambda path: h5py.File(path, "w").close(), "not a run of nolr"),
        (lambda path: edit(path, lambda file: file.__delitem__("state/vector")), "lacks"),
        (lambda path: edit(path, lambda file: file["history"].clear()), "damaged"),
        (lambda path: edit(path, lambda file: file.attrs.modify("version", 99)), "version 99"),
        (lambda path: edit(path, shrink), "saved with other settings"),
        (lambda path: edit(path, lambda file: reconfigure(file, recipe="x")), "no recipe 'x'"),
        (lambda path: edit(path, lambda file: reconfigure(file, settings=None)), "damaged"),
        (lambda path: edit(path, lambda file: reconfigure(file, settings={"x": 1})), "'x'"),
        (lambda path: edit(path, lambda file: file.attrs.modify("configuration", "[]")), "damaged"),
        (lambda path: edit(path, unequal), "damaged"),
        (lambda path: edit(path, not_numbers), "not as numbers"),
        (lambda path: edit(path, poison), "not finite"),
    ],
)
def test_damaged_files_are_explained(tmp_path, damage, message):
    path = tmp_path / "run.h5"
    nolr.train(out=path, epochs=1, hidden="4")
    damage(path)
    with pytest.raises(BadInput, match=message):
        nolr.load(path)


def test_a_run_can_be_read_where_its_backend_is_not_at_hand(tmp_path):
    path = tmp_path / "run.h5"
    run = nolr.train(out=path, epochs=1, hidden="4")
    elsewhere = run.settings.to_dict() | {"backend": "cupy"}
    edit(path, lambda file: reconfigure(file, settings=elsewhere))
    assert nolr.load(path, backend="numpy").test_accuracy == run.test_accuracy
    if "available, " not in nolr.find_backends()["cupy"]:
        with pytest.raises(BadInput, match=r"^backend 'cupy'"):  # and not: damaged
            nolr.load(path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "run.h5"
    return nolr.train(out=path, epochs=1, hidden="6,7", control_variate="none")


def test_a_run_is_looked_at_with_other_settings(saved):
    changes = {"optimizer": "sgd", "dtype": "float64", "residual": 1.0, "epochs": 9}
    run = reopen(saved.path, changes)
    assert {name: getattr(run.settings, name) for name in changes} == changes
    for theta, old in zip(run.params, saved.params, strict=True):
        for name, array in theta.items():
            assert array.dtype == np.float64
            np.testing.assert_array_equal(array, old[name])
    evidence = [a for one in run.state.estimator.evidence for a in one]
    assert {array.dtype for array in evidence} == {np.dtype("float64")}
    assert run.test_accuracy == saved.test_accuracy


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": "6"},
        {"hidden": "1,37"},  # as many parameters, 519, and none of the same shape
        {"hidden": "6,7,7"},
        {"loss": "zero-one"},
    ],
)
def test_a_run_is_not_looked_at_with_settings_that_it_does_not_fit(saved, settings):
    (name,) = settings
    with pytest.raises(BadInput, match=f"^{name} cannot change in the saved run"):
        reopen(saved.path, settings | {"dtype": "float64", "backend": "numpy"})


def test_a_run_is_moved_to_another_backend_with_all_it_remembers(saved, other_backend):
    run = reopen(saved.path, {"backend": other_backend.name, "dtype": "float64"})
    old = reopen(saved.path, {"dtype": "float64"})
    moved = [run.state.vector, *(a for one in run.state.estimator.evidence for a in one)]
    stayed = [old.state.vector, *(a for one in old.state.estimator.evidence for a in one)]
    for array, same in zip(moved, stayed, strict=True):
        assert backend_of(array) is other_backend
        np.testing.assert_array_equal(other_backend.to_host(array), same)


def edit(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def shrink(file):
    del file["state/vector"]
    file["state/vector"] = np.zeros(3)


def unequal(file):
    del file["history/loss"]
    file["history/loss"] = np.zeros(0)


def not_numbers(file):
    del file["state/vector"]
    file["state/vector"] = "words"


def poison(file):
    file["state/vector"][0] = np.nan


def reconfigure(file, **changes):
    configuration = json.loads(file.attrs["configuration"])
    file.attrs["configuration"] = json.dumps(configuration | changes)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((2, 8, 8)), r"expected samples of shape \(64,\)"),
        (np.zeros(64), r"x\[None\]"),
        (np.zeros((0, 64)), "no samples"),
        (np.full((1, 64), np.nan), "NaN"),
        (np.array([["?"] * 64]), "real numbers"),
    ],
)
def test_bad_inputs_are_explained(inputs, message):
    run = nolr.train(epochs=1, hidden="4")
    with pytest.raises(BadInput, match=message):
        run.predict(inputs)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8])
def test_one_sample_of_any_dtype(dtype):
    run = nolr.train(epochs=1, hidden="4")
    images = load_digits().inputs
    one = run.predict(images[:1].astype(dtype))
    np.testing.assert_array_equal(one, run.predict(images)[:1])


def test_report_is_plain_json_with_the_promised_keys():
    run = nolr.train(**SHORT | {"residual": 0.0})
    report = json.loads(json.dumps(run.report(), allow_nan=False))
    assert report.keys() >= {
        "recipe",
        "backend",
        "seed",
        "epochs",
        "copies",
        "test_accuracy",
        "validation_accuracy",
        "train_seconds",
        "forward_passes",
        "stages",
        "versions",
    }
    # Every second step is a clean pass alone; the others add a pair in each of two stages.
    assert 3 * 1293 * 2.9 < report["forward_passes"] < 3 * 1293 * 3.2
    assert len(report["stages"]) == 3


def test_torch_with_host_noise_follows_numpy_for_fifty_steps():
    pytest.importorskip("torch", reason="torch is not installed: pip install 'nolr[torch]'")
    curves = {}
    for backend in ("numpy", "torch"):
        losses, before = [], [0.0, 0]

        def record(trainer, state, losses=losses, before=before):
            if state.position:  # the last step of an epoch has no loss of its own in the state
                losses.append((state.loss_sum - before[0]) / (state.position - before[1]))
            before[:] = state.loss_sum, state.position

        nolr.train(backend=backend, noise_source="host", on_state=record, stop=stop_after(50))
        curves[backend] = losses
    assert len(curves["numpy"]) == 49
    np.testing.assert_allclose(curves["torch"], curves["numpy"], rtol=0, atol=1e-4)
