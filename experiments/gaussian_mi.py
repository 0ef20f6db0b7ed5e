"""Mutual information of correlated Gaussians (Wu et al. 2020): InfoNCE and VINCE against the true 0.020411 nats.

    python experiments/gaussian_mi.py

x and y are normal with variance 2 and covariance 0.4. VINCE at p % draws an anchor's negatives from the p % of the pool
that score highest; at 100 % it is InfoNCE. Both are lower bounds for any critic: here for the exact one, the log of
p(y|x) / p(y), and for pairs of encoders that are trained on the bound they are judged by. Bounds are taken on fresh
points, each anchor with its own pool, so that the confidence intervals hold.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from recording import figure, run

from torchicon import Candidates, Dot, Sparse, objective
from torchicon.evaluation import infonce_bound, vince_bound
from torchicon.mappers import mlp
from torchicon.neighborhoods import condition
from torchicon.viz.palette import category_colors


@dataclass(frozen=True)
class Config:
    variance: float = 2.0
    covariance: float = 0.4
    percents: tuple[float, ...] = (100.0, 90.0, 50.0, 25.0, 10.0, 5.0)
    n_points: int = 2000
    width: int = 10
    depth: int = 5
    negatives: int = 100
    batch_size: int = 128
    epochs: int = 100
    learning_rate: float = 0.03
    test_points: int = 6000
    test_pool: int = 2000
    seeds: tuple[int, ...] = (0, 1)


def draw_points(config, n, generator):
    """Pairs (x, y), each (n, 1)."""
    covariance = torch.tensor([[config.variance, config.covariance], [config.covariance, config.variance]])
    return (torch.randn(n, 2, generator=generator) @ torch.linalg.cholesky(covariance).T).split(1, dim=1)


def exact_critic(config):
    """log p(y|x) / p(y) of x (n, 1) and y (n, m)."""
    slope = config.covariance / config.variance
    rest = config.variance - slope * config.covariance  # the variance of y given x

    def score(x, y):
        ratio = y.square() / (2 * config.variance) - (y - slope * x).square() / (2 * rest)
        return ratio - 0.5 * math.log(rest / config.variance)

    return score


def hard_negatives(scores, own, percent, count, generator):
    """Columns (b, count) drawn from each row's percent with the highest scores, never its own; rows share the ranks."""
    others = scores.scatter(1, own[:, None], -math.inf).numpy()  # numpy's partition is several times as fast as topk
    part = math.ceil((others.shape[1] - 1) * percent / 100)
    hardest = np.argpartition(others, -part, axis=1)[:, -part:]
    return torch.from_numpy(hardest[:, torch.randperm(part, generator=generator)[:count].numpy()])


def train(config, percent, seed):
    """A critic g(x) . h(y) of two encoders, trained on VINCE at this percentage."""
    generator = torch.Generator().manual_seed(seed)
    x, y = draw_points(config, config.n_points, generator)
    hidden = (config.width,) * (config.depth - 1)
    encode_x, encode_y = (mlp(1, config.width, hidden=hidden, seed=1000 * seed + first) for first in (0, 500))
    everyone = Candidates.all(config.n_points)
    optimizer = torch.optim.Adam([*encode_x.parameters(), *encode_y.parameters()], lr=config.learning_rate)
    for _ in range(config.epochs):
        for own in torch.randperm(config.n_points, generator=generator).split(config.batch_size):
            q = Dot()(encode_x(x[own]), encode_y(y), candidates=everyone)
            with torch.no_grad():
                scores = q.score_at(None, slice(0, len(own)))
                negatives = hard_negatives(scores, own, percent, config.negatives, generator)
            on = Sparse.from_neighbors(torch.cat([own[:, None], negatives], 1), candidates=everyone)
            p = Sparse.from_neighbors(own[:, None], candidates=everyone)
            optimizer.zero_grad()
            objective(p, condition(q, on)).backward()  # log K minus this is the bound
            optimizer.step()

    @torch.no_grad()
    def score(x, y):
        return torch.einsum("nd,nmd->nm", encode_x(x), encode_y(y[..., None]))

    return score


def bound(config, score, percent, seed):
    """InfoNCE, or VINCE, of a critic on fresh points."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    x, y = draw_points(config, config.test_points, generator)
    own, pool = [], []
    for anchors, partners in zip(x.split(500), y.split(500), strict=True):
        fresh = draw_points(config, len(anchors) * config.test_pool, generator)[1].view(len(anchors), -1)
        own.append(score(anchors, partners))
        pool.append(score(anchors, fresh))
    own, pool = torch.cat(own), torch.cat(pool)
    if percent == 100:
        return asdict(infonce_bound(torch.cat([own, pool[:, : config.negatives]], 1)))
    chance = np.random.default_rng(seed)
    return asdict(vince_bound(own[:, 0], pool, percent=percent, n_negatives=config.negatives, generator=chance))


def measure(config):
    numbers = {
        "mutual information": -0.5 * math.log(1 - (config.covariance / config.variance) ** 2),
        "percent": list(config.percents),
        "exact": [],
        "trained": [],
    }
    for percent in config.percents:
        numbers["exact"].append([bound(config, exact_critic(config), percent, seed) for seed in config.seeds])
        numbers["trained"].append([bound(config, train(config, percent, seed), percent, seed) for seed in config.seeds])
        for critic in ("exact", "trained"):
            seen = ", ".join(f"{b['value']:.4f} [{b['low']:.4f}, {b['high']:.4f}]" for b in numbers[critic][-1])
            print(f"{percent:g} %, {critic} critic: {seen}", flush=True)
    return numbers


def draw(numbers):
    drawing, axes = figure(2)
    places = np.arange(len(numbers["percent"]))
    for axis, critic, color in zip(axes, ("exact", "trained"), category_colors(2), strict=True):
        axis.axhline(numbers["mutual information"], color="0.4", linestyle="--", label="mutual information")
        for seed, bounds in enumerate(zip(*numbers[critic], strict=True)):
            value = np.array([b["value"] for b in bounds])
            half = [b["high"] - b["value"] for b in bounds]
            label = "bound, 95 %, one mark a seed" if seed == 0 else None
            shift = 0.18 * (seed - (len(numbers[critic][0]) - 1) / 2)
            axis.errorbar(places + shift, value, half, fmt="o", markersize=3, color=color, capsize=2, label=label)
        axis.set_xticks(places, [f"{percent:g}" for percent in numbers["percent"]])
        axis.set_xlabel("part of the pool drawn from, %")
        axis.set_ylabel("lower bound, nats")
        axis.set_title("exact critic" if critic == "exact" else "encoders trained on the bound", fontsize=9)
    axes[0].legend(frameon=False, fontsize=8, loc="lower left")
    return drawing


if __name__ == "__main__":
    run(Config, measure, draw)
