"""Independent answers: value and gradient of each method's loss, from code that shares nothing with ours.

An oracle takes a problem (named float64 tensors) and returns (loss, gradient with respect to what is learned).
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from torchicon.oracles import clustering, contrastive, neighbor_embedding, supervised

ORACLES: dict[str, Callable[[Mapping[str, Tensor]], tuple[Tensor, Tensor]]] = {
    "sne": neighbor_embedding.sne,
    "tsne_joint": neighbor_embedding.tsne_joint,
    "tsne_row": neighbor_embedding.tsne_row,
    "total_variance": neighbor_embedding.total_variance,
    "nt_xent": contrastive.nt_xent,
    "supcon_out": contrastive.supcon_out,
    "cross_entropy": supervised.cross_entropy,
    "kmeans": clustering.kmeans,
    "infonce_by_cluster": clustering.infonce_by_cluster,
    "infonce_by_point": clustering.infonce_by_point,
}
