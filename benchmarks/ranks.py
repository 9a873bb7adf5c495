"""Two methods to write a file from several MPI ranks, and their raw write speed.

`mpirun -n 2 python ranks.py …`: rank 0 prints one line of JSON: the seconds of
each method from barrier to barrier, by round. The first round is not counted unless it is the only
one.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import h5py
import numpy as np
from mpi4py import MPI

from ndx_simulation_output import StorageOptions, convert

__all__: list[str] = []

BLOCK_BYTES = 32 * 2**20
CHUNKS = (500, 200)
WORLD = MPI.COMM_WORLD


def main(source: str, ours: str, gathered: str, written: str, repeats: str) -> None:
    """Time all methods alternately."""
    gzip = StorageOptions(compression="gzip", chunks=CHUNKS)
    works: dict[str, tuple[Callable[[], object], Path]] = {
        "ours_gzip": (lambda: convert(source, ours, storage=gzip, comm=WORLD), Path(ours)),
        "gathered_gzip": (lambda: gather(source, gathered, gzip=True), Path(gathered)),
        "ours": (lambda: convert(source, ours, comm=WORLD), Path(ours)),
        "gathered": (lambda: gather(source, gathered), Path(gathered)),
        "written": (lambda: write_share(source, written), Path(written)),
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    rounds = int(repeats)
    for number in range(0 if rounds > 1 else 1, rounds + 1):
        for name in list(works)[:: 1 if number % 2 else -1]:
            work, target = works[name]
            seconds = _timed(work, target)
            if number:
                taken[name].append(seconds)
    if WORLD.rank == 0:
        sys.stdout.write(json.dumps(taken) + "\n")


def _timed(work: Callable[[], object], target: Path) -> float:
    if WORLD.rank == 0:
        target.unlink(missing_ok=True)
    WORLD.Barrier()
    start = perf_counter()
    work()
    WORLD.Barrier()
    return perf_counter() - start


def gather(source: str, target: str, *, gzip: bool = False) -> None:
    """Read columns on each rank, send them to rank 0 block by block, and write them there.

    The target is contiguous, which is what h5py writes fastest, or compressed, in whole chunks.
    """
    with h5py.File(source) as file:
        (population,) = file["report"].values()
        data = population["data"]
        frames, columns = data.shape
        bounds = np.linspace(0, columns, WORLD.size + 1).astype(int)
        mine = slice(bounds[WORLD.rank], bounds[WORLD.rank + 1])
        widest = int(np.diff(bounds).max())
        rows = max(1, BLOCK_BYTES // (data.dtype.itemsize * columns))
        rows = CHUNKS[0] if gzip else rows
        block = np.empty((rows, widest), data.dtype)
        blocks = np.empty((WORLD.size, rows, widest), data.dtype) if WORLD.rank == 0 else None
        written = _create(target, data, gzip=gzip) if WORLD.rank == 0 else None
        for top in range(0, frames, rows):
            some = slice(top, min(top + rows, frames))
            place = np.s_[: some.stop - top, : mine.stop - mine.start]
            data.read_direct(block, np.s_[some, mine], place)
            WORLD.Gather(block, blocks)
            if written is not None:
                _write(written, some, blocks, bounds)
        if written is not None:
            written.file.close()


def write_share(source: str, target: str) -> None:
    """Write as many bytes as the source has, each rank its part, as a reference."""
    size = Path(source).stat().st_size
    block = np.ones(BLOCK_BYTES, np.uint8).data
    start, stop = (size * rank // WORLD.size for rank in (WORLD.rank, WORLD.rank + 1))
    number = os.open(target, os.O_WRONLY | os.O_CREAT)
    for place in range(start, stop, BLOCK_BYTES):
        os.pwrite(number, block[: stop - place], place)
    os.close(number)


def _create(target: str, data: h5py.Dataset, *, gzip: bool) -> h5py.Dataset:
    chunks = tuple(map(min, CHUNKS, data.shape))
    stored = {"chunks": chunks, "shuffle": True, "compression": "gzip"} if gzip else {}
    return h5py.File(target, "w").create_dataset(data.name, data.shape, data.dtype, **stored)


def _write(written: h5py.Dataset, rows: slice, blocks: Any, bounds: Any) -> None:
    height = rows.stop - rows.start
    for part, first, last in zip(blocks, bounds[:-1], bounds[1:], strict=True):
        written[rows, first:last] = part[:height, : last - first]


if __name__ == "__main__":
    main(*sys.argv[1:])
