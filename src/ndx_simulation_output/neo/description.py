"""Describe blocks of Neo, from a file or in memory, as a ``SimulationOutput``."""

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SelectionError, SourceError, UnitError, UnitWarning
from ndx_simulation_output.neo.model import (
    IDS,
    SENDERS,
    Block,
    Facts,
    Segment,
    Signal,
    Train,
    parse_neo_unit,
)
from ndx_simulation_output.recording import (
    UNKNOWN,
    ArrayGroup,
    ArrayWithAxes,
    CellTable,
    CompartmentTable,
    Electrodes,
    ExtracellularPotential,
    LazyArray,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    Times,
    Unit,
    parse_unit,
)
from ndx_simulation_output.recording.array_groups import INTERVALS
from ndx_simulation_output.recording.ids import free_name, some_of, storable_text
from ndx_simulation_output.recording.spikes import Ids
from ndx_simulation_output.recording.stored_spikes import StoredSpikes
from ndx_simulation_output.recording.views import (
    Columns,
    FirstIndex,
    Joined,
    Matrix,
    Scaled,
    join_rows,
)

_POPULATIONS = ("source_population", "cell_type", "ps_name", "cell_model", "device")
"""Annotations that name the population: of PyNN, then of BSB."""
_INDICES = ("channel_index", "source_index")
"""Annotations of PyNN with the index of a cell in its population."""
_CELLS = "cells"
_POSITION = ("x", "y", "z")
_SAME = 1e-9
"""Times (s) that differ less are equal: NEURON accumulates rounding errors."""


def describe(
    blocks: Sequence[Block],
    *,
    segment: int | None = None,
    unit: Mapping[str, str] | None = None,
    files: Sequence[str] = (),
) -> SimulationOutput:
    """Return the recordings of blocks, in all segments or the one of this index."""
    return _Description(blocks, segment, unit or {}).output(files)


@dataclass(frozen=True)
class _Place:
    """A segment of a block."""

    block: Block
    rank: int
    """How many blocks before it in the same file have the same name."""
    index: int
    segment: Segment

    def facts(self, annotations: Facts) -> dict[str, Any]:
        """Return the provenance of what is recorded here."""
        return {
            "block": self.block.name,
            "segment": self.segment.name,
            "annotations": dict(annotations),
        }


@dataclass(frozen=True)
class _Part:
    """Channels of a signal that belong to one population."""

    signal: Signal
    channels: NDArray[np.intp]
    place: _Place

    @cached_property
    def facts(self) -> list[Facts]:
        return [self.signal.channels[channel] for channel in self.channels.tolist()]

    @property
    def data(self) -> LazyArray:
        is_whole = len(self.channels) == self.signal.data.shape[1]
        return self.signal.data if is_whole else Columns(self.signal.data, self.channels)


class _Description:
    """Names what is in blocks, and joins what belongs to one population."""

    def __init__(
        self, blocks: Sequence[Block], segment: int | None, unit: Mapping[str, str]
    ) -> None:
        self.blocks, self.units = blocks, unit
        self.notes: list[str] = []
        self._populations: dict[tuple[int, int, str], str] = {}
        count = max((len(block.segments) for block in blocks), default=0)
        if segment is not None and not 0 <= segment < count:
            msg = f"there is no segment {segment} (--segment); expected 0 to {count - 1}"
            raise SelectionError(msg)
        self.indices = range(count) if segment is None else range(segment, segment + 1)
        self.places = list(self._places())

    def _places(self) -> Iterator[_Place]:
        before: dict[tuple[str, str], int] = {}
        for block in self.blocks:
            key = block.source, block.name
            rank = before[key] = before.get(key, -1) + 1
            for index in self.indices:
                if index < len(block.segments):
                    yield _Place(block, rank, index, block.segments[index])

    def output(self, files: Sequence[str]) -> SimulationOutput:
        reports, potentials = self._series()
        spikes = self._spikes()
        arrays = self._intervals()
        if len(self.indices) > 1:
            later = next((name for key, name in self._populations.items() if key[0]), "")
            self.notes.append(
                f"{len(self.indices)} segments, each with times of its own, are described: "
                f"populations of all but the first are named after their segment, such as "
                f"{later!r}; segment=0 (--segment 0) opens one of them"
            )
        self.notes += self._omitted()
        starts = [block.started for block in self.blocks if block.started is not None]
        return SimulationOutput(
            reports=tuple(reports),
            potentials=tuple(potentials),
            spikes=tuple(spikes),
            arrays=tuple(arrays),
            run=self._run(reports, spikes),
            session={"NWBFile": {"session_start_time": min(starts)}} if starts else {},
            notes=tuple(self.notes),
            provenance={
                "format": "neo",
                "files": list(files),
                "blocks": [
                    {
                        "name": block.name,
                        "annotations": dict(block.facts),
                        "segments": [
                            {"name": one.name, "annotations": dict(one.facts)}
                            for one in block.segments
                        ],
                    }
                    for block in self.blocks
                ],
            },
        )

    def _suffix(self, place: _Place) -> str:
        """Return what is added to names of all but the first segment that is described."""
        if place.index == self.indices[0]:
            return ""
        names = [segment.name for segment in place.block.segments]
        own = names[place.index]
        return f"_{own}" if own and names.count(own) == 1 else f"_segment{place.index:03}"

    def _population(self, place: _Place, facts: Facts) -> str:
        """Return the name of the population of a channel or train."""
        found = next((facts[name] for name in _POPULATIONS if facts.get(name)), place.block.name)
        plain = storable_text(str(found)).strip() or _CELLS
        key = place.index, place.rank, plain
        if key not in self._populations:
            used = self._populations.values()
            name = self._populations[key] = free_name(plain + self._suffix(place), used)
            if place.rank:
                self.notes.append(
                    f"block {place.block.name!r} is there {place.rank + 1} times: the population "
                    f"of the last one is named {name!r}"
                )
        return self._populations[key]

    def _series(self) -> tuple[list[Report], list[ExtracellularPotential]]:
        groups: dict[tuple[Any, ...], list[_Part]] = {}
        for place in self.places:
            for number, signal in enumerate(place.segment.signals):
                name = storable_text(signal.name).strip() or f"signal_{number}"
                of_population: dict[str, list[int]] = {}
                for channel, facts in enumerate(signal.channels):
                    population = self._population(place, facts)
                    of_population.setdefault(population, []).append(channel)
                shared = name, signal.unit, _key_of(signal.times), signal.data.dtype
                for population, channels in of_population.items():
                    part = _Part(signal, np.asarray(channels), place)
                    groups.setdefault((population, *shared), []).append(part)
        names: list[str] = []
        for population, name, *_ in groups:
            names.append(free_name(f"{name}_{population}", names))
        known = {*names, *(name for _, name, *_ in groups)}
        for name in self.units:
            if name not in known:
                found = ", ".join(sorted(known)) or "none"
                msg = f"there is no {name!r} whose unit could be set; there are: {found}"
                raise UnitError(msg)
        reports: list[Report] = []
        potentials: list[ExtracellularPotential] = []
        for full, ((population, name, *_), parts) in zip(names, groups.items(), strict=True):
            unit = self._unit(full, name, parts[0].signal.unit)
            of_all = [one for part in parts for one in part.facts]
            arrays = tuple(part.data for part in parts)
            data = arrays[0] if len(arrays) == 1 else Joined(arrays)
            if unit.name == "volts" and all(set(_POSITION) <= set(one) for one in of_all):
                potentials.append(_potential(full, data, unit, parts[0], of_all))
            else:
                reports.append(self._report(full, name, population, data, unit, parts))
        return reports, potentials

    def _report(
        self,
        full: str,
        name: str,
        population: str,
        data: LazyArray,
        unit: Unit,
        parts: Sequence[_Part],
    ) -> Report:
        ids = self._ids(f"channels of {full!r}", [(part.facts, part.place.block) for part in parts])
        order = np.argsort(ids, kind="stable")
        if (order[1:] < order[:-1]).any():
            data = Columns(data, order)
        facts = [one for part in parts for one in part.facts]
        cells, counts = np.unique(ids, return_counts=True)
        shared, varying = _split_facts([facts[index] for index in order.tolist()])
        firsts = np.cumsum(counts) - counts
        columns: dict[str, NDArray[Any]] = {}
        for key, values in list(varying.items()):
            of_cells = [values[first] for first in firsts.tolist()]
            found = _as_column(of_cells)
            is_of_cells = values == np.repeat(np.asarray([*of_cells, None], object)[:-1], counts)
            if found is not None and np.all(is_of_cells):
                columns[key] = found
                del varying[key]
        place, _, variable = name.rpartition(".")
        of_compartments: dict[str, Any] = {
            "number": np.arange(len(ids)) - np.repeat(firsts, counts),
        }
        if place:
            of_compartments["label"] = np.asarray([*[place] * len(ids), None], object)[:-1]
        return Report(
            name=full,
            report=name,
            data=data,
            times=parts[0].signal.times,
            compartments=CompartmentTable.from_counts(
                population, cells, counts, of_compartments, columns
            ),
            unit=unit,
            variable=variable,
            provenance={
                "neo": {"unit": parts[0].signal.unit, **parts[0].place.facts({**shared, **varying})}
            },
        )

    def _spikes(self) -> list[Spikes]:
        groups: dict[str, list[tuple[Train, _Place]]] = {}
        for place in self.places:
            for train in place.segment.trains:
                population = self._population(place, train.facts)
                groups.setdefault(population, []).append((train, place))
        for population, found in list(groups.items()):
            devices: dict[str, list[tuple[Train, _Place]]] = {}
            for train, place in found:
                devices.setdefault(str(train.facts.get("device", "")), []).append((train, place))
            if len(devices) > 1 and _are_recorded_again(found):
                del groups[population]
                for device, own in devices.items():
                    groups[free_name(f"{population}_{device}", groups)] = own
        return [self._spikes_of(population, found) for population, found in groups.items()]

    def _spikes_of(self, population: str, found: Sequence[tuple[Train, _Place]]) -> Spikes:
        what = f"spike trains of {population!r}"
        of_cells = [(train, place) for train, place in found if train.senders is None]
        ids = self._ids(what, [([train.facts], place.block) for train, place in of_cells])
        order = np.argsort(ids, kind="stable").tolist()
        ids, trains = ids[order], [of_cells[index][0] for index in order]
        if (repeated := np.unique(ids[1:][ids[1:] == ids[:-1]])).size:
            self.notes.append(
                f"cells {some_of(repeated)} have several {what}: their spikes are joined"
            )
        shared, varying = _split_facts([_named(train) for train in trains])
        columns = {key: _as_column(values) for key, values in varying.items()}
        known = {key: values for key, values in columns.items() if values is not None}
        cells = None
        if known and len(np.unique(ids)) == len(found):
            cells = CellTable(population, ids, known)
            varying = {key: values for key, values in varying.items() if key not in known}
        joint = [train for train, _ in found if train.senders is not None]
        if joint:
            varying["devices"] = [_named(train) for train in joint]
        is_empty = np.asarray([not train.times.shape[0] for train in trains], bool)
        owners: list[LazyArray] = [
            np.broadcast_to(owner, int(train.times.shape[0]))
            for owner, train in zip(ids, trains, strict=True)
        ]
        times, per_second = _joined_times([*trains, *joint])
        source = StoredSpikes(
            population,
            f"{SENDERS} of {population!r}",
            _concatenated(
                [*owners, *(train.senders for train in joint if train.senders is not None)]
            ),
            times,
            per_second,
            {"neo": found[0][1].facts({**shared, **varying})},
            None if joint else np.setdiff1d(ids, ids[~is_empty]),
            self._bounds(what, [*trains, *joint]),
            cells,
        )
        return Spikes.of_source(population, source)

    def _bounds(self, what: str, trains: Sequence[Train]) -> NDArray[np.float64] | None:
        """Return t_start and t_stop if all trains have the same, apart from rounding."""
        bounds = np.asarray([one.interval for one in trains if one.interval is not None], float)
        if not len(bounds):
            return None
        if len(bounds) < len(trains) or np.ptp(bounds, axis=0).max() > _SAME:
            self.notes.append(f"{what} differ in t_start or t_stop: their intervals are left out")
            return None
        return bounds[:1]

    def _ids(self, what: str, found: Sequence[tuple[Sequence[Facts], Block]]) -> Ids:
        """Return the ids of cells: of all channels or trains in order, or else their positions."""
        ids = [_id_of(facts, block) for channels, block in found for facts in channels]
        if any(one is None for one in ids):
            self.notes.append(
                f"not all {what} name their cell: the ids are their positions, from 0"
            )
            return np.arange(len(ids))
        owners: dict[int, str] = {}
        sources = [block.source for channels, block in found for _ in channels]
        for one, source in zip(ids, sources, strict=True):
            other = owners.setdefault(int(one or 0), source)
            if other != source:
                msg = f"cell {one} of the {what} is in {other} and in {source}: open each alone"
                raise SourceError(msg)
        return np.asarray(ids, np.int64)

    def _intervals(self) -> Iterator[ArrayGroup]:
        names: list[str] = []
        for place in self.places:
            for found in place.segment.intervals:
                kind = "event" if found.durations is None else "epoch"
                plain = storable_text(found.name).strip() or kind
                names.append(free_name(plain + self._suffix(place), names))
                stops = found.times if found.durations is None else found.times + found.durations
                columns = {"start_time": found.times, "stop_time": stops}
                arrays = [
                    ArrayWithAxes(key, one, label=key, unit="s") for key, one in columns.items()
                ]
                arrays += [
                    ArrayWithAxes(key, values, label=key) for key, values in found.columns.items()
                ]
                yield ArrayGroup(
                    names[-1],
                    tuple(arrays),
                    title=f"{kind}s of block {place.block.name}".capitalize(),
                    kind=INTERVALS,
                    extra=place.facts(found.facts),
                )

    def _omitted(self) -> Iterator[str]:
        found: dict[str, int] = {}
        parts = [block.omitted for block in self.blocks]
        for omitted in (*parts, *(place.segment.omitted for place in self.places)):
            for what, count in omitted.items():
                found[what] = found.get(what, 0) + count
        if found:
            texts = [f"{count} {what}" for what, count in found.items()]
            yield f"left out: {', '.join(texts)}"

    def _unit(self, full: str, name: str, text: str) -> Unit:
        given = self.units.get(full, self.units.get(name))
        found = parse_neo_unit(text if given is None else given)
        if found is None and given is not None:
            msg = f"the unit of {name!r} is {given!r}, which is not known; expected one such as mV"
            raise UnitError(msg)
        if found is None:
            warnings.warn(
                f"the unit of {name!r} is {text!r}, which is not known; set it with --unit "
                f"{name}=UNIT (unit={{{name!r}: UNIT}}); stored as 'unknown'",
                UnitWarning,
                stacklevel=2,
            )
        return found or UNKNOWN

    def _run(self, reports: Sequence[Report], spikes: Sequence[Spikes]) -> Run:
        simulators = {block.facts.get("simulator") for block in self.blocks} - {None}
        steps = {block.facts.get("dt") for block in self.blocks} - {None}
        step = next(iter(steps)) if len(steps) == 1 else None
        ends = [one.intervals.max() for one in spikes if one.intervals is not None]
        for report in reports:
            times = report.times
            if isinstance(times, RegularTimes) and times.count:
                ends.append(times.start + (times.count - 1) / times.rate)
        return Run(
            simulator=str(next(iter(simulators))) if len(simulators) == 1 else None,
            time_step=step / 1000 if isinstance(step, int | float) and step > 0 else None,
            duration=float(max(ends)) if ends and max(ends) >= 0 else None,
        )


def _id_of(facts: Facts, block: Block) -> int | None:
    """Return the index of a cell in its population, or else an id that it has; None if unknown."""
    for name in _INDICES:
        if isinstance(facts.get(name), int):
            return int(facts[name])
    first = block.facts.get("first_id")
    for name in IDS:
        found = facts.get(name)
        if isinstance(found, int):
            offset = first if isinstance(first, int) and first <= found else 0
            return int(found - offset)
    cell = facts.get("cell_id")
    return int(cell) if isinstance(cell, int) and cell >= 0 else None


def _key_of(times: Times) -> Any:
    """Return a value that is equal for equal times."""
    if isinstance(times, RegularTimes):
        return times
    return hashlib.blake2b(times.seconds().tobytes()).digest()


def _split_facts(facts: Sequence[Facts]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return annotations that all have in common, and a list of values of each other one."""
    shared: dict[str, Any] = {}
    varying: dict[str, list[Any]] = {}
    for key in dict.fromkeys(key for one in facts for key in one if key not in _INDICES):
        values = [one.get(key) for one in facts]
        if all(value == values[0] for value in values) and key not in IDS:
            shared[key] = values[0]
        else:
            varying[key] = values
    return shared, varying


def _as_column(values: Sequence[Any]) -> NDArray[Any] | None:
    """Return integers, numbers or texts as an array; None for others."""
    kinds = set(map(type, values))
    if kinds == {int} and all(abs(value) < 2**63 for value in values):
        return np.asarray(values, np.int64)
    if kinds <= {int, float} and kinds != {int}:
        return np.asarray(values, np.float64)
    return np.asarray([*values, None], object)[:-1] if kinds == {str} else None


def _are_recorded_again(found: Sequence[tuple[Train, _Place]]) -> bool:
    """Return True if trains have the same cells, or may have, as those of a device with senders."""
    ids = [_id_of(train.facts, place.block) for train, place in found]
    is_joint = any(train.senders is not None for train, _ in found)
    return is_joint or len(set(ids)) < len(ids)


def _named(train: Train) -> Facts:
    return {**({"neo_name": train.name} if train.name else {}), **train.facts}


def _joined_times(trains: Sequence[Train]) -> tuple[LazyArray, float]:
    """Return the times of all trains, one train after another, and their unit per second."""
    kinds = {(train.per_second, train.times.dtype) for train in trains}
    if len(kinds) == 1:
        return _concatenated([train.times for train in trains]), trains[0].per_second
    return _concatenated([Scaled(one.times, 1 / one.per_second, 0.0) for one in trains]), 1.0


def _concatenated(arrays: Sequence[LazyArray]) -> LazyArray:
    """Return one-dimensional arrays, one after another."""
    return FirstIndex(join_rows([Matrix(array) for array in arrays]), (0,))


def _potential(
    name: str, data: LazyArray, unit: Unit, part: _Part, facts: Sequence[Facts]
) -> ExtracellularPotential:
    """Return potentials at annotated positions, as electrodes numbered from 0."""
    units = [parse_unit(str(facts[0].get(f"{axis}_unit", "um"))) for axis in _POSITION]
    scales = [1.0 if one is None else one.conversion * 1e6 for one in units]
    positions = np.asarray([[one[axis] for axis in _POSITION] for one in facts], float)
    ids = np.arange(len(facts))
    shared, varying = _split_facts(facts)
    rest = {key: values for key, values in varying.items() if key not in _POSITION}
    return ExtracellularPotential(
        name,
        data,
        part.signal.times,
        ids,
        unit,
        Electrodes(ids, np.round(positions * scales, 9)),
        {"neo": part.place.facts({**shared, **rest})},
    )
