"""The papers' choices for a method, where they differ from the defaults of `TrainConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# The defaults are those of contrastive learning on small pictures: SGD with momentum 0.9 and a cosine. The rate of 0.3
# for a batch of 256 is our choice, between those of MoCo's code (0.06) and of SimCLR's (1 and more, by LARS).
_BANK: Mapping[str, Any] = {"views": "wu", "lr": 0.03, "schedule": "step", "weight_decay": 1e-4, "warmup_epochs": 0.0}
_CLIP: Mapping[str, Any] = {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.1}
# SimCLR enters the sum ten times, so a tenth of the rate is what moves the encoder as fast.
_CRLC: Mapping[str, Any] = {"views": "crlc", "lr": 0.03}
_NEIGHBORS: Mapping[str, Any] = {"neighbors": 20, "settings": {"k": 1}}  # the one that is drawn is the positive

RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "MoCo": {"teacher_momentum": 0.999, "teacher_schedule": "constant"},
        "DINO": {"clusters": 4096},  # the paper's 65,536 are for ImageNet
        # heads of its code for residual networks; those for vision transformers have a layer more
        "MoCo v3": {"views": "moco-v3", "head_last_norm": True},
        "IR (InfoNCE)": _BANK,
        "IR (NCE)": _BANK,
        "LA": _BANK,
        "LA0": _BANK,
        "BALL": _BANK,
        "ANN": _BANK,
        "BALL+": _BANK,
        "ANN+": _BANK,
        "VINCE": _BANK,
        "CMC": _BANK,
        "CMC-BALL": _BANK,
        "CMC-ANN": _BANK,
        "CMC-BALL+": _BANK,
        "CMC-ANN+": _BANK,
        "CLIP": _CLIP,
        "LaCLIP": _CLIP,
        "CRLC": _CRLC,
        "CRLC, semi-supervised": _CRLC,
        "CRLC, sub-heads": {"views": "crlc", "heads": 10},
        "CRLC, two-stage": _NEIGHBORS,
        "InfoNCE clustering": _NEIGHBORS,
        "InfoNCE clustering (by point)": _NEIGHBORS,
        "DCD": _NEIGHBORS,
        "TEMI": _NEIGHBORS,
        "LGSimCLR": {"neighbors": 1},
        "t-SimCNE": {"dimensions": 2},
    }
)


def defaults_of(method: str) -> dict[str, Any]:
    """What the method's recipe sets."""
    return dict(RECIPES.get(method, {}))
