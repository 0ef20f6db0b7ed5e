"""What a CUDA device makes of the engine: contrastive losses, maps and clustering, next to what else torch can do.

    python benchmarks/gpu.py                                   # all of it; about ten minutes on an H100
    python benchmarks/gpu.py --only infonce --rows 16384
    python benchmarks/gpu.py --dry-run                         # a few rows on the CPU: does it run at all?

Times are medians by the device's own clock after a warm-up, memory is the peak above what was there before. "products"
is the two matrix products that no exact method can do without, and so the floor; "blocks" is F.cross_entropy in row
blocks, each with its own backward pass; "tiles" is ours without the fused kernel. Maps are of a torus, whose
neighbors are known, so that no search is timed. Epochs of clustering and exact maps are projected from single steps.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from torchicon import TSNE, Clusters, Cosine, Positives, debias, objective
from torchicon.core import Candidates, Sparse, fused
from torchicon.core.sums import ExactField

DIMENSIONS, TEMPERATURE = 128, 0.1
BLOCK_CELLS = 1 << 28  # of "blocks" and "products": 1 GiB of float32 scores
PLAIN_BYTES = 17  # a pair of rows
BATCH, NEIGHBORS, EPOCHS, DEBIAS = 4096, 10, 30, 0.6
MAP_NEIGHBORS = 90  # three times the perplexity 30


@dataclass(frozen=True)
class Bench:
    """Where to measure, and how often."""

    device: torch.device
    runs: int
    budget: float

    def measure(self, work: Callable[[], object]) -> tuple[list[float], float]:
        """Seconds of each run, until they pass the budget, and the peak of memory in MiB."""
        seconds: list[float] = []
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        idle = torch.cuda.memory_allocated(self.device) if cuda else 0
        while not seconds or (len(seconds) < self.runs and sum(seconds) < self.budget):
            if cuda:
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                work()
                end.record()
                end.synchronize()
                seconds.append(start.elapsed_time(end) / 1000)
            else:
                begin = time.perf_counter()
                work()
                seconds.append(time.perf_counter() - begin)
        peak = torch.cuda.max_memory_allocated(self.device) if cuda else math.nan
        return seconds, (peak - idle) / 2**20

    def report(self, what: str, work: Callable[[], object], warm: Callable[[], object]) -> float:
        """Measure and print a line; the median."""
        try:
            warm()
            seconds, mib = self.measure(work)
        except torch.cuda.OutOfMemoryError:
            print(f"{what:<44} out of memory", flush=True)
            return math.nan
        median = statistics.median(seconds)
        spread = f"({min(seconds):.4f} to {max(seconds):.4f})"
        print(f"{what:<44} {median:9.4f} s {spread:<22} {mib:9.0f} MiB", flush=True)
        return median


def ours(z: Tensor) -> Tensor:
    loss = objective(Positives()(torch.arange(len(z), device=z.device) // 2), Cosine(TEMPERATURE)(z))
    loss.backward()
    return loss


@contextmanager
def without_fusing() -> Iterator[None]:
    """Ours as where there is no Triton."""
    runs_on, fused.runs_on = fused.runs_on, lambda device: False
    try:
        yield
    finally:
        fused.runs_on = runs_on


def tiles(z: Tensor) -> Tensor:
    with without_fusing():
        return ours(z)


def plain(z: Tensor) -> Tensor:
    unit = torch.nn.functional.normalize(z, dim=1)
    scores = (unit @ unit.T / TEMPERATURE).float()
    scores = scores.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)
    loss = torch.nn.functional.cross_entropy(scores, torch.arange(len(z), device=z.device) ^ 1)
    loss.backward()
    return loss


def blocks(z: Tensor) -> Tensor:
    unit = torch.nn.functional.normalize(z, dim=1)
    leaf = unit.detach().requires_grad_()
    every = torch.arange(len(z), device=z.device)
    total = torch.zeros((), device=z.device)
    for rows in every.split(max(1, BLOCK_CELLS // len(z))):
        scores = (leaf[rows] @ leaf.T / TEMPERATURE).float()
        scores = scores.index_put((torch.arange(len(rows), device=z.device), rows), scores.new_tensor(-torch.inf))
        part = torch.nn.functional.cross_entropy(scores, rows ^ 1, reduction="sum") / len(z)
        part.backward()
        total += part.detach()
    unit.backward(leaf.grad)
    return total


def products(z: Tensor) -> Tensor:
    z = z.detach()
    for rows in z.split(max(1, BLOCK_CELLS // len(z))):
        (rows @ z.T) @ z
    return z.new_tensor(math.nan)  # no loss


def infonce(bench: Bench, rows: list[int]) -> None:
    """Forward and backward, in float32 and in bfloat16."""
    memory = torch.cuda.mem_get_info(bench.device)[1] if bench.device.type == "cuda" else math.inf
    for n in rows:
        methods = [ours, tiles, blocks, plain, products]
        if PLAIN_BYTES * n * n > 0.8 * memory:
            methods.remove(plain)
        for dtype in (torch.float32, torch.bfloat16):
            found = {method.__name__: contrast(bench, method, n, dtype) for method in methods}
            reference = found["ours"][0]
            against = ", ".join(f"{name} {seconds / reference:.2f}" for name, (seconds, _) in found.items())
            print(f"  losses: {', '.join(f'{name} {loss:.5f}' for name, (_, loss) in found.items())}")
            print(f"  time over ours: {against}\n", flush=True)


def contrast(bench: Bench, method: Callable[[Tensor], Tensor], n: int, dtype: torch.dtype) -> tuple[float, float]:
    """Seconds and loss of one method."""
    generator = torch.Generator(bench.device).manual_seed(0)
    z = torch.randn(n, DIMENSIONS, device=bench.device, generator=generator).to(dtype).requires_grad_()
    few = z[:1024].detach().clone().requires_grad_()
    loss = torch.full((), math.nan, device=bench.device)

    def work() -> None:
        z.grad = None
        loss.copy_(method(z).detach())

    name = f"InfoNCE {n:>9} rows {str(dtype).removeprefix('torch.'):<9} {method.__name__}"
    return bench.report(name, work, lambda: method(few)), float(loss)


def torus(n: int) -> tuple[Tensor, Sparse]:
    """Places (m, 2) of a square grid of about n points, and each point's 90 nearest, uniformly; it has no border."""
    side = math.isqrt(n)
    reach = min(6, (side - 1) // 2)
    steps = torch.cartesian_prod(*[torch.arange(-reach, reach + 1)] * 2)
    nearest = steps.square().sum(1).argsort(stable=True)[1 : MAP_NEIGHBORS + 1]
    place = torch.cartesian_prod(*[torch.arange(side)] * 2)
    moved = (place[:, None] + steps[nearest]) % side
    columns = (moved[..., 0] * side + moved[..., 1]).sort(1).values
    return place.float(), Sparse.from_neighbors(columns, candidates=Candidates.others(len(place)))


def map_torus(bench: Bench, n: int, iterations: int) -> None:
    """t-SNE from given neighborhoods, and what its repulsion would take without interpolation."""
    place, p = torus(n)
    start = (1e-4 * (place - place.mean(0)) / place.std()).numpy()
    kl = [math.nan]

    def fit(count: int) -> None:
        model = TSNE(p=p, init=start, max_iter=count, device=bench.device, verbose=False).fit(place.numpy())
        kl[0] = model.kl_divergence_

    bench.report(f"t-SNE   {len(place):>9} points, {iterations} iterations", lambda: fit(iterations), lambda: fit(2))
    print(f"  KL {kl[0]:.4f}\n", flush=True)

    def repel(y: Tensor) -> None:
        cauchy = ExactField(y, y.new_ones(len(y), 1), lambda d: 1 / (1 + d), lambda d: -1 / (1 + d).square())
        cauchy.gradients(y)

    y = place.to(bench.device) / 2
    name = f"exact   {len(place):>9} points, one repulsion"
    seconds = bench.report(name, lambda: repel(y), lambda: repel(y[:64]))
    print(f"  {iterations} iterations: {seconds * iterations:.1f} s\n", flush=True)


def clustering(bench: Bench, n: int, d: int, c: int, steps: int) -> None:
    """A linear head on batches of anchors and one neighbor each, debiased; steps in turn, for epochs."""
    generator = torch.Generator(bench.device).manual_seed(0)
    x = torch.randn(n, d, device=bench.device, generator=generator)
    neighbors = torch.randint(n, (n, NEIGHBORS), device=bench.device, generator=generator)
    head = torch.nn.Linear(d, c, device=bench.device)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    pairs = min(BATCH, n) // 2
    pair = torch.arange(pairs, device=bench.device).repeat(2)

    def train(count: int) -> None:
        for _ in range(count):
            anchor = torch.randint(n, (pairs,), device=bench.device, generator=generator)
            which = torch.randint(NEIGHBORS, (pairs,), device=bench.device, generator=generator)
            batch = x[torch.cat([anchor, neighbors[anchor, which]])]
            optimizer.zero_grad(set_to_none=True)
            q = Clusters()(head(batch).softmax(1))
            p = Positives()(pair, candidates=q.candidates)
            objective(debias(p, DEBIAS), debias(q, DEBIAS)).backward()
            optimizer.step()

    name = f"cluster {n:>9} x {d}, c = {c}, {steps} steps"
    seconds = bench.report(name, lambda: train(steps), lambda: train(2))
    an_epoch = math.ceil(n / pairs)
    print(f"  {EPOCHS} epochs, each anchor once: {seconds / steps * an_epoch * EPOCHS:.1f} s\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("infonce", "maps", "clustering")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--rows", type=int, nargs="+", default=[16_384, 131_072, 1_048_576])
    parser.add_argument("--points", type=int, nargs="+", default=[70_000, 1_000_000])
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--budget", type=float, default=5.0, help="seconds after which nothing is repeated")
    parser.add_argument("--dry-run", action="store_true", help="tiny, and on the CPU")
    arguments = parser.parse_args()
    rows, points, iterations, shape = arguments.rows, arguments.points, arguments.iterations, (1_281_167, 1024, 1000)
    if arguments.dry_run:
        bench = Bench(torch.device("cpu"), 1, 0.0)
        rows, points, iterations, shape = [64], [400], 60, (500, 8, 5)
    elif torch.cuda.is_available():
        bench = Bench(torch.device("cuda"), arguments.runs, arguments.budget)
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}\n", flush=True)
    else:
        parser.error("there is no CUDA device here; --dry-run shows that the script runs")
    if "infonce" in arguments.only:
        infonce(bench, rows)
    if "maps" in arguments.only:
        for n in points:
            map_torus(bench, n, iterations)
    if "clustering" in arguments.only:
        clustering(bench, *shape, steps=2 if arguments.dry_run else 100)


if __name__ == "__main__":
    main()
