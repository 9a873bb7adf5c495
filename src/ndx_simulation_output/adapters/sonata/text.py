"""Tables as text: a header of names, then a row for each spike or electrode."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["float_column", "integer_column", "read_text_table", "typed_column"]


def read_text_table(path: Path) -> pd.DataFrame:
    """Read a table whose values are separated by commas if its header is, else by white space.

    Every value stays the text that it is; one in quotes may hold white space.

    Raises
    ------
    ValueError
        If it is not text, or a row has more values than the header has names.

    """
    with path.open(encoding="utf-8-sig") as file:
        separator = "," if "," in file.readline() else r"\s+"
    frame = pd.read_csv(
        path,
        sep=separator,
        skipinitialspace=True,
        dtype=str,
        keep_default_na=False,
        encoding="utf-8-sig",
    )
    # Values that no name is left for become the index.
    if not frame.index.equals(pd.RangeIndex(len(frame))):
        msg = f"rows have more values than the {len(frame.columns)} names of the header"
        raise ValueError(msg)
    return frame.rename(columns=lambda name: str(name).strip())


def integer_column(frame: pd.DataFrame, name: str) -> NDArray[np.int64]:
    """Give a column of integers; shape (row,).

    Raises
    ------
    ValueError
        If it holds anything else.

    """
    try:
        return np.asarray(_numbers(frame, name), np.int64)
    except OverflowError as error:
        msg = f"{name} has a number that is too large"
        raise ValueError(msg) from error


def float_column(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Give a column of numbers, exactly as they are written; shape (row,).

    Raises
    ------
    ValueError
        If it holds anything else.

    """
    return np.asarray(_numbers(frame, name), np.float64)


def typed_column(frame: pd.DataFrame, name: str) -> NDArray[Any]:
    """Give a column as integers, else as numbers, else as text; shape (row,)."""
    for as_numbers in (integer_column, float_column):
        try:
            return as_numbers(frame, name)
        except ValueError:
            continue
    return np.asarray(frame[name].to_numpy(object))


def _numbers(frame: pd.DataFrame, name: str) -> NDArray[Any]:
    """Give texts that Python may read as numbers: what it takes for 10 in ``1_0`` is none."""
    texts = frame[name]
    if texts.str.contains("_", regex=False).any():
        msg = f"{name} has a value with _, which is no number"
        raise ValueError(msg)
    return np.asarray(texts.to_numpy(object))
