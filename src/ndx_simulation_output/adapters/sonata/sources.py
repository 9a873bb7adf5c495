"""Where the files of a run are: named one by one, in a directory, or by a configuration."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ndx_simulation_output.adapters.sonata.config import (
    ReportConfig,
    SimulationConfig,
    read_config,
)
from ndx_simulation_output.errors import SourceError, UnsupportedSourceError
from ndx_simulation_output.remote import refuse_url

__all__ = ["SourceFile", "Sources", "find_sources", "text_kind"]

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
