"""Classifiers on frozen features: against scikit-learn, a double loop, torch's SGD, and laws that all must keep."""

import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.neighbors import KNeighborsClassifier

from torchicon.evaluation import logistic_probe, probes, sgd_probe, weighted_knn_accuracy


def blobs(rng, n, *, classes=3, d=4, spread=1.0, labels=None):
    """Gaussian classes around fixed, well separated centers, and their labels."""
    labels = rng.integers(0, classes, n) if labels is None else labels
    return 4 * np.eye(classes, d)[labels] + spread * rng.standard_normal((n, d)), labels


def by_definition(train, train_labels, test, test_labels, k, temperature):
    right = 0
    for point, label in zip(test, test_labels, strict=True):
        cosine = [row @ point / math.sqrt((row @ row) * (point @ point)) for row in train]
        votes = defaultdict(float)
        for i in sorted(range(len(train)), key=lambda i: -cosine[i])[:k]:
            votes[train_labels[i]] += math.exp(cosine[i] / temperature)
        right += min(votes, key=lambda name: (-votes[name], name)) == label
    return right / len(test)


@given(st.integers(0, 10_000), st.integers(1, 30), st.floats(0.02, 5), st.booleans())
def test_weighted_knn_by_the_definition(seed, k, temperature, as_text):
    rng = np.random.default_rng(seed)
    train, train_labels = blobs(rng, 30, spread=4.0)
    test, test_labels = blobs(rng, 20, spread=4.0)
    if as_text:
        train_labels, test_labels = (np.array(["ant", "bee", "cat"])[x] for x in (train_labels, test_labels))
    expected = by_definition(train, train_labels, test, test_labels, k, temperature)
    assert weighted_knn_accuracy(train, train_labels, test, test_labels, k=k, temperature=temperature) == pytest.approx(
        expected, abs=1e-12
    )


@pytest.mark.parametrize("k", [1, 7, 60])
@pytest.mark.parametrize("temperature", [0.07, math.inf])
@pytest.mark.parametrize("block_cells", [1, 1 << 22])
def test_weighted_knn_is_scikit_learns(monkeypatch, k, temperature, block_cells):
    """Also where every neighbor has one vote and the tied class sorts first, and whatever the block."""
    rng = np.random.default_rng(3)
    train, train_labels = blobs(rng, 60, spread=3.0)
    test, test_labels = blobs(rng, 40, spread=3.0)
    weights = "uniform" if temperature == math.inf else lambda dist: np.exp((1 - dist) / temperature)
    model = KNeighborsClassifier(k, metric="cosine", weights=weights).fit(train, train_labels)
    monkeypatch.setattr(probes, "_BLOCK_CELLS", block_cells)
    accuracy = weighted_knn_accuracy(train, train_labels, test, test_labels, k=k, temperature=temperature)
    assert accuracy == pytest.approx(model.score(test, test_labels), abs=1e-12)
    assert accuracy < 1


@given(st.integers(0, 10_000), st.booleans())
def test_a_tie_goes_to_the_class_that_sorts_first(seed, swap):
    """Two neighbors as near as each other, up to the rounding of a rotation and of lengths."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    train = np.array([[1.0, 0.5, 0.0], [1.0, -0.5, 0.0]]) @ rotation * rng.uniform(0.1, 10, (2, 1))
    labels = ["b", "a"] if swap else ["a", "b"]
    assert weighted_knn_accuracy(train, labels, np.eye(1, 3) @ rotation, ["a"], k=2) == 1


def test_the_nearest_decides_when_the_temperature_is_small():
    rng = np.random.default_rng(4)
    train, train_labels = blobs(rng, 50, spread=4.0)
    test, test_labels = blobs(rng, 50, spread=4.0)
    nearest = weighted_knn_accuracy(train, train_labels, test, test_labels, k=1)
    assert weighted_knn_accuracy(train, train_labels, test, test_labels, k=50, temperature=1e-5) == nearest


def sgd_by_torch(train, train_labels, test, test_labels, *, learning_rate, epochs, batch_size, seed):
    """The same order of rows, with torch's layer, optimizer and schedule in float64."""
    mean, std = train.mean(0), train.std(0)
    x, y = torch.tensor((train - mean) / std), torch.tensor(train_labels)
    layer = torch.nn.Linear(x.shape[1], int(y.max()) + 1, dtype=torch.float64)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    optimizer = torch.optim.SGD(layer.parameters(), lr=learning_rate, momentum=0.9)
    steps = epochs * math.ceil(len(x) / batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(x)), steps // epochs):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
    predicted = layer(torch.tensor((test - mean) / std)).argmax(1).numpy()
    return (predicted == test_labels).mean()


@pytest.mark.parametrize(("learning_rate", "epochs"), [(0.01, 1), (0.1, 3), (3.0, 5)])
def test_sgd_probe_is_torchs(learning_rate, epochs):
    """Short and rough runs, whose result still shows every step that was taken; 70 rows make uneven batches of 16."""
    rng = np.random.default_rng(5)
    train, train_labels = blobs(rng, 70, spread=5.0, d=12)
    test, test_labels = blobs(rng, 1000, spread=5.0, d=12)
    case = {"learning_rate": learning_rate, "epochs": epochs, "batch_size": 16, "seed": 7}
    expected = sgd_by_torch(train, train_labels, test, test_labels, **case)
    assert sgd_probe(train, train_labels, test, test_labels, **case) == pytest.approx(expected, abs=1e-12)


def test_sgd_probe_is_its_seed():
    rng = np.random.default_rng(6)
    train, train_labels = blobs(rng, 70, spread=6.0, d=20)
    test, test_labels = blobs(rng, 1000, spread=6.0, d=20)
    first, again, other = (
        sgd_probe(train, train_labels, test, test_labels, epochs=2, batch_size=8, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_sgd_probe_comes_near_the_optimum():
    """Long enough, on data that are not separable, it classifies as logistic regression without a penalty."""
    rng = np.random.default_rng(7)
    train, train_labels = blobs(rng, 600, spread=3.0)
    test, test_labels = blobs(rng, 2000, spread=3.0)
    expected = logistic_probe(train, train_labels, test, test_labels, C=1e6)
    assert 0.6 < expected < 0.9
    assert sgd_probe(train, train_labels, test, test_labels) == pytest.approx(expected, abs=0.01)


def test_the_penalty_is_one_over_two_c():
    """Against the stated objective, minimized by torch's L-BFGS, where the penalty decides the result."""
    rng = np.random.default_rng(8)
    train, train_labels = blobs(rng, 60, classes=2, d=10, spread=8.0)
    test, test_labels = blobs(rng, 2000, classes=2, d=10, spread=8.0)
    c = 0.02
    mean, std = train.mean(0), train.std(0)
    x, sign = torch.tensor((train - mean) / std), torch.tensor(2.0 * train_labels - 1)
    weight = torch.zeros(11, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.softplus(-sign * (x @ weight[1:] + weight[0])).sum()
        loss = loss + weight[1:].square().sum() / (2 * c)
        loss.backward()
        return loss

    optimizer.step(closure)
    score = torch.tensor((test - mean) / std) @ weight[1:] + weight[0]
    expected = ((score > 0).numpy() == test_labels).mean()
    assert logistic_probe(train, train_labels, test, test_labels, C=c) == pytest.approx(expected, abs=1e-3)
    assert logistic_probe(train, train_labels, test, test_labels, C=100.0) != pytest.approx(expected, abs=3e-3)


PROBES = [
    pytest.param(lambda *data: weighted_knn_accuracy(*data, k=9), id="knn"),
    pytest.param(logistic_probe, id="logistic"),
    pytest.param(lambda *data: sgd_probe(*data, epochs=20), id="sgd"),
]
LINEAR = PROBES[1:]


@pytest.mark.parametrize("probe", PROBES)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 4), n=st.integers(30, 60))
@settings(max_examples=15)
def test_separable_classes_are_all_right(probe, seed, classes, n):
    rng = np.random.default_rng(seed)
    train, train_labels = blobs(rng, n, classes=classes, spread=0.1, labels=np.arange(n) % classes)
    test, test_labels = blobs(rng, 20, classes=classes, spread=0.1)
    assert probe(train, train_labels, test, test_labels) == 1
    assert probe(train, train_labels, test, (test_labels + 1) % classes) == 0


@pytest.mark.parametrize("probe", PROBES)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=15)
def test_the_order_of_test_rows_and_the_names_of_classes_change_nothing(probe, seed):
    rng = np.random.default_rng(seed)
    train, train_labels = blobs(rng, 40, spread=4.0)
    test, test_labels = blobs(rng, 25, spread=4.0)
    order, names = rng.permutation(25), np.array(["a", "bb", "c"])
    expected = probe(train, train_labels, test, test_labels)
    assert probe(train, names[train_labels], test[order], names[test_labels[order]].tolist()) == expected


@pytest.mark.parametrize("probe", PROBES[:2])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=15)
def test_the_order_of_training_rows_changes_nothing(probe, seed):
    """Unless it makes batches of them."""
    rng = np.random.default_rng(seed)
    train, train_labels = blobs(rng, 40, spread=4.0)
    test, test_labels = blobs(rng, 25, spread=4.0)
    order = rng.permutation(40)
    expected = probe(train, train_labels, test, test_labels)
    assert probe(train[order], train_labels[order], test, test_labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("probe", LINEAR)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=15)
def test_the_units_of_features_change_nothing(probe, seed):
    """Powers of two, which scale floats without rounding."""
    rng = np.random.default_rng(seed)
    train, train_labels = blobs(rng, 40, spread=4.0)
    test, test_labels = blobs(rng, 25, spread=4.0)
    units = 2.0 ** rng.integers(-20, 20, 4)
    expected = probe(train, train_labels, test, test_labels)
    assert probe(units * train, train_labels, units * test, test_labels) == expected


@pytest.mark.parametrize("probe", LINEAR)
def test_a_shift_and_a_dead_feature_change_nothing(probe):
    """Constant in train, it can teach nothing, and whatever it is in test misleads nobody."""
    rng = np.random.default_rng(10)
    train, train_labels = blobs(rng, 80, spread=2.0)
    test, test_labels = blobs(rng, 200, spread=2.0)
    expected = probe(train, train_labels, test, test_labels)
    shifted = probe(
        np.column_stack([train + 100, np.full(80, 0.1)]),
        train_labels,
        np.column_stack([test + 100, rng.normal(0, 1e3, 200)]),
        test_labels,
    )
    assert shifted == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("probe", PROBES)
def test_random_labels_are_chance(probe):
    rng = np.random.default_rng(11)
    train, test = rng.standard_normal((400, 5)), rng.standard_normal((2000, 5))
    accuracy = probe(train, rng.integers(0, 4, 400), test, rng.integers(0, 4, 2000))
    low, high = binom(2000, 0.25).interval(1 - 1e-6)
    assert low <= 2000 * accuracy <= high


@pytest.mark.parametrize("probe", PROBES)
def test_a_class_that_train_does_not_have_is_wrong(probe):
    rng = np.random.default_rng(12)
    train, labels = blobs(rng, 40, spread=0.1, labels=np.arange(40) % 2)
    assert probe(train, labels, train, np.where(np.arange(40) < 10, 7, labels)) == 0.75


@pytest.mark.parametrize("probe", PROBES)
def test_float32_and_lists_are_taken(probe):
    rng = np.random.default_rng(13)
    train, labels = blobs(rng, 40, spread=0.1)
    assert probe(train.astype(np.float32), labels, train.tolist(), labels.tolist()) == 1


train, labels = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], ["a", "b", "a"]
SHARED = [
    ((train, labels[:2], train, labels), r"train has 3 and train_labels has 2"),
    ((train, labels, train, labels[:2]), r"test has 3 and test_labels has 2"),
    ((train, labels, np.eye(3), labels), r"same features, but have 2 and 3 columns"),
    ((train, labels, train, [0, 1, 0]), r"none in common: \['a', 'b'\] and \[0, 1\]"),
    ((train, ["1", "0", "1"], train, [1, 0, 1]), r"none in common"),
    ((train, labels, train, ["a", None, "b"]), r"test_labels must not have missing values, but row 1"),
    (([[1.0, math.nan]] * 3, labels, train, labels), r"train\[0, 1\] is nan"),
    ((train, labels, np.empty((0, 2)), []), r"test is empty"),
]


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize(("data", "message"), SHARED)
def test_shared_refusals(probe, data, message):
    with pytest.raises(ValueError, match=message):
        probe(*data)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weighted_knn_accuracy(train, labels, train, labels), r"the 3 rows of train, but is 200\. Give k=3"),
        (lambda: weighted_knn_accuracy(train, labels, train, labels, k=0), r"between 1 and the 3 rows.*but is 0"),
        (lambda: weighted_knn_accuracy(train, labels, train, labels, k=1, temperature=0), r"temperature.*but is 0"),
        (lambda: weighted_knn_accuracy(np.eye(3, 2), labels, train, labels, k=1), r"train must have no row.*row 2"),
        (lambda: weighted_knn_accuracy(train, labels, np.eye(3, 2), labels, k=1), r"test must have no row.*row 2"),
        (lambda: logistic_probe(train, labels, train, labels, C=0), r"C must be positive, but is 0"),
        (lambda: logistic_probe(train, ["a"] * 3, train, labels), r"at least 2 classes.*have 1"),
        (lambda: sgd_probe(train, ["a"] * 3, train, labels), r"at least 2 classes.*have 1"),
        (lambda: sgd_probe(train, labels, train, labels, learning_rate=-1), r"learning_rate.*but is -1"),
        (lambda: sgd_probe(train, labels, train, labels, epochs=0), r"but are 0 and 256"),
        (lambda: sgd_probe(train, labels, train, labels, batch_size=0), r"but are 100 and 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
