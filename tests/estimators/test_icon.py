"""The equation as an estimator: it learns, in batches too, and refuses what makes no sense."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from torch import nn

from torchicon import KNN, Classes, Clusters, Cosine, Dot, Gaussian, ICon, Pairs, Positives, StudentT, debias
from torchicon.core import Candidates, Dense, SupportError, wide
from torchicon.evaluation import knn_accuracy
from torchicon.mappers import orthonormal
from torchicon.methods import find, smoothed
from torchicon.neighborhoods import condition

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(0)) / X.std(0)


def test_pca_is_the_wide_limit():
    """p the identity, q a wide Gaussian, an orthonormal map: the plane of PCA (theory 3.1)."""
    model = ICon(
        p=lambda x: Pairs()(len(x)),
        q=lambda z: Gaussian(30.0)(z, candidates=Candidates.all(len(z))),
        mapper=orthonormal(4, 2),
        weights="sum",
        epochs=400,
        learning_rate=0.05,
        random_state=0,
        verbose=False,
    ).fit(X)
    plane = PCA(2).fit(X).components_
    learned = model.mapper_.weight.detach().numpy()
    np.testing.assert_allclose(learned.T @ learned, plane.T @ plane, atol=0.02)


@pytest.mark.parametrize("batch_size", [None, 64])
def test_supervised_contrast_separates_classes(batch_size):
    model = ICon(
        p=Positives(),
        q=Cosine(0.2),
        mapper="mlp",
        supervised=True,
        batch_size=batch_size,
        epochs=120,
        random_state=0,
        verbose=False,
    ).fit(X, Y)
    assert knn_accuracy(model.embedding_, Y) > 0.94


def test_clusters_can_be_learned_by_the_equation_alone():
    model = ICon(
        p=KNN(10),
        q=lambda z: debias(Clusters()(z.softmax(1)), 0.1),
        n_components=3,
        epochs=300,
        learning_rate=0.05,
        random_state=1,
        verbose=False,
    ).fit(X)
    assert len(np.unique(model.embedding_.argmax(1))) == 3


def test_both_slots_may_be_learned_and_reversed():
    p = Classes()(torch.from_numpy(Y).long())
    model = ICon(p=lambda _: debias(p, 0.2), q=StudentT(), direction="reverse", epochs=20, verbose=False).fit(X)
    assert np.isfinite(model.loss_)


def test_the_same_seed_gives_the_same_map_and_the_global_rng_rests():
    before = torch.get_rng_state()
    maps = [ICon(p=KNN(5), batch_size=50, epochs=5, random_state=3, verbose=False).fit_transform(X) for _ in range(2)]
    np.testing.assert_array_equal(*maps)
    assert torch.equal(before, torch.get_rng_state())


def test_transform_of_training_rows_is_the_embedding():
    model = ICon(p=KNN(5), epochs=5, random_state=0, verbose=False).fit(X)
    np.testing.assert_allclose(model.transform(X), model.embedding_, rtol=1e-5)
    assert model.score(X) == pytest.approx(-model.loss_, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mapper": "cnn"}, "mapper must be"),
        ({"supervised": True}, "requires y"),
        ({"epochs": 0}, "at least 1"),
        ({"batch_size": 1}, "at least two anchors"),
        ({"direction": "sideways"}, "direction must be"),
        ({"p": KNN(500)}, "500"),
    ],
)
def test_senseless_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ICon(**({"p": KNN(5), "epochs": 2, "verbose": False} | arguments)).fit(X)


def test_the_default_wants_enough_points():
    with pytest.raises(ValueError, match="more than 90 points"):
        ICon(verbose=False).fit(X[:50])


def test_a_diverging_loss_stops_with_a_reason():
    with pytest.raises(ValueError, match="lower learning_rate"):
        ICon(p=KNN(5), mapper=_Explodes(), epochs=3, verbose=False).fit(X)


class _Explodes(nn.Linear):
    def __init__(self):
        super().__init__(4, 2)

    def forward(self, x):
        return super().forward(x) * torch.nan


def test_batches_without_a_pair_are_passed_over():
    """Two of 150 points are rarely neighbors; no batch at all with neighbors is an error."""
    model = ICon(p=KNN(5), batch_size=3, epochs=5, random_state=0, verbose=False).fit(X)
    assert np.isfinite(model.loss_)
    with pytest.raises(ValueError, match="larger batch_size"):
        ICon(p=Positives(), supervised=True, batch_size=5, epochs=1, verbose=False).fit(X, np.arange(len(X)))


QUIET = {"random_state": 0, "verbose": False}


def test_a_method_of_the_table_is_an_estimator():
    """PCA by its own row: the wide limit, exactly, with an orthonormal map."""
    model = ICon.of("PCA", epochs=400, learning_rate=0.05, **QUIET).fit(X)
    plane = PCA(2).fit(X).components_
    learned = model.mapper_.weight.detach().numpy()
    np.testing.assert_allclose(learned.T @ learned, plane.T @ plane, atol=1e-4)
    assert len(np.unique(ICon.of("K-Means", n_components=3, epochs=60, **QUIET).fit(X).embedding_.argmax(1))) > 1


def test_a_smoothed_method_is_one_too():
    method = smoothed(find("InfoNCE clustering"), debias_p=0.1, debias_q=0.2, walks=2)
    assert np.isfinite(ICon.of(method, n_components=3, epochs=3, **QUIET).fit(X).loss_)


def test_p_may_be_learned_from_the_representation():
    """SupCon-in: p is q within the class (theory 4b), in batches as well."""

    def p(label, z):
        return condition(Cosine(0.2)(z), Positives()(label))

    model = ICon(p=p, q=Cosine(0.2), mapper="mlp", batch_size=50, epochs=60, **QUIET).fit(X, Y)
    assert knn_accuracy(model.embedding_, Y) > 0.9
    assert np.isfinite(model.score(X, Y))


@pytest.mark.parametrize(
    ("name", "reason"),
    [("SimCLR", "takes image, z"), ("Cross-entropy", "learns z and prototypes"), ("CLIP", "weighted sum of 2 terms")],
)
def test_methods_that_need_more_than_points_are_refused(name, reason):
    with pytest.raises(ValueError, match=reason):
        ICon.of(name)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"q": lambda z: debias(KNN(5)(z), 0.1)}, "no gradient"),
        ({"divergence": "wide", "q": Gaussian()}, "spread is rewarded"),
        ({"divergence": wide, "q": Dot()}, "spread is rewarded"),
        ({"divergence": "narrower"}, "one of kl, cross_entropy"),
        ({"p": lambda x, other: KNN(5)(x)}, "p may take"),
        ({"weights": "joint", "divergence": "wide"}, "one KL over all cells"),
        ({"divergence": wide, "q": lambda z: Clusters()(z.softmax(1))}, "Only a kernel has a width"),
        ({"q": Gaussian(), "direction": "reverse"}, "p is the learned neighborhood here"),
        ({"q": Clusters()}, "softmax"),
        ({"p": lambda x: Pairs()(len(x))}, "KL is infinite"),
        ({"p": 15}, "p must be a function"),
        ({"p": lambda x: Dense.uniform(len(x), 3)}, "same columns"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(arguments, reason):
    with pytest.raises((ValueError, TypeError, SupportError), match=reason):
        ICon(**({"p": KNN(5), "epochs": 1} | QUIET | arguments)).fit(X)


def test_a_supervised_p_must_be_given():
    with pytest.raises(ValueError, match="give p, such as Positives"):
        ICon(supervised=True).fit(X, Y)
