"""Block probes: noise that serves to learn a Jacobian, and nothing else.

It is the same all over a block of pixels that later pooling takes together (`nolr.pathways`), and
so has no score. Nor need it enter where the noise of an estimate does. With a level of its own a
probe enters behind the activation,

    y = f(v) + a∘ε + leak · (1 - a)∘ε,

through the gate a, which σ does no more than smooth; and a little of it through closed gates as
well. A unit that is hardly ever open is then learned too; otherwise its credit would be mere noise
in the few samples that do open it.
"""

from __future__ import annotations

from dataclasses import dataclass

from nolr.estimation.control_variates import JacobianControlVariate
from nolr.pathways import Pathway
from nolr.routes import Chain, Gate
from nolr.types import Array, Route

__all__ = ["Probe", "make_probe"]


@dataclass(frozen=True)
class Probe:
    """What carries the probe of one stage, for a batch of N samples."""

    scale: float
    """Its level, in the units of the activations."""
    gate: Array
    """a + leak · (1 - a), (N, *noise_shape)."""
    route: Route
    """The pathway of every sample, with this gate."""


def make_probe(
    pathway: Pathway, gate: Array, route: Chain, control_variate: JacobianControlVariate
) -> Probe | None:
    """The probe of a stage, if it enters behind the activation.

    Args:
        gate: a (N, *noise_shape).
        route: the pathway of every sample, of which the gate is the first link.
        control_variate: what it serves; says its level, and how much closed gates let pass.
    """
    sigma, leak = control_variate.probe_sigma, control_variate.leak
    if sigma == 0 or pathway.blocks is None:
        return None
    leaky = leak + (1.0 - leak) * gate
    return Probe(sigma, leaky, Chain([Gate(leaky), *route.links[1:]]))
