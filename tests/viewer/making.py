"""Small NWB files for the viewer."""

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np

from ndx_simulation_output.nwb import writer
from ndx_simulation_output.recording import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
    Categories,
    Circuit,
    CompartmentTable,
    ExtracellularPotential,
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    RegularTimes,
    Report,
    SimulationOutput,
    Spikes,
    Timestamps,
    Unit,
)

CELLS = np.array([3, 7, 12])
ROWS = 2000


def table(*, with_places: bool = True, population: str = "exc") -> CompartmentTable:
    """Return three cells of four compartments each, two in each of two sections."""
    columns = {
        "number": np.tile([0, 0, 1, 1], 3),
        "position": np.tile([0.25, 0.75, 0.25, 0.75], 3),
    }
    if with_places:
        columns["x"] = np.repeat([0.0, 50.0, 100.0], 4) + np.tile([0.0, 10.0, 20.0, 30.0], 3)
        columns["y"] = np.tile([0.0, 5.0, 40.0, 80.0], 3)
        columns["z"] = np.tile([0.0, -5.0, 10.0, 25.0], 3)
        columns["diameter"] = np.tile([12.0, 10.0, 3.0, 1.0], 3)
    return CompartmentTable.from_counts(population, CELLS, np.full(3, 4), columns)


def values(shift: float = 0.0) -> np.ndarray:
    """Return sine waves with increasing phase, and a spike of one sample."""
    time = np.arange(ROWS)[:, np.newaxis]
    found = -65 + 10 * np.sin(0.01 * time - 0.3 * np.arange(12)) + shift
    found[1234, 5] = 40.0 + shift
    return found.astype("f4")


def a_run(
    path: Path, *, shift: float = 0.0, with_places: bool = True, rows: int = ROWS, name: str = "v"
) -> Path:
    """Write a run with two reports, one at irregular times, and spikes."""
    cells = table(with_places=with_places)
    irregular = Timestamps(np.sqrt(np.arange(300.0)) / 10)
    output = SimulationOutput(
        reports=(
            Report(name, "v", values(shift)[:rows], RegularTimes(0.0, 10_000.0, rows), cells,
                   Unit("volts", 1e-3)),
            Report("ca", "ca", values()[:300], irregular, cells, Unit("unknown")),
        ),
        spikes=(Spikes("exc", np.array([3, 12, 3, 7]), np.array([0.01, 0.02, 0.15, 0.1])),),
    )  # fmt: skip
    session = {"NWBFile": {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}}
    writer.write(output, path, metadata=session, overwrite=True)
    return path


def a_circuit(path: Path) -> Path:
    """Write a run whose cells have layers, places and a node set; cell 20 is silent."""
    known = table(with_places=False)
    layers = Categories(np.array([1, 0, 1]), ("L4", "L2"))
    places = {"x": np.array([0.0, 40.0, 80.0]), "y": np.zeros(3), "z": np.array([0.0, 9.0, 30.0])}
    sets = {"upper": {"layer": "L2"}}
    known = replace(known, cell_columns={"layer": layers, **places})
    times = np.array([0.01, 0.02, 0.15, 0.1])
    spikes = Spikes("exc", np.array([3, 12, 3, 7]), times, silent=np.array([20]), cells=known.cells)
    later = RegularTimes(0.01, 10_000.0, ROWS)
    report = Report("v", "v", values(), later, known, Unit("volts", 1e-3))
    session = {"NWBFile": {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}}
    output = SimulationOutput((report,), (spikes,), circuit=Circuit(node_sets=sets))
    writer.write(output, path, metadata=session, overwrite=True)
    return path


def a_mixture(path: Path) -> Path:
    """Write extracellular channels, the state of a network and arrays with axes."""
    channels = values()[:, :4].astype("f8")
    grid = np.arange(12.0).reshape(3, 4)
    scan = (
        ArrayAxis("x", np.array([0.0, 1.0, 5.0, 2.0]), "x", "mm", spread_order=0),
        ArrayAxis("y", np.array([2.0, 3.0, 4.0, 5.0]), "y", "mm", spread_order=1),
    )
    arrays = (
        ArrayGroup(
            "camera",
            (ArrayWithAxes("image", grid, label="counts", unit="V"),),
            (
                ArrayAxis("up", np.array([0.5, 1.0, 1.5]), "up", "um", index=0),
                ArrayAxis("along", np.arange(4.0), "along", "um", index=1),
            ),
        ),
        ArrayGroup("line", (ArrayWithAxes("current", grid[2], label="current", unit="A"),)),
        ArrayGroup("scan", (ArrayWithAxes("power", grid[1], label="power", unit="W"),), scan),
        ArrayGroup("one", (ArrayWithAxes("level", np.array([7.5]), label="level", unit="K"),)),
    )
    output = SimulationOutput(
        potentials=(
            ExtracellularPotential(
                "ecp", channels, RegularTimes(0.0, 10_000.0, ROWS), np.array([2, 5, 9, 4]),
                Unit("volts"),
            ),
        ),
        networks=(
            NetworkSnapshot(
                "net",
                (
                    PopulationSnapshot(
                        "sheet", (2, 3),
                        (Quantity("tau", np.full(6, 20.0), kind="parameter"),
                         Quantity("v", np.arange(6.0), kind="variable")),
                    ),
                    PopulationSnapshot("row", (5,), (Quantity("r", np.arange(5.0)[::-1]),)),
                ),
                (
                    ProjectionSnapshot(
                        "to_row", np.array([1, 4]), np.array([2, 3]), np.array([0, 3, 5]),
                        (Quantity("w", np.array([0.1, 0.2, 0.4])),
                         Quantity("gain", np.float64(2.0), "shared")),
                        pre="sheet", post="row", delays=np.array([1e-3, 2e-3, 3e-3]), weight="w",
                    ),
                ),
                time=0.25,
            ),
        ),
        arrays=arrays,
    )  # fmt: skip
    session = {"NWBFile": {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}}
    writer.write(output, path, metadata=session, overwrite=True)
    return path


HOSTILE = "<img src=x onerror=alert(1)>"
"""A name that is a script for a page that does not escape it."""


def a_hostile_run(path: Path) -> Path:
    """Write a file of which all names, units, descriptions and texts are scripts."""
    script = f"{HOSTILE}<script>alert(2)</script>\"'><svg onload=alert(3)>"
    unit, steps = Unit(script), RegularTimes(0.0, 10_000.0, ROWS)
    axis = ArrayAxis(HOSTILE, np.arange(3.0), script, script, index=0)
    sheet = PopulationSnapshot(HOSTILE, (2, 3), (Quantity(HOSTILE, np.arange(6.0), unit=unit),))
    row = ProjectionSnapshot(
        HOSTILE, np.array([1]), np.array([2]), np.array([0, 2]),
        (Quantity(HOSTILE, np.array([0.1, 0.2]), unit=unit),), pre=HOSTILE, post=HOSTILE,
    )  # fmt: skip
    output = SimulationOutput(
        reports=(Report(HOSTILE, script, values(), steps, table(population=script), unit),),
        spikes=(Spikes(script, np.array([3, 12]), np.array([0.01, 0.02])),),
        potentials=(
            ExtracellularPotential(HOSTILE, values()[:, :2].astype("f8"), steps, np.array([2, 5]),
                                   Unit("volts")),
        ),
        networks=(NetworkSnapshot(HOSTILE, (sheet,), (row,), time=0.25),),
        arrays=(
            ArrayGroup(HOSTILE, (ArrayWithAxes(HOSTILE, np.arange(3.0), label=script, unit=script,
                                               ),), (axis,)),
        ),
    )  # fmt: skip
    session = {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}
    session |= {"session_description": script, "experiment_description": script}
    writer.write(output, path, metadata={"NWBFile": session}, overwrite=True)
    with h5py.File(path, "r+") as file:
        for found in (file, *file.values(), *file["acquisition"].values()):
            found.attrs[f"of {HOSTILE}"] = script
        file.create_dataset(f"{HOSTILE}/{HOSTILE}", data=[script, script])
        compound = np.zeros(2, [(HOSTILE, "f8"), ("text", "S60")])
        compound["text"] = HOSTILE
        file.create_dataset(f"{HOSTILE}/compound", data=compound)
        file[f"{HOSTILE}/link"] = h5py.SoftLink(f"/{HOSTILE}/compound")
    return path
