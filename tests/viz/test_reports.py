"""What a report says, that it says it safely, and that it needs nothing but itself."""

import inspect
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from torchicon.viz import reports, write_cluster_report, write_map_report

HOSTILE = [
    "</script><script>document.documentElement.dataset.hacked = 1</script>",
    '"><img src=x onerror="document.documentElement.dataset.hacked = 1">',
    "<!--<script>",
    "{{ 7 * 7 }} ${7 * 7} &amp; & '",
    "line\u2028separator \u202eesrever",
]


def write_map(path, case, **more):
    accepted = inspect.signature(write_map_report).parameters
    write_map_report(path, **{name: value for name, value in (case | more).items() if name in accepted})


@pytest.fixture(params=["cluster", "map"])
def write(request):
    return {"cluster": lambda path, case: write_cluster_report(path, **case), "map": write_map}[request.param]


def digits(n):
    return np.random.default_rng(0).integers(0, 256, (n, 8, 8), dtype=np.uint8)


def test_needs_no_network(tmp_path, scored, write, read):
    """Nothing points out of the file, and the browser is told to load nothing and to run one script only."""
    write(tmp_path / "report.html", scored | {"images": digits(60)})
    page = read(tmp_path / "report.html")
    assert "http:" not in page.source
    assert "https:" not in page.source
    targets = [value for _, has in page.elements for name, value in has.items() if name in ("src", "href")]
    assert targets
    assert all(target.startswith(("#", "data:")) for target in targets)
    assert page.source.count("url(") == page.source.count('url("data:image/')
    [policy] = [has["content"] for has in page.tagged("meta") if "http-equiv" in has]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_is_readable_by_everyone(tmp_path, scored, write, read):
    write(tmp_path / "report.html", scored | {"images": digits(60)})
    page = read(tmp_path / "report.html")
    assert page.tagged("html") == [{"lang": "en"}]
    assert "<title>Three groups</title>" in page.source
    assert any(has.get("name") == "viewport" for has in page.tagged("meta"))
    drawn = [has for tag, has in page.elements if tag in ("svg", "canvas") or has.get("role") == "img"]
    assert drawn
    assert all(has.get("role") == "img" and has.get("aria-label") for has in drawn)
    assert all(has.get("type") == "button" for has in page.tagged("button"))


def test_cluster_report_says_what_was_found(tmp_path, scored, read):
    write_cluster_report(tmp_path / "r.html", **scored, versions={"torch": "2.13.0"}, description="Rows were linked.")
    text = read(tmp_path / "r.html").text
    for sentence in (
        "Rows were linked.",
        "60 rows in 3 clusters.",
        "agree on 95.1% of the rows; K-Means on the same features agrees on 70.3%.",
        "Accuracy 95.1% 70.3% +24.8 points",
        "torchicon cluster rows.npy -k 3",
        "Two rows were the same.",
        "20 rows, 100% labeled ant",
        "neighbors 10 debias 0.25 merge yes preset none seed 7",
        "torch 2.13.0",
        "clustering 12.0 s",
    ):
        assert sentence in text


def test_without_labels_nothing_is_compared(tmp_path, case, read):
    write_cluster_report(tmp_path / "r.html", **case)
    page = read(tmp_path / "r.html")
    assert "Compared with the labels" not in page.text
    assert [mode["title"] for mode in page.map["modes"]] == ["Cluster", "Confidence"]


def test_map_data_is_the_input(tmp_path, scored, read):
    write_cluster_report(tmp_path / "r.html", **scored, row_names=[f"row {i}" for i in range(60)])
    page = read(tmp_path / "r.html")
    rows = page.array("rows", "<u4")
    assert sorted(rows) == list(range(60))
    np.testing.assert_allclose(page.array("points", "<f4").reshape(-1, 2), scored["coordinates"][rows], rtol=1e-6)
    confidence = scored["probabilities"][np.arange(60), scored["clusters"]]
    np.testing.assert_allclose(page.array("confidence", "<u2") / 65_535, confidence[rows], atol=1e-5)
    assert page.map["texts"] == [f"row {i}" for i in rows]
    np.testing.assert_array_equal(page.codes("Cluster"), scored["clusters"])
    np.testing.assert_array_equal(page.codes("Label"), scored["clusters"])
    np.testing.assert_array_equal(page.codes("K-Means"), scored["baseline"]["clusters"])


def test_same_group_same_color(tmp_path, scored, read):
    """The baseline's clusters are numbered otherwise, yet each has the color of the cluster it overlaps most."""
    write_cluster_report(tmp_path / "r.html", **scored)
    page = read(tmp_path / "r.html")
    shown = {mode["title"]: np.array(mode["colors"])[page.codes(mode["title"])] for mode in page.map["modes"]}
    np.testing.assert_array_equal(shown["Cluster"], shown["K-Means"])
    np.testing.assert_array_equal(shown["Cluster"], shown["Label"])


def test_typical_members_are_the_most_and_the_least_certain(tmp_path, case, read):
    write_cluster_report(tmp_path / "r.html", **case, images=digits(60))
    chosen = [int(has["data-row"]) for has in read(tmp_path / "r.html").tagged("button") if "data-row" in has]
    expected = []
    for cluster in range(3):
        rows = np.flatnonzero(case["clusters"] == cluster)
        rows = rows[np.argsort(-case["probabilities"][rows, cluster])]
        expected += [*rows[:10], *rows[::-1][:10]]
    assert chosen == expected


def test_empty_cluster_and_lone_row(tmp_path, case, read):
    one = {"coordinates": [[0.0, 0.0]], "clusters": [1], "probabilities": [[0.25, 0.75]]}
    write_cluster_report(tmp_path / "r.html", **(case | one))
    text = read(tmp_path / "r.html").text
    assert "1 row in 2 clusters." in text
    assert "No row is in this cluster." in text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings_stay_text(tmp_path, scored, read, text):
    scored |= {
        "title": text,
        "command": text,
        "settings": {text: text},
        "notes": [text],
        "timings": {text: 1.0},
        "labels": [text, "b", "c"] * 20,
        "baseline": {"name": text, "clusters": [text, "b", "c"] * 20},
        "metrics": scored["metrics"] | {"classes": [text, "b", "c"]},
    }
    write_cluster_report(
        tmp_path / "r.html", **scored, row_names=[text] * 60, versions={text: text}, description=text, images=digits(60)
    )
    page = read(tmp_path / "r.html")
    assert len(page.tagged("script")) == 2
    assert not page.tagged("img")
    assert not [name for _, has in page.elements for name in has if name.startswith("on")]
    assert page.map["texts"] == [text] * 60
    assert page.map["modes"][2]["title"] == text
    assert page.text.count(" ".join(text.split())) > 5


@given(text=st.text(min_size=1))
@example(text="caf\udce9.jpg\x00")
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_can_be_written(tmp_path, case, write, read, text):
    """Control characters and lone surrogates too, as names of files may hold them."""
    write(tmp_path / "report.html", case | {"title": text, "row_names": [text] * 60, "labels": [text, "b"] * 30})
    page = read(tmp_path / "report.html")
    assert len(page.tagged("script")) == 2
    assert page.map["texts"] == [text if len(text) <= 300 else text[:299] + "…"] * 60


def test_large_tables_are_sampled_and_the_page_says_so(tmp_path, case, read, monkeypatch):
    monkeypatch.setattr(reports, "MAX_POINTS", 40)
    write_cluster_report(tmp_path / "r.html", **case)
    page = read(tmp_path / "r.html")
    rows = page.array("rows", "<u4")
    assert len(set(rows)) == page.map["count"] == 40
    assert "random sample of 40 of the 60 rows" in page.text
    assert {int(has["data-row"]) for has in page.tagged("button") if "data-row" in has} <= set(rows)


def test_same_input_same_file(tmp_path, scored):
    for name in "ab":
        write_cluster_report(tmp_path / name, **scored, images=digits(60))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failed_write_changes_nothing(tmp_path, case, write, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("the old one")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write(path, case)
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder(tmp_path, case, write):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "nowhere" / "report.html", case)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coordinates": np.zeros((60, 3))}, r"coordinates must have shape \(n, 2\), but have shape \(60, 3\)"),
        ({"coordinates": np.zeros((0, 2))}, r"coordinates are empty"),
        ({"coordinates": np.full((60, 2), np.nan)}, r"must be finite, but row 0 is \[nan, nan\]"),
        ({"clusters": np.zeros(59, int)}, r"clusters has 59 and coordinates has 60"),
        ({"clusters": np.full(60, 3)}, r"clusters must be in 0 \.\. 2.*range from 3 to 3"),
        ({"clusters": np.zeros(60)}, r"clusters must be whole numbers.*float64"),
        ({"probabilities": np.full((60, 3), 1.5)}, r"probabilities must be in \[0, 1\], but row 0 is \[1\.5"),
        ({"probabilities": np.full((60, 3), np.nan)}, r"probabilities must be in \[0, 1\], but row 0 is \[nan"),
        ({"labels": ["a"] * 61}, r"labels has 61 and coordinates has 60"),
        ({"row_names": ["a"]}, r"row_names has 1 and coordinates has 60"),
        ({"images": digits(3)}, r"images has 3 and coordinates has 60"),
        ({"baseline": {"name": "K-Means"}}, r"baseline must be a dict with clusters, name, but has no clusters"),
        ({"metrics": {"accuracy": 1.0}}, r"metrics must be a dict .* but has no ari, classes"),
        ({"metrics": None}, r"baseline_metrics are shown beside metrics"),
    ],
)
def test_refusals(tmp_path, scored, change, message):
    with pytest.raises(ValueError, match=message):
        write_cluster_report(tmp_path / "r.html", **(scored | change))
    assert not list(tmp_path.iterdir())
