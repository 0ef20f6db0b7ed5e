"""Training encoders: any row of the periodic table, on Lightning. Needs the train extra."""

from torchicon.training.config import TrainConfig as TrainConfig
from torchicon.training.datamodule import IConDataModule as IConDataModule
from torchicon.training.encoder import Encoder as Encoder
from torchicon.training.evaluate import thorough as evaluate_encoder
from torchicon.training.features import features_of as features_of
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
