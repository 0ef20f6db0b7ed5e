"""CRLC's rows: planted errors are seen, and what theory 2.4 says of its parts holds."""

import dataclasses
import math

import pytest
import torch
from scipy.stats import entropy as entropy_of
from tests.methods.mutation import survives
from torch.autograd import grad

from torchicon.core import Candidates, Sparse
from torchicon.methods import find
from torchicon.neighborhoods import (
    KNN,
    Clusters,
    Cosine,
    Dot,
    Gaussian,
    JensenShannon,
    LogDot,
    condition,
    smooth_probabilities,
)

SCORES = {
    "CRLC, log-dot critic": LogDot(),
    "CRLC, dot critic": Dot(),
    "CRLC, squared-distance critic": Gaussian(math.sqrt(0.5)),
    "CRLC, Jensen-Shannon critic": JensenShannon(),
}


def smooth(logits, share=0.01):
    return smooth_probabilities(logits.softmax(-1), share)


def others(name, index, **change):
    """The terms beside a row's own, one of them changed."""
    terms = list(find(name).others)
    terms[index] = dataclasses.replace(terms[index], **change)
    return {"others": tuple(terms)}


def in_bank(logits, bank, *columns):
    candidates = Candidates.all(len(bank), "bank")
    q = LogDot()(smooth(logits), bank, candidates=candidates)
    return condition(q, Sparse.from_neighbors(torch.cat(columns, 1), candidates=candidates)) if columns else q


MUTANTS = {
    "critics exchanged": ("CRLC, log-dot critic", {"q": lambda logits: Dot()(smooth(logits))}),
    "distance, not its square": ("CRLC, squared-distance critic", {"q": lambda logits: Gaussian()(smooth(logits))}),
    "in bits": (
        "CRLC, Jensen-Shannon critic",
        {"q": lambda logits: JensenShannon()(smooth(logits)).tempered(1 / math.log(2))},
    ),
    "a temperature": ("CRLC, dot critic", {"q": lambda logits: Dot(0.5)(smooth(logits))}),
    "the default of the official code": ("CRLC, log-dot critic", {"q": lambda logits: LogDot()(smooth(logits, 0.1))}),
    "one direction": ("CRLC, log-dot critic (across views)", {"others": (), "factor": 1.0}),
    "by cluster": (
        "CRLC, log-dot critic (across views)",
        {"q": lambda logits: Clusters()(*smooth(logits).chunk(2), candidates=Candidates.all(8, "other view"))},
    ),
    "entropy forgotten": ("CRLC", {"others": find("CRLC").others[1:]}),
    "entropy's sign": ("CRLC", others("CRLC", 0, factor=-1.0)),
    "entropy forward": ("CRLC", others("CRLC", 0, direction="forward")),
    "lambda 2 dropped": ("CRLC", others("CRLC", 1, factor=1.0)),
    "feature temperature": ("CRLC", others("CRLC", 1, q=lambda z: Cosine(0.2)(z))),
    "own row among the negatives only": (
        "CRLC, memory bank",
        {"q": lambda logits, bank, index, sampled: in_bank(logits, smooth_probabilities(bank, 0.01), sampled)},
    ),
    "the whole bank": (
        "CRLC, memory bank",
        {"q": lambda logits, bank: in_bank(logits, smooth_probabilities(bank, 0.01))},
    ),
    "bank not smoothed": (
        "CRLC, memory bank",
        {"q": lambda logits, bank, index, sampled: in_bank(logits, bank, index[:, None], sampled)},
    ),
    "euclidean neighbors": ("CRLC, two-stage", {"p": lambda x: KNN(3)(x)}),
    "two-stage without entropy": ("CRLC, two-stage", {"others": ()}),
    "a head forgotten": ("CRLC, sub-heads", {"others": find("CRLC, sub-heads").others[:-2]}),
    "heads summed": ("CRLC, sub-heads", {"factor": 1.0}),
    "labels forgotten": ("CRLC, semi-supervised", {"others": find("CRLC, semi-supervised").others[:-1]}),
    "labels summed": ("CRLC, semi-supervised", others("CRLC, semi-supervised", 2, weights="sum")),
}


def _not_smoothed(score):
    return lambda logits: score(logits.softmax(1))


def _self_left_in(score):
    return lambda logits: score(smooth(logits), candidates=Candidates.all(len(logits)))


for _name, _score in SCORES.items():
    MUTANTS[f"{_name}: not smoothed"] = (_name, {"q": _not_smoothed(_score)})
    MUTANTS[f"{_name}: self left in"] = (_name, {"q": _self_left_in(_score)})


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_error_fails_its_claim(mutant):
    assert not survives(*MUTANTS[mutant])


@pytest.mark.parametrize("name", SCORES)
def test_undecided_rows_do_not_move(name):
    """All uniform: L_PC = log(2B - 1) and no gradient at all, whatever the critic (H1)."""
    logits = torch.zeros(12, 4, dtype=torch.float64, requires_grad=True)
    loss = find(name).loss({"logits": logits, "image": torch.arange(6).repeat(2)})
    assert math.isclose(loss.detach(), math.log(11), rel_tol=1e-12)
    assert grad(loss, logits)[0].abs().max() < 1e-17


def test_separate_clusters_stay_finite():
    """Views in clusters of their own: the positive has the least score, log(2 gamma (1 - gamma) / C + gamma^2 / C)."""
    label = torch.tensor([0, 0, 0, 1, 1, 1])
    logits = 1e3 * torch.nn.functional.one_hot(label, 2).double()
    problem = {"logits": logits, "image": torch.arange(3).repeat(2)}
    least, same = 0.01 * 0.99 + 0.01**2 / 2, 0.99**2 + 0.01 * 0.99 + 0.01**2 / 2
    expected = -math.log(least / (2 * same + 3 * least))
    assert math.isclose(find("CRLC, log-dot critic").loss(problem), expected, rel_tol=1e-9)


def test_log_dot_is_by_point_clustering(normal):
    """The critic's softmax over another set of rows is `Clusters("point")` of the smoothed (theory 4a, E9)."""
    logits = normal(10, 3)
    one, other = smooth(logits).chunk(2)
    _, q = find("CRLC, log-dot critic (across views)").neighborhoods({"logits": logits})
    torch.testing.assert_close(q.dense(), (one @ other.T).log().softmax(1), rtol=1e-11, atol=1e-12)


def test_entropy_term_is_a_reverse_kl(normal):
    """-H(mean) = KL(mean || uniform) - log C, averaged over the two views (H5); mean probabilities are not smoothed."""
    logits = normal(10, 4)
    term = find("CRLC").others[0]
    means = [view.softmax(1).mean(0) for view in logits.chunk(2)]
    expected = math.log(4) - sum(entropy_of(mean.numpy()) for mean in means) / 2
    assert math.isclose(term.value({"logits": logits}, term.divergence), expected, rel_tol=1e-12)


def test_sub_heads_that_agree_are_one(normal):
    logits, image = normal(10, 4), torch.arange(5).repeat(2)
    of_heads = find("CRLC, sub-heads").loss({"subheads": logits.repeat(10, 1, 1), "image": image})
    alone = find("CRLC, log-dot critic").loss({"logits": logits, "image": image})
    entropy = find("CRLC").others[0]
    expected = alone + entropy.value({"logits": logits}, entropy.divergence)
    torch.testing.assert_close(of_heads, expected, rtol=1e-12, atol=0)


def test_no_labels_at_all_are_refused(normal):
    """A mean over nobody is no number."""
    problem = {
        "logits": normal(8, 3),
        "z": normal(8, 2),
        "image": torch.arange(4).repeat(2),
        "label": torch.full((8,), -1),
    }
    with pytest.raises(ValueError, match="No anchor has a neighbor"):
        find("CRLC, semi-supervised").loss(problem)
