"""Kernel-InfoNCE learns what spectral clustering finds (Tan et al. 2024): synthetic graphs of six clusters.

    python experiments/kernel_infonce_graphs.py

Nodes of a cluster are joined with probability ``within``, others with ``between``. In every step each node draws one
neighbor as its positive, a sample of the paper's Markov random field, and all other nodes are candidates. The space
that the embedding spans is compared with the leading eigenvectors of the normalized graph by principal angles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from recording import figure, mean_and_range, run
from scipy.linalg import subspace_angles
from sklearn.cluster import KMeans

from torchicon import Candidates, Cosine, Gaussian, Sparse, objective
from torchicon.evaluation import hungarian_accuracy, knn_accuracy
from torchicon.mappers import Lookup
from torchicon.neighborhoods import Exponential
from torchicon.viz.palette import category_colors


@dataclass(frozen=True)
class Config:
    n_clusters: int = 6
    cluster_size: int = 100
    within: tuple[float, ...] = (1.0, 0.75)
    between: tuple[float, ...] = (0.0, 0.2)
    n_components: int = 6
    steps: int = 600
    learning_rate: float = 0.05  # of Adam, falling to zero along a cosine
    seeds: tuple[int, ...] = (0, 1, 2)


KERNELS = {
    "cosine": Cosine(1.0),  # SimCLR: the Gaussian kernel on the sphere
    "Gaussian": Gaussian(1.0),
    "Laplacian": Exponential(1.0, 1.0),
}


def make_graph(config, within, between, generator):
    """Symmetric 0/1 edges (n, n) without loops, and each node's cluster."""
    cluster = torch.arange(config.n_clusters).repeat_interleave(config.cluster_size)
    rate = torch.where(cluster[:, None] == cluster, within, between)
    upper = torch.triu(torch.rand(rate.shape, generator=generator) < rate, diagonal=1)
    return (upper | upper.T).double(), cluster


def spectral(weight, count):
    """Leading eigenvectors (n, count) of the random walk's matrix D^-1 W; the first is constant."""
    degree = weight.sum(1)
    scale = degree.rsqrt()
    vectors = torch.linalg.eigh(scale[:, None] * weight * scale).eigenvectors
    return (scale[:, None] * vectors[:, -count:]).numpy()


def train(weight, kernel, config, seed):
    """Learned positions (n, d) of the nodes."""
    generator = torch.Generator().manual_seed(seed)
    others = Candidates.others(len(weight))
    table = Lookup(torch.randn(len(weight), config.n_components, generator=generator))
    optimizer = torch.optim.Adam(table.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    for _ in range(config.steps):
        p = Sparse.from_neighbors(torch.multinomial(weight, 1, generator=generator), candidates=others)
        optimizer.zero_grad()
        objective(p, kernel(table())).backward()
        optimizer.step()
        schedule.step()
    z = table().detach()
    return torch.nn.functional.normalize(z, dim=1) if isinstance(kernel, Cosine) else z


def subspace(z, dimensions):
    """The constant and the leading directions of the centered embedding, (n, dimensions)."""
    centered = z.double() - z.double().mean(0)
    leading = torch.linalg.svd(centered, full_matrices=False).U[:, : dimensions - 1]
    return np.concatenate([np.ones((len(z), 1)), leading.numpy()], axis=1)


def scores(z, weight, cluster, config):
    """Angles in degrees, from the smallest, and how well clusters can be told apart."""
    space = subspace(z, config.n_clusters)
    indicator = torch.nn.functional.one_hot(cluster).double().numpy()
    found = KMeans(config.n_clusters, n_init=10, random_state=0).fit_predict(z.numpy())
    return {
        "angles": sorted(np.degrees(subspace_angles(space, spectral(weight, config.n_clusters))).tolist()),
        "largest angle to clusters": float(np.degrees(subspace_angles(space, indicator)).max()),
        "k-means accuracy": hungarian_accuracy(cluster, found),
        "10-NN accuracy": knn_accuracy(z, cluster, k=min(10, len(z) - 1)),
    }


def measure(config):
    graphs = []
    for within, between in zip(config.within, config.between, strict=True):
        kernels = {}
        for name, kernel in ({"untrained": None} | KERNELS).items():
            seen = []
            for seed in config.seeds:
                generator = torch.Generator().manual_seed(seed)
                weight, cluster = make_graph(config, within, between, generator)
                start = torch.randn(len(weight), config.n_components, generator=generator)
                z = start if kernel is None else train(weight, kernel, config, seed)
                seen.append(scores(z, weight, cluster, config))
            found = {key: mean_and_range([s[key] for s in seen]) for key in seen[0] if key != "angles"}
            found["angles"] = np.mean([s["angles"] for s in seen], axis=0).tolist()
            found["largest angle"] = mean_and_range([s["angles"][-1] for s in seen])
            if kernel is not None:  # of the last seed, for the picture: the two leading directions
                left, size, _ = torch.linalg.svd(z - z.mean(0), full_matrices=False)
                found["_positions"] = (left * size)[:, :2].tolist()
            kernels[name] = found
            print(within, between, name, {k: v for k, v in found.items() if k[0] != "_"}, flush=True)
        graphs.append({"within": within, "between": between, "_cluster": cluster.tolist(), "kernels": kernels})
    return {"graphs": graphs}


def draw(numbers):
    columns = len(KERNELS) + 1
    drawing, axes = figure(columns * len(numbers["graphs"]), rows=len(numbers["graphs"]))
    for row, graph in enumerate(numbers["graphs"]):
        palette = np.array(category_colors(1 + max(graph["_cluster"])))[graph["_cluster"]]
        title = f"edges {graph['within']:g} within, {graph['between']:g} between"
        for axis, name in zip(axes[row * columns :], KERNELS, strict=False):
            found = graph["kernels"][name]
            axis.scatter(*np.transpose(found["_positions"]), c=palette, s=5, linewidths=0)
            axis.set_title(f"{name}, k-means {100 * found['k-means accuracy']['mean']:.0f} %\n{title}", fontsize=9)
            axis.set_xlabel("first direction of z")
            axis.set_ylabel("second direction of z")
        axis = axes[row * columns + columns - 1]
        for (name, found), color in zip(graph["kernels"].items(), ["0.6", *category_colors(3)], strict=True):
            axis.plot(range(1, 1 + len(found["angles"])), found["angles"], color=color, marker="o", label=name)
        axis.set_xlabel("principal angle, from the smallest")
        axis.set_ylabel("angle to spectral space, degrees")
        axis.set_ylim(-3, 93)
        axis.legend(frameon=False, fontsize=8)
    return drawing


if __name__ == "__main__":
    run(Config, measure, draw)
