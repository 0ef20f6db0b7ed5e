"""t-SNE: ours against scikit-learn's, openTSNE's and torchdr's, and UMAP beside them; time, memory and quality.

    python benchmarks/tsne.py                                          # scikit-learn's digits
    python benchmarks/tsne.py --data FILE:LABELS                       # any table torchicon reads
    python benchmarks/tsne.py --data TRAIN:label TEST:label --components 50 --iterations 750

Perplexity 30, each library's start from principal components, a seed a run, everything else as the library has it.
Without ``--iterations`` that is 1,000 of ours and of scikit-learn's, 750 of openTSNE's and 2,000 of torchdr's, of which
250 are exaggerated everywhere. The time is that of the whole fit, neighbors and affinities included.

Quality is by one code for all (quality.py): the final KL on exact affinities, in float64 over all pairs; with labels
the accuracy of 10 neighbors on the map; the share of the 10 nearest in the data that are among the 10 nearest on the
map. UMAP minimizes something else and gets no KL. A second table has the neighbor graphs that the libraries use, with
their recall; scikit-learn's and torchdr's are exact.
"""

from __future__ import annotations

import neighbors
import numpy as np
import sources
from harness import Benchmark
from quality import MapQuality

PERPLEXITY = 30.0
TORCHDR_ROWS = 5000
SLOW = f"skipped: all pairs in autograd, minutes above {TORCHDR_ROWS:,} rows"


def ours(x, task, **options):
    from torchicon import TSNE

    return TSNE(perplexity=PERPLEXITY, random_state=task.seed, verbose=False, **options).fit_transform(x)


def scikit_learn(x, task, **options):
    from sklearn.manifold import TSNE

    model = TSNE(perplexity=PERPLEXITY, random_state=task.seed, n_jobs=task.threads, **options)
    return model.fit_transform(x)


def opentsne(x, task, **options):
    from openTSNE import TSNE

    model = TSNE(perplexity=PERPLEXITY, random_state=task.seed, n_jobs=task.threads, **options)
    return model.fit(x)


def torchdr(x, task, **options):
    from torchdr import TSNE

    return TSNE(perplexity=PERPLEXITY, random_state=task.seed, device="cpu", **options).fit_transform(x)


def umap(x, task, **options):
    """Without a seed, which would hold it to one thread; the warm-up compiles the search that the data will take."""
    from umap import UMAP

    approximate = len(task.x) >= 4096  # UMAP's own choice
    return UMAP(n_jobs=task.threads, force_approximation_algorithm=approximate, **options).fit_transform(x)


def fitting(fit, warm_up, given=None, **always):
    """How to prepare a library: its options at the warm-up, for a number of iterations, and always."""

    def prepare(task):
        fit(np.random.default_rng(0).standard_normal((400, 20), dtype=np.float32), task, **always, **warm_up)
        options = {} if given is None or task.iterations is None else given(task.iterations)
        return lambda: {"map": np.asarray(fit(task.x, task, **always, **options))}

    return prepare


def in_all(iterations):
    return {"max_iter": iterations}


def after_exaggeration(iterations):
    return {"n_iter": iterations - 250}


FEW = {"early_exaggeration_iter": 5, "n_iter": 5}
MAPS = {
    "ours": fitting(ours, {"max_iter": 20}, in_all),
    "scikit-learn": fitting(scikit_learn, {"max_iter": 250}, in_all),
    "openTSNE-BH": fitting(opentsne, FEW, after_exaggeration, negative_gradient_method="bh"),
    "openTSNE-FFT": fitting(opentsne, FEW, after_exaggeration, negative_gradient_method="fft"),
    "torchdr": fitting(torchdr, {"max_iter": 20}, in_all),
    "UMAP": fitting(umap, {"n_epochs": 5}),
}
PARTS = {"maps": MAPS, "graphs": {name: neighbors.METHODS[name] for name in ("ours", "openTSNE")}}


def prepare(task):
    return PARTS[task.part][task.method](task)


def main():
    benchmark = Benchmark(__doc__, {name: prepare for part in PARTS.values() for name in part})
    sources.add_options(benchmark.parser, "digits")
    benchmark.parser.add_argument("--iterations", type=int, help="of every library; 250 of 750 or more are exaggerated")
    arguments = benchmark.parse()
    if arguments.iterations is not None and arguments.iterations < 251:
        benchmark.parser.error("--iterations must be more than 250, which scikit-learn and openTSNE exaggerate")
    source = sources.load(arguments)
    quality = MapQuality(source.x, source.labels, PERPLEXITY)

    def judge(method, figures):
        y = figures["map"]
        divergence = {} if method == "UMAP" else {"KL": quality.kl(y)}
        return divergence | quality.neighborhoods(y)

    what = "" if arguments.iterations is None else f", {arguments.iterations} iterations"
    benchmark.compare(
        f"Map of {source.name}{what}",
        {"part": "maps", "x": source.x, "iterations": arguments.iterations},
        methods=MAPS,
        skip=lambda name: SLOW if name == "torchdr" and len(source.x) > TORCHDR_ROWS else None,
        once=["UMAP"],
        judge=judge,
    )
    k = int(3 * PERPLEXITY)
    benchmark.compare(
        f"{k} neighbors of {source.name}",
        {"part": "graphs", "x": source.x, "k": k},
        methods=PARTS["graphs"],
        judge=neighbors.Recall(source.x, k),
    )
    benchmark.finish()


if __name__ == "__main__":
    main()
