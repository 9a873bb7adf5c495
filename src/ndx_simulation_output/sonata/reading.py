"""Read the output of a SONATA simulation."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
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
from ndx_simulation_output.sonata.config import ReportConfig, SourceFile, Sources, find_sources
from ndx_simulation_output.sonata.files import note_others, open_file
from ndx_simulation_output.sonata.options import ReadOptions
from ndx_simulation_output.sonata.potentials import is_contribution, read_electrodes, read_potential
from ndx_simulation_output.sonata.reports import ROOTS, read_old_report, read_reports
from ndx_simulation_output.sonata.spikes import read_nwb1_spikes, read_spikes, read_text_spikes

# Read what a SONATA simulation left behind into the neutral description.

_ROOTS = {*ROOTS, "spikes", "ecp"}
_COMPARTMENTS = {"all", "center"}
_NETWORK = "holds a network (nodes or edges), not recorded activity"
# What a file holds that has a group of this name and no recorded activity.
_REFUSED = {
    "electrodes": "holds the weights of electrodes, an input of the simulation, and no recorded "
    "signal; give the lfp report that was made with it",
    "nodes": _NETWORK,
    "edges": _NETWORK,
    "firing_rates": "holds firing rates of FilterNet, which are an input and not recorded activity",
    "ecp": "has only data in ecp: the contribution of one cell, without channels and time; give "
    "the file of the summed potential",
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
    """Describe the reports, spikes and extracellular potentials of a SONATA simulation.

    Data stay in their files, which are open until the output is closed.

    Parameters
    ----------
    source
        A file, several files, a directory, or a ``simulation_config.json``.
    unit
        Unit of reports and potentials by name, such as ``{"v_report": "mV"}``.
    time_unit
        Unit of their times by name, and of ``spikes``; SONATA's is ms.
    compartments
        ``{"report": "all"}`` for reports of every segment: their positions are computed.
    population
        Name of the population of spikes that have none.
    dt
        Time step in ms of data that have no time.

    Raises
    ------
    SourceError
        If a file cannot be read or contradicts the format; nothing is returned then.
    ShapeMismatchError
        If a mapping does not fit its data.
    UnitError
        If a unit is not understood, or given for a name that does not occur.

    """
    options = ReadOptions(unit or {}, time_unit or {}, compartments or {}, population, dt)
    sources = find_sources(source)
    with ExitStack() as stack:
        collected = _Collected(options, _electrodes(sources))
        for file in sources.files:
            collected.add(stack.enter_context(open_file(file.path)), file)
        collected.add_text(sources)
        output = collected.output(sources, stack.pop_all().close)
    try:
        _check_names(output, options)
    except Exception:
        output.close()
        raise
    return output


class _Collected:
    """What was found so far in the files of a run."""

    def __init__(self, options: ReadOptions, electrodes: dict[Path, Electrodes]) -> None:
        self.options = options
        self.electrodes = electrodes
        self.reports: list[Report] = []
        self.spikes: list[Spikes] = []
        self.potentials: list[ExtracellularPotential] = []
        self.notes: list[str] = []

    def add(self, file: h5py.File, source: SourceFile) -> None:
        try:
            known = self._add_reports(file, source.config) | self._add_events(file, source.config)
            why = "" if known else _why_refused(file)
        except (KeyError, OSError, RuntimeError) as error:
            msg = f"{source.path} cannot be read: {error}"
            raise SourceError(msg) from error
        if known:
            if set(file) & _ROOTS:
                note_others(file, _ROOTS, self.notes)
            return
        message = f"{source.path} {why}"
        if source.named:
            raise UnsupportedSourceError(message)
        self.notes.append(f"left out: {message}")

    def _add_reports(self, file: h5py.File, config: ReportConfig) -> bool:
        old = "mapping" in file and "data" not in file
        if not old and not any(root in file for root in ROOTS):
            return False
        read_them = read_old_report if old else read_reports
        reports, notes = read_them(file, config, self.options)
        self.reports += reports
        self.notes += notes
        return True

    def _add_events(self, file: h5py.File, config: ReportConfig) -> bool:
        has_potential = "ecp" in file and not is_contribution(file)
        if has_potential:
            electrodes = self._electrodes_of(config)
            # A file may hold a report too, which has the name already.
            both = any(root in file for root in ROOTS)
            name = f"{config.name}_ecp" if both else config.name
            potential = read_potential(file, name, electrodes, self.options)
            _warn_of_channels(potential)
            self.potentials.append(potential)
        if "spikes" in file:
            spikes, notes = read_spikes(file, self.options)
            self.spikes += spikes
            self.notes += notes
        nwb1 = "processing" in file and "specifications" not in file
        if nwb1:
            self.spikes += read_nwb1_spikes(file, self.options)
        return nwb1 or has_potential or "spikes" in file

    def _electrodes_of(self, config: ReportConfig) -> Electrodes | None:
        if config.electrodes in self.electrodes:
            return self.electrodes[config.electrodes]
        return next(iter(self.electrodes.values())) if len(self.electrodes) == 1 else None

    def add_text(self, sources: Sources) -> None:
        """Read spikes as text, unless there are spikes in HDF5: then they are the same again."""
        for path in sources.text_spikes:
            if self.spikes:
                self.notes.append(f"left out: {path}, as the spikes were read from HDF5")
            else:
                spikes = read_text_spikes(path, self.options)
                self.spikes += spikes
                if not spikes:
                    self.notes.append(f"{path} lists no spikes")

    def output(self, sources: Sources, close: Callable[[], None]) -> SimulationOutput:
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


def _why_refused(file: h5py.File) -> str:
    """Say what a file without recorded activity holds instead."""
    if "specifications" in file or "nwb_version" in file.attrs:
        return "is an NWB file, not one of SONATA"
    for name, why in _REFUSED.items():
        if name in file:
            return why
    if isinstance(file.get("data"), h5py.Dataset):
        return "holds data without times and without what the columns are (a clamp report)"
    return f"has none of report, reports, spikes, ecp; found: {', '.join(file) or 'nothing'}"


def _electrodes(sources: Sources) -> dict[Path, Electrodes]:
    return {path: read_electrodes(path) for path in dict.fromkeys(sources.electrodes)}


def _warn_of_channels(potential: ExtracellularPotential) -> None:
    known = potential.electrodes.ids if potential.electrodes is not None else np.zeros(0, np.int64)
    missing = potential.channel_ids[~np.isin(potential.channel_ids, known)]
    if not len(missing):
        return
    where = "no file of electrodes was given" if potential.electrodes is None else "see the list"
    warnings.warn(
        f"{potential.name}: {len(missing)} of {len(potential.channel_ids)} channels have no "
        f"position ({where}); the first is channel {missing[0]}",
        SimulationOutputWarning,
        stacklevel=2,
    )


def _check_names(output: SimulationOutput, options: ReadOptions) -> None:
    if not (output.reports or output.spikes or output.potentials):
        # Of files of text, only the notes say the names.
        files = ", ".join(output.provenance["files"])
        said = f"nothing was recorded ({'; '.join(output.notes)})"
        msg = f"{files}: {said}" if files else said
        raise NothingRecordedError(msg)
    recorded = [report.name for report in output.reports]
    recorded += [potential.name for potential in output.potentials]
    spiking = [f"spikes of {spikes.population}" for spikes in output.spikes]
    for name in (names := [*recorded, *spiking]):
        if names.count(name) > 1:
            msg = f"{name!r} occurs in more than one source file; convert them to separate files"
            raise NameClashError(msg)
    reports = {report.report for report in output.reports}
    _check_option("unit", options.units, {*recorded, *reports})
    _check_option("time unit", options.time_units, {*recorded, *reports, "spikes"})
    _check_option("compartments", options.compartments, reports)
    for name, value in options.compartments.items():
        if value not in _COMPARTMENTS:
            msg = f"the compartments of {name} are given as {value!r}; expected all or center"
            raise UnitError(msg)


def _check_option(what: str, option: Mapping[str, str], known: set[str]) -> None:
    for name in option:
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            msg = f"there is no {name!r} whose {what} could be set; there are: {there}"
            raise UnitError(msg)
