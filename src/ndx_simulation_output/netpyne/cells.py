"""Cells of NetPyNE: their populations, tags and connections, read one after another."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.netpyne.json_values import JsonFile
from ndx_simulation_output.recording import (
    Categories,
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    Unit,
)
from ndx_simulation_output.recording.ids import positions_of, some_of, storable_text
from ndx_simulation_output.recording.units import UNKNOWN
from ndx_simulation_output.storage.temporary import GrowingArray

OTHERS = "cells"
"""Name of the population of cells whose population is not in the file."""

_SYNAPSE = np.dtype(
    [("pre", "i8"), ("post", "i8"), ("mechanism", "i4"), ("weight", "f8"), ("delay", "f8"),
     ("loc", "f8")]
)  # fmt: skip
_BATCH = 2**16
_MS_PER_S = 1000.0
ROW = ("preGid", "sec", "loc", "synMech", "weight", "delay")
"""Default order of a connection that is stored as a list (compactConnFormat)."""
_CONDUCTANCES = {"ExpSyn", "Exp2Syn"}
"""Synapses whose weight is a conductance in uS."""
_POPULATION = ("pop", "popLabel")


class _Tag:
    """The values of a tag: numbers, or text with few different values."""

    def __init__(self) -> None:
        self._numbers, self._codes = array("d"), array("q")
        self._words: dict[str, int] = {}

    def add(self, row: int, value: Any) -> None:
        """Add the value of a row; rows ascend, and those without a value are left out."""
        self._fill(row)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        self._numbers.append(value if is_number else np.nan)
        text = storable_text(str(value))
        self._codes.append(-1 if is_number else self._words.setdefault(text, len(self._words)))

    def _fill(self, length: int) -> None:
        missing = length - len(self._codes)
        self._numbers.extend([np.nan] * missing)
        self._codes.extend([-1] * missing)

    def values(self, length: int) -> Any:
        """Return the values of all rows; text of a tag that also has numbers wins."""
        self._fill(length)
        if not self._words:
            return np.array(self._numbers)
        return Categories(np.array(self._codes), tuple(self._words))


@dataclass
class Cells:
    """The cells of files: ``gids`` in their order, tags, mods of synapses, and connections."""

    gids: "array[int]" = field(default_factory=lambda: array("q"))
    populations: dict[str, list[int]] = field(default_factory=dict)
    tags: dict[str, _Tag] = field(default_factory=dict)
    sections: dict[int, list[str] | None] = field(default_factory=dict)
    mods: dict[str, set[str]] = field(default_factory=dict)
    mechanisms: dict[str, int] = field(default_factory=dict)
    synapses: GrowingArray = field(default_factory=lambda: GrowingArray(_SYNAPSE))
    stimuli: int = 0

    def read(self, file: JsonFile, order: Sequence[str], of_sections: Iterable[int]) -> None:
        """Read a list of cells; ``of_sections`` are the cells whose sections are kept."""
        wanted = set(of_sections)
        pending: list[tuple[Any, ...]] = []
        for _ in file.items():
            cell = file.read()
            if not isinstance(cell, dict) or not isinstance(cell.get("gid"), int):
                msg = f"{file.path} has a cell without gid before byte {file.position}"
                raise SourceError(msg)
            gid, row = cell["gid"], len(self.gids)
            self.gids.append(gid)
            self._add_tags(gid, row, cell.get("tags") or {})
            sections = cell.get("secs") or {}
            for section in sections.values():
                for one in section.get("synMechs") or ():
                    if isinstance(one, dict) and one.get("label") is not None:
                        self.mods.setdefault(str(one["label"]), set()).add(str(one.get("mod")))
            if gid in wanted:
                self.sections[gid] = segments_of(sections)
            pending += self._connections(gid, cell.get("conns") or (), order)
            if len(pending) > _BATCH:
                self.synapses.append(np.array(pending, _SYNAPSE))
                pending = []
        self.synapses.append(np.array(pending, _SYNAPSE))

    def _add_tags(self, gid: int, row: int, tags: Mapping[str, Any]) -> None:
        name = next((tags[key] for key in _POPULATION if key in tags), None)
        if name is not None:
            self.populations.setdefault(str(name), []).append(gid)
        for key, value in tags.items():
            if key not in _POPULATION and isinstance(value, int | float | str):
                self.tags.setdefault(key, _Tag()).add(row, value)

    def _connections(
        self, gid: int, connections: Iterable[Any], order: Sequence[str]
    ) -> Iterator[tuple[Any, ...]]:
        for one in connections:
            values = one if isinstance(one, dict) else dict(zip(order, one, strict=False))
            pre = values.get("preGid")
            if not isinstance(pre, int | float):
                self.stimuli += 1
                continue
            mechanism = str(values.get("synMech") or "")
            code = self.mechanisms.setdefault(mechanism, len(self.mechanisms))
            numbers = (_number(values.get(name)) for name in ("weight", "delay", "loc"))
            yield (int(pre), gid, code, *numbers)

    def columns(self) -> dict[str, Any]:
        """Return the tags by name, shape (cell,)."""
        return {name: tag.values(len(self.gids)) for name, tag in self.tags.items()}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else np.nan


def segments_of(sections: Mapping[str, Any]) -> list[str] | None:
    """Return the labels of segments in the order in which NetPyNE made sections, if it is known.

    JSON has sections in the order of their names; ``topol`` says which one is the root, and the
    child of each if no section has two.
    """
    parents = {name: (one.get("topol") or {}).get("parentSec") for name, one in sections.items()}
    ordered: list[str] = []
    following: list[str] = [name for name, parent in parents.items() if parent not in sections]
    while len(following) == 1:
        ordered += following
        following = [name for name, parent in parents.items() if parent == ordered[-1]]
    if following or len(ordered) != len(sections) or not ordered:
        return None
    labels = []
    for name in ordered:
        n = int((sections[name].get("geom") or {}).get("nseg") or 1)
        labels += [f"{name}({(at + 0.5) / n:g})" for at in range(n)]
    return labels


def read_network(
    cells: Cells, populations: Mapping[str, NDArray[np.int64]], notes: list[str]
) -> tuple[NetworkSnapshot, ...]:
    """Return the connections as projections between populations, none if there are no synapses."""
    if cells.stimuli:
        notes.append(f"left out: {cells.stimuli} connections from stimuli, which have no cell")
    synapses = cells.synapses.mapped()
    if not len(synapses):
        return ()
    names, everyone = list(populations), np.concatenate(list(populations.values()))
    of = np.repeat(np.arange(len(names)), [len(gids) for gids in populations.values()])
    ranks = np.concatenate([np.arange(len(gids)) for gids in populations.values()])
    order = np.argsort(everyone)
    known = everyone[order]
    parts: dict[tuple[int, int, int], GrowingArray] = {}
    unknown = 0
    for start in range(0, len(synapses), _BATCH):
        block = np.array(synapses[start : start + _BATCH])
        ends = [positions_of(block[name], known) for name in ("pre", "post")]
        is_known = (ends[0] >= 0) & (ends[1] >= 0)
        unknown += int((~is_known).sum())
        block, (pre, post) = block[is_known], (order[one[is_known]] for one in ends)
        block["pre"], block["post"] = ranks[pre], ranks[post]
        keys = np.column_stack([of[pre], of[post], block["mechanism"]])
        for key in np.unique(keys, axis=0):
            chosen = (keys == key).all(axis=1)
            part = parts.setdefault(tuple(key.tolist()), GrowingArray(_SYNAPSE))
            part.append(block[chosen])
    if unknown:
        notes.append(f"left out: {unknown} connections of cells that are in no population")
    mechanisms = list(cells.mechanisms)
    projections = [
        _projection(names[pre], names[post], mechanisms[mechanism], part.mapped(), cells)
        for (pre, post, mechanism), part in sorted(parts.items())
    ]
    sizes = [PopulationSnapshot(name, (len(gids),)) for name, gids in populations.items()]
    ids = {name: some_of(gids) for name, gids in populations.items()}
    state = NetworkSnapshot(
        "network",
        tuple(sizes),
        tuple(projections),
        simulator="NetPyNE",
        not_contained="Variables of cells and synapses, the sections of synapses, and stimuli.",
        provenance={"format": "NetPyNE", "gids": ids},
    )
    return (state,)


def _projection(
    pre: str, post: str, mechanism: str, synapses: NDArray[Any], cells: Cells
) -> ProjectionSnapshot:
    """Return the synapses of one mechanism from a population to another."""
    mods = cells.mods.get(mechanism, set())
    unit = Unit("siemens", 1e-6) if mods and mods <= _CONDUCTANCES else UNKNOWN
    name = "_".join(filter(None, [pre, "to", post, mechanism]))
    targets = synapses["post"]
    order = None if (targets[1:] >= targets[:-1]).all() else np.argsort(targets, kind="stable")
    if order is not None:
        synapses = synapses[order]
    rows, counts = np.unique(synapses["post"], return_counts=True)
    delays = synapses["delay"] / _MS_PER_S
    return ProjectionSnapshot(
        name,
        post_ranks=rows,
        ends=np.cumsum(counts),
        pre_ranks=np.ascontiguousarray(synapses["pre"]),
        quantities=(
            Quantity("weight", np.ascontiguousarray(synapses["weight"]), unit=unit),
            Quantity("loc", np.ascontiguousarray(synapses["loc"])),
        ),
        pre=pre,
        post=post,
        targets=(mechanism,) if mechanism else None,
        delays=None if np.isnan(delays).any() else delays,
        weight="weight",
    )
