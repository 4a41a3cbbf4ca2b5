"""A graph: ten labelled images of every class among 1797, and who looks like whom.

The nodes of the graph are all digit images; an edge joins an image to those that look most like it.
A graph convolution averages every node with its neighbours, v = Â x Wᵀ + b, so what is known of a
few images spreads. Images without a label are in the graph too; their labels are in no loss.
Run: python examples/06_graph.py. It takes about seven seconds and writes 06_graph.png.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.neighbors import kneighbors_graph

import nolr
from nolr.data import load_digits

# 1. The graph. Neighbourhood is not mutual, so the edges are made symmetric.
backend, loss = nolr.get_backend("numpy"), nolr.CrossEntropy()
digits = load_digits()
features, labels = digits.inputs / np.float32(16), digits.targets
nodes = len(labels)
edges = kneighbors_graph(features, n_neighbors=8)
edges = edges.maximum(edges.T)
operator = nolr.normalized_adjacency(edges)
start, end = edges.nonzero()
alike = np.mean(labels[start] == labels[end])
print(f"{nodes} nodes, {edges.nnz // 2} edges, {alike:.1%} of them between images of one digit")


# 2. One sample is the whole graph. Its loss has positions, one for every node, and the label -1
#    takes a node out of it. So the three parts differ in nothing but the labels that count.
def split(seed):
    """10 labelled nodes of each class to learn from, 300 to watch, the others to test."""
    order = np.random.default_rng(seed).permutation(nodes)
    train = np.concatenate([order[labels[order] == digit][:10] for digit in range(10)])
    rest = order[~np.isin(order, train)]
    known = (np.isin(np.arange(nodes), part) for part in (train, rest[:300], rest[300:]))
    some = (np.where(part, labels, -1) for part in known)
    return nolr.Split(*(nolr.Dataset(features[None], part[None]) for part in some))


graph = nolr.Sequential(
    nolr.GraphConv(64, 32, operator),
    nolr.GraphConv(32, 10, operator, nolr.Identity()),
    input_shape=(nodes, 64),
)
dense = nolr.Sequential(  # the same without neighbours, node by node
    nolr.Dense(64, 32), nolr.Dense(32, 10, nolr.Identity()), input_shape=(nodes, 64)
)

# 3. Credit. Noise at a node can change the losses of its neighbours, and no others: those are
#    independent of it and would add variance alone. So it is weighed with the losses it reaches.
reached = graph.reaches[0].pattern.matrix[split(0).train.targets[0] >= 0]
count = reached.sum(axis=0)
print(f"noise at a hidden node reaches {count.mean():.2f} of the 100 labelled losses on average,")
print(f"  none at all at {np.mean(count == 0):.0%} of the nodes")


# 4. Training: one antithetic pair of the whole graph a step.
def train(network, seed, control_variate):
    """The trained parameters and the test accuracy."""
    estimator = nolr.LikelihoodRatio(nolr.Gaussian(0.1), control_variate=control_variate)
    data, optimizer = split(seed), nolr.Adam(1e-2, l2=5e-4)
    parts = (network, loss, estimator, optimizer, data, backend)
    trainer = nolr.Trainer(*parts, batch_size=1, epochs=100, seed=seed)
    *_, state = trainer.run(trainer.init())
    params, test = trainer.params(state), data.test.targets[0]
    guesses = network.forward(params, features[None])[0].argmax(axis=1)
    return params, np.mean(guesses[test >= 0] == test[test >= 0])


for name, network, control_variate in (
    ("graph", graph, nolr.JacobianControlVariate()),
    ("dense", dense, nolr.JacobianControlVariate()),
    ("graph, without the control variate", graph, None),
):
    accuracies = 100 * np.array([train(network, seed, control_variate)[1] for seed in range(5)])
    spread = accuracies.std(ddof=1) / 5**0.5
    print(f"{name}: test accuracy {accuracies.mean():.1f} ± {spread:.1f} %")

# 5. The hidden features of all nodes in their first two principal components; labelled ones ringed.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7")
COLOURS += ("#56B4E9", "#000000", "#999999", "#7A4E00", "#5B2A86")
untrained = graph.init(seed=0, backend=backend)
params, _ = train(graph, 0, nolr.JacobianControlVariate())
figure = Figure(figsize=(11, 5.4), layout="constrained")
for axes, theta in zip(figure.subplots(1, 2), (untrained, params), strict=True):
    hidden = np.maximum(graph.run_clean(theta, features[None]).visits[0].drive[0], 0)
    hidden = hidden - hidden.mean(axis=0)
    plane = hidden @ np.linalg.svd(hidden, full_matrices=False)[2][:2].T
    for digit, colour in enumerate(COLOURS):
        own = plane[labels == digit]
        axes.scatter(*own.T, s=22, marker=f"${digit}$", color=colour, linewidths=0.3)
    known = plane[split(0).train.targets[0] >= 0]
    axes.scatter(*known.T, s=75, facecolors="none", edgecolors="black", linewidths=0.7)
    axes.set(title=f"Hidden node features {'before' if theta is untrained else 'after'} training")
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.set(xticks=[], yticks=[])
    axes.spines[["top", "right"]].set_visible(False)
figure.savefig("06_graph.png", dpi=130)
