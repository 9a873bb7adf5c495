"""Spikes are recorded beside whatever else listens to the same cells, and of artificial cells."""

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import RecordingError
from ndx_simulation_output.neuron import record

pytest.importorskip("neuron", reason="NEURON is not installed: pip install neuron")

from tests.neuron.models import Ring, clean

STOP = 12.0


@pytest.fixture
def h():
    with clean() as neuron:
        yield neuron
        gc.collect()


@pytest.fixture
def ring(h):
    """Give a ring whose cells have gids, and a cell that spikes at each step of the ring."""
    made, context = Ring(), h.ParallelContext()
    for cell in made.cells:
        context.set_gid2node(cell.number, 0)
        context.cell(cell.number, made.connections[1 + cell.number])
    return made


def spikes_of(path: Path, population: str = "cells") -> dict[int, list[float]]:
    """Return the times (ms) of the spikes of each recorded cell."""
    with open_output(path) as output:
        (found,) = (some for some in output.spikes if some.population == population)
    silent = [] if found.silent is None else found.silent.tolist()
    ids = sorted({*found.node_ids.tolist(), *silent})
    return {cell: np.round(found.times[found.node_ids == cell] * 1000, 9).tolist() for cell in ids}


def rounded(times: Any) -> list[float]:
    return np.round(np.array(list(times)), 9).tolist()
