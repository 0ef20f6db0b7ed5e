"""KNN and NearestGaussian against scikit-learn and the dense Gaussian."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.neighbors import NearestNeighbors

from torchicon.core import Candidates, entropy
from torchicon.neighborhoods import KNN, Gaussian, NearestGaussian, Perplexity

EXACT = {"rtol": 1e-11, "atol": 1e-12}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_knn_agrees_with_sklearn(metric, offset, normal):
    """1/k on each of the k nearest others, near the origin or far from it."""
    shift = offset if metric == "euclidean" else 0.0  # angles are seen from the origin
    x = normal(60, 4) + shift
    p = KNN(7, metric)(x)
    neighbors = NearestNeighbors(n_neighbors=7, metric=metric).fit((x - shift).numpy())
    dense = np.zeros((60, 60))
    np.put_along_axis(dense, neighbors.kneighbors(return_distance=False), 1 / 7, axis=1)
    torch.testing.assert_close(p.dense(), torch.from_numpy(dense), **EXACT)
    assert p.candidates.excludes_self


@given(
    st.integers(2, 12).flatmap(
        lambda n: st.tuples(arrays(np.float64, (n, 2), elements=st.integers(-2, 2)), st.integers(1, n - 1))
    )
)
@settings(deadline=None, max_examples=60)
def test_knn_with_duplicates_and_ties(case):
    """k distinct others whose distances are the k smallest; integer grids are full of ties, in which any will do."""
    x, k = case
    p = KNN(k)(torch.from_numpy(x))
    assert (p.counts == k).all()
    distance = ((x[:, None] - x) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    for i, row in enumerate(distance):
        kept = p.columns[p.anchor == i].numpy()
        assert i not in kept
        np.testing.assert_array_equal(np.sort(row[kept]), np.sort(row)[:k])


def test_knn_takes_integers_half_precision_and_gradients(generator):
    """No gradient reaches the points; the graph is that of the values as they are."""
    x = torch.randint(-50, 50, (30, 3), generator=generator)
    expected = KNN(4)(x.double()).dense()
    for same in (x, x.half(), x.bfloat16(), x.float().requires_grad_()):
        torch.testing.assert_close(KNN(4)(same).dense(), expected, **EXACT)


def test_knn_shares_given_candidates(normal):
    candidates = Candidates.all(8, "images")
    assert KNN(2)(normal(8, 2), candidates=candidates).candidates is candidates


@pytest.mark.parametrize("k", [0, 5, 9])
def test_knn_needs_enough_points(k, normal):
    with pytest.raises(ValueError, match=r"1 \.\. 4"):
        KNN(k)(normal(5, 2))


def test_knn_refuses_what_has_no_distance(normal):
    x = normal(5, 2)
    x[3, 1] = math.nan
    with pytest.raises(ValueError, match="row 3, column 1"):
        KNN(2)(x)
    with pytest.raises(ValueError, match="metric"):
        KNN(2, "manhattan")(normal(5, 2))


class TestNearestGaussian:
    def test_effective_number_of_neighbors(self, normal):
        p = NearestGaussian(6.0)(normal(50, 4))
        assert (p.counts == 18).all()
        torch.testing.assert_close(entropy(p).exp(), torch.full((50,), 6.0).double(), rtol=1e-9, atol=0)

    def test_with_all_neighbors_it_is_the_gaussian(self, normal):
        """3 x perplexity covers the 11 other points, so nothing is cut off."""
        x = normal(12, 3)
        torch.testing.assert_close(
            NearestGaussian(4.0)(x).dense(), Gaussian(Perplexity(4.0))(x).dense(), rtol=1e-8, atol=1e-10
        )

    def test_the_cut_costs_little(self, normal):
        """What lies beyond 3 x perplexity neighbors has little mass: 3 % of an average row."""
        x = normal(200, 3)
        cut, whole = NearestGaussian(5.0)(x).dense(), Gaussian(Perplexity(5.0))(x).dense()
        assert (cut - whole).abs().sum(1).mean() / 2 < 0.03

    def test_more_duplicates_than_neighbors(self, normal):
        x = normal(30, 2)
        x[:20] = x[0]
        p = NearestGaussian(5.0)(x)
        assert p.dense().isfinite().all()
        torch.testing.assert_close(entropy(p)[:20].exp(), torch.full((20,), 15.0).double(), rtol=1e-9, atol=0)

    def test_too_few_points(self, normal):
        with pytest.raises(ValueError, match="got 6 points"):
            NearestGaussian(6.0)(normal(6, 2))
