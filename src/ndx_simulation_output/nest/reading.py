"""Read what recording devices of NEST wrote as text: spikes, and the values of multimeters.

A device writes a file for each thread, ``<label>-<node id>-<thread>.dat``: some lines of header,
then a row for each spike, or for each cell and time. NEST 2 writes spikes without a header
(``.gdf``). The rows of a multimeter are in the order in which cells deliver some milliseconds at
once. The text is read once, in blocks, into temporary files.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    NothingRecordedError,
    SourceError,
    UnitError,
    source_errors,
)
from ndx_simulation_output.recording import (
    CompartmentTable,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    Timestamps,
)
from ndx_simulation_output.recording.ids import (
    as_ids,
    free_name,
    parse_ids,
    positions_of,
    repeated_values,
    some_of,
)
from ndx_simulation_output.recording.stored_spikes import StoredSpikes
from ndx_simulation_output.recording.times import Times, meant_rate
from ndx_simulation_output.recording.units import UNKNOWN, Unit, as_unit
from ndx_simulation_output.recording.views import Columns
from ndx_simulation_output.storage.temporary import GrowingArray, temporary_array

_HEADER = b"# NEST version:"
_NAME = re.compile(r"(?P<device>(?P<label>.+)-\d+)-\d+")
_SENDER, _MS, _STEPS = "sender", ("time_ms",), ("time_step", "time_offset")
_BLOCK_BYTES = 2**23
_MS_PER_S = 1000.0
_REGULAR = 1e-6
"""Part of a step by which regular times may differ."""
_UNITS = {"V_": "mV", "I_": "pA", "g_": "nS"}
"""Units of NEST by the beginning of a variable's name."""

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class _Device:
    """A recording device: the files of its threads, their columns, and the version of NEST."""

    label: str
    columns: tuple[str, ...]
    version: str | None
    header_sizes: Mapping[Path, int] = field(default_factory=dict)

    @property
    def times(self) -> tuple[str, ...]:
        """The columns with the time."""
        return _STEPS if self.columns[1] == _STEPS[0] else _MS

    @property
    def variables(self) -> tuple[str, ...]:
        """The recorded variables; a device without variables records spikes."""
        return self.columns[1 + len(self.times) :]

    @property
    def path(self) -> Path:
        """The first file, for messages."""
        return next(iter(self.header_sizes))

    @property
    def provenance(self) -> dict[str, Any]:
        """The format, the label and the names of the files."""
        files = [path.name for path in self.header_sizes]
        return {"format": "NEST", "device": self.label, "files": files}

    def milliseconds(self, rows: NDArray[np.float64], dt: float | None) -> NDArray[np.float64]:
        """Return the time of each row; an offset is from the end of a step back to the spike."""
        if self.times == _MS or dt is None:
            return np.ascontiguousarray(rows[:, 1])
        # 53 / 10 is 5.3, but 53 * 0.1 is not.
        return rows[:, 1] / meant_rate(dt, 1.0) - rows[:, 2]


class _Trains(NamedTuple):
    """The spikes of a population: ids, times (ms), and the devices that recorded them."""

    ids: GrowingArray
    times: GrowingArray
    devices: list[_Device]


@dataclass(frozen=True)
class _Populations:
    """The ids of populations; without ids, one name for all, or the label of each device."""

    ids: Mapping[str, Ids]
    name: str | None = None

    def split(self, ids: Ids, label: str) -> Iterator[tuple[str, NDArray[np.intp]]]:
        """Yield the populations of ``ids``, each with the positions of its own."""
        rest = np.ones(len(ids), bool)
        for name, known in self.ids.items():
            chosen = np.flatnonzero(positions_of(ids, known) >= 0)
            rest[chosen] = False
            if len(chosen):
                yield name, chosen
        if rest.any():
            yield self.name or label, np.flatnonzero(rest)


def read(
    paths: Sequence[Path],
    *,
    population: str | Mapping[str, Any] | None = None,
    dt: float | None = None,
    unit: Mapping[str, str] | None = None,
) -> SimulationOutput:
    """Read files of recording devices: those of all threads and processes of a run.

    Cells keep their ids of NEST. The text is read into temporary files of about its size.

    Parameters
    ----------
    paths
        Files of one or several devices.
    population
        The recorded ids of each population, such as ``{"exc": "1-80", "inh": range(81, 101)}``:
        those without spikes are silent. Or the name of the only population. By default, the cells
        of each device are a population with its label.
    dt
        Resolution of the kernel in ms, for times in steps: it is not in the files.
    unit
        Units of variables by name. Known are those that begin with ``V_``, ``I_`` and ``g_``.

    Raises
    ------
    SourceError
        If a file is damaged, if ``dt`` is missing or does not apply, if an id is in two
        populations or its spikes in the files of two devices, or if a cell has no value, or two,
        at a time of its device.
    NothingRecordedError
        If there are no rows.
    UnitError
        If a unit cannot be parsed, or is that of a variable that does not occur.

    """
    devices = _find_devices(paths)
    _check_dt(devices, dt)
    populations = _populations(population)
    notes: list[str] = []
    trains: dict[str, _Trains] = {}
    reports = [
        report
        for device in devices
        if device.variables
        for report in _reports(device, populations, dt, notes)
    ]
    _read_spikes([one for one in devices if not one.variables], populations, dt, trains, notes)
    if not (reports or trains):
        msg = f"{paths[0]} has a header and no rows; expected values or spikes"
        raise NothingRecordedError(msg)
    used = {one.population for one in reports} | set(trains)
    if rest := sorted(used - populations.ids.keys() - {populations.name}):
        notes.append(
            f"the cells of {', '.join(rest)} are populations named after their devices; set "
            "population to the ids of each population"
        )
    return SimulationOutput(
        reports=_named(_with_units(reports, unit or {}, notes)),
        spikes=tuple(_spikes(name, found, populations) for name, found in trains.items()),
        run=Run(
            simulator="NEST",
            simulator_version=next(filter(None, (one.version for one in devices)), None),
            time_step=None if dt is None else dt / _MS_PER_S,
        ),
        notes=tuple(notes),
        provenance={"format": "NEST"},
    )


def _find_devices(paths: Iterable[Path]) -> list[_Device]:
    """Return the devices of files, in their order."""
    found: dict[tuple[Path, str], _Device] = {}
    for path in paths:
        name = _NAME.fullmatch(path.stem)
        label, key = (name["label"], name["device"]) if name else (path.stem, path.stem)
        columns, version, size = _read_header(path)
        device = found.setdefault((path.parent, key), _Device(label, columns, version))
        if device.columns != columns:
            msg = (
                f"{path} has the columns {' '.join(columns)}, but {device.path} of the same "
                f"device has {' '.join(device.columns)}"
            )
            raise SourceError(msg)
        sizes = {**device.header_sizes, path: size}
        found[path.parent, key] = replace(device, header_sizes=sizes)
    return list(found.values())


def _read_header(path: Path) -> tuple[tuple[str, ...], str | None, int]:
    """Return the names of the columns, the version of NEST, and the size of the header."""
    with path.open("rb") as file:
        line = file.readline(_BLOCK_BYTES)
        if not line.startswith(_HEADER):
            width = len(line.split())
            if width not in {2, 3}:
                msg = f"{path} has {width} columns; expected 2 or 3, as in spikes of NEST 2"
                raise SourceError(msg)
            return (_SENDER, *(_STEPS if width > 2 else _MS)), None, 0
        version = line.removeprefix(_HEADER).decode("utf-8", "replace").strip()
        while line.startswith(b"#"):
            line = file.readline(_BLOCK_BYTES)
        columns = tuple(line.decode("utf-8", "replace").split())
        if not any(columns[: 1 + len(times)] == (_SENDER, *times) for times in (_MS, _STEPS)):
            msg = f"{path} has the columns {' '.join(columns)[:80]!r}; expected sender and time_ms,"
            raise SourceError(msg + " or sender, time_step and time_offset")
        return columns, version, file.tell()


def _check_dt(devices: Sequence[_Device], dt: float | None) -> None:
    """Raise SourceError if the resolution is missing, or does not apply."""
    in_steps = next((one.path for one in devices if one.times == _STEPS), None)
    if in_steps is not None and dt is None:
        msg = f"the times of {in_steps} are in steps; set dt to the resolution of NEST in ms"
        raise SourceError(msg)
    if in_steps is None and dt is not None:
        msg = f"dt does not apply to {devices[0].path}: its times are in ms, not in steps"
        raise SourceError(msg)


def _populations(population: str | Mapping[str, Any] | None) -> _Populations:
    """Return the populations that the user gave; raise SourceError if an id is in two."""
    if not isinstance(population, Mapping):
        return _Populations({}, population)
    ids = {
        name: np.unique(parse_ids(some) if isinstance(some, str) else as_ids(some)).astype(np.int64)
        for name, some in population.items()
    }
    shared = repeated_values(np.concatenate([np.zeros(0, np.int64), *ids.values()]))
    if len(shared):
        names = [name for name, known in ids.items() if shared[0] in known]
        msg = f"cell {shared[0]} is in population {names[0]} and in {names[1]}; expected one"
        raise SourceError(msg)
    return _Populations(ids)


def _blocks(device: _Device, notes: list[str]) -> Iterator[NDArray[np.float64]]:
    """Yield the rows of the files of a device, shape (row, column), some megabytes at a time."""
    for path, size in device.header_sizes.items():
        with path.open("rb") as file, source_errors(f"{path} cannot be read as text of NEST"):
            file.seek(size)
            rest = b""
            while data := file.read(_BLOCK_BYTES):
                lines, end, rest = (rest + data).rpartition(b"\n")
                if end:
                    yield _parse(lines + end, device.columns, path)
            if rest.strip():
                notes.append(f"left out: the last line of {path.name}, which is incomplete")


def _parse(text: bytes, columns: Sequence[str], path: Path) -> NDArray[np.float64]:
    """Return the numbers in lines of text."""
    rows: NDArray[np.float64] = np.loadtxt(BytesIO(text), comments=None, ndmin=2)
    if rows.shape[1] != len(columns):
        msg = f"{path} has rows of {rows.shape[1]} values; expected {' '.join(columns)}"
        raise SourceError(msg)
    ids = rows[:, 0]
    if not ((ids >= 0) & (ids < 2.0**53) & (ids == np.floor(ids))).all():
        msg = f"{path} has a sender that is not an id; expected integers from 0"
        raise SourceError(msg)
    return rows


def _read_spikes(
    devices: Sequence[_Device],
    populations: _Populations,
    dt: float | None,
    trains: dict[str, _Trains],
    notes: list[str],
) -> None:
    """Read the spikes of devices, by population, into temporary files."""
    senders: list[tuple[_Device, Ids]] = []
    for device in devices:
        known: Ids = np.zeros(0, np.int64)
        for rows in _blocks(device, notes):
            ids, times = rows[:, 0].astype(np.int64), device.milliseconds(rows, dt)
            known = np.union1d(known, ids)
            for name, chosen in populations.split(ids, device.label):
                found = trains.setdefault(name, _Trains(GrowingArray("i8"), GrowingArray("f8"), []))
                found.ids.append(ids[chosen])
                found.times.append(times[chosen])
                if device not in found.devices:
                    found.devices.append(device)
        if not len(known) and not populations.ids:
            name = populations.name or device.label
            found = trains.setdefault(name, _Trains(GrowingArray("i8"), GrowingArray("f8"), []))
            found.devices.append(device)
        for other, theirs in senders:
            if len(both := np.intersect1d(known, theirs)):
                msg = (
                    f"cell {some_of(both)} has spikes in {other.path} and in {device.path}, of two "
                    "devices, so its spikes may be there twice; read the files of one device"
                )
                raise SourceError(msg)
        senders.append((device, known))
    for name in populations.ids if devices else ():
        trains.setdefault(name, _Trains(GrowingArray("i8"), GrowingArray("f8"), []))


def _spikes(name: str, found: _Trains, populations: _Populations) -> Spikes:
    """Return the spikes of a population; recorded cells without spikes are silent."""
    ids, times = found.ids.mapped(), found.times.mapped()
    silent = populations.ids.get(name)
    if silent is not None:
        spiking = np.zeros(0, np.int64)
        for start in range(0, len(ids), _BLOCK_BYTES):
            spiking = np.union1d(spiking, ids[start : start + _BLOCK_BYTES])
        silent = silent[~np.isin(silent, spiking)]
    labels = [device.label for device in found.devices]
    files = [path.name for device in found.devices for path in device.header_sizes]
    provenance = {"format": "NEST", "devices": labels, "files": files}
    where = f"sender of {', '.join(files)}"
    stored = StoredSpikes(name, where, ids, times, _MS_PER_S, provenance, silent)
    return Spikes.of_source(name, stored)


def _reports(
    device: _Device, populations: _Populations, dt: float | None, notes: list[str]
) -> Iterator[Report]:
    """Yield a report for each variable and population of a multimeter."""
    rows = GrowingArray("f8", (len(device.columns),))
    ids: Ids = np.zeros(0, np.int64)
    times = np.zeros(0)
    for block in _blocks(device, notes):
        rows.append(block)
        ids = np.union1d(ids, block[:, 0].astype(np.int64))
        times = np.union1d(times, device.milliseconds(block, dt))
    if not len(times):
        notes.append(f"left out: {device.label}, which has no values")
        return
    if not np.isfinite(times).all():
        msg = f"{device.path} has a time that is not finite; expected the times of values"
        raise SourceError(msg)
    values = _matrices(device, rows.mapped(), ids, times, dt)
    complete = _complete(device, values[-1], ids, times)
    if complete < len(times):
        left = len(times) - complete
        notes.append(
            f"left out: the last {left} of {len(times)} times of {device.label}, at which not all "
            "cells have values"
        )
    seconds = _times(times[:complete])
    for name, columns in populations.split(ids, device.label):
        table = CompartmentTable.from_cells(name, ids[columns])
        for variable, matrix in zip(device.variables, values, strict=False):
            part = matrix[:complete]
            data = part if len(columns) == len(ids) else Columns(part, columns)
            yield Report(
                name=variable,
                report=variable,
                data=data,
                times=seconds,
                compartments=table,
                unit=UNKNOWN,
                variable=variable,
                provenance=device.provenance,
            )


def _matrices(
    device: _Device, rows: NDArray[Any], ids: Ids, times: NDArray[np.float64], dt: float | None
) -> list[NDArray[Any]]:
    """Return a matrix (time, cell) of each variable, and last one of what was recorded."""
    shape = len(times), len(ids)
    matrices = [temporary_array(np.float64, shape) for _ in device.variables]
    matrices.append(temporary_array(np.bool_, shape))
    first = len(device.columns) - len(device.variables)
    for start in range(0, len(rows), _BLOCK_BYTES // 64):
        block = rows[start : start + _BLOCK_BYTES // 64]
        at = np.searchsorted(times, device.milliseconds(block, dt))
        of = np.searchsorted(ids, block[:, 0].astype(np.int64))
        twice = matrices[-1][at, of]
        if not twice.any():
            twice = np.zeros(len(at), bool)
            twice[_repeated(at * len(ids) + of)] = True
        if twice.any():
            one = int(np.argmax(twice))
            msg = (
                f"cell {ids[of[one]]} of {device.label} ({device.path}) has two values at "
                f"{times[at[one]]:g} ms; expected the files of one run of one device"
            )
            raise SourceError(msg)
        matrices[-1][at, of] = True
        for matrix, column in zip(matrices, block[:, first:].T, strict=False):
            matrix[at, of] = column
    return matrices


def _repeated(keys: NDArray[Any]) -> NDArray[np.intp]:
    """Return the positions of keys that are there before."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    again: NDArray[np.intp] = order[1:][ordered[1:] == ordered[:-1]]
    return again


def _complete(device: _Device, is_there: NDArray[Any], ids: Ids, times: NDArray[np.float64]) -> int:
    """Return the number of times at which all cells have values: a run may have been stopped."""
    step = max(1, _BLOCK_BYTES // len(ids))
    blocks = range(0, len(times), step)
    are_all = np.concatenate([is_there[start : start + step].all(axis=1) for start in blocks])
    count = len(are_all) if are_all.all() else int(np.argmin(are_all))
    if are_all[count:].any() or not count:
        cell = ids[np.argmin(is_there[min(count, len(times) - 1)])]
        msg = (
            f"cell {cell} of {device.label} ({device.path}) has no value at {times[count]:g} ms; "
            "expected those of all cells, in the files of all threads"
        )
        raise SourceError(msg)
    return count


def _times(milliseconds: NDArray[np.float64]) -> Times:
    """Return the times of the rows, regular ones if they are so."""
    count = len(milliseconds)
    if count > 1:
        step = float(milliseconds[-1] - milliseconds[0]) / (count - 1)
        expected = milliseconds[0] + step * np.arange(count)
        if np.abs(milliseconds - expected).max() <= _REGULAR * step:
            rate = meant_rate(step, _MS_PER_S, _REGULAR / count)
            return RegularTimes(float(milliseconds[0]) / _MS_PER_S, rate, count)
    return Timestamps(milliseconds / _MS_PER_S)


def _with_units(
    reports: Iterable[Report], given: Mapping[str, str], notes: list[str]
) -> Iterator[Report]:
    """Yield the reports with the units that are given or known."""
    reports = list(reports)
    names = {report.report for report in reports}
    if unknown := sorted(set(given) - names):
        msg = f"a unit is set for {unknown[0]}, which no device recorded; variables: "
        raise UnitError(msg + (", ".join(sorted(names)) or "none"))
    units: dict[str, Unit] = {}
    for name in names:
        text = given.get(name) or next(
            (symbol for start, symbol in _UNITS.items() if name.startswith(start)), None
        )
        units[name] = UNKNOWN if text is None else as_unit(text, f"report {name!r}")
    if missing := sorted(name for name, found in units.items() if found == UNKNOWN):
        notes.append(f"the unit of {', '.join(missing)} is not known; set it with unit")
    for report in reports:
        yield replace(report, unit=units[report.report])


def _named(reports: Iterable[Report]) -> tuple[Report, ...]:
    """Return reports named after variables, and populations if a variable has several reports."""
    by_name: dict[str, list[Report]] = defaultdict(list)
    for report in reports:
        by_name[report.name].append(report)
    named: list[Report] = []
    for name, found in by_name.items():
        for report in found:
            wanted = name if len(found) == 1 else f"{name}_{report.population}"
            named.append(replace(report, name=free_name(wanted, {one.name for one in named})))
    return tuple(named)
