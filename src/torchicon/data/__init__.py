"""Files in and files out: readers that give a Table or a DataError, and writes that are whole or not there."""

from torchicon.data.checks import check_features
from torchicon.data.errors import DataError
from torchicon.data.read import read_table
from torchicon.data.samples import Samples, read_samples
from torchicon.data.table import Table
from torchicon.data.write import output_folder, write_json, write_parquet

__all__ = [
    "DataError",
    "Samples",
    "Table",
    "check_features",
    "output_folder",
    "read_samples",
    "read_table",
    "write_json",
    "write_parquet",
]
