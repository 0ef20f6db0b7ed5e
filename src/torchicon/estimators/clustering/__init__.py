"""`Clustering` and its steps: scaling, graph, heads, training, merging, selection."""

from torchicon.estimators.clustering.estimator import Clustering as Clustering
