"""Small problems on which claims are checked, by the data a method is made for. All rows share the tensors' names.

x (n, d) given points; z (n, e) learned representations; logits (n, c) learned cluster logits; label, image (n,) class
and image of each row; weight (n, n) symmetric graph weights; prototypes (c, e) learned table of classes; text (n, e)
learned representations of the other modality, row by row; caption (n, e) given ones; bank (m, e) remembered
representations, which carry no gradient; teacher (n, ·) what an averaged teacher makes of the same rows, without a
gradient either, center its running mean, and queue (m, e) what it made in the last steps; rewrites (n, r, e) learned
representations of r texts of each row, of which drawn (n,) is the one in the batch; log_scale and bias learned with
them; masked (n,) which tokens are hidden; lattice (m, e) points that stand for all of R^e, target (n,) the row's among
them; text_logits (n, c) and subheads
(h, n, c) learned cluster logits of the other modality and of several heads; index (n,) and sampled (n, k) rows of the
bank, the own one and others; cluster (r, m) clusterings of the bank; text_bank and text_cluster those of the other
modality; iteration and seed, of training and of draws;
df, scale and sigma the knobs that a limit turns.
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


def even_views(generator: Generator) -> Problem:
    """Two views of eight images, one half after the other, whose dimensions have two halves as well."""
    return {"z": _normal(generator, 16, 6), "image": torch.arange(8).repeat(2)}


def more_views(generator: Generator) -> Problem:
    """Three views of six images, one third after the other: two positives for each row."""
    return {"z": _normal(generator, 18, 5), "image": torch.arange(6).repeat(3)}


def near_views(generator: Generator) -> Problem:
    """Two views of eight images, the first image's the same, the last one's far apart."""
    first = _normal(generator, 8, 5)
    apart = torch.linspace(0, 3, 8, dtype=torch.float64)[:, None] * _normal(generator, 8, 5)
    return {"z": torch.cat([first, first + apart]), "image": torch.arange(8).repeat(2)}


def planar_views(generator: Generator) -> Problem:
    """Two views of eight images on a map."""
    return {"z": _normal(generator, 16, 2), "image": torch.arange(8).repeat(2)}


def taught_views(generator: Generator) -> Problem:
    """Two views of eight images, each seen by a student and by its averaged teacher."""
    return {**views(generator), "teacher": _normal(generator, 16, 5)}


def queued_views(generator: Generator) -> Problem:
    """Two views of eight images, seen by a student and by its averaged teacher, and the teacher's last keys."""
    return {**taught_views(generator), "queue": _normal(generator, 12, 5)}


def cropped_views(generator: Generator) -> Problem:
    """Three views of five images for the student; its teacher's cosines with six prototypes, of the first two views."""
    return {
        "z": _normal(generator, 15, 4),
        "prototypes": _normal(generator, 6, 4),
        "teacher": 0.3 * _normal(generator, 10, 6),
        "center": 0.1 * _normal(generator, 6),
        "image": torch.arange(5).repeat(3),
    }


def captioned(generator: Generator) -> Problem:
    """Images with a caption each."""
    return {"z": _normal(generator, 14, 5), "caption": _normal(generator, 14, 4)}


def scaled_pairs(generator: Generator) -> Problem:
    """Images and texts with a scale of their similarities that is learned with them."""
    return {**pairs(generator), "log_scale": torch.tensor(2.0, dtype=torch.float64)}


def rewritten_pairs(generator: Generator) -> Problem:
    """Images, three rewrites of each one's text, and the rewrite that was drawn for this batch."""
    return {
        "z": _normal(generator, 12, 5),
        "rewrites": _normal(generator, 12, 3, 5),
        "drawn": torch.randint(0, 3, (12,), generator=generator),
        "log_scale": torch.tensor(2.0, dtype=torch.float64),
    }


def classified(generator: Generator) -> Problem:
    """Points, a class for each, and the weights and biases of a linear classifier."""
    return {**labeled(generator), "bias": _normal(generator, 4)}


def tokens(generator: Generator) -> Problem:
    """A sentence over a vocabulary of seven: hidden states, its tokens, and those that were masked."""
    return {
        "z": _normal(generator, 20, 6),
        "prototypes": _normal(generator, 7, 6),
        "bias": _normal(generator, 7),
        "label": torch.randint(0, 7, (20,), generator=generator),
        "masked": torch.arange(20) % 3 == 1,
    }


def on_circle(generator: Generator) -> Problem:
    """Points of the plane, with targets on the unit circle that are points of a lattice as well, such as (3/5, 4/5)."""
    axis = torch.arange(-25, 26, dtype=torch.float64) / 5
    lattice = torch.cartesian_prod(axis, axis)
    unit = torch.nonzero((lattice.square().sum(1) - 1).abs() < 1e-9)[:, 0]
    drawn = torch.randint(0, len(unit), (12,), generator=generator)
    return {"z": _normal(generator, 12, 2), "lattice": lattice, "target": unit[drawn]}


def on_line(generator: Generator) -> Problem:
    """Predictions of a number, with targets on a lattice."""
    lattice = torch.arange(-50, 51, dtype=torch.float64)[:, None] / 5
    target = torch.randint(40, 61, (12,), generator=generator)
    return {"z": _normal(generator, 12, 1), "lattice": lattice, "target": target}


def taught_clusters(generator: Generator) -> Problem:
    """Points, their cluster logits, and those of an averaged teacher."""
    logits = _normal(generator, 20, 4)
    return {"x": _normal(generator, 20, 3), "logits": logits, "teacher": logits + _normal(generator, 20, 4)}


def paired_clusters(generator: Generator) -> Problem:
    """Cluster logits of images and of texts, of which those with the same index belong together."""
    return {"logits": _normal(generator, 12, 4), "text_logits": _normal(generator, 12, 4)}


def labeled_clusters(generator: Generator) -> Problem:
    """Cluster logits of labeled points."""
    return {"logits": _normal(generator, 16, 4), "label": torch.randint(0, 4, (16,), generator=generator)}


def clustered_views(generator: Generator) -> Problem:
    """Two views of eight images, with representations and cluster logits; three images have a label, the others -1."""
    label = torch.cat([torch.tensor([2, 0, 3]), torch.full((5,), -1)]).repeat(2)
    return {
        "z": _normal(generator, 16, 5),
        "logits": _normal(generator, 16, 4),
        "subheads": _normal(generator, 10, 16, 4),
        "image": torch.arange(8).repeat(2),
        "label": label,
    }


def clustered_bank(generator: Generator) -> Problem:
    """Cluster logits, remembered cluster probabilities of twenty points, and rows of them drawn for each anchor."""
    order = torch.rand((12, 20), generator=generator).argsort(1)
    index = order[:, 0]
    return {
        "logits": _normal(generator, 12, 4),
        "bank": _normal(generator, 20, 4).softmax(1),
        "index": index,
        "sampled": order[:, 1:7],
    }


def remembered(generator: Generator) -> Problem:
    """Eight samples in two modalities, banks of thirty rows of both with clusterings, and rows drawn from them."""

    def unit() -> Tensor:
        return torch.nn.functional.normalize(_normal(generator, 30, 5), dim=1)

    return {
        "z": _normal(generator, 8, 5),
        "text": _normal(generator, 8, 5),
        "bank": unit(),
        "text_bank": unit(),
        "index": torch.randperm(30, generator=generator)[:8],
        "cluster": torch.randint(0, 4, (3, 30), generator=generator),
        "text_cluster": torch.randint(0, 4, (3, 30), generator=generator),
        "sampled": torch.randint(0, 30, (8, 6), generator=generator),
        "iteration": torch.tensor(30),
        "seed": torch.randint(0, 1000, (), generator=generator),
    }


def projected(generator: Generator) -> Problem:
    """Points and a map of them that is their first two coordinates, jittered."""
    x = _normal(generator, 24, 4)
    return {"x": x, "z": x[:, :2] + 0.5 * _normal(generator, 24, 2)}


def doubled_views(generator: Generator) -> Problem:
    """Two views of eight images, close for the last three; image 0 has two negatives at one place."""
    z = 3 * _normal(generator, 16, 4)
    z[2] = z[1]
    z[[0, 10, 13, 14, 15]] = z[[1, 9, 5, 6, 7]] + 0.1 * _normal(generator, 5, 4)
    return {"z": z, "image": torch.arange(8).repeat(2)}


def _tying(generator: Generator, n: int) -> Tensor:
    """Vectors of length 4 with whole coordinates: their cosines are whole quarters, exactly, and many of them tie."""
    order = torch.rand((n, 5), generator=generator).argsort(1)
    sign = 2 * torch.randint(0, 2, (n, 5), generator=generator) - 1
    return sign * torch.tensor([0.0, 2.0, 2.0, 2.0, 2.0], dtype=torch.float64)[order]


def tied_views(generator: Generator) -> Problem:
    """Two views of eight images, several of them equally similar; those of the first three images are the same."""
    z = _tying(generator, 16)
    z[8:11] = z[:3]
    return {"z": z, "image": torch.arange(8).repeat(2)}


def tied_classes(generator: Generator) -> Problem:
    """Labeled points, several of them equally similar; one is alone in its class."""
    return {"z": _tying(generator, 16), "label": classes(generator)["label"]}


def tied_pairs(generator: Generator) -> Problem:
    """Images and texts, several of them equally similar."""
    return {"z": _tying(generator, 12), "text": _tying(generator, 12)}


def tied_labels(generator: Generator) -> Problem:
    """Points, a class for each, and prototypes of which several suit a point equally."""
    return {"z": _tying(generator, 20), "prototypes": _tying(generator, 4), "label": labeled(generator)["label"]}


def four_nodes(generator: Generator) -> Problem:
    """A complete weighted graph of four nodes, of which all graphs can be enumerated, with a place for each node."""
    weight = torch.triu(torch.rand((4, 4), dtype=torch.float64, generator=generator), diagonal=1)
    return {"weight": weight + weight.T, "z": _normal(generator, 4, 3)}


def four_views(generator: Generator) -> Problem:
    """Two views of two images, one half after the other."""
    return {"z": _normal(generator, 4, 3), "image": torch.arange(2).repeat(2)}
