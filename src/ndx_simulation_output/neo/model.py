"""What blocks of Neo have, as it is read from a file or taken from memory."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.recording import LazyArray, Times, Unit, parse_unit

Facts = Mapping[str, Any]
"""Annotations as JSON values."""

SENDERS = "senders"
"""Array annotation of BSB with the cell of each spike of a train."""

IDS = ("channel_id", "source_id")
"""Annotations of PyNN with the id of a cell in the simulation."""


@dataclass(frozen=True)
class Signal:
    """Values (time, channel); ``channels`` are the annotations of each channel."""

    name: str
    data: LazyArray
    times: Times
    unit: str
    channels: Sequence[Facts]


@dataclass(frozen=True)
class Train:
    """Spike times in a unit of which ``per_second`` are a second; start and stop in seconds.

    ``senders``, if the train is one of many cells, are the cell of each spike (BSB).
    """

    name: str
    times: LazyArray
    per_second: float
    interval: tuple[float, float] | None
    facts: Facts
    senders: LazyArray | None = None


@dataclass(frozen=True)
class Intervals:
    """Times (s) of events, or of epochs, which have durations (s); columns have a value of each."""

    name: str
    times: NDArray[np.float64]
    durations: NDArray[np.float64] | None
    columns: Mapping[str, NDArray[Any]]
    facts: Facts


@dataclass(frozen=True)
class Segment:
    """The recordings of a run, whose times start anew; ``omitted`` are parts that are not read."""

    name: str
    signals: Sequence[Signal]
    trains: Sequence[Train]
    intervals: Sequence[Intervals]
    facts: Facts
    omitted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """The segments of a population (PyNN) or a simulation (BSB) in a file or in memory."""

    name: str
    segments: Sequence[Segment]
    facts: Facts
    source: str = ""
    started: datetime | None = None
    omitted: Mapping[str, int] = field(default_factory=dict)


def parse_neo_unit(text: str) -> Unit | None:
    """Parse a unit as ``quantities`` writes it, such as ``(mA/cm**2)`` and ``1/ms``.

    Example
    -------
    >>> parse_neo_unit("1/ms").conversion
    1000.0

    """
    plain = text.strip().removeprefix("(").removesuffix(")")
    if rate := re.fullmatch(r"1(?:\.0)?/(\w+)", plain):
        unit = parse_unit(rate[1])
        is_time = unit is not None and unit.name == "seconds"
        return Unit("hertz", 1 / unit.conversion) if unit is not None and is_time else None
    return parse_unit(plain)


def per_second(text: str, where: str) -> float:
    """Return how many of a unit of time are a second."""
    unit = parse_neo_unit(text)
    if unit is None or unit.name != "seconds":
        msg = f"the times of {where} are in {text!r}; expected a unit of time such as 'ms'"
        raise SourceError(msg)
    return 1 / unit.conversion


def facts_of_channels(
    count: int, annotations: Facts, of_channels: Mapping[str, Sequence[Any]]
) -> list[Facts]:
    """Return the annotations of each channel; PyNN lists the ids of all in ``channel_ids``."""
    shared, columns = dict(annotations), dict(of_channels)
    for name in IDS:
        listed = shared.get(f"{name}s")
        values = listed if isinstance(listed, list) else [listed]
        if listed is not None and len(values) == count:
            columns[name] = values
            del shared[f"{name}s"]
    fitting = {key: values for key, values in columns.items() if len(values) == count}
    return [
        {**shared, **{key: values[channel] for key, values in fitting.items()}}
        for channel in range(count)
    ]
