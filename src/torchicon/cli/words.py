"""A method in words: its loss, claim, oracle and source, as the terminal and the page say them."""

from torchicon.core import LimitOfKL, cross_entropy, kl
from torchicon.methods import Approaches, EqualGradient, EqualLoss, EqualUpTo, Inspired, Limit, Method, Term
from torchicon.methods.claims import Claim

SIGNS = {
    "=": "the loss and its gradient equal the published ones",
    "≃": "equal up to constants, which are given",
    "∇": "the gradient is equal",
    "→": "a limit of the equation, reached at the stated order",
    "∼": "inspired by it; the reason says what keeps it from being exact",
}
_DIVERGENCES: dict[object, str] = {kl: "KL", cross_entropy: "cross-entropy "}
_WEIGHTS = {"joint": "joint", "mean": "mean", "sum": "sum of"}


def loss_of(method: Method) -> str:
    """The loss of all terms, such as "0.5 × mean KL(p₁ ‖ q₁) + 0.5 × mean KL(p₂ ‖ q₂)"."""
    indices = [""] if len(method.terms) == 1 else "₁₂₃₄₅₆₇₈₉"
    return " + ".join(_term(term, index) for term, index in zip(method.terms, indices, strict=False))


def _term(term: Term, index: str) -> str:
    weights = _WEIGHTS[term.weights] if isinstance(term.weights, str) else "weighted sum of"
    kind = _DIVERGENCES.get(term.divergence, "divergence")
    if isinstance(term.divergence, LimitOfKL):
        kind = f"{term.divergence} limit of KL"
    p, q = f"p{index}", f"q{index}"
    sides = f"({p} ‖ {q})" if term.direction == "forward" else f"({q} ‖ {p})"
    return f"{'' if term.coefficient == 1 else f'{term.coefficient:.3g} × '}{weights} {kind}{sides}"


def claim_of(claim: Claim) -> tuple[str, str]:
    """A claim as a sign of `SIGNS` and as a sentence."""
    if isinstance(claim, EqualLoss):
        return "=", "value and gradient equal those of an independent oracle"
    if isinstance(claim, EqualUpTo):
        return "≃", "value and gradient equal those of an independent oracle up to the constants"
    if isinstance(claim, EqualGradient):
        return "∇", "the gradient equals that of an independent oracle"
    if isinstance(claim, Limit):
        speed = "at least linearly" if claim.at_least else "linearly"
        return "→", f"the limit equals an independent oracle, and the rescaled KL tends to it {speed}"
    if isinstance(claim, Approaches):
        return "→", f"tends to an independent oracle with an error of order {claim.order:g}"
    if isinstance(claim, Inspired):
        return "∼", claim.reason
    return "", type(claim).__name__


def oracle_of(method: Method) -> str:
    """What a method's oracle is called; nothing if it has none."""
    if method.oracle is None:
        return ""
    return method.oracle if isinstance(method.oracle, str) else getattr(method.oracle, "__name__", "a function")


def source_of(method: Method) -> str:
    """Author and year; nothing if there is no citation."""
    if method.citation is None:
        return ""
    first, *more = method.citation.authors
    others = f" and {more[0]}" if len(more) == 1 else " et al." if more else ""
    return f"{first}{others} {method.citation.year}"
