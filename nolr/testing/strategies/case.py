"""Hypothesis draws cases: a network, parameters, a batch, a loss and an estimator together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import note
from hypothesis import strategies as st

from nolr.estimation import LikelihoodRatio
from nolr.network import Sequential
from nolr.testing.case import Case
from nolr.testing.strategies.batch import batches, losses, parameters
from nolr.testing.strategies.estimator import estimators, noises
from nolr.testing.strategies.family import Draw
from nolr.testing.strategies.later import Later
from nolr.testing.strategies.network import family_networks
from nolr.types import Loss

__all__ = ["cases"]

yes, several, seeds = st.booleans(), st.integers(1, 3), st.integers(0, 2**64 - 1)


def cases(
    families: Sequence[str] | None = None,
    *,
    network: st.SearchStrategy[Sequential] | None = None,
    loss: st.SearchStrategy[Loss] | None = None,
    estimator: st.SearchStrategy[Any] | None = None,
    dtypes: Sequence[str] = ("float64",),
    jumps: bool = True,
) -> st.SearchStrategy[Case]:
    """All of it together, with initial parameters or others; a failing test prints the program.

    Args:
        families: names out of FAMILY_NAMES; all unless given.
        network: draws the networks instead, for example `st.just(mine)`.
        loss: draws the losses; all of nolr's unless given.
        estimator: draws the estimators; `estimators()` unless given. The stages of some likelihood
            ratios then get noises of their own.
        dtypes: out of "float64" and "float32".
        jumps: whether the loss may jump; False leaves out step activations, spiking networks and
            the error rate.

    Raises:
        BadInput: as for `networks`.
    """
    return _draw_case(
        family_networks(families, jumps=jumps) if network is None else network,
        losses(differentiable=not jumps) if loss is None else loss,
        estimators() if estimator is None else estimator,
        st.sampled_from(list(dtypes)),
    )


@st.composite
def _draw_case(
    draw: Draw,
    network: st.SearchStrategy[Sequential],
    loss: st.SearchStrategy[Loss],
    estimator: st.SearchStrategy[Any],
    dtypes: st.SearchStrategy[str],
) -> Case:
    # The network comes late: when it shrinks, what was drawn before it stays as it is.
    dtype, seed, steps, apart = draw(dtypes), draw(seeds), draw(several), draw(yes)
    measure, method, given = draw(loss), draw(estimator), draw(yes)
    chain = draw(network)
    if apart and isinstance(method, LikelihoodRatio):
        method = replace(method, noise=tuple(draw(noises()) for _ in chain.stages))
    x, target = draw(batches(chain, measure))
    params = draw(parameters(chain)) if given else None
    case = Case(chain, x, target, measure, method, seed, steps, params, dtype=dtype)
    note(Later(lambda: f"As a program:\n\n{case.program()}"))
    return case
