"""Find the files of a SONATA simulation and read them."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from ndx_simulation_output.errors import (
    NameClashError,
    NothingRecordedError,
    SimulationOutputWarning,
    SourceError,
    UnitError,
    UnsupportedSourceError,
)
from ndx_simulation_output.recording import (
    Electrodes,
    ExtracellularPotential,
    Report,
    Run,
    SimulationOutput,
    Spikes,
)
from ndx_simulation_output.remote import refuse_url
from ndx_simulation_output.sonata.config import ReportConfig, SimulationConfig, read_config
from ndx_simulation_output.sonata.hdf5 import note_unknown, open_file
from ndx_simulation_output.sonata.potentials import is_contribution, read_potential
from ndx_simulation_output.sonata.reports import ROOTS, read_old_reports, read_reports
from ndx_simulation_output.sonata.spikes import read_nwb1_spikes, read_spikes
from ndx_simulation_output.sonata.text_files import read_electrodes, read_text_spikes, text_kind
from ndx_simulation_output.sonata.units import ReadOptions

_HDF5 = {".h5", ".hdf5"}
_TEXT = {".csv", ".txt", ".dat"}
_CONFIG = "simulation_config.json"
_KNOWN_GROUPS = {*ROOTS, "spikes", "ecp"}
_NETWORK = "contains a network (nodes or edges), not recorded activity"
# Reasons to refuse a file without recorded activity, by its groups.
_REFUSED = {
    "electrodes": "contains the weights of electrodes, which are an input of the simulation; "
    "expected the lfp report that was computed with them",
    "nodes": _NETWORK,
    "edges": _NETWORK,
    "firing_rates": "contains firing rates of FilterNet, which are an input of the simulation",
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
) -> SimulationOutput:
    """Read the reports, spikes and extracellular potentials of a SONATA simulation.

    Data are not read yet; the files stay open until the output is closed.

    Parameters
    ----------
    source
        A file, several files, a directory, or a ``simulation_config.json``.
    unit
        Units of reports and potentials by name, such as ``{"v_report": "mV"}``.
    time_unit
        Units of their times by name, and of ``spikes``; the default is ms.
    compartments
        ``{"report": "all"}`` for reports of every segment: their positions are computed.
    population
        Name of the population of spikes and reports that have none.
    dt
        Time step in ms of data without times.

    Raises
    ------
    SourceError
        If a file cannot be read or violates the format.
    ShapeMismatchError
        If a mapping does not fit its data.
    UnitError
        If a unit is not recognized, or is set for a name that does not occur.

    """
    options = ReadOptions(unit or {}, time_unit or {}, compartments or {}, population, dt)
    sources = _find_sources(source)
    with ExitStack() as stack:
        electrodes = {path: read_electrodes(path) for path in dict.fromkeys(sources.electrodes)}
        reader = _SourceReader(options, electrodes)
        for file in sources.files:
            reader.read(stack.enter_context(open_file(file.path)), file)
        reader.read_text(sources.text_spikes)
        output = reader.output(sources, stack.pop_all().close)
    try:
        _check_names(output, options)
    except Exception:
        output.close()
        raise
    return output


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
    text_spikes: list[Path] = field(default_factory=list)
    config: SimulationConfig | None = None
    notes: list[str] = field(default_factory=list)

    def add_directory(self, directory: Path) -> None:
        if (directory / _CONFIG).is_file():
            self.add_config(directory / _CONFIG)
        paths = sorted(path for path in directory.iterdir() if path.is_file())
        # HDF5 first: text files are read only if the run has no spikes in HDF5.
        for suffixes in (_HDF5, _TEXT):
            for path in (path for path in paths if path.suffix in suffixes):
                try:
                    self.add_file(path, named=False)
                except UnsupportedSourceError as error:
                    self.notes.append(f"left out: {error}")

    def add_config(self, path: Path) -> None:
        self.config = config = read_config(path)
        self.notes += config.notes
        for report in config.reports.values():
            self._add_named_file(path, report.path, report)
        for spikes in config.spikes:
            self._add_named_file(path, spikes, None)
        for report in config.reports.values():
            if report.electrodes is not None and report.electrodes.exists():
                self.electrodes.append(report.electrodes)
            if report.n_variables > 1:
                self.notes.append(
                    f"report {report.name!r} names {report.n_variables} variables in one file: "
                    "bmtk stores the values of the last under the name of the first"
                )

    def _add_named_file(self, config: Path, file: Path | None, report: ReportConfig | None) -> None:
        if file is None:
            return
        sibling = config.parent / file.name
        if not file.exists() and sibling.exists():
            self.notes.append(f"{file} does not exist; read {sibling} instead")
            file = sibling
        if file.exists():
            self.add_file(file, named=True, config=report)
        else:
            self.notes.append(f"{file.name}, named by {config.name}, does not exist")

    def add_file(self, path: Path, *, named: bool, config: ReportConfig | None = None) -> None:
        if any(file.path.resolve() == path.resolve() for file in self.files):
            return
        if path.suffix not in _TEXT:
            self.files.append(_SourceFile(path, config or self._report_config(path), named))
        elif text_kind(path) == "electrodes":
            self.electrodes.append(path)
        else:
            self.text_spikes.append(path)

    def _report_config(self, path: Path) -> ReportConfig:
        reports = self.config.reports.values() if self.config else ()
        named = (report for report in reports if report.path and report.path.name == path.name)
        return next(named, ReportConfig(path.stem))


def _find_sources(source: str | Path | Iterable[str | Path]) -> _Sources:
    """Find the files of ``source``: a file, several, a directory, or a configuration."""
    paths = [source] if isinstance(source, (str, Path)) else list(source)
    for path in paths:
        refuse_url(path)
    sources = _Sources()
    for path in map(Path, paths):
        if path.is_dir():
            sources.add_directory(path)
        elif path.suffix == ".json":
            sources.add_config(path)
        else:
            sources.add_file(path, named=True)
    if not (sources.files or sources.text_spikes):
        listed = ", ".join(str(path) for path in paths) or "no source"
        details = "".join(f"; {note}" for note in sources.notes)
        msg = f"{listed}: no file with recorded activity was found{details}"
        raise SourceError(msg)
    return sources


class _SourceReader:
    """Reads the files of a run one by one and collects their recordings."""

    def __init__(self, options: ReadOptions, electrodes: dict[Path, Electrodes]) -> None:
        self.options = options
        self.electrodes = electrodes
        self.reports: list[Report] = []
        self.spikes: list[Spikes] = []
        self.potentials: list[ExtracellularPotential] = []
        self.notes: list[str] = []

    def read(self, file: h5py.File, source: _SourceFile) -> None:
        try:
            found = self._read_reports(file, source.config) | self._read_events(file, source.config)
            reason = "" if found else _reason_of_refusal(file)
        except (KeyError, OSError, RuntimeError) as error:
            msg = f"{source.path} cannot be read: {error}"
            raise SourceError(msg) from error
        if found:
            if set(file) & _KNOWN_GROUPS:
                note_unknown(file, _KNOWN_GROUPS, self.notes)
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

    def read_text(self, paths: Iterable[Path]) -> None:
        """Read spikes from text, unless they were read from HDF5."""
        for path in paths:
            if self.spikes:
                self.notes.append(f"left out: {path}, as the spikes were read from HDF5")
            elif spikes := read_text_spikes(path, self.options):
                self.spikes += spikes
            else:
                self.notes.append(f"{path} lists no spikes")

    def output(self, sources: _Sources, close: Callable[[], None]) -> SimulationOutput:
        notes = (*sources.notes, *self.notes)
        if self.electrodes and not self.potentials:
            names = ", ".join(path.name for path in self.electrodes)
            notes = (*notes, f"left out: {names}, as there are no extracellular potentials")
        return SimulationOutput(
            reports=tuple(self.reports),
            spikes=tuple(self.spikes),
            potentials=tuple(self.potentials),
            run=sources.config.run if sources.config else Run(),
            notes=notes,
            provenance={"format": "SONATA", "files": [file.path.name for file in sources.files]},
            close=close,
        )


def _reason_of_refusal(file: h5py.File) -> str:
    """Return the contents of a file without recorded activity, as a reason to refuse it."""
    if "specifications" in file or "nwb_version" in file.attrs:
        return "is an NWB file, not one of SONATA"
    for name, reason in _REFUSED.items():
        if name in file:
            return reason
    if isinstance(file.get("data"), h5py.Dataset):
        return "contains data without times and a description of its columns (a clamp report)"
    return f"has none of report, reports, spikes, ecp; found: {', '.join(file) or 'nothing'}"


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


def _check_names(output: SimulationOutput, options: ReadOptions) -> None:
    if not (output.reports or output.spikes or output.potentials):
        # The names of text files are in the notes.
        files = ", ".join(output.provenance["files"])
        found = f"nothing was recorded ({'; '.join(output.notes)})"
        msg = f"{files}: {found}" if files else found
        raise NothingRecordedError(msg)
    series = [report.name for report in output.reports]
    series += [potential.name for potential in output.potentials]
    names = [*series, *(f"spikes of {spikes.population}" for spikes in output.spikes)]
    for name in names:
        if names.count(name) > 1:
            msg = f"{name!r} occurs in more than one source file; convert them to separate files"
            raise NameClashError(msg)
    reports = {report.report for report in output.reports}
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
