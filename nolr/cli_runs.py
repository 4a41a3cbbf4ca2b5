"""The command line of runs: nolr train, evaluate, predict."""

from __future__ import annotations

import io
import json
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nolr.cli_console import open_console
from nolr.cli_settings import gather
from nolr.destinations import check_outputs, run_path
from nolr.errors import BadInput

if TYPE_CHECKING:
    from nolr.run import Run

__all__ = ["evaluate", "predict", "train"]

RUN = click.Path(path_type=Path)


@click.command()
@click.argument("recipe", required=False)
@click.option("--backend", help="numpy, cupy, torch or array-api-strict.")
@click.option("--noise-source", help="device, or host: the same noise on every backend.")
@click.option("--seed", help="Of the split, the initial weights, the order and the noise.")
@click.option("--epochs", help="Passes over the training data.")
@click.option("--copies", help="Noisy copies of every sample; 2 is one antithetic pair.")
@click.option("--sigma", help="Noise level, in units of the pre-activation.")
@click.option("--sampler", help="antithetic, independent, orthogonal or sobol.")
@click.option("--schedule", help="layer-wise or joint.")
@click.option("--baseline", help="none, clean or leave-group-out.")
@click.option("--control-variate", help="jacobian, or none for plain likelihood ratios.")
@click.option("--residual", help="λ: a number from 0 to 1 (1: unbiased), or adaptive.")
@click.option("--data-dir", help="Data folder; NOLR_DATA or datasets/ unless given.")
@click.option("--set", "more", multiple=True, metavar="KEY=VALUE", help="Any other setting.")
@click.option("--out", type=RUN, help="Run file; a fresh name under runs/ unless given.")
@click.option("--overwrite", is_flag=True, help="Replace the run file if it is there.")
@click.option("--resume", "resumed", type=RUN, metavar="RUN", help="Go on with a saved run.")
@click.option("--json", "json_file", type=RUN, help="Write what came out as JSON.")
def train(
    recipe: str | None,
    more: tuple[str, ...],
    out: Path | None,
    overwrite: bool,
    resumed: Path | None,
    json_file: Path | None,
    **options: str | None,
) -> int:
    """Train RECIPE (digits-dense unless given) and save it as a run."""
    from nolr import runs
    from nolr.environment import keep_memory
    from nolr.plots import save_history
    from nolr.progress import run_table, show_progress, stage_table
    from nolr.recipes import get_recipe

    settings = gather(more, **options)
    console = open_console()
    keep_memory()
    with show_progress(console) as on_state, _stop_on_interrupt() as stop:
        if resumed is not None:
            if recipe is not None or out is not None:
                raise BadInput("--resume goes on with a run as it is: leave out RECIPE and --out")
            check_outputs(resumed, json_file)
            run = runs.resume(resumed, on_state=on_state, stop=stop, **settings)
        else:
            recipe = recipe or "digits-dense"
            seed = get_recipe(recipe).settings.with_values(settings).seed
            path = run_path(out, overwrite, f"{recipe}-seed{seed}")
            check_outputs(path, json_file)
            run = runs.train(recipe, out=path, on_state=on_state, stop=stop, **settings)
    assert run.path is not None, "the command line always names a run file"
    if json_file is not None:
        _write_json(run, json_file)
    if not run.finished:
        console.print(
            f"stopped after {run.state.step} steps, and saved; go on with\n"
            f"  nolr train --resume {shlex.quote(str(run.path))}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        return 130
    picture = run.path.with_suffix(".png")
    save_history(run, picture)
    console.print(run_table(run))
    console.print(stage_table(run.history[-1].stages))
    console.print(
        run.trainer.estimator.estimand(run.network, run.trainer.loss), style="dim", soft_wrap=True
    )
    console.print(
        f"run {run.path}   picture {picture}", highlight=False, markup=False, soft_wrap=True
    )
    return 0


@click.command()
@click.argument("run_file", metavar="RUN", type=RUN)
@click.option("--backend", help="Where to compute; the run's own backend unless given.")
@click.option("--data-dir", help="Data folder; the run's own, NOLR_DATA or datasets/.")
@click.option("--json", "json_file", type=RUN, help="Write what came out as JSON.")
def evaluate(
    run_file: Path, backend: str | None, data_dir: str | None, json_file: Path | None
) -> None:
    """Evaluate a saved RUN on its validation and test data."""
    from nolr.progress import run_table

    check_outputs(run_file, json_file)
    run = _load(run_file, backend=backend, data_dir=data_dir)
    if json_file is not None:
        _write_json(run, json_file)
    open_console().print(run_table(run))


@click.command()
@click.argument("run_file", metavar="RUN", type=RUN)
@click.argument("inputs", metavar="INPUT.npy", type=RUN)
@click.option("--backend", help="Where to compute; the run's own backend unless given.")
@click.option("--data-dir", help="Data folder; the run's own, NOLR_DATA or datasets/.")
@click.option("--out", type=RUN, help="Write the classes as .npy instead of printing them.")
def predict(
    run_file: Path, inputs: Path, backend: str | None, data_dir: str | None, out: Path | None
) -> None:
    """Print the class that a saved RUN gives to every sample in INPUT.npy.

    The samples are in the units of the recipe's data, one per row: for digits-dense grey values
    from 0 to 16, shape (N, 64).
    """
    import zipfile

    import numpy as np

    from nolr.files import write_atomically

    check_outputs(run_file, out, inputs)
    run = _load(run_file, backend=backend, data_dir=data_dir)
    try:
        samples = np.load(inputs, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(
            f"cannot read {str(inputs)!r} as a NumPy array ({error}): save one with numpy.save"
        ) from None
    if not isinstance(samples, np.ndarray):
        raise BadInput(f"{str(inputs)!r} holds several arrays: save a single one with numpy.save")
    classes = run.predict(samples)
    if out is None:
        click.echo("\n".join(map(str, classes.reshape(-1))))
        return
    memory = io.BytesIO()
    np.save(memory, classes)
    write_atomically(out, memory.getvalue())


def _load(path: Path, **places: str | None) -> Run:
    from nolr.runs import load

    return load(path, **{name: place for name, place in places.items() if place is not None})


def _write_json(run: Run, path: Path) -> None:
    from nolr.files import write_atomically

    write_atomically(path, (json.dumps(run.report(), indent=2) + "\n").encode())


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C asks training to stop and save; a second one stops at once."""
    asked = False

    def ask(signum: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        click.echo("stopping after this step; Ctrl-C once more stops at once", err=True)

    previous = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, previous)
