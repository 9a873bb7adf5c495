"""Tasks with this package."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from inputs.cells import flat_arrays
from inputs.session import make_file
from pynwb import NWBHDF5IO

import ndx_simulation_output.nwb.reader  # what a task needs is imported before it
import ndx_simulation_output.nwb.writer
import ndx_simulation_output.sonata.reading  # noqa: F401
from ndx_simulation_output import (
    Compartments,
    CompartmentSeries,
    SimulationMetaData,
    StorageOptions,
    export_sonata,
    info,
    open_output,
)
from ndx_simulation_output import convert as convert_files
from ndx_simulation_output.nwb.stream import stream
from ndx_simulation_output.recording import Categories, CompartmentTable, Spikes, StreamedReport

__all__ = [
    "convert",
    "convert_circuit",
    "convert_on_cluster",
    "export",
    "list_contents",
    "open_cell",
    "open_each",
    "open_ranks",
    "read_afferent",
    "read_all",
    "read_cells",
    "read_connections",
    "read_on_cluster",
    "read_remote_cell",
    "read_wide",
    "write_ranks",
    "write_recording",
    "write_table",
]

Work = Callable[[], object]
BLOCK_BYTES = 32 * 2**20
BLOCK_ROWS = 2**18


def convert(source: str, target: str, *, workers: int | None = None, **options: Any) -> Work:
    """Convert a SONATA file, with options of ``StorageOptions``."""
    storage = StorageOptions(**options)
    return lambda: convert_files(source, target, storage=storage, workers=workers)


def list_contents(source: str) -> Work:
    """Collect what ``ndx-sim info`` prints."""

    def work() -> None:
        with open_output(source) as output:
            list(info.describe(output))

    return work


def export(source: str, target: str) -> Work:
    """Export a file to SONATA."""
    return lambda: export_sonata(source, target)


def convert_circuit(source: str, target: str, *, circuit: bool, edges: bool) -> Work:
    """Convert the cells of a circuit, its connections, or both."""
    return lambda: convert_files(source, target, circuit=circuit, edges=edges)


def read_cells(source: str) -> Work:
    """Open a circuit and read the numbers and the codes of all its cells, in blocks."""

    def work() -> None:
        with open_output(source) as output:
            (cells,) = output.circuit.populations
            for values in cells.columns.values():
                stored = values.codes if isinstance(values, Categories) else values
                if stored.dtype.kind != "O":
                    for start in range(0, len(cells), BLOCK_ROWS):
                        stored[start : start + BLOCK_ROWS]

    return work


def read_connections(source: str) -> Work:
    """Open a circuit and read all columns of its connections, in blocks."""

    def work() -> None:
        with open_output(source) as output:
            (table,) = output.circuit.connections
            for values in (table.source_ids, table.target_ids, *table.columns.values()):
                for start in range(0, len(table), BLOCK_ROWS):
                    values[start : start + BLOCK_ROWS]

    return work


def read_afferent(source: str, *, cells: int) -> Work:
    """Read the connections onto a thousand cells, in an open circuit, and their delays."""
    output = open_output(source)
    (table,) = output.circuit.connections
    table.afferent(0, ["delay"])
    chosen = np.random.default_rng(0).choice(cells, min(cells, 1000), replace=False)
    return lambda: table.afferent(chosen, ["delay"])


def read_all(source: str, *, cells: int, cell_bytes: int) -> Work:
    """Read the whole recording of a file, cells 0, 1, …, some at a time."""
    report = open_output(source).reports[0]
    some = max(1, BLOCK_BYTES // cell_bytes)

    def work() -> None:
        for first in range(0, cells, some):
            report.get_traces(cells=range(first, min(first + some, cells)))

    return work


def read_wide(source: str, *, cell: int) -> Work:
    """Open a recording, and read its first frame and all times of a cell."""

    def work() -> None:
        with open_output(source) as output:
            report = output.reports[0]
            report.get_traces(stop=report.times.start + 0.5 / report.times.rate)
            report.get_traces(cells=cell)

    return work


def read_remote_cell(*, url: str, cell: int) -> Work:
    """Open a file on a server and read the traces of one cell."""

    def work() -> None:
        with open_output(url) as output:
            output.reports[0].get_traces(cells=cell)

    return work


def write_table(target: str, *, cells: int, compartments: int) -> Work:
    """Make a table of so many cells from flat arrays, and write it."""
    ids, counts, columns = flat_arrays(cells, compartments)

    def work() -> None:
        table = Compartments.from_arrays(counts=counts, id=ids, **columns)
        nwbfile = make_file()
        nwbfile.add_lab_meta_data(SimulationMetaData(compartments=table))
        with NWBHDF5IO(target, "w") as io:
            io.write(nwbfile)

    return work


def write_recording(target: str, *, cells: int, compartments: int, frames: int) -> Work:
    """Write a table of so many cells and a recording of a few frames of them."""
    ids, counts, columns = flat_arrays(cells, compartments)

    def work() -> None:
        table = Compartments.from_arrays(counts=counts, id=ids, **columns)
        data = np.full((frames, cells * compartments), -65, np.float32)
        nwbfile = make_file()
        nwbfile.add_lab_meta_data(SimulationMetaData(compartments=table))
        nwbfile.add_acquisition(
            CompartmentSeries("v", data, compartments=table, unit="mV", rate=10_000.0)
        )
        with NWBHDF5IO(target, "w") as io:
            io.write(nwbfile)

    return work


def open_cell(source: str, *, cell: int) -> Work:
    """Open a file with pynwb and read the traces of one cell."""

    def work() -> None:
        with NWBHDF5IO(source, "r") as io:
            io.read().acquisition["v"].get_traces(cells=cell)

    return work


def write_ranks(target: str, *, files: int, cells: int, compartments: int, frames: int) -> Work:
    """Write a file for each rank of a job, of a report and spikes of its own cells."""
    session = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}

    def work() -> None:
        Path(target).mkdir()
        for rank in range(files):
            ids = np.arange(cells) * files + rank
            numbers = {"number": np.tile(np.arange(compartments), cells)}
            counts = np.full(cells, compartments)
            table = CompartmentTable.from_counts("exc", ids, counts, numbers)
            report = StreamedReport("v", table, rate=10_000.0)
            with stream(Path(target, f"{rank}.nwb"), [report], metadata=session) as file:
                file.append("v", np.full((frames, cells * compartments), -65, np.float32))
                file.add_spikes(Spikes("exc", ids, np.full(cells, 1e-4)))

    return work


def open_each(*, directory: str, files: int) -> Work:
    """Open the files of so many ranks with pynwb, one after another, and read their objects."""

    def work() -> None:
        for rank in range(files):
            with NWBHDF5IO(str(Path(directory, f"{rank}.nwb")), "r") as io:
                io.read()

    return work


def open_ranks(*, directory: str, files: int) -> Work:
    """Open the files of so many ranks as one output, without reading their data."""
    paths = [Path(directory, f"{rank}.nwb") for rank in range(files)]
    return lambda: open_output(paths).close()


def read_on_cluster(source: str, *, processes: int) -> Work:
    """Compute the mean of each column on a Dask cluster of so many processes of one thread."""
    client = _cluster(source, processes)
    with open_output(source) as output:
        mean = output.reports[0].to_dask().mean(axis=0)
    return lambda: client.compute(mean).result()


def convert_on_cluster(source: str, target: str, *, processes: int) -> Work:
    """Convert to a Zarr store on a Dask cluster, which is found as its client is the current."""
    _cluster(source, processes)
    return lambda: convert_files(source, target)


def _cluster(source: str, processes: int) -> Any:
    """Return the client of a new cluster, whose processes have imported what they need."""
    from distributed import Client, LocalCluster  # noqa: PLC0415 - optional

    cluster = LocalCluster(
        n_workers=processes, threads_per_worker=1, dashboard_address=None, silence_logs=50
    )
    client = Client(cluster)
    client.run(_close_again, source)
    return client


def _close_again(source: str) -> None:
    open_output(source).close()
