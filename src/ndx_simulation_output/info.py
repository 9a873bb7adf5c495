"""What a file holds, in a few lines of text."""

from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from ndx_simulation_output.recording import (
    ArrayGroup,
    ExportGroup,
    ExtracellularPotential,
    NetworkSnapshot,
    Quantity,
    RegularTimes,
    Report,
    SimulationOutput,
    Spikes,
    Times,
    Unit,
    unit_symbol,
)
from ndx_simulation_output.recording.ids import count_distinct

__all__ = ["describe"]


def describe(output: SimulationOutput) -> Iterator[str]:
    """Give lines on the run, its populations, reports, potentials and spikes."""
    yield from _run(output)
    yield from _populations(output)
    for report in output.reports:
        yield from _report(report)
    for potential in output.potentials:
        yield from _potential(potential)
    for spikes in output.spikes:
        yield _spikes(spikes)
    for group in output.groups:
        yield from _group(group)
    for export in output.exports:
        yield from _export(export)
    for network in output.networks:
        yield from _network(network)
    recorded = (output.reports, output.potentials, output.spikes)
    if not any((*recorded, output.groups, output.exports, output.networks)):
        yield "no recorded activity"
    for note in output.notes:
        yield f"note: {note}"


def _run(output: SimulationOutput) -> Iterator[str]:
    run = output.run
    facts = [
        (run.simulator, "simulator {}"),
        (run.simulator_version, "version {}"),
        (run.time_step, "time step {:g} s"),
        (run.duration, "duration {:g} s"),
        (run.temperature, "{:g} degrees Celsius"),
        (run.seed, "seed {}"),
    ]
    known = [text.format(value) for value, text in facts if value is not None]
    if known:
        yield f"run: {', '.join(known)}"


def _populations(output: SimulationOutput) -> Iterator[str]:
    reports: dict[str, list[Report]] = {}
    for report in output.reports:
        reports.setdefault(report.population, []).append(report)
    spiking = {spikes.population: spikes for spikes in output.spikes}
    for population in dict.fromkeys([*reports, *spiking]):
        parts = []
        if population in reports:
            cells = max(len(report.compartments) for report in reports[population])
            most = max(report.compartments.n_compartments for report in reports[population])
            parts.append(f"{cells} recorded cells, {most} compartments")
        if population in spiking:
            parts.append(f"{count_distinct(spiking[population].node_ids)} spiking cells")
        yield f"population {population}: {'; '.join(parts)}"


def _report(report: Report) -> Iterator[str]:
    variable = f", variable {report.variable}" if report.variable else ""
    yield f"report {report.name}: population {report.population}{variable}"
    yield f"  {_data(report.data, report.unit)}"
    yield f"  {_times(report.times)}"
    yield f"  {_storage(report.data)}"


def _potential(potential: ExtracellularPotential) -> Iterator[str]:
    known = 0 if potential.electrodes is None else len(potential.electrodes.ids)
    yield f"potentials {potential.name}: {known} electrodes with positions"
    yield f"  {_data(potential.data, potential.unit)}"
    yield f"  {_times(potential.times)}"
    yield f"  {_storage(potential.data)}"


def _spikes(spikes: Spikes) -> str:
    text = f"spikes {spikes.population}: {len(spikes.times)} spikes"
    if not len(spikes.times):
        return text
    cells = count_distinct(spikes.node_ids)
    return f"{text} of {cells} cells, {spikes.times.min():g} to {spikes.times.max():g} s"


def _group(group: ArrayGroup) -> Iterator[str]:
    if not group.arrays:
        return
    yield f"arrays of {group.name}:"
    for array in group.arrays:
        name = " ".join(text for text in (array.section, array.variable) if text)
        shape = " × ".join(map(str, array.values.shape)) or "one value"
        yield f"  {name}: {shape}, {array.values.dtype}"


def _export(export: ExportGroup) -> Iterator[str]:
    for path, group in export.walk():
        if not (group.arrays or group.axes or group.title or group.kind):
            continue
        kind = f", {group.kind}" if group.kind else ""
        yield f"group {path}: {group.title or 'no title'}{kind}"
        for axis in group.axes:
            unit = axis.unit or "no unit"
            yield f"  {axis.name}: axis {axis.label!r} of {axis.values.shape[0]}, {unit}"
        for array in group.arrays:
            shape = " × ".join(map(str, array.values.shape)) or "one value"
            parts = [array.role, repr(array.title) if array.title else "", array.label]
            what = " ".join(part for part in parts if part)
            facts = f"{shape}, {array.values.dtype}, {array.unit or 'no unit'}"
            yield f"  {array.name}: {what}: {facts}"


def _network(network: NetworkSnapshot) -> Iterator[str]:
    known = [] if network.time is None else [f"at {network.time:g} s"]
    known += [] if network.step is None else [f"step {network.step}"]
    known += [f"time step {network.time_step:g} s"] if network.time_step is not None else []
    yield f"state {network.name}: {', '.join(known) or 'no time'}"
    for population in network.populations:
        shape = " × ".join(map(str, population.geometry))
        yield f"  population {population.name}: {shape} neurons{_names(population.quantities)}"
    for projection in network.projections:
        parts = f"{projection.pre or 'unknown'} to {projection.post or 'unknown'}"
        parts += "".join(f", {target}" for target in projection.targets or ())
        yield (
            f"  projection {projection.name}: {parts}, {projection.pre_ranks.shape[0]} synapses in "
            f"{projection.post_ranks.shape[0]} rows{_names(projection.quantities)}"
        )


def _names(quantities: tuple[Quantity, ...]) -> str:
    return "".join(f", {quantity.name}" for quantity in quantities)


def _data(data: Any, unit: Unit) -> str:
    rows, columns = data.shape
    symbol = unit_symbol(unit)
    if symbol is None and unit.known:
        symbol = f"{unit.name} × {unit.conversion:g} + {unit.offset:g}"
    return f"{rows} times × {columns} columns, {data.dtype}, unit {symbol or unit.name}"


def _times(times: Times) -> str:
    if not times.count:
        return "no times"
    first, last = times.seconds(slice(0, 1))[0], times.seconds(slice(times.count - 1, None))[0]
    rate = f"every {1000 / times.rate:g} ms" if isinstance(times, RegularTimes) else "irregular"
    return f"{first:g} to {last:g} s, {rate}"


def _storage(data: Any) -> str:
    while hasattr(data, "array") and not hasattr(data, "stored_bytes"):
        data = data.array
    if not hasattr(data, "chunks"):
        return "in memory"
    layout = f"chunks of {' × '.join(map(str, data.chunks))}" if data.chunks else "contiguous"
    compression = data.compression or "not compressed"
    stored = data.stored_bytes if hasattr(data, "stored_bytes") else data.id.get_storage_size()
    return f"{_size(stored)} on disk, {layout}, {compression}"


def _size(n_bytes: int) -> str:
    return str(tqdm.format_sizeof(n_bytes, "B"))
