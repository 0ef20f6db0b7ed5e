"""Features are those of the model that was saved, on any machine, and nothing else is loaded."""

import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from torchicon.mappers.backbone import TextBackbone, TransformersBackbone

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
OF_PICTURES = {"image_size": 16, "patch_size": 8}
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]
WORDS = ["[PAD]", "[UNK]", "[EOS]", "a", "small", "dog", "and", "large", "cat"]


@pytest.fixture(autouse=True)
def offline_and_seeded(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read from the environment at its import

    def refuse(*_, **__):
        raise AssertionError("the network was touched")

    monkeypatch.setattr("socket.socket.connect", refuse)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def save(model, folder, *, file="preprocessor_config.json", **preprocessing):
    """A model's folder."""
    model.eval().save_pretrained(folder)
    if preprocessing:
        (folder / file).write_text(json.dumps(preprocessing))
    return str(folder)


def normalized(x, mean=MEAN, std=STD):
    mean, std = (torch.tensor(value)[:, None, None] for value in (mean, std))
    return (x - mean) / std


CLIP = CLIPConfig(
    text_config=SMALL | {"vocab_size": len(WORDS), "eos_token_id": 2, "max_position_embeddings": 8},
    vision_config=SMALL | OF_PICTURES | {"hidden_size": 12},
    projection_dim=10,
)
VISION = {
    "vit": lambda: ViTModel(ViTConfig(**SMALL, **OF_PICTURES)),
    "dinov2": lambda: Dinov2Model(Dinov2Config(**SMALL, **OF_PICTURES)),
    "clip": lambda: CLIPModel(CLIP),
}


@pytest.mark.parametrize("make", VISION.values(), ids=VISION)
@pytest.mark.parametrize("nested", [False, True])
def test_pictures_have_the_models_own_pooled_features(make, nested, tmp_path):
    model, x = make(), draw(3, 3, 16, 16)
    said = {"image_mean": MEAN, "image_std": STD}
    if nested:
        folder = save(model, tmp_path, file="processor_config.json", image_processor=said, processor_class="P")
    else:
        folder = save(model, tmp_path, **said)
    own = getattr(model, "vision_model", model)
    backbone = TransformersBackbone(folder)
    with torch.no_grad():
        expected = own(pixel_values=normalized(x)).pooler_output
        torch.testing.assert_close(backbone(x), expected)
    assert expected.shape == (3, backbone.n_features)


def test_pictures_are_resized_and_normalized_as_the_model_says(tmp_path):
    """Fed at 16 pixels by default, though it has positions for 32, as DINOv2 at 224 with positions for 518."""
    model, x = Dinov2Model(Dinov2Config(**SMALL, image_size=32, patch_size=8)), draw(2, 3, 40, 24).round()
    small = F.interpolate(x, (16, 16), mode="bicubic", antialias=True)
    assert small.max() > 1
    cases = [
        ({"crop_size": {"height": 16, "width": 16}, "size": {"shortest_edge": 20}}, 16),
        ({"crop_size": 16, "size": 20}, 16),
        ({"do_center_crop": False, "crop_size": 24, "size": {"height": 16, "width": 16}}, 16),
        ({"size": {"shortest_edge": 16}}, 16),
        ({}, 32),
    ]
    for number, (said, side) in enumerate(cases):
        backbone = TransformersBackbone(save(model, tmp_path / str(number), image_mean=MEAN, image_std=STD, **said))
        assert backbone.image_size == side
        if side == 16:
            with torch.no_grad():
                expected = model(pixel_values=normalized(small.clamp(0, 1))).pooler_output
                torch.testing.assert_close(backbone(x), expected)


def test_what_a_model_does_not_say(tmp_path):
    plain = TransformersBackbone(save(VISION["vit"](), tmp_path / "a"))
    assert plain.mean.flatten().tolist() == plain.std.flatten().tolist() == [0.5] * 3
    raw = save(VISION["vit"](), tmp_path / "b", image_mean=MEAN, image_std=STD, do_normalize=False)
    assert torch.equal(normalized(draw(1, 3, 2, 2), [0.0] * 3, [1.0] * 3), draw(1, 3, 2, 2))
    unnormalized = TransformersBackbone(raw)
    assert unnormalized.mean.flatten().tolist() == [0.0] * 3
    assert unnormalized.std.flatten().tolist() == [1.0] * 3


def test_a_pooler_that_was_not_trained_is_not_used(tmp_path):
    """A classifier's file has none, and the library would draw one: features would differ with every load."""
    model, x = ViTForImageClassification(ViTConfig(**SMALL, **OF_PICTURES)), draw(2, 3, 16, 16)
    folder = save(model, tmp_path, image_mean=MEAN, image_std=STD)
    with torch.no_grad():
        expected = model.vit(pixel_values=normalized(x)).last_hidden_state.mean(1)
        torch.testing.assert_close(TransformersBackbone(folder)(x), expected)


def test_half_precision_weights_are_used_in_float32(tmp_path):
    model = VISION["vit"]().bfloat16()
    backbone = TransformersBackbone(save(model, tmp_path))
    assert {weight.dtype for weight in backbone.parameters()} == {torch.float32}
    assert backbone(draw(1, 3, 16, 16)).dtype == torch.float32


def test_what_cannot_be_loaded_is_refused(tmp_path):
    model = VISION["vit"]()
    folder = save(model, tmp_path / "a")
    (tmp_path / "a" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "a" / "pytorch_model.bin")
    (tmp_path / "empty").mkdir()
    for name in (folder, str(tmp_path / "empty"), str(tmp_path / "nothing"), "nobody/nothing", "no such id"):
        for kind in (TransformersBackbone, TextBackbone):
            with pytest.raises(ValueError, match=r"cannot be loaded .*model\.safetensors"):
                kind(name)


def test_a_file_that_lacks_weights_is_refused(tmp_path):
    model = VISION["vit"]()
    del model.layernorm
    with pytest.raises(ValueError, match=r"lacks 2 of its weights, such as layernorm\.bias"):
        TransformersBackbone(save(model, tmp_path))


def save_tokenizer(folder, **named):
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", **named).save_pretrained(
        folder
    )


TEXTS = ["a small dog", "a large cat and a small dog and a bird", "cat"]
IDS = [[3, 4, 5, 0, 0, 0], [3, 7, 8, 6, 3, 4], [8, 0, 0, 0, 0, 0]]


def text_model():
    return BertModel(BertConfig(**SMALL, vocab_size=len(WORDS), max_position_embeddings=8))


def test_texts_have_the_models_own_pooled_features(tmp_path):
    model, clip = text_model(), CLIPModel(CLIP)
    for number, (whole, own) in enumerate([(model, model), (clip, clip.text_model)]):
        folder = save(whole, tmp_path / str(number))
        save_tokenizer(folder)
        backbone = TextBackbone(folder, length=6)
        tokens = backbone.tokens(TEXTS)
        assert tokens["input_ids"].tolist() == IDS
        assert tokens["attention_mask"].tolist() == [[int(i > 0) for i in row] for row in IDS]
        with torch.no_grad():
            expected = own(**tokens).pooler_output
            torch.testing.assert_close(backbone(**tokens), expected)
        assert expected.shape == (3, backbone.n_features)


def test_without_a_pooler_a_text_is_the_mean_of_its_tokens(tmp_path):
    model = BertModel(text_model().config, add_pooling_layer=False)
    folder = save(model, tmp_path)
    save_tokenizer(folder)
    backbone = TextBackbone(folder, length=6)
    with torch.no_grad():
        found = backbone(**backbone.tokens(TEXTS))
        for text, row in zip(IDS, found, strict=True):
            ids = torch.tensor([[i for i in text if i]])
            torch.testing.assert_close(row, model(input_ids=ids).last_hidden_state[0].mean(0))


@pytest.mark.parametrize(("asked", "known", "expected"), [(77, None, 8), (77, 5, 5), (3, 5, 3)])
def test_texts_are_cut_to_what_model_and_tokenizer_can(asked, known, expected, tmp_path):
    folder = save(text_model(), tmp_path)
    save_tokenizer(folder, **({} if known is None else {"model_max_length": known}))
    assert TextBackbone(folder, length=asked).tokens(TEXTS)["input_ids"].shape == (3, expected)


def test_a_text_model_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="comes without a tokenizer"):
        TextBackbone(save(text_model(), tmp_path))
