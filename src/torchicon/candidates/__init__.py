"""Sources of columns that are not in the batch: banks, queues, teachers, and the parts of a bank that an anchor sees.

What has a state is a module with buffers, so that a checkpoint carries it; nothing touches the global random numbers.
"""

from torchicon.candidates.bank import MemoryBank as MemoryBank
from torchicon.candidates.bank import ProbabilityBank as ProbabilityBank
from torchicon.candidates.clusterings import Clusterings as Clusterings
from torchicon.candidates.queue import Queue as Queue
from torchicon.candidates.schedule import Anneal as Anneal
from torchicon.candidates.sets import annulus as annulus
from torchicon.candidates.sets import ball as ball
from torchicon.candidates.sets import draw as draw
from torchicon.candidates.sets import intersection as intersection
from torchicon.candidates.teacher import EMATeacher as EMATeacher
