"""The check of features that come from memory."""

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from torchicon.data import DataError, check_features


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float16", "float32"), ("float32", "float32"), ("float64", "float64"), ("bool", "float32"), ("int8", "float32"),
     ("uint16", "float32"), ("int32", "float64"), ("int64", "float64"), (">f4", "float32"), (">f8", "float64"),
     ("longdouble", "float64")],
)  # fmt: skip
def test_numbers_of_every_type_keep_their_value(dtype, expected):
    x = np.array([[0, 1], [1, 0]]).astype(dtype)
    checked = check_features(x, minimum=2, what="X")
    assert checked.dtype == np.dtype(expected)
    assert checked.dtype.isnative
    np.testing.assert_array_equal(checked, x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_not_copied(dtype):
    x = np.ones((3, 2), dtype=dtype)
    assert check_features(x, minimum=1, what="X") is x


@given(
    x=hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(-9, 9)),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    data=st.data(),
)
def test_the_place_of_a_bad_value_is_named(x, bad, data):
    row = data.draw(st.integers(0, x.shape[0] - 1))
    column = data.draw(st.integers(0, x.shape[1] - 1))
    x[row, column] = bad
    kind = "NaN" if np.isnan(bad) else "infinity"
    with pytest.raises(DataError, match=rf"X: .*but 1 of .* are not: {kind} in row {row}, column {column} "):
        check_features(x, minimum=1, what="X")


def test_many_bad_values_are_counted_and_the_first_named():
    x = np.zeros((4, 2))
    x[1:] = np.nan
    with pytest.raises(DataError, match=r"6 of 4 x 2 .* row 1, column 'a' \(0\).*row 1, column 'b'.*row 2.*, \.\.\."):
        check_features(x, minimum=1, what="X", columns=["a", "b"])


def test_a_sum_that_overflows_is_no_bad_value():
    x = np.full((2, 2), np.finfo(np.float64).max)
    np.testing.assert_array_equal(check_features(x, minimum=1, what="X"), x)


@pytest.mark.parametrize(
    ("x", "minimum", "message"),
    [
        (np.zeros((0, 3)), 1, "is empty: 0 rows of 3 features"),
        (np.zeros((3, 0)), 1, "is empty: 3 rows of 0 features"),
        (np.zeros((1, 3)), 2, "has one row, but at least 2 are needed"),
        (np.zeros((4, 3)), 10, "has 4 rows, but at least 10"),
        (np.zeros(3), 1, r"must be 2-D .* its shape is \(3,\)"),
        (np.zeros((2, 2, 2)), 1, r"must be 2-D .* its shape is \(2, 2, 2\)"),
        (3.0, 1, r"must be 2-D .* its shape is \(\)"),
        (None, 1, "its type is object"),
        ([["a", "b"]], 1, "its type is <U1"),
        (np.zeros((2, 2), dtype=complex), 1, "its type is complex128"),
        (np.zeros((2, 2), dtype="datetime64[s]"), 1, "its type is datetime64"),
        ([[1, 2], [3]], 1, "cannot become an array"),
        (torch.zeros(2, 2, requires_grad=True), 1, "cannot become an array"),
        (scipy.sparse.eye(3), 1, r"its type is object.*toarray"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_named(x, minimum, message):
    with pytest.raises(DataError, match=f"X: .*{message}"):
        check_features(x, minimum=minimum, what="X")
