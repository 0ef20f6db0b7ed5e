"""Batches are functions of the seed and the step, and neighbors come in pairs."""

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors
from tests.training.tiny import config_of, write_points, write_squares

from torchicon.data import DataError, read_samples
from torchicon.training import IConDataModule
from torchicon.training.datamodule import Batches
from torchicon.training.prepare import prepare
from torchicon.training.reading import data_of
from torchicon.training.run import train


def test_batches_of_a_step_do_not_depend_on_where_the_run_began():
    whole = list(Batches(10, 4, epochs=3, seed=5))
    late = list(Batches(10, 4, epochs=3, seed=5, start=3))
    assert [step for step, _ in late] == [3, 4, 5]
    for (step, index), (other, again) in zip(whole[3:], late, strict=True):
        assert step == other
        assert torch.equal(index, again)
    for epoch in range(3):
        seen = torch.cat([index for step, index in whole if step // 2 == epoch])
        assert len(seen.unique()) == 8


@given(n=st.integers(2, 40), size=st.integers(2, 40), k=st.integers(1, 6), seed=st.integers(0, 99))
def test_every_visited_sample_brings_a_neighbor_and_none_is_there_twice(n, size, k, seed):
    size, k = min(size, n), min(k, n - 1)
    near = (torch.arange(n)[:, None] + torch.arange(1, k + 1)) % n
    batches = list(Batches(n, size, epochs=2, seed=seed, neighbors=near))
    late = list(Batches(n, size, epochs=2, seed=seed, neighbors=near, start=len(batches) // 2))
    half = size // 2
    visited = torch.cat([index[:half] for _, index in batches])
    for _, index in batches:
        assert len(index) == size
        assert len(index.unique()) == size
        for sample in index[:half]:
            assert set(near[sample].tolist()) & set(index.tolist())
    for epoch in visited.split(n // half * half):  # each sample once, but for what fills no batch
        assert len(epoch.unique()) == n // half * half
    for (step, index), (other, again) in zip(batches[len(batches) // 2 :], late, strict=True):
        assert step == other
        assert torch.equal(index, again)


def test_neighbors_are_those_of_the_metadata_or_of_the_samples(tmp_path):
    """Against scikit-learn's."""
    squares, points = write_squares(tmp_path / "squares.npz"), write_points(tmp_path / "points.npz")
    captioned = read_samples(squares, size=8, metadata="metadata")
    plain = read_samples(points)
    for samples, x in ((captioned, captioned.metadata), (plain, plain.features)):
        data = IConDataModule(samples, config_of("SimCLR", squares, neighbors=3, mapper="mlp"))
        expected = NearestNeighbors(n_neighbors=4, metric="cosine").fit(x).kneighbors(x)[1][:, 1:]
        np.testing.assert_array_equal(np.sort(data.neighbors.numpy(), axis=1), np.sort(expected, axis=1))


def test_two_stages_contrast_drawn_neighbors(tmp_path):
    """The nearest other of a batch is one of the nearest of all for most, where it was one of 16 at random before."""
    points = write_points(tmp_path / "points.npz", n=200)
    ready = prepare(config_of("CRLC, two-stage", points, mapper="identity", clusters=4))
    assert ready.module.row.settings["k"] == 1
    assert ready.data.neighbors.shape == (200, 20)
    batch = next(iter(ready.data.train_dataloader()))
    unit = torch.nn.functional.normalize(batch.samples, dim=1)
    nearest = batch.index[(unit @ unit.T).fill_diagonal_(-1).argmax(1)]
    assert (ready.data.neighbors[batch.index] == nearest[:, None]).any(1)[:8].all()


def test_language_guidance_brings_the_nearest_caption(tmp_path):
    squares = write_squares(tmp_path / "squares.npz")
    ready = prepare(config_of("LGSimCLR", squares, metadata="metadata"))
    assert ready.data.neighbors.shape == (48, 1)


def test_runs_with_neighbors_resume_exactly(tmp_path):
    points = write_points(tmp_path / "points.npz")
    config = config_of("CRLC, two-stage", points, mapper="identity", clusters=4, neighbors=5, checkpoint_every=3)
    train(config, tmp_path / "whole")
    train(config, tmp_path / "cut")
    before = (tmp_path / "cut" / "metrics.csv").read_text()
    *_, last = sorted((tmp_path / "cut" / "checkpoints").glob("*.ckpt"))
    last.unlink()
    train(config, tmp_path / "cut", resume=True)
    losses = [
        [row.split(",")[2] for row in text.splitlines()]
        for text in (
            before,
            (tmp_path / "cut" / "metrics.csv").read_text(),
            (tmp_path / "whole" / "metrics.csv").read_text(),
        )
    ]
    assert losses[0] == losses[1] == losses[2]


def test_more_neighbors_than_others_are_refused(tmp_path):
    points = write_points(tmp_path / "points.npz")
    with pytest.raises(DataError, match="48 samples have no 48 neighbors"):
        prepare(config_of("CRLC, two-stage", points, mapper="identity", clusters=4, neighbors=48))


def test_another_split_of_the_same_data_set_is_what_is_asked_about(tmp_path):
    """And the samples that were learned from are not."""
    rows = datasets.Dataset.from_dict({"vector": np.eye(6).tolist(), "label": list("ababab")})
    both = datasets.DatasetDict({"train": rows, "unseen": rows.select([0, 1])})
    place = tmp_path / "both"
    both.save_to_disk(place)
    samples, test = data_of(config_of("SupCon", place, labels="label", test=str(place), test_split="unseen"))
    assert (len(samples), len(test)) == (6, 2)
    with pytest.raises(DataError, match="test is the data themselves"):
        config_of("SupCon", place, labels="label", test=str(place))
