"""Make what PyMoDAQ's file object finds in each file: the group of all data, and the log."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ndx_simulation_output.engine.appended import Appended, forget_journal
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.files import naming_target, whole_hdf5
from ndx_simulation_output.pymodaq.nodes import PLACE
from ndx_simulation_output.recording import ExportArray, ExportGroup
from ndx_simulation_output.recording.json_values import to_json

__all__ = ["LOG", "create_log", "open_file"]

LOG = "Logger"


def open_file(
    path: Path,
    raw: ExportGroup,
    session: Mapping[str, Any],
    *,
    new_file: bool,
) -> Appended:
    """Open a file to add to it, or make it, with the group of all data.

    Raises
    ------
    SourceError
        If a file is there and is not an NWB file, or one without the types of this package.
    MetadataError
        If ``session`` does not fit NWB.
    WriteError
        If the file cannot be written.

    """
    with naming_target(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if new_file or not path.exists():
            forget_journal(path)
            _make(path, raw, session)
    made = Appended(path)
    try:
        _complete(made.file, path, raw)
    except BaseException:
        made.close()
        raise
    return made


def _make(path: Path, raw: ExportGroup, session: Mapping[str, Any]) -> None:
    from pynwb import NWBHDF5IO

    from ndx_simulation_output.nwb.metadata import make_nwbfile, read_metadata

    start = {"session_start_time": datetime.now().astimezone()}
    given = read_metadata({"NWBFile": {**start, "identifier": str(uuid.uuid4()), **session}})
    nwbfile = make_nwbfile(given, "Data of instruments", None)
    with whole_hdf5(path, overwrite=True) as file:
        NWBHDF5IO(mode="w", file=file).write(nwbfile)
        _add_raw(file, raw)


def _add_raw(file: h5py.File, raw: ExportGroup) -> None:
    from ndx_simulation_output.nwb.exports import create_group

    create_log(create_group(file[PLACE], raw), LOG)


def _complete(file: h5py.File, path: Path, raw: ExportGroup) -> None:
    """Add the group of all data to an NWB file that has none, if it knows our types."""
    from ndx_simulation_output.nwb.types import NAMESPACE

    if "nwb_version" not in file.attrs:
        msg = f"{path} is not an NWB file; expected one, or a name that is free"
        raise SourceError(msg)
    if raw.name in file[PLACE]:
        return
    if f"specifications/{NAMESPACE}" not in file:
        msg = (
            f"{path} has no group {raw.name} and does not know the types of {NAMESPACE}; "
            "expected a file of this package, or a name that is free"
        )
        raise SourceError(msg)
    _add_raw(file, raw)


def create_log(
    group: h5py.Group, name: str, title: str = "", metadata: Mapping[str, Any] | None = None
) -> h5py.Dataset:
    """Make an array of texts that grows."""
    from ndx_simulation_output.nwb.exports import create_array

    extra = {key: to_json(value) for key, value in (metadata or {}).items()}
    log = ExportArray(name, np.zeros(0, object), role="log", title=title, grows=True, extra=extra)
    return create_array(group, log, (0,), np.dtype(object))
