"""Write arrays with labelled axes into NWB files."""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile

from ndx_simulation_output.errors import ExportError, SourceError
from ndx_simulation_output.nwb.types import (
    NAMESPACE,
    AxesTimeSeries,
    Axis,
    DataToExport,
    DataWithAxes,
    LabeledArray,
)
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    LazyArray,
    OwnArray,
    OwnGroup,
)
from ndx_simulation_output.recording.array_groups import is_nav_group
from ndx_simulation_output.recording.arrays import BLOCK_BYTES, read_all, size_in_bytes
from ndx_simulation_output.recording.ids import free_name

# Groups of arrays as ``DataWithAxes`` and back, whatever their type and shape.

_Facts = dict[str, Any]

_X = "x"
_GROUP_VIEWS = {"c": "f", "S": "u1", "V": "u1", "U": "u4", "M": "i8", "m": "i8"}
"""Numbers that values of other types are stored as, along a further dimension."""


def make_data(group: OwnGroup, name: str) -> tuple[DataWithAxes, _Facts]:
    """Make an NWB object of a group, and the facts that it takes to read it as it was.

    Values of types that NWB does not have are stored as the numbers they are made of.

    Raises
    ------
    ExportError
        If values are Python objects.

    """
    facts: _Facts = {"name": group.name, "provenance": dict(group.provenance), "arrays": {}}
    arrays, axes = [], []
    names = _names(group)
    for key, array in zip(names, group.arrays, strict=True):
        stored, known = _encode(array.values, f"{array.section} {array.variable}")
        facts["arrays"][key] = {
            "section": array.section,
            "variable": array.variable,
            "detail": array.detail,
            "provenance": dict(array.provenance),
            **known,
        }
        if stored.size:
            label = " ".join(text for text in (array.section, array.variable, array.detail) if text)
            arrays.append(LabeledArray(name=key, data=stored, label=label))
    if group.x is not None:
        x = read_all(group.x)
        stored, known = _encode(x.reshape(-1), f"x of {group.name}")
        facts["x"] = {**known, **({"shape": list(x.shape)} if x.ndim != 1 else {})}
        unit = group.x_unit or None
        if stored.size:
            axes.append(Axis(name=_X, data=stored, label="x", unit=unit, index=0))
    made = DataWithAxes(name=name, title=group.name, labeled_arrays=arrays, axis=axes)
    return made, facts


def read_data(data: DataWithAxes, facts: Mapping[str, Any]) -> OwnGroup:
    """Read a group of arrays as it was; of one without ``facts``, what its objects say.

    Raises
    ------
    SourceError
        If the facts do not fit the object.

    """
    axes = list((data.axis or {}).values())
    stored = data.labeled_arrays or {}
    if not facts:
        arrays = tuple(
            OwnArray("", array.label or array.name, array.data) for array in stored.values()
        )
        x, unit = (axes[0].data, axes[0].unit or "") if axes else (None, "")
        return OwnGroup(data.title or data.name, arrays, x, unit)
    try:
        return _restored(data, facts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"the provenance of {data.name} does not fit its arrays: {error!r}"
        raise SourceError(msg) from error


def _restored(data: DataWithAxes, facts: Mapping[str, Any]) -> OwnGroup:
    stored, axes = data.labeled_arrays or {}, data.axis or {}
    arrays = tuple(
        OwnArray(
            str(known["section"]),
            str(known["variable"]),
            _decode(stored[name].data if name in stored else None, known),
            str(known["detail"]),
            dict(known["provenance"]),
        )
        for name, known in facts["arrays"].items()
    )
    group = OwnGroup(str(facts["name"]), arrays, provenance=dict(facts["provenance"]))
    if "x" not in facts:
        return group
    axis = axes.get(_X)
    x = _decode(None if axis is None else axis.data, facts["x"])
    return replace(group, x=x, x_unit="" if axis is None else axis.unit or "")


def _names(group: OwnGroup) -> list[str]:
    """Give a name to each array, no two the same."""
    taken = {_X}
    found = []
    for array in group.arrays:
        text = f"{array.section}_{array.variable}"
        allowed = text.replace("/", "_").replace(":", "_").replace("\0", "_")
        found.append(free_name(allowed, taken))
        taken.add(found[-1])
    return found


def _encode(array: LazyArray, where: str) -> tuple[NDArray[Any], _Facts]:
    """Give values as numbers of native byte order, and what they were if they were not."""
    values = read_all(array)
    if values.dtype.kind == "O":
        msg = f"{where} holds Python objects; expected an array of numbers or text"
        raise ExportError(msg)
    facts: _Facts = {}
    if not values.shape or not values.size:
        facts["shape"] = list(values.shape)
    if values.dtype.kind not in _GROUP_VIEWS and values.dtype.isnative:
        if not values.size:
            facts["dtype"] = values.dtype.str
        return np.atleast_1d(values), facts
    facts["dtype"] = values.dtype.str
    native = np.ascontiguousarray(np.atleast_1d(values))
    native = native.astype(native.dtype.newbyteorder("="), copy=False)
    return _as_numbers(native), facts


def _as_numbers(values: NDArray[Any]) -> NDArray[Any]:
    kind = values.dtype.kind
    if kind not in _GROUP_VIEWS or not values.size:
        return values
    part = f"f{values.itemsize // 2}" if kind == "c" else _GROUP_VIEWS[kind]
    return values.view(part).reshape(*values.shape, -1)


def _decode(stored: LazyArray | None, facts: Mapping[str, Any]) -> LazyArray:
    if "dtype" not in facts and "shape" not in facts:
        if stored is None:
            msg = "an array is missing"
            raise KeyError(msg)
        # hdmf gives an array of one value as that value.
        return stored if stored.shape else np.atleast_1d(np.asarray(stored))
    shape = facts.get("shape")
    if stored is None:
        return np.zeros(tuple(shape or (0,)), np.dtype(facts["dtype"]))
    values = np.ascontiguousarray(stored[()])
    if "dtype" in facts:
        dtype = np.dtype(facts["dtype"])
        if dtype.kind in _GROUP_VIEWS:
            values = values.view(dtype.newbyteorder("="))[..., 0]
        values = values.astype(dtype, copy=False)
    return values if shape is None else values.reshape(shape)


# Groups, arrays and axes of instruments as they lie in an NWB file in HDF5.
#
# They are written with h5py, an object at a time, so that a file can grow while it is recorded.

_CHUNK_BYTES = 2**18
_SMALL_BYTES = 2**12
_MOST_ROWS = 2**12
_VIEWS = {"S": "u1", "V": "u1", "U": "u4", "M": "i8", "m": "i8"}
"""Numbers that values of other types are stored as, along a further dimension."""
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class HowStored:
    """How arrays are compressed: with gzip of ``level`` 1 to 9, or not for 0.

    An array that is filled point by point has ``points`` dimensions of these. If a point is not
    small, it is a chunk of its own, so that none is compressed twice.
    """

    level: int = 0
    points: int = 0

    def options(self, shape: tuple[int, ...], itemsize: int, *, grows: bool) -> dict[str, Any]:
        """Arguments of ``create_dataset`` for an array of this shape.

        Example
        -------
        >>> HowStored().options((0, 100), 8, grows=True)
        {'maxshape': (None, 100), 'chunks': (327, 100)}

        """
        point = shape[self.points :]
        is_small = int(np.prod(point, dtype=np.int64)) * itemsize < _SMALL_BYTES
        if self.points and self.level and not is_small:
            return {"chunks": (*[1] * self.points, *_fitting(point, itemsize)), **self._filters()}
        made: dict[str, Any] = {}
        rest = shape[1:]
        row = max(1, int(np.prod(rest, dtype=np.int64)) * itemsize)
        if grows:
            made["maxshape"] = (None, *rest)
        if shape and (grows or self.level) and all(rest):
            rows = min(_MOST_ROWS, max(1, _CHUNK_BYTES // row))
            made["chunks"] = (
                rows if grows else max(1, min(rows, shape[0])),
                *_fitting(rest, itemsize),
            )
        return {**made, **self._filters()} if "chunks" in made else made

    def _filters(self) -> dict[str, Any]:
        if not self.level:
            return {}
        return {"compression": "gzip", "compression_opts": self.level, "shuffle": True}


def _fitting(rest: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Give the lengths of a chunk in all dimensions but the first: the last ones whole."""
    left = max(1, 16 * _CHUNK_BYTES // itemsize)
    lengths = []
    for length in reversed(rest):
        lengths.append(max(1, min(length, left)))
        left = max(1, left // lengths[-1])
    return tuple(reversed(lengths))


def encoded(dtype: np.dtype[Any], where: str) -> tuple[np.dtype[Any], tuple[int, ...], str | None]:
    """Give the type that values are stored as, the dimension that it adds, and ``value_type``.

    Raises
    ------
    ExportError
        If values are Python objects other than text.

    """
    if dtype.kind == "O":
        if h5py.check_string_dtype(dtype) is None and dtype.metadata:
            msg = f"{where} holds {dtype}; expected an array of numbers or text"
            raise ExportError(msg)
        return h5py.string_dtype(), (), None
    if dtype.kind == "c":
        return np.dtype(f"f{dtype.itemsize // 2}"), (2,), dtype.str
    if dtype.kind in _VIEWS:
        part = np.dtype(_VIEWS[dtype.kind])
        return part, (max(1, dtype.itemsize // part.itemsize),), dtype.str
    return dtype.newbyteorder("="), (), None


def as_stored(values: NDArray[Any], dtype: np.dtype[Any], added: tuple[int, ...]) -> NDArray[Any]:
    """Give values as the numbers that they are stored as."""
    if not added:
        return values
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    return native.view(dtype).reshape(*values.shape, *added)


def create_group(parent: h5py.Group, group: ArrayGroup, kind: str = "DataToExport") -> h5py.Group:
    """Make an empty group of a type of this extension, whose children keep their order."""
    plist = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    plist.set_link_creation_order(h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED)
    made = h5py.Group(h5py.h5g.create(parent.id, group.name.encode(), gcpl=plist))
    _mark(made, kind)
    _set(made, title=group.title, group_type=group.kind, settings=group.settings)
    _set(made, extra_attributes=json_text(group.extra))
    return made


def create_axis(
    group: h5py.Group, axis: ArrayAxis, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> h5py.Dataset:
    """Make an axis without its values."""
    options = HowStored().options(shape, dtype.itemsize, grows=axis.grows)
    made = group.create_dataset(axis.name, shape, dtype.newbyteorder("="), **options)
    _mark(made, "Axis")
    made.attrs["description"] = clean_text(axis.label) or "An independent variable"
    _set(made, label=axis.label, unit=axis.unit)
    made.attrs["index"] = np.int32(axis.index)
    made.attrs["spread_order"] = np.int32(axis.spread_order)
    return made


def create_array(
    group: h5py.Group,
    array: ArrayWithAxes,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    how: HowStored = HowStored(),
    fill: Any = None,
) -> h5py.Dataset:
    """Make an array without its values; places that are not written hold ``fill``.

    Raises
    ------
    ExportError
        If values are Python objects other than text.

    """
    made = _dataset(group, array.name, array, shape, dtype, how, fill)
    _mark(made, "LabeledArray")
    _describe(made, array)
    _set(made, unit=array.unit)
    return made


def create_series(
    group: h5py.Group,
    array: ArrayWithAxes,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    how: HowStored = HowStored(),
) -> h5py.Group:
    """Make a time series of an array without its values and timestamps."""
    made = create_group(group, ArrayGroup(array.name), "AxesTimeSeries")
    _describe(made, array)
    made.attrs["description"] = clean_text(array.title) or "no description"
    made.attrs["comments"] = "no comments"
    data = _dataset(made, "data", array, shape, dtype, how, None)
    data.attrs["unit"] = clean_text(array.unit) or _UNKNOWN
    data.attrs["conversion"] = np.float32(1.0)
    data.attrs["resolution"] = np.float32(-1.0)
    data.attrs["offset"] = np.float32(0.0)
    return made


def _dataset(
    group: h5py.Group,
    name: str,
    array: ArrayWithAxes,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    how: HowStored,
    fill: Any,
) -> h5py.Dataset:
    stored, added, value_type = encoded(np.dtype(dtype), f"{group.name}/{name}")
    shape = (*shape, *added)
    options = how.options(shape, stored.itemsize, grows=array.grows)
    made = group.create_dataset(name, shape, stored, fillvalue=fill, **options)
    _set(made, value_type=value_type)
    return made


def _mark(made: h5py.Group | h5py.Dataset, kind: str) -> None:
    made.attrs["namespace"] = NAMESPACE
    made.attrs["neurodata_type"] = kind
    made.attrs["object_id"] = str(uuid.uuid4())


def _describe(made: h5py.Group | h5py.Dataset, array: ArrayWithAxes) -> None:
    _set(made, label=array.label, title=array.title, role=array.role, source=array.source)
    _set(made, distribution=array.distribution, origin=array.origin)
    _set(made, extra_attributes=json_text(array.extra))
    if array.nav_indexes:
        made.attrs["nav_indexes"] = np.asarray(array.nav_indexes, np.int32)
    if array.timestamp is not None:
        made.attrs["timestamp"] = np.float64(array.timestamp)


def _set(made: h5py.Group | h5py.Dataset, **texts: str | None) -> None:
    """Set the texts that are not empty."""
    for name, text in texts.items():
        if clean := clean_text(text):
            made.attrs.create(name, clean, dtype=h5py.string_dtype())


def clean_text(text: str | None) -> str | None:
    """Give a text as HDF5 can hold it, None for none: it ends at a NUL, without lone surrogates."""
    return text.replace("\0", "").encode(errors="replace").decode() if text else None


def json_text(extra: Mapping[str, Any]) -> str | None:
    """Give what no field holds as JSON, None for nothing."""
    return json.dumps(dict(extra)) if extra else None


def unlike(names: Iterable[str], wanted: str) -> str:
    """Give a name that NWB allows and is not among ``names``, as near to the ``wanted`` as can be.

    Example
    -------
    >>> unlike(["a_b"], "a:b")
    'a_b_2'

    """
    allowed = wanted.replace(":", "_").replace("/", "_").replace("\0", "").strip(".") or "unnamed"
    return free_name(allowed, set(names))


# Write what instruments gave into an NWB file, a block at a time.

_MOST_DIMENSIONS = 4
"""A time series has no more."""


def write_exports(
    file: h5py.File,
    exports: tuple[ArrayGroup, ...],
    how: HowStored = HowStored(),
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write groups of instruments into the acquisition of a file.

    Raises
    ------
    SourceError
        If a source cannot be read.
    ExportError
        If values are Python objects other than text.

    """
    place = file.require_group("acquisition")
    writer = _Writer(reference_time(file), how, progress or (lambda _: None))
    for export in exports:
        writer.write(place, replace(export, name=unlike(place, export.name)))


def bytes_of(exports: tuple[ArrayGroup, ...]) -> int:
    """Size of the values of all arrays and axes."""
    groups = [group for export in exports for _, group in export.walk()]
    arrays = sum(size_in_bytes(array.values) for group in groups for array in group.arrays)
    return arrays + sum(size_in_bytes(axis.values) for group in groups for axis in group.axes)


def reference_time(file: h5py.File) -> float:
    """When the time of a file is 0, in seconds since 1970-01-01 in UTC."""
    text = file["timestamps_reference_time"].asstr()[()]
    return datetime.fromisoformat(text).timestamp()


def can_be_series(array: ArrayWithAxes, nav: tuple[ArrayAxis, ...]) -> ArrayAxis | None:
    """Give the axis of the times of an array, if its one navigation axis is of times in seconds."""
    along = [axis for axis in nav if axis.index == 0]
    rank, kind = len(array.values.shape), array.values.dtype.kind
    if not array.grows or len(along) != 1 or not 1 <= rank <= _MOST_DIMENSIONS or kind not in "iuf":
        return None
    (time,) = along
    named = time.label.casefold() == "time" and time.unit == "s"
    return time if named and time.values.shape == array.values.shape[:1] else None


class _Writer:
    """Writes groups; ``reference`` is when the time of the file is 0."""

    def __init__(self, reference: float, how: HowStored, progress: Callable[[int], object]) -> None:
        self._reference, self._how, self._progress = reference, how, progress
        self._timestamps: dict[int, h5py.Dataset] = {}

    def write(
        self, parent: h5py.Group, group: ArrayGroup, nav: tuple[ArrayAxis, ...] | None = None
    ) -> None:
        """Write a group; ``nav`` are the navigation axes, None for one that is in no other."""
        top = nav is None
        below = [found for found in group.groups if is_nav_group(found.name)]
        nav = below[0].axes if below else nav or ()
        times = {array.name: can_be_series(array, nav) for array in group.arrays}
        simple = not (top or group.groups or any(times.values()))
        made = create_group(parent, group, "DataWithAxes" if simple else "DataToExport")
        for axis in group.axes:
            axis = replace(axis, name=unlike(made, axis.name))  # noqa: PLW2901
            dataset = create_axis(made, axis, tuple(axis.values.shape), axis.values.dtype)
            self._fill(dataset, axis.values)
        for array in group.arrays:
            named = replace(array, name=unlike(made, array.name))
            self._array(made, named, times[array.name])
        for child in group.groups:
            self.write(made, replace(child, name=unlike(made, child.name)), nav)

    def _array(self, group: h5py.Group, array: ArrayWithAxes, time: ArrayAxis | None) -> None:
        shape, dtype = tuple(array.values.shape), array.values.dtype
        if time is None:
            self._fill(create_array(group, array, shape, dtype, self._how), array.values)
            return
        series = create_series(group, array, shape, dtype, self._how)
        self._fill(series["data"], array.values)
        known = self._timestamps.get(id(time))
        if known is not None:
            series["timestamps"] = h5py.SoftLink(known.name)
            return
        seconds = np.asarray(time.values[()], np.float64) - self._reference
        made = series.create_dataset("timestamps", data=seconds, maxshape=(None,), chunks=True)
        made.attrs["interval"] = np.int32(1)
        made.attrs["unit"] = "seconds"
        self._timestamps[id(time)] = made

    def _fill(self, dataset: h5py.Dataset, values: LazyArray) -> None:
        stored, added, _ = encoded(values.dtype, dataset.name)
        for block in _blocks(tuple(values.shape), values.dtype.itemsize):
            try:
                found = np.asarray(values[block])
            except (OSError, RuntimeError) as error:
                msg = f"cannot read the values of {dataset.name}: {error}"
                raise SourceError(msg) from error
            dataset[block] = as_stored(found, stored, added)
            self._progress(found.nbytes)


def _blocks(shape: tuple[int, ...], itemsize: int) -> Iterator[tuple[slice | int, ...]]:
    """Cut an array into blocks of bounded size: rows, and parts of a row that is too large."""
    if not shape or 0 in shape:
        if not shape:
            yield ()
        return
    row = int(np.prod(shape[1:], dtype=np.int64)) * itemsize
    if row > BLOCK_BYTES and len(shape) > 1:
        for index in range(shape[0]):
            for rest in _blocks(shape[1:], itemsize):
                yield (slice(index, index + 1), *rest)
        return
    step = max(1, BLOCK_BYTES // max(1, row))
    for start in range(0, shape[0], step):
        yield (slice(start, min(start + step, shape[0])), *(slice(None) for _ in shape[1:]))


# What instruments gave as objects of pynwb, for files that others write.

Place = Callable[[LazyArray], Any]
"""Gives what stands for the values of an array until they are written, or the values."""


def add_exports(nwbfile: NWBFile, exports: Sequence[ArrayGroup], place: Place) -> None:
    """Add groups and all below them to the acquisition, as ``exports_writing`` writes them.

    Raises
    ------
    ExportError
        If values are Python objects other than text.

    """
    maker = _Maker(nwbfile.timestamps_reference_time.timestamp(), place)
    for export in exports:
        name = unlike(nwbfile.acquisition, export.name)
        nwbfile.add_acquisition(maker.group(export, name))


@dataclass(frozen=True)
class _Stored:
    """Values of a type that NWB does not have, as the numbers that they are stored as."""

    array: LazyArray
    dtype: np.dtype[Any]
    added: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension, the added one last."""
        return (*self.array.shape, *self.added)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read the slices ``key``, or all."""
        key = key if isinstance(key, tuple) else (key,)
        rank = len(self.array.shape)
        values = np.asarray(self.array[key[:rank]], self.array.dtype)
        return as_stored(values, self.dtype, self.added)[(..., *key[rank:])]


class _Maker:
    """Makes groups; ``reference`` is when the time of the file is 0, in seconds since 1970."""

    def __init__(self, reference: float, place: Place) -> None:
        self._reference, self._place = reference, place
        self._first: dict[int, AxesTimeSeries] = {}

    def group(self, group: ArrayGroup, name: str, nav: tuple[ArrayAxis, ...] | None = None) -> Any:
        """Make a group; ``nav`` are the navigation axes, None for one that is in no other."""
        top = nav is None
        below = [found for found in group.groups if is_nav_group(found.name)]
        nav = below[0].axes if below else nav or ()
        times = [can_be_series(array, nav) for array in group.arrays]
        taken: list[str] = []
        axes = [_axis(axis, _named(axis.name, taken)) for axis in group.axes]
        arrays, inside = [], []
        for array, time in zip(group.arrays, times, strict=True):
            named = _named(array.name, taken)
            if time is None:
                arrays.append(self._array(array, named))
            else:
                inside.append(self._series(array, named, time))
        inside += [self.group(child, _named(child.name, taken), nav) for child in group.groups]
        facts = {
            "name": name,
            "title": clean_text(group.title),
            "group_type": clean_text(group.kind),
            "settings": clean_text(group.settings),
            "extra_attributes": json_text(group.extra),
            "labeled_arrays": arrays,
            "axis": axes,
        }
        if top or group.groups or any(times):
            return DataToExport(nwb_data_interfaces=inside, **facts)
        return DataWithAxes(**facts)

    def _array(self, array: ArrayWithAxes, name: str) -> Any:
        stored, added, value_type = encoded(array.values.dtype, name)
        values: Any = array.values
        if values.dtype.kind == "O":
            values = np.asarray(values[()], object)
        else:
            values = self._place(_Stored(values, stored, added) if added else values)
        unit = clean_text(array.unit)
        facts = _facts(array)
        return LabeledArray(name=name, data=values, unit=unit, value_type=value_type, **facts)

    def _series(self, array: ArrayWithAxes, name: str, time: ArrayAxis) -> Any:
        shared = self._first.get(id(time))
        made = AxesTimeSeries(
            name=name,
            data=self._place(array.values),
            unit=array.unit or "unknown",
            description=clean_text(array.title) or "no description",
            timestamps=shared or read_all(time.values).astype(np.float64) - self._reference,
            **_facts(array),
        )
        self._first.setdefault(id(time), made)
        return made


def _named(name: str, taken: list[str]) -> str:
    taken.append(unlike(taken, name))
    return taken[-1]


def _axis(axis: ArrayAxis, name: str) -> Any:
    return Axis(
        name=name,
        data=read_all(axis.values),
        description=clean_text(axis.label) or "An independent variable",
        label=clean_text(axis.label),
        unit=clean_text(axis.unit),
        index=axis.index,
        spread_order=axis.spread_order,
    )


def _facts(array: ArrayWithAxes) -> dict[str, Any]:
    texts = {
        key: clean_text(getattr(array, key))
        for key in ("label", "title", "role", "source", "distribution", "origin")
    }
    nav = np.asarray(array.nav_indexes, np.int32) if array.nav_indexes else None
    extra = json_text(array.extra)
    return {**texts, "nav_indexes": nav, "timestamp": array.timestamp, "extra_attributes": extra}
