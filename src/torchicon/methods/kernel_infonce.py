"""Kernel-InfoNCE: exponential kernels, sums and concatenations (theory 2.6)."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.nn.functional import normalize

from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import EqualLoss
from torchicon.methods.method import Method, Term
from torchicon.neighborhoods import ConcatenatedKernels, Exponential, Positives, SumOfKernels

_TAU_1, _TAU_2 = 0.4, 0.3  # temperatures of gamma = 1 and gamma = 2
_SHARE = 0.8  # of the Laplacian loss in the paper's sums

_P = "p(j|i) = 1[j is the other view of i]"
_MAPPER = "encoder and projection head, on the unit sphere"
_CANDIDATES = "the other 2B - 1 views of the batch"


def _first_half(z: Tensor) -> Tensor:
    return normalize(z, dim=1)[:, : z.shape[1] // 2]


def _second_half(z: Tensor) -> Tensor:
    return normalize(z, dim=1)[:, z.shape[1] // 2 :]


KERNEL_INFONCE = Method(
    name="Kernel-InfoNCE",
    cell=("Positive pairs", "Exponential"),
    citation=reference("tan2024contrastive"),
    p=lambda image: Positives()(image),
    q=lambda z, gamma=0.5, temperature=_TAU_1: Exponential(gamma, temperature=temperature)(normalize(z, dim=1)),
    p_equation=_P,
    q_equation="q(j|i) ∝ exp(-|z_i - z_j|^γ / τ), 0 < γ ≤ 2",
    mapper=_MAPPER,
    candidates=_CANDIDATES,
    oracle="kernel_infonce",
    claim=EqualLoss(),
    example=problems.views,
    constants="none; the paper's Algorithm 2 lacks the minus of the exponent, and its γ > 0 is γ ≤ 2",
)

LAPLACIAN = Method(
    name="Laplacian Kernel-InfoNCE",
    cell=("Positive pairs", "Exponential"),
    citation=reference("tan2024contrastive"),
    p=lambda image: Positives()(image),
    q=lambda z, temperature=_TAU_1: Exponential(1.0, temperature=temperature)(normalize(z, dim=1)),
    p_equation=_P,
    q_equation="q(j|i) ∝ exp(-|z_i - z_j| / τ)",
    mapper=_MAPPER,
    candidates=_CANDIDATES,
    oracle="kernel_infonce_laplacian",
    claim=EqualLoss(),
    example=problems.views,
)

KERNEL_SUM = Method(
    name="Kernel-InfoNCE (sum of kernels)",
    cell=("Positive pairs", "Exponential"),
    citation=reference("tan2024contrastive"),
    p=lambda image: Positives()(image),
    q=lambda z, tau_1=_TAU_1, tau_2=_TAU_2: SumOfKernels(
        Exponential(2.0, temperature=tau_2), Exponential(1.0, temperature=tau_1)
    )(normalize(z, dim=1)),
    p_equation=_P,
    q_equation="q(j|i) ∝ exp(-|z_i - z_j|² / τ₂) + exp(-|z_i - z_j| / τ₁)",
    mapper=_MAPPER,
    candidates=_CANDIDATES,
    oracle="kernel_infonce_kernel_sum",
    claim=EqualLoss(),
    example=problems.views,
    constants="none; a mixture of kernels, where the sum of losses is a product of experts",
)

LOSS_SUM = Method(
    name="Kernel-InfoNCE (sum of losses)",
    cell=("Positive pairs", "Exponential"),
    citation=reference("tan2024contrastive"),
    p=lambda image: Positives()(image),
    q=lambda z, tau_1=_TAU_1: Exponential(1.0, temperature=tau_1)(normalize(z, dim=1)),
    factor=lambda share=_SHARE: share,
    others=(
        Term(
            p=lambda image: Positives()(image),
            q=lambda z, tau_2=_TAU_2: Exponential(2.0, temperature=tau_2)(normalize(z, dim=1)),
            factor=lambda share=_SHARE: 1 - share,
        ),
    ),
    p_equation=_P,
    q_equation="q₁(j|i) ∝ exp(-|z_i - z_j| / τ₁), q₂(j|i) ∝ exp(-|z_i - z_j|² / τ₂)",
    mapper=_MAPPER,
    candidates=_CANDIDATES,
    oracle="kernel_infonce_loss_sum",
    claim=EqualLoss(),
    example=problems.views,
    constants="λ KL(p||q₁) + (1 - λ) KL(p||q₂), λ = 0.8; the paper's Algorithm 2",
)

LAPLACIAN_FIRST = Method(
    name="Kernel-InfoNCE (concatenation, Laplacian first)",
    cell=("Positive pairs", "Exponential"),
    citation=reference("tan2024contrastive"),
    p=lambda image: Positives()(image),
    q=lambda z, tau_1=_TAU_1, tau_2=_TAU_2: ConcatenatedKernels(
        Exponential(1.0, temperature=tau_1), Exponential(2.0, temperature=tau_2)
    )(normalize(z, dim=1)),
    p_equation=_P,
    q_equation="q(j|i) ∝ exp(-|u_i - u_j| / τ₁) + exp(-|v_i - v_j|² / τ₂), z = (u, v)",
    mapper=_MAPPER,
    candidates=_CANDIDATES,
    oracle="kernel_infonce_laplacian_first",
    claim=EqualLoss(),
    example=problems.even_views,
    constants="none; the order of the paper's Table 2 and code",
)

GAUSSIAN_FIRST = replace(
    LAPLACIAN_FIRST,
    name="Kernel-InfoNCE (concatenation, Gaussian first)",
    q=lambda z, tau_1=_TAU_1, tau_2=_TAU_2: ConcatenatedKernels(
        Exponential(2.0, temperature=tau_2), Exponential(1.0, temperature=tau_1)
    )(normalize(z, dim=1)),
    q_equation="q(j|i) ∝ exp(-|u_i - u_j|² / τ₂) + exp(-|v_i - v_j| / τ₁), z = (u, v)",
    oracle="kernel_infonce_gaussian_first",
    constants="none; the order of the paper's section 5.2",
)

CONCATENATED_LOSSES = Method(
    name="Kernel-InfoNCE (concatenation, sum of losses, Laplacian first)",
    cell=("Positive pairs", "Exponential"),
    citation=reference("tan2024contrastive"),
    p=lambda image: Positives()(image),
    q=lambda z, tau_1=_TAU_1: Exponential(1.0, temperature=tau_1)(_first_half(z)),
    factor=lambda share=_SHARE: share,
    others=(
        Term(
            p=lambda image: Positives()(image),
            q=lambda z, tau_2=_TAU_2: Exponential(2.0, temperature=tau_2)(_second_half(z)),
            factor=lambda share=_SHARE: 1 - share,
        ),
    ),
    p_equation=_P,
    q_equation="q₁(j|i) ∝ exp(-|u_i - u_j| / τ₁), q₂(j|i) ∝ exp(-|v_i - v_j|² / τ₂), z = (u, v)",
    mapper=_MAPPER,
    candidates=_CANDIDATES,
    oracle="kernel_infonce_concatenated_losses",
    claim=EqualLoss(),
    example=problems.even_views,
    constants="λ KL(p||q₁) + (1 - λ) KL(p||q₂), λ = 0.8; z is of unit length before it is cut",
)

CONCATENATED_LOSSES_REVERSED = replace(
    CONCATENATED_LOSSES,
    name="Kernel-InfoNCE (concatenation, sum of losses, Gaussian first)",
    q=lambda z, tau_1=_TAU_1: Exponential(1.0, temperature=tau_1)(_second_half(z)),
    others=(
        Term(
            p=lambda image: Positives()(image),
            q=lambda z, tau_2=_TAU_2: Exponential(2.0, temperature=tau_2)(_first_half(z)),
            factor=lambda share=_SHARE: 1 - share,
        ),
    ),
    q_equation="q₁(j|i) ∝ exp(-|v_i - v_j| / τ₁), q₂(j|i) ∝ exp(-|u_i - u_j|² / τ₂), z = (u, v)",
    oracle="kernel_infonce_concatenated_losses_reversed",
)

ROWS = (
    KERNEL_INFONCE,
    LAPLACIAN,
    KERNEL_SUM,
    LOSS_SUM,
    LAPLACIAN_FIRST,
    GAUSSIAN_FIRST,
    CONCATENATED_LOSSES,
    CONCATENATED_LOSSES_REVERSED,
)
