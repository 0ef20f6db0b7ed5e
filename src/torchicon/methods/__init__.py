"""The periodic table of representation learning, as data."""

from torchicon.methods.citations import Citation as Citation
from torchicon.methods.citations import reference as reference
from torchicon.methods.claims import Approaches as Approaches
from torchicon.methods.claims import EqualGradient as EqualGradient
from torchicon.methods.claims import EqualLoss as EqualLoss
from torchicon.methods.claims import EqualUpTo as EqualUpTo
from torchicon.methods.claims import Inspired as Inspired
from torchicon.methods.claims import Limit as Limit
from torchicon.methods.method import Method as Method
from torchicon.methods.method import Term as Term
from torchicon.methods.smoothing import smoothed as smoothed
from torchicon.methods.table import IDENTITIES as IDENTITIES
from torchicon.methods.table import TABLE as TABLE
from torchicon.methods.table import cite as cite
from torchicon.methods.table import find as find
from torchicon.methods.table import periodic_table as periodic_table
