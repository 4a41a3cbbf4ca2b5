"""The laboratory: what an estimator of a gradient is worth, measured against exact gradients.

    subject = open_subject("digits-dense", {}, samples=64)
    study = run_study(subject, find_checkpoints(subject))

The command line has it as `nolr study variance`.
"""

from nolr.laboratory.checkpoints import CHECKPOINTS, find_checkpoints
from nolr.laboratory.exact import Exact
from nolr.laboratory.roster import ROSTER
from nolr.laboratory.study import Study, run_study
from nolr.laboratory.subject import open_subject

__all__ = [
    "CHECKPOINTS",
    "ROSTER",
    "Exact",
    "Study",
    "find_checkpoints",
    "open_subject",
    "run_study",
]
