"""The one place the version is written, and what else is asked about versions."""

import platform
from contextlib import suppress
from importlib import metadata

__version__ = "0.1.0"


def versions(*software: str) -> dict[str, str]:
    """Of torchicon, of Python and of the software that decides a result, as far as it is installed."""
    found = {"torchicon": __version__, "Python": platform.python_version()}
    for name in software:
        with suppress(metadata.PackageNotFoundError):  # FAISS has other names outside of PyPI
            found[name] = metadata.version(name)
    return found
