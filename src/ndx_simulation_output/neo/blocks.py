"""Describe blocks of Neo in memory, such as ``population.get_data()`` of PyNN returns them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError, WrongTypeError
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
from ndx_simulation_output.recording import RegularTimes, SimulationOutput, Times, Timestamps
from ndx_simulation_output.recording.times import meant_step

_SEGMENTS_OMITTED = {"imagesequences": "image sequences"}
_BLOCKS_OMITTED = {"groups": "groups of channels"}


def to_output(
    blocks: Any, *, segment: int | None = None, unit: Mapping[str, str] | None = None
) -> SimulationOutput:
    """Return the recordings of ``neo.Block``s as a ``SimulationOutput``, without copying data.

    Blocks may come from ``get_data`` of PyNN, from BSB, or from any reader of Neo. Pass those of
    all populations of a run together, and the result to ``convert``. Neo itself is not imported.

    Parameters
    ----------
    blocks
        A block or several.
    segment
        Index of the segment to describe. By default all are, and populations of later segments,
        whose times start anew, are named after them, as ``exc_segment001``.
    unit
        Units of signals or reports by name, as ``{"w": "nA"}``, instead of their own.

    Raises
    ------
    WrongTypeError
        If something else than blocks is given.
    NothingRecordedError
        If no block has a segment.
    SelectionError
        If there is no such segment.
    UnitError
        If a unit is invalid, or is specified for a name that does not exist.

    Example
    -------
    >>> output = to_output([exc.get_data(), inh.get_data()])  # doctest: +SKIP
    >>> convert(output, "run.nwb")  # doctest: +SKIP

    """
    is_single = hasattr(blocks, "segments") or not isinstance(blocks, Iterable)
    found = [blocks] if is_single else list(blocks)
    if not all(hasattr(one, "segments") for one in found):
        msg = f"blocks are {blocks!r:.60}; expected a neo.Block, or a list of them"
        raise WrongTypeError(msg)
    read = [_block(block) for block in found]
    if not any(block.segments for block in read):
        msg = "nothing was recorded: no block has a segment"
        raise NothingRecordedError(msg)
    return describe(read, segment=segment, unit=unit)


def _block(block: Any) -> Block:
    facts = {**_annotations(block), **_facts(block, "description", "rec_datetime", "file_origin")}
    return Block(
        str(block.name or ""),
        [_segment(segment) for segment in block.segments],
        facts,
        started=_local(getattr(block, "rec_datetime", None)),
        omitted=_omitted(block, _BLOCKS_OMITTED),
    )


def _local(found: Any) -> datetime | None:
    """Return a time with its zone: Neo has local times."""
    return found.astimezone() if isinstance(found, datetime) else None


def _segment(segment: Any) -> Segment:
    signals = [*segment.analogsignals, *segment.irregularlysampledsignals]
    return Segment(
        str(segment.name or ""),
        [_signal(_loaded(signal)) for signal in signals],
        [_train(_loaded(train)) for train in segment.spiketrains],
        [_intervals(_loaded(found)) for found in (*segment.events, *segment.epochs)],
        {**_annotations(segment), **_facts(segment, "description", "rec_datetime")},
        _omitted(segment, _SEGMENTS_OMITTED),
    )


def _omitted(owner: Any, kinds: Mapping[str, str]) -> dict[str, int]:
    counts = {text: len(getattr(owner, name, ())) for name, text in kinds.items()}
    return {text: count for text, count in counts.items() if count}


def _loaded(found: Any) -> Any:
    """Return what a reader of Neo reads later."""
    return found.load() if hasattr(found, "load") else found


def _signal(signal: Any) -> Signal:
    data = np.asarray(signal.magnitude)
    data = data.reshape(len(data), -1)
    annotations = {**_annotations(signal), **_facts(signal, "description")}
    columns, units = _columns(signal)
    return Signal(
        str(signal.name or ""),
        data,
        _times(signal, len(data)),
        signal.dimensionality.string,
        facts_of_channels(
            data.shape[1],
            {**annotations, **units},
            {name: values.tolist() for name, values in columns.items()},
        ),
    )


def _times(signal: Any, count: int) -> Times:
    if not hasattr(signal, "sampling_rate"):
        return Timestamps(_in_seconds(signal.times))
    rate = float(signal.sampling_rate.rescale("Hz").magnitude)
    return RegularTimes(float(_in_seconds(signal.t_start)), meant_step(rate), count)


def _train(train: Any) -> Train:
    columns, units = _columns(train)
    senders = columns.pop(SENDERS, None)
    bounds = [float(_in_seconds(bound)) for bound in (train.t_start, train.t_stop)]
    listed = {name: values.tolist() for name, values in columns.items()}
    return Train(
        str(train.name or ""),
        np.asarray(train.magnitude),
        per_second(train.dimensionality.string, f"spike train {train.name!r}"),
        (bounds[0], bounds[1]),
        {**_annotations(train), **_facts(train, "description"), **listed, **units},
        None if senders is None else np.asarray(senders, np.int64),
    )


def _intervals(found: Any) -> Intervals:
    columns, units = _columns(found)
    labels = np.asarray(found.labels)
    durations = getattr(found, "durations", None)
    return Intervals(
        str(found.name or ""),
        _in_seconds(found),
        None if durations is None else _in_seconds(durations),
        {**({"labels": labels} if len(labels) else {}), **columns},
        {**_annotations(found), **_facts(found, "description"), **units},
    )


def _in_seconds(times: Any) -> NDArray[np.float64]:
    factor = per_second(times.dimensionality.string, "a block")
    return np.asarray(np.asarray(times.magnitude, float) / factor)


def _columns(found: Any) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return array annotations, and the units of those that are quantities."""
    arrays: Mapping[str, Any] = getattr(found, "array_annotations", None) or {}
    units = {f"{name}_unit": unit for name, one in arrays.items() if (unit := _unit_of(one))}
    return {name: np.asarray(_magnitude(one)) for name, one in arrays.items()}, units


def _annotations(owner: Any) -> dict[str, Any]:
    return dict(_pairs(owner.annotations))


def _pairs(annotations: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in annotations.items():
        if name == "nix_name":  # Neo adds it to what it has written.
            continue
        yield str(name), _plain(value)
        if unit := _unit_of(value):
            yield f"{name}_unit", unit


def _facts(owner: Any, *names: str) -> dict[str, Any]:
    values = {name: _plain(getattr(owner, name, None)) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _unit_of(value: Any) -> str:
    return value.dimensionality.string if hasattr(value, "dimensionality") else ""


def _magnitude(value: Any) -> Any:
    return value.magnitude if hasattr(value, "dimensionality") else value


def _plain(value: Any) -> Any:
    """Return an annotation as a JSON value: text of what is none."""
    value = _magnitude(value)
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, date | datetime | time) else str(value)
