"""The proof of the checks: they see every planted fault, and cry wolf over nothing.

`mutations` is the table of faults. Each is put into nolr itself, for one test; the same check with
the same network and estimator, but without the fault, must find nothing.
"""

from __future__ import annotations

import inspect
from functools import cache

import pytest
from mutations import FAULTS, PAIRS, UNSEEN, Fault, Setting, make

from nolr.testing import BIASED, UNBIASED, check_score, check_unbiased

ERROR_RATE = 1e-6  # the default of check_unbiased, for p-values too
ROUNDING = 1e-12  # of the identities


def verdict(setting: Setting, **more) -> str:
    """What the check of a setting says, in the words of a certificate."""
    network, params, batch, loss = make(setting.family)
    estimator, check = setting.estimator, setting.check
    if check is check_score:
        return BIASED if check_score(estimator.noise) < ERROR_RATE else UNBIASED
    if check is not check_unbiased:  # the residue of an identity
        return BIASED if check(estimator, network, params, batch) > ROUNDING else UNBIASED
    state = setting.state and setting.state(estimator, network, params, loss)
    known = (estimator, network, params, batch, loss)
    return check_unbiased(*known, rows=setting.rows, state=state, **more).verdict


@cache
def verdict_without_fault(setting: Setting) -> str:
    return verdict(setting)


def plant(fault: Fault, monkeypatch) -> list:
    """Put a fault where it belongs; the list grows with every call of it."""
    found = inspect.getattr_static(fault.owner, fault.attribute)
    right, calls = found.fget if isinstance(found, property) else found, []

    def wrong(*args, **kwargs):
        calls.append(fault.name)
        return fault.wrong(right, *args, **kwargs)

    planted = property(wrong) if isinstance(found, property) else wrong
    monkeypatch.setattr(fault.owner, fault.attribute, planted)
    return calls


def test_every_fault_has_a_name_and_a_reason():
    table = [*FAULTS, *UNSEEN]
    assert len({fault.name for fault in table}) == len(table)
    assert all(inspect.getdoc(fault.wrong) for fault in table)
    assert len(FAULTS) >= 50


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_seen(fault, monkeypatch):
    assert verdict_without_fault(fault.setting) == UNBIASED
    calls = plant(fault, monkeypatch)
    assert verdict(fault.setting) == BIASED
    assert calls


@pytest.mark.parametrize("fault", UNSEEN, ids=lambda fault: fault.name)
def test_what_costs_variance_alone_is_not_called_biased(fault, monkeypatch):
    calls = plant(fault, monkeypatch)
    assert verdict(fault.setting, max_draws=1024) != BIASED
    assert calls


def test_a_thousand_checks_raise_no_false_alarm():
    # Two looks each, at 64 draws and at 96.
    network, params, batch, loss = make("one")
    known = (PAIRS, network, params, batch, loss)
    few = {"rows": 256, "max_draws": 96, "state": PAIRS.init(network, params, loss)}
    found = [check_unbiased(*known, **few, seed=seed) for seed in range(1000)]
    assert [seed for seed, one in enumerate(found) if one.verdict == BIASED] == []
    # Control: ordinary intervals of 99 % would have raised many.
    alarms = sum(abs(one.worst.z) > 2.58 for one in found)
    assert 20 < alarms < 200, alarms
