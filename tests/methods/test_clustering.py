"""Clustering rows: planted errors are seen, and the identities of theory 2.4 and 4e hold."""

import math

import pytest
import torch
from sklearn.cluster import KMeans
from tests.methods.mutation import survives
from torch.nn import functional as F

from torchicon.core import Candidates, entropy, kl
from torchicon.methods import find
from torchicon.neighborhoods import (
    KNN,
    Classes,
    Clusters,
    Gaussian,
    Graph,
    NormalizedCut,
    Positives,
    StudentT,
)


def _everyone(x):
    return Candidates.all(len(x))


def _texts_choose(logits, text_logits):
    return Clusters()(text_logits.softmax(1), logits.softmax(1), candidates=Candidates.all(len(logits), "texts"))


def _own_class_without_self(label):
    return Positives()(label, candidates=_everyone(label))


MUTANTS = {
    "the whole KL": ("K-Means (cross-entropy)", {"divergence": kl}),
    "without a normalizer of self": ("K-Means (cross-entropy)", {"p": lambda x: Gaussian(1.5)(x)}),
    "cut with entropies": ("Normalized cuts (cross-entropy)", {"divergence": kl}),
    "unweighted cut": ("Normalized cuts (cross-entropy)", {"q": lambda logits: Clusters()(logits.softmax(1))}),
    "bandwidth, not variance": ("K-Means", {"p": lambda x: Gaussian(1.5**2)(x, candidates=_everyone(x))}),
    "self left out": ("K-Means", {"p": lambda x: Gaussian(1.5)(x)}),
    "direction swapped": ("t-K-Means", {"direction": "forward"}),
    "wrong tails": ("t-K-Means", {"p": lambda x: StudentT(2.0, scale=1.5)(x, candidates=_everyone(x))}),
    "degrees forgotten": ("Normalized cuts", {"q": lambda logits: Clusters()(logits.softmax(1))}),
    "weights by row": ("Normalized cuts", {"p": lambda weight: Graph()(weight, candidates=_everyone(weight))}),
    "another temperature": ("Normalized cuts", {"p": lambda weight: NormalizedCut(2.0)(weight)}),
    "cut forward": ("Normalized cuts", {"direction": "forward"}),
    "cut as a mean": ("Normalized cuts", {"weights": "mean"}),
    "every node alike": ("DCD", {"weights": "sum"}),
    "directed neighbors": ("DCD", {"p": lambda x: KNN(3)(x, candidates=_everyone(x))}),
    "by point": ("DCD", {"q": lambda logits: Clusters("point")(logits.softmax(1))}),
    "another normalization": ("InfoNCE clustering", {"q": lambda logits: Clusters("point")(logits.softmax(1))}),
    "fewer neighbors": ("InfoNCE clustering", {"p": lambda x: KNN(2)(x, candidates=_everyone(x))}),
    "by cluster": ("InfoNCE clustering (by point)", {"q": lambda logits: Clusters()(logits.softmax(1))}),
    "sum for mean": ("InfoNCE clustering (by point)", {"weights": "sum"}),
    "neighbors in the batch, not views": (
        "InfoNCE clustering (positive pairs)",
        {"p": lambda image: Positives()(torch.arange(len(image)) // 2, candidates=_everyone(image))},
    ),
    "self as a positive": ("InfoNCE clustering (positive pairs)", {"p": lambda image: Classes()(image)}),
    "student on both sides": ("TEMI", {"q": lambda logits: Clusters()(logits.softmax(1))}),
    "teacher chooses": (
        "TEMI",
        {"q": lambda logits, teacher: Clusters()(teacher.softmax(1), logits.softmax(1))},
    ),
    "modalities swapped": ("Cross-modal clustering", {"q": _texts_choose}),
    "classes without self": ("Supervised clustering", {"p": _own_class_without_self}),
    "logits unused": ("Supervised clustering", {"q": lambda logits: Clusters()((2 * logits).softmax(1))}),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_error_fails_its_claim(mutant):
    assert not survives(*MUTANTS[mutant])


def _soft_inertia(x, phi):
    """Squared distances to the centroids, by probability."""
    centroids = phi.T @ x / phi.sum(0)[:, None]
    return (phi * torch.cdist(x, centroids).square()).sum()


def test_k_means_is_scikit_learns_inertia_on_hard_clusters(normal):
    """sum KL = L_KM / sigma^2 - sum H + sum log Z (E5), with L_KM scikit-learn's `inertia_` at its solution (E4)."""
    x = normal(18, 3)
    fitted = KMeans(3, n_init=2, random_state=0).fit(x.numpy())
    label = torch.from_numpy(fitted.labels_).long()
    p, q = Gaussian(1.5)(x, candidates=_everyone(x)), Clusters()(F.one_hot(label, 3).double())
    log_z = torch.logsumexp(-torch.cdist(x, x).square() / (2 * 1.5**2), 1).sum()
    sizes = torch.bincount(label).double()
    expected = fitted.inertia_ / 1.5**2 - (sizes * sizes.log()).sum() + log_z  # the entropies by E5b
    assert math.isclose(kl(q, p).sum(), expected, rel_tol=1e-9)


def test_k_means_becomes_its_inertia(normal):
    """sigma^2 [sum KL - sum log Z] tends to the inertia, with an error of sigma^2 sum H (E5c)."""
    x, phi = normal(18, 3), normal(18, 4).softmax(1)
    inertia, q = _soft_inertia(x, phi), Clusters()(phi)
    for sigma in (1e-1, 1e-2):
        p = Gaussian(sigma)(x, candidates=_everyone(x))
        log_z = torch.logsumexp(-torch.cdist(x, x).square() / (2 * sigma**2), 1).sum()
        error = inertia - sigma**2 * (kl(q, p).sum() - log_z)
        assert math.isclose(error, sigma**2 * entropy(q).sum(), rel_tol=1e-6)


@pytest.mark.parametrize("df", [1.0, 3.0])
def test_t_k_means_becomes_k_means(df, normal):
    """(nu s^2 / (nu + 1)) [sum KL + sum H - sum log Z] tends to L_KM with an error of 1 / s^2 (E6)."""
    x, phi = normal(18, 3), normal(18, 4).softmax(1)
    q, errors = Clusters()(phi), []
    for scale in (1e2, 1e3):
        p = StudentT(df, scale=scale)(x, candidates=_everyone(x))
        logits = torch.log1p(torch.cdist(x, x).square() / (df * scale**2)) * (-(df + 1) / 2)
        divergence = kl(q, p).sum() + entropy(q).sum() - torch.logsumexp(logits, 1).sum()
        errors.append(abs(df * scale**2 / (df + 1) * divergence - _soft_inertia(x, phi)))
    assert abs(math.log10(errors[0] / errors[1]) - 2) < 0.1


def test_dcd_leaves_the_prior_out(normal):
    """At clusters that are the graph's components the generalized KL is as small as the graph allows."""
    method = find("DCD")
    x = torch.cat([normal(6, 2), normal(6, 2) + 100])
    split = torch.tensor([[40.0, 0.0]] * 6 + [[0.0, 40.0]] * 6).double()
    best = method.loss({"x": x, "logits": split})
    for _ in range(5):
        assert method.loss({"x": x, "logits": normal(12, 2)}) > best


def test_supervised_clustering_is_solved_by_the_classes():
    """KL = 0 where clusters are classes (E12); without self in p it cannot be less than log(n_y / (n_y - 1)) (E12b)."""
    label = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 2])
    phi = F.one_hot(label, 3).double()
    assert find("Supervised clustering").loss({"label": label, "logits": 80 * phi}).abs() < 1e-12
    size = torch.bincount(label)[label].double()
    without_self = kl(_own_class_without_self(label), Clusters()(phi))
    torch.testing.assert_close(without_self, (size / (size - 1)).log(), rtol=1e-12, atol=0)


def test_cross_modal_rows_are_distributions(normal):
    """E13: over texts, whatever their cluster sizes."""
    method = find("Cross-modal clustering")
    _, q = method.neighborhoods({"logits": normal(5, 3), "text_logits": normal(5, 3)})
    torch.testing.assert_close(q.dense().sum(1), torch.ones(5, dtype=torch.float64), rtol=1e-12, atol=0)


def test_temi_is_the_cluster_cross_entropy_up_to_the_batch(normal):
    """-log q - log B for every pair (E10): the constant does not depend on who is paired."""
    phi, teacher = normal(7, 3).softmax(1), normal(7, 3).softmax(1)
    beta_mi = -(phi[:, None] * teacher / teacher.mean(0)).sum(-1).log()
    log_q = Clusters()(phi, teacher).dense().log()
    torch.testing.assert_close(beta_mi, -log_q - math.log(7), rtol=1e-11, atol=1e-12)
