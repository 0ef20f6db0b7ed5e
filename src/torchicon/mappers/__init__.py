"""Mappers: x -> z, and witnesses that score pairs of z. Any nn.Module is one; these are the plain ones."""

from torchicon.mappers.plain import Lookup as Lookup
from torchicon.mappers.plain import linear as linear
from torchicon.mappers.plain import mlp as mlp
from torchicon.mappers.plain import orthonormal as orthonormal
from torchicon.mappers.witness import BilinearWitness as BilinearWitness
from torchicon.mappers.witness import ConcatenationWitness as ConcatenationWitness
from torchicon.mappers.witness import DotWitness as DotWitness
