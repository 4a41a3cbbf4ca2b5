"""What the process is asked of its C library."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from nolr.environment import keep_memory

FAULTS = """
import resource, sys
import numpy as np
from nolr.environment import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    [np.ones(1 << 20) for _ in range(3)]
before = faults()
for _ in range(20):
    [np.ones(1 << 20) for _ in range(3)]
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_memory_that_is_kept_is_not_fetched_again():
    kept, fetched = (
        int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, word], capture_output=True, check=True
            ).stdout
        )
        for word in ("keep", "as it comes")
    )
    assert kept < 100
    assert fetched > 10 * max(kept, 1)  # the control: without asking there is something to save


def test_where_nobody_can_be_asked_nothing_happens(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert keep_memory() is False
