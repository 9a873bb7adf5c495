"""Write NWB files with the same methods as PyMoDAQ's ``H5Saver`` classes."""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray
from pynwb import NWBHDF5IO

from ndx_simulation_output.errors import SimulationOutputError, SourceError
from ndx_simulation_output.files import atomic_hdf5, check_local, uninterrupted, write_errors
from ndx_simulation_output.nwb.arrays_hdf5 import (
    HowStored,
    clean_text,
    create_array,
    create_axis,
    create_group,
)
from ndx_simulation_output.nwb.metadata import make_nwbfile, read_metadata
from ndx_simulation_output.nwb.types import NAMESPACE
from ndx_simulation_output.pymodaq.data import ROLES, Axis, name_of
from ndx_simulation_output.pymodaq.nodes import (
    ROOT,
    Node,
    Undo,
    check_free,
    next_number,
    numbers_of,
    path_of,
    undone_on_error,
    walk,
)
from ndx_simulation_output.pymodaq.values import plain_values, stored_values
from ndx_simulation_output.recording import ArrayAxis, ArrayGroup, ArrayWithAxes
from ndx_simulation_output.recording.json_values import to_json
from ndx_simulation_output.storage.journaled import JournaledFile, remove_journal
from ndx_simulation_output.storage.sources import check_source, without_trust

if TYPE_CHECKING:
    from typing_extensions import Self

_RAW_TITLE = "Data from PyMoDAQ modules"
_LOG = "Logger"
_SUFFIX = ".nwb"

_ARRAY_FIELDS = {"label", "source", "distribution", "origin", "timestamp"}
_AXIS_FIELDS = {"label", "units", "index", "spread_order"}


def _add_group_method(kind: str) -> Callable[..., Node]:
    def add(
        self: "H5SaverLowLevel",
        where: str | Node = "/RawData",
        title: str = "",
        settings_as_xml: str | bytes = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Node:
        return self.add_incremental_group(kind, where, title, settings_as_xml, metadata)

    add.__doc__ = f"Add the next numbered group of its type, such as ``{kind.capitalize()}000``."
    return add


class H5SaverLowLevel:
    """An NWB file with the same paths as in PyMoDAQ, such as ``/RawData/Detector000/Data00``.

    If the program is killed, the file contains everything up to the last flush. ``save_type`` is
    stored in the file. Methods with an argument ``where``, which is a path or a node, raise
    KeyError if it does not exist.

    Example
    -------
    >>> with H5SaverLowLevel() as saver:  # doctest: +SKIP
    ...     saver.init_file(Path("run.nwb"))
    ...     saver.add_det_group("/RawData", "Camera")

    """

    def __init__(self, save_type: str = "scan", backend: str | None = None) -> None:
        """Create a saver without an open file. ``backend`` is ignored, as h5py is always used."""
        del backend
        self.save_type = name_of(save_type)
        self.file_path: Path | None = None
        self._journaled: JournaledFile | None = None
        self._level = 0
        self._undo: Undo | None = None
        self._raw_name = "RawData"

    def init_file(
        self,
        file_name: str | Path,
        raw_group_name: str = "RawData",
        new_file: bool = False,  # noqa: FBT001, FBT002 - the arguments of PyMoDAQ
        metadata: Mapping[str, Any] | None = None,
        *,
        session: Mapping[str, Any] | None = None,
    ) -> None:
        """Create a file, or open an existing one to add to it; the suffix becomes ``.nwb``.

        With ``new_file``, an existing file is replaced. ``metadata`` are stored as attributes
        of the raw group of a new file. ``session`` contains arguments of pynwb's ``NWBFile``.
        Missing directories are created.

        Raises
        ------
        SourceError
            If an existing file is not an NWB file, lacks the types of this package, or refers to
            files outside its folder.
        MetadataError
            If ``session`` is not valid NWB metadata.
        TargetExistsError
            If another process creates the file at the same time, and ``new_file`` is false.
        WriteError
            If the file cannot be written.

        """
        self.close_file()
        path = Path(file_name).with_suffix(_SUFFIX)
        self._raw_name = raw_group_name
        extra = _as_json(metadata)
        raw = ArrayGroup(raw_group_name, title=_RAW_TITLE, kind=self.save_type, extra=extra)
        self._journaled = _open_file(path, raw, session or {}, new_file=new_file)
        self.file_path = path

    def _opened(self) -> JournaledFile:
        if self._journaled is None:
            msg = "no file is open; call init_file first"
            raise SimulationOutputError(msg)
        return self._journaled

    @property
    def file(self) -> h5py.File:
        """The open file.

        Raises
        ------
        SimulationOutputError
            If no file is open.

        """
        return self._opened().file

    @property
    def how(self) -> HowStored:
        """Compression settings of new arrays."""
        return HowStored(self._level)

    @property
    def raw_group(self) -> Node:
        """The group that contains all data."""
        return self.get_node(self._raw_name)

    def root(self) -> Node:
        """Return the root node of the file."""
        return self.get_node("/")

    def isopen(self) -> bool:
        """Return True if a file is open."""
        return self._journaled is not None

    def h5(self, where: str | Node) -> h5py.Group | h5py.Dataset:
        """Return the HDF5 object of a node or path."""
        path = path_of(where)
        found = self.file.get(f"{ROOT}{path}" if path != "/" else ROOT)
        if found is None:
            msg = f"no node {path} in {self.file_path}"
            raise KeyError(msg)
        return found

    def get_node(self, where: str | Node, name: str | None = None) -> Node:
        """Return the node at a path, or its child ``name``."""
        return Node(self.h5(f"{path_of(where)}/{name}" if name else where))

    def get_children(self, where: str | Node) -> dict[str, Node]:
        """Return the objects in a group by name."""
        return self.get_node(where).children()

    def get_node_from_title(self, where: str | Node, title: str) -> Node | None:
        """Return the first node with this title at or below ``where``, or None."""
        return next((node for node in self.walk_nodes(where) if node.title == title), None)

    def get_node_from_attribute_match(
        self, where: str | Node, attr_name: str, attr_value: Any
    ) -> Node | None:
        """Return the first node whose attribute has this value, or None.

        The search includes ``where`` and all nodes below it.
        """
        for node in self.walk_nodes(where):
            attributes = node.attrs
            if attr_name in attributes and attributes[attr_name] == attr_value:
                return node
        return None

    def walk_nodes(
        self,
        where: str | Node = "/",
        depth: int | None = None,
        only_groups: bool = False,  # noqa: FBT001, FBT002
    ) -> Iterator[Node]:
        """Yield a node and all nodes below it, in the same order as PyMoDAQ.

        ``depth`` limits the number of levels below ``where``.
        """
        yield from walk(self.get_node(where), depth, only_groups=only_groups)

    add_det_group = _add_group_method("detector")
    add_act_group = _add_group_method("actuator")
    add_scan_group = _add_group_method("scan")
    add_ch_group = _add_group_method("ch")

    def add_incremental_group(
        self,
        group_type: Any,
        where: str | Node,
        title: str = "",
        settings_as_xml: str | bytes = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Node:
        """Add the next numbered group of a type."""
        kind = name_of(group_type).casefold()
        prefix = kind.capitalize()
        name = f"{prefix}{next_number(self.h5(where), prefix):03d}"
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
        """Return the group with this name, and create it if it does not exist."""
        parent = self.h5(where)
        if name in parent:
            return Node(parent[name])
        settings = settings_as_xml
        if isinstance(settings, bytes):
            settings = settings.decode(errors="replace")
        kind, extra = name_of(group_type), _as_json(metadata)
        group = ArrayGroup(name, title=title, kind=kind, settings=settings, extra=extra)
        with self.all_or_nothing() as undo:
            undo.adds(parent, name)
            return Node(create_group(parent, group))

    def get_last_group(self, where: str | Node, group_type: Any) -> Node | None:
        """Return the group of a type with the highest number, or None."""
        prefix = name_of(group_type).casefold().capitalize()
        numbers = numbers_of(self.h5(where), prefix)
        return self.get_node(where, f"{prefix}{max(numbers):03d}") if numbers else None

    def add_log(self, text: str) -> None:
        """Append a line to the log."""
        self.get_node(self._raw_name, _LOG).append(text)

    def log_warnings(self, texts: Sequence[str]) -> None:
        """Append warnings to the log, so that readers of the file know of them too."""
        log = self.h5(self._raw_name).get(_LOG)
        with self.all_or_nothing() as undo:
            for text in texts if log is not None else ():
                undo.append(log, clean_text(f"warning: {text}"))

    def add_string_array(
        self,
        where: str | Node,
        name: str,
        title: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> Node:
        """Add an empty array of strings, to which :meth:`Node.append` appends."""
        group = self.h5(where)
        check_free(group, name)
        with self.all_or_nothing() as undo:
            undo.adds(group, name)
            return Node(_create_texts(group, name, title, metadata))

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

        The values are ``array_to_save``, or the array is created with shape ``data_shape`` and
        dtype ``array_type``. ``add_scan_dim`` prepends the dimensions ``scan_shape``, and
        ``enlargeable`` a dimension of length 0 along which values can be appended. ``metadata``
        such as ``label``, ``units`` and ``nav_indexes`` describe the array; other items are stored
        as attributes. ``data_dimension`` is ignored, as it follows from the shape.

        Raises
        ------
        KeyError
            If ``where`` does not exist.
        TypeError
            If both values and shape are missing.
        NameClashError
            If the group already has an object of this name.
        RecordingError
            If ``array_type`` cannot hold the values, or ``fill_value``, exactly.

        """
        del data_dimension
        group, metadata = self.h5(where), metadata or {}
        name, kind = name[:1].upper() + name[1:], name_of(data_type)
        check_free(group, name)
        values = None if array_to_save is None else plain_values(array_to_save, name)
        points = tuple(scan_shape) if add_scan_dim else ()
        shape = _shape_of(name, values, data_shape, points, grows=enlargeable)
        dtype = np.dtype(array_type or (float if values is None else values.dtype))
        stored = None if values is None else stored_values(values, name, dtype)
        if fill_value is not None:
            stored_values(fill_value, f"fill_value of {name}", dtype)
        with self.all_or_nothing() as undo:
            undo.adds(group, name)
            if kind == "axis":
                axis = _describe_axis(name, title, metadata, grows=enlargeable)
                dataset = create_axis(group, axis, shape, dtype)
            else:
                array = _describe_array(name, kind, title, metadata, grows=enlargeable)
                how = replace(self.how, points=len(points))
                dataset = create_array(group, array, shape, dtype, how, fill_value)
            if stored is not None and not enlargeable:
                dataset[...] = stored
        return Node(dataset)

    @contextmanager
    def all_or_nothing(self) -> Iterator[Undo]:
        """Undo what the block adds if it raises, also through methods that it calls.

        Ctrl-C comes after the block: a part of it would be left if it came while HDF5 writes.
        """
        if self._undo is not None:
            yield self._undo
            return
        with uninterrupted(), undone_on_error() as undo:
            self._undo = undo
            try:
                yield undo
                self._opened().check()
            finally:
                self._undo = None

    def define_compression(self, compression: str, level: int) -> None:
        """Set the compression level of new arrays: 1 to 9, or 0 for no compression.

        Raises
        ------
        ValueError
            If ``compression`` is not gzip or zlib, or the level is not 0 to 9.

        """
        if compression not in {"gzip", "zlib"} or not 0 <= level <= 9:
            msg = (
                f"compression is {compression!r} with level {level}; expected 'gzip' or 'zlib' "
                "with a level of 0 to 9"
            )
            raise ValueError(msg)
        self._level = level

    def flush(self) -> None:
        """Write all pending changes to the file, so that a later crash does not lose them.

        Raises
        ------
        WriteError
            If the file cannot be written.

        """
        self._opened().commit()

    def bound_memory(self) -> None:
        """Flush if the pending changes in memory are large."""
        self._opened().bound_memory()

    def close_file(self) -> None:
        """Flush and close the file, if one is open.

        Raises
        ------
        WriteError
            If the file cannot be written.

        """
        if self._journaled is not None:
            closing, self._journaled = self._journaled, None
            closing.close()

    def __enter__(self) -> "Self":
        """Return this object."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close_file()


class H5Saver(H5SaverLowLevel):
    """A saver that generates file names: numbered for scans, otherwise from the current time.

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
        """Create a saver. ``base_name`` defaults to ``Dataset`` for scans, else to ``Data``."""
        super().__init__(save_type, backend)
        self.base_path, self.base_name = Path(base_path), base_name

    def start(self) -> Path:
        """Close the open file, create a new one, and return its path.

        Files created within the same second have different names. Missing directories are created.

        Raises
        ------
        WriteError
            If the file cannot be written.

        """
        if self.save_type == "scan":
            path = dataset_path(self.base_path, self.base_name or "Dataset")
        else:
            path = _free_path(continuous_path(self.base_path, self.base_name or "Data"))
        self.init_file(path)
        return path


def continuous_path(
    base_path: str | Path, base_name: str = "Data", when: datetime | None = None
) -> Path:
    """Return the path of a file created at the time ``when``, by default now.

    Example
    -------
    >>> continuous_path("D", when=datetime(2018, 12, 20, 16, 58, 48)).as_posix()
    'D/2018/20181220/Data_20181220_16_58_48.nwb'

    """
    when = when or datetime.now().astimezone()
    return _day_directory(base_path, when) / f"{base_name}_{when:%Y%m%d_%H_%M_%S}{_SUFFIX}"


def dataset_path(
    base_path: str | Path, base_name: str = "Dataset", when: datetime | None = None
) -> Path:
    """Return the path of a new scan file, with the next unused number of the day ``when``.

    Example
    -------
    >>> dataset_path("D", when=datetime(2026, 11, 20)).as_posix()
    'D/2026/20261120/Dataset_20261120_000.nwb'

    """
    when = when or datetime.now().astimezone()
    directory, stem = _day_directory(base_path, when), f"{base_name}_{when:%Y%m%d}"
    pattern = re.compile(rf"{re.escape(stem)}_(\d{{3,}})\.(?:nwb|h5)")
    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    numbers = [int(found[1]) for name in names if (found := pattern.fullmatch(name))]
    return directory / f"{stem}_{max(numbers, default=-1) + 1:03d}{_SUFFIX}"


def _day_directory(base_path: str | Path, when: datetime) -> Path:
    return Path(base_path) / f"{when:%Y}" / f"{when:%Y%m%d}"


def _free_path(path: Path) -> Path:
    found, number = path, 2
    while found.exists():
        found, number = path.with_stem(f"{path.stem}_{number}"), number + 1
    return found


# Files: each contains the raw group, which contains all data and the log.


def _open_file(
    path: Path, raw: ArrayGroup, session: Mapping[str, Any], *, new_file: bool
) -> JournaledFile:
    check_local(path)
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if new_file or not path.exists():
            remove_journal(path)
            _create_file(path, raw, session, overwrite=new_file)
    opened = JournaledFile(path)
    try:
        with without_trust():
            check_source(opened.file)
        _ensure_raw_group(opened.file, path, raw)
    except BaseException:
        opened.close()
        raise
    return opened


def _create_file(
    path: Path, raw: ArrayGroup, session: Mapping[str, Any], *, overwrite: bool
) -> None:
    defaults = {
        "session_start_time": datetime.now().astimezone(),
        "identifier": str(uuid.uuid4()),
    }
    metadata = read_metadata({"NWBFile": {**defaults, **session}})
    nwbfile = make_nwbfile(metadata, "Data of instruments", None)
    with atomic_hdf5(path, overwrite=overwrite) as file:
        NWBHDF5IO(mode="w", file=file).write(nwbfile)
        _add_raw_group(file, raw)


def _ensure_raw_group(file: h5py.File, path: Path, raw: ArrayGroup) -> None:
    if "nwb_version" not in file.attrs:
        msg = f"{path} is not an NWB file; expected an NWB file, or a path that does not exist"
        raise SourceError(msg)
    if raw.name in file[ROOT]:
        return
    if f"specifications/{NAMESPACE}" not in file:
        msg = (
            f"{path} has no group {raw.name} and does not have the types of {NAMESPACE}; expected "
            "a file of this package, or a path that does not exist"
        )
        raise SourceError(msg)
    _add_raw_group(file, raw)


def _add_raw_group(file: h5py.File, raw: ArrayGroup) -> None:
    _create_texts(create_group(file[ROOT], raw), _LOG)


# Conversion of PyMoDAQ's data type, title and metadata to descriptions of arrays.


def _create_texts(
    group: h5py.Group, name: str, title: str = "", metadata: Mapping[str, Any] | None = None
) -> h5py.Dataset:
    texts = ArrayWithAxes(
        name, np.zeros(0, object), role="log", title=title, grows=True, extra=_as_json(metadata)
    )
    return create_array(group, texts, (0,), np.dtype(object))


def _shape_of(
    name: str,
    values: NDArray[Any] | None,
    data_shape: tuple[int, ...] | None,
    points: tuple[int, ...],
    *,
    grows: bool,
) -> tuple[int, ...]:
    if values is None and data_shape is None:
        msg = f"array {name} has neither array_to_save nor data_shape; expected one of them"
        raise TypeError(msg)
    shape = tuple(data_shape or ()) if values is None else values.shape
    if grows:
        return (0, *shape)
    # In a scan, single values only have the scan dimensions.
    return (*points, *(() if points and shape == (1,) else shape))


def _describe_axis(name: str, title: str, metadata: Mapping[str, Any], *, grows: bool) -> ArrayAxis:
    fields = {key: metadata[key] for key in _AXIS_FIELDS & set(metadata)}
    axis = Axis(data=np.zeros(0), **{"label": title, **fields})
    return ArrayAxis(
        name, axis.data, axis.label, axis.units, axis.index, axis.spread_order, grows=grows
    )


def _describe_array(
    name: str, kind: str, title: str, metadata: Mapping[str, Any], *, grows: bool
) -> ArrayWithAxes:
    described = {*_ARRAY_FIELDS, "units", "nav_indexes"}
    return ArrayWithAxes(
        name,
        np.zeros(0),
        role=ROLES.get(kind, kind),
        title=title,
        unit=metadata.get("units", ""),
        nav_indexes=tuple(metadata.get("nav_indexes", ())),
        grows=grows,
        extra=_as_json({key: metadata[key] for key in metadata if key not in described}),
        **{key: metadata[key] for key in _ARRAY_FIELDS & set(metadata)},
    )


def _as_json(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: to_json(value) for key, value in (metadata or {}).items()}
