"""An NWB file with the calls of PyMoDAQ's file object."""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SimulationOutputError, SourceError
from ndx_simulation_output.files import atomic_hdf5, write_errors
from ndx_simulation_output.pymodaq.nodes import (
    KINDS,
    PLACE,
    ArrayToAdd,
    Node,
    next_number,
    numbers_of,
    stem_of,
)
from ndx_simulation_output.recording import ArrayGroup, ArrayWithAxes
from ndx_simulation_output.recording.json_values import to_json
from ndx_simulation_output.storage.journaled import JournaledFile, remove_journal

if TYPE_CHECKING:
    from typing_extensions import Self

    from ndx_simulation_output.nwb.arrays_hdf5 import HowStored

# Make what PyMoDAQ's file object finds in each file: the group of all data, and the log.

LOG = "Logger"


def open_file(
    path: Path,
    raw: ArrayGroup,
    session: Mapping[str, Any],
    *,
    new_file: bool,
) -> JournaledFile:
    """Open a file to add to it, or make it, with the group of all data.

    Raises
    ------
    SourceError
        If a file is there and is not an NWB file, or one without the types of this package.
    MetadataError
        If ``session`` does not fit NWB.
    WriteError
        If the file cannot be written.

    """
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if new_file or not path.exists():
            remove_journal(path)
            _make(path, raw, session)
    made = JournaledFile(path)
    try:
        _complete(made.file, path, raw)
    except BaseException:
        made.close()
        raise
    return made


def _make(path: Path, raw: ArrayGroup, session: Mapping[str, Any]) -> None:
    from pynwb import NWBHDF5IO

    from ndx_simulation_output.nwb.metadata import make_nwbfile, read_metadata

    start = {"session_start_time": datetime.now().astimezone()}
    given = read_metadata({"NWBFile": {**start, "identifier": str(uuid.uuid4()), **session}})
    nwbfile = make_nwbfile(given, "Data of instruments", None)
    with atomic_hdf5(path, overwrite=True) as file:
        NWBHDF5IO(mode="w", file=file).write(nwbfile)
        _add_raw(file, raw)


def _add_raw(file: h5py.File, raw: ArrayGroup) -> None:
    from ndx_simulation_output.nwb.arrays_hdf5 import create_group

    create_log(create_group(file[PLACE], raw), LOG)


def _complete(file: h5py.File, path: Path, raw: ArrayGroup) -> None:
    """Add the group of all data to an NWB file that has none, if it knows our types."""
    from ndx_simulation_output.nwb.types import NAMESPACE

    if "nwb_version" not in file.attrs:
        msg = f"{path} is not an NWB file; expected one, or a name that is free"
        raise SourceError(msg)
    if raw.name in file[PLACE]:
        return
    if f"specifications/{NAMESPACE}" not in file:
        msg = (
            f"{path} has no group {raw.name} and does not know the types of {NAMESPACE}; "
            "expected a file of this package, or a name that is free"
        )
        raise SourceError(msg)
    _add_raw(file, raw)


def create_log(
    group: h5py.Group, name: str, title: str = "", metadata: Mapping[str, Any] | None = None
) -> h5py.Dataset:
    """Make an array of texts that grows."""
    from ndx_simulation_output.nwb.arrays_hdf5 import create_array

    extra = {key: to_json(value) for key, value in (metadata or {}).items()}
    log = ArrayWithAxes(name, np.zeros(0, object), role="log", title=title, grows=True, extra=extra)
    return create_array(group, log, (0,), np.dtype(object))


# An NWB file with the calls of PyMoDAQ's file object: nodes, groups, a log, compression.

_RAW_TITLE = "Data from PyMoDAQ modules"


def _adding(kind: str) -> Callable[..., Node]:
    """Give the method that adds the next group of a type."""

    def add(
        self: "H5SaverLowLevel",
        where: str | Node = "/RawData",
        title: str = "",
        settings_as_xml: str | bytes = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Node:
        return self.add_incremental_group(kind, where, title, settings_as_xml, metadata)

    add.__doc__ = f"Add the next numbered group of its type, such as ``{KINDS[kind]}000``."
    return add


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
        self._open: JournaledFile | None = None
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
        extra = {key: to_json(value) for key, value in (metadata or {}).items()}
        raw = ArrayGroup(self._raw, title=_RAW_TITLE, kind=self.save_type, extra=extra)
        self._open = open_file(path, raw, session or {}, new_file=new_file)
        self.file_path = path

    # Looking at it

    @property
    def _appended(self) -> JournaledFile:
        if self._open is None:
            msg = "no file is open: call init_file first"
            raise SimulationOutputError(msg)
        return self._open

    @property
    def file(self) -> h5py.File:
        """The open file.

        Raises
        ------
        SimulationOutputError
            If there is none.

        """
        return self._appended.file

    @property
    def how(self) -> "HowStored":
        """How arrays are compressed."""
        from ndx_simulation_output.nwb.arrays_hdf5 import HowStored

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
        return self._open is not None

    def h5(self, where: str | Node) -> h5py.Group | h5py.Dataset:
        """Give the object of HDF5 at a path.

        Raises
        ------
        KeyError
            If there is none.

        """
        path = where.path if isinstance(where, Node) else where
        path = f"/{path.strip('/')}"
        found = self.file.get(f"{PLACE}{path}" if path != "/" else PLACE)
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
        """Give the first node of a title at or below a node, or None."""
        return next((node for node in self.walk_nodes(where) if node.title == title), None)

    def get_node_from_attribute_match(
        self, where: str | Node, attr_name: str, attr_value: Any
    ) -> Node | None:
        """Give the first node at or below a node of which an attribute has a value, or None."""
        for node in self.walk_nodes(where):
            attributes = node.attrs
            if attr_name in attributes and attributes[attr_name] == attr_value:
                return node
        return None

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

    add_det_group = _adding("detector")
    add_act_group = _adding("actuator")
    add_scan_group = _adding("scan")
    add_ch_group = _adding("ch")

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
        name = f"{stem_of(kind)}{next_number(self.h5(where), stem_of(kind)):03d}"
        kind = kind if kind != "ch" else ""
        return self.add_group(name, kind, where, title, settings_as_xml, metadata)

    def add_group(
        self,
        name: str,
        group_type: Any,
        where: str | Node,
        title: str = "",
        settings_as_xml: str | bytes = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Node:
        """Give the group of a name, which is added where it is not there.

        Raises
        ------
        KeyError
            If there is no such place.

        """
        from ndx_simulation_output.nwb.arrays_hdf5 import create_group

        parent = self.h5(where)
        if name in parent:
            return Node(parent[name])
        kind, settings = str(getattr(group_type, "name", group_type)), settings_as_xml
        if isinstance(settings, bytes):
            settings = settings.decode(errors="replace")
        extra = {key: to_json(value) for key, value in (metadata or {}).items()}
        group = ArrayGroup(name, title=title, kind=kind, settings=settings, extra=extra)
        return Node(create_group(parent, group))

    def get_last_group(self, where: str | Node, group_type: Any) -> Node | None:
        """Give the group of a type with the highest number, or None."""
        kind = str(getattr(group_type, "name", group_type)).casefold()
        numbers = numbers_of(self.h5(where), stem_of(kind))
        return self.get_node(where, f"{stem_of(kind)}{max(numbers):03d}") if numbers else None

    def add_log(self, text: str) -> None:
        """Add a line to the log."""
        self.get_node(f"/{self._raw}/{LOG}").append(text)

    def add_string_array(
        self,
        where: str | Node,
        name: str,
        title: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Node:
        """Add an array of texts, to which :meth:`Node.append` adds one.

        Raises
        ------
        KeyError
            If there is no such place.

        """
        return Node(create_log(self.h5(where), name, title, metadata))

    def add_array(
        self,
        where: str | Node,
        name: str,
        data_type: Any,
        array_to_save: NDArray[Any] | None = None,
        data_shape: tuple[int, ...] | None = None,
        array_type: Any = None,
        fill_value: Any = None,
        data_dimension: Any = None,
        scan_shape: tuple[int, ...] = (),
        add_scan_dim: bool = False,  # noqa: FBT001, FBT002
        enlargeable: bool = False,  # noqa: FBT001, FBT002
        title: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Node:
        """Add an array of a type such as ``data``, ``axis``, ``bkg`` or ``error``.

        Either its values are given, or shape and type. With ``add_scan_dim`` it has the dimensions
        ``scan_shape`` before its own, with ``enlargeable`` one that grows. ``metadata`` such as
        ``label``, ``units`` and ``nav_indexes`` are told of it, others become attributes. The
        ``data_dimension`` is told by the shape, whatever is given.

        Raises
        ------
        KeyError
            If there is no such place.
        TypeError
            If there are neither values nor a shape.

        """
        del data_dimension
        scan = tuple(scan_shape) if add_scan_dim else ()
        added = ArrayToAdd(array_to_save, data_shape, array_type, fill_value, scan, enlargeable)
        kind = str(getattr(data_type, "name", data_type))
        group = self.h5(where)
        return Node(added.create(group, name, kind, title, metadata or {}, self.how))

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
        self._appended.commit()

    def bound_memory(self) -> None:
        """Flush if much is in memory that a crash would lose."""
        self._appended.bound_memory()

    def close_file(self) -> None:
        """Write all that was added and close the file, if one is open.

        Raises
        ------
        WriteError
            If the file cannot be written.

        """
        if self._open is not None:
            found, self._open = self._open, None
            found.close()

    def __enter__(self) -> "Self":
        """Give this object."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close_file()


# Names of the files of continuous saving and of scans, in folders of the year and the day.

_SUFFIX = ".nwb"


def continuous_path(
    base_path: str | Path, base_name: str = "Data", when: datetime | None = None
) -> Path:
    """Give the path of a file that is begun ``when``, by default now.

    Example
    -------
    >>> continuous_path("D", when=datetime(2018, 12, 20, 16, 58, 48)).as_posix()
    'D/2018/20181220/Data_20181220_16_58_48.nwb'

    """
    when = when or datetime.now().astimezone()
    return _day(base_path, when) / f"{base_name}_{when:%Y%m%d_%H_%M_%S}{_SUFFIX}"


def dataset_path(
    base_path: str | Path, base_name: str = "Dataset", when: datetime | None = None
) -> Path:
    """Give the path of the next file of scans of a day: its number is one above the highest.

    Example
    -------
    >>> dataset_path("D", when=datetime(2026, 11, 20)).as_posix()
    'D/2026/20261120/Dataset_20261120_000.nwb'

    """
    when = when or datetime.now().astimezone()
    day, stem = _day(base_path, when), f"{base_name}_{when:%Y%m%d}"
    pattern = re.compile(rf"{re.escape(stem)}_(\d{{3,}})\.(?:nwb|h5)")
    names = [path.name for path in day.iterdir()] if day.is_dir() else []
    numbers = [int(found[1]) for name in names if (found := pattern.fullmatch(name))]
    return day / f"{stem}_{max(numbers, default=-1) + 1:03d}{_SUFFIX}"


class H5Saver(H5SaverLowLevel):
    """A file object that names its files: of scans as datasets, of all else by the time.

    Example
    -------
    >>> with H5Saver("detector", base_path="data") as saver:  # doctest: +SKIP
    ...     print(saver.start().name)
    Data_20261120_17_28_52.nwb

    """

    def __init__(
        self,
        save_type: str = "scan",
        backend: str | None = None,
        *,
        base_path: str | Path = ".",
        base_name: str | None = None,
    ) -> None:
        """Make a file object without a file; files are named ``base_name``, ``Data`` by default."""
        super().__init__(save_type, backend)
        self.base_path, self.base_name = Path(base_path), base_name

    def start(self) -> Path:
        """Close the file, if one is open, and begin a new one; give its path.

        Two files begun in one second have different names. Folders that do not exist are made.

        Raises
        ------
        WriteError
            If the file cannot be written.

        """
        if self.save_type == "scan":
            path = dataset_path(self.base_path, self.base_name or "Dataset")
        else:
            path = _free(continuous_path(self.base_path, self.base_name or "Data"))
        self.init_file(path, new_file=True)
        return path


def _day(base_path: str | Path, when: datetime) -> Path:
    return Path(base_path) / f"{when:%Y}" / f"{when:%Y%m%d}"


def _free(path: Path) -> Path:
    found, number = path, 2
    while found.exists():
        found, number = path.with_stem(f"{path.stem}_{number}"), number + 1
    return found
