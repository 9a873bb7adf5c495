"""Extracellular potentials, and the electrodes whose positions stand in a file beside them."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ndx_simulation_output.adapters.sonata.hdf5 import (
    attribute_text,
    child,
    child_group,
    describe_group,
    first_dataset,
    place,
    read_ids,
)
from ndx_simulation_output.adapters.sonata.options import ReadOptions
from ndx_simulation_output.adapters.sonata.text import (
    float_column,
    integer_column,
    read_text_table,
    typed_column,
)
from ndx_simulation_output.adapters.sonata.times import (
    TRIPLE,
    implied_rows,
    read_times,
    regular_times,
)
from ndx_simulation_output.engine.reading import as_array
from ndx_simulation_output.errors import ShapeMismatchError, SourceError
from ndx_simulation_output.recording import (
    Electrodes,
    ExtracellularPotential,
    LazyArray,
    Times,
)
from ndx_simulation_output.recording.views import Transposed

__all__ = ["is_contribution", "read_electrodes", "read_potential"]

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
        return as_array(data)
    if data.dtype.kind in "iuf" and data.ndim == 2 and data.shape[0] == n_channels:
        return Transposed(as_array(data))
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
