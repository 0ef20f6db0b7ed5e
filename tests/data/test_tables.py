"""Readers of .csv, .tsv and .parquet."""

import csv
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from torchicon.data import DataError, read_table, write_parquet

finite32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
matrices = hnp.arrays(np.float32, st.tuples(st.integers(1, 7), st.integers(1, 5)), elements=finite32)
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).filter(str.strip)


def read_text(tmp_path, text, *, labels=None, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, labels=labels)


@given(x=matrices, suffix=st.sampled_from([".csv", ".tsv"]), with_names=st.booleans(), data=st.data())
def test_csv_round_trip(x, suffix, with_names, data):
    kinds = data.draw(st.lists(words, min_size=len(x), max_size=len(x)))
    names = [f"feature {column}" for column in range(x.shape[1])] + ["kind"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",", quoting=csv.QUOTE_NONNUMERIC)
            if with_names:
                writer.writerow(names)
            writer.writerows([*(float(v) for v in row), "k " + kind] for row, kind in zip(x, kinds, strict=True))
        label = "kind" if with_names else f"c{x.shape[1]}"
        table = read_table(path, labels=label)
    np.testing.assert_array_equal(table.features, x)
    assert table.labels.tolist() == [("k " + kind).strip() for kind in kinds]
    assert table.columns == (names[:-1] if with_names else [f"c{column}" for column in range(x.shape[1])])


@given(x=matrices, as_vector=st.booleans(), data=st.data())
def test_parquet_round_trip(x, as_vector, data):
    labels = data.draw(hnp.arrays(np.int64, len(x)))
    columns = {"v": x} if as_vector else {f"f{column}": x[:, column] for column in range(x.shape[1])}
    with tempfile.TemporaryDirectory() as folder:
        write_parquet(Path(folder) / "x.parquet", {**columns, "y": labels})
        table = read_table(Path(folder) / "x.parquet", labels="y")
    np.testing.assert_array_equal(table.features, x)
    np.testing.assert_array_equal(table.labels, labels)
    assert table.columns == [f"{'v_' if as_vector else 'f'}{column}" for column in range(x.shape[1])]


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        ("a,b\n1,2\n3,4\n", ["a", "b"], 2),
        ("1.5,2\n3,4\n", ["c0", "c1"], 2),
        ("5.1,3.5,Iris-setosa\n4.9,3.0,Iris-setosa\n", ["c0", "c1"], 2),
        ("0,1,2\n5,6,7\n", ["0", "1", "2"], 1),
        ("label text,0,1,2\nx,5,6,7\n", ["0", "1", "2"], 1),
        ("name,2019,mass\nx,1,2\n", ["2019", "mass"], 1),
        (",a,b\n7,1,2\n9,3,4\n", ["a", "b"], 2),
        ("\ufeffa,b\n1,2\n", ["a", "b"], 1),
        ("\n\na,b\n1,2\n", ["a", "b"], 1),
        ("a,b\r\n1,2\r\n", ["a", "b"], 1),
        ("a;b\n1;2\n", ["a", "b"], 1),
        ("a\tb\n1\t2\n", ["a", "b"], 1),
        ('"a","b"\n"1","2"\n', ["a", "b"], 1),
        (" a , b \n 1 , 2 \n", ["a", "b"], 1),
        ("a\n1\n2\n", ["a"], 2),
        ("3,4\n", ["c0", "c1"], 1),
        ("1,2\n\n3,4\n", ["c0", "c1"], 2),
        ("a,a\n1,2\n", ["a", "a"], 1),
        ("a,b\n1,true\n2,false\n", ["a", "b"], 2),
        ('a,b\n1,"two\nlines"\n', ["a"], 1),
    ],
)
def test_names_and_delimiters_are_recognized(tmp_path, text, columns, rows):
    table = read_text(tmp_path, text)
    assert table.columns == columns
    assert table.features.shape == (rows, len(columns))


def test_a_column_that_starts_with_whole_numbers_may_go_on_with_fractions(tmp_path):
    text = "a,b\n" + "1,1\n" * 400_000 + "1,1.5\n"  # more than one block of the parser
    assert read_text(tmp_path, text).features[-1].tolist() == [1.0, 1.5]


@pytest.mark.parametrize("name", ["class", "Label", "target", "labels"])
def test_answers_do_not_leak_into_the_features(tmp_path, name):
    table = read_text(tmp_path, f"a,{name}\n1,0\n2,1\n")
    assert table.columns == ["a"]
    assert f"{name!r} was not used as a feature" in table.notes[0]
    chosen = read_text(tmp_path, f"a,{name}\n1,0\n2,1\n", labels=name)
    assert chosen.labels.tolist() == [0, 1]
    assert chosen.notes == []


def test_row_numbers_are_no_features(tmp_path):
    named = read_text(tmp_path, "id,a\n17,1\n4,2\n")
    assert named.columns == ["a"]
    assert named.row_names == ["17", "4"]
    counted = read_text(tmp_path, "n,a\n" + "".join(f"{row},5\n" for row in range(1, 13)))
    assert counted.columns == ["a"]
    assert "'n' only numbers the rows" in counted.notes[0]


@pytest.mark.parametrize("text", ["id,a\n17,1\n17,2\n", "n,a\n0,1\n1,2\n2,3\n", "a,b\n1,17\n2,4\n", "id\n3\n4\n"])
def test_what_may_be_a_feature_is_kept(tmp_path, text):
    assert len(read_text(tmp_path, text).columns) == text.split("\n")[0].count(",") + 1


def test_text_columns_name_the_rows(tmp_path):
    table = read_text(tmp_path, "title,a,by\none,1,me\ntwo,2,\n")
    assert table.row_names == ["one | me", "two | "]
    assert "'title', 'by'" in table.notes[0]


def test_text_in_an_old_encoding_does_not_stop_the_numbers(tmp_path):
    assert read_text(tmp_path, "a,b\n1,é\n2,ü\n".encode("latin-1")).features.tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize("hole", ["", "?", "NA", "nan", "null"])
def test_missing_numbers_are_named(tmp_path, hole):
    with pytest.raises(DataError, match=r"1 of 2 x 2 values are not: NaN in row 1, column 'b' \(1\)"):
        read_text(tmp_path, f"a,b\n1,2\n3,{hole}\n")


def test_infinite_numbers_are_named(tmp_path):
    with pytest.raises(DataError, match=r"infinity in row 0, column 'c0'"):
        read_text(tmp_path, "inf,1\n2,1e300\n")


@pytest.mark.parametrize(
    ("text", "labels", "message"),
    [
        ("a,b\n1,2\n3\n", None, "not a complete .csv file .*Expected 2 columns, got 1"),
        ("a,b\n1,2\n3,4,5\n", None, "Expected 2 columns, got 3"),
        ("a,b\n", None, "has no column of numbers|has no rows"),
        ("a,b\nx,y\n", None, r"no column of numbers, vectors or pictures\. It has 'a' \(string\)"),
        ("\n\n", None, "not a complete .csv"),
        ("a,b\n1,2\n", "c", r"no column 'c' for the labels\. There are: 'a', 'b'"),
        ("mass,b\n1,2\n", "Mas", "Did you mean 'mass'"),
        ("a,a,b\n1,2,3\n", "a", "2 columns named 'a'"),
        ("a,b\n1,2\n3,\n", "b", "labels 'b' are missing in 1 of 2 rows, first in row 1"),
        ("a,b\n1,x\n3,\n", "b", "labels 'b' are missing in 1 of 2 rows, first in row 1"),
        ("a,b\n1,0.5\n", "b", "must name classes, but row 0 holds 0.5"),
        ("a,b\n" + "1,2\n" * 20 + "3,4o\n", None, "column 'b' holds numbers in 20 of 21 rows, but '4o' in row 20"),
        ("a,b\n1,2\n".encode("utf-16"), None, r"UTF-16 text\. Save it as UTF-8"),
        (b"a\0b,\1\n", None, "not a complete .csv file .binary data"),
    ],
)
def test_csv_that_cannot_be_used(tmp_path, text, labels, message):
    with pytest.raises(DataError, match=f"(?s){message}"):
        read_text(tmp_path, text, labels=labels)


def write_arrow(tmp_path, columns):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.int16()), pa.list_(pa.float32(), 2)])
def test_vectors_of_every_kind(tmp_path, kind):
    rows = pa.array([[1, 2], [3, 4], [5, 6]], kind)
    path = write_arrow(tmp_path, {"v": pa.chunked_array([rows.slice(1), rows.slice(0, 1)]), "mass": [1, 2, 3]})
    table = read_table(path)
    assert table.features.tolist() == [[3, 4], [5, 6], [1, 2]]
    assert "not used: 'mass'" in table.notes[0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"v": [[1.0, 2.0], [3.0]]}, r"row 1 \(counted from 0\) holds 1 numbers, row 0 holds 2"),
        ({"v": [[1.0, 2.0], None]}, r"row 1 \(counted from 0\) is missing"),
        ({"v": [[1.0, None]]}, "NaN in row 0, column 'v_1'"),
        ({"v": [[1.0]], "w": [[2.0]]}, "2 vector columns: 'v', 'w'"),
        ({"v": [[[1.0]]]}, "no column of numbers"),
        ({"v": pa.array([], pa.list_(pa.float32()))}, "has no rows"),
        ({"a": pa.array([], pa.float32())}, "has no rows"),
    ],
)
def test_parquet_that_cannot_be_used(tmp_path, columns, message):
    with pytest.raises(DataError, match=message):
        read_table(write_arrow(tmp_path, columns))


def test_categories_decimals_and_dates(tmp_path):
    columns = {
        "a": pa.array([1, 2]).cast(pa.decimal128(25, 3)),
        "when": pa.array([0, 1], pa.date32()),
        "kind": pa.array(["p", "q"]).dictionary_encode(),
    }
    table = read_table(write_arrow(tmp_path, columns), labels="kind")
    assert table.features.tolist() == [[1.0], [2.0]]
    assert table.labels.tolist() == ["p", "q"]
    assert "not used: 'when'" in table.notes[0]
    assert read_table(tmp_path / "x.parquet", labels="when").labels.tolist() == ["1970-01-01", "1970-01-02"]
    write_arrow(tmp_path, {**columns, "b": [3, 4]})
    assert read_table(tmp_path / "x.parquet", labels="a").labels.tolist() == [1, 2]
    assert read_table(tmp_path / "x.parquet", labels="a").columns == ["b"]


def test_labels_of_a_type_that_names_nothing(tmp_path):
    with pytest.raises(DataError, match="labels 'v' must be integers or text, but their type is list"):
        read_table(write_arrow(tmp_path, {"a": [1, 2], "v": [[1.0], [2.0]]}), labels="v")


def test_the_index_of_pandas_names_the_rows(tmp_path):
    pd.DataFrame({"a": [1.0, 2.0]}, index=[7, 3]).to_parquet(tmp_path / "x.parquet")
    table = read_table(tmp_path / "x.parquet")
    assert table.columns == ["a"]
    assert table.row_names == ["7", "3"]


@pytest.mark.parametrize("name", ["id", "serial"])
def test_a_row_number_is_no_feature_wherever_it_stands(tmp_path, name):
    """Sorted files have their answer in it."""
    rows = "".join(f"{i % 7},{i + 1},{i % 5}\n" for i in range(30))
    assert read_text(tmp_path, f"a,{name},b\n{rows}").columns == ["a", "b"]
