"""The engine on a CUDA device: fused kernels against tiles in float64, under autocast and the compiler, and maps.

The kernels' arithmetic is also tested without a device, in `tests/core/test_fused.py`; here it is the launch.
"""

import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from torch.autograd import grad

from torchicon import TSNE
from torchicon.core import Candidates, Kernel, fused, kernel_sum, kl, objective
from torchicon.core.fused import FusedNormalizer, runs_on
from torchicon.neighborhoods import KNN, Cosine, Dot, Exponential, Gaussian, Pairs, Perplexity, Positives, StudentT

CUDA = torch.device("cuda", 0)
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
fuses = pytest.mark.skipif(
    find_spec("triton") is None or not (torch.cuda.is_available() and runs_on(CUDA)),
    reason="needs Triton and a device with tf32 (compute capability 8.0)",
)

LOSSES = {
    "SimCLR": lambda x: (pairs(x), Cosine(0.1)(x)),
    "SupCon": lambda x: (Positives()(torch.arange(len(x), device=x.device) // 4), Cosine(0.1)(x)),
    "twelve positives": lambda x: (Positives()(torch.arange(len(x), device=x.device) // 12), Cosine(0.1)(x)),
    "CLIP": lambda x: (Pairs()(len(x) // 2, device=x.device), Cosine(0.1)(x[::2], x[1::2])),
    "SNE": lambda x: (pairs(x), Gaussian(2.0)(x)),
    "SNE with perplexity": lambda x: (pairs(x), Gaussian(Perplexity(5.0))(x)),
    "t-SNE": lambda x: (pairs(x), StudentT()(x)),
    "t-SNE in a plane": lambda x: (pairs(x), StudentT()(x[:, :2])),
    "Laplacian": lambda x: (pairs(x), Exponential(1.0)(x)),  # never fused
    "scaled rows": lambda x: (
        pairs(x),
        Kernel(Cosine(0.1), x, row_scale=torch.linspace(0.5, 1.5, len(x), device=x.device)),
    ),
    "self among the candidates": lambda x: (pairs(x), Dot()(x, candidates=Candidates.all(len(x)))),
}
# Of the points: a gradient in half precision is rounded to it, and so may its features be.
TOLERANCE = {torch.float32: 2e-5, torch.float16: 2**-9, torch.bfloat16: 2**-7}


def pairs(x):
    return Positives()(torch.arange(len(x), device=x.device) // 2)


def points(n, d, dtype=torch.float32):
    """Pairs of views of images, near enough to be found."""
    generator = torch.Generator().manual_seed(n + d)
    image = torch.randn(-(-n // 2), d, generator=generator)
    noise = torch.randn(n, d, generator=generator)
    return (image.repeat_interleave(2, 0)[:n] + 0.5 * noise).to(CUDA, dtype)


def check(x, loss, tolerance):
    """Value and gradient against float64 of the same points, which no kernel takes."""
    y = x.double().requires_grad_()
    x = x.requires_grad_()
    found, expected = loss(x), loss(y)
    assert abs(found.double() / expected - 1) < tolerance
    (of_x,), (of_y,) = grad(found, x), grad(expected, y)
    assert of_x.isfinite().all()
    assert (of_x.double() - of_y).norm() < tolerance * of_y.norm()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, dtype):
    check(points(1200, 48, dtype), lambda x: kl(*LOSSES[name](x)).mean(), TOLERANCE[dtype])


@fuses
@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 16, 17, 64, 100, 128, 129, 256, 1000, 1024])
@pytest.mark.parametrize("score", [Dot(4.0), Gaussian(2.0), StudentT()], ids=lambda score: type(score).__name__)
def test_every_way_to_cut_the_dimensions(score, d):
    x = 4 * points(500, d) / d**0.5
    check(x, lambda x: kl(pairs(x), score(x)).mean(), 5e-5)
    check(x.detach().bfloat16(), lambda x: kl(pairs(x), score(x)).mean(), 2**-7)


@fuses
@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 5000), (5000, 2), (127, 129), (64, 64), (1000, 3001)])
def test_uneven_sizes(n, m):
    """Few anchors share out many keys, and the reverse; both sides learn."""
    a, b = points(n, 32).requires_grad_(), points(m, 32).requires_grad_()
    weight = torch.linspace(-1, 2, n, device=CUDA)
    lse = Gaussian(4.0)(a, b).log_normalizer()
    c, d = a.detach().double().requires_grad_(), b.detach().double().requires_grad_()
    expected = (-torch.cdist(c, d).square() / 32).logsumexp(1)
    torch.testing.assert_close(lse.double(), expected, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(grad(lse @ weight, (a, b)), grad(expected @ weight.double(), (c, d)), strict=True):
        assert (mine - theirs).norm() < 1e-5 * theirs.norm() + 1e-7


@fuses
class TestTheFusedPath:
    def test_it_is_taken(self, monkeypatch):
        """By every form the kernels know, and by no other."""
        taken = []
        of = FusedNormalizer.of
        monkeypatch.setattr(FusedNormalizer, "of", lambda *args, half: taken.append(of(*args, half=half)) or taken[-1])
        for name in LOSSES:
            kl(*LOSSES[name](points(120, 8)))
            assert (taken[-1] is None) == (name in ("twelve positives", "Laplacian")), name

    def test_the_tiles_say_the_same(self, monkeypatch):
        x = points(3000, 64).requires_grad_()
        found = objective(pairs(x), Cosine(0.1)(x))
        monkeypatch.setattr(fused, "runs_on", lambda device: False)
        expected = objective(pairs(x), Cosine(0.1)(x))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
        a, b = grad(found, x)[0], grad(expected, x)[0]
        assert (a - b).norm() < 1e-5 * b.norm()

    def test_memory_and_offsets_at_many_rows(self):
        """131,072 rows: all scores would be 64 GiB, and a row number times a column passes 2^31."""
        z = points(131_072, 128).requires_grad_()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        idle = torch.cuda.memory_allocated()
        loss = objective(pairs(z), Cosine(0.1)(z))
        loss.backward()
        assert torch.cuda.max_memory_allocated() - idle < 2**30
        assert z.grad.isfinite().all()
        row = torch.arange(0, len(z), 9973, device=CUDA)
        unit = torch.nn.functional.normalize(z.detach().double(), dim=1)
        scores = unit[row] @ unit.T / 0.1
        scores[torch.arange(len(row), device=CUDA), row] = -torch.inf
        found = Cosine(0.1)(z.detach()).log_normalizer()[row]
        torch.testing.assert_close(found.double(), scores.logsumexp(1), rtol=1e-6, atol=1e-5)

    def test_features_past_two_billion_numbers(self):
        """2,100,000 keys of 1,024 dimensions: offsets need 64 bits. 8.6 GB of keys, their copies aside."""
        if torch.cuda.mem_get_info()[0] < 40 * 2**30:
            pytest.skip("needs 40 GiB of free device memory")
        keys = torch.zeros(2_100_000, 1024, device=CUDA)
        keys[-1, -1] = 20.0
        anchors = torch.zeros(3, 1024, device=CUDA)
        anchors[:, -1] = 1.0
        anchors.requires_grad_()
        found = Dot()(anchors, keys).log_normalizer()
        expected = torch.tensor([20.0, 0.0], dtype=torch.float64)
        expected[1] += torch.tensor(2_099_999.0, dtype=torch.float64).log()
        total = expected.logsumexp(0)
        torch.testing.assert_close(found.detach().cpu().double(), total.expand(3), rtol=1e-6, atol=1e-6)
        (of_anchors,) = grad(found.sum(), anchors)
        assert of_anchors[:, -1].tolist() == pytest.approx([20 * float((20 - total).exp())] * 3, rel=1e-5)

    @pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
    @pytest.mark.parametrize("score", [Dot(), Gaussian(), StudentT()], ids=lambda score: type(score).__name__)
    def test_nan_stays(self, score, dtype):
        """The NaN of one point reaches the rows of all."""
        x = points(200, 24, dtype)
        x[3] = torch.zeros((), device=CUDA) / 0
        x.requires_grad_()
        lse = score(x).log_normalizer()
        assert lse.isnan().all()
        assert grad(lse.sum(), x)[0].isnan().any(1).all()

    def test_runs_are_the_same(self):
        """No atomic sums: two runs agree in every bit."""
        x = points(2000, 64).requires_grad_()
        runs = [grad(objective(pairs(x), Cosine(0.1)(x)), x)[0] for _ in range(2)]
        assert torch.equal(*runs)

    def test_a_second_derivative_is_refused(self):
        x = points(20, 8).requires_grad_()
        with pytest.raises(NotImplementedError, match="no second derivative"):
            grad(objective(pairs(x), Cosine(0.1)(x)), x, create_graph=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast(dtype):
    """An encoder in half precision, its loss in the encoder's own type; the gradient is finite and near float32's."""
    net = torch.nn.Linear(48, 32, device=CUDA)
    x = points(600, 48)

    def gradient(enabled):
        with torch.autocast("cuda", dtype, enabled=enabled):
            loss = objective(pairs(x), Cosine(0.2)(net(x)))
        assert loss.dtype == torch.float32
        return grad(loss, net.weight)[0]

    half, full = gradient(True), gradient(False)
    assert (half - full).norm() < 0.05 * full.norm()


COMPILED = """
import torch
from torchicon import Cosine, Positives, objective

generator = torch.Generator("cuda").manual_seed(0)
net, x = torch.nn.Linear(48, 32, device="cuda"), torch.randn(256, 48, device="cuda", generator=generator)
groups = torch.arange(len(x), device="cuda") // 2

def loss(x):
    return objective(Positives()(groups), Cosine(0.2)(net(x)))

plain, compiled = loss(x), torch.compile(loss, fullgraph=True)(x)
torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)
a, b = (torch.autograd.grad(value, net.weight)[0] for value in (compiled, plain))
assert (a - b).norm() < 1e-3 * b.norm()
"""


def test_compiled():
    """Without a break in the caller's graph. In a process of its own: the compiler cannot see through our checks."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class TestMaps:
    @pytest.mark.parametrize("d", [1, 2, 3, 5])
    @pytest.mark.parametrize("n", [300, 20_000])
    def test_kernel_sum(self, n, d):
        """Exact and interpolated, as on a CPU in float64."""
        generator = torch.Generator().manual_seed(0)
        y, v = 5 * torch.randn(n, d, generator=generator), torch.rand(n, 2, generator=generator)

        def cauchy(sq_dist):
            return 1 / (1 + sq_dist)

        found = kernel_sum(y.to(CUDA), v.to(CUDA), cauchy).cpu()
        few = y[:100].double()
        expected = cauchy(torch.cdist(few, y.double()).square()) @ v.double()
        torch.testing.assert_close(found[:100].double(), expected, rtol=5e-3, atol=5e-3)

    def test_tsne(self):
        """Three clusters far apart stay apart, and the KL is that of a CPU within a few percent."""
        generator = torch.Generator().manual_seed(0)
        label = torch.arange(3).repeat_interleave(100)
        x = (torch.randn(300, 10, generator=generator) + 20 * torch.eye(10)[label]).numpy()
        on_cuda = TSNE(max_iter=500, device=CUDA, random_state=0, verbose=False).fit(x)
        on_cpu = TSNE(max_iter=500, random_state=0, verbose=False).fit(x)
        assert on_cuda.kl_divergence_ == pytest.approx(on_cpu.kl_divergence_, rel=0.05)
        neighbor = KNN(1)(torch.from_numpy(on_cuda.embedding_)).columns
        assert torch.equal(label[neighbor], label)
