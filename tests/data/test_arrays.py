"""Readers of .npy, .npz and .safetensors: what is written comes back."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from torchicon.data import DataError, checks, read_table
from torchicon.data import arrays as reader

finite32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
matrices = hnp.arrays(np.float32, st.tuples(st.integers(1, 7), st.integers(1, 5)), elements=finite32)
TYPES = ["float16", "float32", "float64", "int8", "uint8", "int64", "uint16", "bool", ">f4", ">i2"]


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        safetensors.numpy.save_file(arrays, path)


@given(x=matrices, order=st.sampled_from("CF"))
def test_npy_round_trip(x, order):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        np.save(path, np.asarray(x, order=order))
        table = read_table(path)
    np.testing.assert_array_equal(table.features, x)
    assert table.features.flags.writeable
    assert table.features.flags.c_contiguous
    assert type(table.features) is np.ndarray
    assert table.row_names == [str(row) for row in range(len(x))]
    assert len(table.columns) == x.shape[1]
    assert (table.labels, table.label_name, table.images, table.notes) == (None, None, None, [])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_large_features_stay_in_their_file(tmp_path, monkeypatch, dtype):
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setattr(reader, "_MAPPED_BYTES", x.nbytes)
    assert not isinstance(read_table(tmp_path / "x.npy").features, np.memmap)
    monkeypatch.setattr(reader, "_MAPPED_BYTES", x.nbytes - 1)
    features = read_table(tmp_path / "x.npy").features
    assert isinstance(features, np.memmap)
    assert features.dtype == dtype
    np.testing.assert_array_equal(features, x)


def test_large_features_are_checked_in_blocks(tmp_path, monkeypatch):
    x = np.ones((30, 4), dtype=np.float16)
    x[[7, 28], [1, 3]] = np.nan, -np.inf
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setattr(reader, "_MAPPED_BYTES", 0)
    monkeypatch.setattr(checks, "_BLOCK", 20)
    message = r"2 of 30 x 4 values are not: NaN in row 7, column 'c1' \(1\); infinity in row 28, column 'c3' \(3\)"
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "x.npy")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@given(x=matrices, name=st.sampled_from(["X", "features", "x", "anything"]), data=st.data())
def test_named_arrays_round_trip(suffix, x, name, data):
    labels = data.draw(hnp.arrays(np.int64, len(x)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        save(path, {name: x, "y": labels})
        table = read_table(path, labels="y")
    np.testing.assert_array_equal(table.features, x)
    np.testing.assert_array_equal(table.labels, labels)
    assert table.label_name == "y"


@pytest.mark.parametrize("dtype", TYPES)
def test_every_number_type_becomes_float32(tmp_path, dtype):
    x = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    table = read_table(tmp_path / "x.npy")
    assert table.features.dtype == np.float32
    np.testing.assert_array_equal(table.features, x.astype(np.float32))


def test_bfloat16_tensors_are_widened(tmp_path):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    safetensors.torch.save_file({"features": x}, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(read_table(tmp_path / "x.safetensors").features, x.float().numpy())


def test_tensors_of_unknown_type_are_noted(tmp_path):
    tensors = {"features": torch.ones(4, 3), "small": torch.ones(4, 3).to(torch.float8_e4m3fn)}
    safetensors.torch.save_file(tensors, tmp_path / "x.safetensors")
    assert "'small' has type F8_E4M3" in read_table(tmp_path / "x.safetensors").notes[0]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([0.0, 2.0, 1.0]), [0, 2, 1]),
        (np.array(["b", " a ", "c"]), ["b", "a", "c"]),
        (np.array([b"b", b"a", b"c"]), ["b", "a", "c"]),
        (np.array([True, False, True]), [True, False, True]),
        (np.array([[3], [1], [2]]), [3, 1, 2]),
    ],
    ids=["whole floats", "text", "bytes", "bool", "one column"],
)
def test_labels_of_every_kind(tmp_path, labels, expected):
    np.savez(tmp_path / "x.npz", X=np.eye(3), y=labels)
    assert read_table(tmp_path / "x.npz", labels="y").labels.tolist() == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(4), r"one for each of the 3 rows, but their shape is \(4,\)"),
        (np.zeros((3, 2)), "one for each of the 3 rows"),
        (np.array(["a", "", "c"]), "missing in 1 of 3 rows, first in row 1"),
        (np.array([0, 1, np.nan]), "missing in 1 of 3 rows, first in row 2"),
        (np.array([0, 0.5, 1]), "must name classes, but row 1 holds 0.5"),
        (np.array([0, np.inf, 1]), "must name classes, but row 1 holds inf"),
        (np.array([0, 1, 2], dtype=complex), "integers or text"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path, labels, message):
    np.savez(tmp_path / "x.npz", X=np.eye(3), y=labels)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "x.npz", labels="y")


def test_text_beside_features_names_the_rows(tmp_path):
    np.savez(tmp_path / "x.npz", X=np.eye(2), title=np.array(["one", "two"]), y=np.array(["p", "q"]))
    assert read_table(tmp_path / "x.npz", labels="y").row_names == ["one", "two"]


def test_pictures_beside_features_are_kept_to_be_looked_at(tmp_path):
    pictures = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    np.savez(tmp_path / "x.npz", X=np.eye(2), pictures=pictures)
    table = read_table(tmp_path / "x.npz")
    np.testing.assert_array_equal(table.features, np.eye(2))
    np.testing.assert_array_equal(table.images, pictures)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.eye(2), "b": np.eye(2)}, "2 2-D arrays, and none is named X"),
        ({"a": np.arange(3)}, r"no 2-D array of numbers.*'a' \(3,\) int64"),
        ({"X": np.arange(3)}, r"X must be \(n, d\) numbers"),
        ({"X": np.zeros((2, 2, 2))}, "scale pictures to 0..255"),
        ({"X": np.array([["a", "b"]])}, r"X must be \(n, d\) numbers"),
        ({"X": np.zeros((2, 3), dtype=complex)}, r"X must be \(n, d\) numbers"),
        ({"X": np.zeros((0, 3))}, "has no rows"),
        ({"X": np.zeros((3, 0))}, "is empty: 3 rows of 0 features"),
        ({}, "holds nothing"),
    ],
)
def test_archives_without_clear_features(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=f"(?s){message}"):
        read_table(tmp_path / "x.npz")


def test_unknown_labels_suggest_the_nearest_name(tmp_path):
    np.savez(tmp_path / "x.npz", X=np.eye(2), Label=np.arange(2))
    with pytest.raises(DataError, match=r"no array 'lable'.*Did you mean 'Label'\? There are: 'X', 'Label'"):
        read_table(tmp_path / "x.npz", labels="lable")


def test_a_single_array_has_no_labels(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(2))
    with pytest.raises(DataError, match=r"no labels, so 'y' cannot be found.*np\.savez"):
        read_table(tmp_path / "x.npy", labels="y")


def test_object_arrays_are_never_unpickled(tmp_path):
    bomb = np.array([[Bomb()]], dtype=object)
    np.save(tmp_path / "x.npy", bomb, allow_pickle=True)
    np.savez(tmp_path / "x.npz", X=bomb)
    for name in ["x.npy", "x.npz"]:
        with pytest.raises(DataError, match=r"Python objects\. Such arrays are pickles"):
            read_table(tmp_path / name)


def test_object_arrays_beside_the_features_are_left_alone(tmp_path):
    np.savez(tmp_path / "x.npz", X=np.eye(2), extra=np.array([Bomb()], dtype=object))
    table = read_table(tmp_path / "x.npz")
    assert table.features.shape == (2, 2)
    assert "'extra' holds Python objects" in table.notes[0]
    with pytest.raises(DataError, match="'extra' holds Python objects"):
        read_table(tmp_path / "x.npz", labels="extra")


class Bomb:
    """Fails when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))
