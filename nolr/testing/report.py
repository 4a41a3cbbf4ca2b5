"""Reports: a certificate as text for whoever reads a failing test, with hints where to look.

A hint says only what follows from which arrays are biased and which show no sign of it. The
gradient of an array is a sum over samples, positions and copies of a weighed score (the credit of a
unit) times what the parameter meets there; arrays of one stage share their credit.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, isfinite

from nolr.testing.certificate import (
    BIASED,
    NO_GRADIENT,
    UNBIASED,
    UNDECIDED,
    Certificate,
    Finding,
)

__all__ = ["hints", "largest_bound", "report"]

CLEAR = 4.0  # standard errors, of the worst of some ten directions: no sign of a bias


def report(certificate: Certificate, expected: str = UNBIASED) -> str:
    """Verdict, estimand, conditions, a table with a line for every array, and hints."""
    lines = [
        f"expected {expected}, found {certificate.verdict}",
        "",
        f"estimand:   {certificate.estimand}",
        f"reference:  {certificate.reference}",
        f"draws:      {certificate.draws} of {certificate.rows} rows",
        *_repeats(certificate),
        f"tolerance:  {100 * certificate.tolerance:g} % of the norm of a stage's gradient",
        f"error rate: {certificate.error_rate:.2g} over all directions and looks",
        "",
        f"{'stage':>5}  {'parameter':<10} {'direction':<10} {'bias':>10} {'bound':>9} {'z':>8}  "
        "verdict",
    ]
    lines += [
        f"{found.stage:>5}  {found.name:<10} {found.direction:<10} {found.bias:>10.2e} "
        f"{100 * found.bound:>7.1f} % {found.z:>8.1f}  {found.verdict}"
        for found in certificate.findings
    ]
    for sentence in hints(certificate, expected):
        lines += ["", f"- {sentence}"]
    return "\n".join(lines)


def _repeats(certificate: Certificate) -> list[str]:
    """What the rows are, where they are more than the batch."""
    if certificate.repeats == 1:
        return []
    samples = certificate.rows // certificate.repeats
    return [
        f"batch:      {samples} samples, {certificate.repeats} times; whoever couples the samples "
        f"of a batch is judged at that size (rows={samples}: as it is)"
    ]


def largest_bound(certificate: Certificate) -> float:
    """No bias of any array is larger, as a fraction of the norm of its stage's gradient."""
    return max(found.bound for found in certificate.findings)


def hints(certificate: Certificate, expected: str = UNBIASED) -> list[str]:
    """What a certificate that was not expected tells of its reason, a sentence or two each."""
    if certificate.verdict == UNDECIDED:
        return [_how_many_more(certificate)]
    if certificate.verdict == UNBIASED:
        limit = 100 * certificate.tolerance
        return [f"No bias is as large as {limit:g} %: a smaller tolerance would show smaller ones."]
    if "biased" in certificate.estimand.replace("unbiased", ""):
        return [
            "The estimator says itself that it is biased, see the estimand. λ = 1, or no control "
            'variate, is not; or expect="biased".'
        ]
    return _where(certificate.findings)


def _where(findings: Iterable[Finding]) -> list[str]:
    """Which arrays are off and which show no sign of it, and what only the former have."""
    stages: dict[int, list[Finding]] = {}
    for one in findings:
        stages.setdefault(one.stage, []).append(one)
    off = [stage for stage, group in stages.items() if any(map(_is_off, group))]
    clear = [stage for stage, group in stages.items() if all(map(_is_clear, group))]
    suspects = [not _is_clear(one) and one.radius > 0 for group in stages.values() for one in group]
    found = []
    if len(stages) > 1 and all(suspects):
        found.append(
            "Every array shows signs of it: look at what all stages share, which is the scale of "
            "the noise and of its score, the baseline, the number, order and signs of the copies, "
            "and the losses."
        )
    elif clear:
        found.append(
            f"Off is {_stages(off)}, and {_stages(clear)} shows no sign of it: look at what only "
            "the former has, which is its layer (check_layer), its noise (check_score), what it "
            "meets in every copy, and the layers behind it, that take the noise to the loss."
        )
    for stage in off:
        wrong = _and([one.name for one in stages[stage] if _is_off(one)])
        fine = [one.name for one in stages[stage] if _is_clear(one)]
        if fine:
            found.append(
                f"In stage {stage} the gradient of {wrong} is off and that of {_and(fine)} shows "
                f"no sign of it, though they share their credit: look at what only {wrong} has, "
                "which is its part of the layer's pullback, and what it is multiplied with in "
                "every copy: input, past, and the order of the samples."
            )
    return found


def _is_off(finding: Finding) -> bool:
    return finding.verdict == BIASED


def _is_clear(finding: Finding) -> bool:
    """Whether there is a gradient, and no sign of a bias; a gradient of 0 tells nothing."""
    return not _is_off(finding) and abs(finding.z) < CLEAR and finding.radius > 0


def _how_many_more(certificate: Certificate) -> str:
    """What it would take to decide. Radii shrink with the root of the number of draws."""
    open_ones = [found for found in certificate.findings if found.verdict == UNDECIDED]
    worst = max(open_ones, key=lambda found: found.bound)
    where = f"{worst.name} in stage {worst.stage}"
    room = certificate.tolerance * worst.norm - abs(worst.bias)
    text = (
        f"Undecided: the bias of {where} may be 0 and may be {100 * worst.bound:.1f} % of the norm "
        f"of its stage's gradient, the tolerance is {100 * certificate.tolerance:g} %."
    )
    if worst.norm == 0:
        text = f"Undecided: the gradient of {where} is 0, and no bias is a small part of it"
        return f"{text}; {NO_GRADIENT}." if worst.silent else f"{text}."
    if room <= 0:
        return f"{text} Its mean lies beyond the tolerance, so more draws may well show a bias."
    needed = certificate.draws * (worst.radius / room) ** 2
    if not isfinite(needed):
        return f"{text} The draws were too few to tell anything."
    return (
        f"{text} About {ceil(needed)} draws of {certificate.rows} rows would do (max_draws, or "
        "--nolr-max-draws), fewer of more rows, or a larger tolerance."
    )


def _stages(numbers: list[int]) -> str:
    return _and([f"stage {number}" for number in numbers])


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
