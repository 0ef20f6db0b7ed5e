"""Random pictures for tests, alone and in a .parquet file."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def picture(seed, size=(8, 8), mode="RGB"):
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def encode(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def first(image):
    """(3, h, w), the order of axes of samples."""
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def hugging_face(path, n=6, broken=(), names=None, **columns):
    """A .parquet file as the Hugging Face hub lays it out, of n random 8 x 8 pictures."""
    cells = [
        {"bytes": b"\x89PNG nothing" if row in broken else encode(picture(row)), "path": f"{row:03}.png"}
        for row in range(n)
    ]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array(cells, kind), **columns})
    if names is not None:
        features = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path
