"""What every test file shares: the backends, the cache, and how Hypothesis behaves."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from nolr.backends import NAMES, get_backend
from nolr.errors import BadInput

pytest_plugins = ["pytester"]  # for the tests of the plugin

# The same examples in every run: a red test stays red until someone repairs it.
settings.register_profile(
    "nolr",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # backends hold no state
)
settings.load_profile("nolr")


def pytest_configure(config):
    """Give this session a cache of its own: no test reads or writes the user's."""
    scratch = tempfile.TemporaryDirectory(prefix="nolr-cache-")
    os.environ["NOLR_CACHE"] = scratch.name
    config.add_cleanup(scratch.cleanup)


def open_backend(name):
    """The backend, or skip the test and say why it cannot be used here."""
    try:
        return get_backend(name)
    except BadInput as error:
        pytest.skip(str(error))


@pytest.fixture(params=NAMES)
def backend(request):
    """Every backend, one after another."""
    return open_backend(request.param)


@pytest.fixture(params=[name for name in NAMES if name != "numpy"])
def other_backend(request):
    """Every backend but NumPy, to be compared with it."""
    return open_backend(request.param)
