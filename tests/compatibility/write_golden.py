"""Write the golden files of version 0.3.0 beside this script, under ``golden/``.

Run as ``python tests/compatibility/write_golden.py`` with the release that the files are to stand
for, once: a golden file is never rewritten. The others came from the writers in their names:

- ``p026_*``: ndx-simulation-output 0.2.6 with pynwb 1.1.2 and 2.0.0, the table in acquisition
  (``acq``) or in the metadata of the simulation (``lab``);
- ``simout020_*``: the older namespace ``simulation_output`` 0.2.0 with pynwb 1.0.1.

These hold the types of the namespace alone. What converters, streams, savers and simulators of
0.3.0 write is in ``golden/v030/``, from the scripts ``write_v030*.py``; see ``README.md``.
"""

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from pynwb import NWBHDF5IO, NWBFile

from ndx_simulation_output import Compartments, CompartmentSeries, SimulationMetaData

GOLDEN = Path(__file__).parent / "golden"


def full_table() -> Compartments:
    """Three cells with 3, 0 and 2 compartments, and every column that the schema knows."""
    return Compartments.from_arrays(
        number=np.array([0, 1, 2, 0, 5]),
        counts=np.array([3, 0, 2]),
        id=np.array([12, 4, 7]),
        population="cortex",
        position=np.array([0.5, 0.25, 0.75, 0.5, np.nan]),
        label=["soma", "dendrite µ", "axon", "soma", "apical"],
        x=np.array([0.0, 10.0, 20.0, -5.0, -15.0]),
        y=np.array([1.0, 11.0, 21.0, -4.0, -14.0]),
        z=np.array([2.0, 12.0, 22.0, -3.0, -13.0]),
        diameter=np.array([20.0, 2.0, 1.0, 15.0, 3.0]),
        excitability=np.array([1, 2, 3, 4, 5]),
        cell_columns={"cell_type": ["pyramidal", "basket", "pyramidal"]},
    )


def small_table(name: str, population: str) -> Compartments:
    """Two cells with one compartment each."""
    return Compartments.from_arrays(
        number=np.array([0, 0]), counts=np.array([1, 1]), name=name, population=population
    )


def voltages(name: str, table: Compartments, columns: int) -> CompartmentSeries:
    """Four rows of single-precision millivolts that count up from -70."""
    data = np.arange(4 * columns, dtype=np.float32).reshape(4, columns) - 70
    return CompartmentSeries(
        name,
        data,
        compartments=table,
        unit="volts",
        conversion=1e-3,
        starting_time=0.5,
        rate=10000.0,
        description="Membrane potential",
    )


def write(name: str, acquisition: Iterable[Any], metadata: SimulationMetaData | None) -> None:
    """Write one golden file."""
    nwbfile = NWBFile("golden file", name, datetime(2026, 1, 1, tzinfo=timezone.utc))
    if metadata is not None:
        nwbfile.add_lab_meta_data(metadata)
    for item in acquisition:
        nwbfile.add_acquisition(item)
    with NWBHDF5IO(str(GOLDEN / f"{name}.nwb"), "w") as io:
        io.write(nwbfile)


def main() -> None:
    """Write every golden file of this version."""
    table = full_table()
    write("v030_acq", [table, voltages("v", table, 5)], None)
    table = full_table()
    run = SimulationMetaData(
        compartments=table,
        simulator="NEURON",
        simulator_version="8.2",
        time_step=2.5e-5,
        duration=0.0004,
        temperature=34.0,
        seed=42,
        configuration='{"run": {"dt": 0.025}}',
        provenance="{}",
    )
    write("v030_lab", [voltages("v", table, 5)], run)
    tables = [small_table("compartments", "left"), small_table("others", "right")]
    series = [voltages(f"v_{table.population}", table, 2) for table in tables]
    write("v030_two_tables", series, SimulationMetaData(compartments=tables))


if __name__ == "__main__":
    main()
