"""The report of a training run: what it says, that it says it safely, and that its curves are the run's."""

import base64
import io
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import median_filter

from torchicon.viz.curves import curve_figure, running_median
from torchicon.viz.palette import PALETTE
from torchicon.viz.training import MEASURES, write_training_report

HOSTILE = [
    "</script><script>document.documentElement.dataset.hacked = 1</script>",
    '"><img src=x onerror="document.documentElement.dataset.hacked = 1">',
    "<!--<script>",
    "{{ 7 * 7 }} ${7 * 7} &amp; & '",
    "line\u2028separator \u202eesrever",
]


@pytest.fixture
def run(case):
    """The arguments of a report on a run of 200 steps, whose map shows 60 rows."""
    generator = np.random.default_rng(0)
    steps = np.arange(1, 201)
    return {name: value for name, value in case.items() if name not in ("clusters", "probabilities")} | {
        "loss": (steps, 5 - steps / 100 + 0.1 * generator.standard_normal(200)),
        "evaluations": {},
        "scores": {"knn_accuracy": 0.6072},
        "untrained": {"knn_accuracy": 0.3123},
    }


@pytest.fixture
def written(tmp_path, read):
    def write(arguments):
        write_training_report(tmp_path / "report.html", **arguments)
        return read(tmp_path / "report.html")

    return write


def table(page):
    """The part of the visible text that the table of scores makes up."""
    return page.text.partition("Measure Untrained Trained ")[2].partition(" How this was made")[0]


def pixels(uri):
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA")).astype(int)


def has_color(picture, color):
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return ((np.abs(picture[..., :3] - wanted).max(axis=-1) < 8) & (picture[..., 3] > 240)).sum() > 50


def test_needs_no_network(run, written):
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    page = written(run | {"images": images})
    assert "http:" not in page.source
    assert "https:" not in page.source
    targets = [value for _, has in page.elements for name, value in has.items() if name in ("src", "href", "srcset")]
    assert targets
    assert all(target.startswith(("#", "data:")) for target in targets)
    assert page.source.count("url(") == page.source.count('url("data:image/')
    [policy] = [has["content"] for has in page.tagged("meta") if "http-equiv" in has]
    assert "default-src 'none'; img-src data:" in policy


def test_says_what_was_done(run, written):
    page = written(
        run | {"labels": ["ant", "bee", "cat"] * 20, "versions": {"torch": "2.13.0"}, "description": "Long."}
    )
    for words in (
        "Training report Three groups Long.",
        "60 rows on a map of the features that the trained encoder gives them, colored by 3 labels.",
        "steps of training 200",
        "accuracy of nearest neighbors (kNN), untrained 31.2% 60.7%",
        "torchicon cluster rows.npy -k 3",
        "Two rows were the same.",
        "neighbors 10 debias 0.25 merge yes preset none seed 7",
        "torch 2.13.0",
        "clustering 12.0 s",
    ):
        assert words in page.text
    assert [mode["title"] for mode in page.map["modes"]] == ["Label"]
    anchors = {has["href"] for has in page.tagged("a")}
    assert anchors == {"#map", "#curves", "#scores", "#made"}
    assert anchors <= {f"#{has['id']}" for _, has in page.elements if "id" in has}


def test_scores_have_the_form_of_their_unit(run, written):
    scores = {"mine": 1.23456e-5, "infonce_bound": 4.2123, "ari": -0.0123, "effective_rank": 97.123, "nmi": 0.9999}
    page = written(run | {"scores": scores, "untrained": {"infonce_bound": 1.0}})
    shown = {name: f" {MEASURES[name].good} " for name in ("infonce_bound", "ari", "effective_rank", "nmi")}
    assert f"at least, nats{shown['infonce_bound']}1.000 4.212" in table(page)
    assert f"(ARI){shown['ari']}– −1.2%" in table(page)
    assert f"(effective rank){shown['effective_rank']}– 97.12" in table(page)
    assert f"(NMI){shown['nmi']}– > 99.9%" in table(page)
    assert table(page).endswith("mine – 1.235e−05")  # unknown measures come last


def test_the_better_value_is_bold_where_there_is_one(run, written):
    """Not where both are the same, one is missing, or neither way is better."""
    trained = {"knn_accuracy": 0.5, "linear_accuracy": 0.125, "nmi": 0.75, "ari": 0.875, "alignment": 0.5, "mine": 1}
    untrained = {"knn_accuracy": 0.25, "linear_accuracy": 0.375, "nmi": 0.75, "alignment": 0.25, "mine": 2}
    page = written(run | {"scores": trained, "untrained": untrained})
    assert re.findall('class="number better">([^<]*)<', page.source) == ["50.0%", "37.5%"]


def test_every_accuracy_is_better_when_higher():
    assert all(measure.unit == "share" and measure.higher_is_better for name, measure in MEASURES.items()
               if name.endswith("_accuracy"))  # fmt: skip


def test_without_scores_nothing_is_said_of_them(run, written):
    page = written(run | {"scores": {}, "untrained": None, "evaluations": {}})
    assert "#scores" not in page.source
    assert "Untrained" not in page.text
    assert len(page.tagged("img")) == 1


def test_curves_are_pictures_with_words(run, written):
    """One of the loss, one of all accuracies, and one of each other measure; on a dark page in lighter ink."""
    steps = [0, 100, 200]
    more = {
        "knn_accuracy": (steps, [0.25, 0.5, 0.625]),
        "linear_accuracy": (steps, [0.3, 0.5, 0.75]),
        "effective_rank": (steps, [8, 12, 30]),
        "mine": ([7], [1.5]),
    }
    page = written(run | {"evaluations": more})
    loss, accuracies, rank, mine = (has["alt"] for has in page.tagged("img"))
    assert loss.startswith("Curve of loss: 4.9")
    assert accuracies == (
        "Curve of Accuracy of nearest neighbors (kNN): 25 percent at step 0, 62.5 percent at step 200; "
        "Accuracy of a linear classifier: 30 percent at step 0, 75 percent at step 200."
    )
    assert rank == "Curve of Directions in use (effective rank): 8 at step 0, 30 at step 200."
    assert mine == "Curve of mine: 1.5 at step 7, 1.5 at step 7."
    for light, dark in zip(page.tagged("img"), page.tagged("source"), strict=True):
        assert dark["media"] == "screen and (prefers-color-scheme: dark)"
        pair = pixels(light["src"]), pixels(dark["srcset"])
        for picture, ink, other in zip(pair, ("#5c636e", "#a0a7b2"), ("#a0a7b2", "#5c636e"), strict=True):
            assert (picture[..., 3] == 0).mean() > 0.5  # the page shines through
            assert has_color(picture, PALETTE[0])
            assert has_color(picture, ink)
            assert not has_color(picture, other)
    assert [has_color(pixels(has["src"]), PALETTE[1]) for has in page.tagged("img")] == [False, True, False, False]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings_stay_text(run, written, text):
    run |= dict.fromkeys(("title", "command", "description"), text)
    run |= {name: {text: 1.0} for name in ("settings", "timings", "scores", "untrained", "versions")}
    run |= {"notes": [text], "labels": [text, "b", "c"] * 20, "row_names": [text] * 60}
    page = written(run)
    assert len(page.tagged("script")) == 2
    assert len(page.tagged("img")) == 1
    assert not [name for _, has in page.elements for name in has if name.startswith("on")]
    assert page.text.count(" ".join(text.split())) > 5


@given(text=st.text(min_size=1))
@example(text="caf\udce9.jpg\x00")
@example(text=HOSTILE[1])
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_can_be_written(run, written, text):
    page = written(run | {"evaluations": {text: ([1], [0.5])}, "scores": {text: 0.5}})
    assert len(page.tagged("script")) == 2
    assert [has["alt"][:9] for has in page.tagged("img")] == ["Curve of "] * 2


def test_same_input_same_file(tmp_path, run):
    for name in "ab":
        write_training_report(tmp_path / name, **run)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coordinates": np.zeros((60, 3))}, r"coordinates must have shape \(n, 2\)"),
        ({"labels": ["a"]}, r"labels has 1 and coordinates has 60"),
        ({"loss": ([1, 2], [1.0])}, r"loss must have as many steps as values.*\(2,\) and \(1,\)"),
        ({"loss": ([], [])}, r"loss has no points"),
        ({"loss": ([1, 2], [1.0, np.nan])}, r"loss must be finite, but value 1 is nan"),
        ({"loss": ([1, np.inf], [1.0, 2.0])}, r"loss must be finite, but step 1 is inf"),
        ({"loss": ([1, 3, 3], [1.0, 2.0, 1.0])}, r"loss must have steps that increase, but 3 follows 3"),
        ({"evaluations": {"nmi": ([1], [np.inf])}}, r"evaluations\['nmi'\] must be finite, but value 0 is inf"),
        ({"scores": {"nmi": np.nan}}, r"scores must be finite, but nmi is nan"),
        ({"untrained": {"nmi": -np.inf}}, r"untrained must be finite, but nmi is -inf"),
    ],
)
def test_refusals(tmp_path, run, change, message):
    with pytest.raises(ValueError, match=message):
        write_training_report(tmp_path / "r.html", **(run | change))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("t", [1, 2, 49, 50, 149, 400])
def test_running_median(t):
    """That of scipy, where the whole window is inside; all of a short curve."""
    values = np.random.default_rng(t).standard_normal(t)
    half = t // 50
    steps, medians = running_median(np.arange(t) * 3.0, values)
    np.testing.assert_array_equal(steps, np.arange(half, t - half) * 3.0)
    np.testing.assert_array_equal(medians, median_filter(values, 2 * half + 1)[half : t - half])


def test_curves_keep_every_peak_of_a_long_run():
    """Of a million points few are drawn, the ends and lone peaks among them; the smooth line ignores those."""
    values = np.random.default_rng(0).uniform(1, 2, 1_000_000)
    values[[123_456, 654_321]] = 9, -9
    figure = curve_figure({"loss": (np.arange(len(values)), values)}, smooth=True)
    raw, smooth = figure.axes[0].get_lines()
    x, y = raw.get_data()
    assert len(x) < 3_000
    assert (x[0], x[-1], x[y.argmax()], x[y.argmin()]) == (0, 999_999, 123_456, 654_321)
    assert (np.diff(x) > 0).all()
    np.testing.assert_allclose(smooth.get_ydata(), 1.5, atol=0.02)
    assert raw.get_alpha() < 0.5
    assert smooth.get_color() == raw.get_color()


def test_several_curves_have_a_legend():
    curves = {"_train": ([1, 2], [0.5, 0.75]), "te$t$": ([1, 2], [0.25, 0.5])}
    figure = curve_figure(curves, title="a_$", ylabel="share", smooth=False, size=(4, 3), ink="#ff0000")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["_train", "te$t$"]
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("a_$", "step", "share")
    assert [line.get_color() for line in axes.get_lines()] == list(PALETTE[:2])
    stream = io.BytesIO()
    figure.savefig(stream, dpi=100, format="png")
    picture = np.asarray(Image.open(stream).convert("RGBA")).astype(int)
    assert picture.shape == (300, 400, 4)
    assert has_color(picture, "#ff0000")
    assert curve_figure({"one": ([1], [2.0])}, smooth=True).axes[0].get_legend() is None


def test_no_curve_is_refused():
    with pytest.raises(ValueError, match="curves are empty"):
        curve_figure({}, smooth=False)
