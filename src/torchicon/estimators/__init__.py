"""Estimators with scikit-learn's manners."""

from torchicon.estimators.clustering import Clustering as Clustering
from torchicon.estimators.icon import ICon as ICon
from torchicon.estimators.kmeans import KMeans as KMeans
from torchicon.estimators.tsne import SNE as SNE
from torchicon.estimators.tsne import TSNE as TSNE
