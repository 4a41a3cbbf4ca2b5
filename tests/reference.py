"""Oracles: what nolr computes, written a second time as loops over samples, copies and units.

Nothing here is fast or clever, and nothing here calls nolr's own layers, losses or estimators.
A reference network is a list of links; a link is one of

    ("dense", W, b, f)      v = W x + b, z = v + ε, y = f(z), a stage
    ("flatten",)            row-major
    ("residual", [links])   y = x + body(x)

and functions f and losses are plain Python functions of one sample.
"""

from __future__ import annotations

from itertools import product
from math import erf, exp, log, pi, sqrt, tanh

import numpy as np

from nolr.types import Key

# --- element-wise functions, one number at a time ------------------------------------------------

FUNCTIONS = {
    "Identity": lambda z: z,
    "ReLU": lambda z: z if z > 0 else 0.0,
    "Tanh": tanh,
    "Sigmoid": lambda z: 1 / (1 + exp(-z)) if z > 0 else exp(z) / (1 + exp(z)),
    "Step": lambda z: 1.0 if z > 0 else 0.0,
}


def function_of(activation):
    """The scalar function of an activation object (a Step's threshold is taken into account)."""
    name = type(activation).__name__
    if name == "Step":
        return lambda z: 1.0 if z > activation.threshold else 0.0
    return FUNCTIONS[name]


def normal_cdf(x):
    """Φ, exactly."""
    return 0.5 * (1 + erf(x / sqrt(2)))


def normal_pdf(x):
    """φ."""
    return exp(-0.5 * x * x) / sqrt(2 * pi)


def smoothed_slope(f, v, scale, points=100_001, reach=9.0):
    """d/dv E[f(v + ε)] = E[f(v + ε) ε/σ²] by the trapezium rule: right even for a step."""
    eta = np.linspace(-reach, reach, points)
    density = np.exp(-0.5 * eta * eta) / sqrt(2 * pi)
    values = np.array([f(z) for z in v + scale * eta])
    return float(np.sum(values * eta * density) * (eta[1] - eta[0]) / scale)


# --- layers ---------------------------------------------------------------------------------------


def dense(W, b, f, x, noise=None):
    """One sample through one dense layer; returns y."""
    y = []
    for unit in range(len(W)):
        v = b[unit]
        for i in range(len(x)):
            v += W[unit][i] * x[i]
        if noise is not None:
            v += noise[unit]
        y.append(f(v))
    return np.array(y)


def conv2d(W, b, x, stride=1, padding=0, dilation=1):
    """v (O, H', W') of one image x (C, H, W): every window, every tap, zeros outside the image."""
    outputs, channels, kernel, _ = W.shape
    _, height, width = x.shape
    span = dilation * (kernel - 1) + 1
    rows, columns = (
        len(range(0, length + 2 * padding - span + 1, stride)) for length in (height, width)
    )
    v = np.zeros((outputs, rows, columns))
    for o, i, j in np.ndindex(*v.shape):
        v[o, i, j] = b[o]
        for c, k, m in np.ndindex(channels, kernel, kernel):
            row = i * stride + k * dilation - padding
            column = j * stride + m * dilation - padding
            if 0 <= row < height and 0 <= column < width:
                v[o, i, j] += W[o, c, k, m] * x[c, row, column]
    return v


def im2col(x, window):
    """(C·kh·kw, H', W') of one image x (C, H, W): every tap of every window, zeros outside."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = window
    channels, height, width = x.shape
    rows, columns = (
        len(range(0, length + 2 * pad - (taps - 1) * step, stride))
        for length, pad, taps, step, stride in ((height, ph, kh, dh, sh), (width, pw, kw, dw, sw))
    )
    found = np.zeros((channels, kh, kw, rows, columns))
    for c, k, m, i, j in np.ndindex(*found.shape):
        row, column = i * sh + k * dh - ph, j * sw + m * dw - pw
        if 0 <= row < height and 0 <= column < width:
            found[c, k, m, i, j] = x[c, row, column]
    return found.reshape(channels * kh * kw, rows, columns)


def graph_conv(A, W, b, x):
    """v (nodes, out) of one graph x (nodes, in), mixed by a dense matrix A: edge by edge."""
    v = np.zeros((len(A), len(W)))
    for node, unit in np.ndindex(*v.shape):
        v[node, unit] = b[unit]
        for other in range(len(A)):
            for i in range(x.shape[1]):
                v[node, unit] += A[node][other] * x[other, i] * W[unit, i]
    return v


def embedding(W, x):
    """v (T, units) of one sequence of token numbers: row by row."""
    return np.array([list(W[int(token)]) for token in x])


def rnn_step(params, f, x, before):
    """v (units,) of one time step; `before` is the z that the past has, None in the first step."""
    v = []
    for unit in range(len(params["b"])):
        total = params["b"][unit]
        for i in range(len(x)):
            total += params["W"][unit, i] * x[i]
        if before is not None:
            for other in range(len(before)):
                total += params["U"][unit, other] * f(before[other])
        v.append(total)
    return np.array(v)


def lif_step(params, decay, threshold, reset, x, before):
    """v (units,) of one time step; `before` is the potential of the step before, or None."""
    v = []
    for unit in range(len(params["b"])):
        total = params["b"][unit]
        for i in range(len(x)):
            total += params["W"][unit, i] * x[i]
        if before is not None:
            spike = 1.0 if before[unit] > threshold else 0.0
            if reset == "zero":
                total += decay[unit] * before[unit] * (1.0 - spike)
            else:
                total += decay[unit] * before[unit] - threshold * spike
        v.append(total)
    return np.array(v)


def unroll(step, x, noise=None):
    """The past (T, units): z = v + ε is what the next step sees."""
    past = []
    for t in range(len(x)):
        v = step(x[t], past[-1] if past else None)
        past.append(v if noise is None else v + noise[t])
    return np.array(past)


# --- links without parameters ---------------------------------------------------------------------


def pool2d(reduce, size, x):
    """reduce(list of numbers) of every whole window of one image (C, H, W)."""
    channels, height, width = x.shape
    y = np.zeros((channels, height // size, width // size))
    for c, i, j in np.ndindex(*y.shape):
        y[c, i, j] = reduce(
            [x[c, i * size + k, j * size + m] for k in range(size) for m in range(size)]
        )
    return y


def over_time(weight, x):
    """Σ_t weight(steps left after t) x_t of one sequence (T, units)."""
    total = np.zeros(x.shape[1])
    for t in range(len(x)):
        for unit in range(x.shape[1]):
            total[unit] += weight(len(x) - 1 - t) * x[t, unit]
    return total


def flatten(x):
    """Row-major, by recursion."""
    if np.ndim(x) == 0:
        return [float(x)]
    return [number for part in x for number in flatten(part)]


# --- networks -------------------------------------------------------------------------------------


def links_of(network, params, functions=function_of):
    """Translate a nolr network and its parameters (on the host) into links."""
    from nolr.nodes import Fork, Join

    stack = [[]]
    for node, theta in zip(network.nodes, params, strict=True):
        if isinstance(node, Fork):
            stack.append([])
        elif isinstance(node, Join):
            body = stack.pop()
            stack[-1].append(("residual", body))
        elif type(node).__name__ == "Dense":
            link = ("dense", np.array(theta["W"]), np.array(theta["b"]))
            stack[-1].append((*link, functions(node.activation)))
        else:
            stack[-1].append(("flatten",))
    return stack[0]


def run(links, x, noises=None, visited=None):
    """One sample through the links.

    Args:
        noises: stage -> noise of that stage, for one copy; stages are counted through the links.
        visited: if given, the input of every dense link is appended to it.
    """
    visited = [] if visited is None else visited
    for link in links:
        if link[0] == "dense":
            stage = len(visited)
            visited.append(np.array(x))
            x = dense(*link[1:], x, (noises or {}).get(stage))
        elif link[0] == "flatten":
            x = np.array(flatten(x))
        else:
            x = x + run(link[1], x, noises, visited)
    return np.array(x)


ROW_FUNCTIONS = {
    "Identity": lambda z: z,
    "Tanh": np.tanh,
    "Sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


def run_rows(links, x, noises):
    """One sample x (features,) under P noise draws at once, for quadrature: returns (P, outputs).

    The rows are independent draws; noises: stage -> (P, units). Dense and residual links only.
    """
    return _run_rows(links, x[None, :], noises, 0)[0]


def _run_rows(links, y, noises, stage):
    for link in links:
        if link[0] == "dense":
            _, W, b, f = link
            y = f(np.einsum("pi,oi->po", y, W) + b + noises.get(stage, 0.0))
            stage += 1
        else:
            body, stage = _run_rows(link[1], y, noises, stage)
            y = y + body
    return y, stage


def stages_of(links):
    """The dense links in the order in which they are run."""
    found = []
    for link in links:
        if link[0] == "dense":
            found.append(link)
        elif link[0] == "residual":
            found += stages_of(link[1])
    return found


# --- losses of one sample -------------------------------------------------------------------------


def cross_entropy(o, label):
    top = max(o)
    return log(sum(exp(value - top) for value in o)) - (o[label] - top)


def zero_one(o, label):
    best = 0
    for index in range(len(o)):
        if o[index] > o[best]:
            best = index
    return 0.0 if best == label else 1.0


def mean_squared_error(o, target):
    if np.ndim(target) == 0:
        target = [1.0 if index == target else 0.0 for index in range(len(o))]
    return sum((a - b) ** 2 for a, b in zip(o, target, strict=True)) / len(o)


def by_position(loss, o, labels):
    """What every position (P, classes) counts: labelled ones alike, others (-1) nothing."""
    counted = sum(1 for label in labels if label >= 0)
    return [
        loss(row, label) / counted if label >= 0 else 0.0
        for row, label in zip(o, labels, strict=True)
    ]


# --- gradients ------------------------------------------------------------------------------------


def finite_difference(function, array, step=1e-5):
    """Central differences of a scalar function of one array, entry by entry."""
    array = np.array(array, dtype=np.float64)
    gradient = np.zeros_like(array)
    for index in np.ndindex(*array.shape):
        moved = array.copy()
        moved[index] = array[index] + step
        above = function(moved)
        moved[index] = array[index] - step
        gradient[index] = (above - function(moved)) / (2 * step)
    return gradient


def parameter_gradient(function, params, stage_nodes, step=1e-5):
    """∇θ of function(params) for the parameters of the given nodes, by central differences."""
    gradients = []
    for node in stage_nodes:
        gradients.append({})
        for name in params[node]:

            def moved(array, node=node, name=name):
                changed = [dict(theta) for theta in params]
                changed[node][name] = array
                return function(tuple(changed))

            gradients[-1][name] = finite_difference(moved, params[node][name], step)
    return gradients


def hermite_grid(dimensions, points):
    """Nodes (P, dimensions) and weights (P,) of E[g(η)], η ~ N(0, I)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    weights = weights / weights.sum()
    grid = np.array(list(product(nodes, repeat=dimensions)))
    density = np.array([np.prod(w) for w in product(weights, repeat=dimensions)])
    return grid, density


def plain_likelihood_ratio(links, x, targets, loss, noises, sigma, baseline=None):
    """The gradient of plain likelihood ratios, by loops over passes, copies and samples.

    Args:
        noises: one entry a pass, stage -> noise (copies, N, units) of every copy (with its sign).
        baseline: (losses of all copies of a sample, copy, clean loss) -> number; None for 0.

    Returns:
        One {"W", "b"} for every stage: the mean over samples and copies of
        (loss - baseline) (∂v/∂θ)ᵀ ε/σ².
    """
    stages = stages_of(links)
    grads = [{"W": np.zeros_like(link[1]), "b": np.zeros_like(link[2])} for link in stages]
    for noise in noises:
        copies = len(next(iter(noise.values())))
        for n in range(len(x)):
            clean = loss(run(links, x[n]), targets[n])
            seen, losses = [], []
            for copy in range(copies):
                inputs = []
                o = run(links, x[n], {s: eps[copy][n] for s, eps in noise.items()}, inputs)
                seen.append(inputs)
                losses.append(loss(o, targets[n]))
            for copy in range(copies):
                centre = 0.0 if baseline is None else baseline(losses, copy, clean)
                for stage, eps in noise.items():
                    weight = (losses[copy] - centre) / (copies * len(x))
                    score = eps[copy][n] / sigma**2
                    grads[stage]["W"] += weight * np.outer(score, seen[copy][stage])
                    grads[stage]["b"] += weight * score
    return grads


# --- optimisers -----------------------------------------------------------------------------------


def adam(gradients, vector, rate, beta1, beta2, decay):
    """Kingma and Ba's algorithm 1, with decoupled decay, one number at a time."""
    vector, m, u = list(vector), [0.0] * len(vector), [0.0] * len(vector)
    for t, gradient in enumerate(gradients, start=1):
        for i, g in enumerate(gradient):
            m[i] = beta1 * m[i] + (1 - beta1) * g
            u[i] = beta2 * u[i] + (1 - beta2) * g * g
            change = (m[i] / (1 - beta1**t)) / (sqrt(u[i] / (1 - beta2**t)) + 1e-8)
            vector[i] -= rate(t - 1) * (change + decay * vector[i])
    return np.array(vector)


def sgd(gradients, vector, rate, momentum, decay):
    vector, m = list(vector), [0.0] * len(vector)
    for t, gradient in enumerate(gradients):
        for i, g in enumerate(gradient):
            m[i] = momentum * m[i] + g
            vector[i] -= rate(t) * (m[i] + decay * vector[i])
    return np.array(vector)


# --- statistics -----------------------------------------------------------------------------------


def z_scores(draws, truth):
    """(mean - truth) / standard error, column by column; draws (R, ...) are independent."""
    draws = np.asarray(draws, dtype=np.float64)
    error = draws.std(axis=0, ddof=1) / sqrt(len(draws))
    return (draws.mean(axis=0) - truth) / error


def keys(count, first=1, seed=0):
    """Keys of `count` different steps."""
    return [Key(seed, step=first + index) for index in range(count)]
