"""Write the golden files of NEURON with version 0.3.0, and what they must hold.

Run as ``python -m tests.compatibility.write_v030_neuron`` with NEURON 9, once. What must be in the
files is what NEURON's own vectors recorded of the same run.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# ruff: noqa: SLF001 - NEURON's pointers begin with an underscore
import numpy as np

from ndx_simulation_output.neuron import Variable, record
from ndx_simulation_output.neuronvisio import Manager
from tests.compatibility.packing import pack, write_expected

STOP = 4.0
METADATA = {
    "NWBFile": {
        "session_start_time": "2026-01-31T12:00:00+00:00",
        "session_description": "golden file of 0.3.0",
        "identifier": "neuron",
    }
}
VARIABLES = [
    "v",
    Variable("ina", every=0.5, start=1.0, dtype="f4"),
    Variable("ExpSyn.g", every=0.25, unit="uS", label="conductance"),
]


class Cell:
    """A soma with hh, and a dendrite of three segments that has a synapse."""

    def __init__(self, number: int) -> None:
        from neuron import h

        self.number = number
        self.soma = h.Section(name="soma", cell=self)
        self.dend = h.Section(name="dend[0]", cell=self)
        self.soma.L = self.soma.diam = 20 + number % 3
        self.soma.insert("hh")
        self.dend.nseg, self.dend.L, self.dend.diam = 3, 150, 2
        self.dend.insert("pas")
        self.dend.connect(self.soma(1))
        h.pt3dadd(0, 0, 0, 2, sec=self.dend)
        h.pt3dadd(100, 0, 0, 2, sec=self.dend)
        h.pt3dadd(100, 50, 0, 1, sec=self.dend)
        self.synapse = h.ExpSyn(self.dend(0.5))
        self.synapse.tau = 2

    def __repr__(self) -> str:
        return f"Cell[{self.number}]"

    @property
    def segments(self) -> list[Any]:
        return [segment for section in (self.soma, self.dend) for segment in section]


class Pair:
    """Two cells, the first of which is excited from outside and excites the second."""

    def __init__(self) -> None:
        from neuron import h

        self.cells = {12: Cell(0), 4: Cell(1)}
        first, second = self.cells.values()
        self.stimulus = h.NetStim()
        self.stimulus.start, self.stimulus.number = 0.5, 1
        outside = h.NetCon(self.stimulus, first.synapse)
        inside = h.NetCon(first.soma(0.5)._ref_v, second.synapse, sec=first.soma)
        inside.threshold = -10.0
        self.connections = [outside, inside]
        for connection in self.connections:
            connection.delay, connection.weight[0] = 0.25, 0.05

    def vectors(self) -> dict[str, Any]:
        """Let NEURON record the same itself, at each time step."""
        from neuron import h

        cells = self.cells.values()
        segments = [segment for cell in cells for segment in cell.segments]
        places = {
            "v": [segment._ref_v for segment in segments],
            "ina": [cell.soma(0.5)._ref_ina for cell in cells],
            "conductance": [cell.synapse._ref_g for cell in cells],
        }
        recorded = {name: [h.Vector().record(one) for one in refs] for name, refs in places.items()}
        return {"t": h.Vector().record(h._ref_t), **recorded}

    def spikes(self) -> dict[int, tuple[Any, Any]]:
        """Let NEURON record the spikes of each cell; keep what is returned."""
        from neuron import h

        found = {}
        for number, cell in self.cells.items():
            connection = h.NetCon(cell.soma(0.5)._ref_v, None, sec=cell.soma)
            connection.threshold, times = -10.0, h.Vector()
            connection.record(times)
            found[number] = connection, times
        return found


def values(vectors: dict[str, Any]) -> dict[str, Any]:
    """Return recorded vectors as lists: times, and of variables one list for each time."""
    variables = {name: one for name, one in vectors.items() if name != "t"}
    rows = {name: np.array([np.array(v) for v in one]).T for name, one in variables.items()}
    return {"t": list(vectors["t"]), **{name: one.tolist() for name, one in rows.items()}}


def fixed() -> dict[str, Any]:
    """Record at time steps and at intervals of them, and spikes."""
    pair = Pair()
    vectors, spikes = pair.vectors(), pair.spikes()
    cells = {"pair": pair.cells}
    with record(
        "neuron_fixed.nwb", variables=VARIABLES, cells=cells, spikes=-10.0, metadata=METADATA
    ) as recorder:
        recorder.run(STOP)
    times = {str(number): list(taken) for number, (_, taken) in spikes.items()}
    return {**values(vectors), "spikes": times}


def variable() -> dict[str, Any]:
    """Record at each time step of CVode, with its own times."""
    from neuron import h

    pair = Pair()
    h.CVode().active(1)
    vectors = pair.vectors()
    cells = {"pair": pair.cells}
    with record("neuron_variable.nwb", cells=cells, metadata=METADATA) as recorder:
        recorder.run(STOP)
    h.CVode().active(0)
    h.dt = 0.025
    return values({name: vectors[name] for name in ("t", "v")})


def managed() -> dict[str, Any]:
    """Record with a manager, which keeps the geometry, and save it in both formats."""
    from neuron import h

    pair = Pair()
    manager = Manager()
    manager.add_all_vecRef("v", 0.5)
    manager.add_vecRef("ina", pair.cells[4].soma, 0.5)
    h.finitialize(-65)
    h.continuerun(STOP)
    manager.save_to_hdf("neuron_storage.h5")
    manager.save("neuron_manager.nwb", metadata=METADATA)
    sections = [section for cell in pair.cells.values() for section in (cell.soma, cell.dend)]
    found = {section.name(): {"v": list(manager.get_vector(section, "v"))} for section in sections}
    soma = pair.cells[4].soma
    found[soma.name()]["ina"] = list(manager.get_vector(soma, "ina"))
    return {"t": list(manager.get_time()), "sections": found}


def crashed() -> dict[str, Any]:
    """Record in a process that dies after it has brought its file up to date."""
    command = [sys.executable, "-m", "tests.compatibility.write_v030_neuron", "crash"]
    done = subprocess.run(command, env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    pair = Pair()
    vectors = pair.vectors()
    run_alone()
    del pair
    return values({name: vectors[name] for name in ("t", "v")})


def crash() -> None:
    """Record until 2 ms, flush, go on and die."""
    pair = Pair()
    cells = {"pair": pair.cells}
    with record("neuron_crashed.nwb", cells=cells, spikes=-10.0, metadata=METADATA) as recorder:
        recorder.run(STOP / 2)
        recorder.flush()
        recorder.run(STOP)
        os.kill(os.getpid(), signal.SIGKILL)


def run_alone() -> None:
    """Run as far as the file of the process that died is up to date."""
    from neuron import h

    h.finitialize(-65)
    h.continuerun(STOP / 2)


def main() -> None:
    """Write the files in a new directory."""
    from neuron import h

    h.load_file("stdrun.hoc")
    found = {}
    for kind in (fixed, variable, managed, crashed):
        found[kind.__name__] = kind()
        for section in list(h.allsec()):
            h.delete_section(sec=section)
    write_expected("neuron", found)
    left = sorted(path.name for path in Path().glob(".neuron_crashed*"))
    whole = ["neuron_fixed.nwb", "neuron_variable.nwb", "neuron_manager.nwb", "neuron_storage.h5"]
    pack("neuron", [*whole, *left])


if __name__ == "__main__":
    if sys.argv[1:] == ["crash"]:
        crash()
    else:
        os.environ["PYTHONPATH"] = str(Path.cwd())
        with tempfile.TemporaryDirectory() as directory:
            os.chdir(directory)
            main()
