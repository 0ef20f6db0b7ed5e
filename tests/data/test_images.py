"""Pictures: folders, columns of encoded pictures, arrays of pixels."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from torchicon.data import DataError, read_table


def picture(seed, size=(8, 6), mode="RGB"):
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def encode(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Two class folders of six small pictures, and files that are no pictures."""
    for seed, name in enumerate(["cat/b.png", "cat/a.png", "cat/c.PNG", "dog/x/1.png", "dog/x/2.png", "dog/x/3.png"]):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(path)
    (tmp_path / "readme.txt").write_text("no picture")
    (tmp_path / "._a.png").write_bytes(b"a system's own file")
    (tmp_path / ".cache").mkdir()
    picture(9).save(tmp_path / ".cache" / "hidden.png")
    return tmp_path


def test_a_folder_of_small_pictures_keeps_their_pixels(folder):
    table = read_table(folder, labels="folder")
    assert table.row_names == ["cat/a.png", "cat/b.png", "cat/c.PNG", "dog/x/1.png", "dog/x/2.png", "dog/x/3.png"]
    assert table.labels.tolist() == ["cat"] * 3 + ["x"] * 3
    assert table.label_name == "folder"
    expected = np.asarray(picture(1)).reshape(-1) / np.float32(255)
    np.testing.assert_array_equal(table.features[0], expected)
    assert table.images[0] == (folder / "cat" / "a.png").read_bytes()
    assert "raw pixels, 6 x 8 RGB" in table.notes[0]
    assert "pretrained network" in table.notes[0]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "GIF"])
def test_large_pictures_of_every_kind_become_32_x_32(tmp_path, kind):
    color = (200, 40, 90)
    suffix = {"JPEG": "jpg"}.get(kind, kind.lower())
    for name in "ab":
        Image.new("RGB", (500, 300), color).save(tmp_path / f"{name}.{suffix}")
    table = read_table(tmp_path)
    assert table.features.shape == (2, 32 * 32 * 3)
    np.testing.assert_allclose(table.features.reshape(-1, 3) * 255, np.tile(color, (2048, 1)), atol=4)
    shown = Image.open(io.BytesIO(table.images[0]))
    assert max(shown.size) == 96
    assert shown.format == "JPEG"


def test_small_pictures_of_unequal_size_become_32_x_32(tmp_path):
    picture(0, (8, 6)).save(tmp_path / "a.png")
    picture(1, (7, 6), "L").save(tmp_path / "b.png")
    assert read_table(tmp_path).features.shape == (2, 32 * 32 * 3)


def test_gray_pictures_have_one_channel_and_color_beside_them_three(tmp_path):
    picture(0, (8, 8), "L").save(tmp_path / "a.png")
    picture(1, (8, 8), "L").save(tmp_path / "b.png")
    gray = read_table(tmp_path).features
    assert gray.shape == (2, 64)
    picture(2, (8, 8)).save(tmp_path / "c.png")
    color = read_table(tmp_path).features
    np.testing.assert_array_equal(color[:2].reshape(2, 64, 3), np.repeat(gray[..., None], 3, axis=2))


def test_unusual_modes_look_as_in_a_browser(tmp_path):
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    deep = Image.fromarray(np.full((4, 4), 65535 // 2, dtype=np.uint16))
    palette = Image.new("RGB", (4, 4), (0, 0, 255)).convert("P")
    ink = Image.new("CMYK", (4, 4), (0, 0, 0, 0))
    bit = Image.new("1", (4, 4), 1)
    for name, image in {"a.png": clear, "b.png": deep, "c.gif": palette, "d.jpg": ink, "e.png": bit}.items():
        image.save(tmp_path / name)
    pixels = read_table(tmp_path).features.reshape(5, 16, 3)[:, 0]
    np.testing.assert_allclose(pixels, [[1, 1, 1], [0.5, 0.5, 0.5], [0, 0, 1], [1, 1, 1], [1, 1, 1]], atol=0.01)


def test_a_turned_photograph_is_upright(tmp_path):
    image = Image.new("L", (20, 10), 0)
    image.paste(255, (0, 0, 10, 10))  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show after a quarter turn to the right
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    upright = read_table(tmp_path).features.reshape(20, 10)
    assert upright[:8].min() > 0.9
    assert upright[12:].max() < 0.1


def test_up_to_one_percent_of_broken_pictures_are_skipped_and_named(tmp_path):
    for name in ["a", "b"]:
        (tmp_path / name).mkdir()
    for row in range(100):
        (tmp_path / "ab"[row % 2] / f"{row:03}.png").write_bytes(encode(picture(row, (4, 4))))
    whole = read_table(tmp_path, labels="folder")
    broken = tmp_path / "a" / "004.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    table = read_table(tmp_path, labels="folder")
    kept = [row for row, name in enumerate(whole.row_names) if name != "a/004.png"]
    np.testing.assert_array_equal(table.features, whole.features[kept])
    np.testing.assert_array_equal(table.labels, whole.labels[kept])
    assert table.row_names == [whole.row_names[row] for row in kept]
    assert len(table.images) == 99
    assert "1 of 100 pictures cannot be decoded and were skipped: a/004.png" in table.notes[0]
    (tmp_path / "b" / "005.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of 100 pictures cannot be decoded: a/004.png.*b/005.png"):
        read_table(tmp_path)


def test_a_picture_of_absurd_size_is_not_decoded(tmp_path, monkeypatch):
    picture(0, (40, 40)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="decompression bomb"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"), [("kind", "Sort the pictures into one folder a class"), ("folder", "all 1 pictures lie in")]
)
def test_labels_that_a_folder_has_not(tmp_path, labels, message):
    picture(0).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=message):
        read_table(tmp_path, labels=labels)


def test_a_folder_without_pictures(tmp_path):
    with pytest.raises(DataError, match=r"holds no pictures\. Pictures end in \.bmp"):
        read_table(tmp_path)


def write_pictures(path, encoded, **columns):
    rows = [{"bytes": data, "path": f"{row}.jpg"} for row, data in enumerate(encoded)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(rows, kind), **columns}), path)


def test_parquet_of_encoded_pictures(tmp_path):
    """The layout in which CIFAR-10 is published: ``image: {bytes, path}`` and ``label``."""
    encoded = [encode(picture(seed, (32, 32)), "JPEG", quality=75) for seed in range(5)]
    write_pictures(tmp_path / "x.parquet", encoded, label=[3, 1, 2, 0, 1])
    table = read_table(tmp_path / "x.parquet", labels="label")
    expected = np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in encoded])
    np.testing.assert_array_equal(table.features, expected.reshape(5, -1) / np.float32(255))
    assert table.images == encoded
    assert table.labels.tolist() == [3, 1, 2, 0, 1]
    assert table.row_names == [f"{row}.jpg" for row in range(5)]
    unlabeled = read_table(tmp_path / "x.parquet")
    np.testing.assert_array_equal(unlabeled.features, table.features)  # the label is no feature


def test_vectors_are_better_features_than_pixels(tmp_path):
    encoded = [encode(picture(seed)) for seed in range(3)]
    write_pictures(tmp_path / "x.parquet", encoded, embedding=[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    table = read_table(tmp_path / "x.parquet")
    assert table.features.tolist() == [[1, 0], [0, 1], [1, 1]]
    assert table.images == encoded
    assert table.notes == []


def test_broken_and_missing_pictures_in_parquet(tmp_path):
    encoded = [encode(picture(seed, (4, 4))) for seed in range(200)]
    encoded[7], encoded[9] = None, b"nonsense"
    write_pictures(tmp_path / "x.parquet", encoded, label=list(range(200)), v=[[float(row)] for row in range(200)])
    table = read_table(tmp_path / "x.parquet", labels="label")
    assert table.labels.tolist() == [row for row in range(200) if row not in (7, 9)]
    np.testing.assert_array_equal(table.features[:, 0], table.labels)
    assert "2 of 200 pictures" in table.notes[0]
    assert "7.jpg (missing); 9.jpg (no picture)" in table.notes[0]


@pytest.mark.parametrize("shape", [(5, 8, 8), (5, 8, 6, 3), (5, 3, 8, 6), (5, 8, 8, 1), (5, 1, 8, 8), (5, 40, 40)])
def test_pixels_in_an_array(tmp_path, shape):
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", pictures=x, y=np.arange(5))
    table = read_table(tmp_path / "x.npy")
    if shape == (5, 3, 8, 6):
        x = x.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(
        table.images, x[..., 0] if x.shape[-1] == 1 else x.reshape(5, 8, 8) if x.shape[1] == 1 else x
    )
    if shape == (5, 40, 40):
        assert table.features.shape == (5, 1024)
        assert 0 <= table.features.min() < table.features.max() <= 1
    else:
        np.testing.assert_array_equal(table.features, x.reshape(5, -1) / np.float32(255))
    np.testing.assert_array_equal(read_table(tmp_path / "x.npz", labels="y").features, table.features)


def test_transparent_pixels_show_white(tmp_path):
    x = np.zeros((2, 4, 4, 4), dtype=np.uint8)
    x[1, ..., 3] = 255
    np.save(tmp_path / "x.npy", x)
    table = read_table(tmp_path / "x.npy")
    assert table.images.shape == (2, 4, 4, 3)
    assert table.features.mean(axis=1).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("shape", [(5, 8, 8, 7), (5, 0, 8), (0, 8, 8)])
def test_pixels_in_no_known_layout(tmp_path, shape):
    np.save(tmp_path / "x.npy", np.zeros(shape, dtype=np.uint8))
    with pytest.raises(DataError):
        read_table(tmp_path / "x.npy")
