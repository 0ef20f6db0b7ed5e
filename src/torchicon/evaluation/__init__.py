"""Arrays in, numbers out: how good a clustering, a map or a representation is. Imports nothing else of this package."""

from torchicon.evaluation.bounds import Bound, infonce_bound, vince_bound
from torchicon.evaluation.clustering import clustering_metrics
from torchicon.evaluation.collapse import effective_rank, saturated_share
from torchicon.evaluation.geometry import alignment, uniformity
from torchicon.evaluation.matching import Matching, hungarian_accuracy, hungarian_match
from torchicon.evaluation.neighbors import knn_accuracy, neighbor_recall
from torchicon.evaluation.probes import logistic_probe, sgd_probe, weighted_knn_accuracy

__all__ = [
    "Bound",
    "Matching",
    "alignment",
    "clustering_metrics",
    "effective_rank",
    "hungarian_accuracy",
    "hungarian_match",
    "infonce_bound",
    "knn_accuracy",
    "logistic_probe",
    "neighbor_recall",
    "saturated_share",
    "sgd_probe",
    "uniformity",
    "vince_bound",
    "weighted_knn_accuracy",
]
