"""The Jacobian control variate: predict a unit's credit from the mean Jacobian of the rest.

The loss of a copy is one number, but its output o is m numbers, for free. A stage's pathway
(`nolr.pathways`) takes its noise ε to the units u that later stages see, a∘ε for a dense one with

    a = E[f'(v + ε)].

For every stage, keep a running regression of the output change Δo on u,

    J̄ = Σ Δo uᵀ (Σ E[uuᵀ] + ridge)⁻¹,

which is itself a likelihood-ratio estimate of the mean Jacobian of the tail
(`nolr.estimation.regression`). It has a control variate of its own: of Δo uᵀ = (Δo - βJ̄u) uᵀ + βJ̄
uuᵀ, with J̄ and β as they were before the draw, the second term is replaced by its mean βJ̄ E[uuᵀ],
so that units do not disturb each other's sums by what is known already. With the loss's own
derivative e = ∂loss/∂o it predicts the credit of every unit, per sample, ĝ = pathwayᵀ (J̄ᵀe), and
foresees the change of the loss, ĝ·ε = e·J̄u. Since E[(ĝ·ε) s] = ĝ for every ĝ that was fixed before
the draw,

    δ = β ĝ + λ · mean_k[ (odd loss - β ĝ·ε) s ]

is unbiased at λ = 1, and has the variance of ‖g - ĝ‖ instead of that of ‖g‖. The coefficient β
is the running regression of the odd loss on ĝ·ε: it scales a bad J̄ down (which an optimiser that
normalises its gradients, like Adam, undoes where λ = 0). λ < 1 trades bias for variance; λ = 0 is
learned feedback alone.

Between convolutions white noise drowns: one pixel says little, and what it does depends on which
windows win later on. Noise that is the same all over a block of pixels that later pooling takes
together moves the output far more, and the winners average out. Such *block probes* serve J̄ only:
their covariance is singular, so they have no score.

Control variates: Glynn and Szechtman, Some new perspectives on the method of control variates
(2002). Feedback learned from perturbations: Lansdell, Prakash, Kording (arXiv:1906.00889).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from nolr.backends import namespace
from nolr.checks import use_plain_numbers
from nolr.errors import BadInput, nearest
from nolr.estimation.evidence import Evidence
from nolr.estimation.forgetting import Forgetting, as_forgetting
from nolr.estimation.regression import TINY, explain, regress
from nolr.types import Array, Backend

__all__ = ["JacobianControlVariate"]

PROBES = ("white", "block")
FORGETS = ("evenly", "by-evidence")


@dataclass(frozen=True)
class JacobianControlVariate:
    """A running mean Jacobian for every stage, and what to do with the residual.

    Args:
        residual: λ in [0, 1], the weight of the likelihood-ratio residual; or "adaptive", a
            cautious estimate of the λ of least mean squared error, the fraction of the residual
            gradient's power that is signal (see `nolr.estimation.figures`); 1 if the loss has no
            derivative.
        forgetting: factor in (0, 1) by which older evidence is discounted in every step that
            runs copies; a number, or a function of the step.
        ridge: added to the energy of every unit in the regression, as a fraction of their mean;
            features of a context have a ridge of their own, which falls as evidence comes in.
        probe: "block" to learn J̄ from noise in blocks where pooling lies behind a stage; "white" to
            learn it from the noise whose score is weighed, everywhere.
        context: between convolutions, let J̄ depend on the sample by as many features of its context
            (`nolr.context`) as keep a stage within so many units u; 0 for the mean alone. What
            is forgotten fast has use for few. A place with F features takes F² numbers to remember.
        probe_sigma: level of block probes that enter behind the activation
            (`nolr.estimation.probes`), so that σ says no more than how smooth the gates are there;
            0: block probes are noise of level σ before the activation.
        leak: share of such a probe, from 0 to 1, that closed gates let pass: what units do that are
            hardly ever open is learned from it. J̄ then counts samples that have a unit closed for
            leak² of those that have it open.
        forgets: "evenly", or "by-evidence": a unit forgets in proportion to what is known of it
            (`Evidence.discount`), and keeps the little that was ever seen if it hardly responds.
            Units that never respond count in the mean, so that the others forget the faster: a
            leak keeps that in bounds.

    Raises:
        BadInput: an argument out of its range.
    """

    residual: float | str = "adaptive"
    forgetting: float | Forgetting = 0.98
    ridge: float = 0.01
    probe: str = "white"
    context: int = 0
    probe_sigma: float = 0.0
    leak: float = 0.0
    forgets: str = "evenly"

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        if self.residual != "adaptive" and not (
            isinstance(self.residual, int | float) and 0 <= self.residual <= 1
        ):
            raise BadInput(
                f"residual must be a number from 0 to 1, or 'adaptive', got {self.residual!r}"
            )
        as_forgetting(self.forgetting)
        if not 0 <= self.ridge < inf:
            raise BadInput(f"ridge must be a number from 0 on, got {self.ridge}")
        if self.probe not in PROBES:
            raise BadInput(f"there is no probe {self.probe!r}{nearest(str(self.probe), PROBES)}")
        if self.probe_sigma != 0 and not 1e-15 <= self.probe_sigma <= 1e15:
            raise BadInput(
                "probe_sigma must be a number from 1e-15 to 1e15, or 0 for block probes of level σ "
                f"before the activation, got {self.probe_sigma}"
            )
        if not 0 <= self.leak <= 1:
            raise BadInput(f"leak must be a number from 0 to 1, got {self.leak}")
        if self.leak and self.probe_sigma == 0:
            raise BadInput(
                f"leak {self.leak:g} is of probes behind the activation: give them a probe_sigma, "
                "or leave leak at 0"
            )
        if self.probe_sigma and self.probe != "block":
            raise BadInput(
                f"probe_sigma is the level of block probes, but probe is {self.probe!r}: choose "
                "probe 'block', or leave probe_sigma and leak at 0"
            )
        if self.forgets not in FORGETS:
            raise BadInput(
                f"forgets cannot be {self.forgets!r}{nearest(str(self.forgets), FORGETS)}"
            )
        if type(self.context) is not int or self.context < 0:
            raise BadInput(f"context must be a number of units from 0 on, got {self.context!r}")

    def init(
        self, backend: Backend, outputs: int, units: int, dtype: object, dependent: int = 1
    ) -> Evidence:
        """No evidence yet: J̄ = 0.

        Args:
            outputs: m.
            units: number of units, of all places together.
            dependent: how many of them move together, because they are of the same place.
        """
        zeros = backend.xp.zeros
        places = (units,) if dependent == 1 else (units // dependent, dependent, dependent)
        return Evidence(
            moment=zeros((outputs, units), dtype=dtype),
            energy=zeros(places, dtype=dtype),
            draws=zeros((), dtype=dtype),
            covariance=zeros((), dtype=dtype),
            power=zeros((), dtype=dtype),
        )

    def jacobian(self, evidence: Evidence) -> Array:
        """J̄ (m, units); 0 where nothing has been seen yet."""
        return regress(evidence.moment, evidence.energy, evidence.draws, self.ridge)

    def beta(self, evidence: Evidence, first: float = 0.0) -> Array:
        """β = Cov/Var, clipped to [0, 1].

        0 where the evidence speaks against the prediction: with λ = 0 the stage's gradient is then
        0.

        Args:
            first: β as long as nothing has been predicted: 1 where the prediction is known to be
                good before anything is learned.
        """
        xp = namespace(evidence.power)
        slope = (evidence.covariance + first * TINY) / (evidence.power + TINY)
        return xp.minimum(xp.maximum(slope, 0.0), 1.0)

    def observe(
        self,
        surprise: Array,
        moved: Array,
        energy: Array,
        explained: Array,
        odd_loss: Array,
        foreseen: Array,
    ) -> Evidence:
        """The evidence in one block of draws.

        Args:
            surprise: Δo - βJ̄u, what the prediction does not explain of the odd part of the output,
                (rows, m).
            moved: u (rows, units).
            energy: as in `Evidence`, over the rows: known, so it need not be estimated.
            explained: βJ̄ (m, units).
            odd_loss: odd part of the loss, (draws,).
            foreseen: ĝ·ε, (draws,).
        """
        xp = namespace(surprise)
        return Evidence(
            moment=surprise.T @ moved + explain(explained, energy),
            energy=energy,
            draws=xp.asarray(surprise.shape[0], dtype=surprise.dtype),
            covariance=xp.vecdot(odd_loss, foreseen),
            power=xp.vecdot(foreseen, foreseen),
        )

    def learn(self, evidence: Evidence, seen: Evidence, step: int) -> Evidence:
        """Forget a little, then add what was seen in this step."""
        kept = as_forgetting(self.forgetting)(step)
        if self.forgets == "by-evidence":
            return evidence.discount(kept).plus(seen)
        return evidence.plus(seen, kept)
