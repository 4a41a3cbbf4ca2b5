"""Convolutions: a pathway that is known, a Jacobian that is learned, and noise in blocks.

A convolution has a unit at every pixel, and most of them matter little and not always: the pooling
behind it passes on the winner of every window alone. nolr uses what it knows of that way before it
learns the rest. Nothing here computes a derivative of the network.
Run: python examples/03_convolution.py. It takes about ten seconds and writes 03_convolution.png.
"""

import numpy as np
from matplotlib.figure import Figure

import nolr
from nolr.data import load_digits
from nolr.optimizers import ravel, unravel

# 1. Images are (samples, channels, height, width). Two poolings take 8 x 8 pixels to 2 x 2.
backend, loss = nolr.get_backend("numpy"), nolr.CrossEntropy()
digits = load_digits()
images = nolr.Dataset(digits.inputs.reshape(-1, 1, 8, 8) / np.float32(16), digits.targets)
data = nolr.split_stratified(images, seed=0)
network = nolr.Sequential(
    *(nolr.Conv2D(1, 8, padding=1), nolr.MaxPool2D(2)),
    *(nolr.Conv2D(8, 16, padding=1), nolr.MaxPool2D(2)),
    *(nolr.Conv2D(16, 32, padding=1), nolr.Flatten()),
    nolr.Dense(32 * 2 * 2, 10, nolr.Identity()),
    input_shape=(1, 8, 8),
)

# 2. The pathway: noise -> gate -> own pooling -> blocks -> u. The gate says which pixels respond to
#    noise, the own pooling which of them won: both are known for every image before the noise is
#    drawn. Pixels that later pooling takes together share one u. Only the rest is learned, the mean
#    Jacobian J̄ from u to the output: a regression of the output's change on u.
for stage, way in enumerate(network.pathways):
    learned = "J̄ = I is known" if way.complete else f"u {way.target}, blocks of side {way.probe}"
    print(f"stage {stage}: noise {way.source} -> {learned}")


# 3. Pixels of white noise cancel within a block; block probes are the same all over a block, so
#    they move the output far more. How soon does each find J̄, in batches of 16? The network stays
#    as it is; the gradient that J̄ predicts for the 8 first filters is compared with finite
#    differences. (Where β scales the prediction to 0, for want of evidence, the cosine counts 0.)
def estimator_with(probe):
    """λ = 0: the gradient is what J̄ predicts, and the copies serve J̄ alone."""
    control_variate = nolr.JacobianControlVariate(probe=probe, residual=0.0)
    return nolr.LikelihoodRatio(nolr.Gaussian(0.1), control_variate=control_variate)


params = network.init(seed=0, backend=backend, dtype="float64")
vector, exact = ravel(params), np.zeros(8 * 9)
x, y = data.train.inputs[:200], data.train.targets[:200]
for i in range(len(exact)):
    for change in (1e-4, -1e-4):
        moved = unravel(vector + change * (np.arange(len(vector)) == i), params)
        exact[i] += loss(network.forward(moved, x), y).mean() / (2 * change)
for probe in ("white", "block"):
    estimator, cosines = estimator_with(probe), {2: [], 5: [], 10: [], 30: []}
    for seed in range(6):
        state, order = estimator.init(network, params, loss), np.random.default_rng(seed)
        for step in range(1, 31):
            rows, key = order.integers(len(x), size=16), nolr.Key(seed, step=step)
            _, state = estimator(network, params, (x[rows], y[rows]), loss, key, state)
            if step in cosines:
                estimate, _ = estimator(network, params, (x, y), loss, key, state)
                slopes = ravel(estimate.grads)[: len(exact)]
                norms = np.linalg.norm(slopes) * np.linalg.norm(exact)
                cosines[step].append(slopes @ exact / norms if norms else 0)
    found = ", ".join(f"{np.mean(values):.2f} after {step}" for step, values in cosines.items())
    print(f"{probe} probes: cosine to finite differences {found} steps")

# 4. Training has 410 steps to learn J̄ in. Does finding it sooner make a better network? On 8 x 8
#    pixels no: the means differ by less than the seeds do.
for probe in ("white", "block"):
    accuracies = []
    for seed in range(3):
        optimizer = nolr.Adam(nolr.Cosine(5e-3, steps=410))
        parts = (network, loss, estimator_with(probe), optimizer, data, backend)
        trainer = nolr.Trainer(*parts, epochs=10, seed=seed)
        *_, state = trainer.run(trainer.init())
        params = trainer.params(state)
        guesses = network.forward(params, data.test.inputs).argmax(axis=1)
        accuracies.append(np.mean(guesses == data.test.targets))
    each = ", ".join(f"{accuracy:.1%}" for accuracy in accuracies)
    print(f"{probe} probes: test accuracy {each}; mean {np.mean(accuracies):.1%}")

# 5. What the first convolution learned: its filters, what they make of a digit, and who wins.
digit = data.test.inputs[data.test.targets == 3][:1]
maps = nolr.Sequential(network.nodes[0], input_shape=(1, 8, 8)).forward(params[:1], digit)
filters, top = params[0]["W"][:, 0], abs(params[0]["W"]).max()
figure = Figure(figsize=(10, 4), layout="constrained")
grid = figure.subplots(3, 9, width_ratios=(1.6, *[1] * 8))
grid[1, 0].imshow(digit[0, 0], cmap="gray_r")
for row, name in enumerate(("filter", "feature map", "pooled")):
    grid[row, 1].set_ylabel(name)
for channel in range(8):
    grid[0, channel + 1].imshow(filters[channel], cmap="PuOr", vmin=-top, vmax=top)
    grid[1, channel + 1].imshow(maps[0, channel], cmap="cividis", vmin=0)
    grid[2, channel + 1].imshow(network.nodes[1](maps)[0, channel], cmap="cividis", vmin=0)
for axes in grid.flat:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
figure.suptitle("The first convolution (weights: orange negative, purple positive)")
figure.savefig("03_convolution.png", dpi=130)
