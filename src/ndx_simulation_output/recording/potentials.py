"""Potentials outside of cells, and where they were recorded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError, ShapeMismatchError
from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.recording.ids import as_ids, some_of
from ndx_simulation_output.recording.times import Times
from ndx_simulation_output.recording.traces import read_in_unit
from ndx_simulation_output.recording.units import Unit

__all__ = ["Electrodes", "ExtracellularPotential"]


@dataclass(frozen=True)
class Electrodes:
    """Where electrodes are: ``ids`` (electrode,), ``positions`` (electrode, 3) in micrometres."""

    ids: NDArray[Any]
    positions: NDArray[np.float64]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExtracellularPotential:
    """Potentials at electrodes: ``data`` (time, channel), ``channel_ids`` (channel,)."""

    name: str
    data: LazyArray
    times: Times
    channel_ids: NDArray[Any]
    unit: Unit
    electrodes: Electrodes | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse data that fit neither the channels nor the times."""
        expected = (self.times.count, len(self.channel_ids))
        if tuple(self.data.shape) != expected:
            msg = (
                f"the extracellular data {self.name!r} have shape {tuple(self.data.shape)}; "
                f"expected (time, channel) = {expected}"
            )
            raise ShapeMismatchError(msg)

    def find(self, channels: Iterable[int] | int | None = None) -> NDArray[np.intp]:
        """Find the columns of channels by their ids, in the order given; by default of all.

        Raises
        ------
        NothingRecordedError
            If there is no such channel.
        TypeError
            If ids are no integers.

        """
        known = np.asarray(self.channel_ids)
        if channels is None:
            return np.arange(len(known))
        wanted = as_ids(channels)
        missing = wanted[~np.isin(wanted, known)]
        if len(missing):
            msg = (
                f"channel {some_of(missing)} is not among the {len(known)} channels of "
                f"{self.name!r} (ids {some_of(known)})"
            )
            raise NothingRecordedError(msg)
        order = np.argsort(known, kind="stable")
        return np.asarray(order[np.searchsorted(known, wanted, sorter=order)], np.intp)

    def get_traces(
        self,
        channels: Iterable[int] | int | None = None,
        *,
        start: float | None = None,
        stop: float | None = None,
    ) -> NDArray[Any]:
        """Read the rows with ``start <= time < stop`` (s) of channels, by default of all.

        Gives values of shape (time, channel) in the unit of the potential.

        Raises
        ------
        NothingRecordedError
            If there is no such channel.

        """
        columns = None if channels is None else self.find(channels)
        return read_in_unit(self.data, self.times.window(start, stop), columns, self.unit)
