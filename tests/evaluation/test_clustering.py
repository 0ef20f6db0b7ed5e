"""Matching and scores of clusterings, against brute force and scikit-learn."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, confusion_matrix, normalized_mutual_info_score

from torchicon.evaluation import clustering_metrics, hungarian_accuracy, hungarian_match


def best_by_trying_all(labels, clusters):
    """The definition: over every one-to-one map of the smaller set into the larger."""
    classes, names = sorted(set(labels)), sorted(set(clusters))
    small, large, pairs = (
        (classes, names, list(zip(labels, clusters, strict=True)))
        if len(classes) <= len(names)
        else (names, classes, list(zip(clusters, labels, strict=True)))
    )
    maps = (dict(zip(small, chosen, strict=True)) for chosen in itertools.permutations(large, len(small)))
    return max(sum(mapping[a] == b for a, b in pairs) for mapping in maps) / len(pairs)


rows = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from("wxyz"), min_size=n, max_size=n),
        st.lists(st.integers(-2, 3), min_size=n, max_size=n),
    )
)


@given(rows)
@settings(max_examples=60, deadline=None)
def test_matching_is_the_best_one(pair):
    """Equal to trying every assignment, square or not, with string labels and any integers."""
    labels, clusters = pair
    assert hungarian_accuracy(labels, clusters) == pytest.approx(best_by_trying_all(labels, clusters))


@given(rows)
@settings(max_examples=40, deadline=None)
def test_confusion_counts_every_row_once(pair):
    labels, clusters = pair
    matching = hungarian_match(labels, clusters)
    assert sorted(matching.classes) == sorted(set(labels))
    assert sorted(matching.clusters) == sorted(set(clusters))
    for i, label in enumerate(matching.classes):
        for j, cluster in enumerate(matching.clusters):
            together = sum(a == label and b == cluster for a, b in zip(labels, clusters, strict=True))
            assert matching.confusion[i, j] == together


@given(rows, st.permutations(range(-2, 4)))
@settings(max_examples=30, deadline=None)
def test_renaming_the_clusters_changes_no_score(pair, names):
    labels, clusters = pair
    renamed = [names[cluster + 2] for cluster in clusters]
    before, after = clustering_metrics(labels, clusters), clustering_metrics(labels, renamed)
    for score in ("accuracy", "nmi", "ari"):
        assert before[score] == pytest.approx(after[score], abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "clusters", "classes", "names", "confusion"),
    [
        # three clusters for two classes: the smaller half of "a" is left without a class
        (["a"] * 5 + ["b"] * 3, [4, 4, 4, 9, 9, 1, 1, 1], ["a", "b"], [4, 1, 9], [[3, 0, 2], [0, 3, 0]]),
        # two clusters for three classes: "b" is left without a cluster
        (["a", "a", "b", "c", "c"], [1, 1, 0, 0, 0], ["a", "c", "b"], [1, 0], [[2, 0], [0, 2], [0, 1]]),
    ],
    ids=["more clusters", "more classes"],
)
def test_rectangular(labels, clusters, classes, names, confusion):
    matching = hungarian_match(labels, clusters)
    assert matching.classes.tolist() == classes
    assert matching.clusters.tolist() == names
    assert matching.confusion.tolist() == confusion


def test_scores_equal_scikit_learn():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 6, 400)
    clusters = np.where(generator.random(400) < 0.6, (labels + 2) % 6, generator.integers(0, 6, 400))
    metrics = clustering_metrics(labels.astype(str), clusters)
    assert metrics["n"] == 400
    assert metrics["nmi"] == pytest.approx(normalized_mutual_info_score(labels, clusters), abs=1e-12)
    assert metrics["ari"] == pytest.approx(adjusted_rand_score(labels, clusters), abs=1e-12)
    assert metrics["clusters"] == [(int(name) + 2) % 6 for name in metrics["classes"]]
    aligned = (clusters - 2) % 6
    assert metrics["confusion"] == confusion_matrix(labels, aligned).tolist()
    assert metrics["accuracy"] == pytest.approx((labels == aligned).mean())


def test_metrics_are_plain_json():
    metrics = clustering_metrics(np.array([0, 1, 1]), np.array(["x", "y", "y"]))
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


@pytest.mark.parametrize("measure", [hungarian_match, hungarian_accuracy, clustering_metrics])
@pytest.mark.parametrize(
    ("labels", "clusters", "message"),
    [
        ([1, 2, 3], [1, 2], r"labels has 3 and clusters has 2"),
        ([], [], r"labels is empty"),
        ([[1, 2]], [1, 2], r"labels must have one value a row, shape \(n,\), but has shape \(1, 2\)"),
        ([1.0, np.nan], [1, 2], r"labels must not have missing values, but row 1 is missing \(1 of 2 are\)"),
        (["a", None], [1, 2], r"labels must not have missing values, but row 1"),
        (np.array(["a", pd.NA], dtype=object), [1, 2], r"labels must not have missing values, but row 1"),
        (np.array(["a", 1], dtype=object), [1, 2], r"labels must all be strings or all be numbers.*int, str"),
    ],
    ids=["lengths", "empty", "shape", "nan", "none", "pandas", "mixed"],
)
def test_refusals(measure, labels, clusters, message):
    with pytest.raises(ValueError, match=message):
        measure(labels, clusters)
