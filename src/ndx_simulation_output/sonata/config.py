"""Read outputs, reports and run parameters from ``simulation_config.json``, of both dialects."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ndx_simulation_output.errors import ConfigurationError
from ndx_simulation_output.recording import Run

_KINDS = {
    "membrane_report": "compartment",
    "multimeter_report": "compartment",
    "compartment_report": "compartment",
    "compartment_set": "compartment set",
    "syn_report": "synapse",
    "netcon_report": "synapse",
}
# The default name of the spike file at Allen and at Blue Brain.
_DEFAULT_SPIKES = ("spikes.h5", "out.h5")


@dataclass(frozen=True)
class ReportConfig:
    """The configuration of one report; ``compartments`` is ``all``, ``center`` or unknown."""

    name: str
    kind: str = ""
    variable: str | None = None
    unit: str | None = None
    compartments: str | None = None
    path: Path | None = None
    electrodes: Path | None = None
    n_variables: int = 1


@dataclass(frozen=True)
class SimulationConfig:
    """The output files of a run and its parameters."""

    run: Run
    reports: Mapping[str, ReportConfig] = field(default_factory=dict)
    spikes: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def read_config(path: Path, seen: tuple[Path, ...] = ()) -> SimulationConfig:
    """Read a simulation configuration, or the one that its key ``simulation`` names.

    Unknown keys and values of an unexpected type are ignored. ``seen`` are the configurations
    that refer to this one.
    """
    text, config = _load(path)
    if path.resolve() in seen:
        msg = f"{path} refers to itself by its key simulation"
        raise ConfigurationError(msg)
    names = _FileNames(path.parent.absolute(), _mapping(config.get("manifest")))
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
        else:
            reports[name] = _read_report(name, entry, names, directory)
    spikes = _spike_files(output, names, directory)
    return SimulationConfig(_read_run(config, text), reports, spikes, tuple(notes))


def _load(path: Path) -> tuple[str, Mapping[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        config = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} cannot be read as JSON: {error}"
        raise ConfigurationError(msg) from error
    if not isinstance(config, Mapping):
        msg = f"{path} contains a JSON {type(config).__name__}; expected an object"
        raise ConfigurationError(msg)
    return text, config


@dataclass(frozen=True)
class _FileNames:
    """Resolves file names with variables of the manifest, of bmtk, and of the environment."""

    directory: Path
    manifest: Mapping[str, Any]

    def path(self, value: Any, base: Path) -> Path:
        return Path(os.path.normpath(base / self._substituted(str(value))))

    def path_of_spikes(self, value: Any, output: Path) -> Path:
        """Return the path in ``output``, or in the directory of the configuration if only there.

        bmtk resolves a name that begins with that of ``output`` relative to the configuration.
        """
        in_output, in_directory = self.path(value, output), self.path(value, self.directory)
        only_there = in_directory.exists() and not in_output.exists()
        return in_directory if only_there else in_output

    def _substituted(self, text: str) -> str:
        for _ in range(len(self.manifest) + 1):
            substituted = re.sub(r"\$\{?(\w+)\}?", self._value, text)
            if substituted == text:
                break
            text = substituted
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
    name: str, entry: Mapping[str, Any], names: _FileNames, directory: Path
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
        n_variables=len(variables),
    )


def _variables(value: Any) -> list[str]:
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return [str(name) for name in value] if isinstance(value, list) else []


def _compartments(entry: Mapping[str, Any]) -> str | None:
    """Return the compartments of a Blue Brain report; by default ``center`` of somata, else all."""
    if entry.get("type") != "compartment":
        return None
    default = "center" if entry.get("sections", "soma") == "soma" else "all"
    return str(entry.get("compartments", default))


def _with_suffix(path: Path) -> Path:
    return path if path.suffix in {".h5", ".hdf5", ".nwb"} else path.with_name(path.name + ".h5")


def _spike_files(output: Mapping[str, Any], names: _FileNames, directory: Path) -> tuple[Path, ...]:
    keys = ("spikes_file", "spikes_h5")
    stated = [output[key] for key in keys if isinstance(output.get(key), str)]
    paths = [names.path_of_spikes(name, directory) for name in stated or _DEFAULT_SPIKES]
    return tuple(dict.fromkeys(path for path in paths if stated or path.exists()))


def _read_run(config: Mapping[str, Any], text: str) -> Run:
    run = _mapping(config.get("run"))
    start, stop = _number(run.get("tstart")) or 0.0, _number(run.get("tstop"))
    step, seed = _number(run.get("dt")), run.get("random_seed", run.get("seed"))
    simulator = config.get("target_simulator")
    return Run(
        simulator=simulator if isinstance(simulator, str) else None,
        time_step=step / 1000 if step is not None else None,
        duration=(stop - start) / 1000 if stop is not None else None,
        temperature=_number(_mapping(config.get("conditions")).get("celsius")),
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
        configuration=text,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
