"""Views must collide (Wu et al. 2020, theorem 2.1): without augmentation the loss cannot tell similar from dissimilar.

    python experiments/view_collisions.py

A view of a digit is the digit nearest to it after Gaussian noise of the pixels. Two views of one digit are a positive
pair, and p is the exact distribution of a view's partner. Without noise a view is its digit, p is the identity, and a
permutation of the representations, which is just another encoder, leaves the loss as it was. A lookup table is the
encoder that the theorem speaks of, which can represent any assignment; a perceptron has its own idea of similarity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from recording import figure, mean_and_range, run
from sklearn.datasets import load_digits

from torchicon import Candidates, Cosine, Dense, objective
from torchicon.evaluation import knn_accuracy
from torchicon.mappers import Lookup, mlp
from torchicon.viz.palette import category_colors


@dataclass(frozen=True)
class Config:
    noises: tuple[float, ...] = (0.0, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5)  # of a pixel, whose range is 0 to 1
    n_points: int = 500
    draws: int = 200  # noisy copies of a digit, from which the distribution of its views is counted
    permutations: int = 100
    temperature: float = 0.1
    n_components: int = 16
    steps: int = 300
    seeds: tuple[int, ...] = (0, 1, 2)


def partners(x, noise, draws, generator):
    """How often views v and v' come from one point, (n, n), in float64; its rows are p(v'|v), its sums p(v)."""
    n = len(x)
    view = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        noisy = x[i] + noise * torch.randn(draws, x.shape[1], generator=generator)
        view[i] = torch.bincount(torch.cdist(noisy, x).argmin(1), minlength=n) / draws
    return view.T @ view / n


def train(mapper, inputs, together, config, learning_rate):
    """Representations (n, d) that the mapper learns from the exact distribution of pairs of views."""
    share = together.sum(1).float()
    p = Dense.from_weights(together.float())
    optimizer = torch.optim.Adam(mapper.parameters(), lr=learning_rate)
    for _ in range(config.steps):
        optimizer.zero_grad()
        q = Cosine(config.temperature)(mapper(inputs), candidates=p.candidates)
        objective(p, q, weights=share).backward()
        optimizer.step()
    return mapper(inputs).detach()


def measure_seed(config, seed):
    """Numbers of one seed: for each level of noise the measures by name."""
    generator = torch.Generator().manual_seed(seed)
    pixels, labels = load_digits(return_X_y=True)
    chosen = torch.randperm(len(pixels), generator=generator)[: config.n_points]
    x, y = torch.from_numpy(pixels).float()[chosen] / 16, labels[chosen]
    permutations = [torch.randperm(len(x), generator=generator) for _ in range(config.permutations)]
    start = torch.randn(len(x), config.n_components, generator=generator)
    everyone = Candidates.all(len(x))

    def accuracy(z):
        return knn_accuracy(torch.nn.functional.normalize(z, dim=1), y)

    def encoders():
        yield "lookup", Lookup(start), None, 0.03
        yield "mlp", mlp(x.shape[1], config.n_components, seed=1000 * seed), x, 3e-3

    found = []
    for noise in config.noises:
        together = partners(x, noise, config.draws, generator)
        p, share = Dense.from_weights(together), together.sum(1)

        def loss(z, p=p, share=share):
            return float(objective(p, Cosine(config.temperature)(z, candidates=everyone), weights=share))

        sorted_out = x.double()  # representations that do carry similarity: the pixels themselves
        permuted = [loss(sorted_out[order]) for order in permutations]
        numbers = {
            "collisions": 1 - float(together.diagonal().sum()),
            "across classes": float(together[torch.from_numpy(y[:, None] != y)].sum()),
            "loss": loss(sorted_out),
            "permuted mean": sum(permuted) / len(permuted),
            "permuted spread": max(permuted) - min(permuted),
        }
        for name, mapper, inputs, learning_rate in encoders():
            numbers[f"{name} start"] = accuracy(mapper(inputs).detach())
            numbers[name] = accuracy(train(mapper, inputs, together, config, learning_rate))
        numbers["permuted"] = accuracy(sorted_out[permutations[0]])
        numbers["pixels"] = accuracy(sorted_out)
        found.append(numbers)
        print(f"seed {seed}, noise {noise}:", {name: float(f"{v:.3g}") for name, v in numbers.items()}, flush=True)
    return found


def measure(config):
    seeds = [measure_seed(config, seed) for seed in config.seeds]
    names = seeds[0][0]
    at_noise = [
        {name: mean_and_range([found[k][name] for found in seeds]) for name in names} for k in range(len(config.noises))
    ]
    return {"noise": list(config.noises), "log n": math.log(config.n_points), "at noise": at_noise}


def draw(numbers):
    drawing, axes = figure(3)
    noise, at_noise = numbers["noise"], numbers["at noise"]
    colors = category_colors(4)

    def line(axis, name, color, **style):
        values = [found[name] for found in at_noise]
        axis.plot(noise, [v["mean"] for v in values], color=color, **style)
        axis.fill_between(
            noise, [v["low"] for v in values], [v["high"] for v in values], color=color, alpha=0.15, linewidth=0
        )

    line(axes[0], "loss", colors[0], marker="o", label="in place")
    line(axes[0], "permuted mean", colors[1], marker="s", label="permuted, mean of 100")
    axes[0].set_ylabel("loss of the pixels as z, nats")
    line(axes[1], "collisions", colors[0], marker="o", label="another digit")
    line(axes[1], "across classes", colors[2], marker="^", label="a digit of another class")
    axes[1].set_ylabel("a view's partner is ..., share of pairs")
    line(axes[2], "lookup", colors[0], marker="o", label="lookup table")
    line(axes[2], "mlp", colors[1], marker="s", label="perceptron")
    line(axes[2], "mlp start", colors[1], linestyle=":", label="perceptron, untrained")
    line(axes[2], "permuted", "0.5", linestyle="--", label="permuted pixels (chance)")
    axes[2].set_ylabel("10-NN accuracy, share")
    for axis in axes:
        axis.set_xlabel("noise of a pixel (its range is 1)")
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False, fontsize=8)
    return drawing


if __name__ == "__main__":
    run(Config, measure, draw)
