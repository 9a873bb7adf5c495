"""Write HDF5 files from dictionaries, and compare two files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

SESSION = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}
"""Metadata with a start of the session, without which a conversion issues a warning."""

SORTING = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": 2}, basetype=np.uint8)

_REPORT_POINTERS = {"bbp": "index_pointers", "allen": "index_pointer"}


@dataclass
class File:
    """The contents of an HDF5 file by path; ``storage`` are creation options of datasets."""

    datasets: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    storage: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)

    def write(self, path: Path) -> Path:
        """Write the file and return its path."""
        with h5py.File(path, "w") as file:
            for name in self.groups:
                file.require_group(name)
            for name, values in self.datasets.items():
                file.create_dataset(name, data=values, **self.storage.get(name, {}))
            for name, attributes in self.attributes.items():
                for key, value in attributes.items():
                    _set_attribute(file[name or "/"], key, value)
        return path

    def __or__(self, other: "File") -> "File":
        """Return a file with the contents of both."""
        return File(
            self.datasets | other.datasets,
            self.attributes | other.attributes,
            self.storage | other.storage,
            self.groups + other.groups,
        )


def report(
    cells: Any = (4, 1),
    counts: Any = (2, 1),
    *,
    rows: int = 3,
    dialect: str = "bbp",
    population: str = "pop",
    root: str = "report",
    unit: Any = "mV",
    time: Any = (0.0, 0.3, 0.1),
    time_unit: Any = "ms",
    data: Any = None,
    **mapping: Any,
) -> File:
    """Return a small report; ``mapping`` adds or replaces datasets, None removes one."""
    columns = int(np.sum(counts))
    values = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    parts = {
        "node_ids": np.asarray(cells, np.uint64),
        _REPORT_POINTERS[dialect]: np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64),
        "element_ids": np.concatenate([np.arange(n) for n in [0, *counts]]).astype(np.uint32),
        "time": None if time is None else np.asarray(time, np.float64),
        **mapping,
    }
    where = f"{root}/{population}"
    datasets = {f"{where}/data": values if data is None else data}
    datasets |= {f"{where}/mapping/{k}": v for k, v in parts.items() if v is not None}
    attributes: dict[str, dict[str, Any]] = {f"{where}/data": {"units": unit}}
    if parts["time"] is not None:
        attributes[f"{where}/mapping/time"] = {"units": time_unit}
    return File(datasets, attributes)


def spikes(
    ids: Any = (3, 1, 3),
    times: Any = (0.5, 1.5, 2.25),
    *,
    population: str | None = "pop",
    sorting: Any = "by_time",
    unit: Any = "ms",
) -> File:
    """Return a small file of spikes; without ``population``, in the layout before 2019."""
    where = f"spikes/{population}" if population else "spikes"
    names = f"{where}/{'node_ids' if population else 'gids'}", f"{where}/timestamps"
    datasets = {names[0]: np.asarray(ids, np.uint64), names[1]: np.asarray(times, np.float64)}
    return File(datasets, {where: {"sorting": sorting}, names[1]: {"units": unit}})


def ecp(
    data: Any, *, channels: Any = (0, 1), time: Any = (0.0, 0.3, 0.1), unit: Any = "mV"
) -> File:
    """Return a file of extracellular potentials."""
    datasets = {
        "ecp/data": data,
        "ecp/channel_id": np.asarray(channels),
        "ecp/time": np.asarray(time, np.float64),
    }
    return File(datasets, {"ecp/data": {"units": unit}, "ecp/time": {"units": "ms"}})


def changed(path: Path, **datasets: Any) -> Path:
    """Replace datasets of a file, with ``__`` for ``/`` in their names; None removes one."""
    with h5py.File(path, "r+") as file:
        for key, values in datasets.items():
            name = key.replace("__", "/")
            attributes = dict(file[name].attrs) if name in file else {}
            if name in file:
                del file[name]
            if values is not None:
                file[name] = values
                file[name].attrs.update(attributes)
    return path


def differences(first: Path, second: Path, *, values_only: bool = False) -> list[str]:
    """Return the differences of two files in objects, shapes, types, values and attributes.

    With ``values_only`` types and attributes may differ too.
    """
    with h5py.File(first) as one, h5py.File(second) as other:
        return list(_differences(_objects(one), _objects(other), values_only=values_only))


def _differences(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], *, values_only: bool
) -> Iterator[str]:
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in theirs or name not in ours:
            yield f"{name} only in the {'first' if name in ours else 'second'}"
            continue
        a, b = ours[name], theirs[name]
        if isinstance(a, h5py.Dataset) and isinstance(b, h5py.Dataset):
            yield from _differing_values(name, a, b, values_only=values_only)
        elif type(a) is not type(b):
            yield f"{name} is {type(a).__name__} and {type(b).__name__}"
        if not values_only:
            yield from _differing_attributes(name, a, b)


def _differing_values(
    name: str, a: h5py.Dataset, b: h5py.Dataset, *, values_only: bool
) -> Iterator[str]:
    if a.shape != b.shape:
        yield f"{name} has shape {a.shape} and {b.shape}"
    elif a.dtype != b.dtype and not values_only:
        yield f"{name} has type {a.dtype} and {b.dtype}"
    elif not _same(*((_wrapped(a[()]), _wrapped(b[()])) if values_only else (a[()], b[()]))):
        yield f"{name} has the values {a[()]!r} and {b[()]!r}"


def _differing_attributes(name: str, a: Any, b: Any) -> Iterator[str]:
    for key in sorted(a.attrs.keys() | b.attrs.keys()):
        if key not in a.attrs or key not in b.attrs:
            yield f"{name}@{key} only in the {'first' if key in a.attrs else 'second'}"
            continue
        found = _attribute(a, key), _attribute(b, key)
        if found[0][0] != found[1][0] or not _same(found[0][1], found[1][1]):
            yield f"{name}@{key} is {found[0]} and {found[1]}"


def _attribute(node: Any, key: str) -> tuple[Any, Any]:
    """Return type and value of an attribute; all text types of HDF5 are equal."""
    value = np.asarray(node.attrs[key])
    if value.dtype.kind in "OSU":
        texts = [item.decode() if isinstance(item, bytes) else item for item in value.ravel()]
        return "text", np.asarray(texts, dtype=object)
    return (value.dtype, h5py.check_enum_dtype(node.attrs.get_id(key).dtype)), value


def _same(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind == "f" and a.dtype == b.dtype:
        return bool(a.shape == b.shape and (a.tobytes() == b.tobytes()))
    if a.dtype.kind == "f" and b.dtype.kind in "fiu":
        return np.array_equal(a, b, equal_nan=b.dtype.kind == "f")
    return np.array_equal(a, b)


def _wrapped(values: Any) -> Any:
    """Return integers as uint64, in which -1 equals 2**64 - 1."""
    return values.astype(np.uint64) if values.dtype.kind in "iu" else values


def _objects(file: h5py.File) -> dict[str, Any]:
    found = {"/": file["/"]}
    file.visititems(lambda name, node: found.update({name: node}))
    return found


def _set_attribute(node: Any, key: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, tuple):
        number, dtype = value
        node.attrs.create(key, number, dtype=dtype)
    else:
        node.attrs[key] = value
