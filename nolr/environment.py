"""What nolr runs on: versions, backends, and the matrix kernels underneath."""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np

import nolr

__all__ = [
    "blas_kernels",
    "keep_memory",
    "kernel_advice",
    "limit_threads",
    "processor",
    "versions",
]

PACKAGES = ("numpy", "scipy", "h5py", "scikit-learn", "array-api-compat", "torch")
CUPY = ("cupy", "cupy-cuda12x", "cupy-cuda13x")  # the same package, built for one CUDA or another


def versions() -> dict[str, str]:
    """Versions of nolr, Python and the packages that are installed, and the machine."""
    found = {"nolr": nolr.__version__, "python": platform.python_version()}
    for package in (*PACKAGES, *CUPY):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    found["machine"] = f"{platform.system()} {platform.machine()}"
    return found


def processor() -> str:
    """The processor in words, and the number of cores: what a recorded time belongs to."""
    name = _processor_entry("model name") or platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def blas_kernels() -> list[dict[str, Any]]:
    """The BLAS libraries in this process: library, version, kernel, threads."""
    from threadpoolctl import threadpool_info

    return [
        {
            "library": library["internal_api"],
            "version": library["version"],
            "kernel": library.get("architecture") or "unknown",
            "threads": library["num_threads"],
        }
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]


def limit_threads(threads: int) -> AbstractContextManager[Any]:
    """Let BLAS use so many threads within a with-block; 0 leaves it alone.

    A second thread gains nothing on the matrices of a small network, and waits in a busy loop
    that slows everything down when another process wants the core.
    """
    if threads == 0:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(threads, user_api="blas")


def _processor_entry(name: str) -> str:
    """What the system says of the first processor, "" if it does not (Linux)."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            entry, _, value = line.partition(":")
            if entry.strip() == name:
                return value.strip()
    return ""


def _has_avx512() -> bool:
    """NumPy looks at the processor when it is imported; it shows what it found, privately."""
    try:
        core = import_module("numpy._core._multiarray_umath")
    except ImportError:
        return False
    return bool(getattr(core, "__cpu_features__", {}).get("AVX512_SKX"))


def kernel_advice() -> str | None:
    """Say so when another kernel of OpenBLAS is worth a try on this processor; None if none is.

    On one with AVX-512 that is the kernel of instructions of 512 bits. A Zen 4 (of AMD's family 25
    the one with AVX-512) runs those as two halves, and is often faster with the kernel of 256 bits.
    """
    np.ones((2, 2)) @ np.ones((2, 2))  # make sure that BLAS is loaded
    vendor, family = _processor_entry("vendor_id"), _processor_entry("cpu family")
    if not (vendor and _has_avx512()):
        return None
    narrow = ("Haswell", "Zen")
    better, gain = "SkylakeX", "large matrix products may be up to twice as fast"
    if (vendor, family) == ("AuthenticAMD", "25"):
        better, gain = "Haswell", "a step may take a tenth less"
    for library in blas_kernels():
        kernel = library["kernel"]
        if library["library"] != "openblas" or kernel == "unknown":
            continue
        if (kernel in narrow) != (better in narrow):
            return (
                f"OpenBLAS runs its {kernel} kernel, but its {better} kernel may suit this "
                f"processor better: try OPENBLAS_CORETYPE={better}, {gain}"
            )
    return None


def keep_memory() -> bool:
    """Ask the C library to keep the memory that arrays give back, for the rest of this process.

    A training step allocates and frees the same large arrays again and again. As it comes, glibc
    returns them to the system every time and fetches them back page by page, which costs time in
    every step. Memory that is kept can be used by this process alone.

    Returns:
        Whether the C library is one that can be asked.
    """
    top_pad, trim_threshold, mmap_threshold = -2, -1, -3  # malloc.h of glibc
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    largest = 32 << 20  # beyond it glibc accepts no threshold
    wishes = ((mmap_threshold, largest), (trim_threshold, (1 << 31) - 1), (top_pad, 64 << 20))
    return all(mallopt(parameter, value) == 1 for parameter, value in wishes)
