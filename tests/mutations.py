"""Planted faults: a table of mistakes that look harmless, for the proof that the checks see them.

Every entry replaces one function of nolr by a wrong one. Its name says what it does, its docstring
why that is wrong; `planted` says where it is put, on which network and estimator it shows, and
which public check of `nolr.testing` must see it. A wrong function gets the right one first, and
then what that one would get.

The list is that of the traps in the design notes, and more. What costs variance and no bias, so
that no check of a mean can see it, is in a table of its own, `UNSEEN`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from nolr import tails
from nolr.activations import Identity, Tanh
from nolr.backends import get_backend
from nolr.backends.numpy import NumpyBackend
from nolr.copies import split_copies, tile
from nolr.estimation import (
    CleanLoss,
    JacobianControlVariate,
    Joint,
    LeaveGroupOut,
    LikelihoodRatio,
    perturbation,
    prediction,
    preparation,
)
from nolr.estimation.stage import StageStep
from nolr.graphs import GraphOperator
from nolr.layers import (
    LIF,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GraphConv,
    MaxPool2D,
    MeanOverTime,
    SimpleRNN,
)
from nolr.losses import MeanSquaredError
from nolr.network import Residual, Sequential
from nolr.noise import Gaussian
from nolr.reach import Later, Neighbours
from nolr.routes import Gate
from nolr.sampling import Independent
from nolr.tails import Local
from nolr.testing import check_score, check_unbiased, constant_loss_residue, even_loss_residue

# --- networks -------------------------------------------------------------------------------------

SEED = 3  # one of which all stages have gradients of similar size: few draws suffice
ARROWS = GraphOperator(csr_array(np.array([[0.6, 0.7, 0.0], [0.0, 0.5, 0.9], [0.0, 0.0, 0.8]])))
TOKENS = np.array([[0.0, 2.0, 0.0], [1.0, 2.0, 2.0], [1.0, 1.0, 0.0], [0.0, 1.0, 2.0]])

# Layers hold no state, so every network may have the same ones; and the shape of a sample.
FAMILIES: dict[str, tuple[tuple, tuple[int, ...]]] = {
    "one": ((Dense(2, 2, Identity()),), (2,)),
    "dense": ((Dense(2, 2, Tanh()), Dense(2, 2, Identity())), (2,)),
    "linear": ((Dense(2, 2, Identity()), Dense(2, 2, Identity())), (2,)),
    "residual": ((Dense(2, 2, Identity()), Residual(Dense(2, 2, Identity()))), (2,)),
    "over time": ((Dense(2, 1, Tanh()), Dense(1, 1, Identity())), (3, 2)),
    "conv": ((Conv2D(1, 2, 2, stride=2, activation=Identity()), Flatten()), (1, 4, 4)),
    "max pool": ((Conv2D(1, 1, 2, activation=Tanh()), MaxPool2D(2), Flatten()), (1, 3, 3)),
    "rnn": ((SimpleRNN(1, 1, last=False), Dense(1, 1, Identity())), (3, 1)),
    "last state": ((SimpleRNN(1, 1, activation=Identity()),), (3, 1)),
    "lif": ((LIF(2, 1), MeanOverTime()), (3, 2)),
    "lif, decay": ((LIF(2, 1, decay=0.7, learn_decay=True), MeanOverTime()), (4, 2)),
    "graph": ((GraphConv(2, 1, ARROWS, Identity()), GraphConv(1, 1, ARROWS, Identity())), (3, 2)),
    "embedding": ((Embedding(3, 1), MeanOverTime()), (3,)),
}


def make(family: str) -> tuple:
    """A new network of this family, parameters, four samples, and a loss."""
    layers, shape = FAMILIES[family]
    network = Sequential(*layers, input_shape=shape)
    rng = np.random.default_rng(SEED)
    x = TOKENS if family == "embedding" else rng.normal(size=(4, *shape))
    target = rng.normal(size=(4, *network.output_shape)) + 1
    params = tuple(
        {name: array + 0.3 * rng.normal(size=array.shape) for name, array in theta.items()}
        for theta in network.init(SEED, get_backend("numpy"), "float64")
    )
    return network, params, (x, target), MeanSquaredError()


# --- estimators -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class AutoRegressive:
    """Noise that is correlated from unit to unit, with covariance σ² r^|i-j|; s = C⁻ᵀ η."""

    sigma: float
    correlation: float

    @property
    def scale(self) -> float:
        return self.sigma

    def root(self, units: int) -> np.ndarray:
        """C, lower triangular."""
        distance = np.abs(np.subtract.outer(np.arange(units), np.arange(units)))
        return self.sigma * np.linalg.cholesky(self.correlation**distance)

    def colour(self, white: np.ndarray) -> np.ndarray:
        return white @ self.root(white.shape[-1]).T

    def score(self, white: np.ndarray) -> np.ndarray:
        return white @ np.linalg.inv(self.root(white.shape[-1]))


PAIRS = LikelihoodRatio(Gaussian(0.5), control_variate=None)
TWO_PAIRS = replace(PAIRS, copies=4)
LOUD = replace(PAIRS, noise=Gaussian(2.0))
JOINT = replace(TWO_PAIRS, schedule=Joint())
LOUD_JOINT = replace(JOINT, noise=Gaussian(2.0))
SINGLES = replace(PAIRS, sampler=Independent(), baseline=LeaveGroupOut())
OTHER_PAIRS = replace(TWO_PAIRS, baseline=LeaveGroupOut())
PREDICTED = replace(PAIRS, control_variate=JacobianControlVariate(1.0))
PREDICTED_JOINT = replace(JOINT, control_variate=JacobianControlVariate(1.0))
CORRELATED = replace(PAIRS, noise=AutoRegressive(0.5, 0.8))


def trusting(estimator, network, params, loss):
    """A state with β = 1 and no Jacobian yet: what the next draw teaches is believed at once."""
    state, sure = estimator.init(network, params, loss), np.array(1e9)
    evidence = (old._replace(covariance=sure, power=sure) for old in state.evidence)
    return state._replace(evidence=tuple(evidence))


# --- the tables -----------------------------------------------------------------------------------


class Setting(NamedTuple):
    """What a check is done with."""

    family: str
    estimator: LikelihoodRatio
    check: Callable = check_unbiased
    """The public check of nolr.testing."""
    rows: int = 2048
    """Of one draw of a certificate."""
    state: Callable | None = None
    """(estimator, network, params, loss) -> the estimator's state; None lets it learn one."""


class Fault(NamedTuple):
    """A wrong function, where it is planted, and the setting in which it must be seen."""

    wrong: Callable
    """Called as the right one is, but with the right one as its first argument."""
    owner: Any
    """The class or module that holds the right one."""
    attribute: str
    setting: Setting

    @property
    def name(self) -> str:
        return self.wrong.__name__.replace("_", " ")


FAULTS: list[Fault] = []
UNSEEN: list[Fault] = []


def planted(owner: Any, attribute: str, *setting: Any, **more: Any) -> Callable:
    """Enter a wrong function into the table."""

    def enter(wrong: Callable) -> Callable:
        FAULTS.append(Fault(wrong, owner, attribute, Setting(*setting, **more)))
        return wrong

    return enter


def unseen(owner: Any, attribute: str, *setting: Any) -> Callable:
    """The same for what costs variance alone."""

    def enter(wrong: Callable) -> Callable:
        UNSEEN.append(Fault(wrong, owner, attribute, Setting(*setting)))
        return wrong

    return enter


# --- noise and its score --------------------------------------------------------------------------


@planted(Gaussian, "score", "dense", PAIRS)
def score_a_tenth_too_large(right, noise, white):
    """s = 1.1 η/σ: the gradient grows by a tenth."""
    return 1.1 * right(noise, white)


@planted(Gaussian, "score", "dense", PAIRS)
def score_divided_by_the_variance(right, noise, white):
    """s = ε/σ² = η/σ, not η/σ²: the white noise is not ε."""
    return right(noise, white) / noise.sigma


@planted(Gaussian, "score", "one", PAIRS, check=check_score)
def score_of_another_distribution(right, noise, white):
    """sign(ε)/b is the score of Laplace noise, not of Gaussian."""
    return np.sign(white) / noise.sigma


@planted(Gaussian, "colour", "one", PAIRS, check=check_score)
def noise_clipped_but_scored_as_if_not(right, noise, white):
    """Noise cut off at 2σ is not Gaussian, so η/σ is not its score."""
    return right(noise, np.clip(white, -2, 2))


@planted(AutoRegressive, "score", "one", CORRELATED)
def correlated_noise_scored_with_its_marginal(right, noise, white):
    """ε/σ² forgets that a unit's noise tells of its neighbour's."""
    return noise.colour(white) / noise.sigma**2


@planted(perturbation.Draw, "noise", "dense", PAIRS)
def noise_of_another_level_than_its_score(right, draw, clean, step, stage, white):
    """ε = 0.8 η, scored as 0.5 η."""
    return Gaussian(0.8).colour(white)


@planted(NumpyBackend, "normal", "lif", PAIRS)
def coins_instead_of_normal_numbers(right, backend, key, shape, dtype):
    """±1 has the right mean and variance, but its score is not η."""
    return np.sign(right(backend, key, shape, dtype))


@planted(perturbation.Draw, "white", "linear", JOINT)
def stages_share_their_noise(right, draw, clean, stage):
    """A key without the stage: each score is credited with what the other stage's noise did."""
    return right(draw, clean, 0)


@planted(perturbation.Draw, "white", "one", SINGLES)
def copies_share_their_noise(right, draw, clean, stage):
    """A key without the copy: the others' mean is the copy's own loss."""
    white = right(draw, clean, stage)
    return np.broadcast_to(white[:1], white.shape)


@planted(perturbation.Draw, "white", "one", PAIRS)
def steps_share_their_noise(right, draw, clean, stage):
    """A key without the step: what one draw is wrong by never averages out."""
    return right(draw._replace(key=draw.key._replace(step=0)), clean, stage)


@planted(perturbation.Draw, "white", "max pool", PAIRS)
def noise_in_blocks_scored(right, draw, clean, stage):
    """Noise that is the same all over a block has a singular covariance, and no score."""
    blocks, white = clean.network.pathways[stage].blocks, right(draw, clean, stage)
    return blocks.pull(blocks.push(white)) / blocks.size


# --- copies and pairs -----------------------------------------------------------------------------


@planted(perturbation, "_copies", "dense", PAIRS)
def copies_interleaved(right, noise, signs):
    """Rows in the order sample, sign: what comes back is split as sign, sample."""
    rows = right(noise, signs)
    return np.swapaxes(rows.reshape(len(signs), -1, *rows.shape[1:]), 0, 1).reshape(rows.shape)


@planted(perturbation, "tile", "dense", PAIRS)
def targets_interleaved(right, array, copies):
    """Every copy of a sample meets the target of another one."""
    return np.repeat(array, copies, axis=0)


@planted(tails, "tile", "residual", PAIRS)
def skips_interleaved(right, array, copies):
    """The skip connection brings another sample's copy."""
    return np.repeat(array, copies, axis=0)


@planted(perturbation, "odd_part", "linear", PAIRS, check=even_loss_residue)
def odd_part_with_a_plus(right, values, signs):
    """Half the sum of a pair is its even part."""
    return values.mean(axis=1)


@planted(perturbation, "odd_part", "dense", PAIRS)
def odd_part_not_halved(right, values, signs):
    """A pair's whole difference: twice the gradient."""
    return 2 * right(values, signs)


@planted(StageStep, "weigh_apart", "linear", JOINT)
def score_without_the_sign_of_its_noise(right, step, local, score, weights, signs):
    """The copy with -ε is weighed with the score of +ε."""
    right(step, local, score, weights, [1.0 for _ in signs])


@planted(StageStep, "weigh_shared", "dense", TWO_PAIRS)
def groups_added_up(right, step, score, weights):
    """1/copies is missing: the sum over groups instead of their mean."""
    right(step, score.shape[0] * score, weights)


@planted(StageStep, "weigh_apart", "linear", JOINT)
def copies_averaged_twice(right, step, local, score, weights, signs):
    """1/copies², where every copy has a product of its own."""
    right(step, local, score / step.copies, weights, signs)


@planted(StageStep, "absorb", "dense", replace(PAIRS, workers=2))
def second_worker_forgotten(right, step, other):
    """The gradient of a part of the batch, divided by the whole of it."""


# --- baselines ------------------------------------------------------------------------------------


@planted(LeaveGroupOut, "__call__", "dense", SINGLES)
def mean_that_includes_the_copy(right, baseline, losses, clean):
    """It depends on the copy's own noise: the gradient shrinks by (K - 1)/K."""
    return losses.mean(axis=(-3, -2), keepdims=True)


@planted(CleanLoss, "__call__", "dense", PAIRS)
def pair_mate_as_baseline(right, baseline, losses, clean):
    """It depends on the copy's own noise: every difference counts twice."""
    return losses[..., ::-1, :, :]


@planted(LeaveGroupOut, "__call__", "dense", OTHER_PAIRS)
def pair_mate_among_the_others(right, baseline, losses, clean):
    """The copy is left out, but not the one with the opposite noise."""
    total = losses.sum(axis=(-3, -2), keepdims=True)
    return (total - losses) / (losses.shape[-3] * losses.shape[-2] - 1)


@planted(LeaveGroupOut, "__call__", "dense", SINGLES, check=constant_loss_residue)
def others_divided_by_all(right, baseline, losses, clean):
    """No bias, but half of the loss is left in: of a constant loss something remains."""
    groups = losses.shape[-2]
    return right(baseline, losses, clean) * (groups - 1) / groups


# --- what a copy saw ------------------------------------------------------------------------------


@planted(StageStep, "weigh_apart", "linear", LOUD_JOINT)
def clean_inputs_in_every_copy(right, step, local, score, weights, signs):
    """Stale: in joint mode the input of a later stage is noisy, in every copy differently."""
    clean = tile(step.visit.state[0], len(signs) * score.shape[0])
    right(step, Local(clean, local.past), score, weights, signs)


@planted(StageStep, "weigh_apart", "linear", LOUD_JOINT)
def inputs_of_the_first_in_both_of_a_pair(right, step, local, score, weights, signs):
    """The shortcut of pairs, ½(ℓ⁺ - ℓ⁻) s x⁺, where x⁻ is not x⁺."""
    half = local.x.shape[0] // 2
    right(step, Local(tile(local.x[:half], 2), local.past), score, weights, signs)


@planted(StageStep, "weigh_apart", "last state", LOUD)
def one_past_for_all_copies(right, step, local, score, weights, signs):
    """The states of the clean run: a recurrent stage has others in every copy."""
    past = tile(step.visit.past, len(signs) * score.shape[0])
    right(step, Local(local.x, past), score, weights, signs)


@planted(tails, "_stack", "dense", PAIRS)
def tails_change_places(right, states):
    """A stage is credited with the losses that another stage's noise caused."""
    return right(states[::-1])


class _Frozen(NamedTuple):
    """A max pool whose winners are those of the clean run."""

    route: Any
    samples: int
    trainable = False

    def __call__(self, x):
        pooled = self.route.push(split_copies(x, self.samples))
        return pooled.reshape(-1, *pooled.shape[2:])


@planted(perturbation, "run_tails", "max pool", PAIRS)
def winners_of_the_clean_run(right, network, params, trace, noises, behind):
    """Noise makes other pixels win; frozen, the loss is another function."""
    frozen = copy.copy(network)
    nodes = [
        _Frozen(node.route(x), x.shape[0]) if isinstance(node, MaxPool2D) else node
        for node, x in zip(network.nodes, trace.inputs, strict=True)
    ]
    object.__setattr__(frozen, "nodes", tuple(nodes))
    return right(frozen, params, trace, noises, behind)


# --- credit ---------------------------------------------------------------------------------------


@planted(Later, "gather", "rnn", PAIRS)
def credit_starts_a_step_late(right, reach, losses):
    """The loss of the step itself is not counted."""
    return right(reach, losses) - losses


@planted(Later, "gather", "rnn", PAIRS)
def credit_for_one_step_alone(right, reach, losses):
    """The losses of later steps are not counted."""
    return losses


@planted(Neighbours, "gather", "graph", PAIRS)
def credit_for_one_node_alone(right, reach, losses):
    """The losses of the nodes that an arrow leads to are not counted."""
    return losses


@planted(Neighbours, "gather", "graph", PAIRS)
def credit_against_the_arrows(right, reach, losses):
    """The pattern has to be transposed, as the operator itself."""
    return reach.pattern.push(losses[..., None])[..., 0]


@planted(StageStep, "_weigh", "over time", PAIRS)
def loss_divided_by_positions(right, step, score, weights):
    """Batch × time where batch belongs: the gradient shrinks with the number of steps."""
    return right(step, score, weights) / score.shape[2]


# --- the control variate --------------------------------------------------------------------------


@planted(StageStep, "beta", "dense", PREDICTED)
def prediction_not_taken_out(right, step):
    """βĝ is added, and the residual still holds it."""
    return 0.0


@planted(StageStep, "beta", "lif", PREDICTED)
def beta_on_one_side(right, step):
    """βĝ is added, but ĝ is taken out."""
    return 1.0


@planted(preparation, "predict", "dense", PREDICTED)
def prediction_not_added(right, *args):
    """ĝ is taken out, and never added again."""
    found = right(*args)
    return replace(found, credit=0 * found.credit)


@planted(StageStep, "weigh_apart", "linear", PREDICTED_JOINT)
def prediction_added_by_every_copy(right, step, local, score, weights, signs):
    """βĝ once a copy, instead of once for all copies."""
    shared = step.prediction
    step.prediction = replace(shared, credit=step.copies * shared.credit)
    right(step, local, score, weights, signs)
    step.prediction = shared


@planted(Gate, "pull", "dense", PREDICTED)
def gate_forgotten_on_the_way_back(right, gate, credit):
    """Credit is to be pulled the way that noise is pushed: ĝ·ε is taken out, another ĝ added."""
    return credit


@planted(perturbation, "_signed", "linear", PREDICTED_JOINT)
def foreseen_without_its_sign(right, explained, signs):
    """What is foreseen is odd: without its sign a pair cancels it."""
    return np.stack([explained for _ in signs])


@planted(prediction, "_within_reach", "rnn", PREDICTED)
def foreseen_out_of_reach(right, jacobian, reach, losses):
    """Losses out of reach are foreseen, but not weighed, so that they are not taken out again."""
    return jacobian


@planted(StageStep, "weigh_shared", "dense", PREDICTED)
def gate_on_the_residual(right, step, score, weights):
    """The score of z needs no gate: f is behind the noise."""
    gate = step.layer.gate(step.visit.drive, step.visit.past, step.noise.scale)
    right(step, score * gate, weights)


@planted(preparation, "residual_weight", "dense", PREDICTED)
def residual_at_half_its_weight(right, control_variate, loss):
    """λ = ½ is shrunk towards the prediction."""
    return 0.5


@planted(LikelihoodRatio, "__call__", "over time", PREDICTED, rows=12, state=trusting)
def prediction_fitted_on_its_own_draw(right, estimator, network, params, batch, loss, key, state):
    """J̄ and β must be fixed before the draw; they are learned from it first."""
    _, fitted = right(estimator, network, params, batch, loss, key, state)
    return right(estimator, network, params, batch, loss, key, fitted)


# --- layers ---------------------------------------------------------------------------------------


@planted(Dense, "pullback", "dense", PAIRS)
def weights_transposed(right, layer, x, past, score):
    """(in, out) where (out, in) belongs: of a square matrix no shape tells."""
    grads = right(layer, x, past, score)
    return {**grads, "W": grads["W"].T}


@planted(Dense, "pullback", "dense", PAIRS)
def bias_forgotten(right, layer, x, past, score):
    """The bias never learns."""
    grads = right(layer, x, past, score)
    return {**grads, "b": 0 * grads["b"]}


@planted(Conv2D, "pullback", "conv", PAIRS)
def stride_where_dilation_belongs(right, layer, x, past, score):
    """The windows of the weights' gradient: as many positions, but not the same."""
    swapped = replace(layer, stride=layer.dilation, dilation=layer.stride)
    return right(swapped, x, past, score)


@planted(Conv2D, "pullback", "conv", PAIRS)
def kernel_upside_down(right, layer, x, past, score):
    """A convolution of the books flips its kernel; v = W · im2col(x) does not."""
    grads = right(layer, x, past, score)
    return {**grads, "W": grads["W"][..., ::-1, ::-1]}


@planted(Conv2D, "pullback", "conv", PAIRS)
def positions_averaged(right, layer, x, past, score):
    """The mean over positions instead of their sum."""
    grads = right(layer, x, past, score)
    return {name: grad / np.prod(score.shape[2:]) for name, grad in grads.items()}


@planted(SimpleRNN, "respond", "rnn", PAIRS)
def noise_not_carried_by_states(right, layer, params, drive, noise):
    """The state is noisy for those who read it, but a clean one is carried on."""
    copies = 1 if noise is None else noise.shape[0] // drive.shape[0]
    clean = tile(right(layer, params, drive, None)[1], copies)
    past = clean if noise is None else clean + noise
    return layer.activation(past), past


@planted(SimpleRNN, "pullback", "rnn", PAIRS)
def this_state_for_the_last_one(right, layer, x, past, score):
    """U meets h_{t-1}, not h_t."""
    ahead = np.concatenate([past[:, 1:], past[:, :1]], axis=1)
    return right(layer, x, ahead, score)


@planted(LIF, "respond", "lif", PAIRS)
def noise_at_the_threshold_alone(right, layer, params, drive, noise):
    """Spikes are noisy, but a clean potential is carried on."""
    copies = 1 if noise is None else noise.shape[0] // drive.shape[0]
    clean = tile(right(layer, params, drive, None)[1], copies)
    past = clean if noise is None else clean + noise
    return (past > layer.threshold).astype(past.dtype), past


@planted(LIF, "pullback", "lif, decay", PAIRS)
def decay_without_reset(right, layer, x, past, score):
    """After a spike nothing is left to decay."""
    return right(replace(layer, threshold=np.inf), x, past, score)


@planted(NumpyBackend, "scatter_add", "embedding", PAIRS)
def scatter_that_overwrites(right, backend, rows, values, size):
    """table[rows] = values keeps the last score of every token."""
    table = np.zeros((size, values.shape[1]))
    table[rows] = values
    return table


@planted(GraphConv, "pullback", "graph", PAIRS)
def graph_not_transposed(right, layer, x, past, score):
    """Âᵀ carries scores back; Â itself is the same only where all edges go both ways."""
    flipped = GraphOperator(layer.operator.matrix.T)
    return right(replace(layer, operator=flipped), x, past, score)


# --- no bias, so no check of a mean can tell ------------------------------------------------------


@unseen(perturbation.Draw, "white", "one", PAIRS)
def samples_share_their_noise(right, draw, clean, stage):
    """One draw for the whole batch: every estimate is as noisy as that of a single sample."""
    white = right(draw, clean, stage)
    return np.broadcast_to(white[:, :1], white.shape)


@unseen(Later, "gather", "rnn", PAIRS)
def credit_starts_a_step_early(right, reach, losses):
    """The loss of the step before is independent of the noise: variance, no bias."""
    earlier = np.concatenate([0 * losses[..., :1], losses[..., :-1]], axis=-1)
    return right(reach, losses) + earlier


@unseen(Dense, "gate", "dense", PREDICTED)
def gate_of_another_function(right, layer, drive, past, scale):
    """The prediction is bad, but fixed before the draw: λ = 1 is unbiased for any."""
    return np.cos(drive)
