"""NWB files of the ranks of a job become one file; one NWB file is written again."""

import gc
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from pynwb import NWBHDF5IO, TimeSeries, validate

from ndx_simulation_output import convert, export_sonata, open_output
from ndx_simulation_output.cli import main
from ndx_simulation_output.errors import (
    ShapeMismatchError,
    SimulationOutputWarning,
    SourceError,
    TargetExistsError,
)
from ndx_simulation_output.info import facts_of
from ndx_simulation_output.nwb import reader
from ndx_simulation_output.nwb.checks import check_file
from ndx_simulation_output.nwb.stream import stream
from ndx_simulation_output.recording import (
    CompartmentTable,
    SimulationOutput,
    Spikes,
    StreamedReport,
    Unit,
)
from ndx_simulation_output.storage.layout import StorageOptions
from tests.sonata.making import SESSION as START
from tests.sonata.making import report as sonata_report

SESSION: dict[str, dict[str, Any]] = {
    "NWBFile": {**START["NWBFile"], "lab": "of cells", "keywords": ["model", "cortex"]},
    "Subject": {"subject_id": "model", "species": "Mus musculus", "sex": "U", "age": "P0D"},
    "SimulationMetaData": {"simulator": "NEURON", "time_step": 1e-4},
}
COUNTS = {7: 3, 3: 1, 12: 2, 5: 40, 1: 2}
RANKS = [[7, 3], [12], [5, 1]]
EVERYONE = [cell for cells in RANKS for cell in cells]


def table(cells: list[int]) -> CompartmentTable:
    counts = np.array([COUNTS[cell] for cell in cells])
    numbers = np.concatenate([np.arange(count) for count in counts])
    labels = np.array([f"dend[{number}]" for number in numbers], object)
    columns = {"number": numbers, "position": numbers / 50, "label": labels}
    return CompartmentTable.from_counts("exc", np.array(cells), counts, columns)


def values(cells: list[int], rows: int) -> np.ndarray:
    """Give values that say cell, compartment and time."""
    described = table(cells)
    columns = 1000 * described.column_cells() + described.columns["number"]
    return (columns + np.arange(rows)[:, np.newaxis] / 1024).astype("f4")


def write(path: Path, cells: list[int], rows: int = 300, **options: Any) -> Path:
    """Write what a rank streams: all compartments of its cells, their somata, their spikes."""
    somata = CompartmentTable.from_counts(
        "exc", np.array(cells), np.ones(len(cells), int), {"number": np.zeros(len(cells), int)}
    )
    reports = [
        StreamedReport("v", table(cells), rate=1e4, start=0.1, unit=Unit("volts", 1e-3)),
        StreamedReport("ca", somata, rate=1e3, dtype="f8"),
    ]
    options = {"metadata": SESSION, **options}
    with stream(path, reports, **options) as file:
        file.append("v", values(cells, rows))
        file.append("ca", np.full((5, len(cells)), 0.25))
        times = np.array([0.1, 0.3]).repeat(len(cells)) + np.tile(cells, 2) / 1000
        file.add_spikes(Spikes("exc", np.tile(cells, 2), times))
    return path


@pytest.fixture
def ranks(tmp_path) -> list[Path]:
    storages = [
        StorageOptions(compression="gzip"),
        StorageOptions(),
        StorageOptions(chunks=(70, 3)),
    ]
    return [
        write(tmp_path / f"run.{rank}.nwb", cells, storage=storages[rank])
        for rank, cells in enumerate(RANKS)
    ]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"storage": StorageOptions(compression="gzip"), "workers": 0},
        {"storage": StorageOptions(chunks="contiguous")},
        {"storage": StorageOptions(chunks=(7, 4), memory=2**20)},
        {"storage": StorageOptions(access="cells")},
    ],
    ids=str,
)
def test_files_of_ranks_are_as_the_file_of_one_process(ranks, options, tmp_path):
    whole = write(tmp_path / "whole.nwb", EVERYONE)

    converted = convert(ranks, tmp_path / "run.nwb", **options)

    assert converted.notes == ()
    assert not validate(path=converted.path)
    with open_output(converted.path) as found, open_output(whole) as expected:
        assert [report.name for report in found.reports] == ["v", "ca"]
        assert (found.run, found.session) == (expected.run, expected.session)
        for one, other in zip(found.reports, expected.reports, strict=True):
            assert (one.unit, one.times, one.data.dtype) == (
                other.unit,
                other.times,
                other.data.dtype,
            )
            np.testing.assert_array_equal(one.get_traces(), other.get_traces())
            np.testing.assert_array_equal(one.compartments.cell_ids, other.compartments.cell_ids)
        np.testing.assert_array_equal(
            found["v"].get_traces(cells=[1, 7]), expected["v"].get_traces(cells=[1, 7])
        )
        labels = [one["v"].select(cells=5).columns["label"] for one in (found, expected)]
        assert labels[0].tolist() == labels[1].tolist()
        (spikes,), (others,) = found.spikes, expected.spikes
        assert spikes.node_ids.tolist() == others.node_ids.tolist()
        assert spikes.times.tolist() == others.times.tolist()


def open_files() -> set[str]:
    return {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}


def test_files_of_more_ranks_than_a_process_may_open_are_read(ranks, tmp_path, monkeypatch):
    with open_output(ranks) as output:
        expected = facts_of(output), output["v"].get_traces(cells=[5, 3]), output.spikes[0].times
    monkeypatch.setattr(reader, "_MOST_OPEN", 2)
    gc.collect()  # Mapped files are closed with the last reference to them.

    with open_output(ranks) as output:
        if Path("/proc/self/fd").exists():
            assert not open_files() & set(map(str, ranks))
        assert facts_of(output) == expected[0]
        np.testing.assert_array_equal(output["v"].get_traces(cells=[5, 3]), expected[1])
        np.testing.assert_array_equal(output.spikes[0].times, expected[2])
        ranks[2].touch()
        with pytest.raises(SourceError, match=r"run\.2\.nwb has changed since it was opened"):
            convert(output, tmp_path / "run.nwb")
    with pytest.raises(SourceError, match=r"run\.0\.nwb is closed: what was opened from it"):
        output["v"].get_traces()


def test_many_spikes_of_many_ranks_are_not_read_when_they_are_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "_MOST_OPEN", 2)
    spikes = [
        Spikes("exc", np.repeat(np.arange(rank, 9, 3), 30_000), np.tile(np.arange(30_000) / 1e4, 3))
        for rank in range(3)
    ]
    paths = [tmp_path / f"run.{rank}.nwb" for rank in range(3)]
    for path, one in zip(paths, spikes, strict=True):
        convert(SimulationOutput(spikes=(one,)), path, metadata=SESSION)
    gc.collect()

    with open_output(paths) as output:
        if Path("/proc/self/fd").exists():
            assert not open_files() & set(map(str, paths))
        (found,) = output.spikes
        merged = convert(output, tmp_path / "run.nwb").path
        assert "270,000 spikes" in repr(output)
        assert found.select(4).times.tolist() == spikes[1].times[:30_000].tolist()
        assert not found.is_read
    with open_output(merged) as output:
        assert output.spikes[0].node_ids.tolist() == np.repeat(np.arange(9), 30_000).tolist()
        assert output.spikes[0].times.tolist() == [*spikes[0].times] * 3
    with pytest.raises(SourceError, match=r"run\.0\.nwb is closed: what was opened from it"):
        found.times  # noqa: B018


def test_nothing_wrong_is_found_in_the_file(ranks, tmp_path):
    path = convert(ranks, tmp_path / "run.nwb").path

    assert [found for found in check_file(path) if found.severity == "error"] == []
    with NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        assert len(nwbfile.units) == 5
        assert nwbfile.keywords[:].tolist() == ["model", "cortex"]
        assert nwbfile.subject.subject_id == "model"


def test_several_files_are_read_as_one_without_writing(ranks):
    with open_output(ranks) as output:
        np.testing.assert_array_equal(output["v"].data[0:9, 0:48], values(EVERYONE, 9))


def test_files_may_be_zarr_stores_and_become_one(ranks, tmp_path):
    pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is not installed")
    store = convert(ranks[1], tmp_path / "run.1.nwb.zarr").path

    path = convert([ranks[0], store, ranks[2]], tmp_path / "run.nwb.zarr").path

    with open_output(path) as output:
        np.testing.assert_array_equal(output["v"].data[0:300, 0:48], values(EVERYONE, 300))


def test_one_file_is_written_again_stored_otherwise(ranks, tmp_path):
    again = convert(
        ranks[0], tmp_path / "again.nwb", storage=StorageOptions(compression="gzip", chunks=(50, 2))
    ).path

    with h5py.File(again) as file:
        data = file["acquisition/v/data"]
        assert (data.chunks, data.compression) == ((50, 2), "gzip")
    with open_output(again) as found, open_output(ranks[0]) as expected:
        assert found.session == expected.session
        np.testing.assert_array_equal(found["v"].get_traces(), expected["v"].get_traces())


def test_a_file_that_is_written_again_goes_back_to_sonata_as_before(tmp_path):
    sonata_report().write(tmp_path / "v.h5")
    first = convert(tmp_path / "v.h5", tmp_path / "first.nwb", metadata=START).path

    again = convert(first, tmp_path / "again.nwb", storage=StorageOptions(compression="gzip")).path
    (found,) = export_sonata(again, tmp_path / "sonata").files

    with h5py.File(found) as file, h5py.File(tmp_path / "v.h5") as expected:
        names: list[str] = []
        expected.visit(names.append)
        for name in names:
            assert name in file
            assert dict(file[name].attrs) == pytest.approx(dict(expected[name].attrs))
            if isinstance(file[name], h5py.Dataset):
                np.testing.assert_array_equal(file[name], expected[name])


def test_metadata_that_are_given_stand_over_those_of_the_file(ranks, tmp_path):
    given = {"NWBFile": {"lab": "of others"}, "Subject": {"sex": "F"}}

    path = convert(ranks, tmp_path / "run.nwb", metadata=given).path

    with open_output(path) as output:
        assert output.session["NWBFile"]["lab"] == "of others"
        assert output.session["Subject"]["sex"] == "F"
        assert output.session["Subject"]["age"] == "P0D"


def test_metadata_that_differ_are_those_of_the_first_with_a_warning(tmp_path):
    first = write(tmp_path / "a.nwb", [7])
    other = {**SESSION, "NWBFile": {**SESSION["NWBFile"], "lab": "of others"}}
    second = write(tmp_path / "b.nwb", [3], metadata=other)

    with pytest.warns(SimulationOutputWarning, match=r"lab is of others in .*b\.nwb and of cells"):
        path = convert([first, second], tmp_path / "run.nwb").path

    with open_output(path) as output:
        assert output.session["NWBFile"]["lab"] == "of cells"


def test_a_rank_that_was_killed_is_an_error_that_says_how_far_each_came(ranks, tmp_path):
    write(ranks[1], RANKS[1], rows=120, overwrite=True)

    with pytest.raises(
        ShapeMismatchError, match=r"'v' .*: 300 in \S*run\.0\.nwb, 120 in \S*run\.1\.nwb, 300 in"
    ):
        convert(ranks, tmp_path / "run.nwb")

    assert not (tmp_path / "run.nwb").exists()


def test_a_cell_of_two_ranks_is_an_error_that_names_both_files(ranks, tmp_path):
    twice = write(tmp_path / "twice.nwb", [5])

    with pytest.raises(
        SourceError, match=r"cell 5 of report 'v' is in \S*run\.2\.nwb and in \S*tw"
    ):
        convert([*ranks, twice], tmp_path / "run.nwb")


def test_sonata_and_nwb_are_not_merged(ranks, tmp_path):
    sonata_report().write(tmp_path / "v.h5")

    with pytest.raises(
        SourceError, match=r"v\.h5 is not an NWB file; only NWB files can be merged"
    ):
        convert([ranks[0], tmp_path / "v.h5"], tmp_path / "run.nwb")


def test_what_an_nwb_file_says_itself_cannot_be_given(ranks, tmp_path):
    with pytest.raises(
        SourceError, match=r"cannot be set for .*run\.0\.nwb: an NWB file states its units"
    ):
        convert(ranks, tmp_path / "run.nwb", unit={"v": "mV"})
    with pytest.raises(SourceError, match=r"^nodes and properties cannot be set for"):
        convert(ranks, tmp_path / "run.nwb", nodes=False, properties=[])


def test_a_file_cannot_be_written_over_itself(ranks):
    with pytest.raises(TargetExistsError, match="is the source"):
        convert(ranks, ranks[2], overwrite=True)


def test_the_command_line_merges(ranks, tmp_path):
    target = tmp_path / "run.nwb"
    words = ["convert", *map(str, ranks), str(target), "--compression", "gzip"]

    planned = CliRunner().invoke(main, [*words, "--plan"])
    done = CliRunner().invoke(main, words)

    assert "v: 300 × 48" in planned.output
    assert done.output == f"wrote {target}\n"
    with open_output(target) as output:
        assert output["v"].data.shape == (300, 48)


def test_what_is_not_described_is_left_out_with_a_note(ranks, tmp_path):
    with NWBHDF5IO(ranks[0], "a") as io:
        nwbfile = io.read()
        nwbfile.add_stimulus(TimeSeries(name="clamp", data=np.zeros(3), unit="amperes", rate=1.0))
        nwbfile.add_epoch(start_time=0.0, stop_time=1.0)
        io.write(nwbfile)

    converted = convert(ranks[:2], tmp_path / "run.nwb")

    assert [note.rpartition(": ")[2] for note in converted.notes] == [
        "clamp is a TimeSeries",
        "epochs is a TimeIntervals",
    ]
