"""What is asked of the C library, and what is advised on the matrix kernels."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from nolr import environment
from nolr.environment import keep_memory

FAULTS = """
import resource, sys
import numpy as np
from nolr import environment
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


@pytest.mark.parametrize(
    ("avx512", "vendor", "kernel", "advice"),
    [
        (True, "GenuineIntel", "Haswell", "OPENBLAS_CORETYPE=SkylakeX"),
        (True, "GenuineIntel", "SapphireRapids", None),
        (True, "AuthenticAMD", "SkylakeX", "OPENBLAS_CORETYPE=Haswell"),
        (True, "AuthenticAMD", "Zen", None),
        (True, "", "Zen", "OPENBLAS_CORETYPE=SkylakeX"),  # nothing is known of the processor
        (False, "GenuineIntel", "Haswell", None),
        (False, "AuthenticAMD", "Zen", None),
    ],
)
def test_the_kernel_that_suits_the_processor_is_advised(
    monkeypatch, avx512, vendor, kernel, advice
):
    entries = {"vendor_id": vendor, "cpu family": "25" if vendor == "AuthenticAMD" else "6"}
    library = {"library": "openblas", "version": "0", "kernel": kernel, "threads": 1}
    monkeypatch.setattr(environment, "_has_avx512", lambda: avx512)
    monkeypatch.setattr(environment, "_processor_entry", entries.__getitem__)
    monkeypatch.setattr(environment, "blas_kernels", lambda: [library])
    found = environment.kernel_advice()
    assert found is None if advice is None else advice in found
