"""Samples for training, from every kind of source, with what comes beside them."""

import sys
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.pictures import encode, first, hugging_face, picture

from torchicon.data import DataError, pixels
from torchicon.data.samples import read_samples


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(["cat/a.png", "cat/b.png", "dog/c.png"]):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def test_pictures_of_the_size_are_kept_bit_by_bit(folder):
    samples = read_samples(folder, size=8)
    np.testing.assert_array_equal(samples.pixels, [first(picture(seed)) for seed in range(3)])
    assert samples.pixels.dtype == np.uint8
    assert samples.names == ["cat/a.png", "cat/b.png", "dog/c.png"]
    assert (samples.labels, samples.classes, samples.features, samples.skipped) == (None, (), None, [])
    assert len(samples) == 3
    np.testing.assert_array_equal(read_samples(folder, size=None).pixels, samples.pixels)


def test_class_folders_are_labels_only_when_asked(folder):
    samples = read_samples(folder, size=8, labels="folder")
    assert samples.labels.tolist() == [0, 0, 1]
    assert samples.labels.dtype == np.int64
    assert samples.classes == ("cat", "dog")
    limited = read_samples(folder, size=8, labels="folder", limit=2)
    assert (len(limited), limited.classes) == (2, ("cat", "dog"))


def test_pictures_of_unequal_native_size_are_refused(folder):
    picture(9, (9, 8)).save(folder / "cat" / "z.png")
    with pytest.raises(DataError, match=r"differ in size: cat/a.png is 8 x 8, cat/z.png is 9 x 8"):
        read_samples(folder, size=None)


def test_parquet_in_the_layout_of_the_hub(tmp_path):
    file = hugging_face(
        tmp_path / "a.parquet",
        label=pa.array([2, -1, 0, None, 1, 2]),
        caption=[f"picture {row}" for row in range(6)],
        rewrites=[[f"view {row}", "other"] for row in range(5)] + [None],
        attributes=pa.array([[row, 0.5] for row in range(6)], pa.list_(pa.float32(), 2)),
        names=["fox", "ape", "bee"],
    )
    plain = read_samples(file, size=8)
    assert (plain.labels, plain.texts, plain.metadata) == (None, None, None)
    samples = read_samples(file, size=8, labels="label", text=("caption", "rewrites"), metadata="attributes")
    np.testing.assert_array_equal(samples.pixels, [first(picture(row)) for row in range(6)])
    assert samples.classes == ("ape", "bee", "fox")
    assert samples.labels.tolist() == [1, -1, 2, -1, 0, 1]
    assert samples.texts[1] == ("picture 1", "view 1", "other")
    assert samples.texts[5] == ("picture 5",)
    np.testing.assert_array_equal(samples.metadata, [[row, 0.5] for row in range(6)])
    assert samples.names[:2] == ["000.png", "001.png"]
    with pytest.raises(DataError, match=r"no column 'lable' for the labels. Did you mean 'label'"):
        read_samples(file, labels="lable")
    with pytest.raises(DataError, match=r"no column 'captoin' for the texts. Did you mean 'caption'"):
        read_samples(file, text="captoin")


def test_parquet_with_plain_bytes_and_parquet_with_features(tmp_path):
    data = pa.array([encode(picture(0)), encode(picture(1))], pa.binary())
    pq.write_table(pa.table({"photo": data, "y": ["10", "9"]}), tmp_path / "a.parquet")
    samples = read_samples(tmp_path / "a.parquet", size=8, labels="y")
    assert (samples.names, samples.classes, samples.labels.tolist()) == (["0", "1"], ("9", "10"), [1, 0])
    np.testing.assert_array_equal(samples.pixels[1], first(picture(1)))
    vectors = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float64()))
    pq.write_table(pa.table({"v": vectors, "m": [0.5, 1.5]}), tmp_path / "b.parquet")
    samples = read_samples(tmp_path / "b.parquet", metadata="m")
    assert samples.features.tolist() == [[1, 2], [3, 4]]
    assert samples.features.dtype == np.float32
    assert samples.metadata.tolist() == [[0.5], [1.5]]
    assert samples.pixels is None


def test_npz_of_pictures_and_of_features(tmp_path):
    channels_last = np.stack([np.asarray(picture(row)) for row in range(4)])
    beside = {"texts": np.array([["a", "b"], ["c", ""], ["d", "e"], ["f", "g"]]), "metadata": np.eye(4)}
    np.savez(tmp_path / "a.npz", images=channels_last, labels=[3, -1, 10, 3], **beside)
    samples = read_samples(tmp_path / "a.npz", size=8)
    np.testing.assert_array_equal(samples.pixels, channels_last.transpose(0, 3, 1, 2))
    assert samples.labels is None
    assert samples.texts[:2] == [("a", "b"), ("c",)]
    np.testing.assert_array_equal(samples.metadata, np.eye(4))
    samples = read_samples(tmp_path / "a.npz", size=4, labels="labels")
    assert samples.pixels.shape == (4, 3, 4, 4)
    assert (samples.classes, samples.labels.tolist()) == (("3", "10"), [0, -1, 1, 0])
    np.savez(tmp_path / "b.npz", images=channels_last.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(read_samples(tmp_path / "b.npz", size=8).pixels, channels_last.transpose(0, 3, 1, 2))
    np.save(tmp_path / "c.npy", np.arange(6.0).reshape(3, 2))
    assert read_samples(tmp_path / "c.npy", limit=2).features.tolist() == [[0, 1], [2, 3]]
    np.savez(tmp_path / "d.npz", images=np.zeros((2, 5, 5), np.uint8), y=np.array([{}, {}], dtype=object))
    assert read_samples(tmp_path / "d.npz", size=None).pixels.shape == (2, 3, 5, 5)
    with pytest.raises(DataError, match="'y' holds Python objects"):
        read_samples(tmp_path / "d.npz", labels="y")


def test_take_restricts_and_renumbers_edges(tmp_path):
    edges = [[0, 1], [1, 3], [3, 2], [2, 0]]
    np.savez(tmp_path / "a.npz", X=np.arange(8.0).reshape(4, 2), edges=edges, weights=[1.0, 2.0, 3.0, 4.0])
    samples = read_samples(tmp_path / "a.npz")
    part = samples.take([3, 1, 2])
    assert part.edges.tolist() == [[1, 0], [0, 2]]
    assert part.weights.tolist() == [2, 3]
    assert part.features[:, 0].tolist() == [6, 2, 4]
    assert part.names == ["3", "1", "2"]
    assert samples.take(np.array([True, True, False, False])).edges.tolist() == [[0, 1]]
    assert read_samples(tmp_path / "a.npz", limit=2).edges.tolist() == [[0, 1]]
    assert np.shares_memory(samples.take(slice(1, 3)).features, samples.features)
    assert len(samples.take([])) == 0
    with pytest.raises(DataError, match="cannot be taken twice"):
        samples.take([1, 1])
    np.savez(tmp_path / "b.npz", X=np.eye(4), edges=[[0, 4]])
    with pytest.raises(DataError, match=r"edge 0 joins rows \[0, 4\]"):
        read_samples(tmp_path / "b.npz")


def test_a_fingerprint_sees_contents_and_not_places(tmp_path, monkeypatch):
    def of(name, **arrays):
        np.savez(tmp_path / name, **arrays)
        return read_samples(tmp_path / name, size=8).fingerprint()

    images = np.zeros((20, 8, 8, 3), dtype=np.uint8)
    changed = images.copy()
    changed[0, 0, 0, 0] = 1
    assert of("a.npz", images=images) == of("b.npz", images=images)
    assert of("a.npz", images=images)["n"] == 20
    assert of("a.npz", images=images)["shapes"] == {"pixels": [20, 3, 8, 8]}
    assert of("a.npz", images=images) != of("b.npz", images=changed)
    texts = np.array(["a"] * 20)
    assert of("a.npz", images=images, texts=texts) != of("b.npz", images=images)
    monkeypatch.setattr(pixels, "DIGEST_BYTES", 1000)
    assert of("a.npz", images=images) != of("b.npz", images=changed)
    assert of("a.npz", images=images) != of("b.npz", images=images[:19])


@pytest.fixture(scope="module")
def datasets():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("datasets")


def test_a_hugging_face_data_set_on_disk(datasets, folder, tmp_path):
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["fox", "ape"]), text=datasets.Value("string")
    )
    images = [{"bytes": encode(picture(0)), "path": None}, {"bytes": None, "path": str(folder / "cat" / "b.png")}]
    rows = {"image": images, "label": [0, 1], "text": ["a fox", "an ape"]}
    whole = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": whole, "small": whole.select([1])}).save_to_disk(tmp_path / "both")
    samples = read_samples(tmp_path / "both", size=8, labels="label", text="text")
    np.testing.assert_array_equal(samples.pixels, [first(picture(0)), first(picture(1))])
    assert (samples.classes, samples.labels.tolist()) == (("ape", "fox"), [1, 0])
    assert samples.texts == [("a fox",), ("an ape",)]
    small = read_samples(tmp_path / "both", size=8, split="small", labels="label")
    np.testing.assert_array_equal(small.pixels, [first(picture(1))])
    assert small.labels.tolist() == [0]
    with pytest.raises(DataError, match=r"no split 'smal'. Did you mean 'small'"):
        read_samples(tmp_path / "both", split="smal")
    whole.save_to_disk(tmp_path / "one")
    assert read_samples(tmp_path / "one", size=8).fingerprint() == read_samples(tmp_path / "both", size=8).fingerprint()
    (tmp_path / "one" / "state.json").write_text("{")
    with pytest.raises(DataError, match="cannot be loaded as a data set"):
        read_samples(tmp_path / "one")


def test_an_id_of_the_hub(datasets, monkeypatch):
    def reached(name, *, split):
        assert (name, split) == ("owner/name", "train")
        return datasets.Dataset.from_dict({"v": [[1.0, 2.0], [3.0, 4.0]]})

    def unreached(name, *, split):
        raise ConnectionError(f"no way to {name}\nand more")

    monkeypatch.setattr(datasets, "load_dataset", reached)
    assert read_samples("owner/name").features.tolist() == [[1, 2], [3, 4]]
    monkeypatch.setattr(datasets, "load_dataset", unreached)
    with pytest.raises(DataError, match=r"owner/name: cannot be loaded as a data set \(no way to owner/name\)"):
        read_samples("owner/name")


def test_without_the_package_datasets_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'torchicon\[train\]'"):
        read_samples("owner/name")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "x"}, "no labels 'x'"),
        ({"text": "x"}, "holds no texts 'x'"),
        ({"metadata": "x"}, "holds no metadata 'x'"),
        ({"split": "test"}, "has no split 'test'"),
        ({"limit": 0}, "limit: must be at least 1"),
        ({"size": -1}, "size: must be at least 1"),
    ],
)
def test_what_a_folder_cannot_give_is_refused(folder, options, message):
    with pytest.raises(DataError, match=message):
        read_samples(folder, **options)


def test_labels_and_texts_that_cannot_be_used_are_refused(tmp_path):
    def read(labels=None, text=None, **arrays):
        np.savez(tmp_path / "a.npz", X=np.eye(2), **arrays)
        return read_samples(tmp_path / "a.npz", labels=labels, text=text)

    assert read(labels="y", y=[2.0, np.nan]).labels.tolist() == [0, -1]
    for arrays, message in [
        ({"y": [0.5, 1.0]}, "row 0 .counted from 0. holds 0.5"),
        ({"y": [-1, -1]}, "all 2 labels 'y' are missing"),
        ({"y": [1, 2, 3]}, r"their shape is \(3,\)"),
    ]:
        with pytest.raises(DataError, match=message):
            read(labels="y", **arrays)
    with pytest.raises(DataError, match="1 of 2 rows have no text, first row 1"):
        read(texts=np.array(["a", " "]))
    with pytest.raises(DataError, match=r"texts 't' must be \(2,\) or \(2, r\) text"):
        read(text="t", t=[1, 2])
    hugging_face(tmp_path / "b.parquet", n=2, label=[0, 5], names=["a", "b"])
    with pytest.raises(DataError, match="label 5 in row 1 is none of the 2 classes"):
        read_samples(tmp_path / "b.parquet", labels="label")
