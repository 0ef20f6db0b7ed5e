"""Two spirals (Wu et al. 2020): views need noise, but not too much of it.

    python experiments/two_spirals.py

Instance discrimination with a memory bank. A view of a point is the point shifted by independent noise, uniform on
[0, eta] along either axis; its positive is its own row of the bank, its negatives are rows drawn from the bank. A
logistic regression on the learned two-dimensional representation then tells the spirals apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from recording import figure, mean_and_range, run
from sklearn.linear_model import LogisticRegression

from torchicon import Candidates, Cosine, Pairs, objective
from torchicon.candidates import MemoryBank
from torchicon.evaluation import knn_accuracy
from torchicon.mappers import mlp
from torchicon.viz.palette import category_colors


@dataclass(frozen=True)
class Config:
    noises: tuple[float, ...] = (0.0, 0.1, 0.2, 0.4, 0.6, 1.0, 2.0, 5.0)
    n_points: int = 10_000
    width: int = 128
    depth: int = 5
    temperature: float = 0.07
    bank_rate: float = 0.5
    negatives: int = 4096
    batch_size: int = 128
    steps: int = 10_000
    learning_rate: float = 1e-3  # of Adam; the paper's SGD (.03, momentum .9) drives all points into one direction
    weight_decay: float = 1e-5
    seeds: tuple[int, ...] = (0, 1, 2)


def spirals(n, generator):
    """Points (n, 2) of two Archimedean spirals in [-2, 2]^2, and which of the two each is on."""
    angle = 3 * math.pi * torch.rand(n, generator=generator)
    second = torch.arange(n) % 2
    turned = angle + math.pi * second
    x = angle[:, None] * torch.stack([turned.cos(), turned.sin()], 1)
    return 2 * x / x.abs().max(), second


def train(config, x, noise, seed):
    """The encoder after training, from (n, 2) to (n, 2)."""
    generator = torch.Generator().manual_seed(100 + seed)
    encoder = mlp(2, 2, hidden=(config.width,) * (config.depth - 1), seed=1000 * seed)
    bank = MemoryBank(len(x), 2, rate=config.bank_rate, generator=generator)
    optimizer = torch.optim.Adam(encoder.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    batches = iter(())
    for _ in range(config.steps):
        index = next(batches, None)
        if index is None or len(index) < config.batch_size:
            batches = iter(torch.randperm(len(x), generator=generator).split(config.batch_size))
            index = next(batches)
        view = x[index] + noise * torch.rand(len(index), 2, generator=generator)
        z = encoder(view)
        negatives = bank.sample(config.negatives, generator)
        columns = torch.cat([index, negatives[~torch.isin(negatives, index)]])  # a positive is no negative as well
        p = Pairs()(len(index), candidates=Candidates.all(len(columns)))
        optimizer.zero_grad()
        objective(p, Cosine(config.temperature)(z, bank.rows[columns])).backward()
        optimizer.step()
        bank.update(index, z)
    return encoder


def scores(z, spiral):
    """Shares of points, in [0, 1], whose spiral is told by a logistic regression and by the nearest neighbors of z."""
    linear = LogisticRegression().fit(z, spiral).score(z, spiral)
    return {"linear": float(linear), "neighbors": knn_accuracy(z[:3000], spiral[:3000])}


def measure(config):
    found = {"noise": list(config.noises), "linear": [], "neighbors": [], "_maps": []}
    for noise in config.noises:
        seen = []
        for seed in config.seeds:
            x, spiral = spirals(config.n_points, torch.Generator().manual_seed(seed))
            z = torch.nn.functional.normalize(train(config, x, noise, seed)(x).detach(), dim=1)
            seen.append(scores(z, spiral))
        for name in ("linear", "neighbors"):
            found[name].append(mean_and_range([s[name] for s in seen]))
        found["_maps"].append({"x": x[::3].tolist(), "angle": torch.atan2(z[::3, 1], z[::3, 0]).tolist()})
        print(f"noise {noise}: {seen}", flush=True)
    return found


def draw(numbers):
    drawing, axes = figure(4)
    places = range(len(numbers["noise"]))
    axes[0].axhline(0.5, color="0.5", linestyle="--", label="chance")
    labels = {"linear": "logistic regression on z", "neighbors": "10 nearest neighbors of z"}
    for (name, label), color, marker in zip(labels.items(), category_colors(2), "os", strict=True):
        values = numbers[name]
        axes[0].plot(places, [v["mean"] for v in values], color=color, marker=marker, label=label)
        band = [v["low"] for v in values], [v["high"] for v in values]
        axes[0].fill_between(places, *band, color=color, alpha=0.15, linewidth=0)
    axes[0].set_xticks(places, [f"{noise:g}" for noise in numbers["noise"]])
    axes[0].set_xlabel("noise η of a view, in units of x (from −2 to 2)")
    axes[0].set_ylabel("accuracy of the spiral, share")
    axes[0].set_ylim(0.4, 1.02)
    axes[0].legend(frameon=False, fontsize=8)
    for axis, k in zip(axes[1:], (0, len(places) // 2 - 1, len(places) - 1), strict=True):
        found = numbers["_maps"][k]
        axis.scatter(*zip(*found["x"], strict=True), c=found["angle"], cmap="twilight", s=2, linewidths=0)
        axis.set_title(f"η = {numbers['noise'][k]:g}: color is the angle of z", fontsize=9)
        axis.set_xlabel("$x_1$")
        axis.set_ylabel("$x_2$")
        axis.set_aspect("equal")
    return drawing


if __name__ == "__main__":
    run(Config, measure, draw)
