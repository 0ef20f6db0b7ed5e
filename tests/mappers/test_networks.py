"""Networks have the shapes and weights that their papers say."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from torchicon.mappers import ClusterHeads, ResNet, projection_head, resnet10, resnet18, resnet34, resnet50


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def count(network):
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(("make", "expected"), [(resnet18, 11176512), (resnet34, 21284672), (resnet50, 23508032)])
def test_residual_networks_are_as_large_as_the_published_ones(make, expected):
    with torch.device("meta"):
        assert count(make(stem="large")) == expected
        assert count(make(stem="small")) == expected - 64 * 3 * (7**2 - 3**2)
        assert count(make(stem="large", channels=1)) == expected - 64 * 2 * 7**2


@pytest.mark.parametrize("make", [resnet10, resnet18, resnet34, resnet50])
@pytest.mark.parametrize(("stem", "side", "last"), [("small", 32, 4), ("large", 64, 2)])
def test_shapes(make, stem, side, last):
    network = make(width=4, channels=2, stem=stem)
    expected = 32 * (4 if make is resnet50 else 1)
    assert network.n_features == expected
    assert network(draw(3, 2, side, side)).shape == (3, expected)
    assert network.stages(network.stem(draw(3, 2, side, side))).shape == (3, expected, last, last)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_a_block_starts_as_its_shortcut(bottleneck):
    network = ResNet([2, 2], bottleneck=bottleneck, width=4).double()
    x = network.stem(draw(2, 3, 8, 8, dtype=torch.float64))
    kinds = set()
    for block in network.stages:
        expected = F.relu(block.shortcut(x))
        torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)
        kinds.add(type(block.shortcut))
        x = expected
    assert kinds == {nn.Identity, nn.Sequential}


def test_the_gradient_reaches_every_convolution_after_one_step():
    network = ResNet([1, 1], width=4)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        network(draw(4, 3, 8, 8)).square().sum().backward()
        optimizer.step()
    assert all(weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_features_do_not_depend_on_the_memory_format_or_the_others_in_the_batch():
    network, x = resnet10(width=4).eval(), draw(4, 3, 16, 16)
    expected = network(x)
    torch.testing.assert_close(network(x.contiguous(memory_format=torch.channels_last)), expected)
    torch.testing.assert_close(network(x[1:2]), expected[1:2])


@pytest.mark.parametrize(
    "make",
    [
        lambda: resnet10(width=4),
        lambda: projection_head(6, 3, layers=3, last_norm=True),
        lambda: ClusterHeads(6, 3, heads=2, hidden=4),
    ],
)
def test_a_start_depends_on_the_seed_of_torch(make):
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(torch.cat([weight.detach().flatten() for weight in make().parameters()]))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@given(
    blocks=st.lists(st.integers(-1, 2), max_size=4),
    width=st.integers(-1, 2),
    channels=st.integers(-1, 2),
    stem=st.sampled_from(["small", "large", "medium", ""]),
)
def test_residual_networks_are_made_or_refused(blocks, width, channels, stem):
    if stem in ("small", "large") and blocks and min(*blocks, width, channels) >= 1:
        assert ResNet(blocks, width=width, channels=channels, stem=stem).n_features == width * 2 ** (len(blocks) - 1)
    else:
        with pytest.raises(ValueError, match=r"stem must be 'small' or 'large'|Every stage must have a block"):
            ResNet(blocks, width=width, channels=channels, stem=stem)


@given(layers=st.integers(-1, 4), hidden=st.none() | st.integers(-1, 5), last_norm=st.booleans())
def test_projection_heads(layers, hidden, last_norm):
    if layers < 1 or (hidden is not None and hidden < 1):
        with pytest.raises(ValueError, match="A projection head has at least one"):
            projection_head(6, 3, hidden=hidden, layers=layers, last_norm=last_norm)
        return
    head = projection_head(6, 3, hidden=hidden, layers=layers, last_norm=last_norm)
    sizes = [6, *[hidden or 6] * (layers - 1), 3]
    linear = [layer for layer in head if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in linear] == sizes[:-1]
    assert [layer.out_features for layer in linear] == sizes[1:]
    # A bias before a normalization would be subtracted again.
    assert [layer.bias is not None for layer in linear] == [False] * (layers - 1) + [not last_norm]
    assert sum(isinstance(layer, nn.ReLU) for layer in head) == layers - 1
    z = head(torch.linspace(-1, 1, 48).reshape(8, 6).cos())
    assert z.shape == (8, 3)
    if last_norm:
        torch.testing.assert_close(z.mean(0), torch.zeros(3), rtol=0, atol=1e-5)


@given(heads=st.integers(-1, 3), n_clusters=st.integers(0, 4), hidden=st.none() | st.integers(-1, 4))
def test_cluster_heads(heads, n_clusters, hidden):
    if heads < 1 or n_clusters < 2 or (hidden is not None and hidden < 1):
        with pytest.raises(ValueError, match=f"got heads={heads}, n_clusters={n_clusters}, hidden={hidden}"):
            ClusterHeads(5, n_clusters, heads=heads, hidden=hidden)
        return
    made = ClusterHeads(5, n_clusters, heads=heads, hidden=hidden)
    x = draw(7, 5)
    logits = made(x)
    assert logits.shape == (heads, 7, n_clusters)
    torch.testing.assert_close(logits[0], made.heads[0](x))
    assert heads == 1 or not torch.equal(logits[0], logits[1])  # they start apart
