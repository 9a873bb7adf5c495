"""Run NEURON in a process of its own: `python run.py KIND TARGET`."""

import sys
import time
from pathlib import Path

import numpy as np
from neuron import h

sys.path.insert(0, str(Path(__file__).parents[2]))

from ndx_simulation_output import open_output
from ndx_simulation_output.neuron import record
from ndx_simulation_output.storage.layout import StorageOptions
from tests.neuron.models import Ring, Vectors


def killed(target: str) -> None:
    """Run until this process is killed; print the time up to which the file was flushed."""
    ring = Ring()
    with record(target, spikes=-10.0, storage=StorageOptions(memory=2**20)) as recorder:
        recorder.run(9.0)
        recorder.flush()
        print(h.t, flush=True)
        recorder.run(3_000.0)
        time.sleep(60)
    del ring


def whole(target: str) -> None:
    """Run longer than the process that is killed."""
    ring = Ring()
    with record(target, spikes=-10.0) as recorder:
        recorder.run(3_000.0)
    del ring


def large(target: str) -> None:
    """Record a large network; print the memory in bytes and the number of segments."""
    ring = Ring(1000, nseg=10)
    segments = ring.segments
    before = _anonymous()
    most = 0
    with record(target, variables=["v", "ina"]) as recorder:
        for stop in range(1, 11):
            recorder.run(float(stop))
            most = max(most, _anonymous())
    print(most - before, len(segments))
    potentials = Vectors(segments)
    h.finitialize(-65)
    h.ParallelContext().psolve(10.0)
    with open_output(target) as output:
        np.testing.assert_array_equal(output["v"].data[:, :], potentials.values)
    currents = Vectors([cell.soma(0.5) for cell in ring.cells], "ina")
    h.finitialize(-65)
    h.ParallelContext().psolve(10.0)
    with open_output(target) as output:
        np.testing.assert_array_equal(output["ina"].data[:, :], currents.values)


def _anonymous() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines["RssAnon"].split()[0]) * 1024


if __name__ == "__main__":
    {"killed": killed, "whole": whole, "large": large}[sys.argv[1]](sys.argv[2])
