"""What a report says about each cluster: how large, how sure, and which rows show it best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Member:
    """One row as an example of its cluster.

    Attributes:
        row: its position in the data.
        confidence: the probability of its own cluster.
        rival: the most probable other cluster, None when there is only one.
        rival_confidence: the probability of that one.
    """

    row: int
    confidence: float
    rival: int | None
    rival_confidence: float


@dataclass(frozen=True)
class ClusterSummary:
    """One cluster, ready to be shown.

    Attributes:
        index: its number.
        size: how many rows it has.
        quartiles: of the confidences, at 25, 50 and 75 percent; None when the cluster is empty.
        majority: the most frequent label and its share, None without labels or rows.
        most, least: its most and least confident rows, most telling first, without overlap.
    """

    index: int
    size: int
    quartiles: tuple[float, float, float] | None
    majority: tuple[str, float] | None
    most: list[Member]
    least: list[Member]


def summarize(
    clusters: NDArray[np.intp],
    probabilities: NDArray[Any],
    labels: tuple[Sequence[str], NDArray[np.intp]] | None,
    *,
    typical: int,
) -> list[ClusterSummary]:
    """Describe each of the c clusters, empty ones too.

    Args:
        clusters: in 0 .. c - 1, (n,).
        probabilities: (n, c).
        labels: the distinct labels, and each row's position among them (n,).
        typical: at most so many of the most and of the least typical members.

    >>> [cluster] = summarize(np.zeros(3, int), np.array([[1.0], [0.5], [0.75]]), None, typical=2)
    >>> cluster.size, cluster.quartiles, [member.row for member in cluster.most]
    (3, (0.625, 0.75, 0.875), [0, 2])
    """
    confidence = probabilities[np.arange(len(clusters)), clusters]
    summaries = []
    for index in range(probabilities.shape[1]):
        rows = np.flatnonzero(clusters == index)
        rows = rows[np.argsort(-confidence[rows], kind="stable")]
        most, least = rows[: min(typical, -(-len(rows) // 2))], rows[::-1][: min(typical, len(rows) // 2)]
        majority = None
        if labels is not None and len(rows):
            counts = np.bincount(labels[1][rows])
            majority = (labels[0][int(counts.argmax())], float(counts.max() / len(rows)))
        summaries.append(
            ClusterSummary(
                index=index,
                size=len(rows),
                quartiles=_quartiles(confidence[rows]) if len(rows) else None,
                majority=majority,
                most=[_member(int(row), index, probabilities[row]) for row in most],
                least=[_member(int(row), index, probabilities[row]) for row in least],
            )
        )
    return summaries


def _quartiles(values: NDArray[np.float64]) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def _member(row: int, cluster: int, probabilities: NDArray[Any]) -> Member:
    if len(probabilities) == 1:
        return Member(row, float(probabilities[0]), None, 0.0)
    others = np.where(np.arange(len(probabilities)) == cluster, -1.0, probabilities)
    rival = int(others.argmax())
    return Member(row, float(probabilities[cluster]), rival, float(others[rival]))
