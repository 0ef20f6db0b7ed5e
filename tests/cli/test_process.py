"""The command line as a process of its own: what the shell sees."""

import os
import signal
import subprocess
import sys

import numpy as np

# An optimizer in the middle of its work, one that keeps what it has when it is interrupted.
_BUSY = """
import time
import torchicon.estimators

class Busy:
    def __init__(self, *args, **kwargs):
        pass

    def fit(self, X):
        try:
            print("busy", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            pass
        self.labels_, self.notes_ = X[:, 0] > 0, []
        return self

torchicon.estimators.Clustering = Busy
from torchicon.cli import main
main()
"""


def test_ctrl_c_leaves_nothing(tmp_path):
    np.save(tmp_path / "points.npy", np.eye(20))
    command = [sys.executable, "-c", _BUSY, "cluster", "points.npy", "-k", "2", "-o", "out"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        assert len(list(tmp_path.iterdir())) == 2  # the input, and the folder in the making
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "Interrupted; no output is left unfinished.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["points.npy"]


def test_terminal_without_greek():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", "from torchicon.cli import main; main()", "methods", "SNE"]
    result = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert b"exp(-|x_i - x_j|" in result.stdout
