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
    ("vendor", "family", "library", "kernel", "advice"),
    [
        ("GenuineIntel", "6", "openblas", "Haswell", "OPENBLAS_CORETYPE=SkylakeX"),
        ("GenuineIntel", "6", "openblas", "SapphireRapids", None),
        ("GenuineIntel", "25", "openblas", "Haswell", "OPENBLAS_CORETYPE=SkylakeX"),
        ("GenuineIntel", "6", "mkl", "Haswell", None),
        ("AuthenticAMD", "25", "openblas", "SkylakeX", "OPENBLAS_CORETYPE=Haswell"),
        ("AuthenticAMD", "25", "openblas", "Zen", None),
        ("AuthenticAMD", "25", "openblas", "unknown", None),
        ("AuthenticAMD", "26", "openblas", "Zen", "OPENBLAS_CORETYPE=SkylakeX"),
        ("AuthenticAMD", "26", "openblas", "SkylakeX", None),
        ("", "", "openblas", "Zen", None),  # nothing is known of the processor
    ],
)
def test_the_kernel_that_suits_the_processor_is_advised(
    monkeypatch, vendor, family, library, kernel, advice
):
    entries = {"vendor_id": vendor, "cpu family": family}
    blas = {"library": library, "version": "0", "kernel": kernel, "threads": 1}
    monkeypatch.setattr(environment, "_processor_entry", entries.__getitem__)
    monkeypatch.setattr(environment, "blas_kernels", lambda: [blas])
    monkeypatch.setattr(environment, "_has_avx512", lambda: True)
    found = environment.kernel_advice()
    assert found is None if advice is None else advice in found
    monkeypatch.setattr(environment, "_has_avx512", lambda: False)
    assert environment.kernel_advice() is None


def test_the_processor_is_read_from_what_the_system_says(monkeypatch, tmp_path):
    information = tmp_path / "cpuinfo"
    information.write_text(
        "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel name\t: AMD: EPYC\n\n"
        "processor\t: 1\nvendor_id\t: another\n"
    )
    monkeypatch.setattr(environment, "Path", lambda path: information)
    found = [environment._processor_entry(name) for name in ("vendor_id", "cpu family", "none")]
    assert found == ["AuthenticAMD", "25", ""]
    assert environment.processor().startswith("AMD: EPYC, ")
    information.unlink()
    assert environment._processor_entry("vendor_id") == ""
