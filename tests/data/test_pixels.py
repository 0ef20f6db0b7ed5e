"""Pictures become pixels once: decoding, what is skipped, and the cache."""

import errno
import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.data.pictures import encode, first, hugging_face, picture

from torchicon.data import DataError, pixels
from torchicon.data.samples import read_samples


@pytest.mark.parametrize(("shape", "atol"), [((40, 32), 1), ((32, 56), 1), ((14, 8), 1), ((112, 64), 10)])
def test_other_pictures_are_resized_by_the_shorter_side_and_cut_at_the_center(tmp_path, shape, atol):
    """Equal to a resize of the whole picture and a cut, where that cut falls between pixels; large ones nearly so."""
    smooth = picture(0, (5, 4)).resize(shape, Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "a.png")
    width, height = (side * 16 // min(shape) for side in shape)
    whole = first(smooth.resize((width, height), Image.Resampling.BILINEAR)).astype(int)
    top, left = (height - 16) // 2, (width - 16) // 2
    expected = whole[:, top : top + 16, left : left + 16]
    np.testing.assert_allclose(read_samples(tmp_path, size=16).pixels[0], expected, atol=atol)


def test_a_large_jpeg_is_close_to_its_full_decode(tmp_path):
    image = picture(3, (6, 6)).resize((400, 400), Image.Resampling.BICUBIC)
    image.save(tmp_path / "a.jpg", quality=95)
    expected = first(Image.open(tmp_path / "a.jpg").resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(read_samples(tmp_path).pixels[0].astype(int), expected, atol=8)


def test_unusual_modes_are_rgb_as_in_a_browser(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "a.png")
    Image.fromarray(np.full((4, 4), 32767, dtype=np.uint16)).save(tmp_path / "b.png")
    Image.new("RGB", (4, 4), (0, 0, 255)).convert("P").save(tmp_path / "c.gif")
    turned = Image.new("L", (20, 10), 0)
    turned.paste(255, (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "d.jpg", exif=exif, quality=95)
    seen = read_samples(tmp_path, size=4).pixels
    np.testing.assert_allclose(seen[:3, :, 0, 0], [[255] * 3, [127] * 3, [0, 0, 255]], atol=1)
    assert seen[3, :, 0].min() > 200
    assert seen[3, :, 3].max() < 55


def test_one_broken_picture_of_200_is_skipped_with_its_row_and_5_are_refused(tmp_path):
    beside = {"label": list(range(200)), "caption": [str(row) for row in range(200)]}
    file = hugging_face(tmp_path / "a.parquet", n=200, broken=(7,), **beside)
    samples = read_samples(file, size=8, labels="label", text="caption")
    assert len(samples) == len(samples.pixels) == len(samples.texts) == 199
    assert samples.texts[7] == ("8",)
    assert samples.labels[7] == 8
    np.testing.assert_array_equal(samples.pixels[7], first(picture(8)))
    assert samples.skipped == ["007.png (no picture)"]
    assert "1 of 200 pictures cannot be decoded and were skipped: 007.png" in samples.notes[-1]
    file = hugging_face(tmp_path / "b.parquet", n=200, broken=range(5))
    with pytest.raises(DataError, match=r"5 of 200 pictures cannot be decoded: 000.png \(no picture\); 001.png"):
        read_samples(file, size=8)


def test_a_missing_truncated_or_huge_picture_is_named(tmp_path, monkeypatch):
    for row in range(400):
        (tmp_path / f"{row:03}.png").write_bytes(encode(picture(row % 3)))
    (tmp_path / "000.png").write_bytes(encode(picture(0, (60, 60)))[:-40])
    (tmp_path / "001.png").unlink()
    (tmp_path / "001.png").symlink_to(tmp_path / "001.png.gone")
    (tmp_path / "002.png").write_bytes(encode(picture(0, (60, 60))))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    skipped = read_samples(tmp_path, size=8).skipped
    assert [text.split()[0] for text in skipped] == ["000.png", "002.png"]  # a dead link is no file
    assert "decompression bomb" in skipped[1]


@pytest.fixture
def small_memory(monkeypatch):
    monkeypatch.setattr(pixels, "MEMORY_BYTES", 1000)


@pytest.mark.usefixtures("small_memory")
def test_large_pixels_are_mapped_from_a_cache_that_is_used_again(tmp_path):
    file = hugging_face(tmp_path / "a.parquet", n=200, broken=(7,))
    cache = tmp_path / "cache"
    samples = read_samples(file, size=8, cache=cache)
    assert isinstance(samples.pixels, np.memmap)
    assert not samples.pixels.flags.writeable
    kept = [row for row in range(200) if row != 7]
    np.testing.assert_array_equal(samples.pixels, [first(picture(row)) for row in kept])
    (stored,) = cache.glob("*.pixels")
    assert len(list(cache.iterdir())) == 2
    before = stored.stat()
    again = read_samples(file, size=8, cache=cache)
    assert (stored.stat().st_mtime_ns, stored.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert again.fingerprint() == samples.fingerprint()
    assert (again.names, again.skipped, again.notes) == (samples.names, samples.skipped, samples.notes)


@pytest.mark.usefixtures("small_memory")
@pytest.mark.parametrize("harm", ["truncated", "foreign", "renamed", "note", "source"])
def test_a_cache_that_is_not_whole_or_not_ours_is_made_again(tmp_path, harm):
    file = hugging_face(tmp_path / "a.parquet", n=8)
    cache = tmp_path / "cache"
    read_samples(file, size=8, cache=cache)
    (stored,) = cache.glob("*.pixels")
    if harm == "truncated":
        stored.write_bytes(stored.read_bytes()[:-1])
    elif harm == "foreign":
        stored.write_bytes(bytes(stored.stat().st_size))
    elif harm == "renamed":
        other_file = hugging_face(tmp_path / "b.parquet", n=8)
        pq.write_table(pq.read_table(other_file).take(list(range(7, -1, -1))), other_file)
        read_samples(other_file, size=8, cache=tmp_path / "other")
        for other in (tmp_path / "other").iterdir():
            other.replace(stored.with_suffix(other.suffix))
    elif harm == "note":
        stored.with_suffix(".json").write_text("{}")
        stored.write_bytes(b"")
    else:
        pq.write_table(pq.read_table(file).take(list(range(7, -1, -1))), file)
        os.utime(file, ns=(1, 1))
    seen = read_samples(file, size=8, cache=cache).pixels
    rows = range(7, -1, -1) if harm == "source" else range(8)
    np.testing.assert_array_equal(seen, [first(picture(row)) for row in rows])


@pytest.mark.usefixtures("small_memory")
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    file = hugging_face(tmp_path / "a.parquet", n=8)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
        read_samples(file, size=8, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.usefixtures("small_memory")
def test_too_many_broken_pictures_leave_no_cache(tmp_path):
    file = hugging_face(tmp_path / "a.parquet", n=8, broken=(0,))
    with pytest.raises(DataError, match="1 of 8 pictures cannot be decoded"):
        read_samples(file, size=8, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.usefixtures("small_memory")
def test_the_cache_of_the_platform(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    read_samples(hugging_face(tmp_path / "a.parquet"), size=8)
    assert len(list((tmp_path / "xdg" / "torchicon").iterdir())) == 2
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pixels.default_cache() == tmp_path / ".cache" / "torchicon"


def is_decoded(data):
    try:
        Image.open(io.BytesIO(data)).load()
    except Exception:
        return False
    return True


@settings(max_examples=60)
@given(cells=st.lists(st.one_of(st.none(), st.binary(max_size=200), st.integers(0, 999)), min_size=1, max_size=5))
def test_no_bytes_crash_the_decoder(cells):
    """Missing, random and cut pictures are decoded, skipped or refused with a DataError."""
    whole = encode(picture(0), "JPEG")
    data = [whole[:cell] if isinstance(cell, int) else cell for cell in cells]
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "a.parquet"
        pq.write_table(pa.table({"image": pa.array([*data, whole], pa.binary())}), file)
        if all(is_decoded(cell) for cell in data):
            assert read_samples(file, size=8).pixels.shape == (len(cells) + 1, 3, 8, 8)
        else:
            with pytest.raises(DataError, match="pictures cannot be decoded"):
                read_samples(file, size=8)
