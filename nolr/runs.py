"""Runs: train a recipe, save it, go on with it. The Python face of the command line.

import nolr
run = nolr.train("digits-dense", seed=0)
run.test_accuracy, run.predict(images)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nolr.environment import limit_threads
from nolr.errors import BadInput
from nolr.files import check_writable
from nolr.interchange import read_run
from nolr.recipes import Recipe, Settings, build_trainer, get_recipe
from nolr.run import Run
from nolr.training import Trainer
from nolr.training_state import TrainState, is_finite
from nolr.types import Backend

__all__ = ["Run", "load", "reopen", "resume", "train"]

SAVE_SECONDS = 10.0
PLACES = ("backend", "data_dir", "threads")  # where a run computes, not what


def train(
    recipe: str = "digits-dense",
    *,
    out: str | Path | None = None,
    on_state: Callable[[Trainer, TrainState], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> Run:
    """Train a recipe from the start.

    Args:
        recipe: its name; see `nolr.recipes.RECIPES`.
        out: run file, saved every ten seconds and at the end; None keeps the run in memory.
        on_state: called after every step.
        stop: asked after every step; True stops, and saves.
        settings: any field of `nolr.recipes.Settings`, in place of the recipe's own value.

    Raises:
        BadInput: an argument that cannot be used.
        Diverged: training produced a value that is not finite; the last good state is saved.
    """
    run = _open(get_recipe(recipe), get_recipe(recipe).settings.with_values(settings))
    if out is not None:
        check_writable(Path(out))
    run = replace(run, path=None if out is None else Path(out))
    return _drive(run, on_state, stop)


def resume(
    path: str | Path,
    *,
    on_state: Callable[[Trainer, TrainState], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> Run:
    """Go on with a saved run, on NumPy bit for bit as if it had never stopped.

    Args:
        path: the run file; it is updated.
        settings: `epochs` or `patience`, to train longer; `backend`, `threads` or `data_dir`,
            to go on elsewhere.

    Raises:
        BadInput: an unreadable file, or a setting that cannot change on the way.
    """
    run = load(path, **settings)
    check_writable(Path(path))
    return _drive(run, on_state, stop)


def load(path: str | Path, **settings: Any) -> Run:
    """Read a saved run.

    Raises:
        BadInput: an unreadable or foreign file, or a setting that cannot change on the way.
    """
    changeable = {"epochs", "patience", *PLACES}
    if fixed := sorted(set(settings) - changeable):
        raise BadInput(
            f"{', '.join(fixed)} cannot change in a run that has begun (only "
            f"{', '.join(sorted(changeable))} can): start a new run"
        )
    file = read_run(Path(path))
    try:
        recipe = get_recipe(file.configuration["recipe"])
        # A setting that the file lacks came later, with a default that changes nothing.
        saved = Settings().with_values(file.configuration["settings"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None
    if "epochs" in settings and saved.learning_rate_schedule != "constant":
        raise BadInput(
            f"epochs cannot change in a run with a {saved.learning_rate_schedule!r} learning "
            "rate, which depends on them: start a new run"
        )
    if "epochs" in settings and saved.forgetting_last:
        raise BadInput(
            "epochs cannot change in a run whose memory lengthens up to its last step "
            f"(forgetting_last={saved.forgetting_last}): start a new run"
        )
    # What can change may have to: the machine that reads need not have the backend that trained,
    # nor the data in the same place. That is no damage.
    run = _open(recipe, saved.with_values(settings))
    try:
        state = file.restore(run.state, run.trainer.backend)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None
    if not is_finite(state, run.trainer.backend):
        raise _damaged(path, "its arrays are not finite")
    return replace(run, state=state, path=Path(path))


def reopen(path: str | Path, settings: Mapping[str, Any]) -> Run:
    """Read a saved run to look at it with other settings, not to go on training it.

    Its parameters and what its estimator remembers are kept, on the backend and in the dtype of the
    settings; what its optimizer remembers is not.

    Args:
        settings: any field of `nolr.recipes.Settings` that those still fit.

    Raises:
        BadInput: an unreadable or foreign file, or a setting that the run does not fit.
    """
    places = {name: settings[name] for name in PLACES if name in settings}
    run = load(path, **places)
    changed = _open(run.recipe, run.settings.with_values(settings))
    if _layout(run) != _layout(changed):
        before, after = run.settings.to_dict(), changed.settings.to_dict()
        names = [name for name in sorted(after) if before[name] != after[name] and name != "dtype"]
        raise BadInput(
            f"{', '.join(names)} cannot change in the saved run {str(path)!r}: its parameters and "
            "what its estimator remembers would not fit; leave it out, or name the recipe instead"
        )
    old, backend, dtype = run.state, changed.trainer.backend, changed.settings.dtype
    state = old._replace(
        vector=_moved(old.vector, backend, dtype),
        optimizer=(),
        estimator=_moved(old.estimator, backend, dtype),
        best_vector=_moved(old.best_vector, backend, dtype),
    )
    return replace(changed, state=state, path=Path(path))


def _layout(run: Run) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the parameters, and shapes of what the estimator remembers."""
    arrays = [(name, a) for theta in run.params for name, a in sorted(theta.items())]
    arrays += [("", a) for evidence in run.state.estimator.evidence for a in evidence]
    return [(name, tuple(array.shape)) for name, array in arrays]


def _moved(tree: Any, backend: Backend, dtype: str) -> Any:
    """Nested tuples of arrays and numbers, with the arrays on the backend in this dtype."""
    if isinstance(tree, tuple):
        parts = [_moved(part, backend, dtype) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if isinstance(tree, int | float):
        return tree
    return backend.asarray(backend.to_host(tree), dtype)


def _damaged(path: str | Path, why: object) -> BadInput:
    return BadInput(
        f"{str(path)!r} cannot be read as a run file ({why}): it is damaged, or was edited"
    )


def _open(recipe: Recipe, settings: Settings) -> Run:
    settings = recipe.settle(settings)
    trainer = build_trainer(settings, recipe.build(settings), recipe.data(settings))
    return Run(recipe, settings, trainer, trainer.init())


def _drive(
    run: Run, on_state: Callable[[Trainer, TrainState], None] | None, stop: Callable[[], bool]
) -> Run:
    """Train until the end, a stop, or a divergence; save now and then if the run has a file."""
    state, saved = run.state, time.monotonic()
    _save(run, state)  # so that there is something to go on with from the first step on
    try:
        with limit_threads(run.settings.threads):
            for state in run.trainer.run(run.state):
                if on_state is not None:
                    on_state(run.trainer, state)
                if time.monotonic() - saved > SAVE_SECONDS:
                    _save(run, state)
                    saved = time.monotonic()
                if stop():
                    break
    finally:  # whatever ended it: the last step, a stop, a divergence, a closed terminal
        _save(run, state)
    return replace(run, state=state)


def _save(run: Run, state: TrainState) -> None:
    """Save a state if the run has a file, and if the state is one to go on from.

    The arrays that a divergence announces itself in need not be those that the loss shows first.
    """
    if run.path is not None and is_finite(state, run.trainer.backend):
        replace(run, state=state).save(run.path)
