"""Pictures with their texts, and pretrained encoders from a folder."""

import numpy as np
import pytest
import torch
from tests.training.tiny import config_of
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn import functional as F
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, ViTConfig, ViTModel

from torchicon.training import Encoder, train
from torchicon.training.prepare import prepare
from torchicon.training.step import Step

SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
WORDS = ["[PAD]", "[UNK]", "a", "square", "0", "1", "2", "one", "color"]


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """A text model of nine words, without dropout, in a folder."""
    folder = tmp_path_factory.mktemp("models") / "bert"
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(BertConfig(**SMALL, **quiet, vocab_size=len(WORDS), max_position_embeddings=6)).save_pretrained(
            folder
        )
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    return str(folder)


def step_of(ready):
    batch = next(iter(ready.data.train_dataloader()))
    return Step(ready.module, batch, ready.module._views(batch)), batch


def test_clip_reads_the_text_of_each_picture(squares, language):
    """The text part is the head's output for the texts of the batch's own samples."""
    ready = prepare(config_of("CLIP", squares, text=("caption",), text_mapper=language, labels="label"))
    step, batch = step_of(ready)
    assert len(ready.module.encoder.sizes) == 1  # the picture is whole, not split into lightness and colors
    with np.load(squares) as file:
        captions = file["caption"]
    tokens = ready.module.text_encoder.tokens([str(text) for text in captions[batch.index.numpy()].ravel()])
    features = ready.module.text_encoder(**tokens).reshape(len(batch.index), 2, -1)
    either = [torch.isclose(step.features[1], features[:, i], atol=1e-5).all(1) for i in range(2)]
    assert (either[0] | either[1]).all()
    assert either[0].any()
    assert either[1].any()  # of several texts one is drawn


def test_laclip_is_clip_of_the_drawn_text(squares, language):
    """Against cross-entropies of scaled cosines in both directions."""
    ready = prepare(config_of("LaCLIP", squares, text=("caption",), text_mapper=language))
    step, _ = step_of(ready)
    z = F.normalize(step["z"], dim=1)
    text = F.normalize(step["rewrites"][:, 0], dim=1)
    scores = step["log_scale"].exp() * z @ text.T
    own = torch.arange(len(z))
    expected = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
    torch.testing.assert_close(ready.module.row.loss(step), expected)


def test_text_encoder_learns(squares, language, tmp_path):
    config = config_of("CLIP", squares, text=("caption",), text_mapper=language, epochs=1)
    train(config, tmp_path / "run")
    assert Encoder.from_pretrained(tmp_path / "run").n_features == 32


@pytest.mark.parametrize("frozen", [True, False])
def test_a_pretrained_model_is_a_mapper(squares, tmp_path, frozen):
    """Its weights are where training starts, and stay there if it is frozen; the run alone is enough to load it."""
    folder = tmp_path / "vit"
    model = ViTModel(ViTConfig(**SMALL, image_size=8, patch_size=4, hidden_dropout_prob=0.0))
    model.eval().save_pretrained(folder)
    config = config_of("SimCLR", squares, mapper=str(folder), frozen=frozen, epochs=1)
    train(config, tmp_path / "run")
    encoder = Encoder.from_pretrained(tmp_path / "run")
    x = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(pixel_values=(x - 0.5) / 0.5).pooler_output
        after = encoder(x)
    assert torch.allclose(before, after, atol=1e-5) == frozen


def test_networks_of_ones_own_by_their_place(squares, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n\ndef network():\n    return nn.Sequential(nn.Flatten(), nn.Linear(192, 5))\n"
    )
    monkeypatch.chdir(tmp_path)
    train(config_of("SimCLR", squares, mapper="mine:network", epochs=1), tmp_path / "run")
    assert Encoder.from_pretrained(tmp_path / "run")(torch.rand(2, 3, 8, 8)).shape == (2, 5)


@pytest.mark.parametrize("given", [{"optimizer": "lars"}, {"optimizer": "adamw", "lr": 1e-3}, {"precision": "bf16"}])
def test_optimizers_and_precisions_learn(squares, tmp_path, given):
    """The loss falls, over the same batches seen again."""
    config = config_of("SupCon", squares, labels="label", views="none", epochs=12, clip=1.0, **given)
    train(config, tmp_path / "run")
    loss = [float(row.split(",")[2]) for row in (tmp_path / "run" / "metrics.csv").read_text().splitlines()[1:]]
    assert np.mean(loss[-3:]) < np.mean(loss[:3]) - 0.05


def test_the_compiled_encoder_is_the_encoder(squares, monkeypatch):
    """`compile` hands the encoder to torch.compile; what that makes of it is run."""
    seen = []
    monkeypatch.setattr(torch, "compile", lambda function: seen.append(function) or function)
    ready = prepare(config_of("SimCLR", squares, compile=True))
    loss = ready.module.training_step(next(iter(ready.data.train_dataloader())), 0)
    assert len(seen) == 1
    assert torch.isfinite(loss)


def test_cluster_heads_travel_with_the_encoder(squares, tmp_path):
    train(config_of("CRLC", squares, labels="label", epochs=1), tmp_path / "run")
    encoder = Encoder.from_pretrained(tmp_path / "run")
    probabilities = encoder.probabilities(torch.rand(3, 3, 8, 8))
    assert probabilities.shape == (3, 4)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(3))
    train(config_of("SimCLR", squares, epochs=1), tmp_path / "other")
    with pytest.raises(ValueError, match="without clusters"):
        Encoder.from_pretrained(tmp_path / "other").probabilities(torch.rand(3, 3, 8, 8))
