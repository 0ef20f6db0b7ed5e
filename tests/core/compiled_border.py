"""What crosses the border of a compiled region: rows, structures of others, numbers that change, and errors.

`test_compile.py` runs this file.
"""

import math

import pytest
import torch

from torchicon.core import Candidates, CandidatesError, Dense, Rows, SupportError, kl, objective
from torchicon.neighborhoods import Cosine, Dot, Gaussian, Pairs, Perplexity, Positives, debias

# What torch itself does while it compiles, and warns of: it instantiates an autograd function, and looks for the
# gradient of a tensor that has none.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Function.* should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]
torch.set_num_threads(1)
P = Positives()
G = torch.arange(8) // 2
EQUAL = {"rtol": 1e-12, "atol": 1e-14}


@pytest.fixture(autouse=True)
def forgotten():
    """Every test compiles afresh."""
    torch.compiler.reset()


@pytest.fixture
def z():
    """Eight learned points."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(8, 3, generator=generator, dtype=torch.float64).requires_grad_()


def _compile(function, backend="aot_eager"):
    return torch.compile(function, fullgraph=True, backend=backend)


def _gradient(loss, z):
    (gradient,) = torch.autograd.grad(loss, z)
    return gradient


@pytest.mark.parametrize("make", [
    lambda: P(G),
    lambda: Gaussian(Perplexity(3.0))(torch.eye(8)),
    lambda: debias(Dense(torch.eye(8), Candidates.others(8)), 0.1),
], ids=["sparse", "kernel", "mixture"])  # fmt: skip
def test_p_made_outside(make, z):
    """Kept by the caller, or an argument."""
    p = make()
    expected = _gradient(objective(p, Cosine()(z)), z)
    kept, given = _compile(lambda z: objective(p, Cosine()(z))), _compile(lambda z, p: objective(p, Cosine()(z)))
    torch.testing.assert_close(_gradient(kept(z), z), expected, **EQUAL)
    torch.testing.assert_close(_gradient(given(z, p), z), expected, **EQUAL)


def test_q_made_outside(z):
    """Gradients leave the compiled region by the rows."""

    def loss(q):
        return objective(P(G), q)

    expected = _gradient(loss(Cosine(0.2)(z.sin())), z)
    torch.testing.assert_close(_gradient(_compile(loss)(Cosine(0.2)(z.sin())), z), expected, **EQUAL)


def test_another_structure_compiles_again(z):
    """A graph is not used for rows that it was not made for."""
    loss = _compile(lambda p, z: objective(p, Cosine()(z)))
    for p in (P(G), debias(P(G), 0.1), Gaussian()(z.detach()), Dense(torch.eye(8), Candidates.others(8)), P(G // 2)):
        torch.testing.assert_close(_gradient(loss(p, z), z), _gradient(objective(p, Cosine()(z)), z), **EQUAL)


class Own(Rows):
    """A third party's rows."""

    def __init__(self, base):
        self.base, self.candidates = base, base.candidates

    n = property(lambda self: self.base.n)
    dtype = property(lambda self: self.base.dtype)

    def support(self, rows):
        return self.base.support(rows)

    def log_at(self, columns, rows):
        return self.base.log_at(columns, rows)

    def work_per_cell(self, *, gathered):
        return 4


class Counted(Dot):
    """A third party's score, which counts its tiles."""

    tiles = 0

    def pairwise(self, a, b):
        Counted.tiles += 1
        return super().pairwise(a, b)


def test_structures_of_others(z):
    def loss(z):
        return objective(P(G), Own(Counted(z.square().mean())(z)))

    torch.testing.assert_close(_gradient(_compile(loss)(z), z), _gradient(loss(z), z), **EQUAL)


@pytest.mark.parametrize(("loss", "passes"), [
    (lambda z: objective(P(G), Counted()(z)), 1),
    (lambda z: kl(P(G), Counted()(z)).mean(), 2),
], ids=["objective", "kl"])  # fmt: skip
def test_the_objective_takes_one_pass(loss, passes, z):
    """Its gradient is found with its value: as many tiles as eagerly. That of `kl` needs the forward pass again."""
    tiles, compiled = [], _compile(loss)
    for step in (lambda: loss(z.detach()), lambda: _gradient(loss(z), z), lambda: _gradient(compiled(z), z)):
        Counted.tiles = 0
        step()
        tiles.append(Counted.tiles)
    forward, eager, both = tiles
    assert both == eager + (passes - 1) * forward
    assert forward > 0


def test_a_loss_is_one_operator(z):
    operators = []

    def backend(graph, inputs):
        operators.extend(str(node.target) for node in graph.graph.nodes if "torchicon" in str(node.target))
        return graph

    def loss(z):
        return objective(P(G), debias(Cosine()(z), 0.1))

    assert _compile(loss, backend)(z.detach()) == loss(z)
    assert operators == ["torchicon.evaluate"]


def test_an_annealed_share_compiles_once(z):
    """A number is an input of the operator, no constant of the graph."""

    class Annealed(torch.nn.Module):
        alpha = 0.5

        def forward(self, z):
            return objective(P(G), debias(Cosine()(z), self.alpha))

    module = Annealed()
    compiled = _compile(module)
    for step in range(12):  # torch gives up after eight
        module.alpha = 0.5 / (step + 1)
        torch.testing.assert_close(compiled(z.detach()), module(z.detach()), **EQUAL)


@pytest.mark.parametrize(("loss", "error", "message"), [
    (lambda z: kl(P(G), Dense((z @ z.T).masked_fill(G > 2, -math.inf))).sum(), SupportError, "infinite"),
    (lambda z: objective(P(G), Cosine()(z), direction="reverse"), SupportError, "direction is reverse"),
    (lambda z: objective(P(torch.arange(8)), Cosine()(z)), ValueError, "No anchor has a neighbor"),
    (lambda z: objective(P(G), Cosine()(z), weights=z.new_ones(3)), ValueError, "weights must have shape"),
    (lambda z: objective(P(G), Cosine()(z), direction="up"), ValueError, "direction must be"),
    (lambda z: kl(P(G[:6]), Cosine()(z)).sum(), CandidatesError, "p has 6 anchors"),
    (lambda z: kl(P(G, candidates=Candidates.others(8, "texts")), Cosine()(z)).sum(), CandidatesError, "8 texts"),
    (lambda z: kl(Pairs()(8, candidates=Candidates.all(7)), Cosine()(z, z[1:])).sum(), ValueError, "0 to 7"),
], ids=["support", "reverse", "lonely", "weights", "direction", "anchors", "columns", "range"])  # fmt: skip
def test_errors_are_the_eager_ones(loss, error, message, z):
    """They are raised when the graph runs, with the same words."""
    with pytest.raises(error, match=message) as eager:
        loss(z)
    with pytest.raises(error) as compiled:
        _compile(loss)(z)
    assert str(compiled.value) == str(eager.value)


def test_cells_that_are_not_known_yet_say_so(z):
    with pytest.raises(Exception, match="not known before a divergence runs"):
        _compile(lambda z: z @ P(G).dense())(z)
