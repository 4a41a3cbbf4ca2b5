"""One neuron, trained without a derivative: the whole idea of nolr, in NumPy alone.

A neuron computes v = w·x + b and fires when v is positive: y = 1 if v > 0 else 0. The step has
derivative zero almost everywhere, so the chain rule has nothing to say about w. Now add noise:

    z = v + ε,  ε ~ N(0, σ²),  y = 1 if z > 0 else 0

The mean loss is a smooth function of w, and its gradient needs no derivative of the step:

    ∇w E[loss] = E[ loss · s · x ],  with the score s = ε/σ²

Noise that lowers the loss is good noise: move v its way. Everything else in nolr makes this mean
less noisy, or makes one forward run serve many neurons. Run: python examples/01_one_neuron.py
"""

import numpy as np

SIGMA = 0.5
rng = np.random.default_rng(0)
inputs = np.array([[1.0, 0.2], [0.3, -1.0], [-0.8, 0.5], [-0.4, -0.9]])
targets = np.array([1.0, 0.0, 1.0, 0.0])


def loss(z):
    """0 if the neuron did what it should, else 1; one per sample, for any number of copies."""
    return (z > 0) != targets


def likelihood_ratio_gradient(w, b, pairs):
    """The mean of ½(loss₊ - loss₋) s x over samples and antithetic pairs ±ε."""
    v = inputs @ w + b
    noise = SIGMA * rng.standard_normal((pairs, len(v)))
    odd_loss = 0.5 * loss(v + noise) - 0.5 * loss(v - noise)
    credit = np.mean(odd_loss * noise / SIGMA**2, axis=0)  # contract over the copies first,
    return credit @ inputs / len(v), credit.mean()  # then one product with the inputs


def exact_gradient(w, b):
    """The neuron errs with probability Φ(±v/σ), whose derivative is a normal density."""
    v = inputs @ w + b
    density = np.exp(-0.5 * (v / SIGMA) ** 2) / (SIGMA * np.sqrt(2 * np.pi))
    credit = (1 - 2 * targets) * density
    return credit @ inputs / len(inputs), credit.mean()


w, b = np.array([0.1, -0.3]), 0.2
print("errors before training", loss(inputs @ w + b).sum(), "of 4")
estimate = np.append(*likelihood_ratio_gradient(w, b, pairs=200_000))
exact = np.append(*exact_gradient(w, b))
error = np.linalg.norm(estimate - exact) / np.linalg.norm(exact)
print("gradient by likelihood ratios", estimate.round(4))
print("exact gradient               ", exact.round(4))
print(f"relative error {error:.2%}")

for _ in range(100):  # a single pair a step is enough to learn from
    gradient_w, gradient_b = likelihood_ratio_gradient(w, b, pairs=1)
    w, b = w - 0.5 * gradient_w, b - 0.5 * gradient_b
print("errors after training", loss(inputs @ w + b).sum(), "of 4")
