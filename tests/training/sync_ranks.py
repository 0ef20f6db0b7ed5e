"""What every rank does in test_sync.py. Needs no pytest, since it is imported by the processes that are the ranks."""

import os
import warnings
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from torchicon.core import gather
from torchicon.training.sync import synchronize

SIZES = (2, 5)  # pictures of each rank
X = torch.randn(7, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
WEIGHT = torch.randn(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def network():
    """Normalizations of pictures and of features: with running, averaged and no statistics, scaled or not."""
    made = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 5),
        nn.BatchNorm1d(5, momentum=None),
        nn.ReLU(),
        nn.Linear(5, 4),
        nn.BatchNorm1d(4, affine=False, track_running_stats=False),
    ).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64))
    return made


def part(rank):
    """The pictures of a rank."""
    return slice(sum(SIZES[:rank]), sum(SIZES[: rank + 1]))


def step(mine, made, forward=None):
    """Two passes, of which the loss is a sum over pictures; and what it leaves behind."""
    x = X[mine].clone().requires_grad_()
    run = forward or made
    run(x.detach().flip(1))  # statistics of two batches
    out = run(x)
    (out.square() * WEIGHT[mine] + out.sin()).sum().backward()
    return found(made, out, x)


def whole_step(mine, made):
    """The training's way: every rank has the loss of the whole batch, and gradients are averaged."""
    model = DistributedDataParallel(made, broadcast_buffers=False)
    out = model(X[mine])
    z = gather(out).rows
    (z @ z.T).exp().log1p().mean().backward()
    return found(made, out)


def found(made, out, x=None):
    seen = {"out": out.detach()} | {f"gradient of {name}": w.grad for name, w in made.named_parameters()}
    if x is not None:
        seen["gradient of x"] = x.grad
    return seen | {name: buffer.clone() for name, buffer in made.named_buffers()}


def run(rank, folder):
    """Be ``rank``; leaves what it found in the folder."""
    torch.set_num_threads(1)
    warnings.filterwarnings("error", message=r"torch\.distributed\.nn")  # which torch is about to remove
    dist.init_process_group(
        "gloo",
        init_method=f"file://{os.path.join(folder, 'store')}",
        rank=rank,
        world_size=len(SIZES),
        timeout=timedelta(minutes=2),
    )
    made = {}
    for name in ("sum", "compiled", "whole"):
        made[name] = network()
        synchronize(made[name])
    seen = {
        "sum": step(part(rank), made["sum"]),
        "compiled": step(part(rank), made["compiled"], torch.compile(made["compiled"], backend="eager")),
        "whole": whole_step(part(rank), made["whole"]),
    }
    torch.save(seen, os.path.join(folder, f"{rank}.pt"))
    dist.destroy_process_group()
