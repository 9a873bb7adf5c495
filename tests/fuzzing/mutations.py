"""Ways to damage a file: its bytes, the objects of HDF5, and values of JSON, YAML and pickles."""

import gzip
import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
from ruamel.yaml import YAML
from scipy.io import loadmat, savemat

__all__ = ["SECRET", "mutate", "overwrite", "refer_elsewhere"]

SECRET = b"nobody else may read this"
"""The content of the file elsewhere to which ``refer_elsewhere`` refers."""

_SIGNATURES = re.compile(
    rb"\x89HDF|OHDR|OCHK|TREE|SNOD|HEAP|GCOL|FRHP|FHDB|FHIB|BTHD|BTLF|FADB|EAHD|FAHD|"
    rb"PK\x01\x02|PK\x03\x04|\x93NUMPY|\x1f\x8b"
)
"""Where HDF5, zip, numpy and gzip keep their structure, in which damage has more consequences."""

_TEXTS = (".csv", ".txt", ".dat", ".swc")
_NEAR = 400
_BAD_TEXTS = ["", "\0", "a\0b", "../../x", "/", ".", "ä" * 300, "x" * 70_000, "nan", "1e999"]
_BAD_TEXTS += ["\udcff"]
_BAD_NUMBERS = [0, -1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**400, 1e308, 5e-324, np.nan, np.inf]
_DTYPES: list[Any] = [
    "i1", "u8", "f2", ">f4", "f8", "c16", "?", "S5", "V4",
    h5py.string_dtype(), h5py.ref_dtype, h5py.regionref_dtype, h5py.vlen_dtype("i4"),
    h5py.enum_dtype({"a": 0, "b": 1}), [("a", "i4"), ("b", "f8")],
]  # fmt: skip


def mutate(path: Path, random: Random) -> str:
    """Damage a file, and return how."""
    structural = _STRUCTURAL.get(_kind_of(path))
    if structural is not None and random.random() < 0.6:
        with suppress(RuntimeError):  # It may be damaged already.
            return structural(path, random)
    return mutate_bytes(path, random)


def _kind_of(path: Path) -> str:
    start = path.read_bytes()[:8]
    kinds = {b"\x89HDF": "hdf5", b"PK\x03\x04": "zip", b"MATL": "matlab"}
    if start[:4] in kinds:
        return kinds[start[:4]]
    if start[:2] == b"\x1f\x8b":
        return "gzip"
    if start[:1] == b"\x80":
        return "pickle"
    if start[:1] in (b"{", b"["):
        return "json"
    return "yaml" if path.suffix == ".yaml" else "text" if path.suffix in _TEXTS else ""


# Bytes


def mutate_bytes(path: Path, random: Random) -> str:
    """Damage the bytes of a file in one to four places."""
    data = bytearray(path.read_bytes())
    if not data:
        return "empty"
    marks = [found.start() for found in _SIGNATURES.finditer(data)]
    done = []
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        at = random.randrange(max(1, len(data)))
        if marks and random.random() < 0.75:
            at = min(len(data) - 1, random.choice(marks) + random.randrange(_NEAR))
        how = random.choice(list(_BYTES))
        _BYTES[how](data, at, random)
        done.append(f"{how} at {at}")
    path.write_bytes(data)
    return "; ".join(done)


def _flip(data: bytearray, at: int, random: Random) -> None:
    if data:
        data[min(at, len(data) - 1)] ^= 1 << random.randrange(8)


def _byte(data: bytearray, at: int, random: Random) -> None:
    if data:
        values = [0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)]
        data[min(at, len(data) - 1)] = random.choice(values)


def _block(data: bytearray, at: int, random: Random) -> None:
    length = random.choice([2, 4, 8, 64, 512])
    fill = random.choice([b"\0", b"\xff"])
    block = fill * length if random.random() < 0.6 else random.randbytes(length)
    data[at : at + length] = block[: len(data) - at]


def _cut(data: bytearray, at: int, random: Random) -> None:
    del data[at if random.random() < 0.5 else max(0, len(data) - random.choice([1, 8, 100])) :]


def _insert(data: bytearray, at: int, random: Random) -> None:
    data[at:at] = random.randbytes(random.choice([1, 4, 8, 100]))


def _duplicate(data: bytearray, at: int, random: Random) -> None:
    data[at:at] = data[at : at + random.choice([1, 8, 512])]


def _remove(data: bytearray, at: int, random: Random) -> None:
    del data[at : at + random.choice([1, 4, 8, 512])]


_BYTES: dict[str, Callable[[bytearray, int, Random], None]] = {
    "flip": _flip, "byte": _byte, "block": _block, "cut": _cut,
    "insert": _insert, "duplicate": _duplicate, "remove": _remove,
}  # fmt: skip


# HDF5


def _mutate_hdf5(path: Path, random: Random) -> str:
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        own = [name for name in names if not name.startswith("specifications")]
        name = random.choice(own if own and random.random() < 0.93 else names or ["/"])
        node = file[name]
        ways = _OF_DATASETS if isinstance(node, h5py.Dataset) else _OF_GROUPS
        how = random.choice(["attribute"] * (len(ways) // 3) + list(ways))
        if how == "attribute":
            return f"{_attribute(node, random)} of {name}"
        ways[how](file, name, random)
        return f"{how} {name}"


def _attribute(node: Any, random: Random) -> str:
    names = list(node.attrs)
    name = random.choice([*names, *names, "units", "neurodata_type"])
    hows = ["delete", "bytes", "text", "number", "null", "array", "reference", "other"]
    how = random.choice(hows)
    texts = [text for text in _BAD_TEXTS if "\0" not in text and text.isprintable()]
    values: dict[str, Any] = {
        "bytes": np.bytes_(b"\xff\xfe\x00\x80" * random.choice([1, 50])),
        "text": random.choice(texts),
        "number": random.choice([-1, 2**63 - 1, np.nan, np.inf, 0, 1e308]),
        "null": h5py.Empty(random.choice(["f8", "S3"])),
        "array": np.zeros(random.choice([(0,), (3,), (2, 2)]), random.choice(["i4", "f8", "S2"])),
        "reference": h5py.Reference(),
        "other": np.zeros((), random.choice(["?", "c16", "V3", [("a", "i4")]])),
    }
    if name in node.attrs:
        del node.attrs[name]
    if how == "reference":
        node.attrs.create(name, h5py.Reference(), dtype=h5py.ref_dtype)
    elif how != "delete":
        node.attrs[name] = values[how]
    return f"{how} as attribute {name}"


def _replace(file: h5py.File, name: str, values: Any, **storage: Any) -> None:
    attributes: dict[str, Any] = {}
    if name in file:
        attributes = {key: value for key, value in file[name].attrs.items() if not _is_null(value)}
        del file[name]
    made = file.create_dataset(name, data=values, **storage)
    for key, value in attributes.items():
        made.attrs[key] = value


def _is_null(value: Any) -> bool:
    return isinstance(value, h5py.Empty) or type(value) is h5py.Reference


def _delete(file: h5py.File, name: str, random: Random) -> None:
    del random, file[name]


def _rename(file: h5py.File, name: str, random: Random) -> None:
    parent = name.rpartition("/")[0]
    file.move(name, f"{parent}/{random.choice(['x', 'data', 'ä', 'a b', 'x' * 300, '%s', '<b>'])}")


def _to_group(file: h5py.File, name: str, random: Random) -> None:
    del random, file[name]
    file.create_group(name)


def _to_link(file: h5py.File, name: str, random: Random) -> None:
    del file[name]
    links = [h5py.SoftLink("/nowhere"), h5py.SoftLink(f"/{name}"), h5py.ExternalLink("no.h5", "/x")]
    links += [h5py.ExternalLink(file.filename, f"/{name}"), h5py.SoftLink("/")]
    file[name] = random.choice(links)


def _to_dataset(file: h5py.File, name: str, random: Random) -> None:
    del file[name]
    file[name] = random.choice([3.0, "text", np.zeros((2, 2)), h5py.Empty("f8")])


def _loop(file: h5py.File, name: str, random: Random) -> None:
    target = random.choice(["/", name, name.rpartition("/")[0] or "/"])
    file[f"{name}/again"] = file[target]


def _swap(file: h5py.File, name: str, random: Random) -> None:
    siblings = list(file[name].parent)
    other = random.choice(siblings)
    parent = name.rpartition("/")[0]
    if f"{parent}/{other}".strip("/") != name:
        del file[name]
        file[name] = file[f"{parent}/{other}"]


def _other_dtype(file: h5py.File, name: str, random: Random) -> None:
    dtype, shape = random.choice(_DTYPES), file[name].shape or ()
    special = h5py.check_dtype(vlen=np.dtype(dtype)) or h5py.check_dtype(ref=np.dtype(dtype))
    values = None
    if special is None and file[name].shape is not None:
        try:
            values = file[name][()].astype(dtype)
        except (TypeError, ValueError, AttributeError, OSError, RuntimeError):
            values = np.zeros(shape, dtype)
        _replace(file, name, values)
        return
    del file[name]
    file.create_dataset(name, shape, dtype)


def _other_shape(file: h5py.File, name: str, random: Random) -> None:
    node = file[name]
    if node.shape is None or h5py.check_dtype(ref=node.dtype):
        _null(file, name, random)
        return
    values = np.asarray(node[()])
    flat = values.ravel()
    others = [values[None], values[..., None], values.T, flat, flat[:0], flat[: len(flat) // 2]]
    if len(flat):
        others += [flat[0], np.concatenate([flat, flat[:1]]), flat[:-1], np.atleast_1d(values)[:-1]]
    _replace(file, name, random.choice(others), dtype=node.dtype)


def _null(file: h5py.File, name: str, random: Random) -> None:
    del random
    _replace(file, name, h5py.Empty("f8"))


def _values(file: h5py.File, name: str, random: Random) -> None:
    node = file[name]
    if node.shape is None or not node.size:
        return
    values = np.asarray(node[()])
    flat = values.reshape(-1)
    for _ in range(random.choice([1, 1, 3])):
        at = random.randrange(len(flat))
        if values.dtype.kind in "iu":
            limits = np.iinfo(values.dtype)
            flat[at] = random.choice([limits.min, limits.max, limits.max - 1, 0, 1, int(flat[0])])
        elif values.dtype.kind == "f":
            flat[at] = random.choice([np.nan, np.inf, -np.inf, -1.0, 1e30, 0.0])
        elif h5py.check_string_dtype(node.dtype) and values.dtype.kind == "O":
            flat[at] = random.choice([b"\xff\xfe", b"", b"x" * 1000, b"../x", b"{", b"[1e999]"])
        else:
            return
    shuffled = values.dtype.kind in "iuf" and random.random() < 0.2
    if shuffled:
        flat[:] = flat[::-1].copy()
    _replace(file, name, values, dtype=node.dtype)


def _declared(file: h5py.File, name: str, random: Random) -> None:
    node = file[name]
    dtype, ndim = node.dtype, max(1, node.ndim)
    shape = (random.choice([10**5, 10**9, 2**40]), *(node.shape or (1,))[1:])[:ndim]
    attributes = dict(node.attrs)
    del file[name]
    chunks = tuple(min(length, 8) or 1 for length in shape)
    made = file.create_dataset(name, shape, dtype, maxshape=(None,) * ndim, chunks=chunks)
    for key, value in attributes.items():
        if not _is_null(value):
            made.attrs[key] = value


def _chunk(file: h5py.File, name: str, random: Random) -> None:
    node = file[name]
    if node.shape is None or node.dtype.kind not in "iuf" or not node.size or not node.ndim:
        return
    values = node[()]
    _replace(file, name, values, chunks=True, compression="gzip", fletcher32=random.random() < 0.3)
    made = file[name]
    at = made.id.get_chunk_info(random.randrange(made.id.get_num_chunks())).chunk_offset
    _, stored = made.id.read_direct_chunk(at)
    place = random.randrange(len(stored))
    other = stored[:place] + b"\xff" + stored[place + 1 :]
    broken = random.choice([stored[:-1], stored[: len(stored) // 2], b"", stored + b"x", other])
    made.id.write_direct_chunk(at, broken or b"\0")


def _filter(file: h5py.File, name: str, random: Random) -> None:
    node = file[name]
    if node.shape is None or node.dtype.kind not in "iuf" or not node.size or not node.ndim:
        return
    values = np.ascontiguousarray(node[()])
    del file[name]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(values.shape)
    plist.set_filter(random.choice([32015, 305, 32004]), h5py.h5z.FLAG_OPTIONAL)
    space, kind = h5py.h5s.create_simple(values.shape), h5py.h5t.py_create(values.dtype)
    made = h5py.h5d.create(file.id, name.encode(), kind, space, plist)
    made.write_direct_chunk((0,) * values.ndim, values.tobytes())


_OF_DATASETS: dict[str, Callable[[h5py.File, str, Random], None]] = {
    "delete": _delete, "rename": _rename, "group for": _to_group, "link for": _to_link,
    "sibling for": _swap, "dtype of": _other_dtype, "shape of": _other_shape, "null": _null,
    "values of": _values, "more values of": _values, "declared size of": _declared,
    "chunk of": _chunk, "filter of": _filter,
}  # fmt: skip
_OF_GROUPS: dict[str, Callable[[h5py.File, str, Random], None]] = {
    "delete": _delete, "rename": _rename, "empty": _to_group, "link for": _to_link,
    "dataset for": _to_dataset, "loop in": _loop, "sibling for": _swap,
}  # fmt: skip


# Values of JSON, YAML and pickles


def _mutate_value(value: Any, random: Random, depth: int = 0, key: Any = "x") -> Any:
    """Return a value of which one part is another; ``key`` is where it is, for it to refer to."""
    is_deep = random.random() < 0.85 or not depth
    if isinstance(value, dict) and value and is_deep:
        key = random.choice(list(value))
        changed = dict(value)
        if random.random() < 0.15:
            changed[random.choice(["x", 3, "", "ä"])] = changed.pop(key)
        elif random.random() < 0.15:
            del changed[key]
        else:
            changed[key] = _mutate_value(value[key], random, depth + 1, key)
        return changed
    if isinstance(value, (list, tuple)) and value and is_deep:
        at = random.randrange(len(value))
        items = list(value)
        if random.random() < 0.2:
            del items[at]
        else:
            items[at] = _mutate_value(items[at], random, depth + 1, key)
        return type(value)(items)
    if isinstance(value, np.ndarray) and value.size and random.random() < 0.7:
        flat = value.ravel()
        others = [value[None], flat[:-1], flat[:0], value.astype("f2"), value.astype(object)]
        return random.choice([*others, value.astype("S3"), np.append(flat, flat[:1])])
    nested: Any = []
    for _ in range(random.choice([3, 200])):
        nested = [nested]
    others = [None, True, [], {}, nested, [value], {"a": value}, key, [key], [key, key], f"{key}/x"]
    return random.choice([*_BAD_TEXTS, *_BAD_NUMBERS, *others])


def _mutate_json(path: Path, random: Random) -> str:
    text = json.dumps(_mutate_value(json.loads(path.read_text(encoding="utf-8")), random))
    if random.random() < 0.05:
        text = "[" * 100_000 + text
    path.write_text(text, encoding="utf-8", errors="replace")
    return "a value"


def _mutate_yaml(path: Path, random: Random) -> str:
    text = io.StringIO()
    changed = _mutate_value(YAML(typ="safe").load(path.read_text(encoding="utf-8")), random)
    YAML(typ="safe", pure=True).dump(changed, text)
    path.write_text(text.getvalue(), encoding="utf-8", errors="replace")
    return "a value"


def _mutate_pickle(path: Path, random: Random) -> str:
    content = pickle.loads(path.read_bytes())  # noqa: S301 - written by this run
    path.write_bytes(pickle.dumps(_mutate_value(content, random)))
    return "a value"


def _mutate_zip(path: Path, random: Random) -> str:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = random.choice(list(members))
    values = np.load(io.BytesIO(members[name]), allow_pickle=True)
    made = io.BytesIO()
    if values.dtype == object and not values.shape:
        changed: Any = np.array(None, object)
        changed[()] = _mutate_value(values[()], random)
    else:
        changed = np.asarray(_mutate_value(values, random))
    np.save(made, changed, allow_pickle=True)
    members[name] = made.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return f"a value of {name}"


def _mutate_gzip(path: Path, random: Random) -> str:
    inside = path.with_name("inside.txt")
    inside.write_bytes(gzip.decompress(path.read_bytes()))
    how = mutate(inside, random)
    path.write_bytes(gzip.compress(inside.read_bytes()))
    inside.unlink()
    return f"{how} in gzip"


def _mutate_matlab(path: Path, random: Random) -> str:
    content = {name: value for name, value in loadmat(path).items() if name[0] != "_"}
    savemat(path, _mutate_value(content, random), do_compression=random.random() < 0.3)
    return "a value"


def _mutate_text(path: Path, random: Random) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    at = random.randrange(len(lines))
    words = re.split(r"([ ,\t])", lines[at])
    word = random.randrange(0, len(words), 2)
    words[word] = str(random.choice([*_BAD_TEXTS, *_BAD_NUMBERS, "abc", '"', "1;2", "0x10", "-0"]))
    lines[at] = "".join(words)
    if random.random() < 0.2:
        lines[at:at] = [random.choice(["", lines[0], lines[-1], "#", "1 2 3 4 5 6 7 8"])]
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    return f"a word of line {at}"


_STRUCTURAL: dict[str, Callable[[Path, Random], str]] = {
    "hdf5": _mutate_hdf5,
    "json": _mutate_json,
    "yaml": _mutate_yaml,
    "pickle": _mutate_pickle,
    "zip": _mutate_zip,
    "gzip": _mutate_gzip,
    "matlab": _mutate_matlab,
    "text": _mutate_text,
}


# What happens to a file while others use it, and what a hostile file refers to


def overwrite(path: Path, random: Random) -> str:
    """Change a file in place, or put another one in its place, as a program that writes it does."""
    data = path.read_bytes()
    how = random.choice(["cut", "shorter", "replace", "bytes"])
    size = random.randrange(len(data))
    if how == "cut":
        os.truncate(path, size)
    elif how == "shorter":
        path.write_bytes(data[:size])
    elif how == "replace":
        path.with_suffix(".new").write_bytes(data[:size])
        path.with_suffix(".new").replace(path)
    else:
        with path.open("r+b") as file:
            file.seek(size)
            file.write(random.randbytes(min(16, len(data) - size)))
    return f"{how} at {size}"


def refer_elsewhere(path: Path, random: Random) -> str:
    """Let a dataset or a group be in a file of another folder, or cost more than the file."""
    elsewhere = path.parent.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / "text").write_bytes(SECRET * 40)
    with h5py.File(elsewhere / "other.h5", "w") as other:
        other["secret"] = np.frombuffer(SECRET * 40, np.uint8).astype(np.float32)
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, node: names.append(name) if hasattr(node, "dtype") else None)
        name = random.choice(names)
        how = random.choice(["external link", "external storage", "virtual", "unstored", "links"])
        shape, dtype = file[name].shape, file[name].dtype
        attributes = dict(file[name].attrs)
        del file[name]
        if how == "external link":
            file[name] = h5py.ExternalLink(str(elsewhere / "other.h5"), "/secret")
        elif how == "external storage":
            size = int(np.prod(shape)) * dtype.itemsize
            stored = [(str(elsewhere / "text"), 0, size)]
            file.create_dataset(name, shape, dtype, external=stored)
        elif how == "virtual":
            layout = h5py.VirtualLayout((1000,), dtype)
            layout[:] = h5py.VirtualSource(elsewhere / "other.h5", "secret", (1000,))
            file.create_virtual_dataset(name, layout)
        elif how == "unstored":
            huge = (random.choice([2**31, 2**40]), *shape[1:])
            file.create_dataset(name, huge, dtype, chunks=tuple(min(8, part) for part in huge))
        else:
            for number in range(3000):
                file[f"{name.rpartition('/')[0] or '/'}/{number}"] = file["/"]
            return f"3000 links beside {name}"
        if how != "external link":
            file[name].attrs.update(attributes)
    return f"{how} for {name}"
