"""Whatever a file holds, reading it gives a Table or a DataError, never another library's traceback."""

import pickle
import struct
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from torchicon.data import DataError, read_table
from torchicon.data.read import READERS

SUFFIXES = sorted(READERS)


def write_valid(path):
    x = np.arange(60, dtype=np.float32).reshape(20, 3)
    if path.suffix == ".npy":
        np.save(path, x)
    elif path.suffix == ".npz":
        np.savez(path, X=x, y=np.arange(20))
    elif path.suffix == ".safetensors":
        safetensors.numpy.save_file({"features": x}, path)
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"v": list(x)}), path)
    else:
        path.write_text("a,b\n1,2\n3,4\n".replace(",", "\t" if path.suffix == ".tsv" else ","))


def is_read_or_refused(path):
    try:
        return len(read_table(path).features) > 0
    except DataError as refusal:
        return str(path) in str(refusal) and bool(refusal.fix)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.binary(min_size=0, max_size=300))
def test_random_bytes(suffix, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        path.write_bytes(data)
        assert is_read_or_refused(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=60)
@given(data=st.data())
def test_a_valid_file_with_one_byte_changed_or_cut_short(suffix, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        write_valid(path)
        whole = path.read_bytes()
        at = data.draw(st.integers(0, len(whole) - 1))
        cut = data.draw(st.booleans())
        path.write_bytes(whole[:at] if cut else whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :])
        assert is_read_or_refused(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet", ".safetensors"])
def test_truncated(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_valid(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match=f"not a complete {suffix} file"):
        read_table(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_picture_with_the_wrong_suffix(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    Image.new("RGB", (9, 9)).save(path, "PNG")
    with pytest.raises(DataError, match=f"is not {suffix}: it looks like a PNG image"):
        read_table(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_file(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    path.touch()
    with pytest.raises(DataError, match="empty file"):
        read_table(path)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ""])
def test_a_missing_file(tmp_path, suffix):
    with pytest.raises(DataError, match="No such file"):
        read_table(tmp_path / f"x{suffix}")


@pytest.mark.parametrize("name", ["a\0b.npy", "a" * 5000 + ".npy"])
def test_a_path_that_cannot_be(name):
    with pytest.raises(DataError):
        read_table(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [("x.pkl", "never loaded"), ("x.pt", "never loaded"), ("x.png", "Give the folder"), ("x.xlsx", "numpy.save")],
)
def test_formats_that_are_not_read(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"content")
    with pytest.raises(DataError, match=rf"suffix '{name[1:]}' is none of \.npy, .*{message}"):
        read_table(tmp_path / name)


def test_a_pickle_with_the_suffix_of_an_array(tmp_path):
    path = tmp_path / "x.npy"
    path.write_bytes(pickle.dumps({"X": [1, 2]}))
    with pytest.raises(DataError, match=r"is not \.npy: it looks like a Python pickle"):
        read_table(path)


def test_an_archive_with_the_suffix_of_an_array(tmp_path):
    np.savez(tmp_path / "x.npz", X=np.eye(2))
    (tmp_path / "x.npz").rename(tmp_path / "x.npy")
    with pytest.raises(DataError, match=r"looks like a zip archive, such as \.npz"):
        read_table(tmp_path / "x.npy")


def test_a_header_that_promises_petabytes(tmp_path):
    path = tmp_path / "x.npy"
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 1000), }".ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 64)
    with pytest.raises(DataError, match=r"not a complete \.npy file"):
        read_table(path)


def test_an_error_survives_pickling():
    error = pickle.loads(pickle.dumps(DataError("has no rows", "x.csv", "Give one.")))
    assert str(error) == "x.csv: has no rows. Give one."
    assert (error.what, error.where, error.fix) == ("has no rows", "x.csv", "Give one.")
    assert isinstance(error, ValueError)
