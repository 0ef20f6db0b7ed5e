"""Debiasing relieves saturation (I-Con, figure 3): confident clusters and vanishing gradients against alpha.

    python experiments/debias_saturation.py

InfoNCE clustering of the digits: p is uniform on the k nearest neighbors, q goes through clusters. A share alpha of the
uniform neighborhood is mixed into p, into q, or into both. Labels score the clusters, nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from recording import figure, mean_and_range, run
from sklearn.datasets import load_digits

from torchicon import KNN, Candidates, Clusters, debias, objective
from torchicon.evaluation import hungarian_accuracy, saturated_share
from torchicon.mappers import mlp
from torchicon.viz.palette import category_colors

SIDES = ("p", "q", "both")


@dataclass(frozen=True)
class Config:
    alphas: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8)
    neighbors: int = 15
    hidden: int = 128
    batch_size: int = 512
    steps: int = 500
    learning_rate: float = 3e-3
    threshold: float = 0.99  # a point is saturated when its largest cluster probability is at least this
    vanishing: float = 0.01  # an anchor's gradient has vanished below this part of the batch's mean gradient
    seeds: tuple[int, ...] = (0, 1, 2)


def train(config, x, graph, alpha_p, alpha_q, seed):
    """Cluster probabilities (n, c) at the end, and each anchor's gradient norm in the last tenth of the steps."""
    head = mlp(x.shape[1], 10, hidden=(config.hidden,), seed=1000 * seed)
    optimizer = torch.optim.Adam(head.parameters(), lr=config.learning_rate)
    generator = torch.Generator().manual_seed(seed)
    norms = []
    for _ in range(config.steps):
        index = torch.randperm(len(x), generator=generator)[: config.batch_size]
        p = debias(graph.restrict(index), alpha_p)
        logits = head(x[index])
        logits.retain_grad()
        q = debias(Clusters()(logits.softmax(1)), alpha_q)
        optimizer.zero_grad()
        objective(p, q).backward()
        optimizer.step()
        norms.append(logits.grad.norm(dim=1) * len(index))  # times the batch, since the loss is a mean over anchors
    with torch.no_grad():
        return head(x).softmax(1), torch.stack(norms[-max(1, config.steps // 10) :])


def measure(config):
    data = load_digits()
    x = torch.from_numpy(data.data).float() / 16
    graph = KNN(config.neighbors)(x, candidates=Candidates.all(len(x)))  # self is among a cluster q's candidates

    def scores(alpha_p, alpha_q):
        seen = [train(config, x, graph, alpha_p, alpha_q, seed) for seed in config.seeds]
        found = {
            "saturated": [saturated_share(phi, threshold=config.threshold) for phi, _ in seen],
            "vanished": [
                float((norms < config.vanishing * norms.mean(1, keepdim=True)).float().mean()) for _, norms in seen
            ],
            "gradient": [float(norms.mean()) for _, norms in seen],
            "accuracy": [hungarian_accuracy(data.target, phi.argmax(1)) for phi, _ in seen],
        }
        found = {name: mean_and_range(values) for name, values in found.items()}
        means = {name: round(v["mean"], 4) for name, v in found.items()}
        print(f"alpha of p {alpha_p}, of q {alpha_q}: {means}", flush=True)
        return found

    numbers = {"alpha": list(config.alphas)} | {side: [] for side in SIDES}
    for alpha in config.alphas:
        both = scores(alpha, alpha)
        numbers["both"].append(both)
        numbers["p"].append(scores(alpha, 0.0) if alpha else both)
        numbers["q"].append(scores(0.0, alpha) if alpha else both)
    return numbers


def draw(numbers):
    drawing, axes = figure(4)
    titles = {
        "saturated": "saturated points (max φ ≥ .99), share",
        "vanished": "anchors with gradient < 1% of the mean, share",
        "gradient": "mean gradient norm of an anchor, nats/logit",
        "accuracy": "Hungarian accuracy, share",
    }
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        for side, color, marker in zip(SIDES, category_colors(3), "os^", strict=True):
            values = [scores[name] for scores in numbers[side]]
            axis.plot(numbers["alpha"], [v["mean"] for v in values], color=color, marker=marker, label=f"debias {side}")
            band = [v["low"] for v in values], [v["high"] for v in values]
            axis.fill_between(numbers["alpha"], *band, color=color, alpha=0.15, linewidth=0)
        axis.set_xlabel("uniform share α")
        axis.set_ylim(bottom=0)
        axis.set_title(title, fontsize=9)
    axes[0].legend(frameon=False)
    return drawing


if __name__ == "__main__":
    run(Config, measure, draw)
