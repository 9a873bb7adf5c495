"""Read NIX files, as Neo writes them for PyNN and BSB."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from ndx_simulation_output.errors import (
    NothingRecordedError,
    SourceError,
    file_errors,
    source_errors,
)
from ndx_simulation_output.neo.description import describe
from ndx_simulation_output.neo.model import (
    SENDERS,
    Block,
    Intervals,
    Segment,
    Signal,
    Train,
    facts_of_channels,
    per_second,
)
from ndx_simulation_output.recording import (
    LazyArray,
    RegularTimes,
    SimulationOutput,
    Times,
    Timestamps,
)
from ndx_simulation_output.recording.times import meant_rate
from ndx_simulation_output.recording.views import Scaled, Stacked
from ndx_simulation_output.storage.reading import wrap_array
from ndx_simulation_output.storage.sources import open_source

_LINKS = 32
"""Links that may lead to a group: NIX links arrays and metadata from wherever they belong to."""
_BOUNDS = ("t_start", "t_stop")
_TRAIN, _EVENT, _EPOCH = "neo.spiketrain", "neo.event", "neo.epoch"
_SIGNALS = {"neo.analogsignal", "neo.irregularlysampledsignal"}
_READ = {_TRAIN, _EVENT, _EPOCH}


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    segment: int | None = None,
    unit: Mapping[str, str] | None = None,
    trust: bool = False,
) -> SimulationOutput:
    """Read NIX files of Neo: signals as reports, spike trains as spikes of populations.

    Data are read lazily: files stay open until the output is closed. Several files are those of
    the populations, or of the ranks, of one run.

    Parameters
    ----------
    paths
        Files that ``write_data`` of PyNN, BSB (``.nio``) or ``neo.NixIO`` wrote.
    segment
        Index of the segment to read. By default all are, and populations of later segments, whose
        times start anew, are named after them, as ``exc_segment001``.
    unit
        Units of signals or reports by name, as ``{"w": "nA"}``, instead of those in the file.
    trust
        Whether files may refer to files outside their folder, and declare more than they store.

    Raises
    ------
    SourceError
        If a file cannot be read or is not one of Neo.
    SelectionError
        If there is no such segment.
    UnitError
        If a unit is invalid, or is specified for a name that does not exist.

    Example
    -------
    >>> with read("run.nix", segment=0) as output:  # doctest: +SKIP
    ...     output["v_exc"].get_traces(cells=3)

    """
    found = [Path(paths)] if isinstance(paths, str | Path) else list(map(Path, paths))
    with file_errors(*found), ExitStack() as stack:
        blocks: list[Block] = []
        for path in found:
            file = stack.enter_context(open_source(path, trust=trust, links=_LINKS))
            with source_errors(f"{path} does not have the layout of a NIX file of Neo"):
                blocks += _blocks(file, path.name)
        if not any(block.segments for block in blocks):
            msg = f"{found[0]}: nothing was recorded: there is no segment of a block of Neo"
            raise NothingRecordedError(msg)
        output = describe(blocks, segment=segment, unit=unit, files=[path.name for path in found])
        return output.changed(close=stack.pop_all().close)


def _blocks(file: h5py.File, source: str) -> Iterator[Block]:
    for node in _members(file, "data"):
        if _text(node, "type") != "neo.block":
            continue
        known = _describe(node)
        groups = list(_members(node, "groups"))
        segments = [group for group in groups if _text(group, "type") == "neo.segment"]
        omitted = len(groups) - len(segments)
        yield Block(
            known.name,
            [_segment(group) for group in segments],
            known.facts,
            source,
            _started(node),
            {"groups of channels": omitted} if omitted else {},
        )


def _started(node: h5py.Group) -> datetime | None:
    """Return when a block was recorded, or else written: NIX has whole seconds of UTC."""
    try:
        found = datetime.strptime(_text(node, "created_at"), "%Y%m%dT%H%M%S")  # noqa: DTZ007
    except ValueError:
        return None
    return found.replace(tzinfo=timezone.utc)


def _segment(group: h5py.Group) -> Segment:
    tags = list(_members(group, "multi_tags"))
    kinds = [_text(tag, "type") for tag in tags]
    others = [kind for kind in kinds if kind not in _READ]
    arrays: dict[str, list[tuple[int, h5py.Group]]] = {}
    for node in _members(group, "data_arrays"):
        kind = _text(node, "type")
        if kind in _SIGNALS:
            stem, _, number = _text(node, "name").rpartition(".")
            arrays.setdefault(stem, []).append((int(number), node))
        else:
            others.append(kind)
    known = _describe(group)
    trains = [_train(tag) for tag, kind in zip(tags, kinds, strict=True) if kind == _TRAIN]
    return Segment(
        known.name,
        [_signal([node for _, node in sorted(found)]) for found in arrays.values()],
        trains,
        [
            _intervals(tag, is_epoch=kind == _EPOCH)
            for tag, kind in zip(tags, kinds, strict=True)
            if kind in {_EVENT, _EPOCH}
        ],
        known.facts,
        {f"objects of type {kind}": others.count(kind) for kind in dict.fromkeys(others)},
    )


def _signal(channels: Sequence[h5py.Group]) -> Signal:
    """Return the signal whose channels are these arrays, of which each has its metadata."""
    first = channels[0]
    known = _describe(first)
    arrays = tuple(_array(channel) for channel in channels)
    kinds = {(*array.shape, array.dtype.str) for array in arrays}
    if len(kinds) != 1 or len(arrays[0].shape) != 1:
        found = ", ".join(sorted(map(str, kinds)))
        msg = f"{first.name} of {first.file.filename} and other channels have shapes {found}; "
        raise SourceError(msg + "expected one length and type")
    data = Stacked(arrays)
    return Signal(
        known.name,
        data,
        _times(first["dimensions/1"], data.shape[0], _text(first, "name")),
        _text(first, "unit") or "dimensionless",
        facts_of_channels(len(channels), known.facts, known.columns),
    )


def _times(dimension: h5py.Group, count: int, where: str) -> Times:
    factor = per_second(_text(dimension, "unit"), where)
    if "ticks" in dimension:
        return Timestamps(Scaled(_array(dimension, "ticks"), 1 / factor, 0.0))
    step = float(dimension.attrs["sampling_interval"])
    start = float(dimension.attrs.get("offset", 0.0)) / factor
    return RegularTimes(start, meant_rate(step, factor), count)


def _train(tag: h5py.Group) -> Train:
    known, positions = _describe(tag), tag["positions"]
    senders = known.columns.pop(SENDERS, None)
    start, stop = (known.bounds.get(name) for name in _BOUNDS)
    return Train(
        known.name,
        _array(positions),
        per_second(_text(positions, "unit"), _text(tag, "name")),
        None if start is None or stop is None else (start, stop),
        {**known.facts, **known.columns},
        None if senders is None else np.asarray(senders, np.int64),
    )


def _intervals(tag: h5py.Group, *, is_epoch: bool) -> Intervals:
    known = _describe(tag)
    positions, where = tag["positions"], _text(tag, "name")
    labels = positions.get("dimensions/1/labels")
    columns = {} if labels is None else {"labels": [_plain(label) for label in labels[:]]}
    return Intervals(
        known.name,
        np.asarray(positions["data"][:], float) / per_second(_text(positions, "unit"), where),
        _durations(tag, where) if is_epoch else None,
        {key: np.asarray(values) for key, values in {**columns, **known.columns}.items()},
        known.facts,
    )


def _durations(tag: h5py.Group, where: str) -> Any:
    extents = tag["extents"]
    return np.asarray(extents["data"][:], float) / per_second(_text(extents, "unit"), where)


def _members(node: h5py.Group, name: str) -> Iterator[h5py.Group]:
    """Yield the objects in a group, in the order in which they were made; none if it is missing."""
    group = node.get(name)
    if isinstance(group, h5py.Group):
        yield from group.values()


class _Described(NamedTuple):
    """The properties of an object: its annotations, and a list of each array annotation."""

    name: str
    facts: dict[str, Any]
    columns: dict[str, list[Any]]
    bounds: dict[str, float]


def _describe(node: h5py.Group) -> _Described:
    known = _Described("", {}, {}, {})
    properties = node.get("metadata/properties")
    for name, dataset in properties.items() if isinstance(properties, h5py.Group) else ():
        if name == "nix_name":
            continue
        values, unit = _values(dataset), _text(dataset, "unit")
        if name == "neo_name":
            known = known._replace(name=str(values[0]))
        elif name in _BOUNDS and unit:
            known.bounds[name] = float(values[0]) / per_second(unit, f"{name} of {node.name}")
        elif _text(dataset, "type") == "ARRAYANNOTATION":
            known.columns[name] = values
        else:
            known.facts[name] = values[0] if len(values) == 1 else values
        if unit and name not in _BOUNDS:
            known.facts[f"{name}_unit"] = unit
    if text := _text(node, "definition"):
        known.facts["description"] = text
    return known


def _array(node: h5py.Group, name: str = "data") -> LazyArray:
    """Return a dataset without cache: of many open ones, each would keep a chunk in memory."""
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(1, 0, 1.0)
    return wrap_array(h5py.Dataset(h5py.h5d.open(node.id, name.encode(), access)))


def _values(dataset: h5py.Dataset) -> list[Any]:
    return [_plain(value) for value in np.atleast_1d(dataset[()]).tolist()]


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _text(node: h5py.Group | h5py.Dataset, name: str) -> str:
    value = node.attrs.get(name, "")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
