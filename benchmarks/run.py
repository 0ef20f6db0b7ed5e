"""All benchmarks, one after the other: ``make bench``."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    import torch

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}", end="")
    print(f" on {torch.get_num_threads()} threads, Python {platform.python_version()}\n", flush=True)
    for name in ("infonce.py", "tsne.py"):
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, str(HERE / name), *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
