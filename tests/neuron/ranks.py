"""Record cells on ranks: `mpirun … python ranks.py TARGET [dies [early] | fails | by hoc]`."""

import sys
from pathlib import Path

from mpi4py import MPI
from neuron import h

sys.path.insert(0, str(Path(__file__).parents[2]))

from ndx_simulation_output.neuron import record
from tests.neuron.models import Cell

CELLS = 5


def main(target: str, how: str = "") -> None:
    """Record the cells of each rank: those whose number modulo the size is the rank.

    The last rank ``dies`` while the others simulate, or before, or all of them ``fails``.
    """
    h.nrnmpi_init()
    world, context = MPI.COMM_WORLD, h.ParallelContext()
    rank, ranks = int(context.id()), int(context.nhost())
    assert (rank, ranks) == (world.rank, world.size)
    cells = {gid: Cell(gid) for gid in range(rank, CELLS, ranks)}
    sources = []
    for gid, cell in cells.items():
        context.set_gid2node(gid, rank)
        source = h.NetCon(cell.soma(0.5)._ref_v, None, sec=cell.soma)
        source.threshold = -10
        context.cell(gid, source)
        sources.append(source)
    for gid, cell in cells.items():
        connection = context.gid_connect((gid - 1) % CELLS, cell.synapse)
        connection.delay, connection.weight[0] = 1.0, 0.05
        sources.append(connection)
    if 0 in cells:
        stimulus = h.IClamp(cells[0].soma(0.5))
        stimulus.delay, stimulus.dur, stimulus.amp = 1, 1, 2
        sources.append(stimulus)
    variables = ["v", "ExpSyn.g"]
    with record(
        target, variables=variables, every=0.1, cells=cells, spikes=True, comm=world
    ) as recorder:
        if how == "by hoc":
            context.set_maxstep(10)
            h.finitialize(-65)
            context.psolve(20.0)
            return
        if how == "dies early" and rank == ranks - 1:
            msg = "what went wrong"
            raise ValueError(msg)
        recorder.run(10.0)
        recorder.flush()
        if how == "fails" or (how == "dies" and rank == ranks - 1):
            msg = "what went wrong"
            raise ValueError(msg)
        recorder.run(20.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
