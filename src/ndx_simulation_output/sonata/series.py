"""Read the times, and write the data, times and unit of a report or extracellular potential."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ShapeMismatchError, SourceError
from ndx_simulation_output.files import AtomicFile
from ndx_simulation_output.recording import (
    LazyArray,
    RegularTimes,
    Times,
    Timestamps,
    Unit,
    parse_unit,
    unit_symbol,
)
from ndx_simulation_output.recording.times import meant_rate, meant_step, rounding_of
from ndx_simulation_output.recording.views import Float32, Scaled
from ndx_simulation_output.sonata.hdf5 import (
    attribute_text,
    attributes_from_json,
    first_dataset,
    location,
    read_numbers,
)
from ndx_simulation_output.sonata.units import ReadOptions
from ndx_simulation_output.storage.layout import StorageOptions, plan_layout
from ndx_simulation_output.storage.writing import create_dataset, write_matrix

TRIPLE = 3
"""Number of values of the time of most reports: start, stop, step."""

_MS = 1e-3
_SMALLEST_STEP = 1e-300  # smaller steps have an infinite rate
_ADDED = 1e-11  # relative error of a step that was added up to many times
_DRIFT = 1e-6  # part of a step by which times that were added up may differ from regular ones


def read_times(
    group: h5py.Group,
    rows: int,
    names: tuple[str, ...],
    options: ReadOptions,
    *,
    unit_expected: bool,
    one_per_row: bool = False,
) -> tuple[Times, dict[str, Any]]:
    """Return the times of the ``rows`` rows of data, and the provenance of their time triple.

    The number of rows is that of the data: the triple implies another one in many files. With
    ``one_per_row``, three values are the times of three rows.
    """
    if "time" not in group:
        if options.dt is None:
            msg = f"{location(group)} has no time; set the time step in ms with dt= (--dt)"
            raise SourceError(msg)
        return _regular_times(0.0, options.dt, rows, 1e-3, location(group)), {}
    time = first_dataset(group, "time")
    stated = attribute_text(time, "units", "unit")
    seconds = options.seconds(names, stated, location(time), expected=unit_expected)
    values = read_numbers(time).astype(np.float64)
    if len(values) == TRIPLE and not one_per_row:
        start, _, step = triple = values.tolist()
        times = _regular_times(start, step, rows, seconds, location(time))
        return times, {"time": triple, "implied_rows": implied_rows(triple)}
    if len(values) != rows:
        msg = (
            f"{location(time)} has {len(values)} values; expected (start, stop, step) or one for "
            f"each of {rows} rows"
        )
        raise ShapeMismatchError(msg)
    return times_of_rows(values, seconds, location(time)), {}


def times_of_rows(values: NDArray[np.float64], seconds: float, where: str) -> Times:
    """Return the times of rows in units of ``seconds``: regular if so apart from rounding."""
    if not np.all(np.diff(values) > 0):
        msg = f"{where} does not ascend"
        raise SourceError(msg)
    per_second, count = _per_second(seconds), len(values)
    span = float(np.ptp(values)) if count else 0.0
    if not (span and np.isfinite(span)):
        return Timestamps(values / per_second)
    error = rounding_of(values)
    rounding = 2 * error * float(np.abs(values).max())
    start, step = meant_step(float(values[0]), error), span / (count - 1)
    rate = meant_rate(step, per_second, max(2 * rounding / span, _ADDED))
    expected = start + np.arange(count) * (per_second / rate)
    is_even = np.allclose(np.diff(values), step, rtol=1e-9, atol=rounding)
    if not is_even or np.abs(values - expected).max() > rounding + _DRIFT * step:
        return Timestamps(values / per_second)
    return RegularTimes(start / per_second, rate, count)


def _regular_times(
    start: float, step: float, rows: int, seconds: float, where: str
) -> RegularTimes:
    """Return times with ``start`` and ``step`` in units of ``seconds``."""
    if not (np.isfinite(start) and np.isfinite(step) and step > _SMALLEST_STEP):
        msg = f"{where} has start {start} and step {step}; expected a finite start, a positive step"
        raise SourceError(msg)
    per_second = _per_second(seconds)
    start = _meant_start(start, meant_step(step)) / per_second
    return RegularTimes(start, meant_rate(step, per_second), rows)


def _meant_start(start: float, step: float) -> float:
    """Return the round number or the multiple of ``step`` that ``start`` is apart from rounding."""
    meant = meant_step(start)
    is_round = float(f"{start:.6g}") == start
    if meant != start or is_round or not math.isfinite(start / step):
        return meant
    multiple = _shortest(round(start / step) * step, 9)
    return multiple if math.isclose(multiple, start, rel_tol=rounding_of(start)) else start


def _per_second(seconds: float) -> float:
    """Return how many units of ``seconds`` a second has: division by it is rounded once."""
    return round(1 / seconds, 9)


def implied_rows(triple: Sequence[float]) -> int | None:
    """Return the number of rows in the right-open interval of a triple; None if not finite."""
    start, stop, step = triple
    rows = (stop - start) / step
    return int(np.ceil(np.round(rows, 6))) if np.isfinite(rows) else None


def write_data(
    file: AtomicFile,
    group: h5py.Group,
    data: LazyArray,
    unit: Unit,
    provenance: Mapping[str, Any],
    left_out: list[str],
    *,
    dialect: str,
    dtype: str | None = None,
    progress: Callable[[int], object] | None = None,
) -> h5py.Dataset:
    """Write ``data`` (time, column) in blocks; a unit without symbol is scaled to the SI unit."""
    if unit.known and unit_symbol(unit) is None and (unit.conversion, unit.offset) != (1.0, 0.0):
        left_out.append(f"{group.name}: values were scaled to {unit.name}")
        data = Scaled(data, unit.conversion, unit.offset)
        provenance = {}
    source_dtype = np.dtype(provenance.get("dtypes", {}).get("data", data.dtype))
    # The source may have another byte order. If data were converted since, their dtype is used.
    same = source_dtype.newbyteorder("=") == data.dtype.newbyteorder("=")
    stored_dtype = np.dtype(dtype or (source_dtype if same else data.dtype))
    overflows: list[int] = []
    if stored_dtype == np.float32 and data.dtype == np.float64:
        data = Float32(data, overflows)
    shape = data.shape[0], data.shape[1]
    if dialect == "allen" and all(shape):
        stored = group.create_dataset("data", shape, stored_dtype, chunks=True)
        storage = StorageOptions(chunks=stored.chunks)
        layout = plan_layout(shape, stored_dtype.itemsize, storage=storage)
    else:
        storage = StorageOptions(chunks="contiguous")
        layout = plan_layout(shape, stored_dtype.itemsize, storage=storage)
        stored = create_dataset(group, "data", layout, stored_dtype)
    write_matrix(data, stored, layout, path=file.path, progress=progress)
    if overflows:
        left_out.append(
            f"{group.name}: {sum(overflows)} values are too large for float32, and became infinite"
        )
    return stored


def write_unit(data: h5py.Dataset, unit: Unit, attributes: Mapping[str, Any]) -> None:
    """Write the attributes of the source, and the unit, in its original spelling if still valid."""
    if not unit.known:
        attributes_from_json(data, attributes)
        return
    others = {name: value for name, value in attributes.items() if name != "units"}
    attributes_from_json(data, others)
    stated = attributes.get("units")
    if isinstance(stated, str) and parse_unit(stated) == unit:
        data.attrs["units"] = stated
    else:
        data.attrs["units"] = (
            unit_symbol(unit) or unit_symbol(Unit(unit.name, checked=False)) or unit.name
        )


def write_times(
    group: h5py.Group,
    times: Any,
    provenance: Mapping[str, Any],
    path: str,
    *,
    unit_expected: bool,
    conform: bool = False,
) -> None:
    """Write the triple (start, stop, step) of regular times, in ms.

    The triple of the source is written instead if it is still valid; ``path`` is the key of the
    time in the provenance. With ``conform`` it must also be in ms and imply the number of rows in
    the reader of the dialect.
    """
    attributes = provenance.get("attributes", {}).get(path, {})
    triple = provenance.get("time")
    if triple is not None and not _is_valid(triple, attributes, times, provenance.get("rows")):
        triple = None
    if triple is not None and conform:
        count_rows = implied_rows if unit_expected else _rows_in_bmtk
        if _seconds(attributes) != _MS or count_rows(triple) != times.count:
            triple = None
    if triple is not None:
        dtype = provenance.get("dtypes", {}).get(path, "<f8")
        dataset = group.create_dataset("time", data=np.asarray(triple), dtype=dtype)
        attributes_from_json(dataset, attributes)
        if conform and unit_expected and "units" not in attributes:
            dataset.attrs["units"] = "ms"
        return
    step = _shortest(1000.0 / times.rate, 12)
    start = _shortest(times.start * 1000.0, 9)
    stop = round(start + times.count * step, 9)
    while not unit_expected and _rows_in_bmtk((start, stop, step)) < times.count:
        stop = math.nextafter(stop, math.inf)
    dataset = group.create_dataset("time", data=np.asarray([start, stop, step]))
    if unit_expected or "time" in provenance or not provenance:
        dataset.attrs["units"] = "ms"
    others = {name: value for name, value in attributes.items() if name not in {"unit", "units"}}
    attributes_from_json(dataset, others)


def _rows_in_bmtk(triple: Sequence[float]) -> int:
    """Return the number of rows that bmtk reads; it rounds down: 0.3 / 0.1 is less than 3."""
    start, stop, step = triple
    rows = (stop - start) / step
    return int(rows) if math.isfinite(rows) else -1


def _shortest(value: float, digits: int) -> float:
    """Return ``value`` rounded, unless that would change more than its last digits."""
    rounded = round(value, digits)
    return rounded if math.isclose(rounded, value, rel_tol=1e-12) else value


def _is_valid(
    triple: Sequence[float], attributes: Mapping[str, Any], times: RegularTimes, rows: int | None
) -> bool:
    """Return True if a triple of the source describes ``times``."""
    start, _, step = triple
    seconds = _seconds(attributes)
    try:
        found = _regular_times(start, step, rows or 0, seconds, "time")
    except SourceError:
        return False
    # Version 0.3.0 did not recognise the step that a person meant.
    per_second = _per_second(seconds)
    return times in {found, RegularTimes(start / per_second, per_second / step, rows or 0)}


def _seconds(attributes: Mapping[str, Any]) -> float:
    """Return the unit of a time with ``attributes``, in seconds."""
    unit = parse_unit(str(attributes.get("units", attributes.get("unit", "ms"))))
    return unit.conversion if unit is not None and unit.name == "seconds" else _MS
