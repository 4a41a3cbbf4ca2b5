"""Recurrence: a network reads digits row by row, and nothing is unrolled through time.

A simple recurrent network keeps a state h and mixes every new row x into it:

    v_t = W x_t + U h_{t-1} + b,  h_t = tanh(v_t + ε_t),  h_0 = 0

Backpropagation goes back through all states. Here the noise of every step is carried on by the
state, so the loss at the end feels it, and forward runs weigh the noise of all steps at once.
Run: python examples/05_recurrent.py. It takes about six seconds and writes 05_recurrent.png.
"""

import numpy as np
from matplotlib.figure import Figure

import nolr
from nolr.data import load_digits
from nolr.initializers import ScaledIdentity, glorot_normal

# 1. A sample is a sequence: 8 steps, each a row of 8 grey values.
backend, loss = nolr.get_backend("numpy"), nolr.CrossEntropy()
digits = load_digits()
rows = nolr.Dataset(digits.inputs.reshape(-1, 8, 8) / np.float32(16), digits.targets)
data = nolr.split_stratified(rows, seed=0)


def build(recurrent_initializer):
    """64 recurrent units; the last state alone is read out."""
    return nolr.Sequential(
        nolr.SimpleRNN(8, 64, nolr.Tanh(), recurrent_initializer=recurrent_initializer),
        nolr.Dense(64, 10, nolr.Identity()),
        input_shape=(8, 8),
    )


def train(network, control_variate, seed):
    """The trained parameters and the test accuracy; one antithetic pair."""
    estimator = nolr.LikelihoodRatio(nolr.Gaussian(0.2), control_variate=control_variate)
    optimizer = nolr.Adam(nolr.Cosine(5e-3, steps=20 * 41))
    parts = (network, loss, estimator, optimizer, data, backend)
    trainer = nolr.Trainer(*parts, epochs=20, seed=seed)
    *_, state = trainer.run(trainer.init())
    params = trainer.params(state)
    guesses = network.forward(params, data.test.inputs).argmax(axis=1)
    return params, np.mean(guesses == data.test.targets)


def states(network, params, inputs):
    """h_0 .. h_8 of the clean run (samples, 9, units); the layer's past is its z = v + ε."""
    past = network.run_clean(params, inputs).visits[0].past
    return np.concatenate([np.zeros_like(past[:, :1]), np.tanh(past)], axis=1)


# 2. How do the recurrent weights U begin? As the identity every unit is a memory of its own, which
#    adds up the rows, so that at first their order shows little. Random weights mix the units at
#    every step, and a row leaves one trace early on and another one late. Over eight rows that is
#    worth more.
starts = {"identity": ScaledIdentity(), "random": glorot_normal}
jacobian = nolr.JacobianControlVariate(residual=0.0, forgetting=0.998)
trained = {}
for name, initializer in starts.items():
    network, accuracies = build(initializer), []
    start = network.init(seed=0, backend=backend)
    last = states(network, start, data.test.inputs)[:, -1]
    moved = states(network, start, data.test.inputs[:, ::-1])[:, -1] - last
    change = np.linalg.norm(moved) / np.linalg.norm(last - last.mean(axis=0))
    for seed in range(3):
        trained[name, seed], accuracy = train(network, jacobian, seed)
        accuracies.append(accuracy)
    each = ", ".join(f"{accuracy:.1%}" for accuracy in accuracies)
    print(f"{name}: rows in reverse move h_8 by {change:.2f} of its spread before training,")
    print(f"  test accuracy {each}; mean {np.mean(accuracies):.1%}")
print(f"random, without the control variate: {train(build(glorot_normal), None, 0)[1]:.1%}")

# 3. What the states do while a digit is read, in the plane of the first two principal components
#    of the last states: a line is the mean of a class, a point the last state of one test image.
network = build(glorot_normal)
colours = {0: "#0072B2", 1: "#E69F00", 4: "#009E73", 6: "#D55E00", 7: "#CC79A7"}
label = {"fontsize": 13, "ha": "center", "va": "center"}
figure = Figure(figsize=(10, 5), layout="constrained")
untrained = network.init(seed=0, backend=backend)
for axes, params in zip(figure.subplots(1, 2), (untrained, trained["random", 0]), strict=True):
    paths = states(network, params, data.test.inputs)
    paths = paths - paths[:, -1].mean(axis=0)
    paths = paths @ np.linalg.svd(paths[:, -1], full_matrices=False)[2][:2].T
    for digit, colour in colours.items():
        members = paths[data.test.targets == digit]
        mean = members.mean(axis=0)
        axes.scatter(*members[:, -1].T, color=colour, s=14, alpha=0.5, linewidths=0)
        axes.plot(*mean.T, color=colour, linewidth=2, marker="o", markersize=3)
        axes.text(*mean[-1], digit, **label, bbox={"boxstyle": "circle", "fc": "w", "ec": colour})
    axes.text(*mean[0], "$h_0$", **label, bbox={"boxstyle": "circle", "fc": "w", "ec": "0.3"})
    axes.set(title=f"Hidden states {'before' if params is untrained else 'after'} training")
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.set(aspect="equal", adjustable="datalim")
    axes.spines[["top", "right"]].set_visible(False)
figure.savefig("05_recurrent.png", dpi=130)
