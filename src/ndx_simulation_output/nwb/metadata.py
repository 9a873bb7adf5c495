"""Metadata of session and subject."""

import json
import uuid
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pynwb import NWBFile
from pynwb.file import Subject
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ndx_simulation_output.errors import MetadataError, SimulationOutputWarning
from ndx_simulation_output.nwb.types import Compartments, SimulationMetaData

# Session and subject, in the key structure of neuroconv: ``NWBFile:``, ``Subject:``.

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


def read_metadata(source: str | Path | Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Read metadata from a YAML or JSON file or a dict.

    Sections are ``NWBFile``, ``Subject`` and ``SimulationMetaData``; their keys are the arguments
    of the classes of those names. Dates may be ISO text.

    Raises
    ------
    MetadataError
        If the file cannot be read, or has a section that is not known.

    """
    if source is None:
        return {}
    content = source if isinstance(source, Mapping) else _load(Path(source))
    unknown = [str(key) for key in content if key not in _SECTIONS]
    if unknown:
        msg = f"metadata has the sections {', '.join(unknown)}; expected {', '.join(_SECTIONS)}"
        raise MetadataError(msg)
    sections: dict[str, dict[str, Any]] = {}
    for name, section in content.items():
        if not isinstance(section, Mapping):
            msg = f"section {name} of the metadata is {section!r}; expected keys and values"
            raise MetadataError(msg)
        sections[name] = {key: _value(key, value) for key, value in section.items()}
    return sections


def begun_now(source: str | Path | Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Read metadata of a session that begins now, if they do not say when.

    Raises
    ------
    MetadataError
        As for ``read_metadata``.

    """
    sections = read_metadata(source)
    session = {"session_start_time": datetime.now().astimezone(), **sections.get("NWBFile", {})}
    return {**sections, "NWBFile": session}


def read_session(nwbfile: NWBFile) -> dict[str, dict[str, Any]]:
    """Give session and subject of an NWB file as ``read_metadata`` does, without its identifier."""
    sections = {"NWBFile": _known(nwbfile, _SESSION)}
    if nwbfile.subject is not None:
        sections["Subject"] = _known(nwbfile.subject, _SUBJECT)
    return sections


def _known(item: Any, names: Sequence[str]) -> dict[str, Any]:
    values = {name: getattr(item, name, None) for name in names}
    return {
        name: value if isinstance(value, (str, datetime)) else tuple(value[:])
        for name, value in values.items()
        if value is not None
    }


def overlaid(
    session: Mapping[str, Mapping[str, Any]], metadata: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Give the sections of both, with the values of ``metadata`` where both have one.

    Example
    -------
    >>> overlaid({"Subject": {"sex": "U", "age": "P0D"}}, {"Subject": {"sex": "F"}})
    {'Subject': {'sex': 'F', 'age': 'P0D'}}

    """
    names = dict.fromkeys([*session, *metadata])
    return {name: {**session.get(name, {}), **metadata.get(name, {})} for name in names}


def make_nwbfile(
    metadata: Mapping[str, Mapping[str, Any]], description: str, when: datetime | None
) -> NWBFile:
    """Make the NWB file object with its session and subject.

    What NWB requires and ``metadata`` does not give is filled in: the description, a new
    identifier, and as start of the session ``when``, with a warning that says so.

    Raises
    ------
    MetadataError
        If a key or value is not one that NWB has.

    """
    given = dict(metadata.get("NWBFile", {}))
    session = {"session_description": description, "identifier": str(uuid.uuid4()), **given}
    if "session_start_time" not in session:
        session["session_start_time"] = when or datetime.now().astimezone()
        what = "the modification time of the source" if when else "now"
        warnings.warn(
            f"session_start_time is set to {what}, {session['session_start_time']:%Y-%m-%d %H:%M}; "
            "give NWBFile: session_start_time in the metadata (--metadata FILE.yaml)",
            SimulationOutputWarning,
            stacklevel=2,
        )
    nwbfile: NWBFile = _make(NWBFile, "NWBFile", session)
    if "Subject" in metadata:
        nwbfile.subject = _make(Subject, "Subject", metadata["Subject"])
    return nwbfile


def add_simulation_metadata(
    nwbfile: NWBFile,
    run: Mapping[str, Any],
    tables: Sequence[Compartments],
    provenance: Mapping[str, Any],
) -> None:
    """Add to a file how a run was made, and the tables and provenance of what it recorded.

    A file that has these of another run gets the tables and the provenance too. It keeps what it
    says of the run, with a warning where this one says otherwise.

    Raises
    ------
    MetadataError
        If a key or value of ``run`` is not one that the type has, or is not for metadata to give.

    """
    own = {"compartments": tables, "provenance": json.dumps(provenance)}
    if forbidden := {*own, "name"} & set(run):
        msg = f"SimulationMetaData: {', '.join(sorted(forbidden))} cannot be set by metadata"
        raise MetadataError(msg)
    known = nwbfile.lab_meta_data.get("simulation")
    if known is None:
        nwbfile.add_lab_meta_data(_make(SimulationMetaData, "SimulationMetaData", {**run, **own}))
        return
    for table in tables:
        known.add_compartments(table)
    _add_facts(known, run)
    known.fields["provenance"] = json.dumps(_joined(json.loads(known.provenance), provenance))


def _add_facts(known: SimulationMetaData, run: Mapping[str, Any]) -> None:
    for name, value in run.items():
        kept = getattr(known, name)
        if kept is None:
            setattr(known, name, value)
        elif kept != value:
            warnings.warn(
                f"{name} is {value} in what is added to a file where it is {kept}, which is kept",
                SimulationOutputWarning,
                stacklevel=2,
            )


def _joined(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Give the provenance of what two runs recorded; of the runs as a whole, that of the first."""
    both = {**second, **first}
    for name in ("series", "groups"):
        if name in both:
            both[name] = {**first.get(name, {}), **second.get(name, {})}
    for name in ("files", "spikes"):
        if name in both:
            both[name] = [*first.get(name, []), *second.get(name, [])]
    return both


def _load(path: Path) -> Mapping[str, Any]:
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        msg = f"{path} cannot be read as YAML: {error}"
        raise MetadataError(msg) from error
    if not isinstance(content, Mapping):
        msg = f"{path} holds {type(content).__name__}; expected the sections {', '.join(_SECTIONS)}"
        raise MetadataError(msg)
    return content


def _value(key: str, value: Any) -> Any:
    if key not in _DATES:
        return value
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            msg = f"{key} is {value!r}; expected an ISO date such as 2026-01-31T12:00:00+01:00"
            raise MetadataError(msg) from error
    if not isinstance(value, datetime):
        msg = f"{key} is {value!r}; expected a date with its time"
        raise MetadataError(msg)
    return value if value.tzinfo else value.astimezone()


def _make(kind: Any, section: str, arguments: Mapping[str, Any]) -> Any:
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        msg = f"section {section} of the metadata does not fit NWB: {error}"
        raise MetadataError(msg) from error
