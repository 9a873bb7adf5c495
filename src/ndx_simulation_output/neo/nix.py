"""Read NIX files, as Neo writes them for PyNN and BSB."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ndx_simulation_output.errors import NothingRecordedError, file_errors, source_errors
from ndx_simulation_output.neo.description import (
    SENDERS,
    Block,
    Facts,
    Intervals,
    Segment,
    Signal,
    Train,
    describe,
    facts_of_channels,
    per_second,
)
from ndx_simulation_output.recording import RegularTimes, SimulationOutput, Times, Timestamps
from ndx_simulation_output.recording.times import meant_rate
from ndx_simulation_output.recording.views import Scaled, Stacked
from ndx_simulation_output.storage.reading import wrap_array
from ndx_simulation_output.storage.sources import open_source

_NAME = "neo_name"
_OWN = {_NAME, "nix_name", "t_start", "t_stop"}
"""Properties that are no annotations."""
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
            file = stack.enter_context(open_source(path, trust=trust))
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
        facts, _ = _annotations(node)
        groups = list(_members(node, "groups"))
        segments = [group for group in groups if _text(group, "type") == "neo.segment"]
        omitted = len(groups) - len(segments)
        yield Block(
            _name(node),
            [_segment(group) for group in segments],
            {**facts, **_described(node)},
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
    trains = [_train(tag) for tag, kind in zip(tags, kinds, strict=True) if kind == _TRAIN]
    return Segment(
        _name(group),
        [_signal([node for _, node in sorted(found)]) for found in arrays.values()],
        trains,
        [
            _intervals(tag, is_epoch=kind == _EPOCH)
            for tag, kind in zip(tags, kinds, strict=True)
            if kind in {_EVENT, _EPOCH}
        ],
        {**_annotations(group)[0], **_described(group)},
        {f"objects of type {kind}": others.count(kind) for kind in dict.fromkeys(others)},
    )


def _signal(channels: Sequence[h5py.Group]) -> Signal:
    """Return the signal whose channels are these arrays, of which each has its metadata."""
    first = channels[0]
    shared, of_channels = _annotations(first)
    data = Stacked(tuple(wrap_array(channel["data"]) for channel in channels))
    return Signal(
        _name(first),
        data,
        _times(first["dimensions/1"], data.shape[0], _text(first, "name")),
        _text(first, "unit") or "dimensionless",
        facts_of_channels(len(channels), {**shared, **_described(first)}, of_channels),
    )


def _times(dimension: h5py.Group, count: int, where: str) -> Times:
    factor = per_second(_text(dimension, "unit"), where)
    if "ticks" in dimension:
        return Timestamps(Scaled(wrap_array(dimension["ticks"]), 1 / factor, 0.0))
    step = float(dimension.attrs["sampling_interval"])
    start = float(dimension.attrs.get("offset", 0.0)) / factor
    return RegularTimes(start, meant_rate(step, factor), count)


def _train(tag: h5py.Group) -> Train:
    facts, columns = _annotations(tag)
    senders = columns.pop(SENDERS, None)
    positions = tag["positions"]
    bounds = [_seconds(tag, name) for name in ("t_start", "t_stop")]
    interval = None if None in bounds else (bounds[0], bounds[1])
    return Train(
        _name(tag),
        wrap_array(positions["data"]),
        per_second(_text(positions, "unit"), _text(tag, "name")),
        interval,  # type: ignore[arg-type]
        {**facts, **columns, **_described(tag)},
        None if senders is None else np.asarray(senders, np.int64),
    )


def _intervals(tag: h5py.Group, *, is_epoch: bool) -> Intervals:
    facts, columns = _annotations(tag)
    positions, where = tag["positions"], _text(tag, "name")
    labels = positions.get("dimensions/1/labels")
    if labels is not None:
        columns = {"labels": [_plain(label) for label in labels[:]], **columns}
    return Intervals(
        _name(tag),
        np.asarray(positions["data"][:], float) / per_second(_text(positions, "unit"), where),
        _durations(tag, where) if is_epoch else None,
        {key: np.asarray(values) for key, values in columns.items()},
        {**facts, **_described(tag)},
    )


def _durations(tag: h5py.Group, where: str) -> Any:
    extents = tag["extents"]
    return np.asarray(extents["data"][:], float) / per_second(_text(extents, "unit"), where)


def _members(node: h5py.Group, name: str) -> Iterator[h5py.Group]:
    """Yield the objects in a group, in the order in which they were made; none if it is missing."""
    group = node.get(name)
    if isinstance(group, h5py.Group):
        yield from group.values()


def _properties(node: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    properties = node.get("metadata/properties")
    if isinstance(properties, h5py.Group):
        yield from properties.items()


def _annotations(node: h5py.Group) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the annotations of an object, and its array annotations."""
    shared: dict[str, Any] = {}
    columns: dict[str, list[Any]] = {}
    for name, dataset in _properties(node):
        if name in _OWN:
            continue
        values = _values(dataset)
        if _text(dataset, "type") == "ARRAYANNOTATION":
            columns[name] = values
        else:
            shared[name] = values[0] if len(values) == 1 else values
        if unit := _text(dataset, "unit"):
            shared[f"{name}_unit"] = unit
    return shared, columns


def _values(dataset: h5py.Dataset) -> list[Any]:
    return [_plain(value) for value in np.atleast_1d(dataset[()]).tolist()]


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _name(node: h5py.Group) -> str:
    found = node.get(f"metadata/properties/{_NAME}")
    return "" if found is None else str(_values(found)[0])


def _seconds(node: h5py.Group, name: str) -> float | None:
    found = node.get(f"metadata/properties/{name}")
    if found is None:
        return None
    return float(_values(found)[0]) / per_second(_text(found, "unit"), f"{name} of {node.name}")


def _described(node: h5py.Group) -> Facts:
    text = _text(node, "definition")
    return {"description": text} if text else {}


def _text(node: h5py.Group | h5py.Dataset, name: str) -> str:
    value = node.attrs.get(name, "")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
