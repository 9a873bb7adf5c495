"""The way back: a neutral description as the contents of a storage or Manager."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ndx_simulation_output.adapters.neuronvisio.contents import Contents, Ref, RefGroup
from ndx_simulation_output.adapters.neuronvisio.describing import FORMAT
from ndx_simulation_output.adapters.neuronvisio.geometry import Geometry, read_neuroml
from ndx_simulation_output.errors import UnsupportedSourceError
from ndx_simulation_output.recording import LazyArray, Report, SimulationOutput

__all__ = ["restore"]


@dataclass
class _Found:
    """What is known so far of a reference."""

    section: str
    detail: str
    stored: str
    vecs: dict[str, LazyArray] = field(default_factory=dict)


def restore(output: SimulationOutput) -> Contents:
    """Give the groups of references that ``describe`` has made an output of; values are read.

    Raises
    ------
    UnsupportedSourceError
        If the output was made of something else.

    """
    if not all(group.provenance.get("format") == FORMAT for group in output.groups) or not (
        output.groups
    ):
        msg = "it was not written from references of Neuronvisio; open it with open_output"
        raise UnsupportedSourceError(msg)
    found: dict[str, dict[int, _Found]] = {group.name: {} for group in output.groups}
    for report in output.reports:
        if report.provenance.get("format") == FORMAT:
            refs = found.setdefault(report.provenance["group"], {})
            for rank, ref in _traces(report):
                refs.setdefault(rank, ref).vecs.update(ref.vecs)
    for group in output.groups:
        refs = found[group.name]
        for array in group.arrays:
            facts = array.provenance
            ref = _Found(array.section, array.detail, facts.get("stored", ""))
            refs.setdefault(facts.get("ref", len(refs)), ref).vecs[array.variable] = array.values
        for facts in group.provenance.get("empty", []):
            refs[facts["ref"]] = _Found(facts["section"], facts["detail"], facts["stored"])
    text = output.run.morphology
    geometry = read_neuroml(text, "the morphology") if text else Geometry()
    xs = {group.name: group.x for group in output.groups}
    groups = [
        RefGroup(name, xs.get(name), tuple(_ref(refs[rank], geometry) for rank in sorted(refs)))
        for name, refs in found.items()
    ]
    return Contents(tuple(groups), geometry, output.notes)


def _ref(found: _Found, geometry: Geometry) -> Ref:
    place = geometry.by_name.get(found.section)
    return Ref(found.section, found.vecs, found.detail, found.stored, place)


def _traces(report: Report) -> Iterator[tuple[int, _Found]]:
    """Give the number of the reference of each column, and the reference with that vector."""
    columns = np.arange(report.compartments.n_compartments)
    table = report.compartments
    ranks = table.values("ref", columns).tolist()
    texts: dict[str, list[Any]] = {
        name: table.values(name, columns).tolist() if name in table.columns else [""] * len(columns)
        for name in ("label", "detail", "stored")
    }
    values = np.ascontiguousarray(np.asarray(report.data[:, :]).T)
    for column, rank in enumerate(ranks):
        label, detail, stored = (texts[name][column] for name in ("label", "detail", "stored"))
        yield rank, _Found(label, detail, stored, {report.variable or report.name: values[column]})
