"""Find the files of a run, and read ``simulation_config.json``."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ndx_simulation_output.errors import ConfigurationError, SourceError, UnsupportedSourceError
from ndx_simulation_output.recording import Run
from ndx_simulation_output.remote import refuse_url

# The output side of ``simulation_config.json``, of both dialects, read leniently.

_KINDS = {
    "membrane_report": "compartment",
    "multimeter_report": "compartment",
    "compartment_report": "compartment",
    "compartment_set": "compartment set",
    "syn_report": "synapse",
    "netcon_report": "synapse",
}
_EXTRACELLULAR = {"extracellular", "ecp"}
# BBP names the spikes out.h5 by default, AIBS spikes.h5.
_DEFAULT_SPIKES = ("spikes.h5", "out.h5")


@dataclass(frozen=True)
class ReportConfig:
    """What a configuration says about one report; ``compartments`` is ``all`` or ``center``."""

    name: str
    kind: str = ""
    variable: str | None = None
    unit: str | None = None
    compartments: str | None = None
    path: Path | None = None
    electrodes: Path | None = None
    variables: int = 1


@dataclass(frozen=True)
class SimulationConfig:
    """The recorded files of a run and how it was run."""

    path: Path
    run: Run
    reports: Mapping[str, ReportConfig] = field(default_factory=dict)
    spikes: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def read_config(path: Path, seen: tuple[Path, ...] = ()) -> SimulationConfig:
    """Read a simulation configuration.

    Unknown keys are ignored, keys of an unexpected type too; variables of the manifest and of
    the environment are filled in. A file that points to a ``simulation`` file is followed.

    Raises
    ------
    ConfigurationError
        If it is not JSON or not a configuration of a simulation, or points back to one of those
        that led to it, ``seen``.

    """
    text, config = _load(path)
    if path.resolve() in seen:
        msg = f"{path} points to itself by way of its key simulation"
        raise ConfigurationError(msg)
    names = _Names(path.parent.absolute(), _mapping(config.get("manifest")))
    if isinstance(config.get("simulation"), str) and "output" not in config:
        return read_config(names.path(config["simulation"], path.parent), (*seen, path.resolve()))
    if not {"output", "reports", "run"} & set(config):
        msg = f"{path} has none of the keys output, reports, run of a simulation configuration"
        raise ConfigurationError(msg)
    output = _mapping(config.get("output"))
    directory = names.path(output.get("output_dir", "output"), path.parent)
    reports, notes = {}, []
    for name, entry in _mapping(config.get("reports")).items():
        if not isinstance(entry, Mapping) or entry.get("enabled") is False:
            notes.append(f"report {name!r} is disabled in {path.name} and was left out")
            continue
        reports[name] = _read_report(name, entry, names, directory)
    return SimulationConfig(
        path=path,
        run=_read_run(config, text),
        reports=reports,
        spikes=_spike_files(output, names, directory),
        notes=tuple(notes),
    )


def _load(path: Path) -> tuple[str, Mapping[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        config = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} cannot be read as JSON: {error}"
        raise ConfigurationError(msg) from error
    if not isinstance(config, Mapping):
        msg = f"{path} holds a JSON {type(config).__name__}; expected an object"
        raise ConfigurationError(msg)
    return text, config


@dataclass(frozen=True)
class _Names:
    """Variables in file names: those of the manifest, of bmtk, and of the environment."""

    directory: Path
    manifest: Mapping[str, Any]

    def path(self, value: Any, base: Path) -> Path:
        text = self.fill(str(value))
        return Path(os.path.normpath(base / text))

    def recorded(self, value: Any, output: Path) -> Path:
        """Find a file in the directory ``output``, or where bmtk has it if it is there only.

        A name that begins with that of ``output`` is to bmtk already the whole name.
        """
        inside, whole = self.path(value, output), self.path(value, self.directory)
        return whole if whole.exists() and not inside.exists() else inside

    def fill(self, text: str) -> str:
        for _ in range(len(self.manifest) + 1):
            filled = re.sub(r"\$\{?(\w+)\}?", self._value, text)
            if filled == text:
                break
            text = filled
        return text

    def _value(self, match: re.Match[str]) -> str:
        name = match.group(1)
        for key in (f"${name}", f"${{{name}}}", name):
            if key in self.manifest:
                return str(self.manifest[key])
        if name.lower() in {"configdir", "workingdir"}:
            return str(self.directory)
        return os.environ.get(name, match.group(0))


def _read_report(
    name: str, entry: Mapping[str, Any], names: _Names, directory: Path
) -> ReportConfig:
    kind = str(entry.get("type") or entry.get("module") or "")
    variables = _variables(entry.get("variable_name"))
    electrodes = entry.get("electrode_positions")
    return ReportConfig(
        name=name,
        kind=_KINDS.get(kind, kind),
        variable=variables[0] if variables else None,
        unit=entry["unit"] if isinstance(entry.get("unit"), str) else None,
        compartments=_compartments(entry),
        path=_with_suffix(names.path(entry.get("file_name") or f"{name}.h5", directory)),
        electrodes=names.path(electrodes, names.directory) if electrodes else None,
        variables=len(variables),
    )


def _variables(value: Any) -> list[str]:
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return [str(name) for name in value] if isinstance(value, list) else []


def _compartments(entry: Mapping[str, Any]) -> str | None:
    """Say whether a report has every segment: Blue Brain's default is all, but soma reports."""
    kind, sections = str(entry.get("type", "")), str(entry.get("sections", "soma"))
    if kind != "compartment":
        return None
    default = "center" if sections == "soma" else "all"
    return str(entry.get("compartments", default))


def _with_suffix(path: Path) -> Path:
    return path if path.suffix in {".h5", ".hdf5", ".nwb"} else path.with_name(path.name + ".h5")


def _spike_files(output: Mapping[str, Any], names: _Names, directory: Path) -> tuple[Path, ...]:
    keys = ("spikes_file", "spikes_h5")
    stated = [output[key] for key in keys if isinstance(output.get(key), str)]
    candidates = [names.recorded(name, directory) for name in stated or _DEFAULT_SPIKES]
    if not stated:
        candidates = [path for path in candidates if path.exists()]
    return tuple(dict.fromkeys(candidates))


def _read_run(config: Mapping[str, Any], text: str) -> Run:
    run = _mapping(config.get("run"))
    start, stop = _number(run.get("tstart")) or 0.0, _number(run.get("tstop"))
    step, seed = _number(run.get("dt")), run.get("random_seed", run.get("seed"))
    conditions = _mapping(config.get("conditions"))
    simulator = config.get("target_simulator")
    return Run(
        simulator=simulator if isinstance(simulator, str) else None,
        time_step=step / 1000 if step is not None else None,
        duration=(stop - start) / 1000 if stop is not None else None,
        temperature=_number(conditions.get("celsius")),
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
        configuration=text,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


# Where the files of a run are: named one by one, in a directory, or by a configuration.

_HDF5 = {".h5", ".hdf5"}
_TEXT = {".csv", ".txt", ".dat"}
_CONFIG = "simulation_config.json"


@dataclass(frozen=True)
class SourceFile:
    """A file to read; ``named`` says that the caller named it, so that it must be readable."""

    path: Path
    config: ReportConfig
    named: bool


@dataclass
class Sources:
    """The files of a run, by what they are."""

    files: list[SourceFile] = field(default_factory=list)
    electrodes: list[Path] = field(default_factory=list)
    text_spikes: list[Path] = field(default_factory=list)
    config: SimulationConfig | None = None
    notes: list[str] = field(default_factory=list)


def find_sources(source: str | Path | Iterable[str | Path]) -> Sources:
    """Find the files of ``source``: a file, several, a directory, or a configuration.

    Raises
    ------
    SourceError
        If a path does not exist or is a URL, or a configuration names no file that does.

    """
    paths = [source] if isinstance(source, (str, Path)) else list(source)
    for path in paths:
        refuse_url(path)
    sources = Sources()
    for path in map(Path, paths):
        if path.is_dir():
            _add_directory(sources, path)
        elif path.suffix == ".json":
            _add_config(sources, path)
        else:
            _add_file(sources, path, named=True)
    if not (sources.files or sources.text_spikes):
        listed = ", ".join(str(path) for path in paths)
        details = "".join(f"; {note}" for note in sources.notes)
        msg = f"{listed}: no file with recorded activity was found{details}"
        raise SourceError(msg)
    return sources


def text_kind(path: Path) -> str:
    """Tell by its header whether a text file lists ``electrodes`` or ``spikes``.

    Raises
    ------
    UnsupportedSourceError
        If it is neither.
    SourceError
        If it cannot be read.

    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            header = set(file.readline().replace(",", " ").split())
    except OSError as error:
        msg = f"{path} cannot be read as text: {error}"
        raise SourceError(msg) from error
    if {"channel", "x_pos", "y_pos", "z_pos"} <= header:
        return "electrodes"
    if {"timestamps", "node_ids"} <= header:
        return "spikes"
    msg = (
        f"{path} is neither a list of electrodes (channel x_pos y_pos z_pos) nor of spikes "
        f"(timestamps population node_ids); its first line has: {' '.join(sorted(header))[:80]}"
    )
    raise UnsupportedSourceError(msg)


def _add_file(
    sources: Sources, path: Path, *, named: bool, config: ReportConfig | None = None
) -> None:
    if any(file.path.resolve() == path.resolve() for file in sources.files):
        return
    if path.suffix not in _TEXT:
        config = config or _config_of(sources.config, path)
        sources.files.append(SourceFile(path, config, named))
    elif text_kind(path) == "electrodes":
        sources.electrodes.append(path)
    else:
        sources.text_spikes.append(path)


def _config_of(config: SimulationConfig | None, path: Path) -> ReportConfig:
    reports: Mapping[str, ReportConfig] = config.reports if config else {}
    for report in reports.values():
        if report.path is not None and report.path.name == path.name:
            return report
    return ReportConfig(path.stem)


def _add_config(sources: Sources, path: Path) -> None:
    config = read_config(path)
    sources.config = config
    sources.notes += config.notes
    named = [(report.path, report) for report in config.reports.values()]
    for file, report in [*named, *((file, None) for file in config.spikes)]:
        if file is None:
            continue
        beside = path.parent / file.name
        if not file.exists() and beside.exists():
            sources.notes.append(f"{file.name} is not where {path.name} says, but beside it")
            file = beside  # noqa: PLW2901 - it is the same file, found elsewhere
        if not file.exists():
            sources.notes.append(f"{file.name}, named by {path.name}, does not exist")
            continue
        _add_file(sources, file, named=True, config=report)
    for report in config.reports.values():
        if report.electrodes is not None and report.electrodes.exists():
            sources.electrodes.append(report.electrodes)
        if report.variables > 1:
            sources.notes.append(
                f"report {report.name!r} names {report.variables} variables in one file: bmtk "
                "keeps the values of the last under the name of the first"
            )


def _add_directory(sources: Sources, directory: Path) -> None:
    if (directory / _CONFIG).is_file():
        _add_config(sources, directory / _CONFIG)
    for path in _candidates(directory):
        try:
            _add_file(sources, path, named=False)
        except UnsupportedSourceError as error:
            sources.notes.append(f"left out: {error}")


def _candidates(directory: Path) -> Iterator[Path]:
    paths = sorted(path for path in directory.iterdir() if path.is_file())
    yield from (path for path in paths if path.suffix in _HDF5)
    yield from (path for path in paths if path.suffix in _TEXT)
