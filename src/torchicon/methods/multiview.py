"""Contrastive multiview coding over two memory banks, whole or within balls and annuli (theory 2.5)."""

from __future__ import annotations

from collections.abc import Callable

from torchicon.core import Rows
from torchicon.methods import problems
from torchicon.methods.citations import reference
from torchicon.methods.claims import EqualLoss
from torchicon.methods.method import Method, Term
from torchicon.methods.mutual_information import (
    ITERATIONS,
    OMEGA,
    SIZE,
    in_annulus,
    in_ball,
    in_shrinking_annulus,
    in_shrinking_ball,
    own_row,
    softmax,
)


def _multiview(
    name: str,
    key: str,
    *,
    of_z: Callable[..., Rows],
    of_text: Callable[..., Rows],
    candidates: str,
    constants: str = "",
    oracle: str,
) -> Method:
    """A row of two terms: the anchors of each modality choose in the bank of the other one."""
    return Method(
        name=name,
        cell=("Cross-modal", "Gaussian"),
        citation=reference(key),
        p=lambda index, text_bank: own_row(index, text_bank),
        q=of_z,
        others=(Term(p=own_row, q=of_text),),
        learns=("z", "text"),
        p_equation="p(j|i) = 1[j = i]",
        q_equation="q(j|i) ∝ exp(cos(z_i, M'_j) / ω), M' the bank of the other modality; and the other way round",
        mapper="an encoder for each modality (in the paper luminance and color); a bank M, M' for each",
        candidates=candidates,
        constants=f"the sum of both directions, each a mean{constants}",
        oracle=oracle,
        claim=EqualLoss(),
        example=problems.remembered,
    )


CMC = _multiview(
    "CMC",
    "tian2020contrastive",
    of_z=lambda z, text_bank, temperature=OMEGA: softmax(z, text_bank, temperature=temperature),
    of_text=lambda text, bank, temperature=OMEGA: softmax(text, bank, temperature=temperature),
    candidates="all rows of the other modality's bank, own included",
    constants="; log N - loss / 2 bounds the mutual information of the two",
    oracle="cmc_bank",
)

CMC_BALL = _multiview(
    "CMC-BALL",
    "wu2020mutual",
    of_z=lambda z, text_bank, index, size=SIZE, temperature=OMEGA: in_ball(
        z, text_bank, index, size=size, temperature=temperature
    ),
    of_text=lambda text, bank, index, size=SIZE, temperature=OMEGA: in_ball(
        text, bank, index, size=size, temperature=temperature
    ),
    candidates="B, taken in the bank that is in the softmax",
    oracle="cmc_ball",
)

CMC_ANN = _multiview(
    "CMC-ANN",
    "wu2020mutual",
    of_z=lambda z, text_bank, index, text_cluster, size=SIZE, temperature=OMEGA: in_annulus(
        z, text_bank, index, text_cluster, size=size, temperature=temperature
    ),
    of_text=lambda text, bank, index, cluster, size=SIZE, temperature=OMEGA: in_annulus(
        text, bank, index, cluster, size=size, temperature=temperature
    ),
    candidates="{i} ∪ (B - C), taken in the bank that is in the softmax",
    oracle="cmc_ann",
)

CMC_BALL_PLUS = _multiview(
    "CMC-BALL+",
    "wu2020mutual",
    of_z=lambda z, text_bank, index, iteration, size=SIZE, iterations=ITERATIONS, temperature=OMEGA: in_shrinking_ball(
        z, text_bank, index, iteration, size=size, iterations=iterations, temperature=temperature
    ),
    of_text=lambda text, bank, index, iteration, size=SIZE, iterations=ITERATIONS, temperature=OMEGA: in_shrinking_ball(
        text, bank, index, iteration, size=size, iterations=iterations, temperature=temperature
    ),
    candidates="B, shrinking from the whole bank over the first half of training (our schedule)",
    oracle="cmc_ball_plus",
)

CMC_ANN_PLUS = _multiview(
    "CMC-ANN+",
    "wu2020mutual",
    of_z=lambda z, text_bank, index, text_cluster, iteration, size=SIZE, iterations=ITERATIONS, temperature=OMEGA: (
        in_shrinking_annulus(
            z, text_bank, index, text_cluster, iteration, size=size, iterations=iterations, temperature=temperature
        )
    ),
    of_text=lambda text, bank, index, cluster, iteration, size=SIZE, iterations=ITERATIONS, temperature=OMEGA: (
        in_shrinking_annulus(
            text, bank, index, cluster, iteration, size=size, iterations=iterations, temperature=temperature
        )
    ),
    candidates="{i} ∪ (B - C), B shrinking from the whole bank over the first half of training (our schedule)",
    oracle="cmc_ann_plus",
)

ROWS = (CMC, CMC_BALL, CMC_ANN, CMC_BALL_PLUS, CMC_ANN_PLUS)
