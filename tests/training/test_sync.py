"""A normalization over the batch of all ranks is torch's over the whole batch in one process."""

import multiprocessing

import pytest
import torch
import torch.multiprocessing as mp
from tests.training import sync_ranks
from tests.training.sync_ranks import SIZES, X, network
from torch import nn

from torchicon.training.sync import SynchronizedBatchNorm, synchronize

EXACT = {"rtol": 1e-10, "atol": 1e-12}


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(kind, **given):
    """torch's, and ours of one that is equal."""
    norms = [kind(3, **given).double() for _ in range(2)]
    with torch.no_grad():
        for norm in norms:
            for seed, weight in enumerate(norm.parameters()):
                weight.copy_(draw(3, seed=seed))
    return norms[0], SynchronizedBatchNorm(norms[1])


CASES = [
    pytest.param(kind, shape, given, id=f"{kind.__name__}-{len(shape)}d-{'-'.join(map(str, given.values()))}")
    for kind, shape in [
        (nn.BatchNorm1d, (6, 3)),
        (nn.BatchNorm1d, (4, 3, 5)),
        (nn.BatchNorm2d, (4, 3, 2, 5)),
        (nn.BatchNorm3d, (2, 3, 2, 2, 3)),
    ]
    for given in (
        {},
        {"momentum": None},
        {"momentum": 0.3, "eps": 0.1},
        {"affine": False},
        {"track_running_stats": False},
    )
]


@pytest.mark.parametrize(("kind", "shape", "given"), CASES)
def test_in_one_process_it_is_torchs(kind, shape, given):
    """Outputs, gradients and statistics, in training and after it, far from the origin too."""
    expected, norm = pair(kind, **given)
    for seed in range(3):
        x = [(draw(*shape, seed=seed) + 100 * seed).requires_grad_() for _ in range(2)]
        outs = [layer(each) for layer, each in zip((expected, norm), x, strict=True)]
        torch.testing.assert_close(outs[1], outs[0], rtol=1e-9, atol=1e-9)
        for out in outs:
            (out.sin() * draw(*shape, seed=9)).sum().backward()
        torch.testing.assert_close(x[1].grad, x[0].grad, rtol=1e-8, atol=1e-9)
    gradients = [{name: weight.grad for name, weight in layer.named_parameters()} for layer in (expected, norm)]
    torch.testing.assert_close(gradients[1], gradients[0], **EXACT)
    torch.testing.assert_close(norm.state_dict(), expected.state_dict(), **EXACT)
    x = draw(*shape, seed=5)
    torch.testing.assert_close(norm.eval()(x), expected.eval()(x), **EXACT)
    torch.testing.assert_close(norm.state_dict(), expected.state_dict(), **EXACT)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_normalized_in_float32(dtype):
    expected, norm = nn.BatchNorm2d(3), SynchronizedBatchNorm(nn.BatchNorm2d(3))
    x = (draw(8, 3, 4, 4) * 300 + 2000).to(dtype)  # whose squares float16 does not have
    out = norm(x)
    assert out.dtype == dtype
    torch.testing.assert_close(out, expected(x.float()).to(dtype))
    torch.testing.assert_close(norm.state_dict(), expected.state_dict())
    assert norm.eval()(x).dtype == dtype


def test_synchronize_replaces_all_and_keeps_weights_names_and_mode():
    module = nn.ModuleDict({"a": network(), "b": nn.Sequential(nn.BatchNorm3d(2)).eval()})
    weights, names = list(module.parameters()), list(module.state_dict())
    synchronize(module)
    assert all(after is before for after, before in zip(module.parameters(), weights, strict=True))
    assert list(module.state_dict()) == names
    assert sum(isinstance(part, SynchronizedBatchNorm) for part in module.modules()) == 4
    assert not any(isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) for part in module.modules())
    assert module["a"][4].training
    assert not module["b"][0].training


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two ranks found."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.set_forkserver_preload([sync_ranks.__name__])  # imported once for both
    mp.start_processes(sync_ranks.run, args=(str(folder),), nprocs=len(SIZES), start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt") for rank in range(len(SIZES))]


def check(seen, expected, *, combined):
    """Rows of the ranks are those of the batch, gradients of weights combine, statistics are equal on every rank."""
    for name, value in expected.items():
        of_ranks = [rank[name] for rank in seen]
        if name in ("out", "gradient of x"):
            torch.testing.assert_close(torch.cat(of_ranks), value, **EXACT, msg=lambda m, name=name: f"{name}: {m}")
        elif name.startswith("gradient"):
            torch.testing.assert_close(combined(of_ranks), value, **EXACT, msg=lambda m, name=name: f"{name}: {m}")
        else:
            for each in of_ranks:
                torch.testing.assert_close(each, value, **EXACT, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("way", ["sum", "compiled"])
def test_two_ranks_are_one_process_with_the_whole_batch(found, way):
    """With 2 and 5 pictures: the sum of the ranks' losses is that of the batch, and so are the gradients' sums."""
    check([rank[way] for rank in found], sync_ranks.step(slice(None), network()), combined=sum)


def test_two_ranks_that_share_a_loss_train_as_one_process(found):
    made = network()
    out = made(X)
    (out @ out.T).exp().log1p().mean().backward()
    check([rank["whole"] for rank in found], sync_ranks.found(made, out), combined=lambda of_ranks: of_ranks[0])
    check([rank["whole"] for rank in found], sync_ranks.found(made, out), combined=lambda of_ranks: of_ranks[1])
