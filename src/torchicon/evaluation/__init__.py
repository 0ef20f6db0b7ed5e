"""Arrays in, numbers out: how good a clustering or a map is. Imports nothing else of this package."""

from torchicon.evaluation.bounds import Bound, infonce_bound, vince_bound
from torchicon.evaluation.clustering import clustering_metrics
from torchicon.evaluation.collapse import effective_rank, saturated_share
from torchicon.evaluation.matching import Matching, hungarian_accuracy, hungarian_match
from torchicon.evaluation.neighbors import knn_accuracy, neighbor_recall

__all__ = [
    "Bound",
    "Matching",
    "clustering_metrics",
    "effective_rank",
    "hungarian_accuracy",
    "hungarian_match",
    "infonce_bound",
    "knn_accuracy",
    "neighbor_recall",
    "saturated_share",
    "vince_bound",
]
