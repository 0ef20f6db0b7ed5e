"""The pictures' trainer: every kind of problem trains and is shown, and what is done is not done again."""

import json
import sys
from pathlib import Path

import pytest
import torch

from torchicon import TABLE
from torchicon.methods import problems


@pytest.fixture(scope="module")
def trainer():
    folder = str(Path(__file__).parents[2] / "experiments")
    sys.path.insert(0, folder)
    try:
        import periodic_table

        yield periodic_table
    finally:
        sys.path.remove(folder)


KINDS = {method.example.__name__: method for method in TABLE}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if hasattr(problems, kind)])
def test_every_kind_trains(trainer, tmp_path, kind):
    path = tmp_path / "one.json"
    trainer.train_one(KINDS[kind], path, steps=2)
    record = json.loads(path.read_text(encoding="utf-8"))
    if "without" in record:
        assert "picture" not in record
        return
    assert 0 <= record["value"] <= 1
    assert record["metric"]
    assert record["picture"]["dims"] in (2, 3)
    assert len(record["loss"]) == 2


def test_what_is_done_is_kept_until_it_changes(trainer, tmp_path, monkeypatch):
    path = tmp_path / "one.json"
    method = KINDS["points"]
    trainer.train_one(method, path, steps=1)
    monkeypatch.setattr(trainer, "picture_of", lambda *_: {"metric": "again", "value": 0.0})
    trainer.train_one(method, path)
    assert json.loads(path.read_text(encoding="utf-8"))["metric"] != "again"
    trainer.train_one(method, path, force=True)
    assert json.loads(path.read_text(encoding="utf-8"))["metric"] == "again"
    path.write_text(path.read_text(encoding="utf-8").replace(trainer.fingerprint(method), "another"), encoding="utf-8")
    trainer.train_one(method, path)
    assert json.loads(path.read_text(encoding="utf-8"))["fingerprint"] == trainer.fingerprint(method)


def test_pack_keeps_shared_arrays_once(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "ROOT", tmp_path)
    clusterings = [method for method in TABLE if method.example is problems.assigned][:2]
    paths = [tmp_path / f"{trainer.slug(method.name)}.json" for method in clusterings]
    for method, path in zip(clusterings, paths, strict=True):
        trainer.train_one(method, path, steps=1)
    trainer.pack([*paths, tmp_path / "absent.json"], tmp_path / "gallery.json")
    gallery = json.loads((tmp_path / "gallery.json").read_text(encoding="utf-8"))
    first, second = (gallery["methods"][method.name]["picture"] for method in clusterings)
    assert first["points"] == second["points"]  # the same t-SNE map under both
    assert first["codes"] != second["codes"]


def test_names_of_files_differ(trainer):
    assert len({trainer.slug(method.name) for method in TABLE}) == len(TABLE)


def test_labels_never_enter_unsupervised_training(trainer):
    """The same picture comes out when all labels are permuted, unless the method asks for labels."""
    from pictures import digits
    from pictures.scene import Scene
    from pictures.training import fit, used_names

    shuffle = torch.Generator().manual_seed(1)
    parts = digits.load(10, 0)
    orders = [torch.randperm(len(part.label), generator=shuffle) for part in parts]
    wrong = tuple(digits.Digits(part.x, part.label[order]) for part, order in zip(parts, orders, strict=True))
    for kind in ("points", "views", "assigned", "pairs"):
        assert "label" not in used_names(KINDS[kind])
        losses = [
            fit(KINDS[kind], Scene(KINDS[kind], seen, torch.Generator().manual_seed(0)), 2) for seen in (parts, wrong)
        ]
        assert losses[0] == losses[1]
