"""A kernel's mean score and precision against dense formulas in float64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.core.kernel_cases import BUDGETS, EXACT, SCORES, SHAPES, Case, D, M, N
from torch.autograd import grad

from torchicon.core import Candidates, CandidatesError, block_budget
from torchicon.neighborhoods import Cosine


class TestMeanScore:
    @pytest.mark.parametrize("over_self", [True, False])
    @pytest.mark.parametrize("shape", ["self excluded", "self included"])
    @pytest.mark.parametrize("name", SCORES)
    def test_over_any_candidates(self, name, shape, over_self, normal):
        """The kernel's self and the other's are two matters: mean over cells that it lacks is -inf."""
        case = Case(name, shape, normal)
        over = Candidates.all(N) if over_self else Candidates.others(N)
        cells = torch.ones(N, N, dtype=torch.bool)
        if not over_self:
            cells.fill_diagonal_(False)
        if over_self and shape == "self excluded":
            expected = torch.full((N,), -math.inf, dtype=torch.float64)
        else:
            expected = torch.where(cells, case.scores, 0.0).sum(1) / cells.sum(1)
        for size in BUDGETS:
            with block_budget(size):
                found = case.make().mean_score(over)
                torch.testing.assert_close(found, expected, **EXACT)
                if expected.isfinite().all():
                    cotangent = normal(N)
                    oracle = grad(expected @ cotangent, case.learned, retain_graph=True)
                    torch.testing.assert_close(grad(found @ cotangent, case.learned), oracle, **EXACT)

    @pytest.mark.parametrize("name", SCORES)
    def test_of_other_columns(self, name, normal):
        case = Case(name, "rectangular", normal)
        found = case.make().mean_score(Candidates.all(M))
        torch.testing.assert_close(found, case.scores.mean(1), **EXACT)
        with pytest.raises(CandidatesError, match="Self can only be excluded"):
            case.make().mean_score(Candidates.others(M))

    @pytest.mark.parametrize("precision", [0.1, 7.0])
    @pytest.mark.parametrize("name", SCORES)
    def test_scales_with_the_precision(self, name, precision, normal):
        case = Case(name, "self excluded", normal)
        found = case.make().tempered(precision).mean_score(case.candidates)
        torch.testing.assert_close(found, precision * case.mean(case.scores), **EXACT)


class TestTempered:
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("name", SCORES)
    def test_is_the_softmax_of_scaled_scores(self, name, shape, normal):
        """With all gradients, also where the normalizer of the first was asked before."""
        case = Case(name, shape, normal)
        cotangent = normal(N, case.m)
        for precision in (1e-3, 0.5, 20.0):
            q = case.make()
            before = q.log_normalizer().detach().clone()
            tempered = q.tempered(precision)
            expected = (precision * case.scores).masked_fill(~case.cells, -math.inf).softmax(1)
            oracle = grad((expected * cotangent).sum(), case.learned, retain_graph=True)
            torch.testing.assert_close(tempered.dense(), expected, **EXACT)
            found = grad((tempered.dense() * cotangent).sum(), case.learned, retain_graph=True)
            torch.testing.assert_close(found, oracle, **EXACT)
            torch.testing.assert_close(q.log_normalizer(), before, rtol=0, atol=0)

    def test_precisions_multiply(self, normal):
        q = Cosine(0.3)(normal(N, D))
        torch.testing.assert_close(q.tempered(5.0).tempered(0.2).dense(), q.dense(), **EXACT)

    @given(st.one_of(st.floats(max_value=0.0), st.sampled_from([math.inf, math.nan])))
    def test_must_be_positive_and_finite(self, precision):
        with pytest.raises(ValueError, match="precision must be positive and finite"):
            Cosine()(torch.eye(3)).tempered(precision)
