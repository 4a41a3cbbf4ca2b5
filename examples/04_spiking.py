"""Spikes: a network whose units have no derivative, trained through the noise in their potentials.

A leaky integrate-and-fire (LIF) neuron adds up its inputs in a membrane potential u, which leaks,
and fires when u exceeds a threshold V. A spike is a step, so backpropagation has to assume a
smooth surrogate for its derivative. Likelihood ratios assume none: noise makes the mean spike
smooth, and its slope follows. Run: python examples/04_spiking.py
It takes about five seconds and writes 04_spiking.png.
"""

import numpy as np
from matplotlib.figure import Figure

import nolr
from nolr.data import load_digits

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SIGMA, THRESHOLD, STEPS = 0.5, 1.0, 8

# 1. One neuron. Of u = v + ε with ε ~ N(0, σ²), the mean spike is Φ((v - V)/σ), and a likelihood
#    ratio measures its slope with spikes alone: E[spike · s], s = ε/σ². What comes out is the gate
#    φ((v - V)/σ)/σ, a bump as wide as the noise. Nobody chose it: it is the surrogate.
potential = np.linspace(-1, 3, 33)
noise = SIGMA * np.random.default_rng(0).standard_normal((10_000, len(potential)))
odd_spike = 0.5 * (potential + noise > THRESHOLD) - 0.5 * (potential - noise > THRESHOLD)
measured = np.mean(odd_spike * noise / SIGMA**2, axis=0)
gate = nolr.Step(THRESHOLD).smoothed_derivative(potential, SIGMA)
print(f"slope of the mean spike at V: {measured[16]:.3f}, by the formula {gate[16]:.3f};")
print(f"  largest difference at any potential {abs(measured - gate).max():.3f}")

# 2. A network. Direct coding: the image is a constant current, shown for 8 time steps. The answer
#    is read from the mean spike rates of the last LIF layer. The noise is in the potential and is
#    carried on with it, so every later spike is a function of it: nothing is unrolled in time.
backend, loss = nolr.get_backend("numpy"), nolr.CrossEntropy()
digits = load_digits()
data = nolr.split_stratified(nolr.Dataset(digits.inputs / np.float32(16), digits.targets), seed=0)
network = nolr.Sequential(
    nolr.LIF(64, 64, steps=STEPS, threshold=THRESHOLD, reset="subtract"),
    nolr.LIF(64, 32, threshold=THRESHOLD, reset="subtract"),
    nolr.MeanOverTime(),
    nolr.Dense(32, 10, nolr.Identity()),
    input_shape=(64,),
)


def train(network, data, control_variate, epochs=15):
    """The trained parameters and the test accuracy; one antithetic pair, whatever it is."""
    estimator = nolr.LikelihoodRatio(nolr.Gaussian(SIGMA), control_variate=control_variate)
    parts = (network, loss, estimator, nolr.Adam(5e-3), data, backend)
    trainer = nolr.Trainer(*parts, epochs=epochs)
    *_, state = trainer.run(trainer.init())
    params = trainer.params(state)
    guesses = network.forward(params, data.test.inputs).argmax(axis=1)
    return params, np.mean(guesses == data.test.targets)


def spikes_and_potentials(params, inputs):
    """Of both LIF layers in the clean run, each (samples, time steps, neurons)."""
    potentials = [visit.past for visit in network.run_clean(params, inputs).visits[:2]]
    return [u > THRESHOLD for u in potentials], potentials


params, accuracy = train(network, data, nolr.JacobianControlVariate())
print(f"trained through the noise: test accuracy {accuracy:.1%}")
print(f"likelihood ratios alone, no control variate: {train(network, data, None)[1]:.1%}")

# 3. A check: is it the readout alone that learned? Leave both LIF layers as they began, and give
#    the readout ten times as long.
start = network.init(seed=0, backend=backend)
rates = [
    nolr.Dataset(spikes_and_potentials(start, part.inputs)[0][1].mean(axis=1), part.targets)
    for part in (data.train, data.validation, data.test)
]
readout = nolr.Sequential(nolr.Dense(32, 10, nolr.Identity()), input_shape=(32,))
_, accuracy = train(readout, nolr.Split(*rates), nolr.JacobianControlVariate(), epochs=150)
print(f"only the readout trained: {accuracy:.1%}")

# 4. One digit over time: spikes, potentials of three neurons, and the gate of section 1.
figure = Figure(figsize=(12, 4.2), layout="constrained")
raster, traces, slope = figure.subplots(1, 3, width_ratios=(1.2, 1.2, 1))
digit, times = data.test.inputs[data.test.targets == 0][:1], np.arange(1, STEPS + 1)
spikes, potentials = spikes_and_potentials(params, digit)
for layer, (bottom, colour) in enumerate(((0, BLUE), (68, VERMILION))):
    fired = spikes[layer][0]
    step, place = np.nonzero(fired[:, np.argsort(fired.sum(axis=0), kind="stable")])
    raster.scatter(step + 1, place + bottom, marker="_", s=200, color=colour)
    raster.text(STEPS + 0.7, bottom, f"layer {layer}", color=colour, rotation=90, va="bottom")
raster.set(title="Spikes while a 0 is shown", xlabel="time step", ylabel="neuron, by activity")
raster.set(xlim=(0.4, STEPS + 1.5), ylim=(-2, 102), xticks=times, yticks=[])
raster.inset_axes((0.88, 0.36, 0.13, 0.2)).imshow(digit.reshape(8, 8), cmap="gray_r")
raster.child_axes[0].set_axis_off()

counts, highest = spikes[0][0].sum(axis=0), potentials[0][0].max(axis=0)
silent = np.where(counts == 0, highest, -np.inf).argmax()
busy, slow = (abs(counts - count).argmin() for count in (6, 3))
for index, colour in ((busy, ORANGE), (slow, "black"), (silent, GREEN)):
    u, fired = potentials[0][0, :, index], spikes[0][0, :, index]
    reset = np.column_stack([u, u - THRESHOLD * fired]).ravel()  # a spike takes V away
    traces.plot(np.repeat(times, 2), reset, color=colour)
    traces.plot(times[fired], u[fired], "o", color=colour)
traces.axhline(THRESHOLD, color="0.4", linestyle="--", linewidth=1)
traces.set(title="Potentials in layer 0; threshold dashed", xlabel="time step", xticks=times)

slope.plot(potential, gate, color=BLUE, label="formula")
slope.plot(potential, measured, "o", color=ORANGE, label="likelihood ratio")
slope.set(title="Slope of the mean spike", xlabel="potential without noise", ylim=(-0.03, 1.1))
slope.legend(frameon=False, loc="upper left")
for axes in (raster, traces, slope):
    axes.spines[["top", "right"]].set_visible(False)
figure.savefig("04_spiking.png", dpi=130)
