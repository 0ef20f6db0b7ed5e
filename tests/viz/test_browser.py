"""The script of the map in a real browser: it runs, draws every point, and cannot be hijacked."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from torchicon.viz import write_cluster_report, write_map_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--virtual-time-budget=4000",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine to open the report with"),
]


def after_loading(path, profile):
    """The attributes of the root element, once the scripts of the page have run."""
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "--window-size=1000,900", "--dump-dom", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return re.search("<html[^>]*>", dom)[0], dom


def test_cluster_report(tmp_path, scored):
    hostile = "</script><script>document.documentElement.dataset.hacked = 1</script>"
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    scored["labels"] = [hostile, "b", "c"] * 20
    write_cluster_report(tmp_path / "r.html", **scored, images=images, row_names=[hostile] * 60)
    root, dom = after_loading(tmp_path / "r.html", tmp_path / "profile")
    assert 'data-points="60"' in root
    assert "data-error" not in root
    assert "data-hacked" not in root
    assert dom.count('class="entry"') == 3  # the legend, made by the script


def test_map_report_of_many_rows(tmp_path, case):
    points = np.random.default_rng(0).standard_normal((60_000, 2))
    shared = {name: case[name] for name in ("title", "command", "settings", "notes", "timings")}
    write_map_report(tmp_path / "r.html", coordinates=points, labels=np.arange(60_000) % 30, **shared)
    root, _ = after_loading(tmp_path / "r.html", tmp_path / "profile")
    assert 'data-points="60000"' in root
    assert "data-error" not in root
