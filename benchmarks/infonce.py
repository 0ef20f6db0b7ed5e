"""InfoNCE (SimCLR's loss), forward and backward: ours against the plain masked log-softmax, in fresh processes in turn.

    python benchmarks/infonce.py                    # 1,024, 4,096 and 16,384 rows of 128 dimensions
    python benchmarks/infonce.py --rows 32768 --runs 3

Prints medians with their range, the memory above the idle process, the ratio, and the time of the two matrix products
that no exact method can do without (scores once, their gradient once, each over half of a symmetric matrix twice).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

DIMENSIONS, TEMPERATURE = 128, 0.1


def measure(method: str, rows: int) -> dict[str, float]:
    """Time and memory of one forward and backward pass in this process, after a small warm-up."""
    import torch

    run = {"ours": _ours, "plain": _plain, "products": _products}[method]
    generator = torch.Generator().manual_seed(0)
    run(torch.randn(256, DIMENSIONS, generator=generator).requires_grad_())
    z = torch.randn(rows, DIMENSIONS, generator=generator).requires_grad_()
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    loss = run(z)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "mib": (peak - idle) / 1024, "loss": loss}


def _ours(z):
    import torch

    from torchicon import Cosine, Positives, objective

    loss = objective(Positives()(torch.arange(len(z)) // 2), Cosine(TEMPERATURE)(z))
    loss.backward()
    return loss.item()


def _plain(z):
    import torch

    unit = torch.nn.functional.normalize(z, dim=1)
    scores = unit @ unit.T / TEMPERATURE
    scores = scores.masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    loss = torch.nn.functional.cross_entropy(scores, torch.arange(len(z)) ^ 1)
    loss.backward()
    return loss.item()


def _products(z):
    z = z.detach()
    for start in range(0, len(z), 1024):  # two n x n x d products' worth of work, in cache-sized pieces
        scores = z[start : start + 1024] @ z.T
        scores @ z
    return 0.0


def compare(rows: int, runs: int) -> None:
    """Run the three in turn and print the table for this size."""
    seen: dict[str, list[dict[str, float]]] = {"ours": [], "plain": [], "products": []}
    for _ in range(runs):
        for method, results in seen.items():
            command = [sys.executable, __file__, "--child", method, "--rows", str(rows)]
            results.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    for method, results in seen.items():
        seconds = [result["seconds"] for result in results]
        mib = statistics.median(result["mib"] for result in results)
        print(
            f"{rows:>7} rows  {method:<9} {statistics.median(seconds):8.3f} s "
            f"({min(seconds):.3f} to {max(seconds):.3f})  {mib:8.0f} MiB  loss {results[0]['loss']:.6f}"
        )
    median = {method: statistics.median(result["seconds"] for result in seen[method]) for method in seen}
    print(
        f"{rows:>7} rows  plain / ours {median['plain'] / median['ours']:.2f}, "
        f"ours / two products {median['ours'] / median['products']:.2f}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1024, 4096, 16384])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--child", choices=["ours", "plain", "products"])
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child, arguments.rows[0])))
        return
    for rows in arguments.rows:
        compare(rows, arguments.runs)


if __name__ == "__main__":
    main()
