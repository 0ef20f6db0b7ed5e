"""The equation and its structures. Needs torch alone."""

from torchicon.core.candidates import Candidates as Candidates
from torchicon.core.cluster import Cluster as Cluster
from torchicon.core.dense import Dense as Dense
from torchicon.core.divergence import Explanation as Explanation
from torchicon.core.divergence import cross_entropy as cross_entropy
from torchicon.core.divergence import entropy as entropy
from torchicon.core.divergence import explain as explain
from torchicon.core.divergence import kl as kl
from torchicon.core.divergence import reference_kl as reference_kl
from torchicon.core.errors import CandidatesError as CandidatesError
from torchicon.core.errors import RouteError as RouteError
from torchicon.core.errors import SupportError as SupportError
from torchicon.core.kernel import Kernel as Kernel
from torchicon.core.mixture import Mixture as Mixture
from torchicon.core.numerics import block_budget as block_budget
from torchicon.core.objective import joint_kl as joint_kl
from torchicon.core.objective import objective as objective
from torchicon.core.routes import Plan as Plan
from torchicon.core.routes import Route as Route
from torchicon.core.routes import register_route as register_route
from torchicon.core.rows import Rows as Rows
from torchicon.core.rows import Support as Support
from torchicon.core.score import Bilinear as Bilinear
from torchicon.core.score import Radial as Radial
from torchicon.core.score import Score as Score
from torchicon.core.sparse import Sparse as Sparse
