"""What the ranks of ``tests/storage/test_mpi.py`` do: ``mpirun … mpi_job.py NAME DIRECTORY``.

What each rank has to say goes to ``DIRECTORY/<rank>.json``.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

from ndx_simulation_output import convert, files
from ndx_simulation_output.nwb.stream import stream
from ndx_simulation_output.recording import (
    CompartmentTable,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    StreamedReport,
    Unit,
)
from ndx_simulation_output.storage import mpi as parallel
from ndx_simulation_output.storage import writing
from ndx_simulation_output.storage.layout import StorageOptions
from tests.sonata.making import File, changed, ecp, report, spikes

STORAGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "gzip": {"compression": "gzip"},
    "contiguous": {"chunks": "contiguous"},
    "frames": {"access": "frames"},
    "small chunks": {"chunks": (7, 5)},
    "small compressed chunks": {"chunks": (7, 5), "compression": "gzip"},
    "threads": {"workers": 2, "compression": "gzip"},
}
SOURCES = ["contiguous.h5", "deflated.h5", "unsorted.h5", "one_cell.h5", "all"]
METADATA = {
    "NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00", "identifier": "same"},
    "Subject": {"subject_id": "model", "species": "Mus musculus", "sex": "U", "age": "P0D"},
}
CELLS_OF_RANKS = {1: [[5]], 2: [[5, 3], [0, 2]], 3: [[5, 1, 3], [2, 0, 1], [0, 0, 4]]}
"""How many cells each rank has in a stream, for each number of ranks."""


def cases() -> list[tuple[str, str]]:
    """Give all sources with all storages."""
    return list(product(SOURCES, STORAGES))


def convert_case(directory: Path, case: tuple[str, str], target: Path, comm: Any) -> None:
    """Convert a source of ``directory``."""
    source, storage = case
    named = directory / source
    sources = sorted(directory.glob("output/*")) if source == "all" else named
    options = dict(STORAGES[storage])
    convert(
        sources,
        target,
        metadata=METADATA,
        overwrite=True,
        comm=comm,
        workers=options.pop("workers", None),
        storage=StorageOptions(**options),
    )


def stream_case(target: Path, storage: str, cells: list[int], rank: int, comm: Any) -> None:
    """Stream two reports and spikes of as many cells as each rank has."""
    random = np.random.default_rng(1)
    first, own = sum(cells[:rank]), cells[rank]
    if comm is None:
        first, own = 0, sum(cells)
    columns = slice(3 * first, 3 * (first + own))
    table = CompartmentTable.from_counts(
        "exc",
        np.arange(first, first + own) * 2,
        np.full(own, 3),
        {"number": np.tile([0, 1, 1], own), "label": np.array(["soma", "a", "b"] * own, object)},
        {"layer": np.arange(first, first + own)},
    )
    reports = [
        StreamedReport("v", table, rate=1e4, unit=Unit("volts", 1e-3)),
        StreamedReport("ca", table, rate=1e3, dtype="f8", start=0.5, steps=20),
    ]
    options = {key: value for key, value in STORAGES[storage].items() if key != "workers"}
    with stream(
        target,
        reports,
        metadata=METADATA,
        storage=StorageOptions(**options, memory=2**20),
        overwrite=True,
        comm=comm,
    ) as file:
        for step in range(25):
            values = random.normal(size=(step % 4, 3 * sum(cells))).astype("f4")
            file.append("v", values[:, columns])
            file.append("ca", random.normal(size=3 * sum(cells))[columns])
            if step in {5, 6, 24}:
                file.flush()
        cells_that_spike = np.arange(first, first + own) * 2
        file.add_spikes(Spikes("exc", cells_that_spike, cells_that_spike * 0.01))


def conversions(directory: Path, comm: Any) -> list[str]:
    """Convert and stream everything."""
    for case in cases():
        convert_case(directory.parent, case, directory / f"{'-'.join(case)}.nwb", comm)
    for storage, cells in product(STORAGES, CELLS_OF_RANKS[comm.size]):
        if storage != "contiguous":
            name = f"stream-{storage}-{sum(cells)}.nwb"
            stream_case(directory / name, storage, cells, comm.rank, comm)
    return []


FAILING_STORAGES = ["small chunks", "small compressed chunks", "contiguous"]
FAILURES = ["source", "other source", "piece", "full disk", "interrupted", "target", "rename"]


@contextmanager
def failing(kind: str) -> Iterator[None]:
    """Let something fail on this rank."""
    kept = writing.encoded_pieces, files.rename

    def pieces(*words: Any) -> Iterator[Any]:
        made = kept[0](*words)
        yield from islice(made, 1)
        if kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "interrupted":
            signal.raise_signal(signal.SIGINT)
        if kind == "full disk":
            raise OSError(28, "No space left on device")
        if kind == "piece":
            msg = "out of order"
            raise ArithmeticError(msg)
        yield from made

    def rename(_: Path, target: Path, **__: Any) -> None:
        raise OSError(5, "Input/output error", str(target))

    writing.encoded_pieces = parallel.encoded_pieces = pieces
    if kind == "rename":
        files.rename = rename
    try:
        yield
    finally:
        writing.encoded_pieces, files.rename = kept
        parallel.encoded_pieces = kept[0]


def convert_failing(kind: str, directory: Path, target: Path, options: Any, comm: Any) -> str:
    """Convert where this rank fails, or none if ``kind`` is empty; give what is raised."""
    source = {"source": "gone.h5", "other source": "one_cell.h5"}.get(kind, "contiguous.h5")
    if kind == "target":
        target = target.parent / "gone" / target.name
    try:
        with failing(kind):
            convert(
                directory.parent / source,
                target,
                metadata=METADATA,
                comm=comm,
                storage=StorageOptions(**options),
            )
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - that is what is tested
        return f"{type(error).__name__}: {error}"
    return ""


def failures(directory: Path, comm: Any) -> dict[str, str]:
    """Fail in all ways on each rank; all must go on together after that."""
    said = {}
    ways = product(FAILURES, range(comm.size), FAILING_STORAGES)
    for kind, rank, storage in ways:
        if kind in {"rename", "other source"} and rank != comm.size - 1:
            continue
        if kind == "other source" and comm.size == 1:
            continue
        rank = 0 if kind == "rename" else rank  # noqa: PLW2901 - only rank 0 renames
        target = directory / "failed.nwb"
        own = kind if comm.rank == rank else ""
        error = convert_failing(own, directory, target, STORAGES[storage], comm)
        comm.Barrier()
        left = sorted(path.name for path in directory.glob("*failed*"))
        comm.Barrier()
        said[f"{kind} {rank} {storage}"] = " ".join([error, *left])
    return said


def killed(directory: Path, comm: Any) -> None:
    """Let the last rank be killed."""
    kind = "killed" if comm.rank == comm.size - 1 else ""
    convert_failing(kind, directory, directory / "failed.nwb", {"chunks": (7, 5)}, comm)


def stream_failures(directory: Path, comm: Any) -> dict[str, str]:
    """Let a rank fail in the block of a stream, or not keep step."""
    said = {}
    columns = 3 if comm.rank else 2
    table = CompartmentTable.from_counts(
        "exc", np.array([comm.rank]), np.array([columns]), {"number": np.arange(columns)}
    )
    for kind in (
        "caller",
        "file of the caller",
        "shape",
        "steps",
        "less",
        "reports",
        "tables",
        "times",
    ):
        own = comm.rank == comm.size - 1
        report = StreamedReport("w" if own and kind == "reports" else "v", table, rate=1e4)
        if own and kind == "tables":
            other = CompartmentTable.from_counts(
                "inh", np.array([9]), np.array([1]), {"number": np.arange(1)}
            )
            report = StreamedReport("v", other, rate=1e4)
        if kind == "times":
            report = StreamedReport("v", table)
        target = directory / "failed.nwb"
        storage = StorageOptions(chunks=(4, 2))
        try:
            with stream(target, [report], metadata=METADATA, storage=storage, comm=comm) as file:
                for step in range(20):
                    misstep(kind if own else "", step)
                    if not (own and kind == "less" and step > 17):
                        shape = 3 if own and kind == "steps" else 2, columns
                        values = np.zeros(shape) if kind != "shape" or step < 9 else 0.0
                        times = [step, step + 0.5 + own * 0.1] if kind == "times" else None
                        file.append("v", values, times)
        except Exception as error:  # noqa: BLE001
            said[kind] = f"{type(error).__name__}: {error}"
        comm.Barrier()
        said[kind] = " ".join(
            [said.get(kind, ""), *sorted(path.name for path in directory.glob("*failed*"))]
        )
        comm.Barrier()
    return said


def misstep(kind: str, step: int) -> None:
    """Raise in the middle of the simulation."""
    if step == 9 and kind == "caller":
        msg = "the simulation has diverged"
        raise ArithmeticError(msg)
    if step == 9 and kind == "file of the caller":
        Path("no-such-parameters.json").read_text(encoding="utf-8")


def stream_failing(kind: str, directory: Path, comm: Any) -> str:
    """Stream, flush, and let the last rank raise or be killed after some more steps."""
    table = CompartmentTable.from_counts(
        "exc", np.array([comm.rank]), np.array([2]), {"number": np.arange(2)}
    )
    reports = [StreamedReport("v", table, rate=1e4), StreamedReport("w", table)]
    target, storage = directory / "run.nwb", StorageOptions(chunks=(4, 3))
    try:
        with stream(
            target, reports, metadata=METADATA, storage=storage, keep=True, comm=comm
        ) as file:
            for step in range(20):
                if step == 15 and comm.rank == comm.size - 1:
                    if kind == "killed":
                        os.kill(os.getpid(), signal.SIGKILL)
                    misstep("caller", 9)
                file.append("v", np.full(2, step + 100 * comm.rank))
                file.append("w", np.full(2, step), times=step**2)
                file.add_spikes(Spikes("exc", np.array([comm.rank]), np.array([step * 0.1])))
                if step == 9:
                    file.flush()
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"
    return ""


def stream_kept(directory: Path, comm: Any) -> str:
    """Let the last rank raise where the file is to be kept."""
    return stream_failing("raises", directory, comm)


def stream_killed(directory: Path, comm: Any) -> str:
    """Let the last rank be killed in a stream."""
    return stream_failing("killed", directory, comm)


VALUES = np.arange(10_000, dtype="f4").reshape(100, 100)
REPORT = report(np.arange(100), np.ones(100, int), rows=100, data=VALUES, time=(0.0, 10.0, 0.1))
IN_VOLTS = REPORT | File({}, {"report/pop/data": {"units": "V"}})
SOURCES_THAT_DIFFER: dict[str, Callable[[Path], Any]] = {
    "one value": lambda path: changed(path, report__pop__data=VALUES + (VALUES == 5050)),
    "late rows": lambda path: changed(path, report__pop__data=VALUES + (VALUES > 9000)),
    "type": lambda path: changed(path, report__pop__data=VALUES.astype("f8")),
    "byte order": lambda path: changed(path, report__pop__data=VALUES.astype(">f4")),
    "ids": lambda path: changed(path, report__pop__mapping__node_ids=np.arange(1, 101)),
    "elements": lambda path: changed(path, report__pop__mapping__element_ids=np.ones(100, "u4")),
    "time step": lambda path: changed(path, report__pop__mapping__time=[0.0, 20.0, 0.2]),
    "start": lambda path: changed(path, report__pop__mapping__time=[0.1, 10.1, 0.1]),
    "unit of the source": IN_VOLTS.write,
    "spikes": lambda path: changed(path.with_name("spikes.h5"), spikes__pop__timestamps=[1, 2, 4]),
    "channels": lambda path: changed(path.with_name("ecp.h5"), ecp__channel_id=[7, 9]),
}
"""How the sources of the last rank are changed: they keep their names and numbers of columns."""
ARGUMENTS_THAT_DIFFER: dict[str, dict[str, Any]] = {
    "target": {"target": "other.nwb"},
    "storage.quantize": {"storage": StorageOptions(quantize={"v": "0.25mV"})},
    "storage.compression": {"storage": StorageOptions(compression="gzip")},
    "storage.chunks": {"storage": StorageOptions(chunks=(7, 5))},
    "storage.link": {"storage": StorageOptions(link=True)},
    "unit": {"unit": {"v": "V"}},
    "time_unit": {"time_unit": {"v": "s"}},
    "metadata['Subject']['sex']": {
        "metadata": {**METADATA, "Subject": {**METADATA["Subject"], "sex": "F"}}
    },
    "metadata['NWBFile']['session_start_time']": {
        "metadata": {"NWBFile": {"session_start_time": "2026-02-01T12:00:00+01:00"}}
    },
}
STREAMS_THAT_DIFFER: dict[str, dict[str, Any]] = {
    "start": {"start": 0.5},
    "rate": {"rate": 2e4},
    "no rate": {"rate": None},
    "unit": {"unit": Unit("volts")},
    "dtype": {"dtype": "f8"},
    "steps": {"steps": 20},
    "variable": {"variable": "m"},
    "run.time_step": {"run": Run(time_step=1e-3)},
    "storage.compression": {"storage": StorageOptions(compression="gzip")},
    "keep": {"keep": True},
    "target": {"target": "other.nwb"},
    "metadata['NWBFile']['session_description']": {
        "metadata": {
            **METADATA,
            "NWBFile": {**METADATA["NWBFile"], "session_description": "another"},
        }
    },
}


def write_sources(directory: Path) -> list[Path]:
    """Write a report, spikes and potentials."""
    directory.mkdir(exist_ok=True)
    files = {"v": REPORT, "spikes": spikes(), "ecp": ecp(np.zeros((3, 2), "f4"))}
    return [file.write(directory / f"{name}.h5") for name, file in files.items()]


def attempt(directory: Path, comm: Any, call: Callable[..., object], **arguments: Any) -> str:
    """Call with a target that exists; give what is raised, and what is then in the directory."""
    target = directory / arguments.pop("target", "kept.nwb")
    if comm.rank == 0:
        (directory / "kept.nwb").write_text("earlier")
    comm.Barrier()
    try:
        call(target, comm, **arguments)
    except Exception as error:  # noqa: BLE001 - that is what is tested
        said = f"{type(error).__name__}: {error}"
    else:
        said = "no error"
    comm.Barrier()
    left = sorted(path.name for path in directory.glob("*.nwb"))
    kept = (directory / "kept.nwb").read_text(errors="replace")
    comm.Barrier()
    return f"{said} | {left} {kept}"


def differences(directory: Path, comm: Any) -> dict[str, str]:
    """Convert and stream where the last rank has something else than the others."""
    is_last = comm.rank == comm.size - 1
    sources = write_sources(directory / str(comm.rank))
    # NWB files have random object ids: all ranks begin with copies of one file.
    if comm.rank == 0:
        convert(sources, directory / "run.nwb", metadata=METADATA)
    comm.Barrier()

    def run(target: Path, comm: Any, source: Any = sources, **options: Any) -> None:
        convert(source, target, comm=comm, **{"overwrite": True, "metadata": METADATA, **options})

    def record(target: Path, comm: Any, **options: Any) -> None:
        table = CompartmentTable.from_cells("exc", [comm.rank])
        fields = {name: options.pop(name) for name in list(options) if name in FIELDS}
        reports = [StreamedReport(name, table, **{"rate": 1e4, **fields}) for name in "vw"]
        options = {"overwrite": True, "metadata": METADATA, **options}
        with stream(target, reports, comm=comm, **options):
            pass

    said = {"the same": attempt(directory, comm, run, target="same.nwb")}
    for kind, change in SOURCES_THAT_DIFFER.items():
        write_sources(directory / str(comm.rank))
        if is_last:
            change(sources[0])
        said[kind] = attempt(directory, comm, run)
    write_sources(directory / str(comm.rank))
    for kind, arguments in ARGUMENTS_THAT_DIFFER.items():
        said[kind] = attempt(directory, comm, run, **(arguments if is_last else {}))
    for kind, arguments in STREAMS_THAT_DIFFER.items():
        said[f"stream {kind}"] = attempt(directory, comm, record, **(arguments if is_last else {}))
    source = directory / f"nwb{comm.rank}.h5"
    source.write_bytes((directory / "run.nwb").read_bytes())
    if is_last:
        changed(source, acquisition__v__data=VALUES + (VALUES == 5050))
    said["NWB"] = attempt(directory, comm, run, source=source)
    table = CompartmentTable.from_cells("exc", [3, 5])
    described = Report(
        "v", "v", np.full((9, 2), float(is_last)), RegularTimes(0.0, 1e3, 9), table, Unit("volts")
    )
    said["in memory"] = attempt(directory, comm, run, source=SimulationOutput((described,)))
    return said


FIELDS = {field.name for field in fields(StreamedReport)}
JOBS = {
    job.__name__: job
    for job in (
        conversions,
        differences,
        failures,
        killed,
        stream_failures,
        stream_kept,
        stream_killed,
    )
}

if __name__ == "__main__":
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    place = Path(sys.argv[2])
    result = JOBS[sys.argv[1]](place, world)
    (place / f"{world.rank}.json").write_text(json.dumps(result))
