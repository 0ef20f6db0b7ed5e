"""Independent answers: value and gradients of each method's loss, from code that shares nothing with ours."""

from torchicon.oracles import (
    clustering,
    contrastive,
    crlc,
    cross_modal,
    identities,
    kernel_infonce,
    margins,
    mutual_information,
    neighbor_embedding,
    scaling,
    self_distillation,
    supervised,
)
from torchicon.oracles.registry import Oracle

ORACLES: dict[str, Oracle] = {
    **clustering.ORACLES,
    **contrastive.ORACLES,
    **crlc.ORACLES,
    **cross_modal.ORACLES,
    **identities.ORACLES,
    **kernel_infonce.ORACLES,
    **margins.ORACLES,
    **mutual_information.ORACLES,
    **neighbor_embedding.ORACLES,
    **scaling.ORACLES,
    **self_distillation.ORACLES,
    **supervised.ORACLES,
}
