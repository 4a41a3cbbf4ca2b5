"""Bag-of-words logistic regression on the rows that agnews-recurrent trains on, seeds 0-2.

    NOLR_DATA=... python examples/studies/bag_of_words.py

Word counts and tf-idf; the regularisation is the best of three by validation accuracy, seed by
seed. Writes results/bag_of_words.json beside this file.
"""

from __future__ import annotations

import json
import statistics
from datetime import date
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from nolr.data import load_ag_news, tokenise
from nolr.environment import processor, versions
from nolr.files import write_atomically
from nolr.recipes import get_recipe

RESULTS = Path(__file__).parent / "results" / "bag_of_words.json"
SEEDS, STRENGTHS = range(3), (0.1, 1.0, 10.0)


def main() -> None:
    recipe = get_recipe("agnews-recurrent")
    settings = recipe.settle(recipe.settings)
    texts, test = load_ag_news(settings.data_dir or None, settings.variant)
    rows = {}
    for kind in (CountVectorizer, TfidfVectorizer):
        found = []
        for seed in SEEDS:
            rest, held = train_test_split(
                np.arange(len(texts)),
                test_size=settings.validation_fraction,
                stratify=texts.labels,
                random_state=seed,
            )
            train, validation = texts.rows(rest), texts.rows(held)
            words = kind(analyzer=tokenise).fit(train.texts)
            x, x_validation, x_test = (
                words.transform(part.texts) for part in (train, validation, test)
            )
            models = [
                LogisticRegression(C=strength, max_iter=1000).fit(x, train.labels)
                for strength in STRENGTHS
            ]
            best = max(models, key=lambda model: model.score(x_validation, validation.labels))
            found.append({"seed": seed, "C": best.C, "test": best.score(x_test, test.labels)})
        rows[kind.__name__] = {"mean": statistics.mean(r["test"] for r in found), "seeds": found}
        print(kind.__name__, rows[kind.__name__])
    record = {
        "command": "python examples/studies/bag_of_words.py",
        "date": date.today().isoformat(),
        "machine": processor(),
        "versions": versions(),
        "data": settings.variant,
        "training_texts": len(rest),
        "rows": rows,
    }
    write_atomically(RESULTS, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
