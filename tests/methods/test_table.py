"""Every row of the table earns its claim against its oracle, and a planted error is seen."""

from __future__ import annotations

import dataclasses
import functools
import math

import pytest
import torch
from tests.methods.mutation import survives

from torchicon import oracles
from torchicon.core import Candidates, Kernel, cross_entropy, kl, wide
from torchicon.methods import IDENTITIES, TABLE, Inspired, Limit, Method, cite, find, periodic_table, smoothed
from torchicon.methods.verify import check, verify
from torchicon.neighborhoods import KNN, Cosine, Gaussian, Positives, StudentT

ALL = (*TABLE, *IDENTITIES)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("method", ALL, ids=str)
def test_claim(method, seed):
    evidence = check(method, seed=seed)
    assert evidence.passed, evidence


def test_names_are_unique_and_oracles_are_all_used():
    assert all(find(method.name) is method for method in ALL)  # no two are one to `find`
    assert {method.oracle for method in ALL if method.oracle} == set(oracles.ORACLES)


def test_verify_answers_for_every_method():
    assert set(verify()) == {method.name for method in ALL}


MUTANTS = {
    "factor 2 dropped": ("SNE", {"q": lambda z: Gaussian(1.0)(z)}),
    "self left in": ("SimCLR", {"q": lambda z: Cosine(0.1)(z, candidates=Candidates.all(len(z)))}),
    "wrong temperature": ("SupCon", {"q": lambda z: Cosine(0.2)(z)}),
    "direction swapped": ("K-Means", {"direction": "forward"}),
    "sum for mean": ("SimCLR", {"weights": "sum"}),
    "row for joint": ("t-SNE", {"weights": "mean"}),
    "wrong tails": ("t-SNE (row)", {"q": lambda z: StudentT(2.0)(z)}),
    "limit scaled": ("PCA", {"q": lambda z: Gaussian(2.0)(z, candidates=Candidates.all(len(z)))}),
    "limit without self": ("PCA", {"q": lambda z: Gaussian(1.0)(z), "p": lambda z: KNN(1)(z)}),
    "wrong positives": ("SimCLR", {"p": lambda image: Positives()(image // 2)}),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_error_fails_its_claim(mutant):
    assert not survives(*MUTANTS[mutant])


def with_self(recipe):
    """The same kernels with each anchor among its own candidates."""

    @functools.wraps(recipe)
    def mutant(**tensors):
        kernel = recipe(**tensors).tempered(1.0)
        kernel.candidates = Candidates.all(kernel.m)
        return kernel

    return mutant


@pytest.mark.parametrize("method", [m for m in ALL if not isinstance(m.claim, Inspired)], ids=str)
def test_no_row_survives_a_planted_error(method):
    """A factor 2, the other direction, the other reduction, a lost term, a missing self-mask: in any row."""
    changes = [{"factor": 2 * method.coefficient}]
    if method.divergence in (kl, cross_entropy):  # a limit with p as its kernel is refused, or is symmetric
        other = "reverse" if method.direction == "forward" else "forward"
        weights = "sum" if method.weights == "joint" else method.weights
        changes.append({"direction": other, "weights": weights})
    if method.weights in ("mean", "sum"):
        changes.append({"weights": "sum" if method.weights == "mean" else "mean"})
    if method.others:
        changes.append({"others": method.others[:-1]})
    _, q = method.neighborhoods(method.example(torch.Generator().manual_seed(0)))
    if isinstance(q, Kernel) and q.candidates.excludes_self:
        changes.append({"q": with_self(method.q)})
    assert [change for change in changes if survives(method, change)] == []


def test_a_limit_of_the_wrong_order_fails():
    """A limit that is merely approached, not at its order, is not the claimed one."""
    slower = dataclasses.replace(wide, before=lambda p, q, h: wide.before(p, q, h**0.5))
    assert not survives("PCA", {"divergence": slower})


def test_inspired_only_needs_finite_numbers():
    simclr = dataclasses.replace(find("SimCLR"), claim=Inspired("for the test"), oracle=None)
    assert check(simclr).passed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"oracle": None}, "an oracle is what a claim"),
        ({"divergence": wide}, "the claim Limit goes with"),
        ({"claim": Limit()}, "the claim Limit goes with"),
        ({"divergence": wide, "claim": Limit(), "others": (find("SNE"),)}, "the claim Limit goes with"),
        ({"weights": lambda y: y}, "weights asks for \\['y'\\]"),
        ({"cell": ("Nowhere", "Gaussian")}, "not in the table"),
        ({"q": lambda y: StudentT()(y)}, "q asks for \\['y'\\]"),
        ({"learns": ("w",)}, "lacks \\['w'\\]"),
        ({"weights": "joint", "direction": "reverse"}, "joint form is the forward"),
    ],
)
def test_a_row_validates_itself(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(find("SNE"), **change)


def test_a_limit_needs_no_oracle_where_nothing_is_claimed():
    spread = dataclasses.replace(find("PCA"), claim=Inspired("for the test"), oracle=None)
    assert check(spread).passed
    with pytest.raises(ValueError, match="limit of a divergence"):
        smoothed(spread, debias_p=0.5)


def test_find_suggests_close_names():
    with pytest.raises(KeyError, match="did you mean SimCLR"):
        find("simclrr")
    with pytest.raises(KeyError, match="see `torchicon methods`"):
        find("zzzzzz")


@pytest.mark.parametrize("method", [method for method in ALL if method.citation], ids=str)
def test_citations_are_bibtex(method):
    entry = cite(method.name)
    assert entry.startswith("@")
    assert entry.count("{") == entry.count("}")
    assert f"year = {{{method.citation.year}}}" in entry


def test_periodic_table_shows_every_method_once():
    table = periodic_table()
    assert all(table.count(method.name) >= 1 for method in TABLE)
    assert len({line.count("|") for line in table.splitlines()}) == 1


def test_a_method_written_elsewhere_works_with_verify():
    method = Method(
        name="SimCLR, warm",
        cell=("Positive pairs", "Gaussian"),
        citation=find("SimCLR").citation,
        p=lambda image: Positives()(image),
        q=lambda z: Cosine(0.1)(z),
        p_equation="",
        q_equation="",
        mapper="any",
        candidates="the batch",
        oracle="nt_xent",
        claim=find("SimCLR").claim,
        example=lambda g: {
            "z": torch.randn(6, 3, dtype=torch.float64, generator=g),
            "image": torch.arange(3).repeat(2),
        },
    )
    evidence = verify([method])["SimCLR, warm"]
    assert evidence.passed
    assert math.isfinite(evidence.value_error)


def test_a_claim_that_cannot_be_checked_has_failed_and_spoils_no_other():
    def broken(problem):
        raise RuntimeError("no answer")

    methods = [dataclasses.replace(find("SimCLR"), name="broken", oracle=broken), find("SimCLR")]
    evidence = verify(methods)
    assert evidence["SimCLR"].passed
    assert not evidence["broken"].passed
    assert evidence["broken"].failure == "RuntimeError: no answer"


def test_authors_are_letters():
    assert find("t-SimCNE").citation.authors[0] == "Böhm"
    assert all("{" not in name for method in ALL if method.citation for name in method.citation.authors)
