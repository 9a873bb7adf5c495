"""What a file holds, as values that JSON can say."""

import json
from dataclasses import asdict
from math import isfinite
from typing import Any

import numpy as np

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

__all__ = ["facts_of", "json_of"]

_Facts = dict[str, Any]
_RUN = {"time_step": "time_step_s", "duration": "duration_s", "temperature": "temperature_degC"}


def facts_of(output: SimulationOutput) -> _Facts:
    """Give facts on the run, its populations, and all that it recorded.

    Units are in the names of keys, or beside them. What is not known is None; of the run only what
    is known is there. Values of reports are not read.

    Example
    -------
    >>> facts_of(SimulationOutput(notes=("left out: x",)))["notes"]
    ['left out: x']

    """
    run = asdict(output.run)
    names = ("simulator", "simulator_version", *_RUN, "seed")
    return {
        "run": {_RUN.get(name, name): run[name] for name in names if run[name] is not None},
        "populations": _populations(output),
        "reports": [_report(report) for report in output.reports],
        "potentials": [_potential(potential) for potential in output.potentials],
        "spikes": [_spikes(spikes) for spikes in output.spikes],
        "groups": [_group(group) for group in output.groups],
        "exports": [
            _export(path, group) for export in output.exports for path, group in export.walk()
        ],
        "networks": [_network(network) for network in output.networks],
        "notes": list(output.notes),
    }


def json_of(output: SimulationOutput) -> str:
    """Give the facts as JSON, which has no NaN: null stands for it.

    Example
    -------
    >>> from ndx_simulation_output.recording import Run
    >>> json.loads(json_of(SimulationOutput(run=Run(seed=3, temperature=float("nan")))))["run"]
    {'temperature_degC': None, 'seed': 3}

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
                "spiking_cells": _cells(spiking[name]) if name in spiking else None,
            }
        )
    return found


def _report(report: Report) -> _Facts:
    facts = {"name": report.name, "population": report.population, "variable": report.variable}
    return facts | _matrix(report.data, report.unit, report.times)


def _potential(potential: ExtracellularPotential) -> _Facts:
    known = 0 if potential.electrodes is None else len(potential.electrodes.ids)
    facts = {"name": potential.name, "electrodes_with_positions": known}
    return facts | _matrix(potential.data, potential.unit, potential.times)


def _matrix(data: Any, unit: Unit, times: Times) -> _Facts:
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
        "storage": _storage(data),
    }


def _storage(data: Any) -> _Facts | None:
    """Say how data are stored in a file, None for data in memory."""
    while hasattr(data, "array") and not hasattr(data, "stored_bytes"):
        data = data.array
    if not hasattr(data, "chunks"):
        return None
    stored = data.stored_bytes if hasattr(data, "stored_bytes") else data.id.get_storage_size()
    compression = data.compression
    return {
        "bytes": int(stored),
        "chunks": list(map(int, data.chunks)) if data.chunks else None,
        "compression": None if compression is None else str(compression),
    }


def _spikes(spikes: Spikes) -> _Facts:
    some = len(spikes.times) > 0
    return {
        "population": spikes.population,
        "spikes": len(spikes.times),
        "cells": _cells(spikes),
        "first_s": float(spikes.times.min()) if some else None,
        "last_s": float(spikes.times.max()) if some else None,
    }


def _cells(spikes: Spikes) -> int:
    return count_distinct(spikes.node_ids)


def _group(group: ArrayGroup) -> _Facts:
    arrays = [
        {"section": array.section, "variable": array.variable, **_array(array.values)}
        for array in group.arrays
    ]
    return {"name": group.name, "arrays": arrays}


def _export(path: str, group: ExportGroup) -> _Facts:
    axes = [
        {
            "name": axis.name,
            "label": axis.label,
            "length": int(axis.values.shape[0]),
            "unit": axis.unit,
        }
        for axis in group.axes
    ]
    arrays = [
        {
            "name": array.name,
            "role": array.role,
            "title": array.title,
            "label": array.label,
            "unit": array.unit,
            **_array(array.values),
        }
        for array in group.arrays
    ]
    return {"path": path, "title": group.title, "kind": group.kind, "axes": axes, "arrays": arrays}


def _array(values: Any) -> _Facts:
    return {"shape": list(map(int, values.shape)), "dtype": str(values.dtype)}


def _network(network: NetworkSnapshot) -> _Facts:
    populations = [
        {
            "name": population.name,
            "geometry": list(map(int, population.geometry)),
            "quantities": _names(population.quantities),
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
