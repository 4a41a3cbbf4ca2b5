"""Traps: the mistakes that look like improvements. Each is built on purpose and must be rejected.

The list is that of the design notes, as far as nolr has the parts: a shared local array in joint
mode, the pair-mate as baseline, a mean that includes the copy itself, predictions fitted on the
draw they are used with, misaligned pairs, a missing sign. Every wrong version stands next to the
right one, which passes the same test on draws of the same keys.
"""

from __future__ import annotations

import harness
import numpy as np
import pytest
import reference
from harness import estimates, estimator, judge, truth_of

from nolr.copies import tile
from nolr.estimation import CleanLoss, Joint, LayerWise, LeaveGroupOut, NoBaseline
from nolr.estimation import perturbation as module
from nolr.estimation.evidence import Evidence
from nolr.estimation.stage import StageStep
from nolr.sampling import Antithetic, Independent
from nolr.tails import Local

JOINT, LAYER_WISE = Joint(), LayerWise()


def verdict(name, method, **kwargs):
    return judge(estimates(name, method, **kwargs), truth_of(name, method.schedule))


# --- an antithetic pair with a shared local array, joint mode -------------------------------------


def plus_copy(step, local, copies):
    """The + copy's array for both copies of every pair."""
    half = local.x.shape[0] // 2
    return Local(np.concatenate([local.x[:half], local.x[:half]]), local.past)


def clean_copy(step, local, copies):
    """A stale array: the clean input for every copy."""
    return Local(tile(step.visit.state[0], copies), local.past)


@pytest.mark.parametrize("shared", [plus_copy, clean_copy])
@pytest.mark.parametrize("residual", [None, 1.0])
def test_a_shared_local_array_in_joint_mode(monkeypatch, shared, residual):
    method = estimator(Antithetic(), JOINT, CleanLoss(), residual)
    assert verdict("quadratic", method).unbiased
    right = StageStep.weigh_apart

    def wrong(step, local, score, weights, signs):
        local = shared(step, local, len(signs) * score.shape[0])
        right(step, local, score, weights, signs)

    monkeypatch.setattr(StageStep, "weigh_apart", wrong)
    assert verdict("quadratic", method).rejected


def test_contracting_first_with_recurrent_pasts(monkeypatch):
    # A recurrent stage has a past in every copy, even in layer-wise mode: one past for all,
    # the clean one, is biased.
    method = estimator(Antithetic(), LAYER_WISE, CleanLoss())
    assert verdict("recurrent", method).unbiased
    right = StageStep.weigh_apart

    def wrong(step, local, score, weights, signs):
        copies = len(signs) * score.shape[0]
        past = None if local.past is None else tile(step.visit.past, copies)
        right(step, Local(local.x, past), score, weights, signs)

    monkeypatch.setattr(StageStep, "weigh_apart", wrong)
    assert verdict("recurrent", method).rejected


# --- baselines that are not independent of the copy's own noise -----------------------------------


class PairMate:
    """b = the loss of the copy with the opposite noise."""

    minimum_groups = 1

    def __call__(self, losses, clean):
        return losses[..., ::-1, :, :]


class MeanOfAll:
    """b = the mean over all copies, the copy itself among them."""

    minimum_groups = 1

    def __call__(self, losses, clean):
        return losses.mean(axis=(-3, -2), keepdims=True)


class LeaveCopyOut:
    """b = the mean over all other copies, the pair-mate among them."""

    minimum_groups = 2

    def __call__(self, losses, clean):
        count = losses.shape[-3] * losses.shape[-2]
        total = losses.sum(axis=(-3, -2), keepdims=True)
        return (total - losses) / (count - 1)


@pytest.mark.parametrize("schedule", [LAYER_WISE, JOINT], ids=["layer-wise", "joint"])
def test_the_pair_mate_as_baseline(schedule):
    method = estimator(Antithetic(), schedule, PairMate())
    draws = estimates("chain", method)
    truth = truth_of("chain", schedule)
    assert judge(draws, truth).rejected
    if schedule is LAYER_WISE:  # it counts every difference twice
        assert judge(draws, 2 * truth).unbiased
    assert verdict("chain", estimator(Antithetic(), schedule, CleanLoss())).unbiased


@pytest.mark.parametrize("schedule", [LAYER_WISE, JOINT], ids=["layer-wise", "joint"])
@pytest.mark.parametrize("copies", [2, 4])
def test_a_mean_that_includes_the_copy_itself(schedule, copies):
    draws = estimates("chain", estimator(Independent(), schedule, MeanOfAll(), copies=copies))
    truth = truth_of("chain", schedule)
    assert judge(draws, truth).rejected
    assert judge(draws, (copies - 1) / copies * truth).unbiased
    right = estimator(Independent(), schedule, LeaveGroupOut(), copies=copies)
    assert verdict("chain", right).unbiased


@pytest.mark.parametrize("residual", [None, 1.0])
def test_leaving_out_the_copy_but_not_its_pair_mate(residual):
    assert verdict("chain", estimator(Antithetic(), JOINT, LeaveCopyOut(), residual)).rejected
    assert verdict("chain", estimator(Antithetic(), JOINT, LeaveGroupOut(), residual)).unbiased


# --- predictions fitted on the very draw they are used with ---------------------------------------

# Four samples and one pair: little evidence a step, so that each draw weighs much.


def fitted_estimates(fit_on_the_draw, prior, calls):
    """Estimates from a state that has seen the same draw, or another one of the same law."""
    case = harness.CASES["chain"]
    method = estimator(Antithetic(), LAYER_WISE, CleanLoss(), 1.0, copies=2)
    batch = harness.X, case.target
    state = method.init(case.network, case.params, case.loss)
    state = state._replace(evidence=tuple(prior(old) for old in state.evidence))
    draws = []
    for key in reference.keys(calls):
        earlier = key if fit_on_the_draw else key._replace(seed=99)
        _, fitted = method(case.network, case.params, batch, case.loss, earlier, state)
        estimate, _ = method(case.network, case.params, batch, case.loss, key, fitted)
        draws.append(harness.flat(estimate.grads, case.network))
    return np.stack(draws)


def fixed_beta(old):
    """β = 1 however the next draw comes out, and no Jacobian yet: only J̄ is fitted."""
    return old._replace(covariance=np.array(1e9), power=np.array(1e9))


def fixed_jacobian(old):
    """A Jacobian that the next draw cannot change, and no β yet: only β is fitted."""
    rng = np.random.default_rng(6)
    return Evidence(
        moment=1e9 * rng.normal(size=old.moment.shape),
        energy=1e9 * np.ones(old.energy.shape),
        draws=np.array(1e9),
        covariance=old.covariance,
        power=old.power,
    )


@pytest.mark.parametrize(("prior", "calls"), [(fixed_beta, 3000), (fixed_jacobian, 3000)])
def test_predictions_fitted_on_the_draw_itself(prior, calls):
    truth = truth_of("chain", LAYER_WISE)
    assert judge(fitted_estimates(False, prior, calls), truth).unbiased
    assert judge(fitted_estimates(True, prior, calls), truth).rejected


# --- pairs that are not pairs ---------------------------------------------------------------------


def test_interleaved_copies(monkeypatch):
    method = estimator(Antithetic(), LAYER_WISE, CleanLoss())
    right = module._copies

    def interleaved(noise, signs):
        rows = right(noise, signs)
        pairs = rows.reshape(len(signs) * noise.shape[0], noise.shape[1], *noise.shape[2:])
        return np.swapaxes(pairs, 0, 1).reshape(rows.shape)

    assert verdict("chain", method).unbiased
    monkeypatch.setattr(module, "_copies", interleaved)
    assert verdict("chain", method).rejected


def test_antithetic_noise_without_its_sign(monkeypatch):
    method = estimator(Antithetic(), JOINT, CleanLoss())
    assert verdict("chain", method).unbiased
    monkeypatch.setattr(
        module, "_copies", lambda noise, signs: tile(noise.reshape(-1, *noise.shape[2:]), 2)
    )
    # The two copies of a pair are one copy twice: no difference, no gradient, in any draw.
    np.testing.assert_allclose(estimates("chain", method, calls=2), 0, atol=1e-15)
    assert np.abs(truth_of("chain", JOINT)).max() > 0.1


def test_a_score_in_units_of_the_white_noise():
    # s = η/σ, not η: forgotten, every gradient shrinks by σ.
    wrong = harness.WrongScore(harness.Gaussian(harness.SIGMA), harness.SIGMA)
    draws = estimates("chain", estimator(Antithetic(), LAYER_WISE, NoBaseline(), noise=wrong))
    truth = truth_of("chain", LAYER_WISE)
    assert judge(draws, truth).rejected
    assert judge(draws, harness.SIGMA * truth).unbiased


# --- the estimand ---------------------------------------------------------------------------------


def test_one_schedule_does_not_estimate_the_others_loss():
    truths = {s: truth_of("quadratic", s) for s in (LAYER_WISE, JOINT)}
    for schedule, other in ((LAYER_WISE, JOINT), (JOINT, LAYER_WISE)):
        draws = estimates("quadratic", estimator(Antithetic(), schedule, CleanLoss(), 1.0))
        assert judge(draws, truths[schedule]).unbiased
        assert judge(draws, truths[other]).rejected


def test_the_clean_loss_is_not_the_noised_loss():
    # Smoothing bias: the estimate is unbiased for the mean noised loss, not for the clean one.
    case = harness.CASES["chain"]
    nodes = case.network.stages
    clean = reference.parameter_gradient(
        lambda params: float(case.mean_loss(params, {})[0]), case.params, nodes
    )
    grads = dict(zip(nodes, clean, strict=True))
    draws = estimates("chain", estimator(Antithetic(), LAYER_WISE, CleanLoss(), 1.0))
    assert judge(draws, truth_of("chain", LAYER_WISE)).unbiased
    assert judge(draws, harness.flat(grads, case.network)).rejected
