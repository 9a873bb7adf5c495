"""Read and write the objects, ids and attributes of SONATA's HDF5 files."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError, SourceError, source_errors
from ndx_simulation_output.recording import LazyArray
from ndx_simulation_output.recording.ids import ids_of_source
from ndx_simulation_output.recording.sorting import row_blocks
from ndx_simulation_output.storage.reading import wrap_array

_PLAIN_TEXT = {"text": "utf-8", "length": None}


def location(node: h5py.Group | h5py.Dataset) -> str:
    """Return the path of an object and the name of its file, for messages."""
    file = Path(node.file.filename).name
    return file if node.name == "/" else f"{node.name.strip('/')} of {file}"


def base_name(group: h5py.Group) -> str:
    """Return the last part of the path of a group."""
    return str(group.name.rsplit("/", 1)[-1])


def child(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Open an object in a group; raise SourceError for a broken link."""
    with source_errors(lambda: f"{name} in {location(group)} cannot be opened"):
        return group[name]


def child_group(parent: h5py.Group, name: str) -> h5py.Group:
    """Open a group in a group."""
    found = child(parent, name) if name in parent else None
    if not isinstance(found, h5py.Group):
        kind = "no" if found is None else "a dataset, expected a group,"
        msg = f"{location(parent)} has {kind} {name}; found: {', '.join(parent) or 'nothing'}"
        raise SourceError(msg)
    return found


def groups_in(parent: h5py.Group, notes: list[str]) -> list[h5py.Group]:
    """Return the groups in ``parent`` that are not empty; add a note on each other object."""
    groups = []
    for node in [child(parent, name) for name in parent]:
        if not isinstance(node, h5py.Group):
            notes.append(f"{location(node)} is a dataset; expected a group; it was left out")
        elif not len(node):
            notes.append(f"{location(node)} is an empty group and was left out")
        else:
            groups.append(node)
    return groups


def note_unknown(group: h5py.Group, known: Iterable[str], notes: list[str]) -> None:
    """Add a note on each object of a group that is not ``known``."""
    unknown = sorted(set(group) - set(known))
    notes += [f"{name} in {location(group)} is not known and was left out" for name in unknown]


def first_dataset(group: h5py.Group, *names: str) -> h5py.Dataset:
    """Open the first of the datasets ``names`` that exists in ``group``."""
    name = next((name for name in names if name in group), None)
    found = child(group, name) if name is not None else None
    if not isinstance(found, h5py.Dataset) or found.shape is None:
        others = ", ".join(group) or "nothing"
        msg = f"{location(group)} has no dataset {' or '.join(names)} with values; found: {others}"
        raise SourceError(msg)
    return found


def read_vector(dataset: h5py.Dataset) -> NDArray[Any]:
    """Read a one-dimensional dataset in native byte order, with text as str."""
    _check_vector(dataset)
    with source_errors(lambda: f"{location(dataset)} cannot be read"):
        values = dataset[:]
        if h5py.check_string_dtype(dataset.dtype):
            return np.asarray([value.decode() for value in values], dtype=object)
    return np.asarray(values, values.dtype.newbyteorder("="))


def _check_vector(dataset: h5py.Dataset) -> None:
    if dataset.ndim != 1:
        msg = f"{location(dataset)} has shape {dataset.shape}; expected one dimension"
        raise ShapeMismatchError(msg)


def lazy_numbers(dataset: h5py.Dataset) -> LazyArray:
    """Return a one-dimensional dataset of integers or floating-point numbers, not yet read."""
    _check_vector(dataset)
    if dataset.dtype.kind not in "iuf":
        msg = f"{location(dataset)} has type {dataset.dtype}; expected numbers"
        raise SourceError(msg)
    return wrap_array(dataset)


def read_numbers(dataset: h5py.Dataset) -> NDArray[Any]:
    """Read a one-dimensional dataset of integers or floating-point numbers."""
    lazy_numbers(dataset)
    return read_vector(dataset)


def read_ids(dataset: h5py.Dataset, *, lowest: int = 0, missing: bool = False) -> NDArray[np.int64]:
    """Read integer ids of any type as int64.

    ``missing`` ids, unsigned 2**64 - 1, become -1.
    """
    return ids_in(read_numbers(dataset), location(dataset), lowest=lowest, missing=missing)


def ids_in(
    values: NDArray[Any], where: str, *, lowest: int = 0, missing: bool = False
) -> NDArray[np.int64]:
    """Return the values of a dataset as ids."""
    if missing and values.dtype == np.uint64:
        is_missing = values == np.iinfo(np.uint64).max
        ids = ids_of_source(np.where(is_missing, 0, values), where)
        return np.where(is_missing, -1, ids)
    return ids_of_source(values, where, lowest=lowest)


def write_ids(group: h5py.Group, name: str, values: LazyArray, dtype: str) -> h5py.Dataset:
    """Write ids as ``dtype``, or as uint64 if ``dtype`` cannot represent them, in blocks."""
    stored = type_of_ids(values, dtype)
    return write_vector(
        group, name, values, stored, lambda ids: ids.astype(np.int64).astype(stored)
    )


def write_vector(
    group: h5py.Group,
    name: str,
    values: LazyArray,
    dtype: Any,
    convert: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray,
) -> h5py.Dataset:
    """Write values, shape (row, …), in blocks of rows."""
    dataset = group.create_dataset(name, tuple(values.shape), dtype)
    for block in row_blocks(values.shape[0]):
        dataset[block] = convert(np.asarray(values[block]))
    return dataset


def type_of_ids(values: LazyArray, dtype: str) -> np.dtype[Any]:
    """Return ``dtype``, or uint64 if it cannot represent some ids."""
    stored = np.dtype(dtype)
    # An id of -1 was read from unsigned 2**64 - 1 and is cast back.
    if stored.kind in "iu" and stored != np.uint64:
        limits = np.iinfo(stored)
        for block in row_blocks(values.shape[0]):
            ids = np.asarray(values[block])
            if ids.min() < limits.min or ids.max() > limits.max:
                return np.dtype(np.uint64)
    return stored


def attribute_text(node: h5py.Group | h5py.Dataset, *names: str) -> str | None:
    """Return the first of the attributes ``names`` that is text, of any HDF5 string type."""
    for name in names:
        if name in node.attrs and not isinstance(node.attrs[name], h5py.Empty):
            value = np.asarray(node.attrs[name]).ravel()
            if value.size == 1 and value.dtype.kind in "OSU":
                text = value[0]
                return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return None


def describe_group(group: h5py.Group) -> dict[str, Any]:
    """Return the provenance of a group: dtypes and attributes of its objects, by relative path.

    ``.`` is the group itself, ``..`` its parent, unless that is the root of the file.
    """
    nodes = {".": group}
    if group.parent.name != "/" and group.name != "/":
        nodes[".."] = group.parent
    group.visititems(nodes.__setitem__)
    attributes = {path: attributes_to_json(node) for path, node in nodes.items()}
    return {
        "format": "SONATA",
        "file": Path(group.file.filename).name,
        "dtypes": {path: node.dtype.str for path, node in nodes.items() if hasattr(node, "dtype")},
        "attributes": {path: found for path, found in attributes.items() if found},
        "file_attributes": attributes_to_json(group.file),
    }


def sonata_provenance(provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the provenance of a recording from SONATA, or an empty mapping for others."""
    return provenance if provenance.get("format") == "SONATA" else {}


def attributes_to_json(node: h5py.Group | h5py.Dataset, *, kinds: bool = False) -> dict[str, Any]:
    """Return attributes as JSON values; numbers keep their dtype, and text with ``kinds`` too."""
    encoded: dict[str, Any] = {}
    for name in node.attrs:
        if isinstance(node.attrs[name], h5py.Empty):
            continue
        text, value = attribute_text(node, name), np.asarray(node.attrs[name])
        kind = dtype_to_json(node.attrs.get_id(name).dtype) if kinds else None
        if (
            text is not None
            and (kind == _PLAIN_TEXT or kind is None)
            and not (kinds and value.ndim)
        ):
            encoded[name] = text
        elif value.dtype.kind in "OSU":
            texts = value.astype(str) if value.dtype.kind == "S" else value
            encoded[name] = {"text": texts.tolist(), **({"dtype": kind} if kinds else {})}
        elif value.dtype.kind in "biuf":
            enum = h5py.check_enum_dtype(node.attrs.get_id(name).dtype)
            encoded[name] = {"dtype": value.dtype.str, "value": value.tolist()}
            if enum:
                encoded[name]["enum"] = {label: int(code) for label, code in enum.items()}
    return encoded


def attributes_from_json(node: h5py.Group | h5py.Dataset, encoded: Mapping[str, Any]) -> None:
    """Write attributes from ``describe_group`` without replacing existing ones."""
    for name, value in encoded.items():
        if name in node.attrs:
            continue
        if isinstance(value, str):
            node.attrs[name] = value
        elif "text" in value:
            dtype = dtype_from_json(value.get("dtype", _PLAIN_TEXT))
            node.attrs.create(name, stored_values(value["text"], dtype), dtype=dtype)
        else:
            dtype = np.dtype(value["dtype"])
            if "enum" in value:
                dtype = h5py.enum_dtype(value["enum"], basetype=dtype)
            node.attrs.create(name, value["value"], dtype=dtype)


def dtype_to_json(dtype: np.dtype[Any]) -> Any:
    """Return a dtype as JSON, with the length (None if variable) and encoding of text."""
    if (text := h5py.check_string_dtype(dtype)) is not None:
        return {"text": text.encoding, "length": text.length}
    if (names := h5py.check_enum_dtype(dtype)) is not None:
        base = np.dtype(dtype.str).str
        return {"enum": {name: int(code) for name, code in names.items()}, "dtype": base}
    return dtype.str


def dtype_from_json(value: Any) -> np.dtype[Any]:
    """Return the dtype that ``dtype_to_json`` describes."""
    if isinstance(value, str):
        return np.dtype(value)
    if "enum" in value:
        found: np.dtype[Any] = h5py.enum_dtype(value["enum"], basetype=np.dtype(value["dtype"]))
        return found
    text: np.dtype[Any] = h5py.string_dtype(value["text"], value["length"])
    return text


def stored_values(values: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values as ``dtype`` of a file; missing text and 0 become empty text."""
    text = h5py.check_string_dtype(dtype)
    if text is None:
        with np.errstate(invalid="ignore"):
            return np.asarray(values).astype(np.dtype(dtype.str), copy=False)
    array = np.asarray(values, object)
    encoded = [
        value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value or b""
        for value in array.ravel()
    ]
    stored = np.array([*encoded, None], object)[:-1].reshape(array.shape)
    # The type of fixed-length text has its encoding as metadata, without which HDF5 refuses it.
    return stored if text.length is None else stored.astype(f"S{text.length}").astype(dtype)
