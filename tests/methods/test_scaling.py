"""PCA and multidimensional scaling: a planted error in any row is seen, and the rows give the classic answers."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from sklearn.decomposition import PCA
from sklearn.manifold import smacof
from tests.methods.mutation import survives

from torchicon.core import Candidates, both_wide, wide
from torchicon.methods import find, problems
from torchicon.methods.scaling import ROWS
from torchicon.neighborhoods import Exponential, Gaussian

ROOT_HALF = math.sqrt(0.5)


def with_self(recipe, points):
    return recipe(points, candidates=Candidates.all(len(points)))


def slower(limit):
    return dataclasses.replace(limit, before=lambda p, q, h: limit.before(p, q, h**0.5))


MUTANTS = {
    "mean for sum": ("PCA", {"weights": "mean"}),
    "factor 2 in the exponent": ("PCA", {"q": lambda z: with_self(Gaussian(ROOT_HALF), z)}),
    "of distances": ("PCA", {"q": lambda z: with_self(Exponential(1.0), z)}),
    "self included": ("MDS", {"p": lambda x: with_self(Exponential(), x), "q": lambda z: with_self(Exponential(), z)}),
    "squared distances": ("MDS", {"p": lambda x: Gaussian(ROOT_HALF)(x), "q": lambda z: Gaussian(ROOT_HALF)(z)}),
    "unequal temperatures": ("MDS", {"q": lambda z: Exponential(1.0, 2.0)(z)}),
    "half forgotten": ("MDS", {"factor": 2.0}),
    "q alone wide": ("MDS", {"divergence": wide}),
    "approached too slowly": ("MDS", {"divergence": slower(both_wide)}),
    "self excluded": (
        "MDS (squared distances)",
        {"p": lambda x: Gaussian(ROOT_HALF)(x), "q": lambda z: Gaussian(ROOT_HALF)(z)},
    ),
    "factors 2 in the exponents": (
        "MDS (squared distances)",
        {"p": lambda x: with_self(Gaussian(1.0), x), "q": lambda z: with_self(Gaussian(1.0), z)},
    ),
    "mean of the rows": ("MDS (squared distances)", {"weights": "mean"}),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_error_fails_its_claim(mutant):
    assert not survives(*MUTANTS[mutant])


def test_every_row_has_a_mutant():
    assert {row.name for row in ROWS} == {name for name, _ in MUTANTS.values()}


class TestPCA:
    @pytest.fixture
    def x(self, normal):
        return normal(60, 5) @ torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5, 0.2]).double()) @ normal(5, 5) + 10.0

    def test_an_orthonormal_map_that_minimizes_the_row_spans_the_components(self, x, normal):
        """Projectors equal scikit-learn's (theory 2.1)."""
        weight = normal(5, 2).requires_grad_()
        optimizer = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-11)

        def closure():
            optimizer.zero_grad()
            loss = find("PCA").loss({"z": x @ torch.linalg.qr(weight).Q})
            loss.backward()
            return loss

        optimizer.step(closure)
        basis = torch.linalg.qr(weight.detach()).Q
        pca = PCA(2).fit(x.numpy())
        np.testing.assert_allclose(basis @ basis.T, pca.components_.T @ pca.components_, atol=1e-6)
        at_minimum = find("PCA").loss({"z": x @ basis})
        assert float(at_minimum) == pytest.approx(-59 * pca.explained_variance_.sum(), rel=1e-10)

    def test_any_other_map_is_unbounded(self, x):
        losses = [float(find("PCA").loss({"z": scale * x})) for scale in (1.0, 10.0)]
        assert losses[0] < 0
        assert losses[1] == pytest.approx(100 * losses[0], rel=1e-9)

    def test_is_the_spread_of_all_pairs(self, x):
        """(1 / n) sum_ij |z_i - z_j|^2 = 2 sum |z_i - mean|^2 (theory 3.1)."""
        pairs = 2 * (pdist(x.numpy()) ** 2).sum() / len(x)
        assert float(find("PCA").loss({"z": x})) == pytest.approx(-pairs / 2, rel=1e-12)


class TestMDS:
    @pytest.mark.parametrize("iterations", [1, 300])
    def test_raw_stress_is_the_row_and_its_row_means(self, iterations):
        """(n - 1) (MDS + half of the squared row means) is the stress that SMACOF reports (theory 3.2)."""
        problem = problems.projected(torch.Generator().manual_seed(4))
        given = squareform(pdist(problem["x"].numpy()))
        options = {"n_init": 1, "max_iter": iterations, "normalized_stress": False}
        place, stress = smacof(given, init=problem["z"].numpy().copy(), **options)
        row_mean = (given - squareform(pdist(place))).sum(1) / 23
        loss = float(find("MDS").loss({**problem, "z": torch.from_numpy(place)}))
        assert 23 * (loss + (row_mean**2).sum() / 2) == pytest.approx(stress, rel=1e-10)

    def test_strain_and_column_means(self):
        """|(D - d) J|_F^2 = 4 |strain|_F^2 + n sum_j (centered column mean)^2 is 2n times the row (theory 3.2)."""
        problem = problems.projected(torch.Generator().manual_seed(4))
        x, z = problem["x"].numpy(), problem["z"].numpy()
        n = len(x)
        centering = np.eye(n) - 1 / n
        gap = squareform(pdist(x, "sqeuclidean") - pdist(z, "sqeuclidean"))
        strain = -centering @ gap @ centering / 2
        column_mean = gap.mean(0) - gap.mean()
        expected = 4 * (strain**2).sum() + n * (column_mean**2).sum()
        assert ((gap @ centering) ** 2).sum() == pytest.approx(expected, rel=1e-12)
        assert 2 * n * float(find("MDS (squared distances)").loss(problem)) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("name", ["MDS", "MDS (squared distances)"])
    def test_nothing_is_lost_by_a_map_that_keeps_distances(self, name, normal):
        rotation = torch.linalg.qr(normal(4, 4)).Q
        x = problems.projected(torch.Generator().manual_seed(5))["x"]
        assert abs(float(find(name).loss({"x": x, "z": x @ rotation + 3.0}))) < 1e-24
