"""Small problems on which claims are checked, by the data a method is made for. All rows share the tensors' names.

x (n, d) given points; z (n, e) learned representations; logits (n, c) learned cluster logits; label, image (n,) class
and image of each row; weight (n, n) symmetric graph weights; prototypes (c, e) learned table of classes; text (n, e)
learned representations of the other modality, row by row; caption (n, e) given ones; bank (m, e) remembered
representations, which carry no gradient.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

Problem = Mapping[str, Tensor]


def _normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def points(generator: Generator) -> Problem:
    """Points and their places on a map."""
    return {"x": _normal(generator, 24, 4), "z": _normal(generator, 24, 2)}


def views(generator: Generator) -> Problem:
    """Two views of eight images, one half after the other."""
    return {"z": _normal(generator, 16, 5), "image": torch.arange(8).repeat(2)}


def classes(generator: Generator) -> Problem:
    """Labeled points; one is alone in its class, an anchor without positives."""
    label = torch.cat([torch.randint(0, 3, (15,), generator=generator), torch.tensor([3])])
    return {"z": _normal(generator, 16, 5), "label": label}


def pairs(generator: Generator) -> Problem:
    """Images and texts, of which those with the same index belong together."""
    return {"z": _normal(generator, 12, 5), "text": _normal(generator, 12, 5)}


def labeled(generator: Generator) -> Problem:
    """Points, a class for each, and the classes' prototypes."""
    return {
        "z": _normal(generator, 20, 6),
        "prototypes": _normal(generator, 4, 6),
        "label": torch.randint(0, 4, (20,), generator=generator),
    }


def graph(generator: Generator) -> Problem:
    """A weighted graph without loops, with a place on a map and cluster logits for each node."""
    weight = torch.rand((18, 18), dtype=torch.float64, generator=generator)
    weight = torch.triu(weight * (weight > 0.5), diagonal=1)
    ring = torch.diag(torch.ones(17, dtype=torch.float64), 1)  # no node is without a neighbor
    weight = weight + ring
    return {"weight": weight + weight.T, "z": _normal(generator, 18, 2), "logits": _normal(generator, 18, 4)}


def assigned(generator: Generator) -> Problem:
    """Points and their cluster logits."""
    return {"x": _normal(generator, 20, 3), "logits": _normal(generator, 20, 4)}
