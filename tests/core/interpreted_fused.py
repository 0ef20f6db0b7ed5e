"""The fused kernels in Triton's interpreter, on the CPU; `test_fused.py` runs this file with TRITON_INTERPRET=1.

The interpreter computes what a device would, but for the last bits of a product: value and gradient are held against a
dense log-sum-exp in float64. Sizes leave blocks unfilled on every side.
"""

import math

import pytest
import torch
from torch.autograd import grad

from torchicon.core import Candidates, Kernel, block_budget, fused, kl
from torchicon.core.fused import FusedNormalizer, list_columns
from torchicon.core.score import FusedForm
from torchicon.core.streaming import Tiling, log_normalizer
from torchicon.neighborhoods import Cosine, Dot, Exponential, Gaussian, Pairs, Positives, StudentT

# The logarithm of a sum over no candidates, which numpy's warns of and a device's does not.
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning")

FORMS = [FusedForm("inner", 1.0), FusedForm("sq_dist", -1.0), FusedForm("log1p_sq_dist", -1.5)]
EPS = 2.0**-23  # a score is off by this times the largest it can be, and a weight relatively by as much
WEIGHT = {"tf32x3": 0.0, "tf32": 2.0**-12}  # and by its rounding


@pytest.fixture(autouse=True)
def poisoned():
    """Memory that a kernel was to fill starts as NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def fuses(monkeypatch):
    """Take the fused path on a CPU too; lists the passes: "forward", and backward "both", or "x" and "y"."""
    passes = []
    forward, backward = FusedNormalizer.log_normalizer, FusedNormalizer._pull_back
    monkeypatch.setattr(FusedNormalizer, "log_normalizer", lambda *args: passes.append("forward") or forward(*args))
    monkeypatch.setattr(FusedNormalizer, "_pull_back", lambda *args: passes.append(args[-1]) or backward(*args))
    monkeypatch.setattr(fused, "runs_on", lambda device: True)
    return passes


def significant(x, bits):
    """x in float64, to the nearest number of so many significant bits, ties away from 0."""
    mantissa, exponent = torch.frexp(x.double())
    whole = torch.ldexp(mantissa.abs(), torch.tensor(bits)).add(0.5).floor()
    return torch.ldexp(whole * mantissa.sign(), exponent - bits)


def dense(form, a, b, left_out, scale):
    """Log-sum-exp of float64 scores, (n,), from the formula of the form."""
    function = form.of
    if function == "inner":
        u = torch.einsum("id,jd->ij", a, b)
    else:
        u = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
    u = u.log1p() if function == "log1p_sq_dist" else u
    scores = form.factor * u if scale is None else form.factor * u * scale[:, None]
    return torch.where(left_out, -math.inf, scores).logsumexp(1)


def check(form, a, b, *, listed=None, own=False, scale=None, precision="tf32x3", cotangent=None):
    """Value and gradient of the kernels are those of the dense matrix, whose -inf has no gradient."""
    n, m = len(a), len(b)
    left_out = torch.zeros(n, m, dtype=torch.bool)
    if listed is not None:
        row, place = (listed >= 0).nonzero(as_tuple=True)
        left_out[row, listed[row, place].long()] = True
    if own:
        left_out.fill_diagonal_(True)
    cotangent = torch.linspace(-1, 2, n) if cotangent is None else cotangent
    normalizer = FusedNormalizer(form, own, listed, b is a, precision)
    lse = normalizer.log_normalizer(a, b, scale)
    empty = left_out.all(1)
    found = normalizer.pull_back(a, b, scale, torch.where(empty, 0.0, lse), torch.where(empty, 0.0, cotangent))

    center = 0.0 if form.of == "inner" else b.mean(0)
    x, y = a - center, b - center
    if precision == "tf32" and (form.of == "inner" or a.shape[1] > 4):
        x, y = significant(x, 11), significant(y, 11)
    tolerance = 2 * EPS * (1 + abs(form.factor) * (x.square().sum(1).max() + y.square().sum(1).max()))
    x = x.double().requires_grad_()
    y = x if b is a else y.double().requires_grad_()
    expected = dense(form, x, y, left_out, None if scale is None else scale.double())
    oracle = grad(expected[~empty] @ cotangent.double()[~empty], (x,) if b is a else (x, y))
    assert bool((lse[empty] == -math.inf).all())
    assert (lse - expected).detach()[~empty].abs().max() < tolerance
    assert (found[1] is None) == (b is a)
    for mine, theirs in zip(found, oracle, strict=False):
        assert (mine - theirs).norm() < (2 * tolerance + 2 * WEIGHT[precision]) * theirs.norm()


def points(n, d, seed, spread=1.5):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * spread / d**0.25


def partners(n):
    """Everyone's partner listed: (0, 1), (2, 3), ... so that cells are left out symmetrically."""
    return list_columns(torch.arange(n), torch.arange(n) ^ 1, n)


@pytest.mark.parametrize(("d", "precision"), [(3, "tf32x3"), (20, "tf32x3"), (20, "tf32"), (130, "tf32x3")])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.of)
class TestKernels:
    """Every form by differences, by one product and by steps."""

    def test_anchors_are_candidates(self, form, d, precision):
        a = points(70, d, 0)
        check(form, a, a, own=True, listed=partners(70), precision=precision)

    def test_other_keys(self, form, d, precision):
        """Two cells left out by some anchors, one or none by others, and every anchor its own scale."""
        generator = torch.Generator().manual_seed(1)
        anchor, column = torch.arange(60) % 35, torch.randint(66, (60,), generator=generator)
        listed, scale = list_columns(anchor, column, 65), torch.rand(65, generator=generator) + 0.5
        check(form, points(65, d, 2), points(66, d, 3), listed=listed, scale=scale, precision=precision)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.of)
class TestHardNumbers:
    def test_anchors_without_candidates(self, form):
        """-inf and no gradient, and their columns get none from them."""
        listed = list_columns(torch.arange(5).repeat_interleave(3), torch.arange(3).repeat(5), 9)
        check(form, points(9, 20, 4), points(3, 20, 5), listed=listed)

    def test_scores_over_hundreds_of_nats(self, form):
        """The peak of a row comes in any block."""
        a = points(70, 20, 6, spread=8.0)
        check(form, a, a, own=True)
        check(form, a.flip(0), a[:66])

    def test_layouts(self, form):
        """Rows that are not next to each other in memory, and a cotangent that is one number."""
        a, b = points(20, 70, 7).T, points(130, 40, 8)[:, ::2]
        check(form, a, b, cotangent=torch.ones(()).expand(70))


@pytest.mark.parametrize("form", FORMS[1:], ids=lambda form: form.of)
@pytest.mark.parametrize("d", [2, 20])
def test_far_from_the_origin(form, d):
    """Only differences matter, and float32 keeps them: the points are multiples of 1/64."""
    near = (points(70, d, 9) * 64).round() / 64
    check(form, near + 2048, near[:66] + 2048)


@pytest.mark.parametrize("programs", [1, 3, 1000])
def test_shares(programs, monkeypatch):
    """However many programs share out the candidates, and where the last share is shorter."""
    monkeypatch.setattr(fused, "_PROGRAMS", programs)
    check(FORMS[0], points(10, 20, 10), points(64 * 4 + 1, 20, 11))


@pytest.mark.parametrize("precision", ["tf32x3", "tf32"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.of)
@pytest.mark.parametrize("d", [3, 20])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy, which tells of NaN
def test_nan_stays(form, d, precision):
    """One NaN in a key reaches every anchor and its gradient; so does one in a gradient, and only there."""
    a, b = points(5, d, 18), points(66, d, 19)
    b[65, 1] = torch.tensor(0x7FFFFFFF, dtype=torch.int32).view(torch.float32)  # the NaN that CUDA makes
    normalizer = FusedNormalizer(form, False, None, False, precision)
    lse = normalizer.log_normalizer(a, b, None)
    assert lse.isnan().all()
    of_a, of_b = normalizer.pull_back(a, b, None, lse, torch.ones(5))
    assert of_a.isnan().any(1).all()
    assert of_b.isnan().any(1).all()
    cotangent = torch.tensor([1.0, math.nan, 1.0, 1.0, 1.0])
    of_a, _ = normalizer.pull_back(a, b[:65], None, normalizer.log_normalizer(a, b[:65], None), cotangent)
    assert of_a.isnan().any(1).tolist() == cotangent.isnan().tolist()


def test_weights_are_rounded_to_the_nearest():
    """Cut off instead, they would all be smaller, by 2^-12 on average, and so would the gradient."""
    x = significant(points(66, 20, 17).abs(), 11).float()
    normalizer = FusedNormalizer(FORMS[0], False, None, True, "tf32")
    lse = normalizer.log_normalizer(x, x, None)
    found, _ = normalizer.pull_back(x, x, None, lse, torch.ones(66))
    y = x.double().requires_grad_()
    (expected,) = grad((y @ y.T).logsumexp(1).sum(), y)
    assert abs((found / expected - 1).mean()) < 2.0**-14


KERNELS = {
    "SimCLR": lambda x: (Positives()(torch.arange(len(x)) // 2), Cosine(0.2)(x)),
    "three positives": lambda x: (Positives()(torch.arange(len(x)) // 4), Dot()(x)),
    "CLIP": lambda x: (Pairs()(len(x) // 2), Cosine(0.2)(x[::2], x[1::2])),
    "SNE": lambda x: (Positives()(torch.arange(len(x)) // 3), Gaussian(0.7)(x)),
    "t-SNE": lambda x: (Positives()(torch.arange(len(x)) // 3), StudentT(2.0)(x[:, :2])),
    "Gaussian power": lambda x: (Positives()(torch.arange(len(x)) // 2), Exponential(2.0, 0.5)(x)),
    "scaled rows": lambda x: (
        Positives()(torch.arange(len(x)) // 2),
        Kernel(Dot(), x, row_scale=torch.linspace(0.5, 2.0, len(x), device=x.device)),
    ),
    "self among the candidates": lambda x: (
        Positives()(torch.arange(len(x)) // 2),
        Dot()(x, candidates=Candidates.all(len(x))),
    ),
}


HALF = [(name, dtype) for name in ("SimCLR", "SNE") for dtype in (torch.bfloat16, torch.float16)]


@pytest.mark.parametrize(("name", "dtype"), [(name, torch.float32) for name in KERNELS] + HALF, ids=str)
def test_divergences(name, dtype, fuses):
    """The whole of kl, in value and gradient, against the tiles in float64 of the same points."""
    x = points(72, 12, 12, spread=1.0).to(dtype)
    y = x.double().requires_grad_()
    x.requires_grad_()
    found = kl(*KERNELS[name](x)).sum()
    (of_x,) = grad(found, x)
    both_sides = ["both"] if name not in ("CLIP", "scaled rows") else ["x", "y"]
    assert fuses == ["forward", *both_sides]
    expected = kl(*KERNELS[name](y)).sum()
    (of_y,) = grad(expected, y)
    assert len(fuses) == 1 + len(both_sides), "float64 is for the tiles"
    tolerance = {torch.float32: 3e-6, torch.bfloat16: 2**-8, torch.float16: 2**-10}[dtype]  # of the points themselves
    assert abs(found.double() / expected - 1) < tolerance
    assert (of_x.double() - of_y).norm() < tolerance * of_y.norm()


@pytest.mark.parametrize("learned", [(True, False), (False, True)], ids=str)
def test_only_what_is_learned(learned, fuses):
    """The keys of a memory bank cost no pass; nor do frozen anchors."""
    a, b = (points(size, 8, 20).requires_grad_(wanted) for size, wanted in zip((9, 70), learned, strict=True))
    Gaussian()(a, b).log_normalizer().sum().backward()
    assert [x.grad is not None for x in (a, b)] == list(learned)
    assert fuses == ["forward", "x" if learned[0] else "y"]


def test_autocast_changes_nothing(fuses):
    x = points(40, 8, 13).requires_grad_()
    plain = grad(kl(*KERNELS["SimCLR"](x)).sum(), x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        cast = grad(Cosine(0.2)(x).log_normalizer().sum(), x)[0]
    exact = grad(Cosine(0.2)(x).log_normalizer().sum(), x)[0]
    assert torch.equal(cast, exact)
    assert plain.isfinite().all()
    assert len(fuses) == 6


def test_a_second_derivative_is_refused(fuses):
    x = points(12, 3, 14).requires_grad_()
    with pytest.raises(NotImplementedError, match="no second derivative"):
        grad(kl(*KERNELS["SimCLR"](x)).sum(), x, create_graph=True)
    assert fuses == ["forward"]


def test_many_positives_take_the_tiles(fuses):
    """Nine cells to leave out: the anchor's own is not one of those it lists."""
    x = points(40, 8, 15)
    kl(Positives()(torch.arange(40) // 10), Dot()(x))
    assert not fuses
    kl(Positives()(torch.arange(40) // 9), Dot()(x))
    assert fuses == ["forward"]


def test_no_anchors(fuses):
    none = torch.zeros(0, 3)
    tiling = Tiling((0, 5), none.dtype, none.device, symmetric=False, own=False, edges=None)
    assert log_normalizer(Dot(), none, torch.ones(5, 3), tiling).shape == (0,)
    assert not fuses


def test_no_tile_is_cut_on_the_fused_path(fuses, monkeypatch):
    """Neither the tiles nor the sorting of cells into them, which has the host wait for the device."""
    monkeypatch.setattr(Tiling, "mask", None)
    monkeypatch.setattr(Tiling, "tiles", None)
    with block_budget(1):
        kl(*KERNELS["SimCLR"](points(20, 4, 16)))
    assert fuses == ["forward"]
