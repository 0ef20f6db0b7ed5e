"""Data as they come: sorted by class, with labels missing, of the wrong kind, and encoders that have collapsed."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.tiny import config_of
from torch import nn

from torchicon import find
from torchicon.data import DataError, read_samples
from torchicon.data.views import POLICIES
from torchicon.training import Encoder, TrainConfig, evaluate_encoder, features_of, train
from torchicon.training.evaluate import quick
from torchicon.training.prepare import prepare
from torchicon.training.reading import data_of
from torchicon.training.step import Step


def some_unlabeled(squares, folder):
    """Every third label is missing."""
    with np.load(squares) as file:
        label = np.where(np.arange(48) % 3 == 0, "", file["label"])
        np.savez(folder / "some.npz", images=file["images"], label=label)
    return folder / "some.npz"


def test_samples_without_a_label_are_alike_to_their_own_views_alone(squares, tmp_path):
    """SupCon of some labels is the same as with a class of its own for every other sample."""
    ready = prepare(config_of("SupCon", some_unlabeled(squares, tmp_path), labels="label"))
    batch = next(iter(ready.data.train_dataloader()))
    step = Step(ready.module, batch, ready.module._views(batch))
    unknown = batch.columns["label"] < 0
    assert 0 < unknown.sum() < 16
    labels = step["label"]
    assert len(labels[:16][unknown].unique()) == unknown.sum()
    assert torch.equal(labels[:16], labels[16:])
    assert torch.equal(labels[:16][~unknown], batch.columns["label"][~unknown])


@pytest.mark.parametrize("method", ["Cross-entropy", "Perceptron", "Harmonic loss"])
def test_methods_of_every_label_refuse_missing_ones(squares, tmp_path, method):
    with pytest.raises(DataError, match="of every sample, and 16 have none"):
        prepare(config_of(method, some_unlabeled(squares, tmp_path), labels="label"))


@pytest.mark.parametrize("method", ["CRLC", "TEMI", "K-Means", "DINO"])
def test_unsupervised_methods_do_not_count_the_classes(squares, method):
    """How many there are is a label's knowledge, too."""
    config = config_of(method, squares, labels="label", clusters=None, neighbors=None)
    if method == "DINO":
        assert TrainConfig.of("DINO", data="x").clusters == 4096
    with pytest.raises(DataError, match="says not how many clusters"):
        prepare(config)
    assert prepare(config_of("Supervised clustering", squares, labels="label", clusters=None))


def test_data_sorted_by_class_are_looked_at_as_a_whole():
    """A sample of the samples, not the first ones, and neighbors that are no function of the order."""
    samples = read_samples_of(np.repeat(np.arange(10), 30))
    drawn = samples.draw(60)
    assert len(np.unique(drawn.labels)) == 10
    assert drawn.names == sorted(drawn.names, key=int)
    assert samples.draw(300) is samples
    chance = quick(nn.Flatten(), samples, None, "cpu")["knn_accuracy"]
    assert chance < 0.25


@pytest.mark.parametrize("period", [5, 10])
def test_periodic_labels_are_asked_about_in_all_classes(period):
    labels = np.arange(300) % period
    samples = read_samples_of(labels, signal=True)
    assert quick(nn.Flatten(), samples, None, "cpu")["knn_accuracy"] == 1.0


def read_samples_of(labels, *, signal=False):
    """Features of noise, or of the label."""
    with tempfile.TemporaryDirectory() as folder:
        x = np.random.default_rng(0).normal(size=(len(labels), 12)) + 20 * signal * np.eye(12)[labels]
        np.savez(Path(folder) / "x.npz", X=x, label=labels)
        return read_samples(Path(folder) / "x.npz", labels="label")


def test_views_are_made_in_single_precision(squares):
    """Half precision would have no places between pixels; blur and Lab included."""
    for config in (config_of("MoCo v3", squares), config_of("CLIP", squares)):
        ready = prepare(config)
        batch = next(iter(ready.data.train_dataloader()))
        exact = ready.module._views(batch)
        with torch.autocast("cpu", torch.bfloat16):
            for view, expected in zip(ready.module._views(batch), exact, strict=True):
                assert torch.equal(view, expected)
            split = ready.module.encoder.split(exact[0])
        assert split.dtype == torch.float32


def test_collapsed_features_leave_out_what_has_no_meaning(squares):
    """Rows of zeros have no neighbors; one class leaves nothing to tell apart."""
    samples = read_samples(squares, size=8, labels="label")
    encoder = Encoder({"mapper": "resnet10", "width": 4, "image_size": 8})
    for parameter in encoder.parameters():
        nn.init.zeros_(parameter)
    scores = evaluate_encoder(encoder, samples, None, policy=POLICIES["none"])
    assert "knn_accuracy" not in scores
    assert "knn_accuracy" not in quick(encoder, samples, None, "cpu")
    whole = Encoder({"mapper": "resnet10", "width": 4, "image_size": 8})
    one_class = samples.take(samples.labels == 0)
    assert "logistic_accuracy" not in evaluate_encoder(whole, one_class, None, policy=POLICIES["none"])


def test_teacher_of_a_frozen_encoder_is_the_encoder(squares):
    """In evaluation mode, as the student's."""
    ready = prepare(config_of("MoCo v3", squares, frozen=True))
    batch = next(iter(ready.data.train_dataloader()))
    views = ready.module._views(batch)
    step = Step(ready.module, batch, views)
    teacher = ready.module.parts["Teacher"].ema.module
    step["teacher"], step["z"]
    torch.testing.assert_close(teacher.encoder.parts(torch.cat(views))[0], step.features[0])


def test_weights_that_share_memory_are_saved(tmp_path):
    encoder = Encoder({"mapper": "linear", "width": 6, "n_in": 6})
    encoder.networks.append(encoder.networks[0])
    encoder.save_pretrained(tmp_path)
    assert (tmp_path / "encoder.safetensors").stat().st_mode & 0o044 == 0o044


def test_an_edge_counts_once_however_it_is_listed(points, tmp_path):
    with np.load(points) as file:
        edges = file["edges"]
        np.savez(tmp_path / "both.npz", X=file["X"], edges=np.concatenate([edges, edges[:, ::-1]]))
    graphs = [prepare(config_of("SNE graph embedding", data, mapper="mlp", width=8)).data.graph
              for data in (points, tmp_path / "both.npz")]  # fmt: skip
    for one, other in zip(*graphs, strict=True):
        assert torch.equal(one, other)


def test_wrong_kinds_of_data_are_refused_in_words(squares, points, tmp_path):
    pictures, features = (read_samples(data, size=8) for data in (squares, points))
    of_pictures = Encoder({"mapper": "resnet10", "width": 4, "image_size": 8})
    of_features = Encoder({"mapper": "linear", "width": 4, "n_in": 3})
    for encoder, samples in ((of_pictures, features), (of_features, pictures), (of_features, features)):
        with pytest.raises(DataError, match="and the encoder takes"):
            features_of(encoder, samples)
    with np.load(squares) as file:
        np.savez(tmp_path / "other.npz", images=file["images"], label=np.full(48, "purple"))
        np.savez(tmp_path / "one.npz", images=file["images"][:1])
    with pytest.raises(DataError, match=r"none of the classes of .*: purple here, blue, green"):
        data_of(config_of("SimCLR", squares, labels="label", test=str(tmp_path / "other.npz")))
    with pytest.raises(DataError, match="has one sample, and it takes two"):
        train(config_of("SimCLR", tmp_path / "one.npz"), tmp_path / "run")
    with pytest.raises(DataError, match=r"does not exist.*owner/name"):
        read_samples("fotos")
    assert not (tmp_path / "run").exists()


def test_features_of_a_contrast_of_views_are_remarked_on(points):
    with pytest.warns(UserWarning, match="no views: all of a sample are alike"):
        prepare(config_of("SimCLR", points, mapper="mlp", width=8))


@pytest.mark.parametrize(("n", "batch"), [(2, 2), (20, 20), (48, 32), (400, 50), (2048, 256), (50_000, 256)])
def test_few_samples_make_small_batches(n, batch):
    """An epoch of a few hundred pictures is no single step."""
    assert TrainConfig.of("SimCLR", data="x").batch_of(n) == batch


def test_vince_draws_a_share_of_the_bank():
    """The constants of the example are the example's."""
    row = TrainConfig.of("VINCE", data="x").row(n=50_000, iterations=10)
    assert (row.settings["drawn_from"], row.settings["negatives"]) == (4096, 2048)
    assert find("VINCE").settings["negatives"] == 6


def test_a_network_of_your_own_that_does_not_fit_is_refused_in_words(squares, tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\ndef narrow():\n    return nn.Linear(7, 2)\n\n\n"
        "def asks(width):\n    return nn.Linear(width, 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    for name, said in (("own:narrow", "does not take pictures"), ("own:asks", "without arguments"), (":x", "imported")):
        with pytest.raises(DataError, match=said):
            prepare(config_of("SimCLR", squares, mapper=name))


def test_a_run_of_a_gpu_is_read_without_one(squares, tmp_path, monkeypatch):
    """Training asks for the device, and nothing else does."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = config_of("SimCLR", squares, accelerator="cuda")
    with pytest.raises(DataError, match="no CUDA device here"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
