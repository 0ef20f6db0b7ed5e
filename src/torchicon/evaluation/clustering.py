"""The usual scores of a clustering against known labels, ready for a report or a JSON file."""

from typing import Any

from numpy.typing import ArrayLike
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from torchicon.evaluation._checks import as_categories
from torchicon.evaluation.matching import hungarian_match


def clustering_metrics(labels: ArrayLike, clusters: ArrayLike) -> dict[str, Any]:
    """Score clusters against labels; every value is plain Python, so the dict goes into JSON as it is.

    Args:
        labels: the class of each row, strings or numbers, (n,).
        clusters: the cluster of each row, strings or numbers, (n,).

    Returns:
        ``n``: the number of rows.
        ``accuracy``: `hungarian_accuracy`, in [0, 1].
        ``nmi``: mutual information over the mean of both entropies, in [0, 1].
        ``ari``: the Rand index adjusted for chance (Hubert and Arabie, 1985): 1 when equal, 0 by chance.
        ``classes``, ``clusters``, ``confusion``: as in `Matching`, with the matched counts on the diagonal.

    Raises:
        ValueError: the lengths differ, there are no rows, or a value is missing.

    >>> metrics = clustering_metrics(["a", "a", "b", "b"], [1, 1, 0, 0])
    >>> metrics["accuracy"], metrics["classes"], metrics["clusters"], metrics["confusion"]
    (1.0, ['a', 'b'], [1, 0], [[2, 0], [0, 2]])
    """
    matching = hungarian_match(labels, clusters)
    # positions, not values: scikit-learn warns about labels that look continuous
    class_of, cluster_of = as_categories(labels, "labels")[1], as_categories(clusters, "clusters")[1]
    return {
        "n": len(class_of),
        "accuracy": matching.accuracy,
        "nmi": float(normalized_mutual_info_score(class_of, cluster_of)),
        "ari": float(adjusted_rand_score(class_of, cluster_of)),
        "classes": matching.classes.tolist(),
        "clusters": matching.clusters.tolist(),
        "confusion": matching.confusion.tolist(),
    }
