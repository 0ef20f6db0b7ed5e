"""Estimators with scikit-learn's manners."""

from torchicon.estimators.clustering import Clustering as Clustering
from torchicon.estimators.embedding import SNE as SNE
from torchicon.estimators.embedding import TSNE as TSNE
from torchicon.estimators.embedding import NeighborEmbedding as NeighborEmbedding
from torchicon.estimators.icon import ICon as ICon
from torchicon.estimators.kmeans import KMeans as KMeans
from torchicon.estimators.normalized_cuts import NormalizedCuts as NormalizedCuts
