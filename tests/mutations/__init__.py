"""Planted faults: a table of mistakes that look harmless, for the proof that the checks see them.

Every entry replaces one function of nolr by a wrong one. Its name says what it does, its docstring
why that is wrong; `planted` says where it is put, on which network and estimator it shows, and
which public check of `nolr.testing` must see it. A wrong function gets the right one first, and
then what that one would get.

The list is that of the traps in the design notes, and more. What costs variance and no bias, so
that no check of a mean can see it, is in a table of its own, `UNSEEN`.
"""

from __future__ import annotations

from importlib import import_module

from mutations.estimators import PAIRS
from mutations.networks import make
from mutations.table import FAULTS, UNSEEN, Fault, Setting

__all__ = ["FAULTS", "PAIRS", "UNSEEN", "Fault", "Setting", "make"]

for section in (
    "noise",
    "pairs",
    "baselines",
    "inputs",
    "credit",
    "control_variate",
    "layers",
    "variance_alone",
):
    import_module(f"mutations.{section}")  # enters its faults into the tables
