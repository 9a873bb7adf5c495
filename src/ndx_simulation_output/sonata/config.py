"""Read outputs, reports and run parameters from ``simulation_config.json``, of both dialects."""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ndx_simulation_output.errors import ConfigurationError, source_errors
from ndx_simulation_output.recording import Run
from ndx_simulation_output.recording.times import meant_step

SUFFIXES = (".h5", ".hdf", ".hdf5")
"""Suffixes of HDF5 files; a report whose name ends in one is stored under its name by bmtk."""

_KINDS = {
    "membrane_report": "compartment",
    "multimeter": "compartment",
    "multimeter_report": "compartment",
    "compartment_report": "compartment",
    "compartment_set": "compartment set",
    "syn_report": "synapse",
    "netcon_report": "synapse",
    "clamp_report": "clamp",
}
# Modules of bmtk whose reports it joins if only their variables differ.
_JOINED = {"membrane_report", "multimeter", "multimeter_report", "netcon_report"}
_MOST_BYTES = 2**26
_MOST_FILES = 10_000
_LONGEST_NAME = 10_000
_WORKING = "working directory"
_ABOVE = "directory above the output"
# The default name of the spike file at Allen and at Blue Brain.
_DEFAULT_SPIKES = ("spikes.h5", "out.h5")
# Keys of the output that do not name recorded data.
_SETTINGS = {
    *("output_dir", "log_file", "log_level", "log_format", "spikes_sort_order", "sort_order"),
    *("compression", "mode", "cells", "include_columns", "tmp_dir"),
}
# Keys of a report that name files with a recording, or settings; other files are told of.
_REPORT_FILES = {
    *("file_name", "electrode_positions", "electrodes_file", "tmp_dir", "output_dir"),
    *("node_sets_file", "compartment_sets_file"),
}


CompartmentSet = tuple[str | None, tuple[tuple[int, int, float], ...]]
"""The population of a compartment set, and its (cell, section, position)."""


@dataclass(frozen=True)
class NamedFile:
    """A file that a configuration names by ``key``, and where it may be.

    ``paths`` have, for each path from the first to be tried, the base of a relative name: "" (the
    directory of the configuration), "beside" (the configuration itself) or "working directory".
    """

    key: str
    name: str
    paths: Mapping[Path, str]

    def found(self) -> list[Path]:
        """Return the existing files, each once."""
        files: dict[Path, Path] = {}
        for path in filter(is_file, self.paths):
            files.setdefault(path.resolve(), path)
        return list(files.values())

    def __str__(self) -> str:
        """Return the paths by the first spelling, for messages."""
        name = next(iter(self.paths)).name
        tried = (path for path, base in self.paths.items() if base != "beside")
        return " or ".join(str(path) for path in tried if path.name == name)


def is_file(path: Path) -> bool:
    """Return True if a path is that of a file, whatever it contains."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class ReportConfig:
    """The configuration of one report, or of several that name one file.

    The values are those of one of ``variables``: the last if ``keeps_last`` and the file names the
    first or last, otherwise it is not known which, or a sum of all if ``is_sum``.
    ``compartments`` is ``all``, ``center`` (one in each section) or unknown, ``compartment_set``
    the listed (cell, section, position) of a population. ``step`` (ms) and ``rows`` are those of a
    clamp report.
    """

    name: str
    kind: str = ""
    variables: tuple[str, ...] = ()
    keeps_last: bool = False
    unit: str | None = None
    compartments: str | None = None
    compartment_set: CompartmentSet | None = None
    file: NamedFile | None = None
    path: Path | None = None
    electrodes: Path | None = None
    step: float | None = None
    rows: int | None = None
    joined: tuple[str, ...] = ()
    joins: str | None = None

    @property
    def is_sum(self) -> bool:
        """True if the values are a sum of ``variables``."""
        return self.kind == "summation" and not self.joined


@dataclass(frozen=True)
class SimulationConfig:
    """The output files of a run, its parameters, and its circuit.

    ``network`` is the configuration of the circuit, ``node_sets`` the file of those of the run. Of
    a circuit without run, only ``network`` is known. ``inputs`` are files that the run has read,
    ``segment`` is the longest segment (µm) of bmtk, ``old_import`` is True if it imported
    morphologies as it did before.
    """

    run: Run
    reports: Mapping[str, ReportConfig] = field(default_factory=dict)
    outputs: tuple[NamedFile, ...] = ()
    notes: tuple[str, ...] = ()
    network: NamedFile | None = None
    node_sets: NamedFile | None = None
    has_run: bool = True
    inputs: tuple[Path, ...] = ()
    segment: float | None = None
    old_import: bool = False


def read_config(path: Path, seen: tuple[Path, ...] = ()) -> SimulationConfig:
    """Read a configuration of a simulation or circuit, or that which its key ``simulation`` names.

    Unknown keys and values of an unexpected type are ignored. ``seen`` are the configurations
    that refer to this one.
    """
    text, config = load_json(path)
    if path.resolve() in seen:
        msg = f"{path} refers to itself by its key simulation"
        raise ConfigurationError(msg)
    output = _mapping(config.get("output"))
    names = FileNames(
        path.parent.absolute(),
        _mapping(config.get("manifest")),
        output.get("output_dir") or "output",
    )
    if isinstance(config.get("simulation"), str) and "output" not in config:
        simulation = names.path(config["simulation"], names.directory, names.directory)
        found = read_config(simulation, (*seen, path.resolve()))
        return replace(found, network=found.network or _network(path, config, names))
    network = _network(path, config, names)
    if not {"output", "reports", "run"} & set(config):
        if network is not None:
            return SimulationConfig(Run(), network=network, has_run=False)
        msg = (
            f"{path} has none of the keys output, reports, run of a simulation configuration, or "
            "networks of a circuit"
        )
        raise ConfigurationError(msg)
    _check_count(path, output, _mapping(config.get("reports")))
    reader = _ReportReader(config, names)
    reports: dict[str, ReportConfig] = {}
    outputs = list(_outputs(output, names))
    for name, entry in _mapping(config.get("reports")).items():
        if not isinstance(entry, Mapping):
            reader.notes.append(f"left out: report {name!r} in {path.name}, which is {entry!r}")
        elif not entry.get("enabled", True):
            reader.notes.append(f"report {name!r} is disabled in {path.name} and was left out")
        elif entry.get("module") == "spikes_report":
            outputs += _outputs({k: v for k, v in entry.items() if k.startswith("spikes")}, names)
        else:
            reports[name] = reader.read(name, entry)
    if not any(file.key.startswith("spikes") for file in outputs):
        defaults = (names.named("spikes_file", name) for name in _DEFAULT_SPIKES)
        outputs += [file for file in defaults if file.found()]
    sets = config.get("node_sets_file")
    return SimulationConfig(
        _read_run(config, text),
        reports,
        tuple(outputs),
        tuple(reader.notes),
        network or _default_network(names),
        names.inputs("node_sets_file", sets) if isinstance(sets, str) and sets else None,
        inputs=tuple(_inputs(config, names)),
        segment=_number(_mapping(config.get("run")).get("dL")),
        old_import=bool(_mapping(config.get("run")).get("use_old_import3d")),
    )


def _inputs(config: Mapping[str, Any], names: "FileNames") -> Iterator[Path]:
    """Yield the files that the section ``inputs`` names."""
    for entry in _mapping(config.get("inputs")).values():
        for key, value in _mapping(entry).items():
            if key.endswith("_file") and isinstance(value, str) and value:
                yield names.input(value)


def _check_count(path: Path, output: Mapping[str, Any], reports: Mapping[str, Any]) -> None:
    listed = [value for value in output.values() if isinstance(value, list)]
    count = sum(map(len, [output, reports, *listed]))
    if count > _MOST_FILES:
        msg = f"{path} names {count} reports and files; expected at most {_MOST_FILES}"
        raise ConfigurationError(msg)


def _network(path: Path, config: Mapping[str, Any], names: "FileNames") -> NamedFile | None:
    """Return the configuration of the circuit, which may be that of the simulation itself."""
    if isinstance(config.get("networks"), Mapping):
        return NamedFile("networks", path.name, {path: ""})
    network = config.get("network")
    return names.inputs("network", network) if isinstance(network, str) and network else None


def _default_network(names: "FileNames") -> NamedFile | None:
    """Return the circuit that libsonata reads for a simulation that names none, if it exists."""
    path = names.directory / "circuit_config.json"
    return NamedFile("network", path.name, {path: ""}) if is_file(path) else None


def kind_of_config(path: Path) -> str:
    """Return ``simulation`` or ``circuit``, ``both`` of a file that names them, or empty text."""
    try:
        config = load_json(path)[1]
    except ConfigurationError:
        return ""
    if "run" in config and {"output", "reports"} & set(config):
        return "simulation"
    if isinstance(config.get("simulation"), str):
        return "both"
    return "circuit" if isinstance(config.get("networks"), Mapping) else ""


def load_json(path: Path) -> tuple[str, Mapping[str, Any]]:
    """Return the text of a file and the JSON object in it."""
    with source_errors(f"{path} cannot be read as JSON", ConfigurationError):
        if (size := path.stat().st_size) > _MOST_BYTES:
            msg = f"{path} has {size} bytes; expected at most {_MOST_BYTES} of a configuration"
            raise ConfigurationError(msg)
        text = path.read_text(encoding="utf-8-sig")
        config = json.loads(text)
    if not isinstance(config, Mapping):
        msg = f"{path} contains a JSON {type(config).__name__}; expected an object"
        raise ConfigurationError(msg)
    return text, config


@dataclass(frozen=True)
class FileNames:
    """Resolves file names with variables of the manifest, of bmtk, and of the environment."""

    directory: Path
    manifest: Mapping[str, Any]
    output_dir: Any

    def named(self, key: str, *spellings: str) -> NamedFile:
        """Return where a file of the output may be, by its ``spellings``, best first.

        libsonata resolves relative names from the directory of the configuration, and bmtk from the
        working directory of the run; bmtk copies the configuration into the output.
        """
        near, far = self._paths(spellings, self.directory), self._paths(spellings, Path.cwd())
        paths = dict.fromkeys(near, "")
        if not any(map(is_file, near)):
            for path in near:
                paths.setdefault(self.directory / path.name, "beside")
        for path in far:
            paths.setdefault(path, _WORKING)
        return NamedFile(key, spellings[0], paths)

    def _paths(self, spellings: Sequence[str], root: Path) -> list[Path]:
        """Return the paths in the output, and of names that begin with that of the output."""
        output = self.path(self.output_dir, root, root)
        inside = [self.path(spelling, output, root) for spelling in spellings]
        if any(map(is_file, inside)):
            return inside
        named = (spelling for spelling in spellings if Path(spelling).name != spelling)
        return [*inside, *(self.path(spelling, root, root) for spelling in named)]

    def inputs(self, key: str, value: str) -> NamedFile:
        """Return where an input may be, by its name relative to several directories.

        They are that of the configuration, that of the output in which bmtk has copied it, and the
        working directory.
        """
        roots = {self.directory: ""}
        if Path(str(self.output_dir)).name == self.directory.name:
            roots.setdefault(self.directory.parent, _ABOVE)
        roots.setdefault(Path.cwd(), _WORKING)
        paths: dict[Path, str] = {}
        for root, base in roots.items():
            paths.setdefault(self.path(value, root, root), base)
        return NamedFile(key, value, paths)

    def input(self, value: str) -> Path:
        """Return the path of an input that exists, or the first that was tried."""
        paths = list(self.inputs("", value).paths)
        return next(filter(is_file, paths), paths[0])

    def path(self, value: Any, base: Path, root: Path) -> Path:
        """Return the path of a name relative to ``base``; ``root`` is the working directory."""
        return Path(os.path.normpath(base / self._substituted(str(value), root)))

    def _substituted(self, text: str, root: Path) -> str:
        def value(match: re.Match[str]) -> str:
            return self._value(match, root)

        for _ in range(len(self.manifest) + 1):
            substituted = re.sub(r"\$\{?(\w+)\}?", value, text)
            if substituted == text:
                break
            text = substituted
            if len(text) > _LONGEST_NAME:
                msg = f"a name has more than {_LONGEST_NAME} characters: {text[:60]}…"
                raise ConfigurationError(msg)
        return text

    def _value(self, match: re.Match[str], root: Path) -> str:
        name = match.group(1)
        for key in (f"${name}", f"${{{name}}}", name):
            if key in self.manifest:
                return str(self.manifest[key])
        own = {"configdir": self.directory, "workingdir": root}
        if name.lower() in own:
            return str(own[name.lower()])
        return os.environ.get(name, match.group(0))


def _outputs(output: Mapping[str, Any], names: FileNames) -> Iterator[NamedFile]:
    """Yield the files of the section ``output``: those of all keys that are not settings."""
    for key, value in output.items():
        for text in value if isinstance(value, list) else [value]:
            if key not in _SETTINGS and isinstance(text, str) and text.strip():
                yield names.named(key, text, f"{text}.h5")


class _ReportReader:
    """Reads the entries of reports and collects notes on them."""

    def __init__(self, config: Mapping[str, Any], names: FileNames) -> None:
        self.names = names
        self.notes: list[str] = []
        self._run = _mapping(config.get("run"))
        self._sets_file = config.get("compartment_sets_file")

    def read(self, name: str, entry: Mapping[str, Any]) -> ReportConfig:
        module = str(entry.get("type") or entry.get("module") or "")
        variables, is_list = _variables(entry.get("variable_name"))
        electrodes = entry.get("electrode_positions")
        self._note_other_files(name, entry)
        report = ReportConfig(
            name=name,
            kind=_KINDS.get(module, module),
            variables=variables,
            keeps_last=module in _JOINED and is_list and not entry.get("transform"),
            unit=entry["unit"] if isinstance(entry.get("unit"), str) else None,
            compartments=_compartments(entry),
            compartment_set=self._compartment_set(name, entry),
            file=self._file(name, entry, module),
            electrodes=self.names.input(electrodes) if isinstance(electrodes, str) else None,
            joins=_joins(name, entry) if module in _JOINED else None,
        )
        return replace(report, **self._steps()) if report.kind == "clamp" else report

    def _file(self, name: str, entry: Mapping[str, Any], module: str) -> NamedFile | None:
        if module in {"save_synapses", "SaveSynapses"}:
            self.notes.append(f"left out: report {name!r}, which saves a network ({module})")
            return None
        key, stated = f"report {name!r}", entry.get("file_name")
        if isinstance(stated, str) and stated:
            return self.names.named(key, stated, f"{stated}.h5")
        if module == "weight_recorder":
            return self.names.named(key, f"{name}.csv")
        spellings = (name, f"{name}.h5") if name.endswith(SUFFIXES) else (f"{name}.h5", name)
        return self.names.named(key, *spellings)

    def _note_other_files(self, name: str, entry: Mapping[str, Any]) -> None:
        """Add notes on what a report stores apart from its file."""
        for key, value in entry.items():
            is_other = key.endswith(("_dir", "_file", "_csv", "_h5", "_nwb"))
            if is_other and key not in _REPORT_FILES and isinstance(value, str):
                self.notes.append(f"left out: {value}, {key} of report {name!r}")

    def _steps(self) -> dict[str, Any]:
        """Return the step and number of rows of clamp reports, which have every step of a run."""
        step, stop = _number(self._run.get("dt")), _number(self._run.get("tstop"))
        if _number(self._run.get("tstart")) or not step or step < 0:
            return {"step": None}
        return {"step": step, "rows": None if stop is None else round(stop / step)}

    def _compartment_set(self, name: str, entry: Mapping[str, Any]) -> CompartmentSet | None:
        """Return the compartment set of a report, if its file has it."""
        wanted = entry.get("compartment_set")
        if entry.get("type") != "compartment_set" or not isinstance(wanted, str):
            return None
        what = f"positions of report {name!r} are unknown"
        if not isinstance(self._sets_file, str):
            self.notes.append(f"{what}: the configuration has no compartment_sets_file")
            return None
        file = self.names.input(self._sets_file)
        try:
            found = load_json(file)[1][wanted]
            listed = tuple(map(_compartment, found["compartment_set"]))
            return found.get("population"), listed
        except (AttributeError, ConfigurationError, KeyError, TypeError, ValueError) as error:
            missing = isinstance(error, KeyError)
            reason = f"has no compartment set {wanted!r}" if missing else f"cannot be used: {error}"
            self.notes.append(f"{what}: {file.name} {reason}")
            return None


def _compartment(entry: Any) -> tuple[int, int, float]:
    """Return an entry of a compartment set."""
    is_triple = isinstance(entry, list) and len(entry) == 3
    numbers = [_number(value) for value in entry] if is_triple else []
    match numbers:
        case [float(cell), float(section), float(x)] if 0 <= x <= 1:
            if cell.is_integer() and section.is_integer():
                return int(entry[0]), int(entry[1]), x
    msg = f"it lists {entry!r:.60}; expected [cell, section, position from 0 to 1]"
    raise ValueError(msg)


def joined_reports(reports: Sequence[ReportConfig], stem: str) -> ReportConfig:
    """Return one configuration for the reports that name one file, whose stem is ``stem``.

    bmtk joins reports that differ only in their variables: the values are those of the last. What
    others write into one file is not known.
    """
    first, last = reports[0], reports[-1]
    if len(reports) == 1:
        return first
    joins = first.joins is not None and len({report.joins for report in reports}) == 1
    variables = tuple(name for report in reports for name in report.variables or ("unknown",))
    if not any(report.variables for report in reports):
        variables = ()
    same = len(set(variables)) < 2
    keeps_last = joins and all(r.keeps_last or len(r.variables) == 1 for r in reports)
    stated = {report.unit for report in reports}
    return replace(
        first,
        name=last.name if keeps_last and not same else stem,
        kind=first.kind if len({report.kind for report in reports}) == 1 else "",
        variables=variables[:1] if same else variables,
        keeps_last=keeps_last,
        unit=last.unit if keeps_last else first.unit if len(stated) == 1 else None,
        compartments=first.compartments if joins else None,
        compartment_set=None,
        joined=tuple(report.name for report in reports),
    )


def _joins(name: str, entry: Mapping[str, Any]) -> str:
    """Return what reports that bmtk joins have in common."""
    default = name if name.endswith(SUFFIXES) else f"{name}.h5"
    keys = {"cells": "biophysical", "sections": "all", "file_name": default, "buffer": True}
    return json.dumps([entry.get(key, value) for key, value in keys.items()])


def _variables(value: Any) -> tuple[tuple[str, ...], bool]:
    """Return the names of variables, and True if they are one name or a list, as in bmtk.

    Text may be a JSON list, or names separated by commas or spaces.
    """
    if isinstance(value, list):
        return _once(tuple(str(name).strip() for name in value)), True
    if not isinstance(value, str):
        return (), False
    try:
        names = json.loads(value)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list):
        names = re.split(r"[\s,;]+", value)
    found = _once(tuple(str(name).strip() for name in names if str(name).strip()))
    return found, len(found) == 1


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return one name if all are equal; otherwise the last is that of the values."""
    return names[:1] if len(set(names)) == 1 else names


def _compartments(entry: Mapping[str, Any]) -> str | None:
    """Return which compartments a Blue Brain report has: ``all``, ``center``, or unknown.

    If it is not stated, libsonata takes all but of somata, and BlueCelluLab the center: both are
    the same where a section has one compartment, as for ``center``.
    """
    if entry.get("type") != "compartment":
        return None
    default = None if entry.get("sections", "soma") == "soma" else "center"
    return str(entry["compartments"]) if "compartments" in entry else default


def _read_run(config: Mapping[str, Any], text: str) -> Run:
    run = _mapping(config.get("run"))
    start, stop = _number(run.get("tstart")) or 0.0, _number(run.get("tstop"))
    step, seed = _number(run.get("dt")), run.get("random_seed", run.get("seed"))
    span = None if stop is None or stop < start else stop - start
    simulator = config.get("target_simulator")
    return Run(
        simulator=simulator if isinstance(simulator, str) else None,
        time_step=meant_step(step) / 1000 if step and step > 0 else None,
        duration=None if span is None else span / 1000,
        temperature=_number(_mapping(config.get("conditions")).get("celsius")),
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
        configuration=text,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    """Return a finite number, else None; JSON of Python may have NaN and Infinity."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < math.inf else None
