"""Cross-entropies of cluster rows through the moments of clusters, or along edges, equal the sum over all pairs."""

import pytest
import torch
from torch.autograd import grad

from torchicon.core import Candidates, Raised, SupportError, cross_entropy, explain, kl
from torchicon.core.generic import GENERIC
from torchicon.neighborhoods import Clusters, Cosine, Dot, Exponential, Gaussian, StudentT

EXACT = {"rtol": 1e-10, "atol": 1e-11}
SCORES = [Gaussian(1.3), Dot(0.7), Cosine(0.4), Exponential(2.0, temperature=0.8)]


def sides(z, x, keys, score, scale):
    """Cluster rows of z (n + m, 3) and a kernel of x, over keys or over x itself."""
    n, m = len(x), len(x) if keys is None else len(keys)
    phi = z[:n].softmax(1)
    over = Candidates.all(m)
    p = Clusters()(phi, None if keys is None else z[n : n + m].softmax(1), candidates=over)
    kernel = score(x, keys, candidates=over)
    return p, kernel if scale is None else type(kernel)(score, x, keys, candidates=over, row_scale=scale)


@pytest.mark.parametrize("score", [*SCORES, StudentT(), Exponential(1.0)], ids=lambda v: f"{type(v).__name__}")
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("square", [False, True])
def test_kernels(score, scaled, square, normal):
    """Value, and gradient to both slots; those without moments take the generic route."""
    z, x = normal(15, 3).requires_grad_(), (2 * normal(9, 4) + 5).requires_grad_()
    keys = None if square else (normal(6, 4) - 3).requires_grad_()
    scale = torch.linspace(0.2, 3.0, 9, dtype=torch.float64) if scaled else None
    weight, inputs = normal(9), [v for v in (z, x, keys) if v is not None]
    found = cross_entropy(*sides(z, x, keys, score, scale))
    expected = GENERIC.run(*sides(z, x, keys, score, scale), False)
    torch.testing.assert_close(found, expected, **EXACT)
    ours = grad((found * weight).sum(), inputs)
    torch.testing.assert_close(ours, grad((expected * weight).sum(), inputs), **EXACT)


@pytest.mark.parametrize("score", SCORES, ids=lambda v: type(v).__name__)
def test_weighted_sums_of_scores(score, normal):
    """Any weights, a column without any too; with equal weights it is the mean."""
    a, b, weight = normal(5, 3), normal(7, 3) + 4, normal(7, 2).abs() * torch.tensor([1.0, 0.0])
    torch.testing.assert_close(score.weighted_pairwise(a, b, weight), score.pairwise(a, b) @ weight, **EXACT)
    equal = torch.full((7, 1), 1 / 7, dtype=torch.float64)
    torch.testing.assert_close(score.weighted_pairwise(a, b, equal)[:, 0], score.mean_pairwise(a, b), **EXACT)


def test_inertia(normal):
    """Hard clusters: sigma^2 sum_i (CE_i - log Z_i) is the sum of squares around the means (theory 4e)."""
    x, label = normal(30, 2), torch.arange(30) % 4
    q = Clusters()(torch.nn.functional.one_hot(label).double())
    p = Gaussian(1.5)(x, candidates=Candidates.all(30))
    inertia = sum((x[label == c] - x[label == c].mean(0)).square().sum() for c in range(4))
    torch.testing.assert_close(1.5**2 * (cross_entropy(q, p) - p.log_normalizer()).sum(), inertia, **EXACT)


def test_anchors_without_a_cluster(normal):
    """An empty row costs nothing."""
    phi = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    for p in (Gaussian()(normal(3, 2), candidates=Candidates.all(3)), graph(normal(2), 3)):
        value = cross_entropy(Clusters()(phi), p)
        assert value[1] == 0
        torch.testing.assert_close(value, GENERIC.run(Clusters()(phi), p, False), **EXACT)


def graph(scores, n, **candidates):
    edges = torch.tensor([[2, 0, 2, 0, 4][: len(scores)], [0, 1, 3, 4, 2][: len(scores)]])
    return Raised(*edges, scores, n=n, candidates=Candidates(n, **candidates))


def test_graphs(normal):
    """Along the edges, with a gradient to their scores as well."""
    z, scores, weight = normal(6, 3).requires_grad_(), normal(5).requires_grad_(), normal(6)

    def rows():
        return Clusters()(z.softmax(1), weights=torch.arange(1.0, 7.0)), graph(scores, 6)

    found, expected = cross_entropy(*rows()), GENERIC.run(*rows(), False)
    torch.testing.assert_close(found, expected, **EXACT)
    ours = grad((found * weight).sum(), (z, scores))
    torch.testing.assert_close(ours, grad((expected * weight).sum(), (z, scores)), **EXACT)


def test_infinite_values_are_refused(normal):
    """Clusters reach self, these kernels and graphs do not."""
    phi, x = normal(5, 3).softmax(1), normal(5, 2)
    for p in (Gaussian()(x), graph(normal(5), 5, excludes_self=True)):
        for divergence in (cross_entropy, kl):
            with pytest.raises(SupportError, match=r"p\[0, 0\]"):
                divergence(Clusters()(phi), p)


def test_the_plan_says_which_half_is_fast(normal):
    phi, x = normal(5, 3).softmax(1), normal(5, 2)
    said = str(explain(Clusters()(phi), Gaussian()(x, candidates=Candidates.all(5))))
    assert said.startswith(
        "cluster||kernel -> generic (cross-entropy: moments of clusters, if the score has them): 1 bl"
    )
    assert str(explain(Clusters()(phi), graph(normal(5), 5))).startswith(
        "cluster||raised -> generic (cross-entropy: along the edges): 1 block"
    )


def test_no_matrix_of_all_pairs(normal, monkeypatch):
    """The kernel is scored against three centers only; its normalizer is what it keeps for other steps."""
    z, x = normal(40, 3), normal(40, 2)
    p, score = Clusters()(z.softmax(1)), Gaussian()
    kernel = score(x, candidates=Candidates.all(40))
    kernel.prepare()

    def no_pairs(*_):
        raise AssertionError("all pairs were scored")

    monkeypatch.setattr(Gaussian, "pairwise", no_pairs)
    monkeypatch.setattr(type(p), "log_at", no_pairs)
    assert cross_entropy(p, kernel).isfinite().all()
