"""The laws that every structure obeys. A subclass names a `Structure` and inherits them all."""

import math

import torch
from tests.conformance.structures import D, N, Structure
from torch.autograd import grad, gradcheck

from torchicon.core import Candidates, Dense, block_budget, entropy, kl

EXACT = {"rtol": 1e-11, "atol": 1e-12}
UNEVEN = 300  # bytes: tiles of 3 x 3 float64 scores, and blocks of one row


def everything(rows):
    """One number that depends on every cell of rows, through each way to ask for them."""
    columns = torch.arange(rows.m).flip(0).repeat(rows.n, 1)
    log_p = torch.cat([rows.log_at(None, slice(0, rows.n)), rows.log_at(columns, slice(0, rows.n))], 1)
    listed = rows.support(slice(0, rows.n)).log_p
    found = [torch.where(v > -math.inf, v, 0.0) for v in (log_p, listed)]
    weights = [torch.linspace(0.5, 2.0, v.numel(), dtype=v.dtype).reshape(v.shape) for v in found]
    return sum((w * v).sum() for w, v in zip(weights, found, strict=True)) + entropy(rows).square().sum()


class StructureLaws:
    structure: Structure

    def points(self, normal):
        return normal(N, D)

    def test_rows_sum_to_one(self, normal):
        x = self.points(normal)
        total = self.structure.rows(x).dense().sum(1)
        empty = self.structure.dense(x).sum(1) == 0
        torch.testing.assert_close(total, (~empty).double(), **EXACT)

    def test_every_cell_agrees_with_the_oracle(self, normal):
        x = self.points(normal)
        torch.testing.assert_close(self.structure.rows(x).dense(), self.structure.dense(x), **EXACT)

    def test_gathered_cells_agree_with_the_oracle(self, normal, generator):
        """Any columns, repeated ones too, of any rows; few enough of them that a kernel gathers their keys."""
        x = self.points(normal)
        rows, dense = self.structure.rows(x), self.structure.dense(x)
        for start, stop, s in ((0, N, 2 * self.structure.m), (2, 5, 1), (N - 1, N, 3)):
            columns = torch.randint(self.structure.m, (stop - start, s), generator=generator)
            found = rows.log_at(columns, slice(start, stop)).exp()
            torch.testing.assert_close(found, dense[start:stop].gather(1, columns), **EXACT)

    def test_support_lists_all_mass_once(self, normal):
        x = self.points(normal)
        rows, dense = self.structure.rows(x), self.structure.dense(x)
        for part in (slice(0, N), slice(3, 5)):
            columns, log_p = rows.support(part)
            assert log_p.shape[1] <= max(1, rows.width())
            if columns is None:
                columns = torch.arange(self.structure.m).expand_as(log_p)
            listed = torch.zeros_like(dense[part]).scatter_add(1, columns, log_p.exp())
            torch.testing.assert_close(listed, dense[part], **EXACT)

    def test_empty_rows_are_known(self, normal):
        x = self.points(normal)
        rows, expected = self.structure.rows(x), self.structure.dense(x).sum(1) == 0
        assert torch.equal(rows.empty(slice(0, N)), expected)
        assert torch.equal(rows.empty_anchors(), expected)
        shares = rows.log_mass().exp()
        torch.testing.assert_close(shares.sum(), torch.ones((), dtype=torch.float64), **EXACT)
        assert torch.equal(shares == 0, expected)

    def test_gradient_agrees_with_the_oracle(self, normal):
        x, weight = self.points(normal).requires_grad_(), normal(N, self.structure.m)
        (found,) = grad((self.structure.rows(x).dense() * weight).sum(), x)
        (expected,) = grad((self.structure.dense(x) * weight).sum(), x)
        torch.testing.assert_close(found, expected, **EXACT)

    def test_gradcheck(self, normal):
        """Finite differences, through gathered cells, support, entropy and cells without mass."""
        x = self.points(normal).requires_grad_()
        assert gradcheck(lambda x: everything(self.structure.rows(x)), x, fast_mode=True)

    def test_masked_cells_have_finite_gradients(self, normal):
        """The product p log p, whose factors at a cell without mass are 0 and -inf, and sums over log p itself."""
        x = self.points(normal).requires_grad_()
        for value in (entropy(self.structure.rows(x)).sum(), everything(self.structure.rows(x))):
            (gradient,) = grad(value, x)
            assert gradient.isfinite().all()

    def test_relabeling_the_columns_changes_nothing(self, normal, generator):
        """Row i still gives the same thing the same probability, and every entropy and divergence stays."""
        x = self.points(normal)
        order = torch.randperm(self.structure.m, generator=generator)
        anchors = order if self.structure.square else torch.arange(N)
        rows, relabeled = self.structure.rows(x), self.structure.rows(x, order)
        torch.testing.assert_close(relabeled.dense(), rows.dense()[anchors][:, order], **EXACT)
        torch.testing.assert_close(entropy(relabeled), entropy(rows)[anchors], **EXACT)
        q = normal(N, self.structure.m)
        value = kl(relabeled, Dense(q[anchors][:, order]))
        torch.testing.assert_close(value, kl(rows, Dense(q))[anchors], **EXACT)

    def test_the_tile_size_does_not_matter(self, normal):
        """Values and gradients, where neither 7 anchors nor 5 columns are a multiple of the tile."""
        q = Dense(normal(N, self.structure.m))
        over = Candidates.others(N) if self.structure.square else Candidates.all(self.structure.m)
        x = self.points(normal).requires_grad_()

        def ask():
            rows = self.structure.rows(x)
            mean_log = self.structure.rows(x).mean_log(over)  # of its own rows: nothing prepared beforehand
            mean_log = torch.where(mean_log > -math.inf, mean_log, 0.0)
            return torch.stack([kl(rows, q), entropy(rows), mean_log, rows.empty_anchors().double()])

        whole = ask()
        cotangent = normal(*whole.shape)
        (gradient,) = grad((whole * cotangent).sum(), x)
        with block_budget(UNEVEN):
            tiled = ask()
            (tiled_gradient,) = grad((tiled * cotangent).sum(), x)
        torch.testing.assert_close(tiled, whole, **EXACT)
        torch.testing.assert_close(tiled_gradient, gradient, **EXACT)

    def test_mean_log_is_the_mean_over_candidates(self, normal):
        x = self.points(normal)
        rows, dense = self.structure.rows(x), self.structure.dense(x)
        available = torch.ones_like(dense)
        if self.structure.square:
            available.fill_diagonal_(0.0)
        over = Candidates.others(N) if self.structure.square else rows.candidates
        log_p = torch.where(available > 0, dense.log(), 0.0)
        torch.testing.assert_close(rows.mean_log(over), log_p.sum(1) / available.sum(1), **EXACT)

    def test_float32(self, normal):
        x = self.points(normal)
        rows = self.structure.rows(x.float())
        assert rows.dtype == torch.float32
        torch.testing.assert_close(rows.dense().double(), self.structure.dense(x), rtol=0.0, atol=2e-6)

    def test_half_precision(self, normal):
        """Half precision points are taken as they are and computed with in float32."""
        for half in (torch.bfloat16, torch.float16):
            x = self.points(normal).to(half).requires_grad_()
            rows = self.structure.rows(x)
            assert rows.dtype == torch.float32
            error = (rows.dense() - self.structure.dense(x.double())).abs().max()
            assert error <= self.structure.half_error
            (gradient,) = grad(everything(rows), x)
            assert gradient.dtype == half
            assert gradient.isfinite().all()

    def test_autocast_does_not_reach_the_sums(self, normal):
        """Under autocast nothing that is summed over candidates loses digits, forward or backward."""
        over = Candidates.others(N) if self.structure.square else Candidates.all(self.structure.m)
        points = self.points(normal)

        def ask(x):
            rows = self.structure.rows(x)
            mean_log = rows.mean_log(over)
            return everything(rows) + torch.where(mean_log > -math.inf, mean_log, 0.0).sum()

        x = points.float().requires_grad_()
        expected = ask(x)
        (gradient,) = grad(expected, x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = ask(x)
        (found_gradient,) = grad(found, x)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found_gradient, gradient, rtol=1e-4, atol=1e-4)
