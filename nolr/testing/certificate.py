"""Certificates: what is known of an estimator's bias, block by block, in words and numbers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BIASED",
    "FEWEST_DRAWS",
    "NO_GRADIENT",
    "UNBIASED",
    "UNDECIDED",
    "Certificate",
    "Finding",
]

UNBIASED, BIASED, UNDECIDED = "unbiased", "biased", "undecided"

FEWEST_DRAWS = 64
"""Before so many draws nothing is concluded: one that is not normal would show too late."""

NO_GRADIENT = (
    "a gradient of 0 tells nothing of an estimator: try other parameters, another batch, or more "
    "noise"
)


@dataclass(frozen=True)
class Finding:
    """The direction in one array of parameters that speaks most against the estimator."""

    stage: int
    name: str
    direction: str
    """Which of the directions that were looked at."""
    norm: float
    """What the bias is compared with: the norm of the stage's gradient, as far as it is known; 0
    where there is nothing to compare with."""
    bias: float
    """Mean difference from the reference."""
    radius: float
    """Half the width of its confidence sequence."""
    z: float
    """The difference in standard errors."""
    verdict: str

    @property
    def silent(self) -> bool:
        """Whether every estimate and every reference of the stage was 0."""
        return self.norm == 0 and self.bias == 0 and self.radius == 0

    @property
    def bound(self) -> float:
        """No larger bias is compatible with the draws, as a fraction of the norm; of a norm of 0,
        infinity."""
        return (abs(self.bias) + self.radius) / self.norm if self.norm else float("inf")


@dataclass(frozen=True)
class Certificate:
    """The outcome of `check_unbiased`.

    `verdict` is "unbiased": every bias is below `tolerance` × the norm of its stage's gradient;
    "biased": some bias is not 0; or "undecided": the draws were not enough to tell, or a stage has
    no gradient. Either of the first two is wrong with a probability of at most `error_rate`, over
    all blocks and directions, and however often it was looked at in between.

    It is about a batch that is `repeats` times the one that was given: where an estimator couples
    the samples of a batch, it says nothing of other sizes.
    """

    verdict: str
    estimand: str
    reference: str
    draws: int
    """Estimates that were drawn, each the mean over `rows` rows."""
    rows: int
    repeats: int
    """How often the batch that was given is repeated in the rows of a draw."""
    tolerance: float
    error_rate: float
    findings: tuple[Finding, ...]
    """One for every block of parameters."""

    @property
    def worst(self) -> Finding:
        """The block that speaks most against the estimator."""
        return max(self.findings, key=lambda found: (found.verdict == BIASED, abs(found.z)))

    def __str__(self) -> str:
        lines = [
            f"{self.verdict}; claimed: {self.estimand}",
            f"against {self.reference}, {self.draws} draws of {self.rows} rows{self._batches}, "
            f"tolerance {100 * self.tolerance:g} %, error rate {self.error_rate:g}",
            f"{'block':<12}{'direction':<14}{'bias':>11}{'bound':>9}{'z':>8}  verdict",
        ]
        for found in self.findings:
            block = f"{found.stage}.{found.name}"
            lines.append(
                f"{block:<12}{found.direction:<14}{found.bias:>11.2e}"
                f"{100 * found.bound:>7.1f} %{found.z:>8.1f}  {found.verdict}"
            )
        if self.verdict == UNDECIDED and any(found.silent for found in self.findings):
            lines.append(NO_GRADIENT)
        return "\n".join(lines)

    @property
    def _batches(self) -> str:
        return f" (the batch {self.repeats} times)" if self.repeats > 1 else ""

    def raise_unless_unbiased(self) -> None:
        """For a test.

        Raises:
            AssertionError: the verdict is another one; with the whole table.
        """
        if self.verdict != UNBIASED:
            raise AssertionError(f"\n{self}")
