"""An NWB file with the calls of PyMoDAQ's file object: nodes, groups, a log, compression."""

import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SimulationOutputError, SourceError
from ndx_simulation_output.files import naming_target, whole_hdf5
from ndx_simulation_output.recording import ExportArray, ExportGroup
from ndx_simulation_output.recording.json_values import from_json, to_json

if TYPE_CHECKING:
    from typing_extensions import Self

    from ndx_simulation_output.nwb.exports import HowStored

__all__ = ["H5SaverLowLevel", "Node"]

_PLACE = "/acquisition"
_LOG = "Logger"
_ROOT_TITLE, _RAW_TITLE = "PyMoDAQ file", "Data from PyMoDAQ modules"
_KINDS = {"detector": "Detector", "actuator": "Actuator", "scan": "Scan", "ch": "Ch"}
_KINDS |= {"data_logger": "Data_logger"}
_CACHE_BYTES = 2**20


class Node:
    """An object of the file: a group, an array or an axis.

    ``CLASS`` is GROUP, CARRAY, EARRAY for one that grows, or VLARRAY for one of texts.
    """

    def __init__(self, item: h5py.Group | h5py.Dataset) -> None:
        """Take an object of an open file."""
        from ndx_simulation_output.nwb import exports_reading

        self._item = item
        kind = exports_reading.kind_of(item)
        self._is_series = kind == "AxesTimeSeries"
        self._is_axis = kind == "Axis"
        self.is_group = isinstance(item, h5py.Group) and not self._is_series

    @property
    def path(self) -> str:
        """Path of the object, such as ``/RawData/Detector000``."""
        return str(self._item.name).removeprefix(_PLACE) or "/"

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def title(self) -> str:
        """Title of a group or array, label of an axis."""
        if self.path == "/":
            return _ROOT_TITLE
        return str(self._item.attrs.get("label" if self._is_axis else "title", ""))

    @property
    def CLASS(self) -> str:  # noqa: N802 - the name of PyMoDAQ
        """What kind of object it is."""
        if self.is_group:
            return "GROUP"
        data = self._data
        if h5py.check_string_dtype(data.dtype):
            return "VLARRAY"
        return "EARRAY" if data.maxshape and data.maxshape[0] is None else "CARRAY"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an array."""
        return tuple(self._described.values.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values of an array."""
        return np.dtype(self._described.values.dtype)

    @property
    def attrs(self) -> dict[str, Any]:
        """Further attributes of the object, with the settings of a group."""
        from ndx_simulation_output.nwb import exports_reading

        if self.is_group:
            group = exports_reading.group_from(self._item)
            extra: Mapping[str, Any] = {"settings": group.settings, **group.extra}
        else:
            extra = self._described.extra
        return {key: from_json(value) for key, value in extra.items()}

    def read(self) -> NDArray[Any]:
        """Read the values of an array."""
        return np.asarray(self._described.values[()])

    def children(self) -> dict[str, "Node"]:
        """Give what is in a group by name, in the order in which it was made."""
        if not self.is_group:
            return {}
        nodes = {}
        for name in self._item:
            child = self._item.get(name)
            if isinstance(child, h5py.Group | h5py.Dataset) and "neurodata_type" in child.attrs:
                nodes[name] = Node(child)
        return nodes

    @property
    def _data(self) -> h5py.Dataset:
        return self._item["data"] if self._is_series else self._item

    @property
    def _described(self) -> ExportArray:
        from ndx_simulation_output.nwb import exports_reading

        return exports_reading.array_from(self.name, self._item)

    def __eq__(self, other: object) -> bool:
        """Tell whether it is the same object of the file."""
        return isinstance(other, Node) and self._item == other._item

    def __hash__(self) -> int:
        """Hash the object of the file."""
        return hash(self._item)

    def __str__(self) -> str:
        """Show path, kind and title."""
        return f"{self.path} ({self.CLASS}) {self.title!r}"

    def __repr__(self) -> str:
        """Show children, or shape and type, too."""
        if self.is_group:
            return f"{self}\n  children := {[str(node) for node in self.children().values()]}"
        space = " " * 16
        return f"{self}\n{space}shape := {self.shape}\n{space}dtype := {self.dtype.name}"


class H5SaverLowLevel:
    """An NWB file that is recorded, by the names of PyMoDAQ: ``/RawData/Detector000/Data00``.

    The file is in order from the beginning and whenever it was flushed: if the program is killed,
    it is as it was then. ``save_type`` is kept in the file.

    Example
    -------
    >>> with H5SaverLowLevel() as saver:  # doctest: +SKIP
    ...     saver.init_file(Path("run.nwb"))
    ...     saver.add_det_group("/RawData", "Camera")

    """

    def __init__(self, save_type: str = "scan", backend: str | None = None) -> None:
        """Make a file object without a file; the ``backend`` is h5py, whatever is given."""
        del backend
        self.save_type = str(getattr(save_type, "name", save_type))
        self.file_path: Path | None = None
        self._file: h5py.File | None = None
        self._level = 0
        self._raw = "RawData"

    def init_file(
        self,
        file_name: str | Path,
        raw_group_name: str = "RawData",
        new_file: bool = False,  # noqa: FBT001, FBT002 - the arguments of PyMoDAQ
        metadata: Mapping[str, Any] | None = None,
        *,
        session: Mapping[str, Any] | None = None,
    ) -> None:
        """Open a file to add to it, or make it; the suffix becomes ``.nwb``.

        A ``new_file`` takes the place of one that is there. ``metadata`` become attributes of the
        raw group of a new file; ``session`` are arguments of pynwb's ``NWBFile``. A directory that
        does not exist is made.

        Raises
        ------
        SourceError
            If a file is there and is not an NWB file, or one without the types of this package.
        MetadataError
            If ``session`` does not fit NWB.
        WriteError
            If the file cannot be written.

        """
        self.close_file()
        path = Path(file_name).with_suffix(".nwb")
        self._raw = raw_group_name
        with naming_target(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        if new_file or not path.exists():
            self._make(path, metadata or {}, session or {})
        self._file = _opened(path)
        self.file_path = path
        if self._raw not in self._file[_PLACE]:
            self._add_to_other(path)

    def _make(self, path: Path, metadata: Mapping[str, Any], session: Mapping[str, Any]) -> None:
        from pynwb import NWBHDF5IO

        from ndx_simulation_output.nwb.metadata import make_nwbfile, read_metadata

        start = {"session_start_time": datetime.now().astimezone()}
        given = read_metadata({"NWBFile": {**start, "identifier": str(uuid.uuid4()), **session}})
        nwbfile = make_nwbfile(given, "Data of instruments", None)
        with whole_hdf5(path, overwrite=True) as file:
            NWBHDF5IO(mode="w", file=file).write(nwbfile)
            self._add_raw(file, metadata)

    def _add_raw(self, file: h5py.File, metadata: Mapping[str, Any]) -> None:
        """Add the group of all data, with the log."""
        from ndx_simulation_output.nwb import exports

        extra = {key: to_json(value) for key, value in metadata.items()}
        raw = ExportGroup(self._raw, title=_RAW_TITLE, kind=self.save_type, extra=extra)
        log = ExportArray(_LOG, np.zeros(0, object), role="log", grows=True)
        group = exports.create_group(file[_PLACE], raw)
        exports.create_array(group, log, (0,), np.dtype(object))

    def _add_to_other(self, path: Path) -> None:
        """Add the group of all data to an NWB file that has none, if it knows our types."""
        from ndx_simulation_output.nwb.types import NAMESPACE

        if f"specifications/{NAMESPACE}" not in self.file:
            self.close_file()
            msg = (
                f"{path} has no group {self._raw} and does not know the types of {NAMESPACE}; "
                "expected a file of this package, or a name that is free"
            )
            raise SourceError(msg)
        self._add_raw(self.file, {})

    # Looking at it

    @property
    def file(self) -> h5py.File:
        """The open file.

        Raises
        ------
        SimulationOutputError
            If there is none.

        """
        if self._file is None:
            msg = "no file is open: call init_file first"
            raise SimulationOutputError(msg)
        return self._file

    @property
    def how(self) -> "HowStored":
        """How arrays are compressed."""
        from ndx_simulation_output.nwb.exports import HowStored

        return HowStored(self._level)

    @property
    def raw_group(self) -> Node:
        """The group of all data."""
        return self.get_node(f"/{self._raw}")

    def root(self) -> Node:
        """Give the node of the whole file."""
        return self.get_node("/")

    def isopen(self) -> bool:
        """Tell whether a file is open."""
        return self._file is not None

    def h5(self, where: str | Node) -> h5py.Group | h5py.Dataset:
        """Give the object of HDF5 at a path.

        Raises
        ------
        KeyError
            If there is none.

        """
        path = where.path if isinstance(where, Node) else where
        path = f"/{path.strip('/')}"
        found = self.file.get(f"{_PLACE}{path}" if path != "/" else _PLACE)
        if found is None:
            msg = f"no node {path} in {self.file_path}"
            raise KeyError(msg)
        return found

    def get_node(self, where: str | Node, name: str | None = None) -> Node:
        """Give the node at a path, or its child ``name``.

        Raises
        ------
        KeyError
            If there is none.

        """
        path = where.path if isinstance(where, Node) else where
        return Node(self.h5(f"{path}/{name}" if name else path))

    def get_children(self, where: str | Node) -> dict[str, Node]:
        """Give what is in a group by name."""
        return self.get_node(where).children()

    def get_node_from_title(self, where: str | Node, title: str) -> Node | None:
        """Give the first node of a title directly in a group, or None."""
        found = self.get_children(where).values()
        return next((node for node in found if node.title == title), None)

    def walk_nodes(self, where: str | Node = "/") -> Iterator[Node]:
        """Give a node and all below it in PyMoDAQ's order: of the groups, the last made first."""
        first = self.get_node(where)
        yield first
        groups, waiting = [first], [first]
        while waiting:
            inner = [node for node in waiting.pop().children().values() if node.is_group]
            groups += inner
            waiting += inner
        for group in groups:
            yield from group.children().values()

    # Adding to it

    def add_det_group(
        self,
        where: str | Node,
        title: str = "",
        settings_as_xml: str | bytes = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Node:
        """Add the next group of a detector, such as ``Detector000``."""
        return self.add_incremental_group("detector", where, title, settings_as_xml, metadata)

    def add_act_group(
        self,
        where: str | Node,
        title: str = "",
        settings_as_xml: str | bytes = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Node:
        """Add the next group of an actuator, such as ``Actuator000``."""
        return self.add_incremental_group("actuator", where, title, settings_as_xml, metadata)

    def add_scan_group(
        self,
        where: str | Node = "/RawData",
        title: str = "",
        settings_as_xml: str | bytes = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Node:
        """Add the next group of a scan, such as ``Scan000``."""
        return self.add_incremental_group("scan", where, title, settings_as_xml, metadata)

    def add_ch_group(
        self,
        where: str | Node,
        title: str = "",
        settings_as_xml: str | bytes = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Node:
        """Add the next group of a channel, such as ``Ch000``."""
        return self.add_incremental_group("ch", where, title, settings_as_xml, metadata)

    def add_incremental_group(
        self,
        group_type: Any,
        where: str | Node,
        title: str = "",
        settings_as_xml: str | bytes = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Node:
        """Add the next numbered group of a type.

        Raises
        ------
        KeyError
            If there is no such place.

        """
        kind = str(getattr(group_type, "name", group_type)).casefold()
        stem = _KINDS.get(kind, kind.capitalize())
        numbers = _numbers(self.h5(where), stem)
        settings = settings_as_xml
        if isinstance(settings, bytes):
            settings = settings.decode(errors="replace")
        return self.add_group(
            f"{stem}{max(numbers, default=-1) + 1:03d}",
            kind if kind != "ch" else "",
            where,
            title,
            settings,
            metadata,
        )

    def add_group(
        self,
        name: str,
        group_type: Any,
        where: str | Node,
        title: str = "",
        settings_as_xml: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Node:
        """Give the group of a name, which is added where it is not there.

        Raises
        ------
        KeyError
            If there is no such place.

        """
        from ndx_simulation_output.nwb import exports

        parent = self.h5(where)
        if name in parent:
            return Node(parent[name])
        kind = str(getattr(group_type, "name", group_type))
        extra = {key: to_json(value) for key, value in (metadata or {}).items()}
        group = ExportGroup(name, title=title, kind=kind, settings=settings_as_xml, extra=extra)
        return Node(exports.create_group(parent, group))

    def get_last_group(self, where: str | Node, group_type: Any) -> Node | None:
        """Give the group of a type with the highest number, or None."""
        kind = str(getattr(group_type, "name", group_type)).casefold()
        stem = _KINDS.get(kind, kind.capitalize())
        numbers = _numbers(self.h5(where), stem)
        return self.get_node(where, f"{stem}{max(numbers):03d}") if numbers else None

    def add_log(self, text: str) -> None:
        """Add a line to the log."""
        log = self.h5(f"/{self._raw}/{_LOG}")
        log.resize(len(log) + 1, axis=0)
        log[-1] = text.replace("\0", "")

    def define_compression(self, compression: str, level: int) -> None:
        """Compress arrays that are added from now on; 0 is not to.

        Raises
        ------
        ValueError
            If it is not gzip or zlib, or the level not 0 to 9.

        """
        if compression not in {"gzip", "zlib"} or not 0 <= level <= 9:
            msg = f"compression is {compression!r}, level {level}; expected gzip or zlib, 0 to 9"
            raise ValueError(msg)
        self._level = level

    def flush(self) -> None:
        """Write all that was added, so that it is there whatever happens.

        Raises
        ------
        WriteError
            If the file cannot be written.

        """
        with naming_target(self.file_path or Path()):
            self.file.flush()

    def close_file(self) -> None:
        """Write all that was added and close the file, if one is open.

        Raises
        ------
        WriteError
            If the file cannot be written.

        """
        if self._file is None:
            return
        with naming_target(self.file_path or Path()):
            file, self._file = self._file, None
            file.close()

    def __enter__(self) -> "Self":
        """Give this object."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close_file()


def _opened(path: Path) -> h5py.File:
    """Open a file so that HDF5 writes what it knows of it only when it is flushed."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_cache(0, 521, _CACHE_BYTES, 0.75)
    config = access.get_mdc_config()
    config.evictions_enabled = False
    config.incr_mode = config.flash_incr_mode = config.decr_mode = 0
    access.set_mdc_config(config)
    try:
        file = h5py.File(h5py.h5f.open(str(path).encode(), h5py.h5f.ACC_RDWR, fapl=access))
    except OSError as error:
        msg = f"{path} cannot be opened to add to it: {error}"
        raise SourceError(msg) from error
    if "nwb_version" not in file.attrs:
        file.close()
        msg = f"{path} is not an NWB file; expected one, or a name that is free"
        raise SourceError(msg)
    return file


def _numbers(group: h5py.Group, stem: str) -> list[int]:
    found = (re.fullmatch(rf"{re.escape(stem)}(\d+)", name) for name in group)
    return [int(match[1]) for match in found if match]
