"""Outputs created in memory are written without change."""

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pynwb import NWBHDF5IO, NWBFile

from ndx_simulation_output import SimulationOutputWarning, convert, open_output
from ndx_simulation_output.cli import main
from ndx_simulation_output.nwb import writer
from ndx_simulation_output.nwb.mapping import add_in_memory
from ndx_simulation_output.recording import (
    CompartmentTable,
    ExtracellularPotential,
    RegularTimes,
    Report,
    SimulationOutput,
    Unit,
)
from tests.sonata.making import SESSION

NUMBER = {"number": np.zeros(2, np.int64)}


def test_start_and_rate_may_be_integers(tmp_path):
    path, values, times = tmp_path / "run.nwb", np.zeros((5, 2)), RegularTimes(0, 1000, 5)
    table = CompartmentTable.from_counts("exc", np.array([3, 7]), np.array([1, 1]), NUMBER)
    volts = Unit("volts")
    output = SimulationOutput(
        reports=(Report("v", "v", values, times, table, volts),),
        potentials=(ExtracellularPotential("ecp", values, times, np.array([0, 1]), volts),),
    )
    session = {"NWBFile": {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}}

    writer.write(output, path, metadata=session)

    with NWBHDF5IO(path, "r") as io:
        for series in io.read().acquisition.values():
            if hasattr(series, "rate"):
                assert (series.starting_time, series.rate) == (0.0, 1000.0)


NOTES = ("left out: x", "y of v.h5 has\ntwo lines")


def _stored(path: Path) -> str | None:
    with open_output(path) as output:
        return output.session["NWBFile"].get("notes")


@pytest.mark.parametrize("name", ["run.nwb", "run.nwb.zarr"])
def test_notes_are_in_the_file_after_those_of_the_metadata_each_once(name, tmp_path):
    if name.endswith(".zarr"):
        pytest.importorskip("hdmf_zarr")
    session = {"NWBFile": {**SESSION["NWBFile"], "notes": "by hand:\n\n  seed 3\nseed 3"}}
    first, again = tmp_path / name, tmp_path / "again.nwb"

    convert(SimulationOutput(notes=NOTES), first, metadata=session)
    expected = session["NWBFile"]["notes"] + "\nleft out: x\ny of v.h5 has two lines"
    assert _stored(first) == expected

    convert(first, again, metadata=session)
    assert _stored(again) == expected
    told = {"NWBFile": {"notes": "another\nleft out: x"}}
    convert(first, again, metadata=told, overwrite=True)
    assert _stored(again) == f"{expected}\nanother"
    shown = CliRunner().invoke(main, ["info", str(again)], catch_exceptions=False).output
    assert shown.splitlines()[-2:] == ["note: y of v.h5 has two lines", "note: another"]


def test_a_file_without_notes_has_none(tmp_path):
    convert(SimulationOutput(), tmp_path / "run.nwb", metadata=SESSION)

    assert _stored(tmp_path / "run.nwb") is None


def test_notes_name_files_without_the_directories_of_this_machine(tmp_path):
    spaced = tmp_path / "my data, new"
    spaced.mkdir()
    notes = (
        f"left out: {spaced}/v.h5, as in {tmp_path}/w.h5 or '{tmp_path}/x.h5'",
        f"{spaced}/gone/z.h5 does not exist",
        "left out: /report/pop and https://example.org/a and 3 mV/s and/or / of a",
        "\0 and \ud800",
    )

    convert(SimulationOutput(notes=notes), tmp_path / "run.nwb", metadata=SESSION)

    assert _stored(tmp_path / "run.nwb") == (
        "left out: v.h5, as in w.h5 or 'x.h5'\ngone/z.h5 does not exist\n" + notes[2] + "\nand ?"
    )


def test_notes_of_merged_files_are_joined(tmp_path, recwarn):
    for name, notes in {"a.nwb": NOTES, "b.nwb": ("left out: x", "left out: z")}.items():
        convert(SimulationOutput(notes=notes), tmp_path / name, metadata=SESSION)

    convert([tmp_path / "a.nwb", tmp_path / "b.nwb"], tmp_path / "both.nwb")

    assert _stored(tmp_path / "both.nwb") == ("left out: x\ny of v.h5 has two lines\nleft out: z")
    assert not list(recwarn)


def test_notes_are_added_to_an_existing_nwb_file(tmp_path):
    start = datetime(2026, 1, 31, tzinfo=timezone.utc)
    nwbfile = NWBFile("a session", "id", start, notes="by hand")
    add_in_memory(nwbfile, SimulationOutput(notes=("left out: x",)))
    assert nwbfile.notes == "by hand\nleft out: x"

    with NWBHDF5IO(tmp_path / "run.nwb", "w") as io:
        io.write(NWBFile("a session", "id", start, notes="by hand"))
    with NWBHDF5IO(tmp_path / "run.nwb", "a") as io:
        nwbfile = io.read()
        with pytest.warns(SimulationOutputWarning, match="not added: left out: x"):
            add_in_memory(nwbfile, SimulationOutput(notes=("left out: x",)))
