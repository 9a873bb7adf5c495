"""Read PyMoDAQ files with h5py."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError, file_errors
from ndx_simulation_output.pymodaq.attributes import (
    correct_date_time,
    file_start,
    get_integer,
    get_integers,
    get_number,
    get_text,
    is_bitfield,
    log_lines,
    read_attributes,
)
from ndx_simulation_output.pymodaq.data import ROLES
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    LazyArray,
    SimulationOutput,
)
from ndx_simulation_output.recording.array_groups import (
    INSTRUMENTS,
    count_missing,
    notes_of_axes,
    walk_arrays,
)
from ndx_simulation_output.recording.arrays import LazyArrayBase
from ndx_simulation_output.recording.json_values import to_json
from ndx_simulation_output.storage.reading import wrap_array
from ndx_simulation_output.storage.sources import open_source

_ROOTS = ("RawData", "Raw_datas")
_MAX_DEPTH = 64

_FILE_ATTRIBUTES = {"CLASS", "TITLE", "VERSION", "PYTABLES_FORMAT_VERSION"}
_GROUP_ATTRIBUTES = {*_FILE_ATTRIBUTES, "type", "settings"}
_ARRAY_ATTRIBUTES = {*_FILE_ATTRIBUTES, "EXTDIM", "backend", "data_dimension", "data_type"}
_ARRAY_ATTRIBUTES |= {"distribution", "dtype", "label", "nav_indexes", "origin", "path", "shape"}
_ARRAY_ATTRIBUTES |= {"size", "source", "subdtype", "timestamp", "type", "units"}
# The attributes above are derived from the object, or stored in a field of its description.

_AXES = {"axis", "navigation_axis"}
_LOGS = {"log", "strings"}


def read(source: str | Path, *, trust: bool = False) -> SimulationOutput:
    """Read the groups, arrays and axes of a PyMoDAQ file as the ``arrays`` of an output.

    Files of DAQ_Viewer, DAQ_Scan and DAQ_Logger of versions 1.6 to 5.x can be read. Arrays are
    read lazily: the file remains open until the output is closed. ``notes`` lists the objects that
    were omitted and the values that were corrected.

    Raises
    ------
    SourceError
        If the file cannot be read.
    NothingRecordedError
        If the file has no group.

    Example
    -------
    >>> with read("Data_20261120_17_28_52.h5") as output:  # doctest: +SKIP
    ...     print(output.arrays[0].groups[0].title)

    """
    path = Path(source)
    with file_errors(path), ExitStack() as stack:
        file = stack.enter_context(open_source(path, trust=trust))
        output = _read_file(file, path)
        return replace(output, close=stack.pop_all().close)


def _read_file(file: h5py.File, path: Path) -> SimulationOutput:
    attributes = read_attributes(file)
    start = file_start(attributes)
    reader = _GroupReader(start)
    groups = tuple(
        reader.read_group(name, node, (file["/"].id,))
        for name, node in reader.children(file)
        if isinstance(node, h5py.Group)
    )
    if not groups:
        msg = f"{path} has no group; expected one such as {' or '.join(_ROOTS)}"
        raise NothingRecordedError(msg)
    extra = _as_json(attributes, without=_FILE_ATTRIBUTES)
    notes = [*reader.notes, *(note for group in groups for note in _doubts(group))]
    # The attributes of the file have no place of their own in NWB.
    first = replace(groups[0], extra={**groups[0].extra, "file_attributes": extra})
    return SimulationOutput(
        arrays=(first, *groups[1:]),
        session={} if start is None else {"NWBFile": {"session_start_time": start}},
        notes=tuple(notes),
        provenance={"format": INSTRUMENTS, "files": [path.name]},
    )


def _doubts(group: ArrayGroup) -> Iterator[str]:
    """Yield notes on axes that do not fit, and on points that were not measured."""
    yield from notes_of_axes(group)
    for path, _, array, _ in walk_arrays(group):
        if count := count_missing(array, None):
            yield (
                f"{path}/{array.name}: at least {count} values were not measured; they are NaN in "
                "plots, and in the file the integer that PyMoDAQ stores for NaN"
            )


class _GroupReader:
    """Reads groups of a file that was created at ``start``, and collects ``notes``."""

    def __init__(self, start: datetime | None) -> None:
        self._start = start
        self.notes: list[str] = []
        if start is not None:
            self.notes.append(
                f"the file has no time zone: its start is {start.isoformat()} in the time zone of "
                "this computer; if it was recorded in another one, set session_start_time in the "
                "metadata"
            )

    def read_group(self, name: str, node: h5py.Group, parents: tuple[Any, ...]) -> ArrayGroup:
        arrays: list[ArrayWithAxes] = []
        axes: list[ArrayAxis] = []
        groups: list[ArrayGroup] = []
        parents = (*parents, node.id)
        for child_name, child in self.children(node):
            if isinstance(child, h5py.Group):
                if child.id in parents or len(parents) > _MAX_DEPTH:
                    self.notes.append(
                        f"left out: {child.name} contains itself or is nested in more than "
                        f"{_MAX_DEPTH} groups"
                    )
                else:
                    groups.append(self.read_group(child_name, child, parents))
                continue
            attributes = read_attributes(child)
            values = _Bools(child) if is_bitfield(child.id) else child
            if child.shape is None:
                self.notes.append(f"left out: {child.name} contains no array")
            elif _is_axis(child, attributes):
                axes.append(_read_axis(child_name, child, values, attributes))
            else:
                arrays.append(_read_array(child_name, child, values, attributes))
        attributes = read_attributes(node)
        return ArrayGroup(
            name,
            tuple(arrays),
            tuple(axes),
            tuple(groups),
            title=get_text(attributes, "TITLE"),
            kind=get_text(attributes, "type"),
            settings=get_text(attributes, "settings"),
            extra=_as_json(self._correct(attributes, node), without=_GROUP_ATTRIBUTES),
        )

    def _correct(self, attributes: dict[str, Any], node: h5py.Group) -> dict[str, Any]:
        when = correct_date_time(attributes, self._start)
        if when is None:
            return attributes
        self.notes.append(
            f"corrected: date_time of {node.name} is {when.isoformat()}; the file has "
            f"{attributes['date_time']}, with minute and month exchanged"
        )
        return {**attributes, "date_time": when.isoformat()}

    def children(self, node: h5py.Group) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
        """Yield the objects in a group, omitting links and objects that cannot be opened."""
        for name in node:
            path = f"{node.name.rstrip('/')}/{name}"
            if not isinstance(node.get(name, getlink=True), h5py.HardLink):
                self.notes.append(f"left out: {path} is a link, which PyMoDAQ does not write")
                continue
            try:
                child = node[name]
            except (KeyError, OSError, RuntimeError) as error:
                self.notes.append(f"left out: {path} cannot be opened: {error}")
                continue
            if isinstance(child, h5py.Group | h5py.Dataset):
                yield name, child


def _as_json(attributes: Mapping[str, Any], *, without: set[str]) -> dict[str, Any]:
    return {name: to_json(value) for name, value in attributes.items() if name not in without}


def _is_axis(node: h5py.Dataset, attributes: Mapping[str, Any]) -> bool:
    is_named = get_text(attributes, "data_type", "type") in _AXES
    return is_named and len(node.shape) == 1 and node.dtype.kind in "biuf"


def _read_axis(
    name: str, node: h5py.Dataset, values: LazyArray, attributes: Mapping[str, Any]
) -> ArrayAxis:
    # All values of linear axes are stored too, so ``offset`` and ``scaling`` are not needed.
    return ArrayAxis(
        name,
        wrap_array(values),
        label=get_text(attributes, "label", "TITLE"),
        unit=get_text(attributes, "units"),
        index=max(0, _axis_index(name, node, attributes)),
        spread_order=max(0, get_integer(attributes, "spread_order")),
        grows=get_text(attributes, "CLASS") == "EARRAY",
    )


def _axis_index(name: str, node: h5py.Dataset, attributes: Mapping[str, Any]) -> int:
    if "index" in attributes or "nav_index" in attributes:
        return get_integer(attributes, "index", "nav_index")
    # Before PyMoDAQ 4.0, the name determines the dimension: x is the last one, y the first.
    data = node.parent.get("Data")
    if name.casefold() == "x_axis" and isinstance(data, h5py.Dataset) and data.shape:
        return len(data.shape) - 1
    return 0


def _read_array(
    name: str, node: h5py.Dataset, values: LazyArray, attributes: Mapping[str, Any]
) -> ArrayWithAxes:
    kind, values = get_text(attributes, "data_type", "type"), wrap_array(values)
    described = _ARRAY_ATTRIBUTES
    if "data_type" in attributes and kind not in _LOGS:
        # Since PyMoDAQ 4.0, only logs use both; for other arrays, ``type`` is an extra attribute.
        described = described - {"type"}
    if kind in _LOGS and len(node.shape) == 1 and node.dtype.kind == "O":
        values = log_lines(node)
    elif get_text(attributes, "data_dimension") == "Data0D" and node.shape[1:] == (1,):
        # Appended single values; PyMoDAQ 4.0 stores them without the last dimension of length 1.
        values = _Column(values)
    return ArrayWithAxes(
        name,
        values,
        role=ROLES.get(kind, kind),
        title=get_text(attributes, "TITLE"),
        label=get_text(attributes, "label"),
        unit=get_text(attributes, "units"),
        source=get_text(attributes, "source") or "raw",
        distribution=get_text(attributes, "distribution"),
        origin=get_text(attributes, "origin"),
        nav_indexes=get_integers(attributes, "nav_indexes"),
        timestamp=get_number(attributes, "timestamp"),
        grows=get_text(attributes, "CLASS") == "EARRAY",
        extra=_as_json(attributes, without=described),
    )


class _Bools(LazyArrayBase):
    """View of the bit fields, 0 or 1, in which PyTables stores booleans."""

    shape: tuple[int, ...]
    dtype = np.dtype(bool)

    def __init__(self, array: h5py.Dataset) -> None:
        self.array = array
        self.shape = tuple(array.shape or ())

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        return np.asarray(self.array[slices], bool)


class _Column(LazyArrayBase):
    """View of an array of shape (value, 1) with shape (value,)."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __init__(self, array: LazyArray) -> None:
        self.array = array
        self.shape = tuple(array.shape[:1])
        self.dtype = array.dtype

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        return np.asarray(self.array[(*slices, slice(0, 1))])[..., 0]
