"""Identities: a planted error fails every one, and the bounds that are no equalities hold."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.optimize import LinearConstraint, minimize, minimize_scalar
from scipy.special import xlogy
from tests.methods.mutation import survives
from torch.nn.functional import normalize

from torchicon.core import Candidates, Dense, kl
from torchicon.methods import problems
from torchicon.methods.claims import Approaches, EqualUpTo
from torchicon.methods.identities import K_MEANS_TO_INERTIA, PRODUCT_OF_EXPERTS, ROWS, TSNE_OF_ROWS, TSNE_TO_SNE
from torchicon.methods.verify import check
from torchicon.neighborhoods import Cosine, Exponential, Gaussian, Labels, Pairs, Positives, StudentT

FIELD, SPECTRAL = "as a Markov random field", "as spectral clustering"
MUTANTS = {
    "mean for sum": (f"SimCLR {FIELD}", {"claim": EqualUpTo(1.0, lambda _: 0.0)}),
    "graphs with loops": (
        f"SimCLR {FIELD}",
        {"q": lambda z: Cosine(0.1)(z, candidates=Candidates.all(len(z)))},
    ),
    "another kernel": (f"SNE graph embedding {FIELD}", {"q": lambda z: Gaussian(1.0)(z)}),
    "no entropy": (f"SNE graph embedding {FIELD}", {"claim": EqualUpTo(1.0, lambda _: 0.0)}),
    "edges unweighted": (f"SNE graph embedding {FIELD}", {"p": lambda z: Positives()(torch.zeros(len(z)).long())}),
    "1 / tau dropped": (f"SimCLR {SPECTRAL}", {"q": lambda z: Cosine(1.0)(z)}),
    "off the sphere": (f"SimCLR {SPECTRAL}", {"q": lambda z: Gaussian(math.sqrt(0.1))(z)}),
    "another 1 / tau": (f"SNE graph embedding {SPECTRAL}", {"q": lambda z: Gaussian(1.0)(z)}),
    "the root of tau": ("SimCLR by maximum entropy", {"q": lambda z: Cosine(math.sqrt(0.5))(z)}),
    "twice tau, as MoCo v3": ("SimCLR by maximum entropy", {"claim": EqualUpTo(1.0, lambda _: 0.0, tolerance=1e-8)}),
    "no Chernoff term": ("Kernel-InfoNCE as a product of experts", {"factor": 1.0, "others": ()}),
    "sigma for sigma^2": ("SimCLR with a Gaussian kernel", {"q": lambda z: Gaussian(0.1)(normalize(z, dim=1))}),
    "a Gaussian off the sphere": ("SimCLR with a Gaussian kernel", {"q": lambda z: Gaussian(math.sqrt(0.1))(z)}),
    "tau' = tau": ("SimCLR with an exponential kernel", {"q": lambda z: Exponential(2.0, 0.1)(normalize(z, dim=1))}),
    "no marginal": ("t-SNE as rows and a marginal", {"others": ()}),
    "no weights": ("t-SNE as rows and a marginal", {"weights": "mean"}),
    "a marginal of p twice": (
        "t-SNE as rows and a marginal",
        {"others": (dataclasses.replace(TSNE_OF_ROWS.others[0], q=TSNE_OF_ROWS.others[0].p),)},
    ),
    "another scale": (
        "SNE as t-SNE with many degrees of freedom",
        {"q": lambda z, df: StudentT(float(df), scale=1.0)(z)},
    ),
    "degrees of freedom that stay": ("SNE as t-SNE with many degrees of freedom", {"q": lambda z: StudentT(1e4)(z)}),
    "the exponent of the square": (
        "Harmonic loss as a narrow Student-t",
        {"q": lambda z, prototypes, scale: StudentT(5.0, scale=scale)(z, prototypes, candidates=_classes(prototypes))},
    ),
    "an order claimed that is not there": (
        "Harmonic loss as a narrow Student-t",
        {"claim": Approaches("scale", lambda h: h**0.5, lambda loss, h, problem: loss, order=2.0)},
    ),
    "forward": ("K-Means with a narrow Gaussian", {"direction": "forward"}),
    "half of the inertia": (
        "K-Means with a narrow Gaussian",
        {
            "claim": dataclasses.replace(
                K_MEANS_TO_INERTIA.claim, rescale=lambda *at: K_MEANS_TO_INERTIA.claim.rescale(*at) / 2
            )
        },
    ),
    "wrong tails": (
        "t-K-Means with a wide Student-t",
        {"p": lambda x, scale: StudentT(1.0, scale=scale)(x, candidates=Candidates.all(len(x)))},
    ),
}


def _classes(prototypes):
    return Candidates.all(len(prototypes), "classes")


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_error_fails_its_claim(mutant):
    assert not survives(*MUTANTS[mutant])


def test_every_identity_has_a_planted_error():
    assert {name for name, _ in MUTANTS.values()} == {method.name for method in ROWS}


@pytest.mark.parametrize("seed", range(3, 9))
def test_limits_have_their_order_on_other_seeds(seed):
    """The orders are no accident of the first examples."""
    for method in ROWS:
        if isinstance(method.claim, Approaches):
            evidence = check(method, seed=seed)
            assert evidence.passed, (method.name, evidence)


def test_the_knob_alone_does_not_pass():
    """Far from the limit nothing is near: the error at the smallest h is what the order says."""
    evidence = check(TSNE_TO_SNE)
    assert evidence.value_error < 1e-3 < check(dataclasses.replace(TSNE_TO_SNE, q=lambda z: StudentT()(z))).value_error


class TestBounds:
    """Statements of the theory that are inequalities, or optima of another kind."""

    def correlated(self, generator, n, rho):
        x, noise = (torch.randn(n, dtype=torch.float64, generator=generator) for _ in range(2))
        return x, rho * x + math.sqrt(1 - rho**2) * noise

    def scores(self, x, y, rho):
        """Log of the density ratio p(x, y) / p(x) p(y), the best critic there is."""
        x, y = x[:, None], y[None]
        return -(rho**2 * (x**2 + y**2) - 2 * rho * x * y) / (2 * (1 - rho**2))

    @pytest.mark.parametrize("rho", [0.3, 0.9, 0.999])
    def test_log_m_minus_infonce_bounds_mutual_information_from_below(self, rho, generator):
        """Of two normal variables, by the best critic and by a poor one; never above log M either (theory 1)."""
        m, information = 64, -0.5 * math.log(1 - rho**2)
        bounds = {"best": [], "poor": []}
        for _ in range(60):
            x, y = self.correlated(generator, m, rho)
            best = self.scores(x, y, rho)
            for name, scores in (("best", best), ("poor", 0.3 * best)):
                bounds[name].append(math.log(m) - float(kl(Pairs()(m), Dense(scores)).mean()))
        for name, bound in bounds.items():
            error = 4 * np.std(bound) / math.sqrt(len(bound))
            assert np.mean(bound) < information + error, name
            assert max(bound) <= math.log(m)
        assert np.mean(bounds["best"]) > np.mean(bounds["poor"])
        if rho < 0.5:  # where log m is no obstacle the best critic nearly reaches it
            assert np.mean(bounds["best"]) == pytest.approx(information, abs=0.02)

    def test_the_largest_entropy_at_a_mean_score_is_the_smallest_infonce_over_temperatures(self, generator):
        """max H(a) with mean score at least that of the positive = inf over tau of InfoNCE (theory 2.6)."""
        scores = torch.randn(6, dtype=torch.float64, generator=generator).sort(descending=True).values.numpy()
        positive = scores[1]  # neither the best, where the entropy is 0, nor below the mean, where it is log M
        assert positive > scores.mean()
        found = minimize(
            lambda a: xlogy(a, a).sum(),
            np.full(6, 1 / 6),
            jac=lambda a: np.log(a) + 1,
            method="SLSQP",
            bounds=[(1e-9, 1)] * 6,
            constraints=[LinearConstraint(np.ones(6), 1, 1), LinearConstraint(scores, positive, np.inf)],
            options={"ftol": 1e-14, "maxiter": 500},
        )
        anchor, row = Labels(6)(torch.tensor([1])), torch.from_numpy(scores)[None]
        least = minimize_scalar(
            lambda log_tau: float(kl(anchor, Dense(row * math.exp(-log_tau)))),
            bounds=(-5, 5),
            method="bounded",
            options={"xatol": 1e-10},
        )
        assert -found.fun == pytest.approx(least.fun, abs=1e-7)

    def test_the_chernoff_term_is_nonnegative(self, generator):
        """Hölder: the geometric mean of two distributions has mass at most 1 (theory 2.6)."""
        problem = problems.views(generator)
        first, second = (term.q(problem["z"]).log_at(None, slice(0, 16)) for term in PRODUCT_OF_EXPERTS.terms)
        for share in (0.0, 0.3, 0.8, 1.0):
            mass = torch.where(first == -math.inf, first, share * first + (1 - share) * second).logsumexp(1)
            assert (mass < 1e-15).all()
            assert bool((mass.abs() < 1e-14).all()) == (share in (0.0, 1.0))

    def test_off_the_sphere_dot_is_a_gaussian_reweighted_by_length(self, normal):
        """exp(a . b / tau) is proportional in a row to exp(-d / 2 tau) exp(|b|^2 / 2 tau) (theory 1)."""
        z = normal(6, 3)
        weight = Gaussian(math.sqrt(0.5))(z).dense() * (z.square().sum(1) / (2 * 0.5)).exp()
        scores = (z @ z.T / 0.5).masked_fill(torch.eye(6, dtype=torch.bool), -math.inf)
        torch.testing.assert_close(scores.softmax(1), weight / weight.sum(1, keepdim=True), rtol=1e-11, atol=1e-14)
