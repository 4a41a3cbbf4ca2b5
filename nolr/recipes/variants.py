"""Which variant of a data set: the one that is named, or else the best that is at hand.

What was found is written into the settings, so that it stands in every report and a run goes on
with the data that it began with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nolr.data.catalogue import CATALOGUE
from nolr.data.store import survey
from nolr.errors import BadInput, nearest
from nolr.recipes.settings import Settings

__all__ = ["first_at_hand"]


def first_at_hand(*names: str) -> Callable[[Settings], Settings]:
    """Settle the setting `variant` on the first of these sets whose files are complete.

    Where none is, it is the first, which then is reported as missing. The one who settles raises
    BadInput if the setting names another set.
    """

    def settle(settings: Settings) -> Settings:
        if settings.variant:
            if settings.variant not in names:
                raise BadInput(
                    f"there is no variant {settings.variant!r} of this recipe's data"
                    f"{nearest(settings.variant, names)}"
                )
            return settings
        for name in names:
            findings = survey(CATALOGUE[name], settings.data_dir or None)
            if all(finding.state == "complete" for finding in findings):
                return replace(settings, variant=name)
        return replace(settings, variant=names[0])

    return settle
