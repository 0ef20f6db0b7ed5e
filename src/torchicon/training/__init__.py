"""Training encoders: any row of the periodic table, on Lightning. Needs the train extra."""

from typing import TYPE_CHECKING, Any

from torchicon.training.config import TrainConfig as TrainConfig
from torchicon.training.encoder import Encoder as Encoder
from torchicon.training.evaluate import thorough as evaluate_encoder
from torchicon.training.features import features_of as features_of

if TYPE_CHECKING:
    from torchicon.training.datamodule import IConDataModule as IConDataModule
    from torchicon.training.module import IConModule as IConModule
    from torchicon.training.run import train as train

__all__ = [
    "Encoder",
    "IConDataModule",
    "IConModule",
    "TrainConfig",
    "evaluate_encoder",
    "features_of",
    "train",
]

_LIGHTNING = {"IConDataModule": "datamodule", "IConModule": "module", "train": "run"}


def __getattr__(name: str) -> Any:
    """What needs Lightning, which takes seconds to import, when it is first asked for."""
    if name not in _LIGHTNING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LIGHTNING[name]}"), name)
