"""Read and write extracellular potentials."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from ndx_simulation_output.errors import ShapeMismatchError, SourceError
from ndx_simulation_output.files import AtomicFile
from ndx_simulation_output.recording import Electrodes, ExtracellularPotential, LazyArray, Times
from ndx_simulation_output.recording.views import Transposed
from ndx_simulation_output.sonata.files import (
    TRIPLE,
    attribute_text,
    attributes_from_json,
    child,
    child_group,
    describe_group,
    first_dataset,
    float_column,
    implied_rows,
    integer_column,
    place,
    read_ids,
    read_text_table,
    read_times,
    regular_times,
    typed_column,
)
from ndx_simulation_output.sonata.options import ReadOptions
from ndx_simulation_output.sonata.write_reports import restore_units, write_data, write_time
from ndx_simulation_output.storage.reading import wrap_array

# Extracellular potentials, and the electrodes whose positions stand in a file beside them.

_POSITIONS = ("x_pos", "y_pos", "z_pos")


def read_potential(
    file: h5py.File, name: str, electrodes: Electrodes | None, options: ReadOptions
) -> ExtracellularPotential:
    """Describe ``/ecp``.

    The guide says channels × time, all files found are time × channels: both are read, and a
    square array is what the files are.

    Raises
    ------
    SourceError
        If a dataset is missing.
    ShapeMismatchError
        If the data fit neither way.

    """
    group = child_group(file, "ecp")
    data = first_dataset(group, "data")
    channels = read_ids(first_dataset(group, "channel_id"))
    oriented = _as_time_by_channel(data, len(channels))
    times, facts = _times(group, oriented.shape[0], name, options)
    unit = options.data_unit((name,), attribute_text(data, "units", "unit"), None, place(data))
    provenance = {
        **describe_group(group),
        "dialect": "allen",
        "rows": oriented.shape[0],
        **facts,
    }
    return ExtracellularPotential(name, oriented, times, channels, unit, electrodes, provenance)


def is_contribution(file: h5py.File) -> bool:
    """Tell whether ``/ecp`` is what one cell adds, which bmtk writes without channels and time."""
    group = child(file, "ecp")
    return isinstance(group, h5py.Group) and not {"channel_id", "time"} & set(group)


def read_electrodes(path: Path) -> Electrodes:
    """Read a text file with a header ``channel x_pos y_pos z_pos``, positions in micrometres.

    Raises
    ------
    SourceError
        If it cannot be parsed or lists a channel twice.

    """
    try:
        frame = read_text_table(path)
        ids = integer_column(frame, "channel")
        positions = np.stack([float_column(frame, name) for name in _POSITIONS], axis=1)
    except (ValueError, KeyError) as error:
        msg = f"{path} cannot be read as electrodes (channel x_pos y_pos z_pos): {error}"
        raise SourceError(msg) from error
    if len(np.unique(ids)) != len(ids):
        msg = f"{path} lists a channel more than once"
        raise SourceError(msg)
    extras = [column for column in frame.columns if column not in {"channel", *_POSITIONS}]
    columns = {column: typed_column(frame, column) for column in extras}
    return Electrodes(ids, positions, columns, {"file": path.name})


def _as_time_by_channel(data: h5py.Dataset, n_channels: int) -> LazyArray:
    if data.dtype.kind in "iuf" and data.ndim == 2 and data.shape[1] == n_channels:
        return wrap_array(data)
    if data.dtype.kind in "iuf" and data.ndim == 2 and data.shape[0] == n_channels:
        return Transposed(wrap_array(data))
    found = f"type {data.dtype} and shape {data.shape}"
    msg = f"{place(data)} has {found} but there are {n_channels} channels"
    raise ShapeMismatchError(msg)


def _times(
    group: h5py.Group, rows: int, name: str, options: ReadOptions
) -> tuple[Times, dict[str, Any]]:
    if "time" not in group:
        if options.dt is None:
            msg = f"{place(group)} has no time; set the time step in ms with --dt (dt=…)"
            raise SourceError(msg)
        return regular_times(0.0, options.dt, rows, 1e-3, place(group)), {}
    time = first_dataset(group, "time")
    stated = attribute_text(time, "units", "unit")
    seconds = options.seconds((name,), stated, place(time), expected=True)
    times = read_times(time, rows, seconds)
    if len(time) != TRIPLE:
        return times, {}
    triple = [float(value) for value in time[:]]
    return times, {"time": triple, "implied_rows": implied_rows(triple)}


# Write extracellular potentials and the positions of their electrodes.


def write_potential(
    file: AtomicFile,
    potential: ExtracellularPotential,
    left_out: list[str],
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write ``/ecp``, time × channels as all files found have it."""
    facts = potential.provenance if potential.provenance.get("format") == "SONATA" else {}
    group = file.create_group("ecp")
    stored = write_data(
        group, potential.data, potential.unit, facts, left_out, file.path, progress=progress
    )
    dtype = facts.get("dtypes", {}).get("channel_id", "<i8")
    channels = np.asarray(potential.channel_ids).astype(dtype)
    dataset = group.create_dataset("channel_id", data=channels)
    write_time(group, potential.times, facts, "time", stated=True)
    attributes = facts.get("attributes", {})
    attributes_from_json(group, attributes.get(".", {}))
    attributes_from_json(dataset, attributes.get("channel_id", {}))
    restore_units(stored, potential.unit, attributes.get("data", {}))


def electrodes_text(electrodes: Electrodes) -> str:
    """Give the text of the file of electrodes: ``channel x_pos y_pos z_pos`` and more columns."""
    frame = pd.DataFrame({"channel": electrodes.ids})
    for index, axis in enumerate(("x_pos", "y_pos", "z_pos")):
        frame[axis] = electrodes.positions[:, index]
    for name, values in electrodes.columns.items():
        frame[name] = values
    return str(frame.to_csv(sep=" ", index=False))
