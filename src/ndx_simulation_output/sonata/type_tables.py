"""Read the tables of types of nodes and edges: CSV files with a row for each type."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError, source_errors
from ndx_simulation_output.recording.ids import repeated_values
from ndx_simulation_output.sonata.circuit_config import read_text

# The builder of bmtk writes the first, older ones the second.
_MISSING = {"NULL", "NONE"}
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
# Not 007 or a long id, which would not be the same as a number.
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d{0,17}|\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_NO_TYPE = 2**63
_KEYS = ("node_type_id", "edge_type_id")


@dataclass(frozen=True)
class TypeTable:
    """The types ``ids`` (type,), and their ``columns`` (type,) as text, None if it is missing.

    ``kinds`` are ``integer``, ``number`` or ``text`` for each column, those of all types of the
    file. ``text`` is the file itself, ``name`` that under which it is in the provenance.
    """

    path: Path
    name: str
    text: str
    ids: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]
    kinds: Mapping[str, str]

    def of_population(self, population: str) -> "TypeTable":
        """Return the types of a population, by the column ``population`` if there is one."""
        found = self
        if "population" in self.columns:
            names = self.columns["population"]
            found = self.rows(np.flatnonzero([name in {population, None, ""} for name in names]))
            others = [name for name in found.columns if name != "population"]
            found = replace(
                found,
                columns={name: found.columns[name] for name in others},
                kinds={name: found.kinds[name] for name in others},
            )
        if len(repeated := repeated_values(found.ids)):
            msg = f"{self.path} has type {repeated[0]} more than once; expected each once"
            raise SourceError(msg)
        return found.rows(np.argsort(found.ids))

    def rows(self, rows: NDArray[np.intp]) -> "TypeTable":
        """Return some of the types."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return replace(self, ids=self.ids[rows], columns=columns)

    def values(self, name: str) -> NDArray[Any]:
        """Return a column (type,) as numbers or text; integers of which one is missing as float."""
        texts, kind = self.columns[name], self.kinds[name]
        if kind == "text":
            return texts
        missing = [text is None for text in texts]
        if kind == "integer" and not any(missing):
            return texts.astype(np.int64)
        return np.where(missing, "nan", texts).astype(np.float64)


def read_types(path: Path) -> TypeTable:
    """Read a table of types, which has the key ``node_type_id`` or ``edge_type_id``."""
    text = read_text(path)
    lines = io.StringIO(text.removeprefix("\ufeff"), newline=None)
    with source_errors(f"{path} cannot be read as a table with spaces"):
        listed = [row for row in csv.reader(lines, delimiter=" ", strict=True) if any(row)]
    if not listed:
        msg = f"{path} is empty; expected a line with names of columns"
        raise SourceError(msg)
    names = _without_end(listed[0], 1)
    rows = [_without_end(row, len(names)) for row in listed[1:]]
    key = next((names.index(key) for key in _KEYS if key in names), None)
    if key is None or len(set(names)) < len(names):
        expected = f"{' or '.join(_KEYS)} as the name of a column, and each name once"
        msg = f"{path} has the columns {', '.join(names)!r:.200}; expected {expected}"
        raise SourceError(msg)
    for row in rows:
        if len(row) != len(names):
            msg = f"{path} has a row of {len(row)} values, {' '.join(row)!r:.60}; expected "
            raise SourceError(msg + f"{len(names)}")
    ids = [_type_id(row[key], path) for row in rows]
    columns = {
        name: _texts(row[place] for row in rows)
        for place, name in enumerate(names)
        if place != key and name
    }
    kinds = {name: _kind(values) for name, values in columns.items()}
    return TypeTable(path, path.name, text, np.array(ids, np.int64), columns, kinds)


def _without_end(row: list[str], length: int) -> list[str]:
    """Return a row without empty values, of spaces at its end, beyond its length."""
    while len(row) > length and not row[-1]:
        row = row[:-1]
    return row


def _type_id(text: str, path: Path) -> int:
    number = int(text) if re.fullmatch(r"[+-]?\d{1,19}", text) else _NO_TYPE
    if abs(number) >= _NO_TYPE:
        msg = f"{path} has the type {text!r:.60}; expected an integer below 2**63"
        raise SourceError(msg)
    return number


def _texts(values: Iterable[str]) -> NDArray[Any]:
    texts = [None if value in _MISSING else value for value in values]
    return np.array([*texts, None], object)[:-1]


def _kind(values: NDArray[Any]) -> str:
    """Return the type of a column: a number unless it has only NaN, infinity and missing ones."""
    known = [value for value in values if value is not None]
    if known and all(map(_INTEGER.fullmatch, known)):
        return "integer"
    is_number = [_NUMBER.fullmatch(value) is not None for value in known]
    others = (value for value, fits in zip(known, is_number, strict=True) if not fits)
    return "number" if any(is_number) and all(map(_NOT_FINITE.fullmatch, others)) else "text"
