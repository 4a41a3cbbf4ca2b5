"""Every recipe against its backprop twin: same data, weights, batches, epochs and optimiser.

    pip install -e ".[torch]" snntorch
    export NOLR_DATA=...
    python examples/studies/backprop_twin.py accuracy [RECIPE[:SEEDS] ...]
    python examples/studies/backprop_twin.py twin [RECIPE[:SEEDS] ...]
    python examples/studies/backprop_twin.py cost [RECIPE ...]
    python examples/studies/backprop_twin.py memory [RECIPE ...]
    python examples/studies/backprop_twin.py gradients [RECIPE ...]
    python examples/studies/backprop_twin.py table

`accuracy` trains the recipes, seeds 0-2 unless another number of seeds is given; `twin` their
twins, with the best of three learning rates by validation accuracy on seed 0. `cost` times steps of
both, in turns, in fresh processes, and takes the least; on a graph, where an epoch is one step,
ours include the evaluation after it, theirs do not. Where `nolr info` advises another matrix
kernel, set it: torch brings products of its own. What is measured with one that is advised against
is kept apart, as `cost, unadvised kernel`. `memory` measures the most that steps of both take.
`gradients` compares the estimate of a trained network, stage by stage, with the exact gradients of
the clean loss and of the loss with noise. Each adds to results/backprop_twin.json beside this file;
recipes not named keep what was recorded. `table` prints the tables and draws the picture.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
from twin_gradients import gradients
from twin_steps import cost, memory
from twin_training import accuracy, twin

from nolr.environment import keep_memory, kernel_advice, processor, versions
from nolr.errors import BadInput
from nolr.files import write_atomically
from nolr.recipes import RECIPES

RESULTS = Path(__file__).parent / "results" / "backprop_twin.json"
SEEDS = 3


def record(section: str, words: list[str], measure: Callable[..., dict]) -> None:
    core = os.environ.get("OPENBLAS_CORETYPE")
    kernel = f"OPENBLAS_CORETYPE={core} " if core else ""
    unadvised = ", unadvised kernel" if section == "cost" and kernel_advice() else ""
    for word in words:
        name, _, seeds = word.partition(":")
        result = (
            measure(name, int(seeds or SEEDS)) if measure in (accuracy, twin) else measure(name)
        )
        rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        rows.setdefault(name, {})[section + unadvised] = result | {
            "command": f"{kernel}python examples/studies/backprop_twin.py {section} {word}",
            "date": date.today().isoformat(),
            "machine": processor(),
            "versions": versions() | {"torch": torch.__version__},
        }
        write_atomically(RESULTS, (json.dumps(rows, indent=1) + "\n").encode())


def main() -> None:
    keep_memory()  # for both sides
    section, *names = sys.argv[1:] or [""]
    sections = {f.__name__: f for f in (accuracy, twin, cost, memory, gradients)}
    if section == "table":
        from backprop_twin_table import draw, print_tables

        rows = json.loads(RESULTS.read_text())
        rows = {name: rows[name] for name in RECIPES if name in rows}
        print_tables(rows)
        draw(rows)
    elif section in sections:
        try:
            record(section, names or list(RECIPES), sections[section])
        except BadInput as error:
            sys.exit(str(error))
    else:
        sys.exit(f"expected one of {', '.join(sections)} or table, got {section!r}")


if __name__ == "__main__":
    main()
