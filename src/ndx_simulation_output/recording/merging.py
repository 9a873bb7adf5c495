"""Merge the outputs of the ranks of a parallel run, or of the parts of a run in time."""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from itertools import combinations, pairwise, product
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    NameClashError,
    ShapeMismatchError,
    SimulationOutputWarning,
    SourceError,
)
from ndx_simulation_output.recording.array_groups import ArrayGroup
from ndx_simulation_output.recording.cells import CellTable, take_rows
from ndx_simulation_output.recording.circuit import Circuit
from ndx_simulation_output.recording.compartments import CompartmentTable
from ndx_simulation_output.recording.continuing import (
    Span,
    by_start,
    common_provenance,
    join_potentials_in_time,
    join_reports_in_time,
    span_of,
    text_of_unit,
)
from ndx_simulation_output.recording.ids import distinct_ids, free_name
from ndx_simulation_output.recording.joined_spikes import JoinedSpikes
from ndx_simulation_output.recording.network import NetworkSnapshot
from ndx_simulation_output.recording.output import (
    ExtracellularPotential,
    LaterNotes,
    Run,
    SimulationOutput,
)
from ndx_simulation_output.recording.reports import Report
from ndx_simulation_output.recording.spikes import Spikes
from ndx_simulation_output.recording.times import RegularTimes
from ndx_simulation_output.recording.views import Joined

_BLOCK_ROWS = 2**18
_LONGEST = 80  # characters of a value in a message

_Item = TypeVar("_Item")
_Named = TypeVar("_Named", ExtracellularPotential, ArrayGroup, NetworkSnapshot)
_Parts = list[tuple[str, _Item]]
"""Parts of one object, each with the name of its file."""


def merge_outputs(named: Sequence[tuple[str, SimulationOutput]]) -> SimulationOutput:
    """Merge several outputs, each passed with its file name.

    Reports of the same name and population are concatenated along the compartments, in the order of
    the files.
    If they have the same cells and other times, they are parts of a run and are joined along time,
    in its order, as potentials are. Spikes are combined by population. Objects that are in one file
    only are unchanged. Session and run values are taken from the first file that defines them, with
    a warning if another file differs. Report data are not loaded; closing the result closes all
    outputs.
    """
    if len(named) == 1:
        return named[0][1]
    notes = [f"{name}: {note}" for name, output in named for note in output.known_notes]
    reports = _grouped(named, lambda output: output.reports, _report_key(named))
    spikes = _grouped(named, lambda output: output.spikes, lambda some: some.population)
    potentials = _grouped(named, lambda output: output.potentials, lambda one: one.name)
    arrays = _grouped(named, lambda output: output.arrays, lambda group: group.name)
    networks = _grouped(named, lambda output: output.networks, lambda network: network.name)
    spans = {name: _span(output) for name, output in named}
    in_time = _any_in_time([*reports, *potentials, *spikes], spans)
    run = _first_values([(name, _run_values(output, in_time=in_time)) for name, output in named])
    sections = dict.fromkeys(section for _, output in named for section in output.session)
    merged = SimulationOutput(
        reports=distinct_names([_join_reports(parts, notes) for parts in reports]),
        spikes=tuple(_join_spikes(parts, spans, notes) for parts in spikes),
        potentials=tuple(_join_potentials(parts, notes) for parts in potentials),
        arrays=tuple(map(_only_one, arrays)),
        networks=tuple(map(_only_one, networks)),
        circuit=_join_circuits(
            [(name, one.circuit) for name, one in named if one.circuit is not None]
        ),
        run=Run(**run),
        session={
            section: _first_values(
                [(name, output.session.get(section, {})) for name, output in named]
            )
            for section in sections
        },
        provenance=_provenance([output.provenance for _, output in named]),
    )

    def later(_: Sequence[Spikes]) -> Iterator[str]:
        for name, output in named:
            for note in output.known_notes.later(output.spikes):
                yield f"{name}: {note}"

    with ExitStack() as stack:
        for _, output in named:
            stack.callback(output.close)
        return replace(merged, notes=LaterNotes(notes, later), close=stack.pop_all().close)


def _report_key(named: Sequence[tuple[str, SimulationOutput]]) -> Callable[[Report], Hashable]:
    """Return what reports of several files must share to be joined: report and population.

    If a file has several such reports, as files that were not read from SONATA may, their names
    must be equal too.
    """
    repeated = {
        key
        for _, output in named
        for key, count in Counter((one.report, one.population) for one in output.reports).items()
        if count > 1
    }

    def key(report: Report) -> Hashable:
        pair = report.report, report.population
        return (*pair, report.name) if pair in repeated else pair

    return key


def distinct_names(reports: Sequence[Report]) -> tuple[Report, ...]:
    """Return reports of which those with a name in common have other names.

    Reports of one name and several populations are named ``report_population``, with a number if
    another report has this name. Two reports of one name and population keep it.
    """
    names = Counter(report.name for report in reports)
    pairs = Counter((report.report, report.population) for report in reports)
    own = Counter(report.name for report in reports if report.name == report.report)
    used, named = set(names), []
    for report in reports:
        is_own = report.name == report.report and own[report.name] == 1
        repeated = pairs[report.report, report.population] > 1
        name = report.name
        if names[name] > 1 and not (is_own or repeated):
            name = free_name(f"{report.report}_{report.population}", used)
            used.add(name)
        named.append(replace(report, name=name))
    return tuple(named)


def join_notes(first: str, *others: str) -> str:
    """Return a text with the lines of ``others`` that it does not have appended."""
    lines = first.splitlines()
    for line in (line for other in others for line in other.splitlines()):
        if line not in lines:
            lines.append(line)
    return first if len(lines) == len(first.splitlines()) else "\n".join(lines)


def join_tables(tables: Sequence[CompartmentTable]) -> CompartmentTable:
    """Concatenate tables that have the same population and columns."""
    # An empty column may be of any type.
    filled = [table for table in tables if table.n_compartments] or list(tables[:1])
    first = filled[0]
    for table in filled[1:]:
        if _kind(table) != _kind(first):
            msg = f"a table to be joined has {_kind(table)}; expected {_kind(first)}, as the first"
            raise ShapeMismatchError(msg)
    joined = CompartmentTable.from_counts(
        first.population,
        _concatenated(table.cell_ids for table in filled),
        np.concatenate([table.counts() for table in filled]),
        {name: _concatenated(table.columns[name] for table in filled) for name in first.columns},
        {
            name: take_rows([(table.cell_columns[name], np.arange(len(table))) for table in filled])
            for name in first.cell_columns
        },
    )
    return replace(
        joined,
        node_sets=_first_of(table.node_sets for table in filled),
        notes=lambda: [note for table in filled for note in table.notes()],
    )


def _first_of(found: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the first mapping that is not empty."""
    return next((one for one in found if one), {})


def _kind(table: CompartmentTable) -> str:
    columns = [*sorted(table.columns), *sorted(table.cell_columns)]
    return f"population {table.population!r} and columns {', '.join(columns) or 'none'}"


def _concatenated(arrays: Iterable[Any]) -> NDArray[Any]:
    return np.concatenate([np.asarray(array[:]) for array in arrays])


def _grouped(
    named: Sequence[tuple[str, SimulationOutput]],
    items: Callable[[SimulationOutput], Iterable[_Item]],
    key: Callable[[_Item], Hashable],
) -> list[_Parts[_Item]]:
    """Return the objects of all files, grouped by ``key`` in order of first occurrence."""
    groups: dict[Hashable, _Parts[_Item]] = {}
    for name, output in named:
        for item in items(output):
            groups.setdefault(key(item), []).append((name, item))
    return list(groups.values())


def _join_reports(parts: _Parts[Report], notes: list[str]) -> Report:
    """Join reports of one name: along time if parts have the same cells and begin at other times.

    Several files may have the cells of one part, as the ranks of each run.
    """
    spans = [span_of(report.times) for _, report in parts]
    known = [span for span in spans if span is not None]
    groups = by_start(known) if len(known) == len(parts) else []
    if len(groups) < 2 or not _share_cells(parts, groups):
        return _join_cells(parts, notes)
    joined = []
    for group in groups:
        files = [parts[position] for position in group]
        joined.append((" and ".join(name for name, _ in files), _join_cells(files, notes)))
    _check_properties(joined, without="times")
    report, found = join_reports_in_time(joined)
    if not report.provenance:
        where = f"report {report.name!r}"
        _note_provenance(where, (part.provenance for _, part in joined), notes)
    notes += found
    return report


def _share_cells(parts: _Parts[Report], groups: Sequence[Sequence[int]]) -> bool:
    """Return True if reports that begin at different times have a cell in common."""
    cells = [
        np.concatenate(
            [np.asarray(parts[position][1].compartments.cell_ids[:]) for position in group]
        )
        for group in groups
    ]
    return any(len(np.intersect1d(one, other)) for one, other in combinations(cells, 2))


def _join_cells(parts: _Parts[Report], notes: list[str]) -> Report:
    """Join reports of the same times along the compartments."""
    first = parts[0][1]
    if len(parts) == 1:
        return first
    rows = [report.times.count for _, report in parts]
    if len(set(rows)) > 1:
        found = ", ".join(
            f"{count} in {name}" for count, (name, _) in zip(rows, parts, strict=True)
        )
        msg = f"report {first.name!r} has numbers of rows that differ: {found}; expected the same"
        raise ShapeMismatchError(msg)
    _check_properties(parts)
    for name, report in parts[1:]:
        # Regular times of equal start, rate and count are equal.
        is_regular = isinstance(first.times, RegularTimes)
        if not is_regular and not np.array_equal(first.times.seconds(), report.times.seconds()):
            msg = (
                f"report {first.name!r} has other timestamps in {name} than in {parts[0][0]}; "
                "expected the same"
            )
            raise ShapeMismatchError(msg)
    where = f"report {first.name!r}"
    _check_cells(where, [(name, report.compartments.cell_ids) for name, report in parts])
    _note_provenance(where, (report.provenance for _, report in parts), notes)
    return replace(
        first,
        data=Joined(tuple(report.data for _, report in parts)),
        compartments=join_tables([report.compartments for _, report in parts]),
        provenance={},
    )


def _check_properties(parts: _Parts[Report], *, without: str = "") -> None:
    """Raise a ShapeMismatchError unless reports have the properties of the first."""
    file, first = parts[0]
    expected = _properties(first)
    variables = {report.variable: name for name, report in parts if report.variable}
    if len(variables) > 1:
        found = ", ".join(f"{variable} in {name}" for variable, name in variables.items())
        msg = f"report {first.name!r} has values of several variables: {found}; expected one"
        raise ShapeMismatchError(msg)
    for name, report in parts[1:]:
        for key, found in _properties(report).items():
            if found != expected[key] and key != without:
                msg = (
                    f"report {first.name!r} has the {key} {found} in {name}; expected "
                    f"{expected[key]}, as in {file}"
                )
                raise ShapeMismatchError(msg)


def _properties(report: Report) -> dict[str, Any]:
    """Return the properties that reports must share, as text for a message."""
    table, times = report.compartments, report.times
    sampling = "timestamps"
    if isinstance(times, RegularTimes):
        sampling = f"{times.rate} Hz from {times.start} s"
    return {
        "population": table.population,
        "unit": text_of_unit(report.unit),
        "type": report.data.dtype.newbyteorder("=").name,
        "times": sampling,
        "columns": ", ".join([*sorted(table.columns), *sorted(table.cell_columns)]) or "none",
    }


def _check_cells(where: str, parts: _Parts[Any]) -> None:
    """Raise a SourceError if a cell is in more than one file."""
    own = [distinct_ids(np.asarray(ids[:])) for _, ids in parts]
    cells = np.concatenate(own)
    file_of = np.repeat(np.arange(len(parts)), [len(ids) for ids in own])
    order = np.argsort(cells, kind="stable")
    again = order[1:][cells[order[1:]] == cells[order[:-1]]]
    if len(again):
        wrong = again.min()
        first = parts[file_of[np.argmax(cells == cells[wrong])]][0]
        msg = (
            f"cell {cells[wrong]} of {where} is in {first} and in {parts[file_of[wrong]][0]}; "
            "expected each cell in one file"
        )
        raise SourceError(msg)


def _join_potentials(
    parts: _Parts[ExtracellularPotential], notes: list[str]
) -> ExtracellularPotential:
    """Join potentials of one name along time if they begin at different times."""
    spans = [span for _, potential in parts if (span := span_of(potential.times)) is not None]
    groups = by_start(spans)
    if len(parts) == 1 or len(groups) < len(parts):
        return _only_one(parts)
    ordered = [parts[group[0]] for group in groups]
    potential, found = join_potentials_in_time(ordered)
    if not potential.provenance:
        _note_provenance(repr(potential.name), (part.provenance for _, part in ordered), notes)
    notes += found
    return potential


def _span(output: SimulationOutput) -> Span | None:
    """Return the span of the reports, potentials and intervals of an output."""
    times = [report.times for report in output.reports]
    times += [potential.times for potential in output.potentials]
    spans = [span_of(some) for some in times]
    spans += [
        Span(float(some.intervals.min()), float(some.intervals.max()), 0.0)
        for some in output.spikes
        if some.intervals is not None and some.intervals.size
    ]
    known = [span for span in spans if span is not None]
    if not known:
        return None
    return Span(
        min(span.first for span in known),
        max(span.last for span in known),
        max(span.step for span in known),
    )


def _run_values(output: SimulationOutput, *, in_time: bool) -> dict[str, Any]:
    """Return the parameters of a run; the duration of a part ``in_time`` is not that of the run."""
    values = asdict(output.run)
    return {**values, "duration": None} if in_time else values


def _any_in_time(groups: Iterable[_Parts[Any]], spans: Mapping[str, Span | None]) -> bool:
    """Return True if recordings that files have in common begin at different times."""
    for parts in groups:
        found = [
            span_of(item.times) if hasattr(item, "data") else spans[name] for name, item in parts
        ]
        if len(by_start([span for span in found if span is not None])) > 1:
            return True
    return False


def _parts_in_time(parts: _Parts[Spikes], spans: Mapping[str, Span | None]) -> list[_Parts[Spikes]]:
    """Return the spikes of each part of a run, in the order of time if that is known."""
    known = [span for name, _ in parts if (span := spans[name]) is not None]
    if len(known) < len(parts):
        return [parts]
    return [[parts[position] for position in group] for group in by_start(known)]


def _check_order(where: str, groups: Sequence[_Parts[Spikes]]) -> None:
    """Raise a SourceError if a cell still has spikes after those of the next part of a run."""
    for before, after in pairwise(groups):
        for (name, one), (other, two) in product(before, after):
            shared = np.intersect1d(one.node_ids, two.node_ids)
            mine = one.times[np.isin(one.node_ids, shared)]
            others = two.times[np.isin(two.node_ids, shared)]
            if len(mine) and mine.max() > others.min():
                msg = (
                    f"cell {shared[0]} of the spikes of {where} is in {name} until "
                    f"{mine.max():.9g} s and in {other} from {others.min():.9g} s; expected that "
                    "one begins where the other ends"
                )
                raise SourceError(msg)


def _without_repeats(
    where: str, groups: Sequence[_Parts[Spikes]], notes: list[str]
) -> list[_Parts[Spikes]]:
    """Return spikes without those with which a part of a run repeats the end of the one before."""
    kept = [list(groups[0])]
    for group in groups[1:]:
        ended = [spikes for _, spikes in kept[-1] if len(spikes.times)]
        last = max((spikes.times.max() for spikes in ended), default=math.nan)
        cells = [spikes.node_ids[spikes.times == last] for spikes in ended]
        again = np.concatenate([np.zeros(0, np.int64), *cells])
        kept.append([])
        for name, spikes in group:
            repeated = (spikes.times == last) & np.isin(spikes.node_ids, again)
            if repeated.any():
                notes.append(
                    f"{name}: {repeated.sum()} spikes of {where} at {last:.9g} s, with which the "
                    "part before ends, are kept once"
                )
            kept[-1].append((name, _where(spikes, ~repeated)))
    return kept


def _where(spikes: Spikes, mask: NDArray[np.bool_]) -> Spikes:
    if mask.all():
        return spikes
    columns = {name: values[mask] for name, values in spikes.columns.items()}
    return replace(
        spikes, node_ids=spikes.node_ids[mask], times=spikes.times[mask], columns=columns
    )


def _join_spikes(
    parts: _Parts[Spikes], spans: Mapping[str, Span | None], notes: list[str]
) -> Spikes:
    """Join spikes; the result is sorted by cell or time if all files are, else in file order."""
    if len(parts) == 1:
        return parts[0][1]
    where = f"population {parts[0][1].population!r}"
    groups = _parts_in_time(parts, spans)
    for group in groups:
        _check_cells(f"the spikes of {where}", [(name, _recorded(some)) for name, some in group])
    _check_order(where, groups)
    groups = _without_repeats(where, groups, notes)
    spikes = [some for group in groups for _, some in group]
    provenances = [some.provenance for some in spikes]
    provenance = common_provenance(provenances) if len(groups) == len(parts) > 1 else {}
    if not provenance:
        _note_provenance(f"the spikes of {where}", provenances, notes)
    orders = ["times", "node_ids"] if len(groups) > 1 else ["node_ids", "times"]
    by = next((one for one in orders if all(some.are_sorted(one) for some in spikes)), None)
    silent = [some.silent for some in spikes if some.silent is not None]
    spiking = np.concatenate([some.spiking_cells for some in spikes])
    known: dict[str, Any] = {
        "provenance": {**provenance, **_not_finite(spikes)},
        # A cell may be silent in one part of a run only.
        "silent": np.setdiff1d(np.concatenate(silent), spiking) if silent else None,
        "intervals": _join_intervals(where, groups, notes),
        "cells": _join_cells_of(spikes),
    }
    joined = JoinedSpikes(tuple(spikes), by, known)
    if all(some.is_read for some in spikes):
        return Spikes(
            parts[0][1].population, *joined.take(None, (None, None)), **known, checked=False
        )
    return Spikes.of_source(parts[0][1].population, joined)


def _join_cells_of(spikes: Sequence[Spikes]) -> CellTable | None:
    """Return the table of all cells; those of a later table are added if no other one has them."""
    tables = [some.cells for some in spikes if some.cells is not None]
    if not tables:
        return None
    ids = [np.asarray(table.ids[:]) for table in tables]
    is_first = np.zeros(sum(map(len, ids)), bool)
    is_first[np.unique(np.concatenate(ids), return_index=True)[1]] = True
    chosen = np.split(is_first, np.cumsum([len(some) for some in ids])[:-1])
    added = [
        (table, np.flatnonzero(some))
        for number, (table, some) in enumerate(zip(tables, chosen, strict=True))
        if some.any() or not number
    ]
    joined = tables[0]
    if len(added) > 1:
        names = dict.fromkeys(name for table, _ in added for name in table.columns)
        columns = {
            name: take_rows([(table.columns.get(name), rows) for table, rows in added])
            for name in names
        }
        joined = replace(joined, ids=np.concatenate(ids)[is_first], columns=columns)
    return replace(joined, node_sets=_first_of(table.node_sets for table in tables))


def _join_circuits(parts: _Parts[Circuit]) -> Circuit | None:
    """Return the populations, connections and node sets of all circuits.

    Those of one name must be equal.
    """
    if not parts:
        return None
    populations = _same_of(parts, "population", lambda one: one.populations, "population")
    connections = _same_of(parts, "connections", lambda one: one.connections, "name")
    summary = _same_of(parts, "population", lambda one: one.summary, "name")
    node_sets: dict[str, tuple[str, Any]] = {}
    for file, circuit in parts:
        for name, found in circuit.node_sets.items():
            first, known = node_sets.setdefault(name, (file, found))
            if found != known:
                msg = f"node set {name!r} is {found} in {file}; expected {known}, as in {first}"
                raise NameClashError(msg)
    circuits = [circuit for _, circuit in parts]
    values = _first_values(
        [(file, {"the circuit configuration": one.configuration}) for file, one in parts]
    )
    return Circuit(
        populations,
        connections,
        {name: found for name, (_, found) in node_sets.items()},
        summary,
        values.get("the circuit configuration"),
        circuits[0].provenance,
    )


def _same_of(
    parts: _Parts[Circuit], what: str, items: Callable[[Circuit], Iterable[_Item]], key: str
) -> tuple[_Item, ...]:
    """Return the parts of all circuits; raise a NameClashError if two of one name differ."""
    found: dict[str, tuple[str, _Item]] = {}
    for file, circuit in parts:
        for item in items(circuit):
            first, known = found.setdefault(getattr(item, key), (file, item))
            if known is not item and (where := _difference(known, item)):
                msg = (
                    f"the circuits of {first} and {file} have other {where} of {what} "
                    f"{getattr(item, key)!r}; expected the same"
                )
                raise NameClashError(msg)
    return tuple(item for _, item in found.values())


def _difference(first: Any, second: Any) -> str:
    """Return the first field in which two parts of circuits differ, or an empty text."""
    for field in fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if field.name == "provenance":
            continue
        if field.name == "columns":
            if set(one) != set(other):
                return "columns"
            wrong = [name for name in one if not _equal_arrays(one[name], other[name])]
            if wrong:
                return f"values of {wrong[0]!r}"
        elif hasattr(one, "dtype"):
            if not _equal_arrays(one, other):
                return field.name
        elif one != other:
            return field.name
    return ""


def _equal_arrays(first: Any, second: Any) -> bool:
    """Return True if lazy arrays have equal values; they are read in blocks."""
    if tuple(first.shape) != tuple(second.shape):
        return False
    for start in range(0, first.shape[0], _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        one, other = np.asarray(first[rows]), np.asarray(second[rows])
        is_number = one.dtype.kind == other.dtype.kind == "f"
        if not np.array_equal(one, other, equal_nan=is_number):
            return False
    return True


def _not_finite(joined: Sequence[Spikes]) -> dict[str, Any]:
    """Return as provenance the spikes of sources at times that are not finite, after all others."""
    found = [
        spikes.provenance["not_finite"] for spikes in joined if "not_finite" in spikes.provenance
    ]
    if not found:
        return {}
    kept = {key: [value for one in found for value in one[key]] for key in ("node_ids", "bits")}
    total = sum(map(len, joined))
    positions = list(range(total, total + len(kept["bits"])))
    return {"format": "SONATA", "not_finite": {"positions": positions, **kept}}


def _join_intervals(
    where: str, groups: Sequence[_Parts[Spikes]], notes: list[str]
) -> NDArray[np.float64] | None:
    """Return the intervals in which all cells were recorded, of one part of a run after another."""
    known = []
    for group in groups:
        first = group[0][1].intervals
        if first is None and all(some.intervals is None for _, some in group):
            continue
        if first is None or any(not _same(some.intervals, first) for _, some in group):
            notes.append(
                f"left out: when cells of {where} were recorded, which differs between files"
            )
            return None
        known.append(first)
    if not known or len(known) < len(groups):
        return None
    joined = known[0]
    for one in known[1:]:
        touches = len(joined) and len(one) and math.isclose(joined[-1, 1], one[0, 0])
        if touches:
            joined = np.concatenate([joined[:-1], [[joined[-1, 0], one[0, 1]]], one[1:]])
        else:
            joined = np.concatenate([joined, one])
    return joined


def _recorded(spikes: Spikes) -> NDArray[Any]:
    """Return the ids of recorded cells, with repeats."""
    spiking = spikes.spiking_cells
    return spiking if spikes.silent is None else np.append(spiking, spikes.silent)


def _same(first: NDArray[Any] | None, second: NDArray[Any] | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)


def _only_one(parts: _Parts[_Named]) -> _Named:
    if len(parts) > 1:
        files = " and ".join(name for name, _ in parts)
        msg = f"{parts[0][1].name!r} is in {files} and cannot be joined; expected it in one file"
        raise NameClashError(msg)
    return parts[0][1]


def _note_provenance(
    where: str, provenances: Iterable[Mapping[str, Any]], notes: list[str]
) -> None:
    """Add a note that the joined object has no storage details of the individual files."""
    if any("format" in provenance for provenance in provenances):
        notes.append(f"left out: how {where} was stored in the sources of each file")


def _provenance(provenances: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the provenance of the first file with the sources of all."""
    files = [file for provenance in provenances for file in provenance.get("files", [])]
    return {**provenances[0], **({"files": list(dict.fromkeys(files))} if files else {})}


def _first_values(named: _Parts[Mapping[str, Any]]) -> dict[str, Any]:
    """Return each value of the first file that has it; warn if another differs, but join notes."""
    merged: dict[str, tuple[str, Any]] = {}
    for name, values in named:
        for key, value in values.items():
            if value is None:
                continue
            file, kept = merged.setdefault(key, (name, value))
            if key == "notes":
                merged[key] = (file, join_notes(kept, value))
            elif kept != value:
                warnings.warn(
                    f"{key} is {_shortened(value)} in {name} and {_shortened(kept)} in {file}, "
                    "which is kept unless the metadata set it (--metadata FILE.yaml)",
                    SimulationOutputWarning,
                    stacklevel=3,
                )
    return {key: value for key, (_, value) in merged.items()}


def _shortened(value: Any) -> str:
    """Return a value as text of one line, for a message: a configuration has many."""
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
