"""A small clustering to report on, and a reader of the pages."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest


class Page(HTMLParser):
    """What a browser would make of a report: its elements, its visible text and the data of its map."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.elements, self.text, self._data, self._inside = [], "", "", []
        self.feed(self.source)
        self.map = json.loads(self._data)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.text += " "
        if tag in ("script", "style"):
            self._inside = [tag, dict(attrs)]

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if self._inside and tag == self._inside[0]:
            self._inside = []

    def handle_data(self, data):
        if self._inside and self._inside[1].get("id") == "map-data":
            self._data += data
        elif not self._inside:
            self.text += data

    def tagged(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def array(self, name, kind):
        return np.frombuffer(base64.b64decode(self.map[name]), dtype=kind)

    def codes(self, title):
        """The positions of a way to color the map, in the order of the rows."""
        mode = next(mode for mode in self.map["modes"] if mode["title"] == title)
        in_order = np.zeros(self.map["count"], dtype=int)
        in_order[self.array("rows", "<u4")] = np.frombuffer(base64.b64decode(mode["codes"]), dtype="<u2")
        return in_order


@pytest.fixture
def read():
    return Page


@pytest.fixture
def case():
    """The arguments of a cluster report on 60 rows in three clusters, without labels or pictures."""
    generator = np.random.default_rng(0)
    clusters = np.arange(60) % 3
    probabilities = generator.dirichlet([0.3, 0.3, 0.3], 60)
    probabilities += np.eye(3)[clusters]
    return {
        "coordinates": generator.standard_normal((60, 2)) + 4 * np.eye(3, 2)[clusters],
        "clusters": clusters,
        "probabilities": probabilities / probabilities.sum(axis=1, keepdims=True),
        "title": "Three groups",
        "command": "torchicon cluster rows.npy -k 3",
        "settings": {"neighbors": 10, "debias": 0.25, "merge": True, "preset": None},
        "notes": ["Two rows were the same."],
        "timings": {"graph": 0.25, "clustering": 12.0},
        "seed": 7,
    }


@pytest.fixture
def scored(case):
    """The same with labels, scores and a baseline."""
    labels = np.array(["ant", "bee", "cat"])[case["clusters"]]
    metrics = {
        "accuracy": 0.9512,
        "nmi": 0.871,
        "ari": 0.85,
        "classes": ["ant", "bee", "cat"],
        "clusters": [0, 1, 2],
        "confusion": [[20, 0, 0], [0, 18, 2], [1, 0, 19]],
    }
    return {
        **case,
        "labels": labels,
        "metrics": metrics,
        "baseline": {"name": "K-Means", "clusters": (case["clusters"] + 1) % 3},
        "baseline_metrics": {**metrics, "accuracy": 0.7034},
    }
