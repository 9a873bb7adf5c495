"""Describe the contents of an output as text and as JSON."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from math import isfinite
from typing import Any

import numpy as np
from tqdm import tqdm

from ndx_simulation_output.recording import (
    UNKNOWN,
    ArrayGroup,
    ArrayWithAxes,
    Circuit,
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
from ndx_simulation_output.recording.display import one_line
from ndx_simulation_output.recording.units import unit_label
from ndx_simulation_output.recording.views import Joined
from ndx_simulation_output.storage.raw_files import is_hdf5

_MOST_CHARACTERS = 200
_MOST_ATTRIBUTES = 20
_MOST_LINES = 10
"""How much is shown of settings, attributes and logs."""

_Facts = dict[str, Any]
_RUN_KEYS = {
    "time_step": "time_step_s",
    "duration": "duration_s",
    "temperature": "temperature_degC",
}


def facts_of(output: SimulationOutput) -> _Facts:
    """Return facts about the run, populations and recordings, as values for JSON.

    Units are in the names of the keys, or in a separate key. Unknown values are None, and unknown
    run parameters are omitted. Values of reports are not read.

    Example
    -------
    >>> facts_of(SimulationOutput(notes=("left out: x",)))["notes"]
    ['left out: x']

    """
    run = asdict(output.run)
    names = ("simulator", "simulator_version", *_RUN_KEYS, "seed")
    return {
        "run": {_RUN_KEYS.get(name, name): run[name] for name in names if run[name] is not None},
        "populations": _populations(output),
        "circuit": None if output.circuit is None else _circuit_facts(output, output.circuit),
        "reports": [_report_facts(report) for report in output.reports],
        "potentials": [_potential_facts(potential) for potential in output.potentials],
        "spikes": [_spikes_facts(spikes) for spikes in output.spikes],
        "arrays": [
            _group_facts(path, group) for top in output.arrays for path, group in top.walk()
        ],
        "networks": [_network_facts(network) for network in output.networks],
        "notes": [*_stored_notes(output), *output.notes],
    }


def _stored_notes(output: SimulationOutput) -> list[str]:
    """Return the lines of the notes of an NWB file."""
    notes = str(output.session.get("NWBFile", {}).get("notes", ""))
    return [line for line in notes.splitlines() if line.strip()]


def json_of(output: SimulationOutput) -> str:
    """Return the facts as JSON, with null for NaN.

    Example
    -------
    >>> from ndx_simulation_output.recording import Run
    >>> json.loads(json_of(SimulationOutput(run=Run(seed=3, temperature=34.0))))["run"]
    {'temperature_degC': 34.0, 'seed': 3}

    """
    facts = _finite(facts_of(output))
    return json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [_finite(inside) for inside in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not isfinite(value) else value


def _populations(output: SimulationOutput) -> list[_Facts]:
    reports: dict[str, list[Report]] = {}
    for report in output.reports:
        reports.setdefault(report.population, []).append(report)
    spiking = {spikes.population: spikes for spikes in output.spikes}
    found = []
    for name in dict.fromkeys([*reports, *spiking]):
        tables = [report.compartments for report in reports.get(name, [])]
        found.append(
            {
                "name": name,
                "recorded_cells": max(map(len, tables)) if tables else None,
                "compartments": max(table.n_compartments for table in tables) if tables else None,
                "spiking_cells": len(spiking[name].spiking_cells) if name in spiking else None,
            }
        )
    return found


def _circuit_facts(output: SimulationOutput, circuit: Circuit) -> _Facts:
    tables = [report.compartments.cells for report in output.reports]
    tables += [spikes.cells for spikes in output.spikes if spikes.cells is not None]
    properties: dict[str, list[str]] = {}
    for cells in tables:
        properties.setdefault(cells.population, []).extend(cells.columns)
    recorded = {found["name"]: found["recorded_cells"] for found in _populations(output)}
    return {
        "populations": [
            {
                "name": one.name,
                "kind": one.kind or None,
                "cells": one.size,
                "recorded_cells": recorded.get(one.name),
                "properties": list(dict.fromkeys([*one.properties, *properties.get(one.name, ())])),
            }
            for one in circuit.summary
        ],
        "stored_populations": [cells.population for cells in circuit.populations],
        "connections": [
            {
                "name": one.name,
                "source": one.source,
                "target": one.target,
                "connections": len(one),
                "columns": list(one.columns),
            }
            for one in circuit.connections
        ],
        "node_sets": list(circuit.node_sets),
    }


def _report_facts(report: Report) -> _Facts:
    facts = {"name": report.name, "population": report.population, "variable": report.variable}
    return facts | _matrix_facts(report.data, report.unit, report.times)


def _potential_facts(potential: ExtracellularPotential) -> _Facts:
    known = 0 if potential.electrodes is None else len(potential.electrodes.ids)
    facts = {"name": potential.name, "electrodes_with_positions": known}
    return facts | _matrix_facts(potential.data, potential.unit, potential.times)


def _matrix_facts(data: Any, unit: Unit, times: Times) -> _Facts:
    first = last = None
    if times.count:
        first = float(times.seconds(slice(0, 1))[0])
        last = float(times.seconds(slice(times.count - 1, None))[0])
    return {
        "times": int(data.shape[0]),
        "columns": int(data.shape[1]),
        "dtype": str(data.dtype),
        "unit": {"symbol": unit_symbol(unit), **asdict(unit)},
        "first_s": first,
        "last_s": last,
        "rate_hz": float(times.rate) if isinstance(times, RegularTimes) else None,
        "storage": _storage_facts(data),
    }


def _storage_facts(data: Any) -> _Facts | None:
    """Return how data are stored in a file, or None for data in memory."""
    while hasattr(data, "array") and not hasattr(data, "stored_bytes"):
        data = data.array
    if isinstance(data, Joined):
        return _joined_storage_facts(list(map(_storage_facts, data.arrays)))
    if not (hasattr(data, "stored_bytes") or is_hdf5(data)):
        return None
    stored = data.stored_bytes if hasattr(data, "stored_bytes") else data.id.get_storage_size()
    compression = data.compression
    return {
        "bytes": int(stored),
        "chunks": list(map(int, data.chunks)) if data.chunks else None,
        "compression": None if compression is None else str(compression),
    }


def _joined_storage_facts(parts: list[_Facts | None]) -> _Facts | None:
    """Return how matrices of several files are stored together: the largest chunks of all."""
    stored = [part for part in parts if part is not None]
    if len(stored) < len(parts):
        return None
    chunks = [part["chunks"] for part in stored if part["chunks"]]
    names = dict.fromkeys(part["compression"] for part in stored if part["compression"])
    return {
        "bytes": sum(part["bytes"] for part in stored),
        "chunks": list(map(max, zip(*chunks, strict=True))) if chunks else None,
        "compression": ", ".join(names) or None,
    }


def _spikes_facts(spikes: Spikes) -> _Facts:
    first, last = spikes.span or (None, None)
    return {
        "population": spikes.population,
        "spikes": len(spikes),
        "cells": len(spikes.spiking_cells),
        "first_s": first,
        "last_s": last,
    }


def _group_facts(path: str, group: ArrayGroup) -> _Facts:
    axes = [
        {
            "name": axis.name,
            "label": axis.label,
            "length": int(axis.values.shape[0]),
            "unit": axis.unit,
        }
        for axis in group.axes
    ]
    return {
        "path": path,
        "title": group.title,
        "kind": group.kind,
        "settings": _shortened(group.settings),
        "metadata": _metadata(group.extra),
        "axes": axes,
        "arrays": [_array_facts(array) for array in group.arrays],
    }


def _array_facts(array: ArrayWithAxes) -> _Facts:
    n_lines = int(array.values.shape[0]) if array.role == "log" and array.values.shape else 0
    lines = array.values[max(0, n_lines - _MOST_LINES) : n_lines] if n_lines else ()
    return {
        "name": array.name,
        "role": array.role,
        "title": array.title,
        "label": array.label,
        "unit": array.unit,
        "shape": list(map(int, array.values.shape)),
        "dtype": str(array.values.dtype),
        "metadata": _metadata(array.extra),
        "last_lines": [_shortened(str(line)) for line in np.ravel(lines).tolist()],
    }


def _metadata(extra: Mapping[str, Any]) -> _Facts:
    """Return at most 20 attributes of a source; long values are shortened text."""
    found: _Facts = {}
    for name in islice(extra, _MOST_ATTRIBUTES):
        text = extra[name] if isinstance(extra[name], str) else json.dumps(extra[name])
        is_short = len(text) <= _MOST_CHARACTERS and not isinstance(extra[name], str)
        found[name] = extra[name] if is_short else _shortened(text)
    if len(extra) > _MOST_ATTRIBUTES:
        found["…"] = f"{len(extra) - _MOST_ATTRIBUTES} more"
    return found


def _shortened(text: str) -> str:
    """Return a text as one line of at most 200 characters and the number of all characters."""
    line = one_line(text, _MOST_CHARACTERS)
    is_cut = line.endswith("…") and not text.endswith("…")
    return f"{line} ({len(text)} characters)" if is_cut else line


def _network_facts(network: NetworkSnapshot) -> _Facts:
    populations = [
        {
            "name": population.name,
            "geometry": list(map(int, population.geometry)),
            "quantities": _names(population.quantities),
            "units": _units(population.quantities),
        }
        for population in network.populations
    ]
    projections = [
        {
            "name": projection.name,
            "pre": projection.pre,
            "post": projection.post,
            "targets": None if projection.targets is None else list(projection.targets),
            "synapses": int(projection.pre_ranks.shape[0]),
            "rows": int(projection.post_ranks.shape[0]),
            "quantities": _names(projection.quantities),
            "units": _units(projection.quantities),
        }
        for projection in network.projections
    ]
    return {
        "name": network.name,
        "time_s": network.time,
        "step": network.step,
        "time_step_s": network.time_step,
        "populations": populations,
        "projections": projections,
    }


def _names(quantities: tuple[Quantity, ...]) -> list[str]:
    return [quantity.name for quantity in quantities]


def _units(quantities: tuple[Quantity, ...]) -> list[str]:
    """Return the unit of the values of each quantity, empty if it is unknown or a number."""
    return [unit_label(quantity.unit) for quantity in quantities]


_RUN = {
    "simulator": "simulator {}",
    "simulator_version": "version {}",
    "time_step_s": "time step {:g} s",
    "duration_s": "duration {:g} s",
    "temperature_degC": "{:g} degrees Celsius",
    "seed": "seed {}",
}


def describe(output: SimulationOutput) -> Iterator[str]:
    """Yield lines of text that describe the run, populations and recordings."""
    facts = facts_of(output)
    if facts["run"]:
        known = [_RUN[name].format(value) for name, value in facts["run"].items()]
        yield f"run: {', '.join(known)}"
    for population in facts["populations"]:
        yield _population(population)
    if facts["circuit"] is not None:
        yield from _circuit(facts["circuit"])
    for kind, lines in _RECORDED.items():
        for found in facts[kind]:
            yield from lines(found)
    if not any(facts[kind] for kind in _RECORDED):
        yield "no recorded activity"
    for note in facts["notes"]:
        yield f"note: {note}"


def _population(population: _Facts) -> str:
    parts = []
    if population["recorded_cells"] is not None:
        cells, compartments = population["recorded_cells"], population["compartments"]
        parts.append(f"{cells} recorded cells, {compartments} compartments")
    if population["spiking_cells"] is not None:
        parts.append(f"{population['spiking_cells']} spiking cells")
    return f"population {population['name']}: {'; '.join(parts)}"


def _circuit(circuit: _Facts) -> Iterator[str]:
    stored = ", ".join(circuit["stored_populations"])
    yield f"circuit: {f'all cells of {stored} are stored' if stored else 'no table of all cells'}"
    for population in circuit["populations"]:
        recorded = population["recorded_cells"]
        parts = [f"{population['cells']} cells"]
        parts += [] if recorded is None else [f"{recorded} recorded"]
        properties = ", ".join(population["properties"]) or "no properties"
        kind = population["kind"] or "kind unknown"
        yield f"  population {population['name']}, {kind}: {', '.join(parts)}; {properties}"
    for one in circuit["connections"]:
        ends = f"{one['source'] or 'unknown'} to {one['target'] or 'unknown'}"
        parts = [ends, f"{one['connections']} connections", *one["columns"]]
        yield f"  connections {one['name']}: {', '.join(parts)}"
    if circuit["node_sets"]:
        yield f"  node sets: {_shortened(', '.join(circuit['node_sets']))}"


def _report(report: _Facts) -> Iterator[str]:
    variable = f", variable {report['variable']}" if report["variable"] else ""
    yield f"report {report['name']}: population {report['population']}{variable}"
    yield from _matrix(report)


def _potential(potential: _Facts) -> Iterator[str]:
    known = potential["electrodes_with_positions"]
    yield f"potentials {potential['name']}: {known} electrodes with positions"
    yield from _matrix(potential)


def _matrix(matrix: _Facts) -> Iterator[str]:
    shape = f"{matrix['times']} times × {matrix['columns']} columns"
    yield f"  {shape}, {matrix['dtype']}, unit {_unit(matrix['unit'])}"
    if matrix["first_s"] is None:
        yield "  no times"
    else:
        rate = matrix["rate_hz"]
        every = "irregular" if rate is None else f"every {1000 / rate:g} ms"
        yield f"  {matrix['first_s']:g} to {matrix['last_s']:g} s, {every}"
    yield f"  {_storage(matrix['storage'])}"


def _unit(unit: _Facts) -> str:
    if unit["symbol"] or unit["name"] == UNKNOWN.name:
        return unit["symbol"] or str(unit["name"])
    return f"{unit['name']} × {unit['conversion']:g} + {unit['offset']:g}"


def _storage(storage: _Facts | None) -> str:
    if storage is None:
        return "in memory"
    chunks = storage["chunks"]
    layout = f"chunks of {_shape(chunks)}" if chunks else "contiguous"
    size = tqdm.format_sizeof(storage["bytes"], "B")
    return f"{size} on disk, {layout}, {storage['compression'] or 'not compressed'}"


def _spikes(spikes: _Facts) -> Iterator[str]:
    text = f"spikes {spikes['population']}: {spikes['spikes']} spikes"
    if spikes["spikes"]:
        text += f" of {spikes['cells']} cells, {spikes['first_s']:g} to {spikes['last_s']:g} s"
    yield text


def _group(group: _Facts) -> Iterator[str]:
    title, kind = group["title"], group["kind"]
    described = title or kind or group["settings"] or group["metadata"]
    if not (group["arrays"] or group["axes"] or described):
        return
    yield f"group {group['path']}: {title or 'no title'}{f', {kind}' if kind else ''}"
    for axis in group["axes"]:
        unit = axis["unit"] or "no unit"
        yield f"  {axis['name']}: axis {axis['label']!r} of {axis['length']}, {unit}"
    for array in group["arrays"]:
        title = repr(array["title"]) if array["title"] else ""
        names = " ".join(part for part in (array["role"], title, array["label"]) if part)
        unit = array["unit"] or "no unit"
        yield f"  {array['name']}: {names}: {_shape(array['shape'])}, {array['dtype']}, {unit}"
        yield from _attributes(array["metadata"], "    ")
        if 0 < len(array["last_lines"]) < array["shape"][0]:
            yield f"    … {array['shape'][0] - len(array['last_lines'])} lines before"
        for line in array["last_lines"]:
            yield f"    {line}"
    if group["settings"]:
        yield f"  settings: {group['settings']}"
    yield from _attributes(group["metadata"], "  ")


def _attributes(metadata: _Facts, indent: str) -> Iterator[str]:
    for name, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"{indent}{_shortened(name)}: {text}"


def _network(network: _Facts) -> Iterator[str]:
    texts = {"time_s": "at {:g} s", "step": "step {}", "time_step_s": "time step {:g} s"}
    known = [text.format(network[key]) for key, text in texts.items() if network[key] is not None]
    yield f"state {network['name']}: {', '.join(known) or 'no time'}"
    for population in network["populations"]:
        shape, names = _shape(population["geometry"]), _with_units(population)
        yield f"  population {population['name']}: {', '.join([f'{shape} neurons', *names])}"
    for projection in network["projections"]:
        ends = f"{projection['pre'] or 'unknown'} to {projection['post'] or 'unknown'}"
        size = f"{projection['synapses']} synapses in {projection['rows']} rows"
        parts = [ends, *(projection["targets"] or ()), size, *_with_units(projection)]
        yield f"  projection {projection['name']}: {', '.join(parts)}"


def _with_units(part: _Facts) -> list[str]:
    pairs = zip(part["quantities"], part["units"], strict=True)
    return [f"{name} ({unit})" if unit else name for name, unit in pairs]


def _shape(shape: Iterable[int]) -> str:
    return " × ".join(map(str, shape)) or "one value"


_RECORDED: dict[str, Callable[[_Facts], Iterator[str]]] = {
    "reports": _report,
    "potentials": _potential,
    "spikes": _spikes,
    "arrays": _group,
    "networks": _network,
}
