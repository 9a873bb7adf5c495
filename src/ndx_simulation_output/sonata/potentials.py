"""Read and write extracellular potentials."""

from collections.abc import Callable

import h5py
import numpy as np

from ndx_simulation_output.errors import ShapeMismatchError
from ndx_simulation_output.files import AtomicFile
from ndx_simulation_output.recording import Electrodes, ExtracellularPotential, LazyArray
from ndx_simulation_output.recording.views import Transposed
from ndx_simulation_output.sonata.hdf5 import (
    attribute_text,
    attributes_from_json,
    child,
    child_group,
    describe_group,
    first_dataset,
    location,
    read_ids,
    sonata_provenance,
)
from ndx_simulation_output.sonata.series import read_times, write_data, write_times, write_unit
from ndx_simulation_output.sonata.units import ReadOptions
from ndx_simulation_output.storage.reading import wrap_array


def read_potential(
    file: h5py.File, name: str, electrodes: Electrodes | None, options: ReadOptions
) -> ExtracellularPotential:
    """Read ``/ecp``."""
    group = child_group(file, "ecp")
    data = first_dataset(group, "data")
    channels = read_ids(first_dataset(group, "channel_id"))
    oriented = _as_time_by_channel(data, len(channels))
    rows = oriented.shape[0]
    times, triple = read_times(group, rows, (name,), options, unit_expected=True)
    unit = options.data_unit((name,), attribute_text(data, "units", "unit"), None, location(data))
    provenance = {**describe_group(group), "dialect": "allen", "rows": rows, **triple}
    return ExtracellularPotential(name, oriented, times, channels, unit, electrodes, provenance)


def is_contribution(file: h5py.File) -> bool:
    """Return True if ``/ecp`` has no channels and no time, as bmtk's contribution of one cell."""
    group = child(file, "ecp")
    return isinstance(group, h5py.Group) and not {"channel_id", "time"} & set(group)


def _as_time_by_channel(data: h5py.Dataset, n_channels: int) -> LazyArray:
    """Return the data as time × channel.

    The SONATA guide specifies channel × time, but all known files are time × channel. A square
    array is therefore read as time × channel.
    """
    if data.dtype.kind in "iuf" and data.ndim == 2 and data.shape[1] == n_channels:
        return wrap_array(data)
    if data.dtype.kind in "iuf" and data.ndim == 2 and data.shape[0] == n_channels:
        return Transposed(wrap_array(data))
    msg = (
        f"{location(data)} has type {data.dtype} and shape {data.shape}; expected numbers (time, "
        f"channel) of {n_channels} channels"
    )
    raise ShapeMismatchError(msg)


def write_potential(
    file: AtomicFile,
    potential: ExtracellularPotential,
    *,
    left_out: list[str],
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write ``/ecp``, time × channel."""
    provenance = sonata_provenance(potential.provenance)
    attributes = provenance.get("attributes", {})
    group = file.create_group("ecp")
    stored = write_data(
        file,
        group,
        potential.data,
        potential.unit,
        provenance,
        left_out,
        dialect="allen",
        progress=progress,
    )
    dtype = provenance.get("dtypes", {}).get("channel_id", "<i8")
    channels = np.asarray(potential.channel_ids).astype(dtype)
    dataset = group.create_dataset("channel_id", data=channels)
    write_times(group, potential.times, provenance, "time", unit_expected=True)
    attributes_from_json(group, attributes.get(".", {}))
    attributes_from_json(dataset, attributes.get("channel_id", {}))
    write_unit(stored, potential.unit, attributes.get("data", {}))
