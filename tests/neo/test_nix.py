"""NIX files that Neo writes for PyNN, BSB and others."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pynwb import NWBHDF5IO, NWBFile, validate

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.errors import (
    NothingRecordedError,
    SelectionError,
    SourceError,
    UnitError,
    UnitWarning,
)
from ndx_simulation_output.neo.nix import read
from ndx_simulation_output.recording import UNKNOWN, Timestamps, Unit, parse_unit
from tests.conftest import DATA
from tests.neo.making import Signal, Train, write_nix

GENUINE = DATA / "other" / "neo"
genuine = pytest.mark.skipif(
    not GENUINE.is_dir(), reason="no genuine files; set NDX_TEST_DATA to their directory"
)
RAMP = np.arange(6.0).reshape(3, 2)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NWBFile]:
    """The genuine file of three populations and two segments, in NWB, read by pynwb."""
    target = tmp_path_factory.mktemp("neo") / "run.nwb"
    convert(GENUINE / "brian2_all.nix", target)
    with NWBHDF5IO(target, "r") as io:
        yield io.read()


def units_of(nwbfile: NWBFile, population: str) -> dict[int, Any]:
    """Return the rows of the cells of a population by their ids."""
    frame = nwbfile.units.to_dataframe()
    return {row.node_id: row for row in frame[frame["population"] == population].itertuples()}


@genuine
def test_genuine_file_has_in_nwb_what_pynn_recorded(converted: NWBFile) -> None:
    """Values, times, ids, units and spikes of each population in each of two segments."""
    expected = json.loads((GENUINE / "EXPECTED.json").read_text())["brian2_all.nix"]
    n_signals = 0
    for index, segment in enumerate(expected["segments"]):
        suffix = f"_segment{index:03}" if index else ""
        for name, recorded in segment.items():
            for variable, facts in recorded["signals"].items():
                series = converted.acquisition[f"{variable}_{name}{suffix}"]
                assert_array_equal(series.data[[0, -1]], [facts["first"], facts["last"]])
                assert_allclose(series.data[:].sum(), facts["sum"], rtol=1e-14)
                assert list(series.data.shape) == facts["shape"]
                assert (series.starting_time, series.rate) == (0.0, facts["rate_hz"])
                unit = parse_unit(facts["units"])
                assert unit == Unit(series.unit, series.conversion)
                ids = [1, 2, 3] if name == "exc" else [0, 1, 2]
                assert series.compartments.id[:].tolist() == ids
                n_signals += 1
            rows = units_of(converted, name + suffix)
            assert rows.keys() == set(map(int, recorded["spikes"]))
            for cell, times in recorded["spikes"].items():
                assert_array_equal(rows[int(cell)].spike_times, np.asarray(times) / 1000)
                assert_allclose(rows[int(cell)].obs_intervals, [[0, (0.03, 0.02)[index]]])
    assert n_signals == 6


@genuine
def test_what_neos_own_nwb_loses_is_kept(converted: NWBFile) -> None:
    """Ids, populations, several of them in one file, units, the model and the simulator."""
    with NWBHDF5IO(GENUINE / "nwbio_of_brian2_exc.nwb", "r") as io:
        other = io.read()
        theirs = other.acquisition["segment000 v 0"]
        ours = converted.acquisition["v_exc"]
        assert (theirs.unit, theirs.conversion) == ("mV", 1.0)
        assert (ours.unit, ours.conversion) == ("volts", 1e-3)
        assert_array_equal(ours.data[:], theirs.data[:])
        assert not {"node_id", "channel_id", "source_index"} & set(other.units.colnames)
        assert set(other.units.to_dataframe()["block"]) == {"exc"}
        theirs_spikes = list(other.units["spike_times"][:4])
    compartments = ours.compartments.to_dataframe()
    assert compartments["channel_id"].tolist() == [1, 2, 3]
    assert ours.compartments.population == "exc"
    rows = units_of(converted, "exc")
    for times, row in zip(theirs_spikes, rows.values(), strict=True):
        assert_allclose(row.spike_times, times, rtol=1e-15)
    assert [row.channel_id for row in units_of(converted, "drive").values()] == [*range(7, 12)]
    simulation = converted.lab_meta_data["simulation"]
    assert (simulation.simulator, simulation.time_step) == ("Brian2", 1e-4)
    blocks = json.loads(simulation.provenance)["blocks"]
    assert [block["name"] for block in blocks] == ["exc", "inh", "drive"]
    assert blocks[0]["annotations"]["layer"] == "4"
    assert "IF_cond_exp" in blocks[0]["annotations"]["description"]
    assert converted.session_start_time.isoformat().startswith("2026-11-30T07:54:57")


@genuine
def test_files_of_populations_are_one_run_of_which_a_segment_is_chosen() -> None:
    """The second segment alone has plain names, and its own duration."""
    with open_output([GENUINE / f"brian2_{name}.nix" for name in ("exc", "inh")], segment=1) as run:
        assert [one.name for one in run.reports] == ["v_exc", "gsyn_exc_exc", "v_inh"]
        assert [one.population for one in run.spikes] == ["exc", "inh"]
        assert run["v_exc"].data.shape == (201, 3)
        assert_allclose(run.run.duration, 0.02)
        assert not run.notes


@genuine
def test_ids_of_nest_become_indices_in_the_population() -> None:
    """NEST's ids of this population begin at 3, its indices at 0."""
    with open_output(GENUINE / "nest_exc.nix") as output:
        assert output["v_exc"].compartments.cell_ids.tolist() == [1, 2, 3]
        assert output["v_exc"].compartments.cell_columns["channel_id"].tolist() == [4, 5, 6]
        assert np.unique(output.spikes[0].node_ids).tolist() == [0, 1, 2, 3]
        assert output.run.simulator == "NEST"


def test_channels_are_in_numeric_order_and_empty_trains_are_silent(tmp_path: Path) -> None:
    """Channels and trains are stored in any order; an empty train is that of a silent cell."""
    of_cell = {"source_population": "exc"}
    path = write_nix(
        tmp_path / "run.nix",
        {
            "exc": [
                [
                    Signal(RAMP, columns={"channel_index": [7, 2]}, annotations=of_cell),
                    Train([2.0], annotations={"source_index": 2, **of_cell}),
                    Train([], annotations={"source_index": 1, **of_cell}),
                    Train([0.1, 3.0], annotations={"source_index": 0, **of_cell}),
                ]
            ]
        },
    )

    with read(path) as output:
        (report,), (spikes,) = output.reports, output.spikes
        assert report.compartments.cell_ids.tolist() == [2, 7]
        assert_array_equal(report.data[:], RAMP[:, ::-1])
        assert_array_equal(report.get_traces(cells=7)[:, 0], RAMP[:, 0] / 1000)
        assert spikes.node_ids.tolist() == [0, 0, 2]
        assert spikes.times.tolist() == [0.0001, 0.003, 0.002]
        assert spikes.silent is not None
        assert spikes.silent.tolist() == [1]
        assert spikes.intervals is not None
        assert_allclose(spikes.intervals, [[0, 0.03]])


@pytest.mark.parametrize(
    ("block", "annotations", "expected"),
    [
        ({}, {"channel_ids": [5, 6]}, [5, 6]),
        ({"first_id": 4}, {"channel_ids": [5, 6]}, [1, 2]),
        ({"first_id": 4, "last_index": 9}, {"source_ids": [5, 6]}, [1, 2]),
        ({}, {}, [0, 1]),
    ],
)
def test_ids_come_from_what_a_version_of_pynn_wrote(
    tmp_path: Path, block: Any, annotations: Any, expected: list[int]
) -> None:
    """Without an id, channels are numbered, with a note."""
    signal = Signal(RAMP, annotations=annotations)
    path = write_nix(tmp_path / "run.nix", {"exc": [[signal]]}, block)

    with read(path) as output:
        assert output["v_exc"].compartments.cell_ids.tolist() == expected
        assert bool(output.notes) == (not annotations)


def test_signals_of_single_cells_are_joined_by_device_and_cell_type(tmp_path: Path) -> None:
    """BSB writes a signal for each cell and place; those with other times are apart."""
    signals = [
        Signal(
            RAMP[:rows, :1] + cell,
            "vrec",
            annotations={"cell_type": "granule", "cell_id": cell, "device": "vrec"},
        )
        for cell, rows in [(4, 3), (1, 3), (1, 3), (9, 2)]
    ]
    path = write_nix(tmp_path / "run.nio", {"basal": [signals]})

    with read(path) as output:
        joined, other = output.reports
        assert (joined.name, other.name) == ("vrec_granule", "vrec_granule_2")
        assert joined.compartments.cell_ids.tolist() == [1, 4]
        assert joined.compartments.columns["number"].tolist() == [0, 1, 0]
        assert_array_equal(joined.data[0], [1, 1, 4])
        assert other.compartments.cell_ids.tolist() == [9]


def test_channels_of_one_signal_may_be_of_several_populations(tmp_path: Path) -> None:
    """Later versions of BSB join the cells of a device, and name the cells of each channel."""
    columns = {"ps_name": ["granule", "golgi"], "cell_id": [7, 3]}
    path = write_nix(tmp_path / "run.nio", {"basal": [[Signal(RAMP, "V_m", columns=columns)]]})

    with read(path) as output:
        assert [one.name for one in output.reports] == ["V_m_granule", "V_m_golgi"]
        assert_array_equal(output["V_m_golgi"].data[:, 0], RAMP[:, 1])
        assert output["V_m_golgi"].compartments.cell_ids.tolist() == [3]


def test_a_train_of_a_device_is_split_by_its_senders(tmp_path: Path) -> None:
    """BSB with NEST writes one train for all cells of a device; who was silent is not known."""
    train = Train(
        [1.0, 2.0, 3.0],
        annotations={"device": "rec", "pop_size": 9},
        columns={"senders": [5, 3, 5]},
    )
    path = write_nix(tmp_path / "run.nio", {"basal": [[train]]})

    with read(path) as output:
        (spikes,) = output.spikes
        assert spikes.population == "rec"
        assert spikes.node_ids.tolist() == [5, 3, 5]
        assert spikes.select(5).times.tolist() == [0.001, 0.003]
        assert spikes.silent is None
        assert "pop_size" in json.dumps(spikes.provenance)


def test_spikes_of_a_cell_that_two_devices_record_are_kept_apart(tmp_path: Path) -> None:
    """Joined, each spike would be there twice; two places of one device cannot be told apart."""
    trains = [
        Train([time], annotations={"cell_type": "golgi", "cell_id": 4, "device": device})
        for device, time in [("soma", 1.0), ("axon", 2.0), ("axon", 3.0)]
    ]
    path = write_nix(tmp_path / "run.nio", {"basal": [trains]})

    with read(path) as output:
        assert {one.population: one.times.tolist() for one in output.spikes} == {
            "golgi_soma": [0.001],
            "golgi_axon": [0.002, 0.003],
        }
        assert output.notes == (
            "cells 4 have several spike trains of 'golgi_axon': their spikes are joined",
        )


def test_irregular_times_units_and_starts_are_kept(tmp_path: Path) -> None:
    """Irregular signals have timestamps; units of quantities such as 1/ms are parsed."""
    path = write_nix(
        tmp_path / "run.nix",
        {
            "exc": [
                [
                    Signal(RAMP, "i", "(mA/cm**2)", ticks=[0.0, 1.0, 4.0]),
                    Signal(RAMP, "rate", "1/ms", start=20.0, step=0.025),
                    Signal(RAMP, "soma.v", "mV", time_unit="s", step=0.001),
                ]
            ]
        },
    )

    with read(path) as output:
        current, rate, voltage = output.reports
        assert isinstance(current.times, Timestamps)
        assert_array_equal(current.times.seconds(), [0, 0.001, 0.004])
        assert current.unit == parse_unit("mA/cm2")
        assert (rate.times.start, rate.times.rate) == (0.02, 40000.0)
        assert (rate.unit.name, rate.unit.conversion) == ("hertz", 1000.0)
        assert (voltage.variable, voltage.times.rate) == ("v", 1000.0)
        assert set(voltage.compartments.columns["label"]) == {"soma"}


def test_an_unknown_unit_is_stored_as_such_unless_it_is_given(tmp_path: Path) -> None:
    """The option has the name of the signal."""
    path = write_nix(tmp_path / "run.nix", {"exc": [[Signal(RAMP, "w", "furlong")]]})

    with pytest.warns(UnitWarning, match=r"unit of 'w' is 'furlong'"), read(path) as output:
        assert output["w_exc"].unit == UNKNOWN
    with open_output(path, unit={"w": "nA"}) as output:
        assert output["w_exc"].unit == Unit("amperes", 1e-9)
    with pytest.raises(UnitError, match=r"no 'x' whose unit could be set; there are: w, w_exc"):
        read(path, unit={"x": "nA"})


def test_channels_at_positions_are_potentials(tmp_path: Path) -> None:
    """Potentials need an annotated place for each channel, as Neo has no electrodes."""
    columns = {"x": [0.0, 0.0], "y": [10.0, 20.0], "z": [1.0, 1.0]}
    path = write_nix(tmp_path / "run.nix", {"net": [[Signal(RAMP, "LFP", columns=columns)]]})

    with read(path) as output:
        (potential,) = output.potentials
        assert potential.name == "LFP_net"
        assert potential.electrodes is not None
        assert_array_equal(potential.electrodes.positions, [[0, 10, 1], [0, 20, 1]])


def test_files_may_have_many_links_to_an_array(tmp_path: Path) -> None:
    """Neo links each channel from its block and its segment, and its metadata from each channel."""
    path = write_nix(tmp_path / "run.nix", {"exc": [[Signal(np.zeros((2, 400)))]]})

    with open_output(path) as output:
        assert output["v_exc"].data.shape == (2, 400)


def test_files_of_ranks_are_joined_unless_they_repeat_a_cell(tmp_path: Path) -> None:
    """Blocks of one name in several files are parts of a population; in one file they are not."""
    parts = [[Signal(RAMP, columns={"channel_index": [0, 2]})]]
    others = [[Signal(RAMP, columns={"channel_index": [1, 3]})]]
    first, second = (
        write_nix(tmp_path / f"{rank}.nix", {"exc": found})
        for rank, found in enumerate((parts, others))
    )

    with read([first, second]) as output:
        assert output["v_exc"].compartments.cell_ids.tolist() == [0, 1, 2, 3]
        assert_array_equal(output["v_exc"].data[0], [0, 0, 1, 1])
    (tmp_path / "again").mkdir()
    with pytest.raises(SourceError, match=r"cell 0 of .*'v_exc' is in 0\.nix and in 2\.nix"):
        read([first, write_nix(tmp_path / "2.nix", {"exc": parts})])


def test_events_and_epochs_are_intervals(tmp_path: Path) -> None:
    """Labels and annotations are kept beside the times; an event starts when it stops."""
    path = write_nix(
        tmp_path / "run.nix",
        {
            "exc": [
                [
                    Train([1.0], "event", "go", labels=["a"], annotations={"trial": 3}),
                    Train([1.0], "epoch", "trials", durations=[2.0]),
                    Train(
                        [1.0, 2.0],
                        "epoch",
                        "light",
                        durations=[5.0, 6.0],
                        labels=["a", "b"],
                        columns={"tags": [7, 8]},
                    ),
                ]
            ]
        },
    )

    converted = convert(path, tmp_path / "run.nwb")

    assert not validate(path=converted.path)
    with NWBHDF5IO(converted.path, "r") as io:
        light = io.read().intervals["light"].to_dataframe()
        assert light["start_time"].tolist() == [0.001, 0.002]
        assert light["stop_time"].tolist() == [0.006, 0.008]
        assert light["labels"].tolist() == ["a", "b"]
        assert light["tags_2"].tolist() == [7, 8]
    with open_output(converted.path) as output:
        go = {group.name: group for group in output.arrays}["go"]
        assert {array.name: array.values[:].tolist() for array in go.arrays} == {
            "start_time": [0.001],
            "stop_time": [0.001],
            "labels": ["a"],
        }
        assert go.extra["annotations"] == {"trial": 3}
        assert not output.notes
        again = convert(output, tmp_path / "again.nwb")
    with open_output(again.path) as output:
        assert {group.name for group in output.arrays} == {"go", "light", "trials"}


def test_what_is_missing_or_damaged_is_refused(tmp_path: Path) -> None:
    """Errors name the file, and the option."""
    path = write_nix(tmp_path / "run.nix", {"exc": [[Signal(RAMP)]]})
    with pytest.raises(SelectionError, match=r"no segment 1 \(--segment\); expected 0 to 0"):
        open_output(path, segment=1)
    with pytest.raises(NothingRecordedError, match=r"empty\.nix: nothing was recorded"):
        read(write_nix(tmp_path / "empty.nix", {"exc": []}))
    with h5py.File(path, "a") as file:
        del file["data/neo.block.0/groups/neo.segment.0/data_arrays/0-98/data"]
        file["data/neo.block.0/groups/neo.segment.0/data_arrays/0-98/data"] = [1.0]
    with pytest.raises(SourceError, match=r"run\.nix and other channels have shapes .*one length"):
        open_output(path)
    write_nix(path, {"exc": [[Signal(RAMP)]]})
    with h5py.File(path, "a") as file:
        del file["data/neo.block.0/groups/neo.segment.0/data_arrays/0-99/dimensions"]
    with pytest.raises(SourceError, match=r"run\.nix does not have the layout of a NIX file"):
        open_output(path)
    (tmp_path / "spikes.csv").write_text("timestamps population node_ids\n1.0 exc 3\n")
    with pytest.raises(SourceError, match="has no option segment"):
        open_output(tmp_path / "spikes.csv", segment=0)
