"""NEURON models to record: a ring of branched cells that excite each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from neuron import h
from numpy.typing import NDArray


class Cell:
    """A soma with hh, a dendrite of several segments, an axon without 3-D points."""

    def __init__(self, number: int, nseg: int = 5) -> None:
        self.number = number
        self.soma = h.Section(name="soma", cell=self)
        self.dend = [h.Section(name=f"dend[{n}]", cell=self) for n in range(2)]
        self.soma.L = self.soma.diam = 20 + number % 3
        self.soma.insert("hh")
        for n, dend in enumerate(self.dend):
            dend.nseg, dend.L, dend.diam = nseg, 150 + 10 * n, 2
            dend.insert("pas")
            dend.e_pas = -65
            dend.connect(self.soma(1))
        h.pt3dadd(0, 0, 0, 2, sec=self.dend[0])
        h.pt3dadd(100, 0, 0, 2, sec=self.dend[0])
        h.pt3dadd(100, 50, 0, 1, sec=self.dend[0])
        self.synapse = h.ExpSyn(self.dend[0](0.5))
        self.synapse.tau = 2

    def __repr__(self) -> str:
        return f"Cell[{self.number}]"

    @property
    def sections(self) -> list[Any]:
        return [self.soma, *self.dend]


class Ring:
    """Cells that excite the next one; the first is excited at 1 ms."""

    def __init__(self, count: int = 4, nseg: int = 5) -> None:
        self.cells = [Cell(number, nseg) for number in range(count)]
        self.stimulus = h.NetStim()
        self.stimulus.start, self.stimulus.number = 1, 1
        self.connections = []
        for before, after in zip([None, *self.cells], [*self.cells, self.cells[0]], strict=True):
            if before is None:
                connection = h.NetCon(self.stimulus, after.synapse)
            else:
                source = before.soma(0.5)._ref_v
                connection = h.NetCon(source, after.synapse, sec=before.soma)
                connection.threshold = -10.0
            connection.delay, connection.weight[0] = 1.0, 0.05
            self.connections.append(connection)

    @property
    def segments(self) -> list[Any]:
        return [segment for cell in self.cells for section in cell.sections for segment in section]


class Vectors:
    """The potential of all segments at each time step, recorded by NEURON itself."""

    def __init__(self, segments: list[Any], name: str = "v", every: float | None = None) -> None:
        how = () if every is None else (every,)
        self._vectors = [
            h.Vector().record(getattr(segment, f"_ref_{name}"), *how) for segment in segments
        ]
        self._times = h.Vector().record(h._ref_t, *how)

    @property
    def values(self) -> NDArray[np.float64]:
        """Return the values; shape (time, segment)."""
        return np.array([np.array(vector) for vector in self._vectors]).T

    @property
    def times(self) -> NDArray[np.float64]:
        return np.array(self._times)


@contextmanager
def clean() -> Iterator[Any]:
    """Yield NEURON in its initial state, and restore it."""
    context, cvode = h.ParallelContext(), h.CVode()
    try:
        yield h
    finally:
        context.gid_clear()
        context.nthread(1)
        cvode.use_local_dt(0)
        cvode.active(0)
        cvode.use_fast_imem(0)
        h.dt, h.celsius = 0.025, 6.3
        for section in list(h.allsec()):
            h.delete_section(sec=section)
