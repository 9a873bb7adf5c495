"""Recordings to draw: a million cells and their spikes, and a very long trace."""

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inputs import voltages
from inputs.size import Size
from ndx_simulation_output.nwb import writer
from ndx_simulation_output.recording import (
    CompartmentTable,
    RegularTimes,
    Report,
    SimulationOutput,
    Spikes,
    Unit,
)

__all__ = ["write_long", "write_network"]

DIFFERENT = 1000
SESSION = {"NWBFile": {"session_start_time": datetime(2026, 1, 1, tzinfo=timezone.utc)}}
SPACING = 20.0  # µm between cells


@dataclass(frozen=True)
class Repeated:
    """Columns that repeat those of ``values``, shape (time, column)."""

    values: NDArray[np.float32]
    count: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self.values), self.count

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[np.float32]:
        """Make rows and columns."""
        columns = np.arange(self.count)[key[1]] % self.values.shape[1]
        return self.values[key[0]][:, columns]


def write_network(path: Path, cells: int, frames: int, spikes: int) -> None:
    """Write an NWB file of the potentials of cells of one compartment on a cube, and spikes."""
    size = Size(min(cells, DIFFERENT), 1, frames)
    few = np.concatenate(list(voltages.blocks(size, frames)))
    side = round(np.ceil(cells ** (1 / 3)))
    x, y, z = (SPACING * axis[:cells] for axis in np.indices((side,) * 3).reshape(3, -1))
    columns = {"number": np.zeros(cells, np.int32), "x": x, "y": y, "z": z}
    table = CompartmentTable.from_counts("net", np.arange(cells), np.ones(cells, int), columns)
    times = RegularTimes(0.0, 1000 / voltages.STEP_MS, frames)
    report = Report("v", Repeated(few, cells), times, table, Unit("volts", 1e-3), "v")
    rng = np.random.default_rng(0)
    when = np.sort(rng.uniform(0, 10, spikes))
    fired = Spikes("net", rng.integers(0, cells, spikes), when)
    _write(path, SimulationOutput(reports=(report,), spikes=(fired,)))


def write_long(path: Path, samples: int) -> None:
    """Write an NWB file of one cell that is sampled very often."""
    values = np.random.default_rng(0).standard_normal((samples, 1), dtype=np.float32)
    number = {"number": np.zeros(1, np.int32)}
    table = CompartmentTable.from_counts("net", np.arange(1), np.ones(1, int), number)
    times = RegularTimes(0.0, 1000 / voltages.STEP_MS, samples)
    report = Report("v", values, times, table, Unit("volts", 1e-3), "v")
    _write(path, SimulationOutput(reports=(report,)))


def _write(path: Path, output: SimulationOutput) -> None:
    writer.write(output, path, metadata=SESSION)
