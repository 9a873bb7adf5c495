"""SONATA files of every shape that the format allows and producers write."""

from typing import Any

import h5py
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.sonata.making import SORTING, File

__all__ = ["ecp_files", "report_files", "spike_files"]

_ID_TYPES = ["|u1", "<u2", "<u4", "<u8", ">u4", "<i4", "<i8", "<f8"]
_DATA_TYPES = ["<f4", "<f8", ">f4", ">f8", "<f2", "<i2", ">i4", "|u1", "<u8"]
_UNITS = ["mV", "nA", "mM", "nS", "uS", "mA/cm2", "V", "dimensionless", "mR", ""]
_VARIABLES = ["v", "cai", "i_membrane", "hh.gna", "mebrane_potential"]
_NAMES = st.sampled_from(["pop", "cortex", "RingA", "L2/3".replace("/", "_"), "größe", "b c"])
_EXTRAS = ["seg_types", "swc_ids_beg", "src_ids", "label", "x", "weight", "section name"]


def report_files(dialect: str, *, entries_of_one: bool = True) -> st.SearchStrategy[File]:
    """Make files of compartment reports with one to three populations.

    Where a cell is listed more than once, each entry has one compartment, as BlueCelluLab writes
    it, unless ``entries_of_one`` is false.
    """
    return _report_files(dialect, entries_of_one)


@st.composite
def _report_files(draw: st.DrawFn, dialect: str, entries_of_one: bool) -> File:
    root = draw(st.sampled_from(["report", "report", "reports"]))
    names = draw(st.lists(_NAMES, min_size=1, max_size=3, unique=True))
    file = File()
    for name in names:
        file |= draw(_populations(f"{root}/{name}", dialect, entries_of_one))
    if dialect == "allen" and draw(st.booleans()):
        file.attributes[""] = {
            "magic": (0x0A7A, np.uint32),
            "version": (np.array([0, 1]), np.uint32),
        }
    return file


@st.composite
def _populations(draw: st.DrawFn, where: str, dialect: str, entries_of_one: bool) -> File:
    cells, counts = draw(_mappings(entries_of_one))
    columns = int(counts.sum())
    data = draw(_data(draw(st.integers(1, 5)), columns))
    time = draw(_triples(len(data)))
    pointers = np.concatenate([[0], np.cumsum(counts)])
    if draw(st.booleans()) and counts.all():
        pointers = pointers[:-1]
    parts: dict[str, Any] = {
        "node_ids": cells,
        "index_pointers" if dialect == "bbp" else "index_pointer": pointers.astype(np.uint64),
        "element_ids": draw(_element_ids(columns)),
        "time": time,
    }
    if dialect == "allen" or draw(st.booleans()):
        positions = draw(st.lists(_position(), min_size=columns, max_size=columns))
        parts["element_pos"] = np.asarray(positions, draw(st.sampled_from(["<f8", "<f4"])))
    repeated = len(np.unique(cells)) < len(cells)
    for name in draw(st.lists(st.sampled_from(_EXTRAS), max_size=2, unique=True)):
        length = columns if repeated or draw(st.booleans()) else len(cells)
        parts[name] = draw(_extras(name, length))
    attributes = {f"{where}/data": draw(_data_attributes())}
    attributes[f"{where}/mapping/time"] = draw(
        _unit_attribute(st.sampled_from(["ms", "s", "msec"]))
    )
    if draw(st.booleans()):
        attributes[f"{where}/mapping/node_ids"] = {"sorted": (1, np.uint8)}
    datasets = {f"{where}/data": data}
    datasets |= {f"{where}/mapping/{name}": values for name, values in parts.items()}
    return File(datasets, attributes, {f"{where}/data": draw(_storage(data.shape))})


@st.composite
def _mappings(draw: st.DrawFn, entries_of_one: bool) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Ids and numbers of compartments of the entries, at least one compartment in all."""
    dtype = np.dtype(draw(st.sampled_from(_ID_TYPES)))
    largest = 2**53 if dtype.kind == "f" else int(np.iinfo(dtype).max)
    ids = st.integers(0, min(largest, 2**62)) | st.integers(0, 9)
    unique = draw(st.lists(ids, min_size=1, max_size=4, unique=True))
    cells, counts = (
        unique,
        draw(st.lists(st.integers(0, 3), min_size=len(unique), max_size=len(unique)).filter(any)),
    )
    if draw(st.booleans()) and draw(st.booleans()):
        cells = draw(st.lists(st.sampled_from(unique), min_size=1, max_size=6))
        sizes = st.just(1) if entries_of_one else st.integers(0, 3)
        counts = draw(st.lists(sizes, min_size=len(cells), max_size=len(cells)).filter(any))
    return np.asarray(cells, dtype), np.asarray(counts, np.int64)


@st.composite
def _element_ids(draw: st.DrawFn, columns: int) -> NDArray[Any]:
    """Sections, synapses, electrodes; -1 as bmtk writes it on a point cell."""
    dtype = np.dtype(draw(st.sampled_from(_ID_TYPES)))
    small = st.integers(0, 200)
    if dtype.str in {"<u8", "<i8"}:
        missing = 2**64 - 1 if dtype.kind == "u" else -1
        small |= st.integers(2**31, 2**40) | st.just(missing)
    return np.asarray(draw(st.lists(small, min_size=columns, max_size=columns)), dtype)


def _position() -> st.SearchStrategy[float]:
    return st.sampled_from([0.0, 0.1, 0.5, 1.0, 1 / 3]) | st.just(float("nan"))


@st.composite
def _data(draw: st.DrawFn, rows: int, columns: int) -> NDArray[Any]:
    dtype = np.dtype(draw(st.sampled_from(_DATA_TYPES)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = random.normal(0, 60, (rows, columns)) if dtype.kind == "f" else None
    if values is None:
        return random.integers(0, 100, (rows, columns)).astype(dtype)
    if draw(st.booleans()):
        values[0, 0] = draw(st.sampled_from([np.nan, np.inf, -0.0]))
    return values.astype(dtype)


@st.composite
def _triples(draw: st.DrawFn, rows: int) -> NDArray[Any]:
    step = draw(st.sampled_from([0.1, 0.025, 0.05, 0.01, 1 / 3, 1.0]) | st.floats(1e-3, 10.0))
    start = draw(st.sampled_from([0.0, 10.0, 100.0, 1000.0, -5.0, 0.3]))
    more = draw(st.sampled_from([0, 0, 1, -1, 7]))
    dtype = draw(st.sampled_from(["<f8", "<f8", ">f8", "<f4"]))
    return np.asarray([start, start + (rows + more) * step, step], dtype)


@st.composite
def _extras(draw: st.DrawFn, name: str, length: int) -> Any:
    if name == "label" or (name == "section name" and draw(st.booleans())):
        texts = draw(
            st.lists(
                st.sampled_from(["soma", "dend", "", "äpex"]), min_size=length, max_size=length
            )
        )
        return np.asarray(texts, dtype=h5py.string_dtype())
    dtype = (
        "<f8" if name == "x" else draw(st.sampled_from(["<i4", "|u1", "<u8", "<f4", ">f8", ">i2"]))
    )
    return np.asarray(draw(st.lists(st.integers(0, 99), min_size=length, max_size=length)), dtype)


@st.composite
def _storage(draw: st.DrawFn, shape: tuple[int, ...]) -> dict[str, Any]:
    kind = draw(st.sampled_from(["contiguous", "chunked", "gzip"]))
    if kind == "contiguous" or not all(shape):
        return {}
    chunks = tuple(draw(st.integers(1, length)) for length in shape)
    return {"chunks": chunks} | ({"compression": "gzip", "shuffle": True} if kind == "gzip" else {})


@st.composite
def _unit_attribute(draw: st.DrawFn, units: st.SearchStrategy[str]) -> dict[str, Any]:
    """No unit, or one as text of variable length, as fixed-width bytes, as an array of one."""
    unit = draw(st.none() | units)
    if unit is None:
        return {}
    spelling = draw(st.sampled_from(["text", "bytes", "fixed", "array"]))
    if spelling == "text":
        return {"units": unit}
    if spelling == "bytes" or not unit:
        return {"units": np.bytes_(unit)}
    dtype = h5py.string_dtype("ascii", len(unit) + 2)
    return {"units": (unit, dtype) if spelling == "fixed" else (np.asarray([unit.encode()]), dtype)}


@st.composite
def _data_attributes(draw: st.DrawFn) -> dict[str, Any]:
    attributes = draw(_unit_attribute(st.sampled_from(_UNITS)))
    variable = draw(st.none() | st.sampled_from(_VARIABLES))
    if variable is not None:
        attributes[draw(st.sampled_from(["variable", "variable_name"]))] = variable
    return attributes


@st.composite
def spike_files(draw: st.DrawFn) -> File:
    """Make files of spikes: any order, ties, duplicates, none; with and without a population."""
    names: list[str | None] = [None]
    if draw(st.integers(0, 4)):
        names = list(draw(st.lists(_NAMES, min_size=1, max_size=3, unique=True)))
    file = File()
    for name in names:
        file |= draw(_spike_populations(name))
    return file


@st.composite
def _spike_populations(draw: st.DrawFn, name: str | None) -> File:
    id_type = np.dtype(draw(st.sampled_from(["|u1", "<u4", "<u8", "<i8"])))
    time_type = draw(st.sampled_from(["<f8", "<f8", "<f8", ">f8", "<f4", "<i8"]))
    largest = 255 if id_type.itemsize == 1 else 2**31
    known = draw(st.lists(st.integers(0, 5) | st.integers(0, largest), min_size=1, max_size=4))
    exact = st.integers(-40, 4000).map(lambda step: step * 0.025)
    times = exact | st.floats(1e-6, 1e7) | st.floats(-1000.0, -1e-6)
    pairs = draw(st.lists(st.tuples(st.sampled_from(known), times), max_size=12))
    if pairs:
        pairs += draw(st.lists(st.sampled_from(pairs), max_size=3))
    order = draw(st.sampled_from(["none", "by_id", "by_time"]))
    if order != "none":
        pairs.sort(key=lambda pair: pair[order == "by_time"])
    where = f"spikes/{name}" if name else "spikes"
    ids, timestamps = f"{where}/{'node_ids' if name else 'gids'}", f"{where}/timestamps"
    datasets = {
        ids: np.asarray([pair[0] for pair in pairs], id_type),
        timestamps: np.asarray([pair[1] for pair in pairs]).astype(time_type),
    }
    attributes = {
        where: draw(_sortings(old=name is None)),
        timestamps: draw(_unit_attribute(st.sampled_from(["ms", "s", "milliseconds"]))),
    }
    storage = {timestamps: {"compression": "gzip"} if draw(st.booleans()) and pairs else {}}
    return File(datasets, attributes, storage)


@st.composite
def _sortings(draw: st.DrawFn, *, old: bool) -> dict[str, Any]:
    words = ["by_gid", "time"] if old else ["none", "by_id", "by_time"]
    kind = draw(st.sampled_from(["absent", "text", "bytes"] if old else ["absent", "text", "enum"]))
    word = draw(st.sampled_from(words))
    if kind == "absent":
        return {}
    if kind == "enum":
        return {"sorting": (words.index(word), SORTING)}
    return {"sorting": word if kind == "text" else np.bytes_(word)}


@st.composite
def ecp_files(draw: st.DrawFn) -> tuple[File, bool, str | None]:
    """Make potentials; say whether they are channels x time, and the text of their electrodes."""
    channels = draw(st.lists(st.integers(0, 50), min_size=1, max_size=4, unique=True))
    rows = draw(st.integers(1, 6).filter(lambda rows: rows not in {len(channels), 3}))
    values = draw(_data(rows, len(channels)))
    transposed = draw(st.booleans())
    data = np.ascontiguousarray(values.T) if transposed else values
    datasets = {
        "ecp/data": data,
        "ecp/channel_id": np.asarray(channels, draw(st.sampled_from(["<i8", "<u8", "<u4"]))),
        "ecp/time": draw(_triples(rows)),
    }
    attributes = {
        "ecp/data": draw(_unit_attribute(st.sampled_from(["mV", "uV", "V"]))),
        "ecp/time": draw(_unit_attribute(st.just("ms"))),
    }
    storage = {"ecp/data": draw(_storage(data.shape))}
    electrodes = None
    if draw(st.booleans()):
        kept = channels[: draw(st.integers(1, len(channels)))]
        lines = [f"{channel} {index}.5 -1.25 {index}.0" for index, channel in enumerate(kept)]
        electrodes = "\n".join(["channel x_pos y_pos z_pos", *lines, ""])
    return File(datasets, attributes, storage), transposed, electrodes
