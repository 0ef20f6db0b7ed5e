"""Pictures on sheets: every picture where its slot says, and no more bytes than allowed."""

import base64
import io
from functools import partial

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from torchicon.viz import reports, write_cluster_report
from torchicon.viz.thumbnails import make_thumbnails


def encoded(array, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def opened(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def cut_out(thumbnails, slot):
    per_sheet = thumbnails.columns * thumbnails.sheet_rows[0]
    sheet = opened(thumbnails.sheets[slot // per_sheet])
    row, column = divmod(slot % per_sheet, thumbnails.columns)
    height, width = thumbnails.height, thumbnails.width
    return sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]


@pytest.mark.parametrize("shape", [(8, 8), (28, 20), (8, 8, 3)], ids=str)
def test_small_arrays_are_kept_exactly(shape):
    images = np.random.default_rng(0).integers(0, 2, (50, *shape), dtype=np.uint8) * 255
    order = np.random.default_rng(1).permutation(50)
    thumbnails = make_thumbnails(images, order=order, at_least=0)
    assert (thumbnails.height, thumbnails.width) == shape[:2]
    assert thumbnails.kept == 50
    for row, slot in enumerate(thumbnails.slots):
        np.testing.assert_array_equal(cut_out(thumbnails, slot), images[row])


def test_many_pictures_go_on_several_sheets():
    """The slot arithmetic of the page holds beyond the first sheet."""
    images = np.zeros((3000, 48, 48), dtype=np.uint8)
    images[:, 0, 0] = np.arange(3000) % 251
    thumbnails = make_thumbnails(images, order=np.arange(3000), at_least=0)
    assert len(thumbnails.sheets) == 2
    for row in (0, 1763, 1764, 2999):
        assert cut_out(thumbnails, thumbnails.slots[row])[0, 0] == row % 251


def test_budget_keeps_the_first_and_as_many_as_fit():
    images = np.random.default_rng(0).integers(0, 256, (400, 16, 16), dtype=np.uint8)
    order = np.random.default_rng(1).permutation(400)
    thumbnails = make_thumbnails(images, order=order, at_least=30, budget=40_000)
    assert 30 < thumbnails.kept < 400
    assert sum(map(len, thumbnails.sheets)) < 1.15 * 40_000
    assert set(np.flatnonzero(thumbnails.slots >= 0)) == set(order[: thumbnails.kept])
    assert make_thumbnails(images, order=order, at_least=30, budget=0).kept == 30


def test_photos_are_jpeg_and_line_art_is_png():
    generator = np.random.default_rng(0)
    smooth = np.array(Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((64, 64)))
    photos = [encoded((smooth * f).astype(np.uint8), "JPEG") for f in np.linspace(0.5, 1, 40)]
    thumbnails = make_thumbnails(photos, order=np.arange(40), at_least=0)
    assert thumbnails.sheets[0].startswith("data:image/jpeg;")
    np.testing.assert_allclose(cut_out(thumbnails, thumbnails.slots[39]), smooth, atol=40)
    drawings = np.kron(np.eye(4, dtype=np.uint8)[None].repeat(40, 0), np.full((1, 8, 8), 255, dtype=np.uint8))
    assert make_thumbnails(drawings, order=np.arange(40), at_least=0).sheets[0].startswith("data:image/png;")


def test_encoded_pictures_of_any_kind():
    """Large, wide, transparent, 16-bit and rotated by their camera: all become a square of at most 96 pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    tall_when_turned = np.zeros((50, 200, 3), dtype=np.uint8)
    tall_when_turned[:, :100] = 255
    pictures = [
        encoded(np.full((300, 200, 3), 200, dtype=np.uint8)),
        encoded(np.zeros((40, 40, 4), dtype=np.uint8)),
        encoded(np.full((40, 40), 51_400, dtype=np.uint16)),
        encoded(tall_when_turned, "JPEG", exif=exif),
    ]
    thumbnails = make_thumbnails(pictures, order=np.arange(4), at_least=4)
    assert (thumbnails.width, thumbnails.height) == (96, 96)
    wide, transparent, deep, turned = (cut_out(thumbnails, slot) for slot in thumbnails.slots)
    np.testing.assert_allclose(wide[48, [2, 48]].mean(axis=-1), [128, 200], atol=3)
    np.testing.assert_allclose(transparent, 128, atol=3)
    np.testing.assert_allclose(deep[48, 48], 200, atol=3)
    np.testing.assert_allclose(turned[[8, 88], 48].mean(axis=-1), [255, 0], atol=8)


def test_small_encoded_pictures_do_not_grow():
    pictures = [encoded(np.full((32, 24, 3), 90, dtype=np.uint8))] * 5
    assert make_thumbnails(pictures, order=np.arange(5), at_least=5).width == 32


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 8, 8)), r"uint8 of shape .* but are float64 of shape \(4, 8, 8\)"),
        (np.zeros((4, 8, 8, 4), dtype=np.uint8), r"but are uint8 of shape \(4, 8, 8, 4\)"),
        ([encoded(np.zeros((8, 8), dtype=np.uint8)), b"no picture"], r"images\[1\] must be an encoded image"),
        ([encoded(np.eye(90, dtype=np.uint8))[:-30]], r"images\[0\] must be an encoded image"),
    ],
    ids=["float", "alpha", "not a picture", "truncated"],
)
def test_refusals(images, message):
    with pytest.raises(ValueError, match=message):
        make_thumbnails(images, order=np.arange(len(images)), at_least=len(images))


def test_the_digits_stay_small(tmp_path, case):
    """A report on 1,797 pictures of 8 x 8 pixels is smaller than one photo."""
    images = (load_digits().images * 255 / 16).astype(np.uint8)
    n = len(images)
    coordinates = np.random.default_rng(0).standard_normal((n, 2))
    clusters, probabilities = np.arange(n) % 10, np.full((n, 10), 0.1)
    arrays = {"coordinates": coordinates, "clusters": clusters, "probabilities": probabilities, "images": images}
    write_cluster_report(tmp_path / "r.html", **(case | arrays))
    assert (tmp_path / "r.html").stat().st_size < 350_000


def test_left_out_pictures_are_mentioned(tmp_path, case, read, monkeypatch):
    """Where nothing fits the budget, the typical members keep their pictures: 12 + 12 in each of 3 clusters."""
    monkeypatch.setattr(reports, "make_thumbnails", partial(make_thumbnails, budget=0))
    several = {name: np.concatenate([case[name]] * 5) for name in ("coordinates", "clusters", "probabilities")}
    write_cluster_report(tmp_path / "r.html", **(case | several), images=np.zeros((300, 8, 8), dtype=np.uint8))
    page = read(tmp_path / "r.html")
    assert "72 of the 300 images have a picture" in page.text
    assert sum(has.get("class", "").startswith("picture") for has in page.tagged("span")) == 72
