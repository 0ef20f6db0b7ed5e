"""Data small enough to train on in a test: squares of four colors, and a config to go with them."""

import numpy as np

from torchicon.training import TrainConfig

SMALL = {
    "image_size": 8,
    "mapper": "resnet10",
    "width": 4,
    "dimensions": 8,
    "epochs": 2,
    "batch_size": 16,
    "threads": 1,
    "log_every": 1,
    "evaluate_every": 0,
    "sampled": 8,
    "clusters": 4,
    "close_runs": 2,
    "accelerator": "cpu",
}


def write_squares(path, *, n=48, seed=0):
    """Noisy pictures of 8 x 8, whose class is their color, with a text and a vector of metadata each."""
    generator = np.random.default_rng(seed)
    label = np.arange(n) % 4
    colors = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220], [200, 200, 40]])
    images = colors[label][:, None, None] + generator.integers(-40, 40, (n, 8, 8, 3))
    np.savez(
        path,
        images=images.clip(0, 255).astype(np.uint8),
        label=np.array(["red", "green", "blue", "yellow"])[label],
        metadata=generator.normal(size=(n, 5)).astype(np.float32),
        caption=np.array([[f"a square {i % 3}", "one color"] for i in range(n)]),
    )
    return path


def write_points(path, *, n=48, seed=0):
    """Points in four groups, and a graph of the near ones."""
    generator = np.random.default_rng(seed)
    label = np.arange(n) % 4
    x = 4 * np.eye(4, 6)[label] + generator.normal(size=(n, 6))
    edges = np.argwhere(np.triu(((x[:, None] - x) ** 2).sum(-1) < 20, 1))
    np.savez(path, X=x.astype(np.float32), label=label, edges=edges)
    return path


def config_of(method, data, **given):
    return TrainConfig.of(method, data=str(data), **{**SMALL, **given})
