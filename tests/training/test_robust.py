"""What a run survives, and what it refuses, by name."""

import errno
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.training.tiny import config_of, write_points, write_squares

from torchicon.data import DataError, read_samples
from torchicon.training import Encoder, train
from torchicon.training.checkpoints import last_whole
from torchicon.training.folder import remove_run
from torchicon.training.module import NonFiniteLoss
from torchicon.training.prepare import prepare
from torchicon.training.record import Record, read_record


@pytest.fixture
def trained(squares, tmp_path):
    """A finished run with checkpoints after every second step."""
    return train(config_of("SimCLR", squares, checkpoint_every=2), tmp_path / "run")


def losses(folder):
    return [row["loss"] for row in read_record(folder / "metrics.csv")]


def test_a_checkpoint_cut_short_is_named_and_the_one_before_it_is_used(trained):
    later, earlier = sorted((trained / "checkpoints").glob("*.ckpt"), reverse=True)
    whole = losses(trained)
    later.write_bytes(later.read_bytes()[:-1000])
    found = last_whole(trained / "checkpoints")
    assert (found.path, found.step) == (earlier, 4)
    assert later.name in found.damaged[0]
    config = config_of("SimCLR", read_config(trained)["data"], checkpoint_every=2)
    with pytest.warns(UserWarning, match=later.name):
        train(config, trained, resume=True)
    assert losses(trained) == whole


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", b"PK\x03\x04" + bytes(100)])
def test_folders_without_a_whole_checkpoint_are_refused(trained, damage):
    for path in (trained / "checkpoints").glob("*.ckpt"):
        path.write_bytes(damage)
    with pytest.raises(DataError, match="holds no whole checkpoint"):
        last_whole(trained / "checkpoints")


def test_a_checkpoint_that_would_run_code_is_refused(trained):
    """A pickle may do anything when it is loaded; ours are read by torch's restricted reader."""

    class Malicious:
        def __reduce__(self):
            return (os.mkdir, (str(trained / "owned"),))

    for path in (trained / "checkpoints").glob("*.ckpt"):
        torch.save({"state_dict": Malicious(), "global_step": 1, "optimizer_states": []}, path)
    with pytest.raises(DataError, match="holds no whole checkpoint"):
        last_whole(trained / "checkpoints")
    assert not (trained / "owned").exists()


def read_config(folder):
    return json.loads((folder / "config.json").read_text())["arguments"]


def test_resuming_with_another_config_or_other_data_is_refused(trained, squares, tmp_path):
    with pytest.raises(DataError, match="was begun with other lr"):
        train(config_of("SimCLR", squares, checkpoint_every=2, lr=0.1), trained, resume=True)
    original = squares.read_bytes()
    try:
        write_squares(squares, seed=7)
        with pytest.raises(DataError, match="was begun with other data"):
            train(config_of("SimCLR", squares, checkpoint_every=2), trained, resume=True)
    finally:
        squares.write_bytes(original)


def test_a_run_killed_before_its_first_checkpoint_begins_anew(trained, squares):
    whole = losses(trained)
    for path in (trained / "checkpoints").glob("*.ckpt"):
        path.unlink()
    (trained / "metrics.csv").write_text("step,epoch,loss,lr,samples_per_second\n1,0.3,9.9,0.1,3\n2,0.")
    train(config_of("SimCLR", squares, checkpoint_every=2), trained, resume=True)
    assert losses(trained) == whole


def test_a_loss_that_is_not_finite_stops_with_its_step_its_samples_and_a_dump(squares, tmp_path):
    with pytest.raises(NonFiniteLoss, match=r"the loss of step \d+ is (nan|inf), on samples \d+"):
        train(config_of("SimCLR", squares, lr=1e30), tmp_path / "run")
    (folder,) = (tmp_path / "run").glob("nonfinite-step-*")
    content = json.loads((folder / "step.json").read_text())
    batch = load_file(folder / "batch.safetensors")
    assert batch["index"].tolist() == content["samples"]
    samples = read_samples(squares, size=8)
    np.testing.assert_array_equal(batch["samples"].numpy(), samples.pixels[content["samples"]])
    assert load_file(folder / "module.safetensors")


def test_corrupt_pictures_are_skipped_and_counted_up_to_a_percent(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(200):
        Image.fromarray(generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{i:03}.png")
    (folder / "100.png").write_bytes((folder / "100.png").read_bytes()[:60])
    run = train(config_of("SimCLR", folder, epochs=1, batch_size=64), tmp_path / "run")
    skipped = json.loads((run / "config.json").read_text())["skipped"]
    assert len(skipped) == 1
    assert "100.png" in skipped[0]
    for i in range(5):
        (folder / f"{i:03}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"6 of 200|more than 1 %"):
        prepare(config_of("SimCLR", folder))


def test_a_full_disk_is_said(squares, tmp_path, monkeypatch):
    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("torchicon.training.encoder.serialized", full)
    with pytest.raises(DataError, match="No space left on device"):
        train(config_of("SimCLR", squares), tmp_path / "run")


def test_no_run_writes_over_another(trained, squares):
    with pytest.raises(DataError, match="exists and is not empty"):
        train(config_of("SimCLR", squares), trained)


def test_force_removes_a_run_and_nothing_else(trained, tmp_path):
    (trained / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"did not write \(thesis.tex\)"):
        remove_run(trained)
    (trained / "thesis.tex").unlink()
    remove_run(trained)
    assert not trained.exists()
    with pytest.raises(DataError, match=r"has no config\.json"):
        remove_run(tmp_path)


@pytest.mark.parametrize(
    ("method", "given_", "message"),
    [
        ("SupCon", {}, "learns from label, which the data do not give"),
        ("CRLC", {"clusters": None}, "how many clusters"),
        ("SNE graph embedding", {}, "learns from a graph"),
        ("SimCLR", {"batch_size": 100}, "48 samples fill no batch of 100"),
        ("SimCLR", {"mapper": "resnet19"}, "Did you mean 'resnet18'"),
        ("SimCLR", {"mapper": "nowhere:Net"}, "nowhere:Net: cannot be imported"),
        ("SimCLR", {"mapper": "builtins:dict"}, "is no nn.Module but a dict"),
        ("CLIP", {"text": ("caption",)}, "texts but no encoder"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_any_work(squares, tmp_path, method, given_, message):
    with pytest.raises(DataError, match=message):
        train(config_of(method, squares, **given_), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_metadata_that_are_not_there_are_asked_for(tmp_path):
    points = write_points(tmp_path / "points.npz")
    with pytest.raises(DataError, match="learns from metadata"):
        prepare(config_of("X-Sample", points, mapper="mlp"))


def test_the_encoder_comes_back_as_it_was(trained, squares):
    """Features of the loaded encoder are those of the trained one, to the last bit."""
    config = config_of("SimCLR", squares, checkpoint_every=2)
    ready = prepare(config)
    state = torch.load(last_whole(trained / "checkpoints").path, weights_only=True)["state_dict"]
    ready.module.load_state_dict(state)
    x = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Encoder.from_pretrained(trained)(x), ready.module.encoder.eval()(x))


@pytest.mark.parametrize("name", ["encoder.json", "encoder.safetensors"])
def test_damaged_encoders_are_refused_by_name(trained, name):
    (trained / name).write_bytes(b"{")
    with pytest.raises(DataError, match="holds no complete encoder"):
        Encoder.from_pretrained(trained)
    (trained / name).unlink()
    with pytest.raises(DataError, match=name):
        Encoder.from_pretrained(trained)


def test_a_record_drops_what_comes_after_a_step_and_rows_cut_short(tmp_path):
    path = tmp_path / "r.csv"
    record = Record(path, ("step", "loss"))
    for step in range(1, 5):
        record.add({"step": step, "loss": step / 2})
    with path.open("a") as file:
        file.write("5")
    again = Record(path, ("step", "loss"), step=2)
    again.add({"step": 3, "loss": 9})
    assert read_record(path) == [{"step": str(s), "loss": loss} for s, loss in ((1, "0.5"), (2, "1.0"), (3, "9"))]
