"""How fast evidence is forgotten: as the learning rate falls, memory lengthens."""

from __future__ import annotations

import numpy as np
import pytest

from nolr.errors import BadInput
from nolr.estimation import JacobianControlVariate
from nolr.estimation.evidence import Evidence
from nolr.estimation.forgetting import Lengthening, as_forgetting
from nolr.learning_rates import Cosine


def test_it_follows_the_learning_rate():
    forgetting, rate = Lengthening(0.9, 0.98, steps=200), Cosine(1.0, 200)
    for step in (0, 10, 100, 199, 200, 500):
        assert 1 - forgetting(step) == pytest.approx(0.02 + 0.08 * rate(step))


def test_a_number_is_the_same_in_every_step():
    assert {as_forgetting(0.9)(step) for step in (0, 1, 1000)} == {0.9}


@pytest.mark.parametrize("pair", [(0.0, 0.9), (0.9, 1.0), (1.5, 0.9), (0.9, -0.1)])
def test_what_is_no_factor_is_refused(pair):
    with pytest.raises(BadInput, match="forgetting must lie between 0 and 1"):
        Lengthening(*pair, steps=10)


def test_memory_needs_steps_to_lengthen():
    with pytest.raises(BadInput, match="at least 1 step, got 0"):
        Lengthening(0.9, 0.99, steps=0)


@pytest.mark.parametrize("forgetting", ["long", None, lambda step: 3, Lengthening])
def test_what_gives_no_factor_is_refused_when_it_is_asked(forgetting):
    with pytest.raises((BadInput, TypeError), match=r"forgetting must lie|missing"):
        as_forgetting(forgetting)(0)


def test_the_control_variate_forgets_by_the_step():
    ones = Evidence(*(np.ones(shape) for shape in ((2, 3), (3,), (), (), ())))
    variate = JacobianControlVariate(forgetting=Lengthening(0.5, 0.75, steps=10))
    for step, factor in ((0, 0.5), (10, 0.75)):
        learned = variate.learn(ones, ones, step)
        assert all(np.allclose(part, 1 + factor) for part in learned)
