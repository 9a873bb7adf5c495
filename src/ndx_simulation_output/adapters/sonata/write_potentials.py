"""Write extracellular potentials and the positions of their electrodes."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from ndx_simulation_output.adapters.sonata.hdf5 import attributes_from_json
from ndx_simulation_output.adapters.sonata.write_reports import (
    restore_units,
    write_data,
    write_time,
)
from ndx_simulation_output.files import WholeFile
from ndx_simulation_output.recording import Electrodes, ExtracellularPotential

__all__ = ["electrodes_text", "write_potential"]


def write_potential(
    file: WholeFile,
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
