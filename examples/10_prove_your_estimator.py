"""Prove it: a layer of your own, with a fault that training does not show, and two who find it.

A likelihood ratio, ∇θ E[loss] = E[loss · (∂v/∂θ)ᵀ s], is right only if parameters reach the loss
through z = v + ε and nothing else. In a layer that breaks this nothing crashes: the loss falls, and
the gradient is wrong. `check_layer` holds a layer to its promises; `check_unbiased` compares its
estimates with differences of the loss until a confidence sequence decides.
Run: python examples/10_prove_your_estimator.py
It needs no data, takes about ten seconds and writes 10_prove_your_estimator.png.
"""

import numpy as np
from matplotlib.figure import Figure

import nolr
from nolr.copies import tile
from nolr.reach import Later
from nolr.testing import check_unbiased
from nolr.testing.confidence import ConfidenceSequence
from nolr.testing.directions import Direction
from nolr.testing.layers import check_layer
from nolr.testing.noised_loss import NoisedLoss
from nolr.testing.references import find_references


# 1. A layer, all of it (see nolr.types.Layer). Neurons add up currents W x in a leaky potential v
#    and fire above 1. The noise is where one would put it, at the threshold: z = v + ε decides on
#    a spike, and v is carried on to the next time step.
class Leaky:
    trainable, affine, recurrent, pulls_past = True, False, True, False
    reach = noise_reach = Later()  # a time step is felt by itself and later ones
    activation, decay, carried = nolr.Step(1.0), 0.9, "clean"

    def __init__(self, inputs, units):
        self.inputs, self.units = inputs, units

    def output_shape(self, input_shape):
        return (input_shape[0], self.units)  # time steps, neurons

    noise_shape = output_shape

    def init(self, key):
        return {"W": nolr.he_normal(key, (self.units, self.inputs))}

    def drive(self, params, x):
        return x @ params["W"].T

    def respond(self, params, drive, noise):
        noise = np.zeros_like(drive) if noise is None else noise
        drive, rest = tile(drive, len(noise) // len(drive)), 0.0
        spikes, potentials = np.empty_like(noise), np.empty_like(noise)
        for step in range(drive.shape[1]):
            v = drive[:, step] + self.decay * rest
            z = potentials[:, step] = v + noise[:, step]
            spikes[:, step] = self.activation(z)
            rest = z if self.carried == "noisy" else v
            rest = rest * (1 - spikes[:, step])  # a spike resets it to 0
        return spikes, potentials

    def pullback(self, x, past, score):  # (∂v/∂W)ᵀ score, earlier z being held
        return {"W": np.einsum("ntu,nti->ui", score, x)}

    def gate(self, drive, past, scale):
        return self.activation.smoothed_derivative(past, scale)


# 2. The cure is a word. If z is carried on, v_2 = W x_2 + β z_1, and what W x_1 does to z_1 has a
#    score of its own, s_1. If v is carried on, v_2 = W x_2 + β W x_1: W acts through memory too,
#    past the noise of step 1, and the pullback, which holds what was carried, knows only of W x_2.
class Mended(Leaky):
    carried = "noisy"


rng = np.random.default_rng(0)
labels = np.arange(999) % 3  # which of three currents is on, for five time steps and in noise
currents = np.eye(3)[labels][:, None, :] + 0.5 * rng.normal(size=(999, 5, 3))
data = nolr.split_stratified(nolr.Dataset(currents, labels), seed=0)
backend, loss, noise = nolr.get_backend("numpy"), nolr.CrossEntropy(), nolr.Gaussian(0.5)
estimator = nolr.LikelihoodRatio(noise, control_variate=None)
DRAWS, OWN = 600, 4  # entry of W: what neuron 1 makes of its own current
few, many = ((currents[rows], labels[rows]) for rows in (np.arange(6), np.arange(480) % 6))
entries = [Direction(0, 0, "W", unit.reshape(3, 3)) for unit in np.eye(9)]
figure = Figure(figsize=(11, 4.8), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
for layer, colour, marker, height in (
    (Leaky(3, 3), "#D55E00", "s", 22),
    (Mended(3, 3), "#0072B2", "o", 11),
):
    # 3. Training shows nothing. The neuron that fires most often answers.
    network = nolr.Sequential(layer, nolr.SumOverTime(), input_shape=(5, 3))
    parts = (network, loss, estimator, nolr.Adam(3e-2), data, backend)
    trainer = nolr.Trainer(*parts, epochs=10, seed=7)
    *_, state = trainer.run(trainer.init())
    guesses = network.forward(trainer.params(state), data.test.inputs).argmax(axis=1)
    print(f"{type(layer).__name__}: test accuracy {np.mean(guesses == data.test.targets):.1%}")

    # 4. Promises, in milliseconds, and proof. The first sentence names the fault.
    report = check_layer(layer, (5, 3))
    print(f"check_layer: {len(report.failures)} of {len(report.results)} checks failed")
    for failure in report.failures:
        print(f"  {failure.name}: {failure.sentences[0]}")
    params = network.init(7, backend, "float64")
    proof = check_unbiased(estimator, network, params, few, loss)
    print(proof, end="\n\n")

    # 5. The same by hand. The truth is the gradient of the loss that this very layer has with
    #    noise: its differences, the same noise on both sides, know nothing of scores. Intervals
    #    hold at all times at once, so one may watch and stop.
    noised = NoisedLoss(network, *few, loss, {0: noise})
    (reference,) = find_references([noised], params, "differences", rows=480)
    memory = estimator.init(network, params, loss)
    truth, gap, track = *(ConfidenceSequence(9, 1e-6, DRAWS) for _ in range(2)), []
    for draw in range(DRAWS):
        found, _ = estimator(network, params, many, loss, nolr.Key(seed=0, step=draw), memory)
        expected = reference.project(params, entries, rng)
        truth.add(expected[None])
        gap.add(found.grads[0]["W"].reshape(1, 9) - expected)
        track.append((gap.mean[OWN], gap.radius[OWN]))
    mean, radius = 100 * np.array(track).T / np.linalg.norm(truth.mean)
    draws, sure = np.arange(1, DRAWS + 1), np.isfinite(radius)  # no interval before 64 draws
    left.plot(draws, mean, color=colour, linewidth=1.8)
    area = {"where": sure, "color": colour, "alpha": 0.25, "linewidth": 0}
    left.fill_between(draws, mean - radius, mean + radius, **area)
    text = f"{layer.carried} potential carried: {proof.verdict}"
    left.text(DRAWS, height, text, color=colour, ha="right")
    right.errorbar(truth.mean, truth.mean + gap.mean, gap.radius, fmt=marker, color=colour)

left.axhspan(-5, 5, color="#009E73", alpha=0.2, linewidth=0, zorder=0)
left.text(4.4, -4.2, "tolerance", color="#009E73")
left.set(title="Bias in one weight while draws come in", xlabel="draws", xscale="log")
left.set(xlim=(4, DRAWS), ylabel="mean of estimate − truth (% of the gradient)")
left.set_xticks(ticks := [5, 10, 20, 50, 100, 200, 500], ticks)
right.axline((0, 0), slope=1, color="0.3", linewidth=0.8, zorder=0)
right.set(title="Every weight: estimate and truth", xlabel="truth (differences of the loss)")
right.set(ylabel="mean of the estimate, with its interval", aspect="equal")
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
figure.savefig("10_prove_your_estimator.png", dpi=130)
