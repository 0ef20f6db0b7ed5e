"""t-SNE: ours against scikit-learn's, in fresh processes in turn; the final KL of both by one code on one P.

    python benchmarks/tsne.py                       # scikit-learn's digits
    python benchmarks/tsne.py --data FILE:LABELS    # any table torchicon reads

P is scikit-learn's own (perplexity 30, its 3 x perplexity + 1 neighbors); the KL is summed over all pairs in float64.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PERPLEXITY = 30.0


def load(data):
    """Features of the digits, or of FILE:LABELS."""
    if data is None:
        from sklearn.datasets import load_digits

        return load_digits().data
    from torchicon.data import read_table

    path, labels = data.rsplit(":", 1)
    return read_table(path, labels=labels).features.astype(np.float64)


def measure(method, data, seed, out):
    """Fit in this process, save the map, and return the seconds."""
    x = load(data)
    start = time.perf_counter()
    if method == "ours":
        from torchicon import TSNE

        positions = TSNE(perplexity=PERPLEXITY, random_state=seed, verbose=False).fit_transform(x)
    else:
        from sklearn.manifold import TSNE

        positions = TSNE(perplexity=PERPLEXITY, random_state=seed).fit_transform(x)
    seconds = time.perf_counter() - start
    np.save(out, positions)
    return seconds


def joint_p(x):
    """scikit-learn's symmetric P as (row, column, weight) over i < j, with weights that sum to 1/2."""
    from scipy.sparse import triu
    from sklearn.manifold import _t_sne
    from sklearn.neighbors import NearestNeighbors

    count = min(len(x) - 1, int(3 * PERPLEXITY + 1))
    distances = NearestNeighbors(n_neighbors=count).fit(x).kneighbors_graph(mode="distance")
    distances.data **= 2
    p = triu(_t_sne._joint_probabilities_nn(distances.astype(np.float32), PERPLEXITY, 0)).tocoo()
    return p.row, p.col, p.data.astype(np.float64)


def final_kl(p, y):
    """KL(P || Q) in nats over all pairs, float64."""
    row, column, weight = p
    y = y.astype(np.float64)
    total = 0.0
    for start in range(0, len(y), 500):
        sq_dist = ((y[start : start + 500, None] - y[None]) ** 2).sum(-1)
        total += (1 / (1 + sq_dist)).sum()
    total -= len(y)
    q = 1 / (1 + ((y[row] - y[column]) ** 2).sum(1)) / total
    kept = weight > 0
    return float(2 * (weight[kept] * np.log(weight[kept] / q[kept])).sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--child", choices=["ours", "scikit-learn"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child, arguments.data, arguments.seed, arguments.out)))
        return
    x = load(arguments.data)
    p = joint_p(x)
    seconds = {"ours": [], "scikit-learn": []}
    kls = {"ours": [], "scikit-learn": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.runs):
            for method in seconds:
                out = str(Path(folder) / "map.npy")
                command = [sys.executable, __file__, "--child", method, "--seed", str(seed), "--out", out]
                command += ["--data", arguments.data] if arguments.data else []
                seen = subprocess.run(command, capture_output=True, text=True, check=True)
                seconds[method].append(json.loads(seen.stdout))
                kls[method].append(final_kl(p, np.load(out)))
    for method in seconds:
        print(
            f"{len(x)} rows  {method:<13} {statistics.median(seconds[method]):6.1f} s "
            f"({min(seconds[method]):.1f} to {max(seconds[method]):.1f})  "
            f"KL {statistics.median(kls[method]):.4f} ({min(kls[method]):.4f} to {max(kls[method]):.4f})"
        )
    ratio = statistics.median(seconds["scikit-learn"]) / statistics.median(seconds["ours"])
    print(f"{len(x)} rows  scikit-learn / ours {ratio:.2f}")


if __name__ == "__main__":
    main()
