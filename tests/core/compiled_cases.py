"""Losses inside a caller's module under torch.compile, one graph each; `test_compile.py` runs this file.

A compiled module is held against the same module run eagerly, in float64, in value and gradient, for batches of
more than one size.
"""

import math
import shutil

import pytest
import torch

from torchicon.core import (
    Candidates,
    Dense,
    Sparse,
    cross_entropy,
    entropy,
    joint_kl,
    kl,
    narrow,
    objective,
)
from torchicon.neighborhoods import (
    Classes,
    Clusters,
    Cosine,
    Dot,
    Exponential,
    Gaussian,
    Labels,
    Pairs,
    Perplexity,
    Positives,
    StudentT,
    SumOfKernels,
    debias,
    symmetrize,
    taught,
)

# What torch itself does while it compiles, and warns of: it instantiates an autograd function, looks for the gradient
# of a tensor that has none, and uses its older compiler.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Function.* should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]
torch.set_num_threads(1)
P = Positives()
BANK = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
GRAPH = Sparse.from_neighbors((torch.arange(40)[:, None] + torch.arange(1, 4)) % 40, candidates=Candidates.others(40))

# Of embeddings z (n, 3), a learned number t and groups g (n,).
LOSSES = {
    "cosine": lambda z, t, g: objective(P(g), Cosine(0.1)(z)),
    "kl": lambda z, t, g: kl(P(g), Cosine(0.1)(z)).mean(),
    "learned temperature": lambda z, t, g: objective(P(g), Cosine(t.exp())(z)),
    "dot": lambda z, t, g: (kl(P(g), Dot(t.exp())(z)) * g).sum(),
    "student": lambda z, t, g: objective(P(g), StudentT(2.0, scale=t.exp())(z)),
    "sum of kernels": lambda z, t, g: cross_entropy(P(g), SumOfKernels(Exponential(2.0), Exponential(1.0))(z)).mean(),
    "classes, other keys": lambda z, t, g: objective(Classes()(g, g[:-2]), Cosine()(z, z[:-2].detach())),
    "labels": lambda z, t, g: objective(Labels(5)(g % 5), Dot()(z, BANK)),
    "two modalities": lambda z, t, g: (
        objective(Pairs()(len(z)), Cosine(t.exp())(z, z.flip(1)))
        + objective(Pairs()(len(z)), Cosine(t.exp())(z.flip(1), z))
    ),
    "debiased kernel": lambda z, t, g: objective(debias(P(g), 0.2), debias(Cosine(0.1)(z), 0.1)),
    "clusters": lambda z, t, g: objective(Classes()(g), Clusters()(z.softmax(1))),
    "debiased clusters": lambda z, t, g: kl(
        debias(Classes()(g), 0.1), debias(Clusters("point")(z.softmax(1)), 0.1)
    ).sum(),
    "cluster and dense, reverse": lambda z, t, g: objective(
        Dense(torch.zeros(len(z), len(z)).double()), Clusters()(z.softmax(1)), direction="reverse"
    ),
    "dense p": lambda z, t, g: objective(Dense(torch.eye(len(z)) * 3, Candidates.others(len(z))), Cosine()(z)),
    "dense q": lambda z, t, g: objective(P(g), Dense(z @ z.T, Candidates.others(len(z)))),
    "perplexity": lambda z, t, g: objective(Gaussian(Perplexity(3.0))(z.detach()), StudentT()(z)),
    "reverse": lambda z, t, g: objective(debias(P(g), 0.2), Cosine()(z), direction="reverse"),
    "learned weights": lambda z, t, g: objective(P(g), Cosine()(z), weights=z.exp().sum(1)),
    "narrow": lambda z, t, g: objective(P(g), Cosine()(z), divergence=narrow),
    "own divergence": lambda z, t, g: objective(P(g), Cosine()(z), divergence=lambda p, q: 2 * kl(p, q)),
    "entropy bonus": lambda z, t, g: objective(P(g), Cosine()(z)) - 0.1 * entropy(Clusters()(z.softmax(1))).mean(),
    "joint": lambda z, t, g: joint_kl(symmetrize(P(g)), StudentT()(z)),
    "part of a graph": lambda z, t, g: objective(GRAPH.restrict(torch.arange(len(z))), Cosine()(z)),
    "edges": lambda z, t, g: objective(
        Sparse.from_edges(g.new_zeros(1), g.new_ones(1), n=len(z), candidates=Candidates.others(len(z))), Cosine()(z)
    ),
    "taught": lambda z, t, g: objective(P(g), taught(Cosine()(z), Cosine()(z.flip(1)))),
}


class Module(torch.nn.Module):
    """A caller's: an encoder, a learned number, and a loss."""

    def __init__(self, loss, dtype=torch.float64):
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.weight = torch.nn.Parameter(torch.randn(6, 3, generator=generator, dtype=dtype))
        self.log_temperature = torch.nn.Parameter(torch.tensor(-1.0, dtype=dtype))
        self.loss = loss

    def forward(self, x, groups):
        return self.loss(x @ self.weight, self.log_temperature, groups)

    def train_on(self, x, groups, run=None):
        """The loss, and its gradient with respect to every parameter that has one."""
        self.zero_grad()
        value = (self if run is None else run)(x, groups)
        value.backward()
        return [value.detach()] + [w.grad.clone() for w in self.parameters() if w.grad is not None]


@pytest.fixture(autouse=True)
def forgotten():
    """Every test compiles afresh."""
    torch.compiler.reset()


@pytest.fixture
def draw():
    """A batch of n points, two in a group."""
    generator = torch.Generator().manual_seed(3)
    return lambda n, dtype=torch.float64: (torch.randn(n, 6, generator=generator, dtype=dtype), torch.arange(n) // 2)


def _compile(function, backend="aot_eager", **options):
    return torch.compile(function, fullgraph=True, backend=backend, **options)


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_are_the_eager_ones(name, draw):
    """For any batch size, by one graph."""
    module = Module(LOSSES[name])
    compiled = _compile(module, dynamic=True)
    for n, stance in ((8, "default"), (12, "fail_on_recompile")):
        batch = draw(n)
        expected = module.train_on(*batch)
        with torch.compiler.set_stance(stance):
            found = module.train_on(*batch, compiled)
        for ours, eager in zip(found, expected, strict=False):  # a number that is not used has a gradient of zero
            assert ours.dtype == eager.dtype
            torch.testing.assert_close(ours, eager, rtol=1e-12, atol=1e-14)
        assert len(found) >= len(expected)


@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_every_backend(backend, draw):
    """The default one reuses the memory of what it thinks nobody needs."""
    if backend == "inductor" and not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("the default backend needs a C++ compiler")
    module = Module(lambda z, t, g: LOSSES["learned temperature"](z, t, g) + LOSSES["dot"](z, t, g), torch.float32)
    compiled, batch = _compile(module, backend), draw(8, torch.float32)
    expected = module.train_on(*batch)
    for _ in range(2):  # torch checks the operators of a first call
        torch.testing.assert_close(module.train_on(*batch, compiled), expected, rtol=1e-5, atol=1e-6)


def test_info_nce_is_torchs(draw):
    """An oracle that shares no code: the cross-entropy of masked scores."""
    module = Module(LOSSES["cosine"])
    x, groups = draw(8)
    z = torch.nn.functional.normalize(x @ module.weight)
    scores = (z @ z.T / 0.1).fill_diagonal_(-math.inf)
    expected = torch.nn.functional.cross_entropy(scores, torch.arange(8) ^ 1)
    torch.testing.assert_close(_compile(module)(x, groups), expected, rtol=1e-12, atol=0.0)


def test_training_goes_the_same_way(draw):
    """Six steps of Adam on batches of two sizes."""

    def train(wrap):
        module = Module(LOSSES["learned temperature"])
        step, optimizer = wrap(module), torch.optim.Adam(module.parameters(), 0.05)
        for batch in batches:
            optimizer.zero_grad()
            step(*batch).backward()
            optimizer.step()
        return torch.cat([w.detach().flatten() for w in module.parameters()])

    batches = [draw(n) for n in (8, 6) * 3]
    torch.testing.assert_close(train(_compile), train(lambda module: module), rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("name", ["cosine", "dot", "debiased clusters"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_autocast(name, backend, draw):
    """Inside a region of bfloat16, or compiled with its loss in one, the numbers are the eager ones."""

    def inside(z, t, g):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return LOSSES[name](z @ torch.eye(3), t, g)

    module, batch = Module(inside, torch.float32), draw(8, torch.float32)
    torch.testing.assert_close(module.train_on(*batch, _compile(module, backend)), module.train_on(*batch))


def test_without_gradients(draw):
    module, batch = Module(LOSSES["cosine"]), draw(8)
    compiled = _compile(module.eval())
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            value = compiled(*batch)
        assert not value.requires_grad
        torch.testing.assert_close(value, module(*batch).detach(), rtol=1e-12, atol=0.0)
