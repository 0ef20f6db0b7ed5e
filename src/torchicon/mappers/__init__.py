"""Mappers: x -> z, and witnesses that score pairs of z. Any nn.Module is one; these are the plain ones."""

from torchicon.mappers.heads import ClusterHeads as ClusterHeads
from torchicon.mappers.heads import projection_head as projection_head
from torchicon.mappers.plain import Lookup as Lookup
from torchicon.mappers.plain import linear as linear
from torchicon.mappers.plain import mlp as mlp
from torchicon.mappers.plain import orthonormal as orthonormal
from torchicon.mappers.resnet import ResNet as ResNet
from torchicon.mappers.resnet import resnet10 as resnet10
from torchicon.mappers.resnet import resnet18 as resnet18
from torchicon.mappers.resnet import resnet34 as resnet34
from torchicon.mappers.resnet import resnet50 as resnet50
from torchicon.mappers.witness import BilinearWitness as BilinearWitness
from torchicon.mappers.witness import ConcatenationWitness as ConcatenationWitness
from torchicon.mappers.witness import DotWitness as DotWitness
