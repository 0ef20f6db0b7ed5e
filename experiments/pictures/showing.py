"""From a trained scene to a picture and a number that suits it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pictures.digits import Digits, halves, principal
from pictures.scene import Scene
from pictures.training import Problem
from torch import Tensor
from torch.nn import functional

from torchicon import TSNE
from torchicon.evaluation import hungarian_match, knn_accuracy
from torchicon.viz.pictures import PARTNER, POINT, PROTOTYPE, Picture, make_picture

_LAYOUTS: dict[bytes, np.ndarray] = {}


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture, and a number with its name."""

    picture: Picture
    metric: str
    value: float


def show(scene: Scene) -> Shown:
    """Clusters on a map of the digits; a classifier with its prototypes; two modalities together; or just a map.

    Networks are shown on digits held out, tables on their own rows.
    """
    with torch.no_grad():
        part = scene.train if scene.is_table else scene.held_out
        if {"logits", "subheads"} & set(scene.method.learns):
            seen = scene.features if scene.is_table else part.x
            return _clusters(scene, seen, part)
        if {"prototypes", "label"} <= scene.names:
            return _classifier(scene, part)
        if {"text", "rewrites"} & scene.names:
            return _pairs(scene, part)
        return _map(scene, part)


def _map(scene: Scene, part: Digits) -> Shown:
    seen = halves(part.x)[0] if scene.split else part.x
    z = scene.make()["z"] if scene.is_table else scene.encoded("z", seen)
    if z.shape[1] == 1:  # numbers, beside those they should be
        z = torch.cat([part.label[:, None] - 4.5, z * 2.5], dim=1)
        picture = make_picture(z.numpy(), codes=part.label.numpy())
        right = (z[:, 0] - z[:, 1]).abs() < 0.5
        return Shown(picture, "rounded to the right digit", right.float().mean().item())
    on_sphere = z.shape[1] > 2 and sees_directions(scene, scene.make(), ["z"])
    if on_sphere:
        z = functional.normalize(z, dim=1)
    drawn = z if z.shape[1] <= 3 else principal(z, 3)
    picture = make_picture(drawn.numpy(), codes=part.label.numpy(), on_sphere=on_sphere and z.shape[1] == 3)
    return Shown(picture, "10-NN accuracy", knn_accuracy(z.numpy(), part.label.numpy(), k=10))


def _pairs(scene: Scene, part: Digits) -> Shown:
    problem = scene.make()
    left, right = halves(part.x)
    z, text = scene.encoded("z", left), scene.encoded("text" if "text" in scene.names else "rewrites", right)
    if sees_directions(scene, problem, [name for name in ("z", "text", "rewrites") if name in problem]):
        z, text, on_sphere = functional.normalize(z, dim=1), functional.normalize(text, dim=1), True
    else:
        on_sphere = False
    nearest = torch.cdist(z, text).topk(10, largest=False).indices
    found = (nearest == torch.arange(len(z))[:, None]).any(1)
    roles = np.repeat([POINT, PARTNER], len(z))
    codes = part.label.repeat(2).numpy()
    picture = make_picture(torch.cat([z, text]).numpy(), codes=codes, roles=roles, on_sphere=on_sphere)
    return Shown(picture, "own partner in the top 10", found.float().mean().item())


def _classifier(scene: Scene, part: Digits) -> Shown:
    problem = scene.problem(part.x, part.label)
    if "masked" in problem:
        problem["masked"] = torch.ones(len(part.x), dtype=torch.bool)
    truth, guess = (rows.dense().argmax(1) for rows in scene.method.neighborhoods(problem))
    z, prototypes = problem["z"], problem["prototypes"]
    on_sphere = sees_directions(scene, problem, ["z"]) and sees_directions(scene, problem, ["prototypes"])
    if on_sphere:
        z, prototypes = functional.normalize(z, dim=1), functional.normalize(prototypes, dim=1)
    codes = torch.cat([part.label, torch.arange(len(prototypes))]).numpy()
    roles = np.repeat([POINT, PROTOTYPE], [len(z), len(prototypes)])
    picture = make_picture(torch.cat([z, prototypes]).numpy(), codes=codes, roles=roles, on_sphere=on_sphere)
    return Shown(picture, "test accuracy", (guess == truth).float().mean().item())


def _clusters(scene: Scene, seen: Tensor, part: Digits) -> Shown:
    name = "logits" if "logits" in scene.method.learns else "subheads"
    inputs = halves(part.x)[0] if scene.split else seen
    clusters = scene.networks[name](inputs)[:, :10].argmax(1).numpy()
    match = hungarian_match(part.label.numpy(), clusters)
    color = dict(zip(match.clusters.tolist(), match.classes.tolist(), strict=False))
    codes = np.array([color[cluster] for cluster in clusters.tolist()])
    return Shown(make_picture(_layout(part), codes=codes), "Hungarian accuracy", match.accuracy)


def sees_directions(scene: Scene, problem: Problem, names: list[str]) -> bool:
    """The loss stays the same when every row of these tensors takes another length, or all are of length 1 anyway."""
    if scene.is_bounded:
        return True
    generator = torch.Generator().manual_seed(0)
    before = scene.method.loss(problem)
    lengths = {}
    for name in names:
        shape = (*problem[name].shape[:-1], 1)
        lengths[name] = problem[name] * (0.5 + torch.rand(shape, generator=generator))
    return bool((before - scene.method.loss({**problem, **lengths})).abs() < 1e-4 * (1 + before.abs()))


def _layout(part: Digits) -> np.ndarray:
    """A t-SNE map of the pixels, the same under all clusterings."""
    key = part.label.numpy().tobytes() + part.x.numpy().tobytes()
    if key not in _LAYOUTS:
        _LAYOUTS[key] = TSNE(perplexity=20, random_state=0, verbose=False).fit_transform(part.x.numpy())
    return _LAYOUTS[key]
