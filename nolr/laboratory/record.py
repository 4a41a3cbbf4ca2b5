"""The record of a study: everything as JSON, and the essence as tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from math import isnan
from typing import TYPE_CHECKING, Any

from nolr.environment import processor, versions
from nolr.laboratory.study import Study
from nolr.laboratory.summary import at_budget, budgets, compared, curve

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["as_json", "as_markdown", "as_table", "notes"]

NOTES = (
    "Cosines, biases and variances are of estimates at fixed parameters, of one batch.",
    "Forward passes are those of a sample in an average step: the clean run, and every noisy tail "
    "as if it were a whole one. Copies that only a control variate learns from are run in some of "
    "the steps and count for as much. Seconds are medians on the machine named, likewise averaged.",
    '"default" and "λ = 1" have the memory that training left them: the passes that taught it are '
    "those of the steps before. With λ = 0 an estimate depends on nothing but that memory, so its "
    'variance is 0, and its errors are all bias; "default, memory anew" learns it from nothing in '
    "100 steps before every draw, so that what is due to chance shows as variance.",
    "The noised gradient that an estimator is compared with is that of its own loss: noise in one "
    "stage, in several, or in the parameters; a slope along a direction is of the clean loss.",
    "Exact gradients are central differences of forward runs in float64: of every unit's "
    "pre-activation, which gives all coordinates, or of some parameters. Noised ones are means "
    "over draws of the noise, whose standard error limits the cosine that can be found (the "
    "ceiling).",
)


def notes(study: Study) -> list[str]:
    """What a reader of the figures has to know."""
    found = [*NOTES, *study.remarks]
    clean = [row for row in study.exact if row.loss == "clean"]
    jumping = sorted({row.stage for row in clean if isnan(row.squared_error)})
    if jumping:
        where = ", ".join(map(str, jumping))
        found.append(
            f"The loss jumps as stage {where} moves, so it has no clean gradient there, and its "
            "noised one is a difference over a fifth of the noise level."
        )
    return found


def as_json(study: Study, command: str) -> bytes:
    """Everything, as JSON; what does not exist is null."""
    subject = study.subject
    record = {
        "command": command,
        "date": date.today().isoformat(),
        "machine": processor(),
        "versions": versions(),
        "target": subject.target,
        "recipe": subject.recipe.name,
        "seed": subject.settings.seed,
        "settings": subject.settings.to_dict(),
        "samples": int(subject.batch[0].shape[0]),
        "estimators": {entry.name: entry.says for entry in study.entries},
        "checkpoints": [{"name": c.name, "step": c.step} for c in study.checkpoints],
        "notes": notes(study),
        "exact": [asdict(row) for row in study.exact],
        "rows": [asdict(row) for row in study.rows],
        "sweep_copies": study.sweep_copies,
        "sweeps": {
            name: [{"value": p.value, "rows": [asdict(row) for row in p.rows]} for p in points]
            for name, points in study.sweeps.items()
        },
    }
    return (json.dumps(_plain(record), indent=1, ensure_ascii=False) + "\n").encode()


def _plain(value: Any) -> Any:
    """JSON has no NaN, and a measurement no more than six digits."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if not isinstance(value, float):
        return value
    return None if isnan(value) else float(f"{value:.6g}")


def as_table(study: Study, checkpoint: str) -> Table:
    """Mean cosines at equal forward passes, for a terminal."""
    from rich.table import Table

    head, lines = _at_equal_cost(study, checkpoint)
    table = Table()
    for index, column in enumerate(head):
        table.add_column(column, justify="right" if index else "left")
    for line in lines:
        table.add_row(*line)
    return table


def as_markdown(study: Study, command: str) -> bytes:
    """The tables as Markdown, with what a reader has to know."""
    subject = study.subject
    samples = subject.batch[0].shape[0]
    texts = [
        f"# Variance of gradient estimators: {subject.recipe.name}, seed {subject.settings.seed}",
        f"`{command}`, {processor()}, {samples} sample{'s' * (samples != 1)}.",
    ]
    for checkpoint in study.checkpoints:
        texts += [
            f"## {checkpoint.name.capitalize()}: after {checkpoint.step} steps",
            f"Mean over stages of the cosine to the exact {compared(study.rows)} gradient, with so "
            "many forward passes:",
            _markdown(*_at_equal_cost(study, checkpoint.name)),
            "In detail; bias and deviation are relative to the gradient's norm:",
            _markdown(*_in_detail(study, checkpoint.name)),
        ]
    texts += ["## The exact gradients", _markdown(*_exact(study))]
    texts += ["## How to read it", *(f"- {note}" for note in notes(study))]
    return ("\n\n".join(texts) + "\n").encode()


def _at_equal_cost(study: Study, checkpoint: str) -> tuple[list[str], list[list[str]]]:
    costs = budgets(study.rows, checkpoint)
    lines = []
    for entry in study.entries:
        if entry.memory == "many":  # at one cost alone
            continue
        means = curve(study.rows, entry.name, checkpoint)
        lines.append([entry.name, *(_number(at_budget(means, cost), 3) for cost in costs)])
    return ["estimator", *(f"{cost:g}" for cost in costs)], lines


def _in_detail(study: Study, checkpoint: str) -> tuple[list[str], list[list[str]]]:
    head = ["estimator", "copies", "passes", "ms", "cosine", "±", "bias", "deviation"]
    lines = [
        [
            entry.name,
            str(mean.copies),
            f"{mean.forward_passes:.4g}",
            f"{1000 * mean.seconds:.3g}",
            _number(mean.cosine, 3),
            _number(mean.cosine_error, 3),
            _number(mean.bias, 3),
            _number(mean.deviation, 3),
        ]
        for entry in study.entries
        for mean in curve(study.rows, entry.name, checkpoint)
    ]
    return head, lines


def _exact(study: Study) -> tuple[list[str], list[list[str]]]:
    head = ["checkpoint", "stage", "loss", "by", "coordinates", "draws", "ceiling"]
    lines = [
        [
            row.checkpoint,
            str(row.stage),
            row.loss,
            row.method,
            f"{row.coordinates} of {row.parameters}",
            str(row.draws),
            _number(row.ceiling, 4),
        ]
        for row in study.exact
    ]
    return head, lines


def _number(value: float, digits: int) -> str:
    return "–" if isnan(value) else f"{value:.{digits}f}" if value < 100 else f"{value:.4g}"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ruler, *lines))
