"""What the recipes reach: test accuracy and training time, recorded.

    NOLR_DATA=... python examples/studies/recipes.py [RECIPE[:SEEDS] ...]

Trains every recipe named (all of them unless given) with seeds 0, 1, ... and writes
results/recipes.json beside this file; recipes not named keep their recorded rows.
"""

from __future__ import annotations

import json
import statistics
import sys
from datetime import date
from pathlib import Path

import nolr
from nolr.environment import processor, versions
from nolr.files import write_atomically
from nolr.recipes import RECIPES

RESULTS = Path(__file__).parent / "results" / "recipes.json"
SEEDS = 3


def main() -> None:
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for word in sys.argv[1:] or RECIPES:
        name, _, seeds = word.partition(":")
        runs = []
        for seed in range(int(seeds or SEEDS)):
            run = nolr.train(name, seed=seed)
            runs.append(
                {
                    "seed": seed,
                    "test_accuracy": run.test_accuracy,
                    "validation_accuracy": run.validation_accuracy,
                    "train_seconds": run.state.train_seconds,
                    "forward_passes": run.state.forward_passes,
                }
            )
            print(name, runs[-1], flush=True)
        rows[name] = {
            "test_accuracy_mean": statistics.mean(r["test_accuracy"] for r in runs),
            "train_seconds_median": statistics.median(r["train_seconds"] for r in runs),
            "runs": runs,
            "settings": RECIPES[name].settings.to_dict(),
            "command": f"python examples/studies/recipes.py {word}",
            "date": date.today().isoformat(),
            "machine": processor(),
            "versions": versions(),
        }
        write_atomically(RESULTS, (json.dumps(rows, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
