"""nolr gradcheck: what is the mean of an estimator, on a recipe's own network?"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nolr.cli_console import open_console
from nolr.cli_settings import check_samples, gather
from nolr.destinations import check_report
from nolr.errors import BadInput

if TYPE_CHECKING:
    from rich.table import Table

    from nolr.testing import Certificate
    from nolr.training import Trainer

__all__ = ["gradcheck"]

SAMPLES = 4
MOST_ROWS = 512
MOST_NUMBERS = 1 << 22  # in one layer, of all copies of one draw


@click.command()
@click.argument("target", metavar="RECIPE|RUN")
@click.option("--residual", help="λ: 1 is unbiased; the recipe's own unless given.")
@click.option("--set", "more", multiple=True, metavar="KEY=VALUE", help="Any other setting.")
@click.option("--samples", type=int, help="Training samples in the batch; 4 unless given.")
@click.option("--tolerance", default=0.05, show_default=True, help="Fraction of a gradient's norm.")
@click.option("--draws", default=128, show_default=True, help="Give up after so many.")
@click.option("--data-dir", help="Data folder; NOLR_DATA or datasets/ unless given.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write it as JSON.")
def gradcheck(
    target: str,
    residual: str | None,
    more: tuple[str, ...],
    samples: int | None,
    tolerance: float,
    draws: int,
    data_dir: str | None,
    json_file: Path | None,
) -> None:
    """Compare the mean of an estimator with a reference, stage by stage.

    TARGET is a recipe, with its initial parameters, or a saved run, with its trained ones. The
    settings are those it trains with, so most recipes are found biased, as their estimand says:
    they rely on learned feedback (λ = 0). With --residual 1 they are unbiased, but noisy.
    """
    from nolr.files import write_atomically
    from nolr.testing import UNDECIDED
    from nolr.testing.certificate import NO_GRADIENT

    if samples is not None and samples < 1:
        raise BadInput(f"--samples must be at least 1, got {samples}")
    settings = gather(more, residual=residual, data_dir=data_dir)
    if json_file is not None:
        check_report(target, json_file)
    certificate = _check(target, settings, samples, tolerance, draws)
    if json_file is not None:
        write_atomically(json_file, (json.dumps(asdict(certificate), indent=2) + "\n").encode())
    console = open_console()
    console.print(_table(target, certificate))
    console.print(certificate.estimand, style="dim", soft_wrap=True)
    open_ones = [found for found in certificate.findings if found.verdict == UNDECIDED]
    if certificate.verdict == UNDECIDED and all(found.silent for found in open_ones):
        console.print(f"undecided: {NO_GRADIENT}", style="dim", soft_wrap=True)
    elif certificate.verdict == UNDECIDED:
        hint = f"undecided: more draws may tell, such as --draws {4 * draws}"
        console.print(hint, style="dim", soft_wrap=True)


def _check(
    target: str, settings: dict[str, Any], samples: int | None, tolerance: float, draws: int
) -> Certificate:
    from nolr.data import Dataset
    from nolr.recipes import build_trainer, get_recipe
    from nolr.runs import reopen
    from nolr.testing import check_unbiased

    settings = settings | {"dtype": "float64"}
    memory = None
    if Path(target).is_file():
        run = reopen(target, settings)
        trainer, params, memory = run.trainer, run.params, run.state.estimator
    else:
        recipe = get_recipe(target)
        chosen = recipe.settle(recipe.settings.with_values(settings))
        trainer = build_trainer(chosen, recipe.build(chosen), recipe.data(chosen))
        params = trainer.params(trainer.init())
    part = trainer.data.train
    check_samples(samples, len(part))
    few = SAMPLES if samples is None else samples
    inputs, targets = trainer.move(Dataset(part.inputs[:few], part.targets[:few]))
    inputs = trainer.encode(inputs)
    return check_unbiased(
        replace(trainer.estimator, workers=1),
        trainer.network,
        params,
        (inputs, targets),
        trainer.loss,
        tolerance=tolerance,
        max_draws=draws,
        rows=max(inputs.shape[0], _rows(trainer)),
        state=memory,
        seed=trainer.seed,
    )


def _rows(trainer: Trainer) -> int:
    """How many rows a draw may have, so that it fits in memory."""
    network = trainer.network
    largest = max(map(prod, (network.input_shape, *network.shapes, *network.noise_shapes)))
    copies = 1 + trainer.estimator.copies * len(network.stages)  # and the clean run
    return max(1, min(MOST_ROWS, MOST_NUMBERS // (copies * largest)))


def _table(target: str, certificate: Certificate) -> Table:
    from rich.table import Table

    table = Table(
        title=f"{target}: {certificate.verdict}, against {certificate.reference}, "
        f"{certificate.draws} draws of {certificate.rows} rows"
    )
    for column in ("stage", "parameter", "direction"):
        table.add_column(column)
    for column in ("bias", "bias is below", "z"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for found in certificate.findings:
        table.add_row(
            str(found.stage),
            found.name,
            found.direction,
            f"{found.bias:.2e}",
            f"{found.bound:.1%}",
            f"{found.z:.1f}",
            found.verdict,
        )
    return table
