"""Small catalogue entries for files that the tests write, and which real sets are here."""

from __future__ import annotations

import hashlib
import os

import pytest

from nolr.data.catalogue import CATALOGUE
from nolr.data.source import SourceFile, SourceSet
from nolr.data.store import survey

NOWHERE = "http://127.0.0.1:9/"


def describe(name, content, url=NOWHERE):
    """The catalogue's line for a file of this content."""
    return SourceFile(name, url, len(content), hashlib.sha256(content).hexdigest())


def make_set(*files, name="toy", folder="toy", **more):
    return SourceSet(name, folder, files, "none", "nobody", **more)


def write_set(root, contents, **more):
    """Write files, {name: content}, into root/toy/ and describe them."""
    (root / "toy").mkdir(exist_ok=True)
    for name, content in contents.items():
        (root / "toy" / name).write_bytes(content)
    return make_set(*(describe(name, content) for name, content in contents.items()), **more)


def need_real(name):
    """Skip the test, and say why, unless the real files of a set are in NOLR_DATA."""
    if not os.environ.get("NOLR_DATA"):
        pytest.skip("NOLR_DATA does not name a folder with the real data")
    findings = survey(CATALOGUE[name])
    missing = [finding.path.name for finding in findings if finding.state == "missing"]
    if missing:
        pytest.skip(f"{name} is not complete in NOLR_DATA: {', '.join(missing)} missing")
