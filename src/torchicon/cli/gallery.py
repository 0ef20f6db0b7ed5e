"""The periodic table as a page: methods, and the pictures that the package ships, made into entries of `viz`."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from torchicon.cli.snippet import snippet
from torchicon.cli.words import SIGNS, claim_of, loss_of, source_of
from torchicon.methods import TABLE, Method
from torchicon.methods.method import LEARNED, SUPERVISORY
from torchicon.viz.periodic import Axis, Entry, write_periodic_table
from torchicon.viz.pictures import unpack_pictures

_NOTES = {
    ("p", "Gaussian"): "exp(−‖x−x′‖²/2σ²)",
    ("p", "Student-t"): "heavy tails on x",
    ("p", "Identity"): "only itself",
    ("p", "Graph weights"): "edges w",
    ("p", "kNN"): "the k nearest",
    ("p", "Positive pairs"): "other views of the same image",
    ("p", "Cross-modal"): "the partner in the other modality",
    ("p", "Classes"): "the same label",
    ("p", "Data-label"): "its label",
    ("q", "Gaussian"): "exp(−d/2σ²)",
    ("q", "Gaussian, wide"): "σ → ∞",
    ("q", "Gaussian, narrow"): "σ → 0",
    ("q", "Exponential"): "exp(−r^γ/τ)",
    ("q", "Student-t"): "1/(1+d)",
    ("q", "Clusters"): "chance to share a cluster",
}
_DIGITS = tuple("0123456789")


def write_table_page(path: Path, methods: Sequence[Method] = TABLE) -> None:
    """Write the periodic table of these methods as one page that opens without a network.

    Raises:
        OSError: the file cannot be written.
    """
    made = _gallery()["made"]
    write_periodic_table(
        path,
        columns=[Axis(name=name, note=_NOTES.get(("p", name), "")) for name in SUPERVISORY],
        rows=[Axis(name=name, note=_NOTES.get(("q", name), "")) for name in LEARNED],
        entries=[entry(method) for method in methods],
        signs=SIGNS,
        colors=_DIGITS,
        made={
            "recipe": made["recipe"],
            "command": made["by"],
            "when": " to ".join(dict.fromkeys([made["dates"][0], made["dates"][-1]])),
            "with": ", ".join(f"{name} {number}" for name, number in made["versions"].items()),
        },
    )


def entry(method: Method) -> Entry:
    """A method as the page shows it, with its picture if the package has one of it."""
    shown = _gallery()["methods"].get(method.name, {})
    supervisory, learned = method.cell
    sign, claim = claim_of(method.claim)
    return Entry(
        name=method.name,
        column=supervisory,
        row=learned,
        gap=method.gap,
        p_equation=method.p_equation,
        q_equation=method.q_equation,
        facts={
            "loss": loss_of(method),
            "mapper": method.mapper,
            "candidates": method.candidates,
            "constants": "" if method.constants == "none" else method.constants,
        },
        sign=sign,
        claim=claim,
        evidence=_measured(shown.get("evidence", {})),
        source=source_of(method),
        bibtex="" if method.citation is None else method.citation.bibtex,
        code=snippet(method),
        picture=_pictures().get(method.name),
        without=shown.get("without", ""),
        metric=shown.get("metric", ""),
        value=shown.get("value"),
    )


def _measured(evidence: Mapping[str, float]) -> dict[str, str]:
    names = {"value": "error of the value", "gradient": "of the gradient", "order": "order"}
    said = {}
    for key, name in names.items():
        number = evidence.get(key)
        if number is not None:
            said[name] = f"{number:.2f}" if key == "order" else f"{number:.0e}" if number else "0"
    return said


@cache
def _gallery() -> dict[str, Any]:
    text = files("torchicon.cli").joinpath("gallery.json").read_text(encoding="utf-8")
    gallery: dict[str, Any] = json.loads(text)
    return gallery


@cache
def _pictures() -> dict[str, Any]:
    methods = _gallery()["methods"]
    packed = {name: shown["picture"] for name, shown in methods.items() if "picture" in shown}
    return dict(unpack_pictures(_gallery()["arrays"], packed))
