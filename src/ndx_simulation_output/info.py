"""What a file holds, in a few lines of text."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tqdm import tqdm

from ndx_simulation_output.info_facts import facts_of
from ndx_simulation_output.recording import UNKNOWN, SimulationOutput

__all__ = ["describe"]

_Facts = dict[str, Any]

_RUN = {
    "simulator": "simulator {}",
    "simulator_version": "version {}",
    "time_step_s": "time step {:g} s",
    "duration_s": "duration {:g} s",
    "temperature_degC": "{:g} degrees Celsius",
    "seed": "seed {}",
}


def describe(output: SimulationOutput) -> Iterator[str]:
    """Give lines on the run, its populations, and all that it recorded."""
    facts = facts_of(output)
    if facts["run"]:
        known = [_RUN[name].format(value) for name, value in facts["run"].items()]
        yield f"run: {', '.join(known)}"
    for population in facts["populations"]:
        yield _population(population)
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
    if group["arrays"]:
        yield f"arrays of {group['name']}:"
    for array in group["arrays"]:
        name = " ".join(text for text in (array["section"], array["variable"]) if text)
        yield f"  {name}: {_shape(array['shape'])}, {array['dtype']}"


def _export(export: _Facts) -> Iterator[str]:
    title, kind = export["title"], export["kind"]
    if not (export["arrays"] or export["axes"] or title or kind):
        return
    yield f"group {export['path']}: {title or 'no title'}{f', {kind}' if kind else ''}"
    for axis in export["axes"]:
        unit = axis["unit"] or "no unit"
        yield f"  {axis['name']}: axis {axis['label']!r} of {axis['length']}, {unit}"
    for array in export["arrays"]:
        title = repr(array["title"]) if array["title"] else ""
        what = " ".join(part for part in (array["role"], title, array["label"]) if part)
        unit = array["unit"] or "no unit"
        yield f"  {array['name']}: {what}: {_shape(array['shape'])}, {array['dtype']}, {unit}"


def _network(network: _Facts) -> Iterator[str]:
    texts = {"time_s": "at {:g} s", "step": "step {}", "time_step_s": "time step {:g} s"}
    known = [text.format(network[key]) for key, text in texts.items() if network[key] is not None]
    yield f"state {network['name']}: {', '.join(known) or 'no time'}"
    for population in network["populations"]:
        shape, names = _shape(population["geometry"]), population["quantities"]
        yield f"  population {population['name']}: {', '.join([f'{shape} neurons', *names])}"
    for projection in network["projections"]:
        ends = f"{projection['pre'] or 'unknown'} to {projection['post'] or 'unknown'}"
        size = f"{projection['synapses']} synapses in {projection['rows']} rows"
        parts = [ends, *(projection["targets"] or ()), size, *projection["quantities"]]
        yield f"  projection {projection['name']}: {', '.join(parts)}"


def _shape(shape: Iterable[int]) -> str:
    return " × ".join(map(str, shape)) or "one value"


_RECORDED: dict[str, Callable[[_Facts], Iterator[str]]] = {
    "reports": _report,
    "potentials": _potential,
    "spikes": _spikes,
    "groups": _group,
    "exports": _export,
    "networks": _network,
}
