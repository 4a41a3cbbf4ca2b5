"""Prove it: a layer of your own, with a fault that training does not show, and two who find it.

A likelihood ratio, ∇θ E[loss] = E[loss · (∂v/∂θ)ᵀ s], is right only if parameters reach the loss
through z = v + ε and nothing else. In a layer that breaks this nothing crashes: the loss falls, and
the gradient is wrong. `check_layer` asks a layer for what it promises, in milliseconds;
`check_unbiased` compares estimates with differences of the loss until it is sure of its verdict.
Run: python examples/10_prove_your_estimator.py
It needs no data, takes about twelve seconds and writes 10_prove_your_estimator.png.
"""

import textwrap
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

import nolr
from nolr.copies import tile
from nolr.reach import Later
from nolr.testing import check_unbiased
from nolr.testing.confidence import ConfidenceSequence
from nolr.testing.layers import check_layer
from nolr.testing.noised_loss import NoisedLoss
from nolr.testing.references import Direction, find_references


# 1. A layer, all of it (the protocol is nolr.types.Layer). Neurons add up currents W x in a leaky
#    potential v and fire above 1. The noise is where one would put it, at the threshold: z = v + ε
#    decides on a spike, v is carried on to the next time step.
@dataclass(frozen=True)
class Leaky:
    inputs: int
    units: int

    trainable, affine, recurrent, pulls_past = True, False, True, False
    reach = noise_reach = Later()  # a time step is felt by itself and later ones
    activation, decay, carries_noise = nolr.Step(1.0), 0.9, False

    def output_shape(self, input_shape):
        return (input_shape[0], self.units)  # (time steps, neurons)

    noise_shape = output_shape

    def init(self, key):
        return {"W": nolr.he_normal(key, (self.units, self.inputs))}

    def drive(self, params, x):
        return x @ params["W"].T

    def respond(self, params, drive, noise):
        noise = np.zeros_like(drive) if noise is None else noise
        drive, carried, spikes = tile(drive, len(noise) // len(drive)), 0.0, []
        potentials = np.empty_like(drive)
        for step in range(drive.shape[1]):
            v = drive[:, step] + carried
            z = potentials[:, step] = v + noise[:, step]
            spikes.append(self.activation(z))
            rest = z if self.carries_noise else v
            carried = self.decay * rest * (1 - spikes[-1])  # a spike resets it to 0
        return np.stack(spikes, axis=1), potentials

    def pullback(self, x, past, score):  # (∂v/∂W)ᵀ score, earlier z being held
        return {"W": np.einsum("ntu,nti->ui", score, x)}

    def gate(self, drive, past, scale):
        return self.activation.smoothed_derivative(past, scale)


# 2. The cure is a word. If z is carried on, then v_2 = W x_2 + β z_1, and what W x_1 does to z_1
#    has a score of its own, s_1. If v is carried on, v_2 = W x_2 + β W x_1: W also acts through
#    memory, past the noise of step 1, and the pullback of step 2 knows only of W x_2.
class Mended(Leaky):
    carries_noise = True


# 3. The task: three currents for five steps, one of them on; the neuron that fires most answers.
rng = np.random.default_rng(0)
labels = np.arange(999) % 3
currents = np.eye(3)[labels][:, None, :] + 0.5 * rng.normal(size=(999, 5, 3))
data = nolr.split_stratified(nolr.Dataset(currents, labels), seed=0)
backend, loss, noise = nolr.get_backend("numpy"), nolr.CrossEntropy(), nolr.Gaussian(0.5)
estimator = nolr.LikelihoodRatio(noise, control_variate=None)
few, DRAWS, TILES = (currents[:6], labels[:6]), 1024, 80


def judge(layer):
    """Training shows nothing; the layer's promises and a certificate do."""
    network = nolr.Sequential(layer, nolr.SumOverTime(), input_shape=(5, 3))
    parts = (network, loss, estimator, nolr.Adam(3e-2), data, backend)
    trainer = nolr.Trainer(*parts, epochs=10, seed=SEED)
    *_, state = trainer.run(trainer.init())
    right = network.forward(trainer.params(state), data.test.inputs).argmax(1) == data.test.targets
    print(f"{type(layer).__name__}: test accuracy {right.mean():.1%}")
    report = check_layer(layer, (5, 3))
    print(f"check_layer: {len(report.failures)} of {len(report.results)} checks failed")
    for failure in report.failures[:1]:
        print(textwrap.fill(failure.sentences[0], 96))
    params = network.init(SEED, backend, "float64")
    print("check_unbiased:", check_unbiased(estimator, network, params, few, loss), "\n")
    return network, params


# 4. The same by hand. What is estimated is the gradient of the loss that this very layer has with
#    noise. Its differences, with the same noise on both sides, know nothing of scores. Interval and
#    tolerance: the confidence sequence holds at all times at once, so one may watch and stop.
def compare(network, params):
    """Draws of differences and of estimates (draws, entries of W), and the bias as it settles."""
    (reference,) = find_references([NoisedLoss(network, *few, loss, {0: noise})], "differences", 512)
    entries = [Direction(0, 0, "W", unit.reshape(3, 3)) for unit in np.eye(9)]
    truth = np.stack([reference.project(params, entries, rng) for _ in range(200)])
    batch = [np.concatenate([array] * TILES) for array in few]
    state = estimator.init(network, params, loss)
    keys = [nolr.Key(seed=0, step=step) for step in range(DRAWS)]
    draws = [estimator(network, params, batch, loss, key, state)[0].grads[0]["W"] for key in keys]
    norm = np.linalg.norm(truth.mean(axis=0))
    along = Direction(0, 0, "W", truth.mean(axis=0).reshape(3, 3) / norm)
    sequence, track = ConfidenceSequence(1, 1e-6, DRAWS), []
    for draw in draws:
        bias = np.sum(draw * along.values) - reference.project(params, [along], rng)
        sequence.add(100 * bias[None] / norm)
        track.append((sequence.mean[0], sequence.radius[0]))
    return truth, np.reshape(draws, (-1, 9)), np.array(track).T
