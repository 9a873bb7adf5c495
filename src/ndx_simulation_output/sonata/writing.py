"""Write the recordings of a run as SONATA files, in either dialect."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ndx_simulation_output.choices import Dialect
from ndx_simulation_output.errors import ExportError, NameClashError, TargetExistsError
from ndx_simulation_output.files import (
    AtomicFile,
    atomic_files,
    check_local,
    check_space,
    hdf5_file,
    write_errors,
)
from ndx_simulation_output.recording import (
    ExtracellularPotential,
    Report,
    SimulationOutput,
    Timestamps,
)
from ndx_simulation_output.recording.arrays import Progress, progress_of, size_in_bytes
from ndx_simulation_output.recording.circuit import Circuit
from ndx_simulation_output.recording.ids import check_ids, free_name
from ndx_simulation_output.sonata.circuit_writing import (
    ALLEN_ATTRIBUTES,
    plan_circuit,
    portable_paths,
)
from ndx_simulation_output.sonata.hdf5 import attributes_from_json, sonata_provenance
from ndx_simulation_output.sonata.potentials import write_potential
from ndx_simulation_output.sonata.reports import write_report
from ndx_simulation_output.sonata.series import TRIPLE
from ndx_simulation_output.sonata.spikes import write_spikes
from ndx_simulation_output.sonata.text_files import electrodes_text

_CONFIG_KEYS = {"output", "reports", "run"}


@dataclass
class Written:
    """The files that were written, and notes on data that SONATA cannot store."""

    files: list[Path] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def write(
    output: SimulationOutput,
    directory: Path,
    *,
    dialect: Dialect | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Write the reports, spikes, extracellular potentials and circuit of a run to ``directory``.

    Recordings that were read from SONATA get the file names, names, order, dtypes, times and
    attributes of their source. With the tables of a circuit, the directory is a whole run: its
    files, and those of the recordings, are where the configurations say.

    Parameters
    ----------
    output
        The recordings.
    directory
        Directory of the files; created if it does not exist.
    dialect
        ``allen`` (bmtk) or ``bbp`` (libsonata): files are such that its reader opens them. By
        default the dialect of the source, with its own spelling, otherwise ``bbp``.
    dtype
        Dtype of the data of reports, ``float32`` or ``float64``; by default the recorded one.
    overwrite
        Whether to replace existing files.
    progress
        Called with the number of bytes done since the last call, and the total number.

    Raises
    ------
    ExportError
        If nothing can be written as SONATA, or the provenance is damaged.
    NameClashError
        If two reports of one population would be written to the same file.
    TargetExistsError
        If a file exists and ``overwrite`` is False; no file is written.
    WriteError
        If a file cannot be written.

    """
    if dtype not in {None, "float32", "float64"}:
        msg = f"dtype is {dtype!r}; expected float32 or float64, as others change values"
        raise ExportError(msg)
    if directory.exists() and not directory.is_dir():
        msg = f"{directory} is a file; expected the name of a directory"
        raise TargetExistsError(msg)
    _check_provenance(output)
    _check_populations(output)
    written = Written(left_out=list(_not_in_sonata(output)))
    simulation = output.run.configuration
    if simulation is not None and not _is_sonata_config(simulation):
        simulation = None
    circuit = plan_circuit(output.circuit, dialect, simulation, written.left_out)
    total = sum(size_in_bytes(report.data) for report in output.reports) + circuit.size
    total += sum(size_in_bytes(potential.data) for potential in output.potentials)
    done = progress_of(progress, total)
    planned: dict[str, list[_PlannedRecording]] = {}
    for recording in _plan_recordings(output, dialect, dtype, written.left_out, done):
        name = (PurePosixPath(circuit.output_dir) / recording.file_name).as_posix()
        planned.setdefault(name, []).append(recording)
    if not (planned or circuit.files):
        reasons = "; ".join([*output.notes, *written.left_out]) or "it is empty"
        msg = f"nothing of this recording can be written as SONATA: {reasons}"
        raise ExportError(msg)
    contents: dict[str, Callable[[AtomicFile], object]] = {
        name: partial(_write_all, recordings) for name, recordings in planned.items()
    }
    if both := sorted({*contents} & {*circuit.files}):
        msg = f"recordings and the circuit would both be written to {both[0]}"
        raise NameClashError(msg)
    contents |= {name: partial(file.write, progress=done) for name, file in circuit.files.items()}
    named_texts = {**circuit.texts, **_texts(output, circuit.simulation)}
    names = portable_paths([*contents, *named_texts])
    written.left_out += [
        f"the name {name}: not every system has such a file beside the others; written as {other}"
        for name, other in names.items()
        if name != other
    ]
    plan = {directory / names[name]: write_file for name, write_file in contents.items()}
    texts = {directory / names[name]: text for name, text in named_texts.items()}
    check_local(directory)
    # Data of float64 may be written as float32.
    check_space(next(iter(plan)), total // 2 if dtype == "float32" else total)
    written.files += [*plan, *texts]
    with (
        _created(directory, *(path.parent for path in written.files)),
        atomic_files(written.files, overwrite=overwrite) as temporaries,
    ):
        for (path, write_file), temporary in zip(plan.items(), temporaries, strict=False):
            with write_errors(path), hdf5_file(temporary) as file:
                write_file(file)
        for (path, text), temporary in zip(texts.items(), temporaries[len(plan) :], strict=True):
            with write_errors(path):
                temporary.write_bytes(text.encode())
    return written


@contextmanager
def _created(*directories: Path) -> Iterator[None]:
    """Create directories; remove new ones again if the block raises."""
    parents = {parent for path in directories for parent in (path, *path.parents)}
    new = sorted((path for path in parents if not path.exists()), key=lambda path: len(path.parts))
    for directory in new:
        with write_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for directory in reversed(new):
            with suppress(OSError):
                directory.rmdir()
        raise


def _write_all(recordings: Sequence["_PlannedRecording"], file: AtomicFile) -> None:
    for recording in recordings:
        recording.write(file)


def _not_in_sonata(output: SimulationOutput) -> Iterator[str]:
    """Yield notes on data that SONATA cannot store."""
    for arrays in output.arrays:
        yield f"{arrays.name}: SONATA has no arrays other than reports"
    for network in output.networks:
        yield f"{network.name}: SONATA has no network states"
    for spikes in output.spikes:
        properties = set() if spikes.cells is None else set(spikes.cells.columns)
        if names := sorted(properties - _properties_of(spikes.population, output.circuit)):
            listed = ", ".join(names)
            yield f"spikes of {spikes.population}: SONATA has no properties of cells: {listed}"
        if spikes.silent is not None or spikes.intervals is not None:
            yield (
                f"spikes of {spikes.population}: SONATA has no cells without spikes and no "
                "recording intervals"
            )


@dataclass(frozen=True)
class _PlannedRecording:
    """A recording and its file, which may have several recordings."""

    file_name: str
    dialect: Dialect
    provenance: Mapping[str, Any]
    write_recording: Callable[[AtomicFile], None]

    def write(self, file: AtomicFile) -> None:
        attributes_from_json(file, self.provenance.get("file_attributes", {}))
        if self.dialect == "allen" != self.provenance.get("dialect"):
            attributes_from_json(file, ALLEN_ATTRIBUTES)
        self.write_recording(file)


def _plan_recordings(
    output: SimulationOutput,
    dialect: Dialect | None,
    dtype: str | None,
    left_out: list[str],
    progress: Callable[[int], object] | None,
) -> Iterator[_PlannedRecording]:
    reports = [_without_properties(report, output.circuit) for report in output.reports]
    for file_name, report in zip(_report_files(reports), reports, strict=True):
        provenance = report.provenance
        chosen = dialect or provenance.get("dialect", "bbp")
        if report.population == "unknown" and not provenance:
            left_out.append(f"{report.name}: no population is known; written as 'unknown'")
        if _is_regular(report, left_out):
            write_recording = partial(
                write_report,
                report=report,
                dialect=chosen,
                conform=dialect is not None,
                dtype=dtype,
                left_out=left_out,
                progress=progress,
            )
            yield _PlannedRecording(file_name, chosen, provenance, write_recording)
    for spikes in output.spikes:
        provenance = spikes.provenance
        chosen = dialect or provenance.get("dialect", "bbp")
        alone = len(output.spikes) == 1
        write_recording = partial(
            write_spikes,
            spikes=spikes,
            dialect=chosen,
            conform=dialect is not None,
            alone=alone,
            left_out=left_out,
        )
        yield _PlannedRecording(
            _file_name(provenance, "spikes"), chosen, provenance, write_recording
        )
    files = _potential_files(output.potentials)
    for file_name, potential in zip(files, output.potentials, strict=True):
        provenance = potential.provenance
        if dialect == "bbp":
            left_out.append(f"{potential.name}: written as bmtk does; libsonata does not read it")
        if _is_regular(potential, left_out):
            write_recording = partial(
                write_potential, potential=potential, left_out=left_out, progress=progress
            )
            yield _PlannedRecording(file_name, "allen", provenance, write_recording)


def _without_properties(report: Report, circuit: Circuit | None) -> Report:
    """Return a report without the properties of its cells, which SONATA has in files of nodes."""
    table = report.compartments
    summary = circuit.summary if circuit is not None else ()
    properties = {
        name for one in summary if one.name == table.population for name in one.properties
    }
    properties -= set(report.provenance.get("columns", {}))
    if not properties & set(table.cell_columns):
        return report
    kept = {name: one for name, one in table.cell_columns.items() if name not in properties}
    return replace(report, compartments=replace(table, cell_columns=kept))


def _properties_of(population: str, circuit: Circuit | None) -> set[str]:
    """Return the names of the properties that the circuit has of a population."""
    summary = circuit.summary if circuit is not None else ()
    return {name for one in summary if one.name == population for name in one.properties}


def _is_regular(item: Report | ExtracellularPotential, left_out: list[str]) -> bool:
    if isinstance(item.times, Timestamps):
        left_out.append(f"{item.name}: SONATA has no irregular times")
        return False
    return True


def _file_name(provenance: Mapping[str, Any], name: str) -> str:
    source = sonata_provenance(provenance).get("file")
    return f"{Path(source).stem if source else name.replace('/', '_')}.h5"


def _report_files(reports: Sequence[Report]) -> Iterator[str]:
    """Yield the file name of each report, with a number if it would be that of another report."""
    used: dict[tuple[str, str], str] = {}
    stems: dict[str, set[str]] = {}
    pairs = Counter((report.report, report.population) for report in reports)
    for report in reports:
        # The variables of a monitor of ANNarchy are reports of the name of their population.
        is_one = pairs[report.report, report.population] == 1
        wanted = _file_name(report.provenance, report.report if is_one else report.name)
        if used.get((wanted, report.population)) == report.report:
            msg = f"two reports of population {report.population!r} would be written to {wanted}"
            raise NameClashError(msg)
        stem = free_name(Path(wanted).stem, others := stems.setdefault(report.population, set()))
        others.add(stem)
        name = f"{stem}.h5"
        used[name, report.population] = report.report
        yield name


def _potential_files(potentials: Sequence[ExtracellularPotential]) -> Iterator[str]:
    """Yield the file name of each potential, with a number if it would be that of another."""
    used: set[str] = set()
    for potential in potentials:
        stem = free_name(Path(_file_name(potential.provenance, potential.name)).stem, used)
        used.add(stem)
        yield f"{stem}.h5"


def _texts(output: SimulationOutput, simulation: str | None) -> dict[str, str]:
    """Return the text files: electrodes, and the configuration of the run."""
    texts = {}
    for potential in output.potentials:
        if potential.electrodes is not None:
            name = potential.electrodes.provenance.get("file") or f"{potential.name}_electrodes.csv"
            texts[Path(name).name] = electrodes_text(potential.electrodes)
    if simulation is not None:
        texts["simulation_config.json"] = simulation
    return texts


def _is_sonata_config(text: str) -> bool:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(config, dict) and bool(_CONFIG_KEYS & set(config))


def _check_provenance(output: SimulationOutput) -> None:
    """Raise ExportError for a damaged provenance, which reading SONATA cannot produce."""
    named = [(report.name, report.provenance) for report in output.reports]
    named += [(potential.name, potential.provenance) for potential in output.potentials]
    named += [(f"the spikes of {spikes.population}", spikes.provenance) for spikes in output.spikes]
    for name, provenance in named:
        for key, is_valid in _VALID.items():
            value = provenance.get(key)
            if value is not None and not is_valid(value):
                msg = (
                    f"the provenance of {name} has the {key} {str(value)[:60]!r}: the NWB file is "
                    "damaged"
                )
                raise ExportError(msg)


def _check_populations(output: SimulationOutput) -> None:
    """Raise ExportError for populations and cells that SONATA cannot name."""
    populations = [(f"report {report.name}", report.population) for report in output.reports]
    populations += [("the spikes", spikes.population) for spikes in output.spikes]
    for where, population in populations:
        if not population or "/" in population or population == ".":
            msg = (
                f"{where}: population {population!r} cannot be the name of an HDF5 group; expected "
                "a name without /"
            )
            raise ExportError(msg)
    for report in output.reports:
        # The ids of NWB files were not read before.
        check_ids(np.asarray(report.compartments.cell_ids[:]), f"cells of report {report.name!r}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _are_dtypes(value: Any) -> bool:
    try:
        return _are_texts(value) and all(np.dtype(text) is not None for text in value.values())
    except TypeError:
        return False


def _are_attributes(value: Any) -> bool:
    """Return True if values are texts, lists of texts, or numbers with their dtype."""
    return isinstance(value, dict) and all(
        isinstance(entry, str)
        or (isinstance(entry, dict) and ("text" in entry or _is_number(entry)))
        for entry in value.values()
    )


def _is_number(entry: dict[str, Any]) -> bool:
    return "value" in entry and _are_dtypes({"dtype": entry.get("dtype")})


def _are_attributes_by_path(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_are_attributes, value.values()))


def _is_triple(value: Any) -> bool:
    numbers = isinstance(value, list) and all(isinstance(number, (int, float)) for number in value)
    return numbers and len(value) == TRIPLE


def _are_entries(value: Any) -> bool:
    if not (isinstance(value, dict) and {"node_ids", "counts", "columns"} <= set(value)):
        return False
    lists = [value["node_ids"], value["counts"]]
    lists += value["columns"].values() if isinstance(value["columns"], dict) else [None]
    return all(isinstance(items, list) and len(items) == len(lists[0]) for items in lists)


def _are_not_finite(value: Any) -> bool:
    keys = ("positions", "node_ids", "bits")
    return isinstance(value, dict) and all(
        isinstance(value.get(key), list)
        and len(value[key]) == len(value["positions"])
        and all(isinstance(number, int) and abs(number) < 2**63 for number in value[key])
        for key in keys
    )


_VALID: dict[str, Callable[[Any], bool]] = {
    "attributes": _are_attributes_by_path,
    "columns": _are_texts,
    "dialect": lambda value: _is_text(value) and value in {"allen", "bbp"},
    "dtypes": _are_dtypes,
    "entries": _are_entries,
    "file": _is_text,
    "file_attributes": _are_attributes,
    "not_finite": _are_not_finite,
    "per_second": lambda value: isinstance(value, (int, float)) and value > 0,
    "root": lambda value: _is_text(value) and value in {"report", "reports"},
    "time": _is_triple,
}
