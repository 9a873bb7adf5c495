"""Find the files of a SONATA simulation and read them."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

from ndx_simulation_output.errors import (
    NameClashError,
    NothingRecordedError,
    SimulationOutputWarning,
    SourceError,
    UnitError,
    UnsupportedSourceError,
    file_errors,
)
from ndx_simulation_output.files import is_zarr_store
from ndx_simulation_output.recording import (
    ArrayGroup,
    Electrodes,
    ExtracellularPotential,
    Report,
    Run,
    SimulationOutput,
    Spikes,
)
from ndx_simulation_output.recording.continuing import Span, by_start, span_of
from ndx_simulation_output.recording.ids import some_of, storable_text
from ndx_simulation_output.recording.merging import distinct_names, merge_outputs
from ndx_simulation_output.recording.output import LaterNotes
from ndx_simulation_output.recording.stored_spikes import notes_of_spikes
from ndx_simulation_output.remote import refuse_url
from ndx_simulation_output.sonata.circuits import CircuitReader, join_circuit
from ndx_simulation_output.sonata.config import (
    SUFFIXES,
    NamedFile,
    ReportConfig,
    SimulationConfig,
    is_file,
    joined_reports,
    kind_of_config,
    read_config,
)
from ndx_simulation_output.sonata.hdf5 import note_unknown
from ndx_simulation_output.sonata.potentials import is_contribution, read_potential
from ndx_simulation_output.sonata.rates import RATES, read_clamps, read_rates, read_text_rates
from ndx_simulation_output.sonata.reports import ROOTS, read_old_reports, read_reports
from ndx_simulation_output.sonata.spikes import (
    is_of_bmtk,
    read_bmtk_spikes,
    read_nwb1_spikes,
    read_spikes,
)
from ndx_simulation_output.sonata.text_files import (
    is_table,
    read_electrodes,
    read_text_spikes,
    text_kind,
)
from ndx_simulation_output.sonata.units import ReadOptions
from ndx_simulation_output.storage.chunk_cache import CHUNKS
from ndx_simulation_output.storage.sources import open_source

_HDF5 = {*SUFFIXES, ".nwb"}
_TEXT = {".csv", ".txt", ".dat"}
# The names of configurations, best first; bmtk copies that of a run, whatever its name is.
_CONFIGS = {
    "simulation": "simulation_config.json",
    "both": "config.json",
    "circuit": "circuit_config.json",
}
_KNOWN_GROUPS = {*ROOTS, "spikes", "ecp", *RATES}
_NETWORK = (
    "contains a network (nodes or edges), not recorded activity; expected its circuit_config.json"
)
# Reasons to refuse a file without recorded activity, by its groups.
_REFUSED = {
    "electrodes": "contains the weights of electrodes, which are an input of the simulation; "
    "expected the lfp report that was computed with them",
    "nodes": _NETWORK,
    "edges": _NETWORK,
    "firing_rates": "contains firing rates of FilterNet, but no population with node_id, times and "
    "firing_rates_Hz",
    "ecp": "has only data in ecp: the contribution of one cell, without channels and time; "
    "expected the file of the summed potential",
}


def read(
    source: str | Path | Iterable[str | Path],
    *,
    unit: Mapping[str, str] | None = None,
    time_unit: Mapping[str, str] | None = None,
    compartments: Mapping[str, str] | None = None,
    population: str | None = None,
    dt: float | None = None,
    trust: bool = False,
    nodes: bool | None = None,
    properties: Iterable[str] | None = None,
) -> SimulationOutput:
    """Read the reports, rates, spikes and extracellular potentials of a SONATA simulation.

    Its circuit is read too if a configuration names it: cells have the properties of their nodes.

    Data are not read yet; the files stay open until the output is closed.

    Parameters
    ----------
    source
        A file, several files, a directory, or a ``simulation_config.json``. Several directories,
        configurations, or files of one name are parts of a run in time and are joined. A
        ``circuit_config.json`` is the circuit of the other sources, or is read alone.
    unit
        Units of reports and potentials by name, such as ``{"v_report": "mV"}``.
    time_unit
        Units of their times by name, and of ``spikes``; the default is ms.
    compartments
        ``{"report": "all"}`` for reports of every segment, ``"center"`` for those of one in each
        section: their positions are computed.
    population
        Name of the population of spikes and reports that have none.
    dt
        Time step in ms of data without times.
    trust
        Whether files may refer to files outside their folders, and declare more than they store.
    nodes
        Whether the circuit must exist. By default it is read if it exists; False ignores it.
    properties
        Names of the properties that cells of reports and spikes get. The default is all with one
        value for each cell, or the usual ones of more than 32.

    Raises
    ------
    SourceError
        If a file cannot be read or violates the format.
    SelectionError
        If no cell of the circuit has a property.
    ShapeMismatchError
        If a mapping does not fit its data.
    UnitError
        If a unit is not recognized, or is set for a name that does not occur.

    """
    properties = (properties,) if isinstance(properties, str) else properties
    options = ReadOptions(
        unit or {},
        time_unit or {},
        compartments or {},
        population,
        dt,
        trust,
        nodes,
        None if properties is None else tuple(properties),
    )
    paths = [source] if isinstance(source, (str, Path)) else list(source)
    for path in paths:
        refuse_url(path)
    circuits = CircuitReader(options)
    with ExitStack() as stack:
        stack.enter_context(circuits.files)
        named = []
        for part in _parts_of_run(list(map(Path, paths))):
            output = _read_part(part, options, circuits)
            stack.callback(output.close)
            named.append((", ".join(map(str, part)), output))
        _check_parts([output for _, output in named])
        merged = merge_outputs(named)
        _check_options(merged, options)
        stack.pop_all()
    return merged.changed(close=circuits.closing(merged.close))


def _parts_of_run(paths: list[Path]) -> list[list[Path]]:
    """Group paths by the parts of a run: no part has two files of one name or of one report."""
    if len(paths) == 1:
        return [paths]
    circuits = [path for path in paths if _is_circuit(path)]
    paths = [path for path in paths if path not in circuits]
    parts: list[tuple[list[Path], dict[str, Path]]] = [([], {})]
    for path in paths:
        found = _named_files(path)
        free = (
            part
            for part in parts
            if all(part[1].get(name, file) == file for name, file in found.items())
        )
        part = next(free, None)
        if part is None:
            parts.append(part := ([], {}))
        part[0].append(path)
        part[1].update(found)
    return [[*part, *circuits] for part, _ in parts]


def _is_circuit(path: Path) -> bool:
    return path.suffix == ".json" and kind_of_config(path) == "circuit"


def _named_files(path: Path) -> dict[str, Path]:
    """Return the files of a source by name; those of reports by the name of the report."""
    try:
        sources = _find_sources([path])
    except SourceError:
        return {path.name: path.resolve()}
    others = [*sources.texts, *sources.nwb_spikes]
    files = {file.config.name: file.path.resolve() for file in sources.files}
    return files | {file.name: file.resolve() for file in others}


def _read_part(
    paths: Sequence[Path], options: ReadOptions, circuits: CircuitReader
) -> SimulationOutput:
    sources = _find_sources(paths)
    circuit = None
    if options.nodes is not False and sources.network is not None:
        circuit, of_circuit, notes = circuits.read(
            sources.network, sources.node_sets, of_run=not sources.is_circuit_named
        )
        sources.notes += notes
        sources.files = [file for file in sources.files if file.path.resolve() not in of_circuit]
        others = [path for path in sources.texts if path.resolve() not in of_circuit]
        sources.texts = {path: sources.texts[path] for path in others}
    elif options.nodes:
        msg = (
            f"{_listed(paths)}: no configuration names a circuit, which nodes=True (--nodes) needs"
        )
        raise SourceError(msg)
    if circuit is None and options.properties is not None:
        msg = f"{_listed(paths)}: there is no circuit whose properties can be chosen; expected one "
        raise SourceError(msg + "for properties= (--properties)")
    with ExitStack() as stack:
        stack.callback(CHUNKS.forget_closed)
        electrodes = {path: read_electrodes(path) for path in dict.fromkeys(sources.electrodes)}
        reader = _SourceReader(options, electrodes)
        for file in sources.files:
            with file_errors(file.path):
                opened = stack.enter_context(open_source(file.path, trust=options.trust))
                reader.read(opened, file)
        reader.read_texts(sources.texts)
        for path in sources.nwb_spikes:
            reader.read_nwb(path)
        output = reader.output(sources, stack.pop_all().close)
        stack.callback(output.close)
        _check_names(output, is_circuit=sources.is_empty and sources.is_circuit_named)
        if circuit is not None:
            run = sources.config
            files = circuits.morphologies(circuit, old_import=bool(run and run.old_import))
            segment = run.segment if run else None
            output = join_circuit(output, circuit, options, files, segment)
        stack.pop_all()
        return output


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths)) or "no source"


@dataclass(frozen=True)
class _SourceFile:
    """A file to read; it must be readable if the caller or the configuration names it."""

    path: Path
    config: ReportConfig
    named: bool


@dataclass
class _Sources:
    """The files of a run, by their kind."""

    files: list[_SourceFile] = field(default_factory=list)
    electrodes: list[Path] = field(default_factory=list)
    texts: dict[Path, str] = field(default_factory=dict)
    nwb_spikes: list[Path] = field(default_factory=list)
    config: SimulationConfig | None = None
    notes: list[str] = field(default_factory=list)
    resolved: set[Path] = field(default_factory=set)
    network: NamedFile | None = None
    node_sets: NamedFile | None = None
    is_circuit_named: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.files or self.texts or self.nwb_spikes)

    def add_directory(self, directory: Path) -> None:
        paths = sorted(path for path in directory.iterdir() if path.is_file())
        for config in _configurations(directory, paths):
            self.add_config(config)
        # HDF5 first: text files are read only if the run has no spikes in HDF5.
        hdf5 = [path for path in paths if path.suffix == ".nwb" and _is_of_bmtk(path)]
        hdf5 += [path for path in paths if _is_hdf5_name(path) or _is_unnamed_hdf5(path)]
        inputs = {path.resolve() for path in self.config.inputs} if self.config else set()
        inputs -= self.resolved
        for path in hdf5 + [path for path in paths if path.suffix in _TEXT]:
            if path.resolve() in inputs:
                self.notes.append(f"left out: {path}, an input of the run")
            else:
                self._try_to_add(path, None)

    def add_config(self, path: Path) -> None:
        config = read_config(path)
        self._add_circuit(config)
        if not config.has_run:
            return
        self.config = config
        self.notes += config.notes
        by_file: dict[tuple[int, int], list[ReportConfig]] = {}
        bases: dict[str, list[str]] = {}
        for report in config.reports.values():
            if report.file and (file := self._found(path, report.file, bases)):
                status = file.stat()  # equal for all spellings and links of a file
                same_file = by_file.setdefault((status.st_dev, status.st_ino), [])
                same_file.append(replace(report, path=file))
            if report.electrodes is not None and is_file(report.electrodes):
                self.electrodes.append(report.electrodes)
                self.resolved.add(report.electrodes.resolve())
            elif report.electrodes is not None:
                self.notes.append(f"{report.electrodes}, named by {path.name}, does not exist")
        for reports in by_file.values():
            self._try_to_add(reports[0].path, _one_config(reports))
        for output in config.outputs:
            self._try_to_add(self._found(path, output, bases), None)
        for base, names in bases.items():
            where = (
                "beside it, as they are not where it says"
                if base == "beside"
                else f"from the {base}, {Path.cwd()}, as bmtk does"
            )
            read = ", ".join(dict.fromkeys(names))
            self.notes.append(f"files named by {path.name} were read {where}: {read}")

    def _add_circuit(self, config: SimulationConfig) -> None:
        """Add the circuit of a configuration; one that is named itself replaces that of a run."""
        if not config.has_run:
            if self.is_circuit_named:
                msg = f"{self.network} and {config.network} are two circuits; expected one"
                raise NameClashError(msg)
            self.network, self.is_circuit_named = config.network, True
        elif not self.is_circuit_named:
            self.network = config.network or self.network
        self.node_sets = config.node_sets or self.node_sets

    def _found(self, config: Path, file: NamedFile, bases: dict[str, list[str]]) -> Path | None:
        """Return the existing file, or None with a note; add its name to those of its base."""
        found = file.found()
        if not found:
            self.notes.append(
                f"{file}, named by {config.name} ({file.key}), does not exist or is not a file"
            )
            return None
        if len(found) > 1:
            self.notes.append(
                f"{file.key} in {config.name} names two files: {found[0]}, which was read, and "
                f"{found[1]}"
            )
        if base := file.paths[found[0]]:
            bases.setdefault(base, []).append(found[0].name)
        return found[0]

    def _try_to_add(self, path: Path | None, config: ReportConfig | None) -> None:
        if path is None:
            return
        if not path.stat().st_size:
            self.notes.append(f"left out: {path} is empty")
            return
        try:
            self.add_file(path, named=False, config=config)
        except UnsupportedSourceError as error:
            self.notes.append(f"left out: {error}")

    def add_file(self, path: Path, *, named: bool, config: ReportConfig | None = None) -> None:
        if (real := path.resolve()) in self.resolved:
            return
        self.resolved.add(real)
        is_hdf5 = h5py.is_hdf5(path)
        if path.is_file() and not is_hdf5 and not (path.suffix in _HDF5 and not is_table(path)):
            self._add_text(path)
        elif is_hdf5 and not named and _is_nwb(path):
            self.nwb_spikes.append(path)
        else:
            self.files.append(_SourceFile(path, config or self._report_config(path), named))

    def _add_text(self, path: Path) -> None:
        kind = text_kind(path)
        if kind == "electrodes":
            self.electrodes.append(path)
        else:
            self.texts[path] = kind

    def _report_config(self, path: Path) -> ReportConfig:
        """Return the configuration of the reports whose file has the name of ``path``."""
        reports = self.config.reports.values() if self.config else ()
        named = [
            report
            for report in reports
            if report.file and path.name in {file.name for file in report.file.paths}
        ]
        if not named:
            return ReportConfig(storable_text(path.stem))
        return _one_config([replace(report, path=path) for report in named])


def _one_config(reports: Sequence[ReportConfig]) -> ReportConfig:
    """Return the configuration of the reports of one file; potentials may be beside others."""
    potentials = [report for report in reports if report.kind == "extracellular"]
    others = [report for report in reports if report.kind != "extracellular"]
    if not others:
        return potentials[0]
    path = others[0].path
    joined = joined_reports(others, storable_text(path.stem) if path else others[0].name)
    return replace(joined, electrodes=potentials[0].electrodes) if potentials else joined


def _find_sources(paths: Sequence[Path]) -> _Sources:
    """Find the files of a file, several, a directory, or a configuration."""
    sources = _Sources()
    for path in paths:
        if path.is_dir():
            sources.add_directory(path)
        elif path.suffix == ".json":
            sources.add_config(path)
        else:
            sources.add_file(path, named=True)
    if sources.is_empty and not sources.is_circuit_named:
        details = "".join(_looked_for(path) for path in paths if path.is_dir())
        details += "".join(f"; {note}" for note in sources.notes)
        if sources.network is not None and (circuit := sources.network.found()):
            details += f"; to read the circuit alone, open {circuit[0]}"
        msg = f"{_listed(paths)}: no file with recorded activity was found{details}"
        raise SourceError(msg)
    return sources


def _looked_for(directory: Path) -> str:
    """Return what was looked for in a directory, and what else it has, for a message."""
    configs, suffixes = ", ".join(_CONFIGS.values()), ", ".join(sorted({*SUFFIXES, *_TEXT}))
    text = f"; looked in {directory} for {configs} and files that end in {suffixes}"
    found = sorted(directory.iterdir())
    folders = [path for path in found if path.is_dir() and not is_zarr_store(path)]
    nwb = [path for path in found if is_zarr_store(path) or path.suffix == ".nwb"]
    if nwb:
        text += f"; NWB files are opened by their names: {some_of(nwb)}"
    if folders:
        text += f"; not searched: {some_of(folders)}"
    return text


_Found = TypeVar("_Found", Report, Spikes)


class _SourceReader:
    """Reads the files of a run one by one and collects their recordings."""

    def __init__(self, options: ReadOptions, electrodes: dict[Path, Electrodes]) -> None:
        self.options = options
        self.electrodes = electrodes
        self.reports: list[Report] = []
        self.rates: list[Report] = []
        self.spikes: list[Spikes] = []
        self.potentials: list[ExtracellularPotential] = []
        self.clamps: list[ArrayGroup] = []
        self.notes: list[str] = []

    def read(self, file: h5py.File, source: _SourceFile) -> None:
        found = self._read_reports(file, source.config) | self._read_events(file, source.config)
        found |= self._read_rates(file, source.config)
        reason = "" if found else self._read_clamps(file, source.config)
        if found:
            if set(file) & _KNOWN_GROUPS:
                note_unknown(file, _KNOWN_GROUPS, self.notes)
            return
        if not reason:
            return
        message = f"{source.path} {reason}"
        if source.named:
            raise UnsupportedSourceError(message)
        self.notes.append(f"left out: {message}")

    def _read_reports(self, file: h5py.File, config: ReportConfig) -> bool:
        if "mapping" in file and "data" not in file:
            self.reports += read_old_reports(file, config, self.options, self.notes)
            return True
        if any(root in file for root in ROOTS):
            self.reports += read_reports(file, config, self.options, self.notes)
            return True
        return False

    def _read_rates(self, file: h5py.File, config: ReportConfig) -> bool:
        rates = read_rates(file, config, self.options, self.notes)
        self.rates += rates
        return bool(rates)

    def _read_clamps(self, file: h5py.File, config: ReportConfig) -> str:
        """Read the currents of clamps; return why the file is refused if it has none."""
        if isinstance(file.get("data"), h5py.Dataset) and len(file) == 1:
            clamps = read_clamps(file, config, self.options)
            if isinstance(clamps, str):
                return clamps
            self.clamps.append(clamps)
            return ""
        return _reason_of_refusal(file)

    def _read_events(self, file: h5py.File, config: ReportConfig) -> bool:
        """Read potentials and spikes; True if there are any."""
        has_potential = "ecp" in file and not is_contribution(file)
        if has_potential:
            # A report in the same file has the same name.
            also_report = any(root in file for root in ROOTS)
            name = f"{config.name}_ecp" if also_report else config.name
            potential = read_potential(file, name, self._electrodes_of(config), self.options)
            _warn_of_positions(potential)
            self.potentials.append(potential)
        if "spikes" in file:
            self.spikes += read_spikes(file, self.options, self.notes)
        is_nwb1 = "processing" in file and "specifications" not in file
        if is_nwb1:
            self.spikes += read_nwb1_spikes(file, self.options)
        return is_nwb1 or has_potential or "spikes" in file

    def _electrodes_of(self, config: ReportConfig) -> Electrodes | None:
        if config.electrodes in self.electrodes:
            return self.electrodes[config.electrodes]
        return next(iter(self.electrodes.values())) if len(self.electrodes) == 1 else None

    def read_texts(self, paths: Mapping[Path, str]) -> None:
        """Read spikes and rates from text, unless they were read from HDF5."""
        for kind in ("spikes", "rates"):
            from_hdf5 = bool(self.spikes if kind == "spikes" else self.rates)
            for path in (path for path, found in paths.items() if found == kind):
                if from_hdf5:
                    self.notes.append(f"left out: {path}, as the {kind} were read from HDF5")
                elif kind == "spikes":
                    self._add(path, read_text_spikes(path, self.options), self.spikes, kind)
                else:
                    rates = read_text_rates(path, self.options, self.notes)
                    self._add(path, rates, self.rates, kind)

    def _add(self, path: Path, found: Sequence[_Found], read: list[_Found], kind: str) -> None:
        """Add what a file has of populations that no other file had."""
        if not found:
            self.notes.append(f"{path} lists no {kind}")
        if {some.population for some in found} & {some.population for some in read}:
            self.notes.append(f"left out: {path}, as the {kind} were read from another file")
        else:
            read += found

    def read_nwb(self, path: Path) -> None:
        """Read the spikes that bmtk also writes in NWB, unless they were read."""
        if not _is_of_bmtk(path):
            self.notes.append(f"left out: {path} is an NWB file that bmtk has not written")
        elif self.spikes:
            self.notes.append(f"left out: {path}, as the spikes were read from another file")
        else:
            with open_source(path, trust=self.options.trust) as file:
                spikes = read_bmtk_spikes(file, self.options, self.notes)
            self._add(path, spikes, self.spikes, "spikes")

    def output(self, sources: _Sources, close: Callable[[], None]) -> SimulationOutput:
        notes = (*sources.notes, *self.notes)
        if self.electrodes and not self.potentials:
            names = ", ".join(path.name for path in self.electrodes)
            notes = (*notes, f"left out: {names}, as there are no extracellular potentials")
        reports = distinct_names([*self.reports, *self.rates])
        self._check_renamed(reports)

        def later(spikes: Sequence[Spikes]) -> Iterator[str]:
            for note in notes_of_spikes(spikes):
                warnings.warn(note, SimulationOutputWarning, stacklevel=2)
                yield note

        are_read = all(one.is_read for one in self.spikes)
        notes = tuple(dict.fromkeys([*notes, *(later(self.spikes) if are_read else ())]))
        return SimulationOutput(
            reports=reports,
            arrays=tuple(self.clamps),
            spikes=tuple(self.spikes),
            potentials=tuple(self.potentials),
            run=sources.config.run if sources.config else Run(),
            notes=LaterNotes(notes, None if are_read else later),
            provenance={"format": "SONATA", "files": [file.path.name for file in sources.files]},
            close=close,
        )

    def _check_renamed(self, reports: Sequence[Report]) -> None:
        """Raise a UnitError if an option is set for a name that two reports have in the source."""
        options = {**self.options.units, **self.options.time_units}
        for before, report in zip([*self.reports, *self.rates], reports, strict=True):
            if before.name != report.name and before.name in options:
                msg = (
                    f"two reports are named {before.name!r}: one is report {before.report!r} of "
                    f"population {before.population!r}; convert them alone to set a unit"
                )
                raise UnitError(msg)


def _reason_of_refusal(file: h5py.File) -> str:
    """Return the contents of a file without recorded activity, as a reason to refuse it."""
    if "specifications" in file or "nwb_version" in file.attrs:
        return "is an NWB file, not one of SONATA"
    for name, reason in _REFUSED.items():
        if name in file:
            return reason
    return f"has none of report, reports, spikes, ecp; found: {', '.join(file) or 'nothing'}"


def _configurations(directory: Path, paths: Sequence[Path]) -> list[Path]:
    """Return the configuration of a directory: that of a run, or else of a circuit."""
    if directory / _CONFIGS["simulation"] in paths:
        return [directory / _CONFIGS["simulation"]]
    kinds = {path: kind_of_config(path) for path in paths if path.suffix == ".json"}
    for kind, name in _CONFIGS.items():
        found = [path for path in kinds if kinds[path] == kind]
        if found:
            usual = [path for path in found if path.name == name and kind != "simulation"]
            return usual or (found if len(found) == 1 else [])
    return []


def _is_hdf5_name(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _is_unnamed_hdf5(path: Path) -> bool:
    """Return True for an HDF5 file without suffix, as bmtk writes if its name has none."""
    return not path.suffix and not path.name.startswith(".") and h5py.is_hdf5(path)


def _is_nwb(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            return "nwb_version" in file.attrs and "specifications" in set(file)
    except (KeyError, OSError, RuntimeError):
        return False


def _is_of_bmtk(path: Path) -> bool:
    try:
        with open_source(path) as file:
            return is_of_bmtk(file)
    except (KeyError, RuntimeError, SourceError):
        return False


def _warn_of_positions(potential: ExtracellularPotential) -> None:
    """Warn of channels without a position."""
    electrodes = potential.electrodes
    known = electrodes.ids if electrodes is not None else np.zeros(0, np.int64)
    missing = potential.channel_ids[~np.isin(potential.channel_ids, known)]
    if not len(missing):
        return
    reason = (
        "there is no file of electrodes" if electrodes is None else "not in its file of electrodes"
    )
    warnings.warn(
        f"{potential.name}: {len(missing)} of {len(potential.channel_ids)} channels have no "
        f"position ({reason}); the first is channel {missing[0]}",
        SimulationOutputWarning,
        stacklevel=2,
    )


def _check_names(output: SimulationOutput, *, is_circuit: bool) -> None:
    recorded = output.reports or output.spikes or output.potentials or output.arrays
    if not (recorded or is_circuit):
        # The names of text files are in the notes.
        files = ", ".join(output.provenance["files"])
        found = f"nothing was recorded ({'; '.join(output.notes)})"
        msg = f"{files}: {found}" if files else found
        raise NothingRecordedError(msg)
    names = [*_series(output), *(f"spikes of {spikes.population}" for spikes in output.spikes)]
    for name in names:
        if names.count(name) > 1:
            _refuse_repeated(name)


def _series(output: SimulationOutput) -> list[str]:
    names = [report.name for report in output.reports]
    return names + [potential.name for potential in output.potentials]


def _check_parts(parts: Sequence[SimulationOutput]) -> None:
    """Raise NameClashError if two parts have a recording of one name that begins at one time."""
    begun: dict[str, list[Span | None]] = {}
    for part in parts:
        times = {report.name: report.times for report in part.reports}
        times |= {potential.name: potential.times for potential in part.potentials}
        first = min(map(span_of, times.values()), key=_first, default=None)
        spans = {name: span_of(some) for name, some in times.items()}
        spans |= {f"spikes of {spikes.population}": first for spikes in part.spikes}
        for name, span in spans.items():
            begun.setdefault(name, []).append(span)
    for name, found in begun.items():
        known = [span for span in found if span is not None]
        if len(found) > 1 and len(by_start(known)) < len(found):
            _refuse_repeated(name)


def _first(span: Span | None) -> float:
    return math.inf if span is None else span.first


def _refuse_repeated(name: str) -> None:
    msg = f"{name!r} occurs in more than one source file; convert them to separate files"
    raise NameClashError(msg)


def _check_options(output: SimulationOutput, options: ReadOptions) -> None:
    """Raise a UnitError for an option of a name that does not occur."""
    series, reports = _series(output), {report.report for report in output.reports}
    _check_option("unit", options.units, {*series, *reports})
    _check_option("time unit", options.time_units, {*series, *reports, "spikes"})
    _check_option("compartments", options.compartments, reports)
    for name, value in options.compartments.items():
        if value not in {"all", "center"}:
            msg = f"the compartments of {name} are {value!r}; expected all or center"
            raise UnitError(msg)


def _check_option(option: str, values: Mapping[str, str], known: set[str]) -> None:
    for name in values:
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            msg = f"there is no {name!r} whose {option} could be set; there are: {names}"
            raise UnitError(msg)
