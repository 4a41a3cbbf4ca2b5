"""What the control variate says of one stage in one step, before any noise is drawn.

    ĝ = pathwayᵀ (J̄ᵀe)                the predicted credit of every unit
    ĝ·ε = e·J̄u,  u = pathway(ε)       the change of the losses that it foresees

and what the copies then teach for later steps: this step's prediction stays as it is, which is what
keeps the estimate unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass

from nolr.backends import namespace
from nolr.context import Condition
from nolr.estimation.control_variates import JacobianControlVariate
from nolr.estimation.evidence import Evidence
from nolr.estimation.probes import Probe
from nolr.pathways import Pathway
from nolr.types import Array, Reach, Route

__all__ = ["Prediction", "predict"]


@dataclass
class Prediction:
    """The prediction for one stage and a batch of N samples with P losses each."""

    control_variate: JacobianControlVariate
    error: Array
    """e, the derivative of the losses with respect to the features, (N, P, m)."""
    route: Route
    """The pathway of every sample, to its places."""
    condition: Condition | None
    """What J̄ depends on in every sample; None where it is the same for all."""
    jacobian: Array | None
    """J̄; None where it is the identity."""
    credit: Array
    """β ĝ / (all samples), the prediction of the gradient of the mean loss, (N, *noise_shape)."""
    beta: Array | float
    probe: Probe | None = None
    """What block probes enter through behind the activation, if they do."""
    seen: Evidence | None = None
    """What the copies have taught so far."""
    _entry: Route | None = None
    """The pathway from where the noise of the last draw entered."""
    _last: tuple[Array, Array] | None = None
    """u (rows, units) and J̄u (rows, m) of the last draw."""

    def foresee(self, noise: Array, blocks: bool = False) -> Array:
        """ĝ·ε, the change of every loss that the prediction foresees.

        (groups, N, *noise_shape) -> (groups, N·P).

        Args:
            blocks: whether it is that of a block probe.
        """
        xp, groups = namespace(noise), noise.shape[0]
        self._entry = self.probe.route if blocks and self.probe is not None else self.route
        change = self._entry.push(noise)
        if self.jacobian is not None:
            moved = change if self.condition is None else self.condition.push(change)
            moved = xp.reshape(moved, (-1, self.jacobian.shape[1]))
            change = moved @ self.jacobian.T
            self._last = moved, change
        change = xp.reshape(change, (groups, *self.error.shape))
        return xp.reshape(xp.vecdot(change, self.error), (groups, -1))

    def observe(
        self, shift: Array, odd_loss: Array, foreseen: Array, scale: float, blocks: bool
    ) -> None:
        """Collect evidence, of the noise that was foreseen last.

        Args:
            shift: Δo (groups, N, P·m).
            odd_loss: odd part of every loss, (groups, N·P).
            foreseen: what `foresee` returned.
            scale: σ of the noise.
            blocks: whether the noise was the same all over a block.
        """
        xp, groups = namespace(shift), shift.shape[0]
        if self.jacobian is None:  # nothing to learn but β
            surprise = moved = explained = xp.zeros((1, 0), dtype=shift.dtype)
            energy = moved[0, :]
        else:
            assert self._last is not None, "foresee comes first"
            moved, change = self._last
            explained = self.beta * self.jacobian
            surprise = xp.reshape(shift, change.shape) - self.beta * change
            energy = (groups * scale**2) * self._energy(blocks, self.jacobian.shape[1])
        odd_loss, foreseen = xp.reshape(odd_loss, (-1,)), xp.reshape(foreseen, (-1,))
        seen = self.control_variate.observe(surprise, moved, energy, explained, odd_loss, foreseen)
        self.seen = seen if self.seen is None else self.seen.plus(seen)

    def _energy(self, blocks: bool, units: int) -> Array:
        """Σ E[uuᵀ] for noise of level 1, over samples (and positions that are alike)."""
        assert self._entry is not None, "foresee comes first"
        xp = namespace(self.credit)
        one = xp.ones((), dtype=self.credit.dtype)  # of every unit: a gate spreads it
        change = self._entry.push(one) if blocks else self._entry.variance(one)
        if self.condition is not None:
            condition = self.condition
            return condition.energy_together(change) if blocks else condition.energy(change)
        variance = change * change if blocks else change  # a block moves as one
        return xp.sum(xp.reshape(variance, (-1, units)), axis=0)


def predict(
    control_variate: JacobianControlVariate,
    evidence: Evidence,
    pathway: Pathway,
    reach: Reach,
    route: Route,
    condition: Condition | None,
    error: Array,
    exact: bool,
    noised: bool,
    samples: int,
    probe: Probe | None = None,
) -> Prediction:
    """Predict the credit of every unit of a stage.

    Args:
        evidence: of earlier steps.
        pathway: of the stage.
        reach: of its noise.
        route: the pathway of every sample, to its places.
        condition: what J̄ depends on in every sample; None where it is the same for all.
        error: e = ∂loss/∂features (N, P, m).
        exact: whether the pathway leads to the features themselves, so that J̄ = I.
        noised: whether β is to be regressed; else the prediction is exact and β = 1.
        samples: of the whole batch, of which this may be a part.
        probe: what block probes enter through behind the activation, if they do.
    """
    xp, jacobian = namespace(error), None
    beta = control_variate.beta(evidence, first=float(exact)) if noised else 1.0
    felt = error * (beta / samples)  # scaled here, where arrays are small
    if not exact:
        jacobian = control_variate.jacobian(evidence)
        if error.shape[1] > 1 and pathway.mixing is None:  # which leads only where it reaches
            jacobian = _within_reach(jacobian, reach, error.shape[1])
        felt = xp.reshape(felt, (-1, jacobian.shape[0])) @ jacobian
    felt = xp.reshape(felt, (error.shape[0], *pathway.target))
    credit = route.pull(felt if condition is None else condition.pull(felt))
    return Prediction(control_variate, error, route, condition, jacobian, credit, beta, probe)


def _within_reach(jacobian: Array, reach: Reach, losses: int) -> Array:
    """J̄ without the losses that a position does not reach: they are not weighed with its noise.

    Were they foreseen, they would be in ĝ and not be taken out again: a bias.
    """
    xp = namespace(jacobian)
    reached = reach.gather(xp.eye(losses, dtype=jacobian.dtype))
    shape = (losses, -1, reached.shape[1], jacobian.shape[1] // reached.shape[1])
    by_position = xp.reshape(jacobian, shape) * reached[:, None, :, None]
    return xp.reshape(by_position, jacobian.shape)
