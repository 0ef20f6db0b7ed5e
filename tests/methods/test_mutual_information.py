"""The mutual-information family: planted errors, and how its losses and bounds lie to each other (theory 2.5)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.methods.mutation import survives
from torch.nn import functional as F

from torchicon.candidates import MemoryBank, annulus, ball, draw, intersection
from torchicon.core import Candidates, Sparse, kl
from torchicon.methods import find, problems
from torchicon.methods.method import Term
from torchicon.methods.multiview import own_row
from torchicon.methods.mutual_information import OMEGA, SIZE, balls, in_annulus, in_ball, softmax
from torchicon.neighborhoods import Cosine, NoiseContrast, condition


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def remembered(seed=0):
    return problems.remembered(seeded(seed))


def in_other_ball(z, bank, index, *, size=SIZE, center=None):
    return condition(softmax(z, bank), ball(bank[index] if center is None else center, bank, size, own=index))


def easy_draw(z, bank, index, seed):
    everything = Sparse.from_neighbors(torch.arange(len(bank)).expand(len(z), -1), candidates=Candidates.all(len(bank)))
    return condition(softmax(z, bank), draw(everything, 6, own=index, generator=seeded(int(seed))))


MUTANTS = {
    "wrong temperature": ("IR (InfoNCE)", {"q": lambda z, bank: Cosine(0.1)(z, bank)}),
    "someone else's row": ("IR (InfoNCE)", {"p": lambda index, bank: own_row((index + 1) % len(bank), bank)}),
    "constant of the normalizer forgotten": (
        "IR (NCE)",
        {"q": lambda z, bank, index, sampled: NoiseContrast(OMEGA, kappa=1.0)(z, bank, index, sampled)},
    ),
    "mean over draws for the sum": ("IR (NCE)", {"weights": "mean"}),
    "p uniform, not learned": (
        "LA",
        {"p": lambda bank, index, cluster: intersection(balls(bank, index), cluster, index)},
    ),
    "one clustering of several": (
        "LA",
        {
            "p": lambda z, bank, index, cluster: condition(
                softmax(z, bank), intersection(balls(bank, index), cluster[:1], index)
            )
        },
    ),
    "a smaller ball": ("LA0", {"q": lambda z, bank, index: in_other_ball(z, bank, index, size=SIZE - 1)}),
    "ball around the embedding": (
        "BALL",
        {"q": lambda z, bank, index: in_other_ball(z, bank, index, center=F.normalize(z, dim=1))},
    ),
    "close ones for far ones": (
        "ANN",
        {
            "q": lambda z, bank, index, cluster: condition(
                softmax(z, bank), intersection(balls(bank, index), cluster, index)
            )
        },
    ),
    "close ones left in": ("ANN", {"q": in_ball}),
    "never annealed": ("BALL+", {"q": in_ball}),
    "never annealed, annulus": ("ANN+", {"q": in_annulus}),
    "easy negatives": ("VINCE", {"q": easy_draw}),
    "one direction": ("CMC", {"others": ()}),
    "mean of directions for the sum": ("CMC", {"factor": 0.5}),
    "own bank for the other": ("CMC", {"q": lambda z, bank: softmax(z, bank)}),
    "ball of the other bank": (
        "CMC-BALL",
        {"q": lambda z, text_bank, bank, index: condition(softmax(z, text_bank), balls(bank, index))},
    ),
    "clusters of the other bank": (
        "CMC-ANN",
        {"q": lambda z, text_bank, index, cluster: in_annulus(z, text_bank, index, cluster)},
    ),
    "one direction never annealed": ("CMC-BALL+", {"q": lambda z, text_bank, index: in_ball(z, text_bank, index)}),
    "the other direction never annealed": (
        "CMC-ANN+",
        {"others": (Term(p=own_row, q=lambda text, bank, index, cluster: in_annulus(text, bank, index, cluster)),)},
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_error_fails_its_claim(mutant):
    assert not survives(*MUTANTS[mutant])


def test_a_bank_that_forgets_makes_plain_infonce():
    """Theory 2.5: with rate 0, after every other view was remembered, IR is cross-entropy between the two views."""
    z, other = (torch.randn(9, 4, dtype=torch.float64, generator=seeded(s)) for s in (1, 2))
    bank = MemoryBank(9, 4, rate=0.0, generator=seeded(0), dtype=torch.float64)
    bank.update(torch.arange(9), other)
    logits = F.normalize(z, dim=1) @ F.normalize(other, dim=1).T / OMEGA
    loss = find("IR (InfoNCE)").loss({"z": z, "bank": bank.rows, "index": torch.arange(9)})
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.arange(9)))


def per_anchor(problem):
    """Losses of LA and LA0, and the sizes of C∩B."""
    q = in_ball(problem["z"], problem["bank"], problem["index"])
    close = intersection(balls(problem["bank"], problem["index"]), problem["cluster"], problem["index"])
    return kl(condition(q, close), q), kl(own_row(problem["index"], problem["bank"]), q), close.counts


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_la_is_a_ratio_of_full_softmaxes_and_never_larger_than_la0(seed):
    """I2b and I4: what enters C∩B besides i can only raise the likelihood."""
    problem = remembered(seed)
    la, la0, _ = per_anchor(problem)
    full = softmax(problem["z"], problem["bank"]).dense()
    on = balls(problem["bank"], problem["index"])
    close = intersection(on, problem["cluster"], problem["index"])
    ratio = [
        full[i, close.columns[close.anchor == i]].sum() / full[i, on.columns[on.anchor == i]].sum() for i in range(8)
    ]
    torch.testing.assert_close(la, -torch.stack(ratio).log())
    assert bool((la <= la0 + 1e-12).all())


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_la_less_the_size_is_at_most_la0_where_the_own_score_is_largest(seed):
    """I4b, of log-likelihoods; with other embeddings it fails."""
    problem = remembered(seed)
    near = {**problem, "z": problem["bank"][problem["index"]]}
    la, la0, size = per_anchor(near)
    assert bool((-la - size.log() <= -la0 + 1e-12).all())


def test_where_the_own_score_is_small_it_is_not():
    la, la0, size = per_anchor(remembered())
    assert bool((-la - size.log() > -la0).any())


def test_annealing_goes_from_the_whole_bank_to_the_final_ball():
    problem = remembered()
    first, last = ({**problem, "iteration": torch.tensor(t)} for t in (0, 50))
    torch.testing.assert_close(find("BALL+").loss(first), find("IR (InfoNCE)").loss(problem))
    torch.testing.assert_close(find("BALL+").loss(last), find("BALL").loss(problem))
    torch.testing.assert_close(find("ANN+").loss(last), find("ANN").loss(problem))
    torch.testing.assert_close(find("CMC-BALL+").loss(first), find("CMC").loss(problem))
    torch.testing.assert_close(find("CMC-ANN+").loss(last), find("CMC-ANN").loss(problem))


def test_hard_negatives_lower_the_bound_and_the_hardest_lower_it_most():
    """I8: for one K, sampled InfoNCE, then VINCE from ever smaller balls, then BALL around the embedding."""
    problem, k = remembered(), 7
    z, bank, index = problem["z"], problem["bank"], problem["index"]
    q, own = softmax(z, bank), own_row(index, bank)

    def bound(size):
        hardest = ball(F.normalize(z, dim=1), bank, size, own=index)
        draws = [draw(hardest, k - 1, own=index, generator=seeded(s)) for s in range(60)]
        return torch.stack([math.log(k) - kl(own, condition(q, on)).mean() for on in draws])

    bounds = [bound(size) for size in (30, 22, 14, 7)]
    means = [float(values.mean()) for values in bounds]
    assert means == sorted(means, reverse=True)
    assert all(
        bool((values >= bounds[-1][0] - 1e-12).all()) for values in bounds
    )  # the hardest seven are the worst draw
    assert all(bool((values <= math.log(k)).all()) for values in bounds)


def test_an_annulus_without_the_own_row_bounds_nothing():
    """I7: embeddings tell nothing but their row, of which there are m, so that the information is at most log m."""
    m = 40
    bank = F.normalize(torch.randn(m, 8, dtype=torch.float64, generator=seeded(11)), dim=1)
    index = torch.arange(m)
    ring = annulus(ball(bank, bank, m // 2, own=index), index[None], index)
    q = softmax(bank, bank)
    with_own = ring.counts.log() - kl(own_row(index, bank), condition(q, ring))
    assert bool((with_own <= math.log(m)).all())

    scores = q.score_at(None, slice(0, m))
    others = (ring.dense() > 0) & (index != index[:, None])
    without = scores.diagonal() - torch.where(others, scores, -math.inf).logsumexp(1) + others.sum(1).log()
    assert without.mean() > math.log(m) + 1


def test_each_half_of_cmc_is_ir():
    problem = remembered()
    there = find("IR (InfoNCE)").loss({**problem, "bank": problem["text_bank"]})
    back = find("IR (InfoNCE)").loss({**problem, "z": problem["text"]})
    torch.testing.assert_close(find("CMC").loss(problem), there + back)
