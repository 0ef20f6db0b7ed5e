"""What a simple classifier reads from the features of a frozen encoder: fitted on train, scored on test."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches

from torchicon.evaluation._checks import as_categories, as_points, check_same_length, unit_rows

_BLOCK_CELLS = 1 << 22  # neighbors, or votes, alive at once
_MOMENTUM = 0.9


def weighted_knn_accuracy(
    train: ArrayLike,
    train_labels: ArrayLike,
    test: ArrayLike,
    test_labels: ArrayLike,
    *,
    k: int = 200,
    temperature: float = 0.07,
) -> float:
    r"""The share of test rows, in [0, 1], whose k nearest training rows vote for their class.

    Wu et al. (2018), "Unsupervised feature learning via non-parametric instance discrimination", section 3.4: a
    neighbor of cosine similarity s has $\exp(s / \text{temperature})$ votes. With ``k=1`` it is nearest-neighbor
    accuracy, with ``temperature=math.inf`` each neighbor has one vote. A tie, to nine digits, goes to the class that
    sorts first. A test row of a class that is not in train counts as wrong.

    Args:
        train: features, (n, d).
        train_labels: strings or numbers, (n,).
        test: features, (m, d).
        test_labels: as those of train, (m,).
        k: neighbors that vote, at most n.
        temperature: of the votes, positive.

    Raises:
        ValueError: shapes that do not match, a missing or non-finite value, a row of zeros, no class in common, or k
            or the temperature out of range.

    >>> train, labels = [[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]], ["cat", "dog", "dog"]
    >>> weighted_knn_accuracy(train, labels, [[5.0, 1.0], [0.0, 3.0]], ["cat", "dog"], k=2)
    1.0
    """
    split = _check(train, train_labels, test, test_labels)
    n, m = len(split.train), len(split.test)
    if not 1 <= k <= n:
        raise ValueError(f"k must be between 1 and the {n} rows of train, but is {k}. Give k={n} or less.")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, but is {temperature}.")
    units = unit_rows(split.test, "test")
    # on the sphere the order by distance is the order by cosine, and brute force by distance is blocked by scikit-learn
    index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(unit_rows(split.train, "train"))
    right = 0
    for rows in gen_batches(m, max(1, _BLOCK_CELLS // max(k, split.n_classes))):
        dist, neighbors = index.kneighbors(units[rows])  # (b, k) each, nearest first
        sq_dist = dist**2
        weight = np.exp((sq_dist[:, :1] - sq_dist) / (2 * temperature))  # cos = 1 - sq_dist / 2; the nearest has 1
        cell = np.arange(len(dist))[:, None] * split.n_classes + split.train_class[neighbors]
        votes = np.bincount(cell.ravel(), weight.ravel(), minlength=len(dist) * split.n_classes)
        votes = votes.reshape(len(dist), split.n_classes)
        winner = (votes >= votes.max(axis=1, keepdims=True) * (1 - 1e-9)).argmax(axis=1)
        right += int((winner == split.test_class[rows]).sum())
    return right / m


def logistic_probe(
    train: ArrayLike, train_labels: ArrayLike, test: ArrayLike, test_labels: ArrayLike, *, C: float = 1.0
) -> float:
    """The test accuracy, in [0, 1], of multinomial logistic regression by L-BFGS on standardized features.

    Features are shifted and scaled by the training mean and standard deviation. Fitted by scikit-learn to convergence;
    where 1,000 iterations do not suffice it warns, and a smaller C helps. A test row of a class that is not in train
    counts as wrong.

    Args:
        train: features, (n, d).
        train_labels: strings or numbers, at least 2 classes, (n,).
        test: features, (m, d).
        test_labels: as those of train, (m,).
        C: inverse strength of the squared penalty on the weights, positive: the penalty is |w|^2 / (2 C), against the
            sum of the losses.

    Raises:
        ValueError: shapes that do not match, a missing or non-finite value, fewer than 2 classes, no class in common,
            or a C that is not positive.

    >>> logistic_probe([[0.0], [1.0], [5.0], [6.0]], ["a", "a", "b", "b"], [[-2.0], [9.0], [8.0]], ["a", "b", "a"])
    0.6666666666666666
    """
    split = _check(train, train_labels, test, test_labels).for_a_linear_layer()
    if not C > 0:
        raise ValueError(f"C must be positive, but is {C}.")
    model = LogisticRegression(C=C, max_iter=1000).fit(split.train, split.train_class)
    return float((model.predict(split.test) == split.test_class).mean())


def sgd_probe(
    train: ArrayLike,
    train_labels: ArrayLike,
    test: ArrayLike,
    test_labels: ArrayLike,
    *,
    learning_rate: float = 0.1,
    epochs: int = 100,
    batch_size: int = 256,
    seed: int = 0,
) -> float:
    """The test accuracy, in [0, 1], of a linear layer trained by SGD: the linear evaluation of the papers.

    Momentum 0.9, no weight decay, and a cosine schedule down to 0 over all steps, as of Chen et al. (2020), "A simple
    framework for contrastive learning". Features are fixed, without augmentation, and are shifted and scaled by the
    training mean and standard deviation, so that one learning rate suits all encoders. The layer starts at zero. An
    epoch's batches differ by one row at most. A test row of a class that is not in train counts as wrong.

    Args:
        train: features, (n, d).
        train_labels: strings or numbers, at least 2 classes, (n,).
        test: features, (m, d).
        test_labels: as those of train, (m,).
        learning_rate: of the first step, positive.
        epochs: passes over train, at least 1.
        batch_size: largest number of rows of a step.
        seed: of the order of the rows.

    Raises:
        ValueError: shapes that do not match, a missing or non-finite value, fewer than 2 classes, no class in common,
            or a parameter out of range.

    >>> sgd_probe([[0.0], [1.0], [5.0], [6.0]], ["a", "a", "b", "b"], [[-2.0], [9.0], [8.0]], ["a", "b", "a"])
    0.6666666666666666
    """
    split = _check(train, train_labels, test, test_labels).for_a_linear_layer()
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, but is {learning_rate}.")
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs and batch_size must be at least 1, but are {epochs} and {batch_size}.")
    x = _with_ones(split.train)
    n, d = x.shape
    weight = np.zeros((d, split.n_classes), dtype=np.float32)
    velocity = np.zeros_like(weight)
    generator = np.random.default_rng(seed)
    n_batches = math.ceil(n / batch_size)
    for epoch in range(epochs):
        for batch, rows in enumerate(np.array_split(generator.permutation(n), n_batches)):
            rate = learning_rate * (1 + math.cos(math.pi * (epoch + batch / n_batches) / epochs)) / 2
            inputs = x[rows]  # (b, d)
            slope = softmax(inputs @ weight, axis=1)  # (b, c); less the one-hot class: slope of the cross-entropy
            slope[np.arange(len(rows)), split.train_class[rows]] -= 1
            velocity = _MOMENTUM * velocity + inputs.T @ slope / len(rows)
            weight -= rate * velocity
    winner = (_with_ones(split.test) @ weight).argmax(axis=1)
    return float((winner == split.test_class).mean())


@dataclass(frozen=True, eq=False)
class _Split:
    """Features with the position of each row's class among those of train, -1 where train does not have it."""

    train: NDArray[np.float64]
    train_class: NDArray[np.intp]
    test: NDArray[np.float64]
    test_class: NDArray[np.intp]
    n_classes: int

    def for_a_linear_layer(self) -> "_Split":
        """Features standardized by the statistics of train, of at least two classes."""
        if self.n_classes < 2:
            raise ValueError("train_labels must have at least 2 classes for a classifier to tell apart, but have 1.")
        scaler = StandardScaler().fit(self.train)  # a feature that is constant in train is only shifted
        train, test = scaler.transform(self.train), scaler.transform(self.test)
        return _Split(train, self.train_class, test, self.test_class, self.n_classes)


def _check(train: ArrayLike, train_labels: ArrayLike, test: ArrayLike, test_labels: ArrayLike) -> _Split:
    x, y = as_points(train, "train"), as_points(test, "test")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"train and test must have the same features, but have {x.shape[1]} and {y.shape[1]} columns.")
    classes, train_class = as_categories(train_labels, "train_labels")
    distinct, positions = as_categories(test_labels, "test_labels")
    check_same_length(len(x), "train", len(train_class), "train_labels")
    check_same_length(len(y), "test", len(positions), "test_labels")
    place = {value: i for i, value in enumerate(classes.tolist())}
    found = np.array([place.get(value, -1) for value in distinct.tolist()], dtype=np.intp)
    if (found < 0).all():
        raise ValueError(
            "train_labels and test_labels must be names of the same classes, but have none in common: "
            f"{classes[:3].tolist()} and {distinct[:3].tolist()} are the first of each."
        )
    return _Split(x, train_class, y, found[positions], len(classes))


def _with_ones(points: NDArray[np.float64]) -> NDArray[np.float32]:
    """A last column of ones, whose weight is the bias."""
    return np.column_stack([points, np.ones(len(points))]).astype(np.float32)
