"""Every row of the periodic table trains an encoder, or says what is missing."""

import numpy as np
import pytest
import torch
from tests.training.tiny import config_of
from torch.nn import functional as F

from torchicon import TABLE, find
from torchicon.data import DataError
from torchicon.training.module import names_of
from torchicon.training.prepare import prepare
from torchicon.training.run import train
from torchicon.training.step import Batch, Step

# What these ask for is no matter of an encoder and a batch, and the message says so.
REFUSED = {
    "BYOL": "lattice, target",
    "Squared error": "lattice, target",
    "Masked-token cross-entropy": "masked",
    "Error rate": "no gradient",
    "LaCLIP": "text",
}


def prepared(method, squares, points, **given):
    if {"weight"} <= set(names_of(method)):
        return prepare(config_of(method.name, points, mapper="mlp", width=8, labels="label", **given))
    return prepare(config_of(method.name, squares, labels="label", metadata="metadata", **given))


def first_step(method, squares, points):
    ready = prepared(method, squares, points)
    return ready.module.training_step(batches(ready)[0], 0)


def batches(ready):
    return list(ready.data.train_dataloader())


@pytest.mark.parametrize("method", TABLE, ids=str)
def test_row_trains_or_says_why_not(method, squares, points):
    """A loss that is finite, with a gradient in the encoder, twice."""
    if method.name in REFUSED:
        with pytest.raises(DataError, match=REFUSED[method.name]):
            first_step(method, squares, points)
        return
    ready = prepared(method, squares, points, lr=1e-3)
    module = ready.module
    optimizer = module.configure_optimizers()["optimizer"]
    before = {name: weight.detach().clone() for name, weight in module.encoder.named_parameters()}
    for batch in batches(ready)[:2]:
        module.on_train_batch_start(batch, 0)
        optimizer.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        optimizer.step()
        for part in module.parts.values():
            part.after(module._step)
        assert torch.isfinite(loss)
    moved = [name for name, weight in module.encoder.named_parameters() if not torch.equal(weight, before[name])]
    assert moved, f"{method.name} trains nothing"


@pytest.mark.parametrize("method", [method for method in TABLE if method.name not in REFUSED], ids=str)
def test_half_precision_is_close(method, squares, points):
    """A step under autocast, memories and teachers included, beside the same step in single precision."""
    losses = []
    for half in (False, True):
        ready = prepared(method, squares, points)
        module, batch = ready.module, batches(ready)[0]
        module.on_train_batch_start(batch, 0)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = module.training_step(batch, 0)
        loss.backward()
        for part in module.parts.values():
            part.after(module._step)
        losses.append(loss.detach())
    torch.testing.assert_close(losses[1], losses[0], rtol=0.05, atol=0.05)


def step_of(ready, number=0):
    module, batch = ready.module, batches(ready)[number]
    return Step(module, batch, module._views(batch))


def test_simclr_is_nt_xent_of_its_own_projections(squares, points):
    """Against F.cross_entropy on cosines with the diagonal masked."""
    ready = prepared(find("SimCLR"), squares, points, temperature=0.3)
    step = step_of(ready)
    z = F.normalize(step["z"], dim=1)
    scores = (z @ z.T / 0.3).fill_diagonal_(-torch.inf)
    b = len(z) // 2
    expected = F.cross_entropy(scores, torch.arange(2 * b).roll(b))
    torch.testing.assert_close(ready.module.row.loss(step), expected)


def test_supcon_ignores_missing_labels_nowhere_but_sees_both_views(squares, points):
    step = step_of(prepared(find("SupCon"), squares, points))
    assert len(step["label"]) == 2 * 16
    assert torch.equal(step["label"][:16], step["label"][16:])


def test_moco_teacher_follows_after_the_step(squares, points):
    """theta_k <- m theta_k + (1 - m) theta_q, with m as the cosine has it; the predictor is the student's alone."""
    ready = prepared(find("MoCo v3"), squares, points, teacher_momentum=0.5)
    module = ready.module
    teacher = module.parts["Teacher"].ema.module
    own = module.encoder.networks[0].stem[0].weight
    with torch.no_grad():
        own.add_(1.0)
    before = teacher.encoder.networks[0].stem[0].weight.clone()
    step = step_of(ready)
    assert step["teacher"].shape == step["z"].shape
    assert not step["teacher"].requires_grad
    module.parts["Teacher"].after(step)
    after = teacher.encoder.networks[0].stem[0].weight
    torch.testing.assert_close(after, 0.5 * before + 0.5 * own.detach())
    assert not [name for name, _ in teacher.named_parameters() if "predictor" in name]


def test_bank_remembers_after_the_step_and_only_its_batch(squares, points):
    ready = prepared(find("BALL+"), squares, points, bank_rate=0.25)
    module, step = ready.module, step_of(ready)
    bank = module.parts["Banks"].banks["bank"]
    before = bank.rows.clone()
    z = F.normalize(step["z"].detach(), dim=1)
    assert torch.equal(step["bank"], before)
    module.parts["Banks"].after(step)
    index = step["index"]
    expected = F.normalize(0.25 * before[index] + 0.75 * z, dim=1)
    torch.testing.assert_close(bank.rows[index], expected)
    others = np.setdiff1d(np.arange(len(before)), index.numpy())
    assert torch.equal(bank.rows[others], before[others])


def test_queue_holds_the_last_keys_of_the_teacher(squares, points):
    """What the second views' keys were, newest over oldest; MoCo has no predictor."""
    ready = prepared(find("MoCo"), squares, points, queue_size=24)
    module = ready.module
    keys = []
    for number in range(3):
        step = step_of(ready, number)
        assert len(step["queue"]) == min(24, 16 * number)
        assert torch.isfinite(module.row.loss(step))
        for part in module.parts.values():
            part.after(step)
        keys.append(F.normalize(step["teacher"].chunk(2)[1], dim=1))
    held = module.parts["Keys"].queue.rows
    expected = torch.cat([keys[1][8:], keys[2]])
    torch.testing.assert_close(held.sum(0), expected.sum(0))
    assert not [name for name, _ in module.parts["Projection"].predictor.named_parameters()]


def test_shrinking_ball_follows_the_length_of_the_training(squares, points):
    """`iterations` of a row is the run's, and a ball's size is a share of the bank when it is not given."""
    ready = prepared(find("BALL+"), squares, points, epochs=5)
    assert ready.module.row.settings["iterations"] == ready.data.iterations == 15
    assert ready.module.row.settings["size"] == round(4096 / 50_000 * 48)
    assert prepared(find("BALL+"), squares, points, size=7).module.row.settings["size"] == 7


def test_ball_larger_than_the_bank_is_refused(squares, points):
    ready = prepared(find("BALL"), squares, points, size=100)
    with pytest.raises(ValueError, match="A ball of 100 rows is larger than the bank, which has 48"):
        ready.module.training_step(batches(ready)[0], 0)


def test_known_labels_are_a_share_of_every_class(squares, points):
    label = prepared(find("CRLC, semi-supervised"), squares, points, known=0.25).data.columns["label"]
    assert [int((label == value).sum()) for value in range(4)] == [3, 3, 3, 3]
    assert int((label == -1).sum()) == 36


def test_graph_of_a_batch_is_the_graph_among_its_samples(squares, points):
    ready = prepared(find("SNE graph embedding"), squares, points)
    with np.load(points) as file:
        dense = np.zeros((48, 48), np.float32)
        for one, other in file["edges"]:
            dense[one, other] = dense[other, one] = 1
    step = step_of(ready)
    index = step["index"].numpy()
    np.testing.assert_array_equal(step["weight"].numpy(), dense[np.ix_(index, index)])


def test_frozen_encoder_stays_as_it_is(squares, points, tmp_path):
    """Weights and running statistics, while the head learns."""
    ready = prepared(find("SimCLR"), squares, points, frozen=True)
    before = {name: tensor.clone() for name, tensor in ready.module.encoder.state_dict().items()}
    loss = ready.module.train().training_step(batches(ready)[0], 0)
    loss.backward()
    for name, tensor in ready.module.encoder.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(weight.grad is None for weight in ready.module.encoder.parameters())


def test_lab_split_has_an_encoder_for_either_part(squares, points):
    step = step_of(prepared(find("CLIP"), squares, points))
    assert [tuple(part.shape) for part in step.features] == [(16, 32), (16, 32)]
    assert step["z"].shape == step["text"].shape == (16, 8)


def test_labels_never_touch_unsupervised_training(squares, tmp_path):
    """The same weights with labels, without, and with wrong ones."""
    other = tmp_path / "wrong.npz"
    with np.load(squares) as file:
        np.savez(other, images=file["images"], label=file["label"][::-1])
    runs = {}
    for name, data, labels in (("with", squares, "label"), ("without", squares, None), ("wrong", other, "label")):
        train(config_of("SimCLR", data, labels=labels), tmp_path / name)
        runs[name] = (tmp_path / name / "metrics.csv").read_text().splitlines()
    losses = {name: [row.split(",")[2] for row in rows] for name, rows in runs.items()}
    assert losses["with"] == losses["without"] == losses["wrong"]


def test_batch_moves_whole(squares, points):
    batch = batches(prepared(find("SupCon"), squares, points))[0]
    moved = batch.to(torch.device("meta"))
    assert isinstance(moved, Batch)
    assert {moved.index.device.type, moved.samples.device.type, moved.columns["label"].device.type} == {"meta"}
