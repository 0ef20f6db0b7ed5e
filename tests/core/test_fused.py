"""The fused normalizer: what it takes, what it leaves to the tiles, and its kernels in Triton's interpreter."""

import math
import os
import subprocess
import sys
from importlib.util import find_spec

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from torchicon.core import Bilinear, fused, streaming
from torchicon.core.fused import FusedNormalizer, blocks, list_columns, round_to_tf32, runs_on
from torchicon.core.score import FusedForm
from torchicon.core.streaming import Tiling
from torchicon.neighborhoods import (
    ConcatenatedKernels,
    Cosine,
    Dot,
    Exponential,
    Gaussian,
    Harmonic,
    JensenShannon,
    LogDot,
    StudentT,
    SumOfKernels,
)

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed; it is for Linux only")
U = {
    "inner": lambda a, b: torch.einsum("id,jd->ij", a, b),
    "sq_dist": lambda a, b: torch.cdist(a, b).square(),
    "log1p_sq_dist": lambda a, b: torch.cdist(a, b).square().log1p(),
}


@needs_triton
def test_the_kernels_in_the_interpreter():
    """In a process of its own, since Triton decides at its import what a kernel is."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/core/interpreted_fused.py"]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@needs_triton
@pytest.mark.parametrize(
    ("form", "d", "precision"),
    [("log1p_sq_dist", 2, "tf32x3"), ("sq_dist", 128, "tf32x3"), ("inner", 128, "tf32"), ("sq_dist", 1024, "tf32x3")],
)
def test_shared_memory_of_an_h100(form, d, precision, tmp_path, monkeypatch):
    """Compiled, without a device, each way of cutting the work takes at most 96 KiB: two programs fit the 228 KiB."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from torchicon.core import fused_kernels

    cut = blocks(d, radial=form != "inner", precision=precision)
    constants = {"U": form, "D": d, "PRECISION": precision, "DIFFERENCES": cut.differences, "ANCHORS": "both"}
    constants |= {"OWN": True, "LISTED": 8, "SCALED": False, "ROWS": cut.rows, "COLUMNS": cut.columns}
    constants |= {"STEP": cut.step, "DIMS": cut.dims}
    types = dict.fromkeys(("x", "y", "sq_x", "sq_y", "scale", "lse", "grad", "result"), "*fp32")
    types |= {"listed": "*i32", "n": "i32", "m": "i32", "share": "i32", "factor": "fp32"}
    kernel = fused_kernels.pull_back
    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    source = ASTSource(kernel, signature, constexprs=constants)
    compiled = triton.compile(source, GPUTarget("cuda", 90, 32), {"num_warps": cut.warps, "num_stages": 1})
    assert compiled.metadata.shared <= 96 * 1024


@given(st.integers(1, 1024), st.booleans(), st.sampled_from(["tf32", "tf32x3"]))
def test_blocks_cover_the_dimensions(d, radial, precision):
    """Powers of two, as Triton wants them; at least 16 where a matrix unit multiplies; one block up to 128."""
    cut = blocks(d, radial=radial, precision=precision)
    assert all(size & (size - 1) == 0 for size in cut[:5])
    assert cut.differences == (radial and d <= 4)
    assert cut.differences or min(cut[:4]) >= 16
    assert cut.dims % cut.step == 0
    assert d > 128 or (cut.dims == cut.step >= d)


class TestForms:
    """A score states its form itself; the tiles say whether it is true."""

    @pytest.mark.parametrize(
        "score",
        [Dot(0.3), Cosine(0.2), Gaussian(0.7), StudentT(3.0), Exponential(2.0)],
        ids=lambda score: type(score).__name__,
    )
    def test_form_is_the_score(self, score, normal):
        a, b = score.features(normal(7, 5)), score.features(normal(9, 5))
        form = score.fused_form()
        torch.testing.assert_close(form.factor * U[form.of](a, b), score.pairwise(a, b), rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize(
        "score",
        [
            Exponential(1.0),
            Harmonic(2.0),
            LogDot(),
            JensenShannon(),
            SumOfKernels(Dot(), Gaussian()),
            ConcatenatedKernels(Dot(), Gaussian()),
        ],
        ids=lambda score: type(score).__name__,
    )
    def test_others_have_none(self, score):
        assert score.fused_form() is None

    def test_a_score_from_outside_is_not_taken_for_its_parent(self):
        class Squared(Bilinear):
            def pairwise(self, a, b):
                return super().pairwise(a, b).square()

        assert Squared().fused_form() is None


class TestWhatIsTaken:
    @pytest.fixture(autouse=True)
    def on_this_device(self, monkeypatch):
        monkeypatch.setattr(fused, "runs_on", lambda device: True)

    def normalizer(self, *, score=None, d=4, dtype=torch.float32, edges=None, half=False):
        a = torch.zeros(12, d, dtype=dtype)
        tiling = Tiling((12, 12), dtype, a.device, symmetric=True, own=True, edges=edges)
        return FusedNormalizer.of(score or Dot(), a, a, tiling, half=half)

    def test_the_usual(self):
        taken = self.normalizer()
        assert taken == FusedNormalizer(
            FusedForm("inner", 1.0), own=True, listed=None, symmetric=True, precision="tf32x3"
        )
        assert self.normalizer(half=True).precision == "tf32"
        assert self.normalizer(d=1024) is not None

    def test_left_to_the_tiles(self):
        assert self.normalizer(dtype=torch.float64) is None
        assert self.normalizer(d=1025) is None
        assert self.normalizer(d=0) is None
        assert self.normalizer(score=LogDot()) is None

    @pytest.mark.parametrize("count", [1, 5, 8, 9])
    def test_cells_left_out(self, count):
        edges = torch.full((count,), 3), torch.arange(count)
        taken = self.normalizer(edges=edges)
        assert (taken is None) == (count > 8)
        assert taken is None or not taken.symmetric, "one anchor's cells are not the candidates'"


def test_a_cpu_runs_no_kernel():
    """Nor is one loaded for it."""
    assert not runs_on(torch.device("cpu"))
    code = """
import sys, torch
from torchicon.neighborhoods import Cosine
Cosine(0.1)(torch.eye(8)).log_normalizer()
assert 'torchicon.core.fused_kernels' not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("hip", "capability", "triton", "runs"),
    [
        (None, (9, 0), True, True),
        (None, (8, 0), True, True),
        (None, (7, 5), True, False),
        (None, (9, 0), False, False),
        ("6.4", (9, 4), True, False),
    ],
)
def test_devices(hip, capability, triton, runs, monkeypatch):
    """NVIDIA's with tf32, where Triton is installed."""
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(fused, "find_spec", lambda name: object() if triton else None)
    assert runs_on.__wrapped__(torch.device("cuda", 0)) == runs


def test_half_precision_is_that_of_the_points(monkeypatch):
    """A kernel knows what its features were made of: where both sides are in half precision."""
    chosen = []
    monkeypatch.setattr(streaming.FusedNormalizer, "of", lambda *args, half: chosen.append(half))
    for dtype in (torch.float32, torch.bfloat16):
        Dot()(torch.ones(3, 2, dtype=dtype)).log_normalizer()
    Dot()(torch.ones(3, 2, dtype=torch.float16), torch.ones(3, 2)).log_normalizer()
    assert chosen == [False, True, False]


@given(st.data())
def test_listed_columns_are_the_edges(data):
    n, m = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    cells = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, m - 1)), min_size=1, max_size=30))
    anchor, column = torch.tensor(cells).unbind(1)
    listed = list_columns(anchor, column, n)
    most = max(sum(cell[0] == row for cell in cells) for row in range(n))
    assert (listed is None) == (most > 8)
    if listed is not None:
        assert listed.shape[1] == 2 ** math.ceil(math.log2(most))
        row, place = (listed >= 0).nonzero(as_tuple=True)
        assert sorted(zip(row.tolist(), listed[row, place].tolist(), strict=True)) == sorted(cells)


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=20))
def test_rounding_to_tf32(values):
    """11 significant bits, and no other such number is nearer."""
    x = torch.tensor(values)
    rounded = round_to_tf32(x)
    mantissa, exponent = torch.frexp(rounded.double())
    assert bool((mantissa * 2**11 == (mantissa * 2**11).round()).all())
    half_a_step = torch.ldexp(torch.ones_like(mantissa), exponent - 12)
    normal = x.abs() > torch.finfo(torch.float32).tiny
    assert bool(((rounded.double() - x.double()).abs() <= half_a_step)[normal].all())
