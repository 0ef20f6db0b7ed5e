"""Training on a CUDA device: every row's step as on a CPU, half precision, and a run from its start to its features."""

import numpy as np
import pytest
import torch
from tests.training.test_rows import REFUSED, batches, prepared
from tests.training.tiny import config_of

from torchicon import TABLE, find
from torchicon.data import read_samples
from torchicon.training import Encoder, features_of, train
from torchicon.training.record import read_record

CUDA = torch.device("cuda", 0)
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
TRAINED = [method for method in TABLE if method.name not in REFUSED]
LEARNING = ["SimCLR", "MoCo v3", "MoCo", "BALL+", "ANN+", "DINO", "CRLC", "CLIP", "Kernel-InfoNCE (sum of kernels)"]


@pytest.mark.parametrize("method", TRAINED, ids=str)
def test_a_step_is_that_of_a_cpu(method, squares, points):
    """What is drawn is drawn on the CPU, so the views, the candidates and the loss are the same."""
    losses = []
    for device in (torch.device("cpu"), CUDA):
        ready = prepared(method, squares, points)
        module, batch = ready.module.to(device), batches(ready)[0].to(device)
        module.on_train_batch_start(batch, 0)
        loss = module.training_step(batch, 0)
        loss.backward()
        for part in module.parts.values():
            part.after(module._step)
        losses.append(float(loss.detach()))
    assert losses[1] == pytest.approx(losses[0], rel=2e-3, abs=2e-4)


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("name", LEARNING)
def test_run(name, precision, squares, tmp_path):
    """From its start to features that are finite."""
    config = config_of(name, squares, labels="label", accelerator="cuda", precision=precision)
    train(config, tmp_path / "run")
    losses = [float(row["loss"]) for row in read_record(tmp_path / "run" / "metrics.csv")]
    assert np.isfinite(losses).all()
    encoder = Encoder.from_pretrained(tmp_path / "run").to(CUDA)
    features = features_of(encoder, read_samples(squares, size=8), device=CUDA)
    assert features.shape == (48, encoder.n_features)


def test_an_interrupted_run_goes_on(squares, tmp_path):
    """Close to the run that was not: the device adds in an order of its own."""
    config = config_of("BALL+", squares, accelerator="cuda", lr=1e-3, checkpoint_every=2)
    train(config, tmp_path / "whole")
    train(config, tmp_path / "cut")
    *_, last = sorted((tmp_path / "cut" / "checkpoints").glob("*.ckpt"))
    last.unlink()
    train(config, tmp_path / "cut", resume=True)
    whole, cut = (
        [float(row["loss"]) for row in read_record(tmp_path / run / "metrics.csv")] for run in ("whole", "cut")
    )
    np.testing.assert_allclose(cut, whole, rtol=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own imports
def test_a_compiled_encoder_learns_what_a_plain_one_does(squares, points):
    losses = []
    for compiled in (False, True):
        ready = prepared(find("SimCLR"), squares, points, compile=compiled)
        module, batch = ready.module.to(CUDA), batches(ready)[0].to(CUDA)
        losses.append(float(module.training_step(batch, 0).detach()))
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
