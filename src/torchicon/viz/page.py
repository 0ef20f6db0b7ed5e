"""From a template to one file that needs nothing else: escaped, without a network, and written at once."""

import base64
import functools
import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("map.js", "paint.js", "controls.js")  # one after the other they are one script
_STYLES = ("tokens.css", "style.css")


def _percent(share: float, digits: int = 1) -> str:
    """A share as a percentage that says 100% or 0% only when it is exactly that."""
    text = f"{share:.{digits}%}"
    if share < 1 and text == f"{1:.{digits}%}":
        return f"> {1 - 10.0 ** -(digits + 2):.{digits}%}"
    if share > 0 and text == f"{0:.{digits}%}":
        return f"< {10.0 ** -(digits + 2):.{digits}%}"
    return text


def _setting(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_setting(item) for item in value)
    return str(value)


def _typeset(text: str) -> Markup:
    """Formulas in plain text with sub- and superscripts: z_i, φ_ic, d^(-n). Identifiers such as log_scale stay."""
    safe = str(escape(text.replace("'_", "′_")))
    safe = re.sub(r"(?<![^\W_])([^\W\d_]′?)_([^\W_]{1,3})(?![^\W])", r"\1<sub>\2</sub>", safe)
    safe = re.sub(r"([^\W\d_])_([^\W\d_])(?![^\W])", r"\1<sub>\2</sub>", safe)
    safe = re.sub(r"\^\(((?:[^()]|\([^()]*\))*)\)", r"<sup>\1</sup>", safe)
    return Markup(re.sub(r"\^(-?[^\W_]+)", r"<sup>\1</sup>", safe))


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,  # every string of a report may come from a stranger's file
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {"percent": _percent, "count": "{:,}".format, "setting": _setting, "typeset": _typeset}
    return environment


def render(template: str, *, scripts: Sequence[str] = _SCRIPTS, styles: Sequence[str] = _STYLES, **values: Any) -> str:
    """The page as text. The only script that the browser will run is our own, named by its hash."""
    script, style = (
        "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in names) for names in (scripts, styles)
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        _environment()
        .get_template(template)
        .render(script=Markup(script), script_digest=digest, style=Markup(style), **values)
    )


def write_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Write text to a file that is either whole or as it was before.

    Raises:
        OSError: the folder does not exist, or cannot be written.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")  # same folder: replace is atomic
    try:
        with partial.open("xb") as stream:
            # names of files may hold bytes that are no text (lone surrogates), which UTF-8 refuses
            stream.write(text.encode("utf-8", errors="replace"))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
