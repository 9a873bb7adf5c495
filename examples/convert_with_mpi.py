"""Convert the SONATA files of a run in the ranks of an MPI job.

Run it directly, or with ``mpirun -n 4 python convert_with_mpi.py``.
"""

from pathlib import Path

from ndx_simulation_output import StorageOptions, convert, open_output, sonata
from ndx_simulation_output.cable import simulate

try:
    from mpi4py import MPI
except (ImportError, RuntimeError):
    comm, rank = None, 0  # without MPI, one process converts
else:
    comm, rank = MPI.COMM_WORLD, MPI.COMM_WORLD.rank

# Stand-in for your simulation: a directory of SONATA files that all ranks can read.
if rank == 0:
    sonata.write(simulate(duration=0.05), Path("output"), dialect="bbp")
if comm is not None:
    comm.Barrier()

# Every rank calls convert with the same arguments. The file exists when it returns.
metadata = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}
converted = convert(
    "output", "run.nwb", metadata=metadata, storage=StorageOptions(compression="gzip"), comm=comm
)

if rank == 0:
    with open_output(converted.path) as output:
        for report in output.reports:
            times, columns = report.data.shape
            print(f"{report.name}: {times} times × {columns} compartments")
