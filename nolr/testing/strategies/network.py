"""Hypothesis draws networks."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import note
from hypothesis import strategies as st

from nolr.errors import BadInput, nearest
from nolr.network import Sequential
from nolr.testing.source import Source
from nolr.testing.strategies.family import FAMILIES, Draw, jumping, smooth
from nolr.testing.strategies.later import Later
from nolr.types import Activation

__all__ = ["FAMILY_NAMES", "family_networks", "networks"]

FAMILY_NAMES = tuple(FAMILIES)


def networks(
    families: Sequence[str] | None = None, *, jumps: bool = True
) -> st.SearchStrategy[Sequential]:
    """Networks of one to a few tiny layers; a failing test prints how its network is made.

    Args:
        families: names out of FAMILY_NAMES; all unless given.
        jumps: whether the output may jump; False leaves out step activations and spiking networks.

    Raises:
        BadInput: there is no such family, none is given, or one jumps that must not.
    """
    return family_networks(families, jumps=jumps).map(as_printed_above)


def as_printed_above(network: Sequential) -> Sequential:
    """Its name is what Hypothesis shows in place of the network, below the note."""
    note(Later(lambda: f"network = {Source().of(network)}"))
    return network


def family_networks(
    families: Sequence[str] | None, *, jumps: bool
) -> st.SearchStrategy[Sequential]:
    """The same without a note."""
    if families is None:
        families = [name for name in FAMILY_NAMES if jumps or name != "spiking"]
    if not families or isinstance(families, str):
        raise BadInput(f'families must be names like ("dense", "graph"), got {families!r}')
    for name in families:
        if name not in FAMILY_NAMES:
            raise BadInput(f"there is no family {name!r}{nearest(name, FAMILY_NAMES)}")
    if not jumps and "spiking" in families:
        raise BadInput("spiking networks jump: leave the family out, or jumps=False")
    return _draw_network(st.sampled_from(list(families)), jumping if jumps else smooth)


@st.composite
def _draw_network(
    draw: Draw, families: st.SearchStrategy[str], activations: st.SearchStrategy[Activation]
) -> Sequential:
    links, shape = FAMILIES[draw(families)](draw, activations)
    return Sequential(*links, input_shape=shape)
