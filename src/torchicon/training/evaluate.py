"""How good a representation is: what labels say of it, and what can be said without."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics.pairwise import cosine_similarity
from torch import nn

from torchicon.data.samples import Samples
from torchicon.data.views import View
from torchicon.evaluation import (
    alignment,
    clustering_metrics,
    effective_rank,
    infonce_bound,
    logistic_probe,
    saturated_share,
    sgd_probe,
    uniformity,
    weighted_knn_accuracy,
)
from torchicon.training.encoder import Encoder
from torchicon.training.features import features_of, inputs

_NEIGHBORS = 200  # that vote, of a training set of 4,000 or more; a twentieth of a smaller one
_QUERIES = 5  # without test data a fifth of the samples asks the others
_BOUND_ROWS = 1024  # anchors of the bound and of alignment
_SATURATED = 0.95

Features = NDArray[np.float32]
Parts = tuple[Features, NDArray[np.int64], Features, NDArray[np.int64]]  # to learn from, and to ask about


def quick(encoder: nn.Module, train: Samples, test: Samples | None, device: torch.device | str) -> dict[str, float]:
    """What is worth knowing during training: accuracy by nearest neighbors if there are labels, and the rank."""
    of_train = features_of(encoder, train, device=device)
    found = {"effective_rank": effective_rank(of_train)}
    if train.labels is not None:
        of_test = None if test is None else features_of(encoder, test, device=device)
        parts = _split(of_train, train, of_test, test)
        if _can_vote(parts):
            found["knn_accuracy"] = _knn(parts)
    return found


def thorough(
    encoder: Encoder,
    train: Samples,
    test: Samples | None,
    *,
    policy: tuple[View, ...],
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """All measures of an encoder.

    Args:
        encoder: samples to features.
        train: samples whose labels probes and neighbors learn from.
        test: samples they are asked about; a fifth of ``train``, drawn at random, when omitted.
        policy: views whose agreement is measured.
        seed: of views and of the linear probe by SGD.
        device: where the encoder is.

    Returns:
        Accuracies in [0, 1]: knn_accuracy, nearest_neighbor_accuracy, logistic_accuracy, linear_accuracy (SGD). Of two
        views: alignment, infonce_bound in nats and its ceiling. uniformity, effective_rank. Of cluster heads
        cluster_accuracy, nmi, ari and saturated_share.
    """
    of_train = features_of(encoder, train, device=device)
    asked = train if test is None else test
    of_test = of_train if test is None else features_of(encoder, test, device=device)
    found: dict[str, Any] = {"effective_rank": effective_rank(of_test)}
    if _has_direction(of_test):
        found["uniformity"] = uniformity(of_test[np.random.default_rng(0).permutation(len(of_test))[:_BOUND_ROWS]])
        if asked.pixels is not None:
            found |= _agreement(encoder, asked, policy, seed, device)
    if train.labels is not None:
        parts = _split(of_train, train, None if test is None else of_test, test)
        if _can_vote(parts):
            found["knn_accuracy"] = _knn(parts)
            found["nearest_neighbor_accuracy"] = weighted_knn_accuracy(*parts, k=1)
        if len(np.unique(parts[1])) > 1:  # one class leaves a probe nothing to tell apart
            found["logistic_accuracy"] = logistic_probe(*parts)
            found["linear_accuracy"] = sgd_probe(*parts, seed=seed)
    if encoder.clusters is not None:
        found |= _of_clusters(encoder, of_test, asked, device)
    return found


def _split(of_train: Features, train: Samples, of_test: Features | None, test: Samples | None) -> Parts:
    """Features and labels to learn from and to ask about; samples without a label take no part."""
    assert train.labels is not None
    known = train.labels >= 0
    if of_test is not None:
        assert test is not None
        assert test.labels is not None
        ask = test.labels >= 0
        # classes by their names: the two sources may number them differently
        place = {name: i for i, name in enumerate(train.classes)}
        other = np.array([place.get(name, -1 - i) for i, name in enumerate(test.classes)])
        return of_train[known], train.labels[known], of_test[ask], other[test.labels[ask]]
    rows, labels = of_train[known], train.labels[known]
    asks = np.random.default_rng(0).permutation(len(rows)) % _QUERIES == 0
    return rows[~asks], labels[~asks], rows[asks], labels[asks]


def _can_vote(parts: Parts) -> bool:
    """Whether there are neighbors: a row of zeros has none."""
    return _has_direction(parts[0]) and _has_direction(parts[2])


def _knn(parts: Parts) -> float:
    return weighted_knn_accuracy(*parts, k=max(1, min(_NEIGHBORS, len(parts[0]) // 20)))


def _has_direction(features: Features) -> bool:
    return bool((np.abs(features).max(1) > 0).all()) and len(features) > 1


@torch.no_grad()
def _agreement(
    encoder: nn.Module, samples: Samples, policy: tuple[View, ...], seed: int, device: torch.device | str
) -> dict[str, float]:
    """Of two views of some samples: alignment, and the InfoNCE bound by cosines at temperature 0.1."""
    generator = torch.Generator().manual_seed(seed)
    made: list[list[Features]] = [[], []]
    encoder.eval()
    for pictures in inputs(samples.draw(_BOUND_ROWS), 256):
        for side in range(2):
            view = policy[side % len(policy)]
            seen = view.apply(pictures.to(device), view.draw(len(pictures), generator))
            made[side].append(encoder(seen).float().cpu().numpy())
    first, second = (np.concatenate(side) for side in made)
    if not (_has_direction(first) and _has_direction(second)):
        return {}
    bound = infonce_bound(cosine_similarity(first, second) / 0.1, positive=np.arange(len(first)))
    return {"alignment": alignment(first, second), "infonce_bound": bound.value, "infonce_ceiling": bound.ceiling}


@torch.no_grad()
def _of_clusters(encoder: Encoder, features: Features, samples: Samples, device: torch.device | str) -> dict[str, Any]:
    """What the first cluster head makes of the samples' features."""
    assert encoder.clusters is not None
    of_first = torch.from_numpy(features[:, : encoder.sizes[0]]).to(device)
    probabilities = encoder.clusters(of_first)[0].softmax(1).cpu().numpy()
    found: dict[str, Any] = {"saturated_share": saturated_share(probabilities, threshold=_SATURATED)}
    if samples.labels is not None:
        known = samples.labels >= 0
        scores = clustering_metrics(samples.labels[known], probabilities.argmax(1)[known])
        found |= {"cluster_accuracy": scores["accuracy"], "nmi": scores["nmi"], "ari": scores["ari"]}
    return found
