"""The streamed normalizer and the route on it where float32 is hard: solved batches, cold kernels, masked tiles."""

import math
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from torch.autograd import grad

from torchicon.core import Candidates, Sparse, block_budget, kl, reference_kl, streaming
from torchicon.core.streaming import Tiling, log_normalizer
from torchicon.neighborhoods import Cosine, Dot, Gaussian, Labels, Positives, StudentT

EXACT = {"rtol": 1e-11, "atol": 1e-12}


class TestSolvedBatches:
    """softplus(log rest - log inside) keeps its digits where log Z - s would be 0 or 6e-8."""

    @pytest.mark.parametrize("margin", [1.0, 16.0, 46.0, 80.0])
    def test_loss_keeps_its_relative_precision(self, margin):
        """-log softmax of logits (margin, 0, 0) is log1p(2 e^-margin): 2e-20 at 46 nats."""
        logits = torch.zeros(5, 3)
        logits[:, 0] = margin
        logits.requires_grad_()
        loss = kl(Labels(3)(torch.zeros(5, dtype=torch.long)), Dot()(logits, torch.eye(3)))
        expected = math.log1p(2 * math.exp(-margin))
        torch.testing.assert_close(loss.double() / expected, torch.ones(5, dtype=torch.float64), rtol=1e-5, atol=0)
        (gradient,) = grad(loss.sum(), logits)
        q = math.exp(-margin) / (1 + 2 * math.exp(-margin))
        wanted = torch.tensor([-2 * q, q, q], dtype=torch.float64).expand(5, 3)
        torch.testing.assert_close(gradient.double() / wanted, torch.ones_like(wanted), rtol=2e-5, atol=0)

    @pytest.mark.parametrize("temperature", [0.005, 0.02, 0.1, 1.0])
    def test_contrastive_temperatures(self, temperature, generator):
        """Float32 against float64 of the same points; views from nearly the same to unrelated."""
        images = torch.randn(20, 64, generator=generator)
        z = torch.cat([images, images + torch.logspace(-2, 1, 20)[:, None] * torch.randn(20, 64, generator=generator)])
        pairs = Positives()(torch.arange(20).repeat(2))
        x, y = z.clone().requires_grad_(), z.double().requires_grad_()
        found, expected = kl(pairs, Cosine(temperature)(x)), kl(pairs, Cosine(temperature)(y))
        shown = expected > 1e-37  # float32 has no smaller normal number
        relative = found.double()[shown] / expected[shown] - 1
        assert relative.abs().max() < 3e-5 / temperature  # a logit is off by 1e-7 / temperature
        a, b = grad(found.sum(), x)[0].double(), grad(expected.sum(), y)[0]
        assert (a - b).norm() < 3e-5 / temperature * b.norm() + 1e-36

    def test_several_positives(self, normal):
        """Within the positives p is compared termwise, outside them by softplus: both agree with the reference."""
        groups = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3])
        x = normal(8, 3).requires_grad_()
        p, weight = Positives()(groups), normal(8)
        fast = grad((kl(p, Cosine(0.05)(x)) * weight).sum(), x)[0]
        slow = grad((reference_kl(p, Cosine(0.05)(x)) * weight).sum(), x)[0]
        torch.testing.assert_close(fast, slow, **EXACT)

    def test_every_candidate_is_a_positive(self, normal):
        """Nothing is left outside: log 0 there, and still a gradient."""
        x = normal(5, 2).requires_grad_()
        p = Positives()(torch.zeros(5, dtype=torch.long))
        (gradient,) = grad(kl(p, StudentT()(x)).sum(), x)
        (expected,) = grad(reference_kl(p, StudentT()(x)).sum(), x)
        torch.testing.assert_close(gradient, expected, **EXACT)

    def test_an_empty_first_row_whose_padding_is_its_own_column(self, normal):
        """Row 0 is empty and padded with column 0, which self-exclusion masks: -inf must not become NaN."""
        x = normal(4, 2).requires_grad_()
        p = Positives()(torch.tensor([0, 1, 1, 1]))
        for row_scale in (None, torch.ones(4)):
            kernel = Gaussian()(x)
            q = type(kernel)(kernel.score, x, row_scale=row_scale)
            loss = kl(p, q)
            assert loss[0] == 0
            assert grad(loss.sum(), x)[0].isfinite().all()


@contextmanager
def kept_tiles(side):
    """All scores stay for backward, in tiles of this side."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "_CPU_TILE", side)
        patch.setattr(streaming, "_SMALLEST_TILE", 1)
        yield


class TestTiles:
    """Against a dense log-sum-exp, with cells left out; the scores kept, and computed again."""

    SCORE = Dot()

    def dense(self, a, b, edges, own, row_scale=None):
        scores = a @ b.T if row_scale is None else a @ b.T * row_scale[:, None]
        left_out = torch.zeros(scores.shape, dtype=torch.bool)
        left_out[edges] = True
        if own:
            left_out.fill_diagonal_(True)
        kept = (~left_out).any(1)
        scores = torch.where(left_out & kept[:, None], -math.inf, scores)
        return torch.where(kept, torch.where(kept[:, None], scores, 0.0).logsumexp(1), -math.inf)

    def check(self, a, edges, *, own=True, spread=1.0, row_scale=None, size=9 * 32):
        a = (a * spread).requires_grad_()
        cotangent = torch.linspace(-1.0, 1.0, len(a), dtype=a.dtype)
        expected = self.dense(a, a, edges, own, row_scale)
        kept = expected > -math.inf
        (oracle,) = grad((expected[kept] * cotangent[kept]).sum(), a)
        for way in (kept_tiles(max(1, math.isqrt(size // 32))), block_budget(size)):
            with way:
                tiling = Tiling((len(a), len(a)), a.dtype, a.device, symmetric=row_scale is None, own=own, edges=edges)
                found = log_normalizer(self.SCORE, a, a, tiling, row_scale)
                loss = (found[kept] * cotangent[kept]).sum()
                (gradient,), (again,) = grad(loss, a, retain_graph=True), grad(loss, a)
            torch.testing.assert_close(found, expected, **EXACT)
            torch.testing.assert_close(gradient, oracle, **EXACT)
            assert torch.equal(gradient, again)
        return tiling

    def edges(self, generator, *, symmetric, n=11, count=25):
        anchor, column = (torch.randint(n, (count,), generator=generator) for _ in range(2))
        return (torch.cat([anchor, column]), torch.cat([column, anchor])) if symmetric else (anchor, column)

    @pytest.mark.parametrize("own", [True, False])
    @pytest.mark.parametrize("symmetric", [True, False])
    def test_excluded_edges(self, symmetric, own, normal, generator):
        """Only cells left out on both sides of the diagonal let a tile serve its rows and its columns."""
        tiling = self.check(normal(11, 4), self.edges(generator, symmetric=symmetric), own=own)
        assert tiling.symmetric == symmetric
        assert len(tiling.tiles()) == (10 if symmetric else 16)

    @pytest.mark.parametrize("spread", [1e-3, 4.0, 12.0, 40.0])
    def test_wide_ranges(self, spread, normal, generator):
        """Scores that span thousands of nats: no one shift holds a tile in range."""
        self.check(normal(11, 4), self.edges(generator, symmetric=True), spread=spread)
        self.check(normal(11, 4), self.edges(generator, symmetric=False), spread=spread)

    def test_a_wide_tile_after_a_narrow_one(self, normal):
        x = normal(12, 2)
        x[9:] *= 300.0
        none = (torch.zeros(0, dtype=torch.long),) * 2
        self.check(x, none)
        self.check(x.flip(0), none)

    def test_rows_and_whole_tiles_without_any_cell(self, normal):
        """Rows 3 to 5 keep nothing, and so do three of the tiles."""
        rows = torch.arange(3, 6).repeat_interleave(11)
        self.check(normal(11, 4), (rows, torch.arange(11).repeat(3)))
        both = torch.cat([rows, torch.arange(11).repeat(3)]), torch.cat([torch.arange(11).repeat(3), rows])
        self.check(normal(11, 4), both)

    def test_scaled_rows(self, normal, generator):
        scale = torch.linspace(0.0, 5.0, 11, dtype=torch.float64)
        self.check(normal(11, 4), self.edges(generator, symmetric=False), row_scale=scale)

    @pytest.mark.parametrize("size", [1, 33, 500, 2**20])
    def test_any_tile(self, size, normal, generator):
        self.check(normal(11, 4), self.edges(generator, symmetric=True), size=size)

    @pytest.mark.parametrize("learned", [(True, False), (False, True), (True, True)])
    def test_other_keys_and_what_is_learned(self, learned, normal):
        """A memory bank learns nothing, nor does a frozen encoder's anchor."""
        a, b = (x.requires_grad_(wanted) for x, wanted in zip((normal(7, 4), normal(10, 4)), learned, strict=True))
        inputs = [x for x in (a, b) if x.requires_grad]
        expected = grad((a @ b.T).logsumexp(1).square().sum(), inputs)
        for way in (kept_tiles(3), block_budget(9 * 32)):
            with way:
                tiling = Tiling((7, 10), a.dtype, a.device, symmetric=False, own=False, edges=None)
                found = grad(log_normalizer(self.SCORE, a, b, tiling).square().sum(), inputs)
            torch.testing.assert_close(found, expected, **EXACT)

    def test_a_gradient_far_from_the_origin(self, generator):
        """Only differences matter, so float32 points 3,000 away lose nothing but their own digits."""
        x = torch.randn(40, 2, generator=generator) + 3e3
        y = x.double().requires_grad_()
        x.requires_grad_()
        found = grad(StudentT()(x).log_normalizer().sum(), x)[0]
        expected = grad(StudentT()(y).log_normalizer().sum(), y)[0]
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


class TestCaching:
    def test_a_normalizer_made_without_gradients_is_not_reused_with_them(self, normal):
        x = normal(6, 2).requires_grad_()
        p, q = Positives()(torch.arange(6) // 2), Gaussian()(x)
        with torch.no_grad():
            q.dense()
            reference_kl(p, q)
        (found,) = grad(reference_kl(p, q).sum(), x)
        (expected,) = grad(reference_kl(p, Gaussian()(x)).sum(), x)
        torch.testing.assert_close(found, expected, **EXACT)

    def test_inference_mode_leaves_nothing_behind(self, normal):
        x = normal(6, 2).requires_grad_()
        q = Gaussian()(x)
        with torch.inference_mode():
            q.dense()
        assert grad(q.dense().square().sum(), x)[0].isfinite().all()

    def test_points_that_need_no_gradient(self, normal):
        """A learned p against a constant q, whose normalizer then is a constant too."""
        weight, q = normal(12).requires_grad_(), Cosine()(normal(6, 3))
        columns = torch.tensor([[1, 2], [0, 2], [0, 1], [0, 1], [0, 1], [0, 1]])
        p = Sparse.from_neighbors(columns, weight.reshape(6, 2), candidates=Candidates.others(6))
        assert grad(kl(p, q).sum(), weight)[0].isfinite().all()


PEAK = """
import resource, sys, torch
from torchicon.core import kl
from torchicon.neighborhoods import Cosine, Positives
torch.set_num_threads(1)
def loss(n):
    z = torch.randn(n, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    kl(Positives()(torch.arange(n) // 2), Cosine(0.1)(z)).mean().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
idle = loss(2048)
print(loss(8192) - idle)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the resource module is POSIX")
def test_peak_memory_is_far_below_the_matrix():
    """InfoNCE at 8,192 rows, forward and backward; 8,192^2 float32 scores alone would take 256 MiB."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 * 2**20


def test_a_second_derivative_is_refused(normal):
    """The recomputed tiles would be taken for constants: a silent error."""
    z = normal(12, 3).requires_grad_()
    loss = kl(Positives()(torch.arange(12) // 2), Cosine(0.5)(z)).sum()
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.grad(loss, z, create_graph=True)
