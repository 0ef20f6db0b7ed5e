"""Maps as their users make them: p and q of one's own, checkpoints, callbacks, modules, new points."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.neighbors import NearestNeighbors
from tests.estimators.dense_embedding import dense_kl
from torch import nn

from torchicon import KNN, SNE, TSNE, Exponential, Gaussian, NearestGaussian, NeighborEmbedding, Perplexity, StudentT
from torchicon.estimators.embedding.kernel import MapKernel
from torchicon.estimators.embedding.objective import weights

IRIS = load_iris().data.astype(np.float32)
FEW = {"max_iter": 120, "random_state": 0, "verbose": False}


def kl_of(embedding, p, q, normalization):
    """The definition, dense, in the units of the map."""
    kernel = MapKernel.of(q)
    y = torch.from_numpy(embedding.embedding_).double() / kernel.unit
    return float(dense_kl(torch.from_numpy(weights(p, normalization).toarray()), y, kernel, normalization))


@pytest.mark.parametrize(
    "q", [StudentT(2.0, scale=3.0), Gaussian(2.0), Exponential(1.5, 0.5)], ids=["t", "normal", "exp"]
)
@pytest.mark.parametrize("normalization", ["joint", "row"])
def test_any_p_and_q(q, normalization):
    """The reported KL is the definition's, in the kernel's own units, and training lowers it."""
    p = KNN(10)(torch.from_numpy(IRIS))
    found = NeighborEmbedding(p=KNN(10), q=q, normalization=normalization, **FEW).fit(IRIS)
    assert found.kl_divergence_ == pytest.approx(kl_of(found, p, q, normalization), rel=1e-5)
    short = NeighborEmbedding(p=KNN(10), q=q, normalization=normalization, **FEW | {"max_iter": 1}).fit(IRIS)
    assert found.kl_divergence_ < 0.8 * short.kl_divergence_


def test_the_scale_of_a_kernel_is_the_scale_of_its_map():
    """Eight is a power of two: not a bit differs."""
    start = (IRIS[:, :2] - IRIS[:, :2].mean(0)) * 1e-4
    small = NeighborEmbedding(q=StudentT(), init=start, **FEW).fit(IRIS)
    large = NeighborEmbedding(q=StudentT(scale=8.0), init=8 * start, **FEW).fit(IRIS)
    assert large.kl_divergence_ == small.kl_divergence_
    assert (large.embedding_ == 8 * small.embedding_).all()


def test_neighbors_that_are_known():
    """scikit-learn's neighbors and rows made of them, a recipe, and the perplexity alone: one p, one map."""
    x = load_digits().data[:300]
    distance, index = NearestNeighbors(n_neighbors=90).fit(x).kneighbors()
    known = NearestGaussian(30.0).from_neighbors(torch.from_numpy(index), torch.from_numpy(distance**2))
    recipe = NearestGaussian(30.0)
    np.testing.assert_allclose(
        weights(known, "joint").toarray(), weights(recipe(torch.from_numpy(x)), "joint").toarray(), atol=1e-5
    )  # ties for the last neighbor, whose mass is small
    own = TSNE(**FEW).fit(x)
    assert (TSNE(p=recipe, **FEW).fit(x).embedding_ == own.embedding_).all()
    assert TSNE(p=known, **FEW).fit(x).kl_divergence_ == pytest.approx(own.kl_divergence_, rel=0.2)


def test_dense_neighborhoods_make_a_map():
    found = TSNE(p=Gaussian(Perplexity(30.0)), **FEW).fit(IRIS[:60])
    assert np.isfinite(found.embedding_).all()
    with pytest.raises(TypeError, match="neighborhoods of its 60 rows"):
        TSNE(p=KNN(10)(torch.from_numpy(IRIS)), **FEW).fit(IRIS[:60])
    with pytest.raises(TypeError, match="neighborhoods of its 60 rows"):
        TSNE(p=lambda x: x, **FEW).fit(IRIS[:60])


@pytest.mark.parametrize("estimator", [TSNE, SNE])
def test_a_map_goes_on_from_its_checkpoint(estimator, tmp_path):
    """Stopped after 100 of 200 iterations and fitted again, it is the map of 200 without a stop, bit by bit."""
    path = tmp_path / "map.safetensors"
    settings = {"max_iter": 200, "random_state": 0, "verbose": False}

    def stop(iteration, kl, positions):
        assert positions.shape == (150, 2)
        if iteration == 100:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="after 100 iterations is kept"):
        cut = estimator(checkpoint=path, callback=stop, **settings).fit(IRIS)
    assert cut.interrupted_
    assert cut.n_iter_ == 100
    seen = []
    resumed = estimator(
        checkpoint=path, callback=lambda iteration, kl, positions: seen.append(iteration), **settings
    ).fit(IRIS)
    assert seen == [150]
    assert resumed.n_iter_ == 200
    assert (resumed.embedding_ == estimator(**settings).fit(IRIS).embedding_).all()


def test_checkpoints_that_are_of_no_use(tmp_path):
    path = tmp_path / "map.safetensors"
    TSNE(checkpoint=path, **FEW).fit(IRIS)
    with pytest.raises(ValueError, match="is of another map"):
        TSNE(checkpoint=path, **FEW).fit(IRIS[:100])
    with pytest.raises(ValueError, match="is of another map"):
        TSNE(checkpoint=path, df=2.0, **FEW).fit(IRIS)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="cannot be read"):
        TSNE(checkpoint=path, **FEW).fit(IRIS)


def test_a_module_instead_of_positions():
    """Parametric t-SNE: near the KL of a free map, and new rows are the module's."""
    x = load_digits().data[:400].astype(np.float32) / 16
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -0.1, 0.1, generator=generator)
    before = [parameter.clone() for parameter in module.parameters()]
    found = TSNE(mapper=module, max_iter=300, verbose=False).fit(x)
    free = TSNE(max_iter=300, random_state=0, verbose=False).fit(x)
    assert found.kl_divergence_ < 1.2 * free.kl_divergence_
    assert all(torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))
    np.testing.assert_allclose(found.transform(x[:9]), found.embedding_[:9], atol=1e-4)
    with torch.no_grad():
        np.testing.assert_allclose(found.transform(x[:9]), found.mapper_(torch.from_numpy(x[:9])), atol=1e-4)


def test_a_module_is_saved_and_loaded(tmp_path):
    module = nn.Linear(4, 2)
    found = SNE(mapper=module, max_iter=20, verbose=False).fit(IRIS)
    found.save_pretrained(tmp_path)
    again = SNE.from_pretrained(tmp_path, mapper=nn.Linear(4, 2))
    assert (again.transform(IRIS) == found.transform(IRIS)).all()


def test_modules_that_do_not_fit():
    with pytest.raises(TypeError, match=r"nn\.Module"):
        TSNE(mapper="mlp", verbose=False).fit(IRIS)
    with pytest.raises(ValueError, match="checkpoint keeps free positions"):
        TSNE(mapper=nn.Linear(4, 2), checkpoint="x", verbose=False).fit(IRIS)
    with pytest.raises(ValueError, match="must make"):
        TSNE(mapper=nn.Sequential(nn.Linear(4, 2), nn.Flatten(0)), verbose=False).fit(IRIS)
    with pytest.raises(ValueError, match="nothing to learn"):
        TSNE(mapper=nn.Identity(), verbose=False).fit(IRIS)


def test_three_components_and_new_points():
    x = load_digits().data.astype(np.float32)
    found = TSNE(3, max_iter=250, random_state=0, verbose=False).fit(x[::3])
    labels = load_digits().target
    placed = found.transform(x[1::30])
    beside = NearestNeighbors(n_neighbors=1).fit(found.embedding_).kneighbors(placed)[1][:, 0]
    assert (labels[::3][beside] == labels[1::30]).mean() > 0.9
