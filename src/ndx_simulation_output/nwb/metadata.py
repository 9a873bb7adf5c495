"""Metadata of the session, the subject and the simulation, with neuroconv's section names."""

import json
import os
import re
import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from pynwb import NWBFile
from pynwb.file import Subject
from ruamel.yaml import YAML

from ndx_simulation_output.errors import (
    MetadataError,
    NameClashError,
    SimulationOutputWarning,
    file_errors,
    source_errors,
)
from ndx_simulation_output.nwb.types import (
    CircuitDescription,
    Compartments,
    SimulationMetaData,
)
from ndx_simulation_output.recording import Run
from ndx_simulation_output.recording.ids import storable_text
from ndx_simulation_output.recording.merging import join_notes

_MOST_VALUES = 100_000
_SECTIONS = ("NWBFile", "Subject", "SimulationMetaData")
_SESSION = (
    "session_description",
    "session_start_time",
    "timestamps_reference_time",
    "session_id",
    "experimenter",
    "experiment_description",
    "institution",
    "lab",
    "keywords",
    "notes",
    "pharmacology",
    "protocol",
    "related_publications",
    "slices",
    "source_script",
    "source_script_file_name",
    "data_collection",
    "surgery",
    "virus",
    "stimulus_notes",
)
_SUBJECT = (
    "age",
    "age__reference",
    "description",
    "genotype",
    "sex",
    "species",
    "strain",
    "subject_id",
    "weight",
    "date_of_birth",
)
_DATES = ("session_start_time", "timestamps_reference_time", "date_of_birth")


def read_metadata(
    source: str | Path | Mapping[str, Any] | None, *, starts_now: bool = False
) -> dict[str, dict[str, Any]]:
    """Read metadata from a YAML or JSON file, or from a dict.

    Sections are ``NWBFile``, ``Subject`` and ``SimulationMetaData``; their keys are the arguments
    of these classes. Dates may be ISO text. If ``starts_now``, ``session_start_time`` defaults to
    the current time.
    """
    if isinstance(source, (str, Path)):
        with file_errors(source):
            return read_metadata(_load(Path(source)), starts_now=starts_now)
    content = source or {}
    if unknown := [str(key) for key in content if key not in _SECTIONS]:
        msg = f"metadata has the sections {', '.join(unknown)}; expected {', '.join(_SECTIONS)}"
        raise MetadataError(msg)
    sections: dict[str, dict[str, Any]] = {}
    for name, section in content.items():
        if not isinstance(section, Mapping):
            found = type(section).__name__
            msg = f"section {name} of the metadata is of type {found}; expected keys and values"
            raise MetadataError(msg)
        sections[name] = {key: _parse(key, value) for key, value in section.items()}
    if starts_now:
        now = datetime.now().astimezone()
        sections["NWBFile"] = {"session_start_time": now, **sections.get("NWBFile", {})}
    return sections


def read_session(nwbfile: NWBFile) -> dict[str, dict[str, Any]]:
    """Return the metadata of session and subject of an NWB file, without its identifier."""
    sections = {"NWBFile": _fields(nwbfile, _SESSION)}
    if nwbfile.subject is not None:
        sections["Subject"] = _fields(nwbfile.subject, _SUBJECT)
    return sections


def _fields(item: Any, names: Sequence[str]) -> dict[str, Any]:
    values = {name: getattr(item, name, None) for name in names}
    return {
        name: value if isinstance(value, (str, datetime)) else tuple(value[:])
        for name, value in values.items()
        if value is not None
    }


def merge_metadata(
    session: Mapping[str, Mapping[str, Any]], metadata: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Merge two dicts of sections; values of ``metadata`` replace those of ``session``.

    Only the ``notes`` of both are kept: those of a source tell what it does not contain.

    Example
    -------
    >>> merge_metadata({"Subject": {"sex": "U", "age": "P0D"}}, {"Subject": {"sex": "F"}})
    {'Subject': {'sex': 'F', 'age': 'P0D'}}

    """
    names = dict.fromkeys([*session, *metadata])
    merged = {name: {**session.get(name, {}), **metadata.get(name, {})} for name in names}
    stored, given = (found.get("NWBFile", {}).get("notes") for found in (session, metadata))
    if stored and isinstance(given, str):
        merged["NWBFile"]["notes"] = join_notes(stored, given)
    return merged


def add_notes(nwbfile: NWBFile, notes: Sequence[str]) -> None:
    """Add a line for each note to the notes of an NWB file, without directories of this machine."""
    lines = [" ".join(storable_text(_without_directories(note)).split()) for note in notes]
    joined = join_notes(nwbfile.notes or "", *lines)
    if joined == (nwbfile.notes or ""):
        return
    if nwbfile.notes is not None and nwbfile.container_source is not None:
        warnings.warn(
            "notes of the NWB file are on disk and remain; not added: " + "; ".join(lines),
            SimulationOutputWarning,
            stacklevel=2,
        )
        return
    nwbfile.fields["notes"] = joined
    nwbfile.set_modified()


def _without_directories(note: str) -> str:
    """Return a note with the paths of existing directories removed from its file names.

    A file that may be in several directories is then named once.
    """
    # A directory may have spaces in its name: the longest one that exists is removed.
    for match in reversed(list(re.finditer(r"(?<![\w.:/\\])(?:[A-Za-z]:)?[/\\](?=\w)", note))):
        start, ends = match.start(), [found.end() for found in re.finditer(r"[/\\]", note)]
        for end in sorted((end for end in ends if end > match.end()), reverse=True):
            if os.path.isdir(note[start:end]):  # noqa: PTH112 - Path raises for some texts
                note = note[:start] + note[end:]
                break
    return re.sub(r"(\S+\.\w+)(?: or \1)+(?![\w.])", r"\1", note)


def make_nwbfile(
    metadata: Mapping[str, Mapping[str, Any]], description: str, when: datetime | None
) -> NWBFile:
    """Return an NWB file in memory with its session and subject.

    If they are missing, ``session_description`` is ``description``, ``identifier`` is a new UUID,
    and ``session_start_time`` is ``when`` or the current time, with a warning.
    """
    session: dict[str, Any] = {"session_description": storable_text(description)}
    session |= {"identifier": str(uuid.uuid4()), **metadata.get("NWBFile", {})}
    if "session_start_time" not in session:
        session["session_start_time"] = when or datetime.now().astimezone()
        origin = "the modification time of the source" if when else "now"
        warnings.warn(
            f"session_start_time is set to {origin}, "
            f"{session['session_start_time']:%Y-%m-%d %H:%M}; set NWBFile: session_start_time in "
            "the metadata (--metadata FILE.yaml)",
            SimulationOutputWarning,
            stacklevel=2,
        )
    nwbfile: NWBFile = _create(NWBFile, "NWBFile", session)
    if "Subject" in metadata:
        nwbfile.subject = _create(Subject, "Subject", metadata["Subject"])
    return nwbfile


def run_metadata(run: Run) -> dict[str, Any]:
    """Return the known parameters of a run, as arguments of ``SimulationMetaData``."""
    return {name: value for name, value in asdict(run).items() if value is not None}


def add_simulation_metadata(
    nwbfile: NWBFile,
    run: Mapping[str, Any],
    tables: Sequence[Compartments],
    provenance: Mapping[str, Any],
    circuit: CircuitDescription | None = None,
) -> None:
    """Add the metadata of a simulation, and the tables and provenance of its output, to a file.

    Existing metadata of a simulation are not replaced: a value of ``run`` that differs is ignored
    with a warning. Tables and provenance are added.
    """
    own = {"compartments": tables, "provenance": json.dumps(provenance), "circuit": circuit}
    if forbidden := {*own, "name"} & set(run):
        msg = f"SimulationMetaData: {', '.join(sorted(forbidden))} cannot be set by metadata"
        raise MetadataError(msg)
    existing = nwbfile.lab_meta_data.get("simulation")
    if existing is None:
        nwbfile.add_lab_meta_data(_create(SimulationMetaData, "SimulationMetaData", {**run, **own}))
        return
    for table in tables:
        existing.add_compartments(table)
    if circuit is not None and existing.circuit is None:
        existing.circuit = circuit
    elif circuit is not None:
        msg = "the NWB file already has a circuit; add the output to another NWB file"
        raise NameClashError(msg)
    for name, value in run.items():
        current = getattr(existing, name)
        if current is None:
            setattr(existing, name, value)
        elif current != value:
            warnings.warn(
                f"{name} of the NWB file remains {current}; the added simulation has {value}",
                SimulationOutputWarning,
                stacklevel=2,
            )
    joined = _join_provenance(json.loads(existing.provenance), provenance)
    existing.fields["provenance"] = json.dumps(joined)


def _join_provenance(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the provenance of two outputs; if both have a key, the first one is used."""
    joined = {**second, **first}
    for name in ("series", "arrays"):
        if name in joined:
            joined[name] = {**first.get(name, {}), **second.get(name, {})}
    for name in ("files", "spikes"):
        if name in joined:
            joined[name] = [*first.get(name, []), *second.get(name, [])]
    return joined


def _load(path: Path) -> Mapping[str, Any]:
    with source_errors(f"{path} cannot be read as YAML", MetadataError):
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    if not _is_small(content):
        msg = f"{path} has more than {_MOST_VALUES} values, or its aliases stand for as many"
        raise MetadataError(msg)
    if not isinstance(content, Mapping):
        msg = f"{path} is a {type(content).__name__}; expected the sections {', '.join(_SECTIONS)}"
        raise MetadataError(msg)
    return content


def _is_small(content: Any) -> bool:
    """Return True if a value contains few others, counted at each place where they occur."""
    pending = [content]
    for _ in range(_MOST_VALUES):
        if not pending:
            return True
        value = pending.pop()
        if isinstance(value, Mapping):
            pending += value.values()
        elif isinstance(value, (list, tuple, set)):
            pending += value
    return False


def _parse(key: str, value: Any) -> Any:
    if key not in _DATES:
        return value
    if isinstance(value, str):
        begin = f"{key} is {value!r} in the metadata; expected a date as 2026-01-31T12:00:00+01:00"
        with source_errors(begin, MetadataError):
            value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        msg = f"{key} is {value!r} in the metadata; expected a date and time"
        raise MetadataError(msg)
    return value if value.tzinfo else value.astimezone()


def _create(kind: Any, section: str, arguments: Mapping[str, Any]) -> Any:
    with source_errors(f"section {section} of the metadata does not fit NWB", MetadataError):
        return kind(**arguments)
