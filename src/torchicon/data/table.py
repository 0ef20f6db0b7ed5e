"""What every reader returns."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Encoded = bytes | Path | None  # one picture: its PNG or JPEG bytes, the file that holds them, or missing
Images = list[bytes] | NDArray[np.uint8]


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """n samples as a user's file holds them, ready to be clustered and looked at.

    Attributes:
        features: (n, d) float32, finite; of a .npy file of more than 1 GiB its own floating numbers, mapped read-only.
        labels: (n,) integers, bools or text, none missing; None when none were asked for.
        label_name: the column, array or folder level that the labels come from.
        row_names: n texts: the text columns, an id, a file's path, or the row's number.
        images: n encoded pictures (PNG or JPEG, at most 96 pixels a side), or (n, h, w) or (n, h, w, 3) uint8;
            None when the file has no pictures.
        columns: the d names of the features.
        source: the file or folder.
        notes: what a user should know about how the file was read, a sentence each.
    """

    features: NDArray[np.floating[Any]]
    labels: NDArray[Any] | None
    label_name: str | None
    row_names: list[str]
    images: Images | None
    columns: list[str]
    source: Path
    notes: list[str]


@dataclass(kw_only=True)
class Parts:
    """What a format's reader found, before it is checked and completed.

    At least one of ``features``, ``encoded`` and ``images`` is there.

    Attributes:
        features: (n, d), or None when the pictures have to serve as features.
        labels: (n,), unchecked.
        row_names: n texts, or None for the rows' numbers.
        encoded: n pictures, not yet decoded.
        images: n pictures as uint8 pixels.
        columns: d names, or None for c0, c1, ...
        notes: sentences for the user.
    """

    features: NDArray[Any] | None = None
    labels: NDArray[Any] | None = None
    row_names: list[str] | None = None
    encoded: list[Encoded] | None = None
    images: NDArray[np.uint8] | None = None
    columns: list[str] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def n(self) -> int:
        """The number of samples."""
        return max(len(part) for part in (self.features, self.encoded, self.images) if part is not None)
