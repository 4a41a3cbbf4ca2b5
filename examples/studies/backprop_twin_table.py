"""The tables and the picture of the twin study, from its recorded results."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

__all__ = ["draw", "print_tables"]

PICTURE = Path(__file__).parents[1] / "pictures" / "backprop_twin.png"
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#999999"  # Okabe and Ito


def label(name: str, row: dict) -> str:
    """The recipe, and the data where they are not the ones that the name says."""
    variant = row.get("accuracy", {}).get("variant", "")
    return f"{name} ({variant})" if variant not in ("", "cifar-10", "ag-news") else name


def time_to(history: list[dict], accuracy: float) -> str:
    """Training time until the validation accuracy is reached."""
    seconds = (row["seconds"] for row in history if row["validation"] >= accuracy)
    return next((f"{value:.1f} s" for value in seconds), "never")


def print_tables(rows: dict) -> None:
    print("| recipe | nolr (%) | backprop twin (%) | training | to the twin's accuracy | twin's |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        if (ours := row.get("accuracy")) is None:
            continue
        seconds = sorted(seed["seconds"] for seed in ours["seeds"])[len(ours["seeds"]) // 2]
        cells = [f"{100 * ours['test_accuracy_mean']:.2f} ({len(ours['seeds'])})"]
        if (twin := row.get("twin")) is None:
            cells += ["", f"{seconds:.0f} s", "", ""]
        else:
            first, own = twin["seeds"][0], ours["seeds"][0]["history"]
            reached = first["validation_accuracy"]
            cells += [
                f"{100 * twin['test_accuracy_mean']:.2f} ({len(twin['seeds'])})",
                f"{seconds:.0f} s",
                time_to(own, reached),
                time_to(first["history"], reached),
            ]
        print(f"| {label(name, row)} | {' | '.join(cells)} |")
    print()
    print("| recipe | step of nolr | of torch | ratio | ratio to snnTorch |")
    print("|---|---|---|---|---|")
    for name, row in rows.items():
        if (found := row.get("cost")) is None:
            continue
        steps, ratios, best = found["step_seconds"], found["nolr_over"], found["fastest"]
        peer = f"{ratios['snntorch']:.2f}" if "snntorch" in ratios else ""
        print(
            f"| {name} | {1e3 * steps[best]:.2f} ms | {1e3 * steps['torch']:.2f} ms "
            f"| {ratios['torch']:.2f} | {peer} |"
        )
    print()
    print("| recipe | cosine to the clean gradient, by stage | to the gradient with noise |")
    print("|---|---|---|")
    for name, row in rows.items():
        if (found := row.get("gradients")) is None:
            continue
        clean, noised = (
            " ".join(f"{stage[k]:.2f}" for stage in found["cosines"]) for k in ("clean", "noised")
        )
        print(f"| {name}{' (surrogate)' if found['surrogate'] else ''} | {clean} | {noised} |")


def draw(rows: dict) -> None:
    """Test accuracy of every seed of both, and step times side by side."""
    rows = {name: row for name, row in rows.items() if "accuracy" in row}
    names = list(reversed(rows))
    figure = Figure(figsize=(11, 0.5 * len(names) + 1.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1), sharey=True)
    for y, name in enumerate(names):
        for section, colour, shift, text in (
            ("accuracy", BLUE, 0.13, "nolr, forward runs only"),
            ("twin", VERMILION, -0.13, "backprop twin (torch)"),
        ):
            seeds = rows[name].get(section, {}).get("seeds", [])
            left.plot(
                [100 * seed["test_accuracy"] for seed in seeds],
                [y + shift] * len(seeds),
                "o",
                color=colour,
                alpha=0.8,
                label=text if y == 0 else None,
            )
        ratio = rows[name].get("cost", {}).get("nolr_over", {}).get("torch")
        if ratio is not None:
            right.barh(y, ratio, height=0.5, color=BLUE)
            right.text(ratio + 0.05, y, f"{ratio:.1f}", va="center")
    left.set_yticks(range(len(names)), [label(name, rows[name]) for name in names])
    left.set(xlabel="test accuracy (%), one dot a seed")
    left.grid(axis="x", color=GREY, alpha=0.3)
    left.legend(frameon=False, loc="upper left")
    right.tick_params(left=False, labelleft=False)
    right.axvline(1, color=GREY, linestyle="--")
    right.set(xlabel="time of a step, nolr over torch")
    right.margins(x=0.15)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, dpi=130)
