"""The one error of reading and writing: what is wrong, where, and the way out."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

# What a file really is, by its first bytes: a wrong suffix is the commonest reason that a parser fails.
_SIGNATURES = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x93NUMPY", "a .npy array"),
    (b"PK\x03\x04", "a zip archive, such as .npz or .xlsx"),
    (b"PAR1", "a .parquet table"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x80", "a Python pickle"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)


class DataError(ValueError):
    """Data that cannot be used as given.

    Args:
        what: what is wrong, as a clause without a final period.
        where: the file, folder or argument that is at fault.
        fix: the way out, as a sentence.

    >>> print(DataError("has no rows", "points.csv", "Give at least two."))
    points.csv: has no rows. Give at least two.
    """

    def __init__(self, what: str, where: str | Path, fix: str) -> None:
        super().__init__(what, where, fix)  # all three, so that the error survives pickling between processes
        self.what, self.where, self.fix = what, str(where), fix

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.fix}"


def suggest(wanted: str, known: Sequence[str]) -> str:
    """The sentence that follows an unknown name: the nearest known one, then all of them.

    >>> suggest("lable", ["x", "label"])
    "Did you mean 'label'? There are: 'x', 'label'."
    """
    if not known:
        return "There are none."
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(wanted.lower(), list(by_lower), n=1)
    shown = ", ".join(repr(name) for name in known[:20])
    more = f" and {len(known) - 20} more" if len(known) > 20 else ""
    return (f"Did you mean {by_lower[near[0]]!r}? " if near else "") + f"There are: {shown}{more}."


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a parser raises on the bytes of ``path`` into a DataError that names the file.

    Wrap calls into other people's parsers only: on hostile bytes they raise errors of every class, so every
    class is caught here.
    """
    try:
        yield
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(
            "does not fit in memory", path, "Give fewer rows or columns, or a machine with more memory."
        ) from error
    except OSError as error:
        if error.errno is None:  # a parser's own complaint (PIL and pyarrow use OSError), not the system's
            raise _unreadable(path, kind, error) from error
        raise DataError(
            f"cannot be read ({error.strerror or error})", path, "Check the path and its permissions."
        ) from error
    except Exception as error:
        raise _unreadable(path, kind, error) from error


def _unreadable(path: Path, kind: str, error: Exception) -> DataError:
    lines = str(error).strip().splitlines()
    reason = (lines[0] if lines else type(error).__name__).rstrip(".")
    head = b""
    with suppress(OSError, ValueError), path.open("rb") as file:
        head = file.read(8)
    found = next((name for signature, name in _SIGNATURES if head.startswith(signature)), None)
    if found and kind not in found:
        return DataError(f"is not {kind}: it looks like {found}", path, "Give the file its right suffix.")
    return DataError(
        f"is not a complete {kind} file ({reason[:200]})", path, "Write it again, or give it its right suffix."
    )
