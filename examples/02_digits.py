"""Digits, in three depths: five lines, the training loop by hand, and what variance costs.

The data come with scikit-learn, so nothing is downloaded. Nothing here computes a derivative of
the network: every gradient comes from forward runs. Run: python examples/02_digits.py
It takes about five seconds and writes 02_digits.png.
"""

import numpy as np
from matplotlib.figure import Figure

import nolr
from nolr.data import load_digits
from nolr.optimizers import ravel, unravel

# 1. Five lines: a recipe is data, a network and settings that are known to work.
run = nolr.train("digits-dense", seed=0)
print(f"recipe: test accuracy {run.test_accuracy:.1%} in {run.state.train_seconds:.2f} s")
images = load_digits().inputs[:5]
print("the first five images are", run.predict(images))

# 2. The same by hand. State goes in and comes out; noise is addressed by a key.
backend = nolr.get_backend("numpy")
network = nolr.Sequential(
    nolr.Dense(64, 32, nolr.Tanh()), nolr.Dense(32, 10, nolr.Identity()), input_shape=(64,)
)
data = nolr.split_stratified(load_digits(), seed=0)
loss, optimizer = nolr.CrossEntropy(), nolr.Adam(3e-3)
estimator = nolr.LikelihoodRatio(nolr.Gaussian(0.1), copies=2)

params = network.init(seed=0, backend=backend)
vector = ravel(params)
optimizer_state, estimator_state = optimizer.init(vector), estimator.init(network, params, loss)
order = np.random.default_rng(0)
for step in range(600):
    rows = order.integers(len(data.train), size=32)
    batch = (data.train.inputs[rows] / 16, data.train.targets[rows])
    estimate, estimator_state = estimator(
        network, params, batch, loss, nolr.Key(seed=0, step=step), estimator_state
    )
    vector, optimizer_state = optimizer.update(ravel(estimate.grads), optimizer_state, vector, step)
    params = unravel(vector, params)
guesses = network.forward(params, data.test.inputs / 16).argmax(axis=1)
print(f"by hand: test accuracy {np.mean(guesses == data.test.targets):.1%}")
print(f"estimand: {estimate.info.estimand}")

# 3. What the control variate is worth: one antithetic pair each, the same everything else.
figure = Figure(figsize=(6, 3.6), layout="constrained")
axes = figure.subplots()
for label, colour, settings in (
    ("likelihood ratios alone", "#D55E00", {"control_variate": "none"}),
    ("with the control variate, unbiased (λ = 1)", "#E69F00", {"residual": 1}),
    ("adaptive λ, the default", "#0072B2", {}),
):
    run = nolr.train("digits-dense", seed=0, **settings)
    accuracy = [100 * record.validation_accuracy for record in run.history]
    axes.plot(range(1, len(accuracy) + 1), accuracy, color=colour, label=label)
    print(f"{label}: test accuracy {run.test_accuracy:.1%}")
axes.set(xlabel="epoch", ylabel="validation accuracy (%)", ylim=(60, 100))
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, loc="lower right")
figure.savefig("02_digits.png", dpi=130)
