"""Read a file of PyMoDAQ with h5py."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py

from ndx_simulation_output.errors import NothingRecordedError, SourceError
from ndx_simulation_output.pymodaq.attributes import (
    attributes,
    integer_of,
    integers_of,
    log_lines,
    number_of,
    start_of,
    text_of,
    with_right_date,
)
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    LazyArray,
    SimulationOutput,
)
from ndx_simulation_output.recording.json_values import to_json

# The arrays and axes of a file of PyMoDAQ, in the spellings of all its versions.

_AXES = {"axis", "navigation_axis"}
_ROLES = {
    "data": "data",
    "data_enlargeable": "data",
    "bkg": "background",
    "error": "error",
    "log": "log",
    "strings": "log",
}
_LOGS = {"log", "strings"}
_HELD_OF_NODES = {
    "CLASS",
    "EXTDIM",
    "PYTABLES_FORMAT_VERSION",
    "TITLE",
    "VERSION",
    "backend",
    "data_dimension",
    "data_type",
    "distribution",
    "dtype",
    "label",
    "nav_indexes",
    "origin",
    "path",
    "shape",
    "size",
    "source",
    "subdtype",
    "timestamp",
    "type",
    "units",
}
"""Attributes that say what the array or a field of its description says."""

_LAST_DIMENSION = "x_axis"


def is_axis(node: h5py.Dataset, found: Mapping[str, Any]) -> bool:
    """Tell whether an array of these attributes is an axis."""
    kind = text_of(found, "data_type", "type")
    return kind in _AXES and len(node.shape) == 1 and node.dtype.kind in "biuf"


def axis_of(name: str, node: h5py.Dataset, found: Mapping[str, Any]) -> ArrayAxis:
    """Describe an axis. The array has all its values: ``offset`` and ``scaling`` add nothing."""
    return ArrayAxis(
        name,
        node,
        label=text_of(found, "label", "TITLE"),
        unit=text_of(found, "units"),
        index=max(0, _index(name, node, found)),
        spread_order=max(0, integer_of(found, "spread_order")),
        grows=text_of(found, "CLASS") == "EARRAY",
    )


def _index(name: str, node: h5py.Dataset, found: Mapping[str, Any]) -> int:
    """Give the dimension of an axis; before 4.0, the name says it: x is the last, y the first."""
    if "index" in found or "nav_index" in found:
        return integer_of(found, "index", "nav_index")
    data = node.parent.get("Data")
    if name.casefold() == _LAST_DIMENSION and isinstance(data, h5py.Dataset) and data.shape:
        return len(data.shape) - 1
    return 0


class _Column:
    """The values of an array of shape (value, 1), as shape (value,)."""

    def __init__(self, array: h5py.Dataset) -> None:
        self.array = array
        self.shape: tuple[int, ...] = tuple(array.shape[:1])
        self.dtype: Any = array.dtype

    def __getitem__(self, key: Any) -> Any:
        key = key if isinstance(key, tuple) else (key,)
        return self.array[(*key, 0)] if key else self.array[:, 0]


def array_of(name: str, node: h5py.Dataset, found: Mapping[str, Any]) -> ArrayWithAxes:
    """Describe an array, whatever it is for."""
    kind = text_of(found, "data_type", "type")
    # Since 4.0, only the log has a type besides its data_type: what others have is their own.
    held = (
        _HELD_OF_NODES - {"type"} if "data_type" in found and kind not in _LOGS else _HELD_OF_NODES
    )
    values: LazyArray = node
    if kind in _LOGS and len(node.shape) == 1 and node.dtype.kind == "O":
        values = log_lines(node)
    elif text_of(found, "data_dimension") == "Data0D" and node.shape[1:] == (1,):
        # Values without dimension that are recorded one by one, which 4.0 stores as they are.
        values = _Column(node)
    return ArrayWithAxes(
        name,
        values,
        role=_ROLES.get(kind, kind),
        title=text_of(found, "TITLE"),
        label=text_of(found, "label"),
        unit=text_of(found, "units"),
        source=text_of(found, "source") or "raw",
        distribution=text_of(found, "distribution"),
        origin=text_of(found, "origin"),
        nav_indexes=integers_of(found, "nav_indexes"),
        timestamp=number_of(found, "timestamp"),
        grows=text_of(found, "CLASS") == "EARRAY",
        extra={key: to_json(value) for key, value in found.items() if key not in held},
    )


# Read a file of PyMoDAQ with h5py alone. Nothing that the file holds is run.

_ROOTS = ("RawData", "Raw_datas")
_DEPTH = 64
_HDF5 = {"CLASS", "TITLE", "VERSION", "PYTABLES_FORMAT_VERSION"}
_HELD = {*_HDF5, "type", "settings"}


def read(source: str | Path) -> SimulationOutput:
    """Describe what a file of PyMoDAQ holds: its groups, arrays and axes as ``arrays``.

    Data stay in the file, which is open until the output is closed. Files of DAQ_Viewer, DAQ_Scan
    and DAQ_Logger of 1.6 to 5.x are read alike. ``notes`` say what was left out or put right.

    Raises
    ------
    SourceError
        If the file cannot be read.
    NothingRecordedError
        If it has no group.

    Example
    -------
    >>> with read("Data_20261120_17_28_52.h5") as output:  # doctest: +SKIP
    ...     print(output.arrays[0].groups[0].title)

    """
    path = Path(source)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(h5py.File(path, "r"))
            output = _describe(file, path)
        except (OSError, RuntimeError, KeyError) as error:
            msg = f"{path} cannot be read: {error}"
            raise SourceError(msg) from error
        return replace(output, close=stack.pop_all().close)


def _describe(file: h5py.File, path: Path) -> SimulationOutput:
    found = attributes(file)
    start = start_of(found)
    reader = _Reader(start)
    groups = tuple(
        reader.group(name, node, (file["/"].id,))
        for name, node in reader.children(file)
        if isinstance(node, h5py.Group)
    )
    if not groups:
        msg = f"{path}: nothing was recorded: it holds no group such as {' or '.join(_ROOTS)}"
        raise NothingRecordedError(msg)
    held = {key: to_json(value) for key, value in found.items() if key not in _HDF5}
    provenance = {"files": [path.name], "pymodaq": held}
    session = {} if start is None else {"NWBFile": {"session_start_time": start}}
    return SimulationOutput(
        arrays=groups, session=session, notes=tuple(reader.notes), provenance=provenance
    )


class _Reader:
    """Reads groups and all that is below them; ``start`` is when the file was begun."""

    def __init__(self, start: datetime | None) -> None:
        self.start = start
        self.notes: list[str] = []
        if start is not None:
            self.notes.append(
                f"the file has no time zone: its start is {start.isoformat()} if it was recorded "
                "in that of this computer; else give session_start_time in the metadata"
            )

    def group(self, name: str, node: h5py.Group, above: tuple[Any, ...]) -> ArrayGroup:
        arrays: list[ArrayWithAxes] = []
        axes: list[ArrayAxis] = []
        groups: list[ArrayGroup] = []
        above = (*above, node.id)
        for child, inside in self.children(node):
            if isinstance(inside, h5py.Group):
                if inside.id in above or len(above) > _DEPTH:
                    self.notes.append(f"left out: {inside.name} holds itself or is too deep")
                else:
                    groups.append(self.group(child, inside, above))
                continue
            found = attributes(inside)
            if inside.shape is None:
                self.notes.append(f"left out: {inside.name} holds no array")
            elif is_axis(inside, found):
                axes.append(axis_of(child, inside, found))
            else:
                arrays.append(array_of(child, inside, found))
        return self._made(name, node, tuple(arrays), tuple(axes), tuple(groups))

    def _made(
        self,
        name: str,
        node: h5py.Group,
        arrays: tuple[ArrayWithAxes, ...],
        axes: tuple[ArrayAxis, ...],
        groups: tuple[ArrayGroup, ...],
    ) -> ArrayGroup:
        found = attributes(node)
        right, note = with_right_date(found, self.start)
        if note:
            self.notes.append(f"{note} of {node.name}")
        return ArrayGroup(
            name,
            arrays,
            axes,
            groups,
            title=text_of(found, "TITLE"),
            kind=text_of(found, "type"),
            settings=text_of(found, "settings"),
            extra={key: to_json(value) for key, value in right.items() if key not in _HELD},
        )

    def children(self, node: h5py.Group) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
        """Give what is in a group, but links and what cannot be opened, which are noted."""
        for name in node:
            where = f"{node.name.rstrip('/')}/{name}"
            if not isinstance(node.get(name, getlink=True), h5py.HardLink):
                self.notes.append(f"left out: {where} is a link, which PyMoDAQ does not write")
                continue
            try:
                child = node[name]
            except (KeyError, OSError, RuntimeError) as error:
                self.notes.append(f"left out: {where} cannot be opened: {error}")
                continue
            if isinstance(child, h5py.Group | h5py.Dataset):
                yield name, child
