"""What every rank does in test_distributed.py: a training step of an encoder, on its own part of one batch.

Needs no pytest, since it is imported by the processes that are the ranks.
"""

import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from torchicon.core import Candidates, CandidatesError, objective
from torchicon.core.distributed import gather, mean_over_ranks
from torchicon.neighborhoods import Clusters, Cosine, Dot, Gaussian, Pairs, Positives, StudentT, debias

SIZES = {2: (4, 6), 3: (3, 1, 6)}  # points of each rank; the middle one of three has a point without positives
X = torch.randn(10, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
IMAGE = torch.arange(10) % 5  # both views of an image are never on one rank
LABEL = torch.tensor([0, 1, 0, 7, 1, 2, 2, 1, 9, 0])


class Encoder(nn.Module):
    """Representations of two modalities, with a learned temperature."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()
        self.log_temperature = nn.Parameter(torch.tensor(-0.5, dtype=torch.float64))
        generator = torch.Generator().manual_seed(11)
        with torch.no_grad():
            for parameter in self.net.parameters():
                parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))

    def forward(self, x):
        return *self.net(torch.cat([x, x.flip(1)])).chunk(2), self.log_temperature.exp()


def simclr(model, x, image, label):
    z, other, temperature = model(x)
    z = z + other
    everyone = gather(z)
    q = Cosine(temperature)(z, everyone.rows, candidates=everyone.others)
    p = Positives()(image, gather(image).rows, candidates=everyone.others)
    return objective(p, q, weights=mean_over_ranks(p))


def supcon(model, x, image, label):
    z, other, temperature = model(x)
    z = z - other
    everyone = gather(z)
    q = Cosine(temperature)(z, everyone.rows, candidates=everyone.others)
    p = Positives()(label, gather(label).rows, candidates=everyone.others)
    return objective(p, q, weights=mean_over_ranks(p))


def debiased(model, x, image, label):
    z, other, temperature = model(x)
    z = z - other
    everyone = gather(z)
    q = debias(Dot(temperature)(z, everyone.rows, candidates=everyone.others), 0.3)
    p = debias(Positives()(label, gather(label).rows, candidates=everyone.others), 0.2)
    return objective(p, q, weights=mean_over_ranks(p))


def sne(model, x, image, label):
    """Both neighborhoods are kernels, and that of the inputs has no gradient."""
    z, other, temperature = model(x)
    z = z - other
    everyone = gather(z)
    q = StudentT(scale=temperature)(z, everyone.rows, candidates=everyone.others)
    p = Gaussian(1.5)(x, gather(x).rows, candidates=everyone.others)
    return objective(p, q, weights=mean_over_ranks(p))


def clip(model, x, image, label):
    """Both directions: own text among all texts, own image among all images."""
    images, texts, temperature = model(x)
    loss = 0.0
    for anchors, everyone in ((images, gather(texts, name="texts")), (texts, gather(images, name="images"))):
        q = Cosine(temperature)(anchors, everyone.rows, candidates=everyone.all)
        p = Pairs()(len(anchors), candidates=everyone.all)
        loss = loss + objective(p, q, weights=mean_over_ranks(p)) / 2
    return loss


def clusters(model, x, image, label):
    """The learned neighborhood stands first, as in K-Means, and includes self."""
    z, other, temperature = model(x)
    phi = ((z - other) / temperature).softmax(1)
    everyone = gather(phi)
    q = Clusters()(phi, everyone.rows, candidates=everyone.all)
    p = Gaussian(1.5)(x, gather(x).rows, candidates=everyone.all)
    return objective(p, q, direction="reverse", weights=mean_over_ranks(q))


LOSSES = {"simclr": simclr, "supcon": supcon, "debiased": debiased, "sne": sne, "clip": clip, "clusters": clusters}


def step(loss, mine, wrap=lambda model: model):
    """Value, and gradient of each parameter, of the points ``mine``."""
    encoder = Encoder()
    model = wrap(encoder)  # a name, so that DDP lives until the backward pass
    value = LOSSES[loss](model, X[mine], IMAGE[mine], LABEL[mine])
    value.backward()
    return {"value": value.detach()} | {name: parameter.grad for name, parameter in encoder.named_parameters()}


def part(sizes, rank):
    """The points of a rank."""
    return slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))


def gradient_of_gathered(sizes, rank, group=None):
    """What each rank's loss, a weighting of all rows, says of this rank's rows; uneven, or half precision."""
    rows = X[part(sizes, rank)].clone().requires_grad_()
    everyone = gather(rows, group=group)
    ((rank + 1) * torch.arange(len(everyone.rows))[:, None] * everyone.rows).sum().backward()
    half = rows.detach().bfloat16().requires_grad_()
    gather(half, group=group).rows.float().sum().backward()
    return {
        "rows": everyone.rows.detach(),
        "first": torch.tensor(everyone.first),
        "gradient": rows.grad,
        "half": half.grad,
        "labels": gather(LABEL[part(sizes, rank)], group=group).rows,
    }


def refusals(rank):
    """The error of each wrong use, on this rank."""
    z = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    alone = Positives()(torch.arange(3), candidates=Candidates.others(3))

    def second_derivative():
        (gradient,) = torch.autograd.grad(gather(z).rows.square().sum(), z, create_graph=True)
        gradient.sum().backward()

    wrong = {
        "dimensions": lambda: gather(torch.ones(3, 2 + rank)),
        "dtype": lambda: gather(torch.ones(3, 2, dtype=torch.float32 if rank else torch.float64)),
        "vector": lambda: gather(torch.ones(3, 2) if rank else torch.ones(2)),
        "gradient": lambda: gather(z if rank else z.detach()),
        "no positives": lambda: mean_over_ranks(alone),
        "second derivative": second_derivative,
    }
    found = {}
    for name, use in wrong.items():
        try:
            use()
            found[name] = "nothing was refused"
        except (CandidatesError, ValueError, RuntimeError) as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def run(rank, folder):
    """Be ``rank``: first of two, if there is room, then of three. Leaves what it found in the folder."""
    torch.set_num_threads(1)
    for world, sizes in SIZES.items():
        if rank >= world:
            continue
        dist.init_process_group(
            "gloo",
            init_method=f"file://{os.path.join(folder, f'store-{world}')}",
            rank=rank,
            world_size=world,
            timeout=timedelta(minutes=5),
        )
        found = {"refusals": refusals(rank), "gathered": gradient_of_gathered(sizes, rank)}
        for loss in LOSSES:
            found[loss] = step(loss, part(sizes, rank))
            found[f"{loss} ddp"] = step(loss, part(sizes, rank), DistributedDataParallel)
        if world == 3:
            found["supcon none"] = step("supcon", part((4, 0, 6), rank), DistributedDataParallel)
            last_two = dist.new_group([1, 2])
            if rank:
                found["group"] = gradient_of_gathered(SIZES[2], rank - 1, last_two)
        torch.save(found, os.path.join(folder, f"{world}-{rank}.pt"))
        dist.destroy_process_group()
