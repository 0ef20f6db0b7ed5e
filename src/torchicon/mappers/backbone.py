"""Pretrained networks of the transformers library as mappers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Where a model says how its pictures are prepared; recent releases of the library write the first.
_PREPROCESSING = ("processor_config.json", "preprocessor_config.json")


@final
class TransformersBackbone(nn.Module):
    """A vision model by its id on the Hugging Face hub or its local folder: pictures to features.

    The feature is the model's pooled output if it has one (CLIP, DINOv2), else the mean over the last hidden states.
    Weights are read from safetensors only, never from a pickle, in float32; code that comes with a model is not run.

    Args:
        name: id, such as "facebook/dinov2-base", or folder.
        image_size: that pictures are resized to where the model does not say what it was trained on.

    Attributes:
        n_features: of the pooled output.
        image_size: that pictures are resized to; None leaves them as they are.
        mean, std: of the pictures the model was trained on; pictures in [0, 1] are normalized by them.

    Raises:
        ValueError: the model cannot be loaded, or the file lacks some of its weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, *, image_size: int | None = None) -> None:
        super().__init__()
        self.network, config, self._pools = _loaded(name, "vision")
        prepared = _preprocessing(name)
        self.image_size = _side(prepared, getattr(config, "image_size", image_size))
        normalized = prepared.get("do_normalize", True)
        for key, without in (("mean", 0.0), ("std", 1.0)):
            value = prepared.get(f"image_{key}", [0.5] * 3) if normalized else [without] * 3
            self.register_buffer(key, torch.tensor(value).reshape(3, 1, 1))
        self.n_features = int(config.hidden_size if hasattr(config, "hidden_size") else config.hidden_sizes[-1])

    def forward(self, pictures: Tensor) -> Tensor:
        """Features (b, n_features) of pictures (b, 3, h, w) in [0, 1]."""
        side = self.image_size
        if side is not None and tuple(pictures.shape[2:]) != (side, side):
            pictures = F.interpolate(pictures, (side, side), mode="bicubic", antialias=True, align_corners=False)
            pictures = pictures.clamp(0, 1)  # a cubic goes beyond the values it passes through
        return _pooled(self.network(pixel_values=(pictures - self.mean) / self.std), pools=self._pools)


@final
class TextBackbone(nn.Module):
    """A text model of the transformers library: texts to features.

    Args:
        name: id or folder; its tokenizer comes along.
        length: tokens that a text is cut to.

    Attributes:
        n_features: of the pooled output, or of the mean over tokens.

    Raises:
        ValueError: the model or its tokenizer cannot be loaded, or the file lacks some of its weights.
    """

    def __init__(self, name: str, *, length: int = 77) -> None:
        super().__init__()
        from transformers import AutoTokenizer

        self.network, config, self._pools = _loaded(name, "text")
        self.tokenizer = _found(name, "tokenizer", lambda: AutoTokenizer.from_pretrained(name, trust_remote_code=False))
        if len(self.tokenizer) <= len(set(self.tokenizer.all_special_ids)):  # made up by the library, without words
            raise ValueError(f"The transformers model {name!r} comes without a tokenizer. Add the tokenizer's files.")
        positions = getattr(config, "max_position_embeddings", length)
        self.length = min(length, positions, self.tokenizer.model_max_length)
        self.n_features = int(config.hidden_size)

    def tokens(self, texts: list[str]) -> dict[str, Tensor]:
        """``input_ids`` and ``attention_mask``, each (b, length)."""
        made = self.tokenizer(texts, padding="max_length", truncation=True, max_length=self.length, return_tensors="pt")
        return {name: made[name] for name in ("input_ids", "attention_mask")}

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Features (b, n_features)."""
        out = self.network(input_ids=input_ids, attention_mask=attention_mask)
        return _pooled(out, attention_mask, pools=self._pools)


def _loaded(name: str, tower: str) -> tuple[nn.Module, Any, bool]:
    """The model, or of one with two towers (CLIP) that tower; its config; and whether it has a trained pooler."""
    from transformers import AutoModel

    model, report = _found(
        name,
        "model",
        lambda: AutoModel.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        ),
    )
    missing = sorted(report["missing_keys"])
    # Many files are of a network without a pooler; the library then draws one, whose output means nothing.
    lacking = [key for key in missing if "pooler" not in key.split(".")]
    if lacking:
        raise ValueError(
            f"The transformers model {name!r} lacks {len(lacking)} of its weights, such as {lacking[0]}, and would "
            "have random ones. Give a model whose safetensors file is whole."
        )
    model = getattr(model, f"{tower}_model", model).float()
    return model, model.config, not missing


def _found(name: str, what: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"The transformers {what} {name!r} cannot be loaded ({reason}). Give the id of a public model, or a folder "
            "with config.json and model.safetensors, and for texts the tokenizer's files."
        ) from error


def _preprocessing(name: str) -> dict[str, Any]:
    """How the model's pictures are prepared; empty where it does not say."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    unknown = False
    for file in _PREPROCESSING:
        try:
            path = Path(name) / file if Path(name).is_dir() else Path(hf_hub_download(name, file))
        except LocalEntryNotFoundError:  # a kind of the next, but it means that nobody could be asked
            unknown = True
            continue
        except EntryNotFoundError:
            continue
        if path.is_file():
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            content = content.get("image_processor", content)
            if "image_mean" in content:
                return content
    if unknown:
        raise ValueError(f"How {name} wants its pictures is not known offline. Ask for it once with a network.")
    return {}


def _side(prepared: dict[str, Any], otherwise: Any) -> int | None:
    """Pixels of the pictures that the network sees: those it is fed by default, which for DINOv2 are fewer than those
    it has positions for."""
    size = (prepared.get("do_center_crop", True) and prepared.get("crop_size")) or prepared.get("size") or otherwise
    if isinstance(size, dict):
        size = size.get("height", size.get("shortest_edge", otherwise))
    return size if isinstance(size, int) else None


def _pooled(out: Any, mask: Tensor | None = None, *, pools: bool) -> Tensor:
    pooled: Tensor | None = getattr(out, "pooler_output", None) if pools else None
    if pooled is not None:
        return pooled.flatten(1)
    hidden: Tensor = out.last_hidden_state
    if mask is None:
        return hidden.mean(1) if hidden.ndim == 3 else hidden.mean((2, 3))
    weight = mask[:, :, None].to(hidden)
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
