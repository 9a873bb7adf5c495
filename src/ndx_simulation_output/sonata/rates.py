"""Read firing rates of FilterNet and PopNet, and currents of clamps: reports without a mapping."""

import mmap
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    ShapeMismatchError,
    SourceError,
    UnsupportedSourceError,
    source_errors,
)
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    CompartmentTable,
    LazyArray,
    RegularTimes,
    Report,
)
from ndx_simulation_output.recording.ids import ids_of_source, storable_text
from ndx_simulation_output.recording.views import Columns
from ndx_simulation_output.sonata.config import ReportConfig
from ndx_simulation_output.sonata.hdf5 import (
    attribute_text,
    base_name,
    first_dataset,
    groups_in,
    location,
    note_unknown,
    read_ids,
    read_numbers,
)
from ndx_simulation_output.sonata.series import times_of_rows
from ndx_simulation_output.sonata.spikes import UNKNOWN_POPULATION
from ndx_simulation_output.sonata.text_files import separator_of
from ndx_simulation_output.sonata.units import ReadOptions
from ndx_simulation_output.storage.reading import wrap_array

if TYPE_CHECKING:
    import pandas as pd

RATES = ("firing_rates", "rates")
"""Groups of FilterNet, with times in seconds, and of PopNet, with times in milliseconds."""

_ROWS = 2**20  # rows of a text that are read at once


def read_rates(
    file: h5py.File, config: ReportConfig, options: ReadOptions, notes: list[str]
) -> list[Report]:
    """Read the firing rates (time, cell) of each population; none if the file has none."""
    found = []
    for root in RATES:
        parent = file.get(root)
        for group in groups_in(parent, notes) if isinstance(parent, h5py.Group) else []:
            is_popnet = root == "rates"
            mapping = group.get("mapping") if is_popnet else group
            data = group.get("data" if is_popnet else "firing_rates_Hz")
            names = ("node_ids", "time") if is_popnet else ("node_id", "times")
            has_mapping = isinstance(mapping, h5py.Group) and set(names) <= set(mapping)
            if has_mapping and isinstance(data, h5py.Dataset):
                found.append((group, data, mapping, names, "ms" if is_popnet else "s"))
            else:
                notes.append(f"{location(group)} has no rates with ids and times; it was left out")
    reports = []
    for group, data, mapping, (ids_name, time_name), unit in found:
        note_unknown(mapping, (ids_name, time_name, "firing_rates_Hz"), notes)
        name = config.name if len(found) == 1 else f"{config.name}_{base_name(group)}"
        rates = _Rates(name, config.name, base_name(group), Path(file.filename).name)
        ids = read_ids(first_dataset(mapping, ids_name))
        times = read_numbers(time := first_dataset(mapping, time_name))
        if data.shape != (len(times), len(ids)) or data.dtype.kind not in "iuf":
            msg = (
                f"{location(data)} has type {data.dtype} and shape {data.shape}; expected numbers "
                f"(time, cell) = {(len(times), len(ids))}"
            )
            raise ShapeMismatchError(msg)
        units = (
            attribute_text(time, "units", "unit") or unit,
            attribute_text(data, "units", "unit"),
        )
        where = location(group)
        reports.append(rates.report(wrap_array(data), ids, times, units, where, options, notes))
    return reports


class _Rates:
    """The names of the firing rates of a population."""

    def __init__(self, name: str, report: str, population: str, file: str) -> None:
        self.name, self.report_name, self.population, self.file = name, report, population, file

    def report(
        self,
        data: LazyArray,
        ids: NDArray[np.int64],
        times: NDArray[Any],
        units: tuple[str | None, str | None],
        where: str,
        options: ReadOptions,
        notes: list[str],
    ) -> Report:
        """Return the rates as a report with a column for each cell.

        ``units`` are those of times and rates, if they are stated.
        """
        names = (self.name, self.report_name)
        seconds = options.seconds(names, units[0], where, expected=True)
        columns = _columns_of_cells(data, ids, where)
        if len(columns) < len(ids):
            left_out = len(ids) - len(columns)
            data, ids = Columns(data, columns), ids[columns]
            zero = [data[:, column : column + 1] for column in np.flatnonzero(ids == 0)]
            is_silent = bool(zero) and not np.any(zero)
            doubt = "; cell 0, which has only zeros, may be another" if is_silent else ""
            notes.append(
                f"{where}: {left_out} columns of zeros were left out, which FilterNet writes for "
                f"each cell of another population{doubt}"
            )
        return Report(
            name=self.name,
            report=self.report_name,
            data=data,
            times=times_of_rows(times.astype(np.float64), seconds, where),
            compartments=CompartmentTable.from_counts(
                self.population,
                ids,
                np.ones(len(ids), np.int64),
                {"number": np.zeros(len(ids), np.int32)},
            ),
            unit=options.data_unit(names, units[1] or "Hz", None, where),
            variable="firing_rate",
            description=f"firing rates of the cells of population {self.population}",
            provenance={"format": "SONATA", "kind": "firing rate", "file": self.file},
        )


def _columns_of_cells(data: LazyArray, ids: NDArray[np.int64], where: str) -> NDArray[np.intp]:
    """Return the column of each cell, without the columns of zeros that repeat an id.

    FilterNet gives each population as many columns as there are cells in all, with id 0.
    """
    kept = np.ones(len(ids), bool)
    unique, counts = np.unique(ids, return_counts=True)
    for cell in unique[counts > 1]:
        columns = np.flatnonzero(ids == cell)
        recorded = [column for column in columns if np.any(data[:, column : column + 1])]
        if len(recorded) > 1:
            msg = f"{where} has the rates of cell {cell} more than once"
            raise SourceError(msg)
        kept[columns] = False
        kept[recorded or columns[:1]] = True
    return np.flatnonzero(kept)


def read_text_rates(path: Path, options: ReadOptions, notes: list[str]) -> list[Report]:
    """Read rates with the header ``node_id population timestamps firing_rates``, by population.

    The rows of a cell follow each other, as bmtk writes them. Rates are kept in a temporary file.
    """
    blocks: dict[str, _Blocks] = {}
    failing = f"{path} cannot be read as rates (node_id population timestamps firing_rates)"
    with source_errors(failing, UnsupportedSourceError), ExitStack() as stack:
        header: list[str] = []
        for chunk in _chunks(path):
            header = header or list(chunk.columns)
            if "population" not in header:
                chunk["population"] = options.population or UNKNOWN_POPULATION
            for population, rows in chunk.groupby("population", sort=False):
                if population not in blocks:
                    blocks[population] = _Blocks()
                    stack.callback(blocks[population].close)
                blocks[population].add(rows)
        values = {population: found.values() for population, found in blocks.items()}
    known = {"population", "node_id", "timestamps", "firing_rates"}
    notes += [f"left out: column {name} of {path.name}" for name in header if name not in known]
    # FilterNet begins with node_id and writes seconds, PopNet with population and ms.
    unit = {"node_id": "s", "population": "ms"}.get(next(iter(header), ""))
    reports = []
    for population, found in blocks.items():
        stem = storable_text(path.stem)
        name = stem if len(blocks) == 1 else f"{stem}_{population}"
        rates = _Rates(name, stem, str(population), path.name)
        ids = ids_of_source(np.asarray(found.ids), f"node_id of {path.name}")
        times, data = np.asarray(found.times), values[population]
        reports.append(rates.report(data, ids, times, (unit, None), path.name, options, notes))
    return reports


def _chunks(path: Path) -> Iterator["pd.DataFrame"]:
    """Yield the rows of a text with a header, some at a time."""
    import pandas as pd

    reader = pd.read_csv(
        path,
        sep=separator_of(path),
        skipinitialspace=True,
        dtype={"population": str, "timestamps": np.float64, "firing_rates": np.float64},
        keep_default_na=False,
        na_values={"firing_rates": ["nan", "NaN", ""]},
        chunksize=_ROWS,
        encoding="utf-8-sig",
    )
    with closing(reader):
        yield from reader


class _Blocks:
    """The rates of a population: for each cell, a block of rows whose times ascend."""

    def __init__(self) -> None:
        self.ids: list[float] = []
        self.times: list[float] = []
        self._length = 0
        self._file: IO[bytes] = TemporaryFile()  # noqa: SIM115 - see close

    def add(self, rows: "pd.DataFrame") -> None:
        """Add rows; raise ValueError if a cell has other times than the first one."""
        ids, times = rows["node_id"].to_numpy(), rows["timestamps"].to_numpy()
        if ids.dtype.kind not in "iuf":
            msg = f"node_id has the value {ids[0]!r}; expected integers"
            raise ValueError(msg)
        starts = np.flatnonzero((np.diff(ids) != 0) | (np.diff(times) <= 0)) + 1
        bounds = [0, *starts.tolist(), len(ids)]
        for start, stop in pairwise(bounds):
            self._add_block(ids[start], times[start:stop].tolist())
        self._file.write(np.ascontiguousarray(rows["firing_rates"], np.float64).tobytes())

    def _add_block(self, cell: float, times: list[float]) -> None:
        continues = bool(self.ids) and self.ids[-1] == cell and self._is_later(times[0])
        if not continues:
            self._check_length()
            self.ids.append(cell)
            self._length = 0
        if len(self.ids) == 1:
            self.times += times
        elif self.times[self._length : self._length + len(times)] != times:
            msg = f"cell {cell:g} has other times than cell {self.ids[0]:g}"
            raise ValueError(msg)
        self._length += len(times)

    def _is_later(self, time: float) -> bool:
        return 0 < self._length <= len(self.times) and time > self.times[self._length - 1]

    def _check_length(self) -> None:
        if self.ids and self._length != len(self.times):
            msg = f"cell {self.ids[-1]:g} has {self._length} times, not {len(self.times)}"
            raise ValueError(msg)

    def values(self) -> NDArray[np.float64]:
        """Return the rates, shape (time, cell); raise ValueError if the last cell lacks some."""
        self._check_length()
        self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, np.float64).reshape(len(self.ids), len(self.times)).T

    def close(self) -> None:
        """Close the file; the values stay."""
        self._file.close()


def read_clamps(file: h5py.File, config: ReportConfig, options: ReadOptions) -> ArrayGroup | str:
    """Read the currents of the clamps of a run, in nA; return text if they cannot be read."""
    data = first_dataset(file, "data")
    what = "contains data without times and a description of its columns (a clamp report)"
    step = options.dt or config.step
    if step is None:
        return f"{what}; set its time step in ms with dt= (--dt)"
    if data.ndim != 2 or data.dtype.kind not in "iuf" or not data.shape[1]:
        return f"{what}, of type {data.dtype} and shape {data.shape}: it has no clamps"
    rows = data.shape[0]
    if config.rows is not None and abs(rows - config.rows) > 1:
        return (
            f"{what} with {rows} rows, where the run has {config.rows} steps: bmtk appends the "
            "rows of the processes of a parallel run"
        )
    if not 0 < step < np.inf:
        return f"{what}; its time step is {step} ms, expected a positive number"
    times = RegularTimes(0.0, 1000 / step, rows)
    variable = " ".join(config.variables)
    return ArrayGroup(
        name=config.name,
        title=f"currents of {variable} clamps".replace("  ", " "),
        kind="clamp report",
        axes=(
            ArrayAxis("times", times.seconds(), label="time", unit="s", index=0),
            ArrayAxis("clamps", np.arange(data.shape[1]), label="clamp", index=1),
        ),
        arrays=(ArrayWithAxes("currents", wrap_array(data), label="i", unit="nA"),),
    )
