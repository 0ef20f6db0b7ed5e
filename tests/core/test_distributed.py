"""Ranks that hold parts of a batch have the loss and the gradients of one process that holds all of it."""

import pytest
import torch
import torch.multiprocessing as mp
from tests.core import ranks
from tests.core.ranks import IMAGE, LABEL, LOSSES, SIZES, X
from torch.nn import functional as F

from torchicon.core import Candidates, Sparse
from torchicon.core.distributed import gather, mean_over_ranks

EXACT = {"rtol": 1e-10, "atol": 1e-12}
EYE = torch.eye(10, dtype=torch.bool)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each rank of each world found, ``found[world][rank]``; three processes are both worlds in turn."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(ranks.run, args=(str(folder),), nprocs=3)
    return {world: [torch.load(folder / f"{world}-{rank}.pt") for rank in range(world)] for world in SIZES}


def uniform_over(same):
    weight = (same & ~EYE).double()
    return weight / weight.sum(1, keepdim=True).clamp_min(1)


def softmax_of(logits, *, without_self=True):
    return logits.masked_fill(EYE & without_self, -torch.inf).softmax(1)


def smoothed(p, alpha):
    """A share for each of the 9 others, but none for rows without mass."""
    return torch.where(p.sum(1, keepdim=True) > 0, (1 - alpha) * p + alpha * (~EYE).double() / 9, 0.0)


def sq_dist(a):
    return (a[:, None] - a).square().sum(-1)


def dense(loss, z, other, t):
    """(p, q) of each term on the whole batch, 10 x 10."""
    cosine = F.normalize(z, dim=1) @ F.normalize(other, dim=1).T / t
    unit = {sign: F.normalize(z + sign * other, dim=1) for sign in (1, -1)}
    positive = uniform_over(LABEL[:, None] == LABEL)
    near = softmax_of(-sq_dist(X) / (2 * 1.5**2), without_self=loss == "sne")
    if loss == "simclr":
        return [(uniform_over(IMAGE[:, None] == IMAGE), softmax_of(unit[1] @ unit[1].T / t))]
    if loss == "supcon":
        return [(positive, softmax_of(unit[-1] @ unit[-1].T / t))]
    if loss == "debiased":
        q = softmax_of((z - other) @ (z - other).T / t)
        return [(smoothed(positive, 0.2), smoothed(q, 0.3))]
    if loss == "sne":
        return [(near, softmax_of(-(1 + sq_dist(z - other) / t**2).log()))]
    if loss == "clip":
        return [(EYE.double(), softmax_of(scores, without_self=False)) for scores in (cosine, cosine.T)]
    phi = ((z - other) / t).softmax(1)
    return [(phi @ (phi / phi.sum(0)).T, near)]


def expected(loss):
    """The mean over the anchors with a neighbor, and its gradient, by dense formulas in one process."""
    encoder = ranks.Encoder()
    terms = dense(loss, *encoder(X))
    value = 0.0
    for p, q in terms:
        mass = p > 0
        each = torch.where(mass, p * (torch.where(mass, p, 1.0).log() - torch.where(mass, q, 1.0).log()), 0.0).sum(1)
        value = value + each.sum() / mass.any(1).sum() / len(terms)
    value.backward()
    return {"value": value.detach()} | {name: parameter.grad for name, parameter in encoder.named_parameters()}


def mean_of(steps):
    return {name: torch.stack([step[name] for step in steps]).mean(0) for name in steps[0]}


@pytest.mark.parametrize("loss", LOSSES)
def test_one_process(loss):
    """Without a process group the same lines compute the whole batch."""
    torch.testing.assert_close(ranks.step(loss, slice(None)), expected(loss), **EXACT)


@pytest.mark.parametrize("world", SIZES)
@pytest.mark.parametrize("loss", LOSSES)
def test_ranks_average_to_one_process(found, loss, world):
    """Loss and gradients; unequal parts, positives on other ranks, and a rank none of whose anchors has one."""
    torch.testing.assert_close(mean_of([rank[loss] for rank in found[world]]), expected(loss), **EXACT)


@pytest.mark.parametrize("world", SIZES)
@pytest.mark.parametrize("loss", LOSSES)
def test_ddp_has_the_gradient_of_one_process(found, loss, world):
    """On every rank; the losses average to that of one process, as before."""
    of_ranks = [rank[f"{loss} ddp"] for rank in found[world]]
    torch.testing.assert_close(mean_of(of_ranks)["value"], expected(loss)["value"], **EXACT)
    for rank in of_ranks:
        torch.testing.assert_close(rank | {"value": expected(loss)["value"]}, expected(loss), **EXACT)


def test_a_rank_without_points(found):
    of_ranks = [rank["supcon none"] for rank in found[3]]
    assert of_ranks[1]["value"] == 0
    torch.testing.assert_close(mean_of(of_ranks), expected("supcon"), **EXACT)


@pytest.mark.parametrize(("world", "key"), [(2, "gathered"), (3, "gathered"), (3, "group")])
def test_gathered_rows_and_their_gradient(found, world, key):
    """All rows in order of rank; a row's gradient is the sum of what all ranks' losses say of it."""
    of_ranks = [rank[key] for rank in found[world] if key in rank]
    sizes = SIZES[len(of_ranks)]
    total = sum(rank + 1 for rank in range(len(of_ranks))) * torch.arange(10.0, dtype=torch.float64)[:, None]
    for rank, seen in enumerate(of_ranks):
        mine = ranks.part(sizes, rank)
        assert torch.equal(seen["rows"], X)
        assert torch.equal(seen["labels"], LABEL)
        assert seen["first"] == mine.start
        torch.testing.assert_close(seen["gradient"], total[mine].expand_as(X[mine]), **EXACT)
        assert seen["half"].dtype == torch.bfloat16
        assert (seen["half"] == len(of_ranks)).all()


@pytest.mark.parametrize("world", SIZES)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dimensions", "CandidatesError: .*float32 (3, 2) without gradient; rank 1: torch.float32 (3, 3) without"),
        ("dtype", "CandidatesError: .*rank 0: torch.float64 (3, 2) without gradient; rank 1: torch.float32 (3, 2)"),
        ("vector", "CandidatesError: .*rank 0: torch.float32 (2,) without gradient; rank 1: torch.float32 (3, 2)"),
        ("gradient", "CandidatesError: .*(3, 2) without gradient; rank 1: torch.float64 (3, 2) with gradient"),
        ("no positives", "ValueError: No anchor of any rank has a neighbor"),
        ("second derivative", "RuntimeError: .*differentiate twice"),
    ],
)
def test_all_ranks_are_told(found, world, name, message):
    """A rank alone in its error would leave the others waiting."""
    start, _, words = message.partition(".*")
    for rank in found[world]:
        assert rank["refusals"][name].startswith(start)
        assert words in rank["refusals"][name]


def test_what_can_be_gathered():
    for wrong in (torch.ones(2, 3, 4), torch.ones(()), torch.ones(2, 3, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"Points \(n, d\) or labels \(n,\) can be gathered"):
            gather(wrong)


def test_the_mean_of_one_process():
    """Anchors without a neighbor do not count."""
    p = Sparse(torch.tensor([0, 1, 1, 2]), torch.tensor([1, 0]), candidates=Candidates.others(3))
    assert mean_over_ranks(p).tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match="every row of p is empty"):
        mean_over_ranks(Sparse(torch.zeros(4), torch.zeros(0), candidates=Candidates.others(3)))
