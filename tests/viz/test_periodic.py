"""The page of the periodic table: whole, safe, and in need of nothing but itself. Pictures keep their points."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from torchicon.viz.periodic import Axis, Entry, column_spans, write_periodic_table
from torchicon.viz.pictures import PARTNER, POINT, make_picture, pack_pictures, unpack_pictures

COLUMNS = [Axis(name="Gaussian", note="exp(-d)"), Axis(name="Identity"), Axis(name="Nobody's")]
ROWS = [Axis(name="Wide"), Axis(name="Narrow"), Axis(name="Empty")]
HOSTILE = '</script><script>document.documentElement.dataset.hacked = 1</script><img src=x onerror="x()">{{ 7 * 7 }}'
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Elements(HTMLParser):
    """Tags with their attributes, and the text that a reader sees."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.source, self.found, self.text, self._hidden = source, [], "", False
        self.feed(source)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._hidden = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._hidden = False

    def handle_data(self, data):
        if not self._hidden:
            self.text += data

    def classed(self, name):
        return [has for _, has in self.found if name in (has.get("class") or "").split()]


def picture(seed=0, dims=2):
    generator = np.random.default_rng(seed)
    return make_picture(generator.standard_normal((30, dims)), codes=generator.integers(0, 10, 30))


def entries():
    return [
        Entry(name="One", column="Gaussian", row="Wide", picture=picture(), metric="10-NN accuracy", value=0.944,
              p_equation="p(j|i) ∝ exp(-d_ij)", code="print(1)", sign="=", claim="value and gradient", source="A 1901",
              evidence={"error of the value": "1e-16"}, facts={"mapper": "any", "constants": ""}),
        Entry(name="Two", column="Gaussian", row="Wide", picture=picture(1, 3)),
        Entry(name="Three", column="Identity", row="Narrow", gap=True, without="nothing to follow"),
    ]  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def written(items, **more):
        write_periodic_table(tmp_path / "table.html", columns=COLUMNS, rows=ROWS, entries=items, **more)
        return Elements((tmp_path / "table.html").read_text(encoding="utf-8"))

    return written


def test_needs_no_network(write):
    page = write(entries(), colors=["0", "1"], made={"when": "today"})
    assert "http:" not in page.source
    assert "https:" not in page.source
    assert "url(" not in page.source
    targets = [value for _, has in page.found for name, value in has.items() if name in ("src", "href")]
    assert all(target.startswith(("#", "data:")) for target in targets)
    [policy] = [has["content"] for tag, has in page.found if tag == "meta" and "http-equiv" in has]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_shows_every_method_and_all_there_is_to_say(write):
    page = write(entries(), signs={"=": "equal", "→": "a limit"})
    for words in ("One", "Two", "Three", "94.4% 10-NN accuracy", "nothing to follow", "no", "A 1901", "print(1)"):
        assert words in page.text
    assert "exp(-d<sub>ij</sub>)" in page.source
    assert "error of the value 1e-16" in page.text
    assert "a limit" not in page.text  # no method has that sign
    assert len(page.classed("tile")) == 3
    links = {has["href"] for has in page.classed("tile")}
    assert links <= {f"#{has['id']}" for tag, has in page.found if tag == "article"}


@pytest.mark.parametrize(
    ("plain", "set_"),
    [
        ("φ_ic φ'_jc / n_c", "φ<sub>ic</sub> φ′<sub>jc</sub> / n<sub>c</sub>"),
        ("‖z_i - text_j‖^(-(n+1)/2)", "‖z<sub>i</sub> - text<sub>j</sub>‖<sup>-(n+1)/2</sup>"),
        ("r^γ log_scale", "r<sup>γ</sup> log_scale"),
    ],
)
def test_formulas_have_sub_and_superscripts(write, plain, set_):
    assert set_ in write([Entry(name="One", column="Gaussian", row="Wide", p_equation=plain)]).source


def test_gaps_are_marked_and_axes_without_methods_left_out(write):
    page = write(entries())
    assert len([has for has in page.classed("cell") if "gap" in has["class"].split()]) == 1
    assert len(page.classed("blank")) == 2
    assert "Nobody's" not in page.text
    assert "Empty" not in page.text


def test_hostile_strings_are_escaped(write):
    evil = Entry(
        name=HOSTILE, column="Gaussian", row="Wide", p_equation=HOSTILE, q_equation=f"z_i{HOSTILE}", claim=HOSTILE,
        facts={HOSTILE: HOSTILE}, evidence={HOSTILE: HOSTILE}, source=HOSTILE, bibtex=HOSTILE, code=HOSTILE,
        sign=HOSTILE, metric=HOSTILE, without=HOSTILE, value=0.5,
    )  # fmt: skip
    page = write([evil], signs={HOSTILE: HOSTILE}, colors=[HOSTILE], made={HOSTILE: HOSTILE})
    tags = [tag for tag, _ in page.found]
    assert tags.count("script") == 2
    assert "img" not in tags
    assert "{{ 7 * 7 }}" in page.text


def test_works_without_pictures(write):
    page = write([Entry(name="One", column="Gaussian", row="Wide")])
    assert "no picture yet" in page.text
    assert not [tag for tag, _ in page.found if tag == "canvas"]


def test_methods_of_one_name_have_places_of_their_own(write):
    page = write([Entry(name=name, column="Gaussian", row="Wide") for name in ("LA", "la", "!?", "β")])
    assert len({has["href"] for has in page.classed("tile")}) == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"column": "Elsewhere"}, "no axes make"), ({"value": 1.5}, "not a share"), ({"value": np.nan}, "not a share")],
)
def test_refuses_what_does_not_fit(write, wrong, message):
    with pytest.raises(ValueError, match=message):
        write([Entry(**{"name": "One", "column": "Gaussian", "row": "Wide"} | wrong)])


def test_columns_take_the_width_where_it_saves_height():
    assert column_spans([[14, 1], [1, 1], [2, 3]], 8) == [5, 1, 2]
    assert column_spans([[1], [1]], 9) == [1, 1]
    assert column_spans([], 9) == []


@pytest.mark.parametrize("dims", [2, 3])
def test_pictures_keep_their_points_within_a_step(dims):
    generator = np.random.default_rng(0)
    points = generator.standard_normal((50, dims)) * 7 + 3
    made = make_picture(points, codes=np.arange(50) % 10, roles=np.repeat([POINT, PARTNER], 25))
    low, high = points.min(0), points.max(0)
    back = (made.points / 127.5 - 1) * (high - low).max() / 2 + (low + high) / 2
    assert np.abs(back - points).max() <= (high - low).max() / 255
    arrays, packed = pack_pictures({"a": made, "b": made})
    assert len(arrays) == 3  # shared ones are kept once
    again = unpack_pictures(json.loads(json.dumps(arrays)), json.loads(json.dumps(packed)))["b"]
    for field in ("points", "codes", "roles"):
        np.testing.assert_array_equal(getattr(again, field), getattr(made, field))


def test_a_sphere_stays_where_it_is():
    made = make_picture([[0.0, 0.6, 0.8]], codes=[3], on_sphere=True)
    assert made.points.tolist() == [[128, 204, 230]]


@pytest.mark.parametrize(
    ("positions", "codes", "message"),
    [
        ([[0.0, np.nan]], [0], "finite"),
        ([[0.0]], [0], r"\(n, 2\)"),
        ([[0.0, 1.0]], [300], "0 .. 255"),
        ([[0.0, 1.0]], [0, 1], "1 whole numbers"),
    ],
)
def test_pictures_refuse_what_does_not_fit(positions, codes, message):
    with pytest.raises(ValueError, match=message):
        make_picture(positions, codes=codes)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine to open the page with")
@pytest.mark.parametrize("place", ["", "#two"])
def test_draws_and_opens_in_a_browser(tmp_path, write, place):
    write([*entries(), Entry(name=HOSTILE, column="Gaussian", row="Wide", claim=HOSTILE)])
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    address = (tmp_path / "table.html").as_uri() + place
    command = [CHROMIUM, *options, "--virtual-time-budget=3000", f"--user-data-dir={tmp_path / 'profile'}"]
    dom = subprocess.run(
        [*command, "--dump-dom", address], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    root = re.search("<html[^>]*>", dom)[0]
    assert 'data-pictures="2"' in root
    assert "data-error" not in root
    assert "data-hacked" not in root
    assert ('<dialog id="method" aria-label="Two" open' in dom) == bool(place)
