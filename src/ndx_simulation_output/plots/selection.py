"""Selection of the data of a picture, with checks that an output has them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.choices import KINDS, How, PictureKind
from ndx_simulation_output.errors import (
    CellNotFoundError,
    NothingRecordedError,
    SelectionError,
    SimulationOutputError,
)
from ndx_simulation_output.plots.arrays import Grid, grids_of
from ndx_simulation_output.plots.downsampling import Recorded, seconds_at
from ndx_simulation_output.plots.networks import (
    neuron_quantities,
    synapse_quantities,
)
from ndx_simulation_output.plots.shapes import cells_in_space
from ndx_simulation_output.plots.spikes import whole_bins
from ndx_simulation_output.recording import (
    CellTable,
    ExtracellularPotential,
    RegularTimes,
    Report,
    SimulationOutput,
    Spikes,
)
from ndx_simulation_output.recording.cells import Cells, Choice
from ndx_simulation_output.recording.ids import as_ids, some_of

_OVERVIEW: tuple[PictureKind, ...] = ("raster", "traces", "channels", "matrix", "state", "arrays")
_FAR_LONGER = 20
_MAX_NAMES = 20


@dataclass(frozen=True)
class PictureOptions:
    """Selection of the data to draw. A field that is None selects all.

    ``cells``, ``numbers`` and ``labels`` select compartments as ``Report.select`` does, ``cells``
    also spikes: ids, values of properties, or the name of a node set. Of a network, they are ranks
    of post-synaptic neurons. ``group_by`` and ``color_by`` are names of properties of the cells,
    and ``channels`` extracellular channels. ``overlay`` draws traces on one vertical axis.
    ``report``, ``population`` and ``variable`` are names; ``variable`` is that of a report or a
    quantity of a network state.
    ``report`` is also the name of a potential, or of a group or an array of instruments. ``start``
    and ``stop`` are a time window (s), ``at`` is the time (s) of a neuron in space. ``how`` is the
    reduction of the values in a pixel of a heat map, by default their mean, ``bin_width`` (s) the
    length of the bins of rates.
    """

    cells: Cells | None = None
    group_by: str | None = None
    color_by: str | None = None
    overlay: bool | None = None
    numbers: Sequence[int] | None = None
    labels: Sequence[str] | None = None
    channels: Sequence[int] | None = None
    report: str | None = None
    population: str | None = None
    variable: str | None = None
    start: float | None = None
    stop: float | None = None
    at: float | None = None
    how: How | None = None
    bin_width: float | None = None

    def reports(self, output: SimulationOutput) -> list[Report]:
        """Return the selected reports that have values in the time window."""
        return [
            report
            for report in output.reports
            if self.report in {None, report.name, report.report}
            and self.population in {None, report.population}
            and self.variable in {None, report.variable, report.report}
            and self._has_values(report)
        ]

    def spikes(self, output: SimulationOutput) -> list[Spikes]:
        """Return the spikes of the selected populations."""
        return [spikes for spikes in output.spikes if self.population in {None, spikes.population}]

    def potentials(self, output: SimulationOutput) -> list[ExtracellularPotential]:
        """Return the selected extracellular potentials that have values in the time window."""
        return [
            potential
            for potential in output.potentials
            if self.report in {None, potential.name}
            and self.population is None
            and self._has_values(potential)
        ]

    def _has_values(self, recorded: Recorded) -> bool:
        rows = recorded.times.window(self.start, self.stop)
        return rows.stop > rows.start and recorded.data.shape[1] > 0

    def in_space(self, output: SimulationOutput) -> SimulationOutput:
        """Return the output with only what ``neuron`` may draw."""
        is_report = self.report is not None or self.variable is not None
        circuit = None if is_report else output.circuit
        if circuit is not None and self.population is not None:
            some = [one for one in circuit.populations if one.population == self.population]
            circuit = replace(circuit, populations=tuple(some))
        spikes = () if is_report else tuple(self.spikes(output))
        reports = tuple(self.reports(output))
        return output.changed(reports=reports, spikes=spikes, circuit=circuit)

    def grids(self, output: SimulationOutput) -> list[Grid]:
        """Return the selected arrays; with a time window, the parts in it of those over time."""
        grids = [
            grid
            for grid in grids_of(output)
            if self.variable in {None, grid.label, grid.name, *grid.titles}
            and (self.report is None or self.report in _names_of(grid))
        ]
        if self.start is None and self.stop is None:
            return grids
        parts = (grid.between(self.start, self.stop) for grid in grids)
        return [part for part in parts if part is not None]

    def window(self, output: SimulationOutput) -> dict[str, float]:
        """Return the time window that all panels show: by default from start to end of the run.

        Of a run that is far longer than its recordings, it is that of these. Spikes do not tell
        when they were recorded: unless the run does, the window has whole bins around them.
        """
        duration, ends = output.run.duration, [*_series_ends(output)]
        if spiking := [*_spike_ends(output)]:
            first, last = min(start for start, _ in spiking), max(stop for _, stop in spiking)
            # All spikes at one time.
            last = last if last > np.nextafter(first, np.inf) else first + 1e-3
            ends.append(whole_bins(first, last)[1:] if duration is None else (first, last))
        first = min((start for start, _ in ends), default=0.0)
        last = max((stop for _, stop in ends), default=0.0)
        if duration is not None and last - first > duration / _FAR_LONGER:
            first, last = min(first, 0.0), max(last, duration)
        last = last if last > first else first + 1e-3
        return {
            "start": first if self.start is None else max(first, self.start),
            "stop": last if self.stop is None else min(last, self.stop),
        }

    def cells_of(self, spikes: Spikes, output: SimulationOutput) -> Sequence[int] | None:
        """Return the selected cells without those that only other populations have."""
        if self.cells is None:
            return None
        if isinstance(self.cells, str | Mapping):
            return _matching(self.cells, spikes.cells)
        known = [*_known_cells(output.reports, output.spikes)]
        own, others = (
            [ids for population, ids in known if (population == spikes.population) is is_own]
            for is_own in (True, False)
        )
        cells = as_ids(self.cells)
        is_elsewhere = np.isin(cells, np.concatenate([own[-1][:0], *others]))
        found: list[int] = cells[np.isin(cells, np.concatenate(own)) | ~is_elsewhere].tolist()
        return found

    def compartments(self, report: Report) -> dict[str, Any] | None:
        """Return the arguments that select compartments; None if the report has none of them."""
        table = report.compartments
        found: dict[str, Any] = {"cells": None, "numbers": None, "labels": None}
        if isinstance(self.cells, str | Mapping):
            found["cells"] = _matching(self.cells, table.cells)
        elif self.cells is not None:
            found["cells"] = those_in(self.cells, table.cell_ids[:])
        for name, column in _COLUMNS.items():
            wanted = getattr(self, name)
            if wanted is not None and found["cells"] != []:
                if column not in table.columns:
                    return None
                found[name] = those_in(wanted, table.values(column, table.find(found["cells"])))
        return None if [] in found.values() else found


_COLUMNS = {"numbers": "number", "labels": "label"}
"""The column of the compartments that a field of ``PictureOptions`` selects by."""


def _matching(cells: Cells, table: CellTable | None) -> list[int]:
    """Return the ids of the cells of a table that a query matches; none if it does not apply."""
    if table is None:
        return []
    rows = Choice(cells).rows_of(table)
    found: list[int] = np.asarray(table.ids[:])[rows].tolist()
    return found


def those_in(wanted: Any, values: Any) -> list[Any]:
    """Return those of the wanted ids, numbers or labels that occur."""
    wanted = np.atleast_1d(wanted)
    found: list[Any] = wanted[np.isin(wanted, values)].tolist()
    return found


OVER_TIME: frozenset[PictureKind] = frozenset({"traces", "heat", "raster", "rates", "channels"})
"""Kinds whose horizontal axis is time."""

_OF_REPORTS: frozenset[PictureKind] = frozenset({"traces", "heat", "neuron"})
_OF_NETWORKS: frozenset[PictureKind] = frozenset({"weights", "matrix", "state"})
_APPLIES_TO: dict[str, frozenset[PictureKind]] = {
    "cells": _OF_REPORTS | {"raster", "rates", "weights", "matrix"},
    "group_by": _OF_REPORTS | {"raster", "rates"},
    "color_by": frozenset({"traces", "raster", "neuron"}),
    "overlay": frozenset({"traces"}),
    "numbers": frozenset({"traces", "heat"}),
    "labels": frozenset({"traces", "heat"}),
    "channels": frozenset({"channels"}),
    "report": _OF_REPORTS | {"channels", "arrays"},
    "population": _OF_REPORTS | _OF_NETWORKS | {"raster", "rates"},
    "variable": _OF_REPORTS | _OF_NETWORKS | {"arrays"},
    "start": OVER_TIME | {"neuron", "arrays"},
    "stop": OVER_TIME | {"neuron", "arrays"},
    "at": frozenset({"neuron"}),
    "how": frozenset({"heat"}),
    "bin_width": frozenset({"rates"}),
}
"""The kinds of plots that each field of ``PictureOptions`` applies to."""

_FLAGS = {
    "group_by": "--group-by",
    "color_by": "--color-by",
    "how": "--pixel",
    "start": "--time",
    "stop": "--time",
    "bin_width": "--bin",
    "labels": "",
}


def _flag(name: str) -> str:
    """Return the name of a field with the option of ``ndx-sim plot`` that sets it, if any."""
    flag = _FLAGS.get(name, f"--{name}")
    return f"{name} ({flag})" if flag else name


def _kinds_with(kind: PictureKind | None, options: PictureOptions) -> tuple[PictureKind, ...]:
    """Return the kinds to draw: ``kind``, or those of an overview that the options apply to."""
    given = [name for name in _APPLIES_TO if getattr(options, name) is not None]
    kinds = _OVERVIEW if kind is None else (kind,)
    for name in given:
        kinds = tuple(one for one in kinds if one in _APPLIES_TO[name])
        if not kinds:
            known = ", ".join(one for one in KINDS if one in _APPLIES_TO[name])
            what = "the overview" if kind is None else f"a plot of kind {kind!r} (--kind)"
            what += " with the other options" if kind is None and len(given) > 1 else ""
            msg = f"{_flag(name)} does not apply to {what}; it applies to the kinds: {known}"
            raise SelectionError(msg)
    return kinds


def check_selection(
    output: SimulationOutput, kind: PictureKind | None, options: PictureOptions
) -> tuple[PictureKind, ...]:
    """Return the kinds to draw, or raise an error.

    It is an error if an option does not apply to the kind, or a selected name, id or time does not
    occur in the output.
    """
    kinds = _kinds_with(kind, options)
    for name, found in names_to_select(output, arrays=options.report or options.variable).items():
        wanted = getattr(options, name)
        if wanted is not None and wanted not in found:
            _raise_unknown(name, repr(wanted), found)
    _check_times(output, options)
    _check_ids(output, options, kinds)
    _check_groups(output, options)
    return kinds


def names_to_select(output: SimulationOutput, *, arrays: Any = True) -> dict[str, list[str]]:
    """Return the names that ``report``, ``population`` and ``variable`` select."""
    grids = list(grids_of(output)) if arrays else []
    known = {
        "report": _report_names(output, grids),
        "population": _population_names(output),
        "variable": _variable_names(output, grids),
    }
    return {option: [name for name in names if name] for option, names in known.items()}


def _report_names(output: SimulationOutput, grids: Iterable[Grid]) -> Iterator[str | None]:
    """Yield the names that ``report`` selects."""
    for report in output.reports:
        yield from (report.name, report.report)
    for potential in output.potentials:
        yield potential.name
    for grid in grids:
        yield from sorted(_names_of(grid))


def _population_names(output: SimulationOutput) -> Iterator[str | None]:
    """Yield the names that ``population`` selects."""
    yield from (report.population for report in output.reports)
    yield from (spikes.population for spikes in output.spikes)
    if output.circuit is not None:
        yield from (cells.population for cells in output.circuit.populations)
    for network in output.networks:
        yield from (population.name for population in network.populations)
        for projection in network.projections:
            yield from (projection.name, projection.pre, projection.post)


def _variable_names(output: SimulationOutput, grids: Iterable[Grid]) -> Iterator[str | None]:
    """Yield the names that ``variable`` selects."""
    for report in output.reports:
        yield from (report.variable, report.report)
    for network in output.networks:
        for population in network.populations:
            yield from (quantity.name for quantity in neuron_quantities(population))
        for projection in network.projections:
            yield from (quantity.name for quantity in synapse_quantities(projection))
    for grid in grids:
        yield from (grid.label, grid.name, *grid.titles)


def _raise_unknown(
    name: str,
    wanted: str,
    names: Iterable[str],
    error: type[SimulationOutputError] = NothingRecordedError,
) -> None:
    """Raise an error with the names that exist."""
    unique = list(dict.fromkeys(names))
    more = ["…"] if len(unique) > _MAX_NAMES else []
    known = ", ".join([*unique[:_MAX_NAMES], *more]) or "none"
    msg = f"the output has no {_flag(name)} {wanted}; it has: {known}"
    raise error(msg)


def tables_of(
    output: SimulationOutput, options: PictureOptions, having: str | None = None
) -> list[CellTable]:
    """Return the tables of the cells of the selected reports and spikes, and of the circuit.

    Without the property ``having``, if given, they are left out.
    """
    shown = options.in_space(output)
    tables = [report.compartments.cells for report in shown.reports]
    tables += [spikes.cells for spikes in shown.spikes if spikes.cells is not None]
    tables += () if shown.circuit is None else shown.circuit.populations
    return [table for table in tables if having in {None, "node_id", *table.columns}]


def _check_query(output: SimulationOutput, options: PictureOptions, query: Cells) -> None:
    """Check that cells are selected by properties or by a node set of one of their populations."""
    choice = Choice(query)
    n_cells = sum(len(choice.rows_of(table)) for table in tables_of(output, options))
    choice.check(are_all_known=True, found=True)
    if not n_cells:
        msg = f"no cell matches {choice} (--cells)"
        raise CellNotFoundError(msg)


def _check_groups(output: SimulationOutput, options: PictureOptions) -> None:
    """Check that the cells of a population have the property to group or colour by."""
    if options.group_by is not None and options.color_by is not None:
        msg = f"expected {_flag('group_by')} or {_flag('color_by')}; found both"
        raise SelectionError(msg)
    field = "group_by" if options.color_by is None else "color_by"
    name = getattr(options, field)
    tables = tables_of(output, options)
    if name is not None and not tables_of(output, options, name):
        known = dict.fromkeys(column for table in tables for column in sorted(table.columns))
        msg = f"no cells have the property {name!r} ({_FLAGS[field]}); properties: "
        shown = [*known][:_MAX_NAMES] + ["…"] * (len(known) > _MAX_NAMES)
        raise SelectionError(msg + (", ".join(shown) or "none, as there is no circuit"))


def _check_ids(
    output: SimulationOutput, options: PictureOptions, kinds: Sequence[PictureKind]
) -> None:
    """Check the selected cells and channels."""
    if options.channels is not None:
        ids = [np.asarray(one.channel_ids) for one in options.potentials(output)]
        _check_known("channels", options.channels, ids)
    reports = options.reports(output)
    if isinstance(options.cells, str | Mapping):
        _check_query(output, options, options.cells)
    elif options.cells is not None:
        spiking = [] if options.report or options.variable else options.spikes(output)
        cells = [ids for _, ids in _known_cells(reports, spiking)]
        # Without recordings, the cells of the circuit are drawn.
        cells = cells or [np.asarray(table.ids[:]) for table in tables_of(output, options)]
        if _OF_NETWORKS & set(kinds):
            cells += [
                np.asarray(one.post_ranks[:], np.int64)
                for network in output.networks
                for one in network.projections
            ]
        # Without a report, cells that never spiked may be unknown.
        if not reports and cells and np.isin(as_ids(options.cells), np.concatenate(cells)).any():
            return
        _check_known("cells", options.cells, cells)
    for name, column in _COLUMNS.items():
        wanted = getattr(options, name)
        if wanted is not None:
            tables = [report.compartments for report in reports]
            columns = [
                np.asarray(one.columns[column][:]) for one in tables if column in one.columns
            ]
            _check_known(name, wanted, columns)


def _known_cells(
    reports: Iterable[Report], spiking: Iterable[Spikes]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the population and the ids of the cells of each report, and of those of spikes."""
    for report in reports:
        yield report.population, np.asarray(report.compartments.cell_ids[:]).astype(np.int64)
    for spikes in spiking:
        yield spikes.population, spikes.known_cells


def _check_known(name: str, wanted: Any, ids: Sequence[NDArray[Any]]) -> None:
    known = np.unique(np.concatenate(ids)) if ids else np.zeros(0, np.int64)
    wanted = np.atleast_1d(wanted)
    if not len(wanted):
        msg = f"{_flag(name)} is empty; expected at least one of: {some_of(known) or 'none'}"
        raise SelectionError(msg)
    missing = wanted[~np.isin(wanted, known)]
    if len(missing):
        some = [some_of(known)] if len(known) else []
        error = CellNotFoundError if name == "cells" else NothingRecordedError
        _raise_unknown(name, some_of(missing), some, error)


def _check_times(output: SimulationOutput, options: PictureOptions) -> None:
    """Check that the time window and ``at`` are within the recording."""
    start, stop = (
        default if time is None else time
        for time, default in ((options.start, -np.inf), (options.stop, np.inf))
    )
    if not start < stop:
        msg = f"start (--time) is {start} s and stop {stop} s; expected start < stop"
        raise SelectionError(msg)
    ends = list(_recorded_ends(output))
    if options.start is not None or options.stop is not None:
        ends += (end for grid in grids_of(output) if (end := grid.ends()) is not None)
    if not ends:
        return
    first, last = min(start for start, _ in ends), max(stop for _, stop in ends)
    times = {"start": options.start, "stop": options.stop, "at": options.at}
    outside = {
        "start": options.start is not None and options.start >= last,
        "stop": options.stop is not None and options.stop <= first,
        "at": options.at is not None and not first <= options.at <= last,
    }
    for name, is_outside in outside.items():
        if is_outside:
            msg = (
                f"{_flag(name)} {times[name]:.12g} s is outside of the recording, which has times "
                f"from {first:.12g} to {last:.12g} s"
            )
            raise NothingRecordedError(msg)


def _recorded_ends(output: SimulationOutput) -> Iterator[tuple[float, float]]:
    """Yield start and end (s) of the run and of its recordings."""
    if output.run.duration is not None and (output.reports or output.spikes or output.potentials):
        yield 0.0, output.run.duration
    yield from _series_ends(output)
    yield from _spike_ends(output)


def _series_ends(output: SimulationOutput) -> Iterator[tuple[float, float]]:
    """Yield start and end (s) of reports and potentials; the last value is before an end."""
    recordings: tuple[Recorded, ...] = (*output.reports, *output.potentials)
    for recorded in recordings:
        times = recorded.times
        if isinstance(times, RegularTimes) and times.count:
            yield times.start, times.start + times.count / times.rate
        elif times.count:
            first, last = seconds_at(times, np.array([0, times.count - 1]))
            yield float(first), float(np.nextafter(last, np.inf))


def _spike_ends(output: SimulationOutput) -> Iterator[tuple[float, float]]:
    """Yield start and end (s) of spikes and of the times in which they were recorded."""
    for spikes in output.spikes:
        if spikes.span is not None:
            yield spikes.span[0], float(np.nextafter(spikes.span[1], np.inf))
        if spikes.intervals is not None and len(spikes.intervals):
            yield float(spikes.intervals.min()), float(spikes.intervals.max())


def _names_of(grid: Grid) -> set[str]:
    """Return the path of an array, the names of its groups and its own, and its titles."""
    return {grid.name, *grid.name.strip("/").split("/"), grid.label, *grid.titles}


def nothing_to_draw(
    output: SimulationOutput, kind: PictureKind | None, options: PictureOptions
) -> str:
    """Return an error message with the selection and the contents of the output."""
    selected = {
        "kind": kind,
        **{field.name: getattr(options, field.name) for field in fields(options)},
    }
    selection = ", ".join(
        f"{name}={value!r}" for name, value in selected.items() if value is not None
    )
    names = None if output.circuit is None else {one.name for one in output.circuit.summary}

    def of(population: str) -> str:
        is_known = names is None or population in names
        return f"{population}{'' if is_known else ' (not in the circuit)'}"

    recorded = [f"report {report.name} of {of(report.population)}" for report in output.reports]
    recorded += [f"spikes of {of(spikes.population)}" for spikes in output.spikes]
    recorded += [f"potential {potential.name}" for potential in output.potentials]
    recorded += [f"state {network.name}" for network in output.networks]
    circuit = () if output.circuit is None else output.circuit.populations
    places = {id(cells) for cells in cells_in_space(output)}
    recorded += [
        f"cells of {cells.population}{'' if id(cells) in places else ' without x and y'}"
        for cells in circuit
    ]
    recorded += [f"arrays of {group.name}" for group in output.arrays]
    found = ", ".join(recorded) or "no recorded data"
    where = f" with {selection}" if selection else ""
    return f"there is nothing to draw{where}; the output has: {found}"
