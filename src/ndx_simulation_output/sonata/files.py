"""HDF5 and text files as SONATA uses them: attributes, ids, times, tables."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError, SourceError
from ndx_simulation_output.recording import RegularTimes, Times, Timestamps

# HDF5 as SONATA files use it: text attributes in every spelling, errors that say where.

_INT64_END = 2.0**63


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises
    ------
    SourceError
        If it does not exist, is truncated, or is not an HDF5 file.

    """
    if not path.is_file():
        msg = f"{path} does not exist"
        raise SourceError(msg)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if "truncated" in str(error):
            msg = f"{path} is truncated: it ends before its data do ({error})"
        elif not h5py.is_hdf5(path):
            msg = f"{path} is not an HDF5 file"
        else:
            msg = f"{path} cannot be read: {error}"
        raise SourceError(msg) from error


def place(node: h5py.Group | h5py.Dataset) -> str:
    """Say where an object is, for messages."""
    return f"{node.name.strip('/')} of {Path(node.file.filename).name}"


def first_name(group: h5py.Group, *names: str) -> str | None:
    """Give the first of ``names`` that is in ``group``, or None."""
    return next((name for name in names if name in group), None)


def child(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Open an object in a group.

    Raises
    ------
    SourceError
        If it cannot be opened, such as a link to nothing.

    """
    try:
        return group[name]
    except (KeyError, OSError, RuntimeError) as error:
        msg = f"{name} in {place(group)} cannot be opened: {error}"
        raise SourceError(msg) from error


def child_group(parent: h5py.Group, name: str) -> h5py.Group:
    """Open the group ``name`` in ``parent``.

    Raises
    ------
    SourceError
        If it is not there or not a group.

    """
    found = child(parent, name) if name in parent else None
    if not isinstance(found, h5py.Group):
        kind = "no" if found is None else "a dataset, expected a group,"
        msg = f"{place(parent)} has {kind} {name}; found: {', '.join(parent) or 'nothing'}"
        raise SourceError(msg)
    return found


def groups_in(parent: h5py.Group, notes: list[str]) -> list[h5py.Group]:
    """Give the groups in ``parent`` that are not empty; note what else is there.

    Raises
    ------
    SourceError
        If one cannot be opened.

    """
    groups = []
    for node in [child(parent, name) for name in parent]:
        if not isinstance(node, h5py.Group):
            notes.append(f"{place(node)} is a dataset where groups are expected and was left out")
        elif not len(node):
            notes.append(f"{place(node)} is an empty group and was left out")
        else:
            groups.append(node)
    return groups


def note_others(group: h5py.Group, known: Iterable[str], notes: list[str]) -> None:
    """Note what a group holds besides ``known``."""
    others = sorted(set(group) - set(known))
    notes += [f"{name} in {place(group)} is not known and was left out" for name in others]


def first_dataset(group: h5py.Group, *names: str) -> h5py.Dataset:
    """Give the first of the datasets ``names`` that is in ``group``.

    Raises
    ------
    SourceError
        If none is there or it cannot be opened.

    """
    name = first_name(group, *names)
    found = child(group, name) if name is not None else None
    if not isinstance(found, h5py.Dataset) or found.shape is None:
        there = ", ".join(group) or "nothing"
        msg = f"{place(group)} has no dataset {' or '.join(names)} with values; found: {there}"
        raise SourceError(msg)
    return found


def read_vector(dataset: h5py.Dataset) -> NDArray[Any]:
    """Read a one-dimensional dataset of mapping information, in native byte order.

    Raises
    ------
    ShapeMismatchError
        If it is not one-dimensional.
    SourceError
        If its bytes cannot be read.

    """
    if dataset.ndim != 1:
        msg = f"{place(dataset)} has shape {dataset.shape}; expected one dimension"
        raise ShapeMismatchError(msg)
    try:
        values = dataset[:]
        if h5py.check_string_dtype(dataset.dtype):
            return np.asarray([value.decode() for value in values], dtype=object)
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{place(dataset)} cannot be read: {error}"
        raise SourceError(msg) from error
    return np.asarray(values, values.dtype.newbyteorder("="))


def read_numbers(dataset: h5py.Dataset) -> NDArray[Any]:
    """Read a one-dimensional dataset of numbers.

    Raises
    ------
    ShapeMismatchError
        If it is not one-dimensional.
    SourceError
        If it does not hold numbers.

    """
    values = read_vector(dataset)
    if values.dtype.kind not in "iuf":
        msg = f"{place(dataset)} is of type {dataset.dtype}; expected numbers"
        raise SourceError(msg)
    return values


def read_ids(dataset: h5py.Dataset) -> NDArray[np.int64]:
    """Read integer ids of any type as int64; the unsigned 2**64 - 1 is the -1 it was cast from.

    Raises
    ------
    SourceError
        If a value is not an integer that int64 can hold.

    """
    values = read_numbers(dataset)
    if values.dtype.kind == "u":
        return values.astype(np.uint64).view(np.int64)
    if values.dtype.kind == "f":
        wrong = ~(np.abs(values) < _INT64_END) | (values != np.trunc(values))
        if wrong.any():
            msg = f"{place(dataset)} has the value {values[wrong][0]}; expected integers"
            raise SourceError(msg)
    return values.astype(np.int64)


def attribute_text(node: h5py.Group | h5py.Dataset, *names: str) -> str | None:
    """Text of the first of the attributes ``names``, in any spelling that HDF5 has for text."""
    for name in names:
        if name in node.attrs and not isinstance(node.attrs[name], h5py.Empty):
            value = np.asarray(node.attrs[name]).ravel()
            if value.size == 1 and value.dtype.kind in "OSU":
                text = value[0]
                return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return None


def describe_group(group: h5py.Group) -> dict[str, Any]:
    """Describe types and attributes of all that is in ``group``, by path from there.

    ``.`` is the group itself, ``..`` the group that it is in, if that is not the file.
    """
    nodes = {".": group}
    if group.parent.name != "/" and group.name != "/":
        nodes[".."] = group.parent
    group.visititems(nodes.__setitem__)
    attributes = {path: _attributes_to_json(node) for path, node in nodes.items()}
    return {
        "format": "SONATA",
        "file": Path(group.file.filename).name,
        "dtypes": {path: node.dtype.str for path, node in nodes.items() if hasattr(node, "dtype")},
        "attributes": {path: found for path, found in attributes.items() if found},
        "file_attributes": _attributes_to_json(group.file),
    }


def _attributes_to_json(node: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """Attributes of an object as JSON values; numbers keep their type."""
    encoded: dict[str, Any] = {}
    for name in node.attrs:
        if isinstance(node.attrs[name], h5py.Empty):
            continue
        text, value = attribute_text(node, name), np.asarray(node.attrs[name])
        if text is not None:
            encoded[name] = text
        elif value.dtype.kind in "OSU":
            texts = value.astype(str) if value.dtype.kind == "S" else value
            encoded[name] = {"text": texts.tolist()}
        elif value.dtype.kind in "biuf":
            enum = h5py.check_enum_dtype(node.attrs.get_id(name).dtype)
            encoded[name] = {"dtype": value.dtype.str, "value": value.tolist()}
            if enum:
                encoded[name]["enum"] = {label: int(code) for label, code in enum.items()}
    return encoded


def attributes_from_json(node: h5py.Group | h5py.Dataset, encoded: Mapping[str, Any]) -> None:
    """Write attributes that ``describe_group`` described, where they are not there yet."""
    for name, value in encoded.items():
        if name in node.attrs:
            continue
        if isinstance(value, str):
            node.attrs[name] = value
        elif "text" in value:
            node.attrs.create(name, value["text"], dtype=h5py.string_dtype())
        else:
            dtype: Any = np.dtype(value["dtype"])
            if "enum" in value:
                dtype = h5py.enum_dtype(value["enum"], basetype=dtype)
            node.attrs.create(name, value["value"], dtype=dtype)


# The time of a SONATA dataset: a triple (start, stop, step), or one value for each row.

TRIPLE = 3

_SMALLEST_STEP = 1e-300  # a rate must be a finite number


def read_times(time: h5py.Dataset, rows: int, seconds: float, *, vector: bool = False) -> Times:
    """Read when the ``rows`` rows of the data were taken; ``seconds`` is the factor to seconds.

    The number of rows is that of the data: files whose triple implies another are common.
    ``vector`` says that even three values are one for each row.

    Raises
    ------
    SourceError
        If the triple has no positive step.
    ShapeMismatchError
        If there is neither a triple nor one value for each row.

    """
    values = read_numbers(time).astype(np.float64)
    if len(values) == TRIPLE and not vector:
        return regular_times(values[0], values[2], rows, seconds, place(time))
    if len(values) != rows:
        msg = (
            f"{place(time)} has {len(values)} values; expected (start, stop, step) or one for "
            f"each of {rows} rows"
        )
        raise ShapeMismatchError(msg)
    steps = np.diff(values)
    if not np.all(steps > 0):
        msg = f"{place(time)} does not ascend"
        raise SourceError(msg)
    if len(values) > 1 and np.allclose(steps, steps.mean(), rtol=1e-9, atol=0.0):
        return regular_times(values[0], float(steps.mean()), rows, seconds, place(time))
    return Timestamps(values * seconds)


def regular_times(start: float, step: float, rows: int, seconds: float, where: str) -> RegularTimes:
    """Make regular times of a start and a step in units of ``seconds``.

    Raises
    ------
    SourceError
        If the step is not positive or the start not finite.

    """
    if not (np.isfinite(start) and np.isfinite(step) and step > _SMALLEST_STEP):
        msg = f"{where} has start {start} and step {step}; expected a finite start, a positive step"
        raise SourceError(msg)
    per_second = round(1 / seconds, 9)
    # start / 1000 and 1000 / step round once; multiplying by 0.001 would round twice.
    return RegularTimes(float(start / per_second), float(per_second / step), rows)


def implied_rows(triple: Sequence[float]) -> int | None:
    """Count the rows that a triple (start, stop, step) implies; ``stop`` itself is not one.

    None where the triple is not finite.
    """
    start, stop, step = triple
    rows = (stop - start) / step
    return int(np.ceil(np.round(rows, 6))) if np.isfinite(rows) else None


# Tables as text: a header of names, then a row for each spike or electrode.


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
