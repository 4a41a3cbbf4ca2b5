"""README's tests, which are no doctests: they are run as a user would run them."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"

GIVEN = """
import numpy as np
import nolr

network = nolr.Sequential(nolr.Dense(2, 2), input_shape=(2,))
params = network.init(0, nolr.get_backend("numpy"), "float64")
batch = np.array([[0.9, -0.4], [-0.7, 1.1]]), np.array([0, 1])
estimator = nolr.LikelihoodRatio(nolr.Gaussian(0.5), control_variate=None)
"""


def test_the_tests_in_the_readme_pass(pytester):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    programs = [block for block in blocks if ">>>" not in block]
    assert len(programs) == 1
    pytester.makepyfile(GIVEN + programs[0])
    result = pytester.runpytest_subprocess("-W", "error")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*certificates*", "unbiased*test_my_estimator"])
