"""Read a file of PyMoDAQ with h5py alone. Nothing that the file holds is run."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py

from ndx_simulation_output.adapters.pymodaq.attributes import attributes, text_of
from ndx_simulation_output.adapters.pymodaq.dates import start_of, with_right_date
from ndx_simulation_output.adapters.pymodaq.nodes import array_of, axis_of, is_axis
from ndx_simulation_output.errors import NothingRecordedError, SourceError
from ndx_simulation_output.recording import (
    ExportArray,
    ExportAxis,
    ExportGroup,
    SimulationOutput,
)
from ndx_simulation_output.recording.json_values import to_json

__all__ = ["is_pymodaq", "read"]

_TITLE = "PyMoDAQ file"
_VERSIONS = ("pymodaq_version", "pymodaq_data_version")
_ROOTS = ("RawData", "Raw_datas")
_DEPTH = 64
_HDF5 = {"CLASS", "TITLE", "VERSION", "PYTABLES_FORMAT_VERSION"}
_HELD = {*_HDF5, "type", "settings"}


def is_pymodaq(path: Path) -> bool:
    """Tell whether a file is one of PyMoDAQ: its root says so."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            found = attributes(file)
            known = text_of(found, "TITLE") == _TITLE or any(name in found for name in _VERSIONS)
            return known and "nwb_version" not in found
    except (KeyError, OSError, RuntimeError):
        return False


def read(source: str | Path) -> SimulationOutput:
    """Describe what a file of PyMoDAQ holds: its groups, arrays and axes as ``exports``.

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
    ...     print(output.exports[0].groups[0].title)

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
    exports = tuple(
        reader.group(name, node, (file["/"].id,))
        for name, node in reader.children(file)
        if isinstance(node, h5py.Group)
    )
    if not exports:
        msg = f"{path}: nothing was recorded: it holds no group such as {' or '.join(_ROOTS)}"
        raise NothingRecordedError(msg)
    held = {key: to_json(value) for key, value in found.items() if key not in _HDF5}
    provenance = {"files": [path.name], "pymodaq": held}
    session = {} if start is None else {"NWBFile": {"session_start_time": start}}
    return SimulationOutput(
        exports=exports, session=session, notes=tuple(reader.notes), provenance=provenance
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

    def group(self, name: str, node: h5py.Group, above: tuple[Any, ...]) -> ExportGroup:
        arrays: list[ExportArray] = []
        axes: list[ExportAxis] = []
        groups: list[ExportGroup] = []
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
        arrays: tuple[ExportArray, ...],
        axes: tuple[ExportAxis, ...],
        groups: tuple[ExportGroup, ...],
    ) -> ExportGroup:
        found = attributes(node)
        right, note = with_right_date(found, self.start)
        if note:
            self.notes.append(f"{note} of {node.name}")
        return ExportGroup(
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
