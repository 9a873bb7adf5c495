"""Write a recording as SONATA files."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ndx_simulation_output.errors import ExportError, NameClashError, WriteError
from ndx_simulation_output.files import WholeFile, check_target, whole_file, whole_hdf5
from ndx_simulation_output.recording import (
    ExtracellularPotential,
    Report,
    SimulationOutput,
    Timestamps,
)
from ndx_simulation_output.recording.arrays import Progress, size_in_bytes
from ndx_simulation_output.sonata.files import TRIPLE, attributes_from_json
from ndx_simulation_output.sonata.potentials import electrodes_text, write_potential
from ndx_simulation_output.sonata.spikes import write_spikes
from ndx_simulation_output.sonata.write_reports import write_report

# What the provenance of a recording must look like: the file it comes from may be damaged.


def check_facts(name: str, provenance: Mapping[str, Any]) -> None:
    """Refuse the provenance of the recording ``name`` if it is not what reading SONATA makes.

    Raises
    ------
    ExportError
        If a value is of another kind than expected.

    """
    for key, is_right in _RULES.items():
        value = provenance.get(key)
        if value is not None and not is_right(value):
            msg = f"the provenance of {name} has the {key} {str(value)[:60]!r}, which is damaged"
            raise ExportError(msg)


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
    """Texts, lists of text, or numbers with their type, by name."""
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


_RULES: dict[str, Callable[[Any], bool]] = {
    "attributes": _are_attributes_by_path,
    "columns": _are_texts,
    "dialect": lambda value: value in {"allen", "bbp"} if _is_text(value) else False,
    "dtypes": _are_dtypes,
    "entries": _are_entries,
    "file": _is_text,
    "file_attributes": _are_attributes,
    "per_second": lambda value: isinstance(value, (int, float)) and value > 0,
    "root": lambda value: value in {"report", "reports"} if _is_text(value) else False,
    "time": _is_triple,
}

# Write a recording as SONATA files, in either dialect.

Dialect = Literal["allen", "bbp"]

_MAGIC = {"magic": np.uint32(0x0A7A), "version": np.array([0, 1], np.uint32)}
_CONFIG_KEYS = {"output", "reports", "run"}


@dataclass
class Written:
    """The files that were written, and in plain words what SONATA cannot say of the recording."""

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
    """Write the reports, spikes and extracellular potentials of a run to ``directory``.

    Recordings that were SONATA before get their files, names, order, types, times and attributes
    back.

    Parameters
    ----------
    output
        What was recorded.
    directory
        Where the files go; made if it does not exist.
    dialect
        ``allen`` (bmtk) or ``bbp`` (libsonata); by default that of the source, else ``bbp``.
    dtype
        Type of the data of reports, such as ``float32``; by default the recorded one.
    overwrite
        Whether existing files are replaced.
    progress
        Called with the number of bytes done since the last call, and that of all.

    Raises
    ------
    ExportError
        If nothing of the recording can be said in SONATA, or its provenance is damaged.
    TargetExistsError
        If a file exists and ``overwrite`` is false; nothing is written then.
    WriteError
        If a file cannot be written.

    """
    for report in output.reports:
        check_facts(report.name, report.provenance)
    for potential in output.potentials:
        check_facts(potential.name, potential.provenance)
    for spikes in output.spikes:
        check_facts(f"the spikes of {spikes.population}", spikes.provenance)
    written = Written()
    written.left_out += [
        f"{group.name}: SONATA has no arrays that are no reports" for group in output.groups
    ]
    written.left_out += [
        f"{network.name}: SONATA has no states of networks" for network in output.networks
    ]
    plan: dict[Path, list[_Part]] = {}
    total = sum(size_in_bytes(report.data) for report in output.reports)
    total += sum(size_in_bytes(potential.data) for potential in output.potentials)
    done = (lambda n_bytes: progress(n_bytes, total)) if progress else None
    written.left_out += [
        f"spikes of {spikes.population}: cells without spikes, and when cells were recorded"
        for spikes in output.spikes
        if spikes.silent is not None or spikes.intervals is not None
    ]
    for part in _parts(output, dialect, dtype, written.left_out, done):
        plan.setdefault(directory / part.file_name, []).append(part)
    _check_clashes(output)
    texts = _texts(output, directory)
    if not plan:
        reasons = "; ".join([*output.notes, *written.left_out]) or "it is empty"
        msg = f"nothing of this recording can be written as SONATA: {reasons}"
        raise ExportError(msg)
    _make_directory(directory)
    for path in [*plan, *texts]:
        check_target(path, overwrite=overwrite)
    for path, parts in plan.items():
        with whole_hdf5(path, overwrite=overwrite) as file:
            for part in parts:
                part(file)
        written.files.append(path)
    for path, text in texts.items():
        with whole_file(path, overwrite=overwrite) as temporary:
            temporary.write_text(text, encoding="utf-8")
        written.files.append(path)
    return written


@dataclass(frozen=True)
class _Part:
    """One recording, the name of its file, and how it is written into that file."""

    file_name: str
    dialect: Dialect
    provenance: Mapping[str, Any]
    write: Callable[[WholeFile], None]

    def __call__(self, file: WholeFile) -> None:
        """Write the recording, after the attributes that its file had."""
        attributes_from_json(file, self.provenance.get("file_attributes", {}))
        if self.dialect == "allen" != self.provenance.get("dialect"):
            file.attrs.update(_MAGIC)
        self.write(file)


def _parts(
    output: SimulationOutput,
    dialect: Dialect | None,
    dtype: str | None,
    left_out: list[str],
    progress: Callable[[int], object] | None,
) -> Iterator[_Part]:
    """Give what there is to write; several parts may go to one file, as they came from one."""
    for report in output.reports:
        facts, chosen = report.provenance, dialect or report.provenance.get("dialect", "bbp")
        if report.population == "unknown" and not facts:
            left_out.append(f"{report.name}: no population is named; written as 'unknown'")
        if _is_regular(report, left_out):
            write_part = partial(
                write_report,
                report=report,
                dialect=chosen,
                dtype=dtype,
                left_out=left_out,
                progress=progress,
            )
            yield _Part(_file_name(facts, report.report), chosen, facts, write_part)
    for spikes in output.spikes:
        facts, chosen = spikes.provenance, dialect or spikes.provenance.get("dialect", "bbp")
        alone = len(output.spikes) == 1
        write_part = partial(write_spikes, spikes=spikes, dialect=chosen, alone=alone)
        yield _Part(_file_name(facts, "spikes"), chosen, facts, write_part)
    for potential in output.potentials:
        if _is_regular(potential, left_out):
            write_part = partial(
                write_potential, potential=potential, left_out=left_out, progress=progress
            )
            facts = potential.provenance
            yield _Part(_file_name(facts, potential.name), "allen", facts, write_part)


def _is_regular(item: Report | ExtracellularPotential, left_out: list[str]) -> bool:
    if isinstance(item.times, Timestamps):
        left_out.append(f"{item.name}: SONATA has no irregular times")
        return False
    return True


def _check_clashes(output: SimulationOutput) -> None:
    seen: set[tuple[str, str]] = set()
    for report in output.reports:
        key = (_file_name(report.provenance, report.report), report.population)
        if key in seen:
            msg = f"two reports of population {key[1]!r} would go to {key[0]}"
            raise NameClashError(msg)
        seen.add(key)


def _file_name(provenance: Any, name: str) -> str:
    stated = provenance.get("file") if provenance.get("format") == "SONATA" else None
    stem = Path(stated).stem if stated else name.replace("/", "_")
    return f"{stem}.h5"


def _texts(output: SimulationOutput, directory: Path) -> dict[Path, str]:
    """Give the text files: the electrodes, and the configuration if it is one of SONATA."""
    texts = {}
    for potential in output.potentials:
        if potential.electrodes is not None:
            name = potential.electrodes.provenance.get("file") or f"{potential.name}_electrodes.csv"
            texts[directory / Path(name).name] = electrodes_text(potential.electrodes)
    if output.run.configuration is not None and _is_sonata_config(output.run.configuration):
        texts[directory / "simulation_config.json"] = output.run.configuration
    return texts


def _is_sonata_config(text: str) -> bool:
    try:
        config = json.loads(text)
    except ValueError:
        return False
    return isinstance(config, dict) and bool(_CONFIG_KEYS & set(config))


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot make the directory {directory}: {error}"
        raise WriteError(msg) from error
