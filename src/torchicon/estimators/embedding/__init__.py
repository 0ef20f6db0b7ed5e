"""Neighbor embedding: kernels, forces, descents, and the estimators `TSNE`, `SNE` and `NeighborEmbedding`."""

from torchicon.estimators.embedding.estimator import NeighborEmbedding as NeighborEmbedding
from torchicon.estimators.embedding.named import SNE as SNE
from torchicon.estimators.embedding.named import TSNE as TSNE
