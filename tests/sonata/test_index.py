"""Each genuine file is converted to the contents in the index, or refused with a reason."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile

from ndx_simulation_output import convert
from ndx_simulation_output.errors import (
    SimulationOutputError,
    SimulationOutputWarning,
    SourceError,
    UnsupportedSourceError,
)
from tests.conftest import DATA
from tests.sonata.making import SESSION

_WEIGHTS = "contains the weights of electrodes, which are an input of the simulation"
REFUSED: dict[str, tuple[type[SimulationOutputError], str]] = {
    "allen_5cells_old_cellvar.h5": (
        SourceError,
        r"mapping of allen_5cells_old_cellvar\.h5 has no time; set the time step .* dt= \(--dt\)",
    ),
    "ext_electrodes.h5": (UnsupportedSourceError, rf"ext_electrodes\.h5 {_WEIGHTS}"),
    "nd_lfp_electrodes_file.h5": (
        UnsupportedSourceError,
        rf"nd_lfp_electrodes_file\.h5 {_WEIGHTS}",
    ),
}
# The reports of currents are labelled mV, as Blue Brain's writers label everything.
DOUBTFUL = {"nd_v5_comp_imembrane.h5", "nd_v5_sum_imembrane.h5"}
UNITS = {"mV": ("volts", 1e-3), "nS": ("siemens", 1e-9)}

_INDEX = DATA / "sonata" / "INDEX.json"
INDEX: dict[str, Any] = json.loads(_INDEX.read_text()) if _INDEX.is_file() else {}


def _files(*kinds: str) -> Any:
    names = [
        name for name, entry in INDEX.items() if entry["kind"] in kinds and name not in REFUSED
    ]
    missing = pytest.param("", marks=pytest.mark.skip(reason=f"there is no {_INDEX.name}"))
    return pytest.mark.parametrize("name", names or [missing])


@contextmanager
def _converted(source: Path, directory: Path, **options: Any) -> Iterator[NWBFile]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SimulationOutputWarning)
        convert(source, directory / "out.nwb", metadata=SESSION, **options)
    with NWBHDF5IO(directory / "out.nwb", "r") as io:
        yield io.read()


def test_every_file_of_the_index_is_of_a_kind_that_is_tested(sonata_data: Path) -> None:
    index = json.loads((sonata_data / "INDEX.json").read_text())

    kinds = {entry["kind"] for name, entry in index.items() if name not in REFUSED}

    assert kinds == {"report", "spikes", "spikes_old", "nwb1_spikes", "ecp"}
    assert set(REFUSED) <= set(index)


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_without_recorded_signal_or_time_is_refused(
    name: str, sonata_data: Path, tmp_path: Path
) -> None:
    kind, reason = REFUSED[name]

    with pytest.raises(kind, match=reason):
        convert(sonata_data / name, tmp_path / "out.nwb", metadata=SESSION)

    assert list(tmp_path.iterdir()) == []


@_files("report")
def test_a_report_has_the_contents_in_the_index(
    name: str, sonata_data: Path, tmp_path: Path
) -> None:
    entry = INDEX[name]
    expected = {
        population: facts
        for population, facts in entry["populations"].items()
        if not facts.get("empty_group")
    }

    with _converted(sonata_data / name, tmp_path) as nwbfile:
        assert len(nwbfile.acquisition) == len(expected)
        for population, facts in expected.items():
            stem = Path(name).stem
            series = nwbfile.acquisition[stem if len(expected) == 1 else f"{stem}_{population}"]
            assert series.compartments.population == population
            _check_mapping(series, facts)
            _check_data(series, facts)
            _check_times(series, facts)
            _check_unit(series, facts, doubtful=name in DOUBTFUL)


def _cells_of_columns(series: Any) -> Any:
    ends = np.asarray(series.compartments["number"].data[:], np.int64)
    return np.repeat(series.compartments.id.data[:], np.diff(ends, prepend=0))


def _check_mapping(series: Any, facts: dict[str, Any]) -> None:
    table = series.compartments
    entries = np.repeat(facts["node_ids"], facts["elements_per_node"])

    assert table.id.data[:].tolist() == list(dict.fromkeys(facts["node_ids"]))
    assert _cells_of_columns(series).tolist() == entries.tolist()
    extras = set(facts["mapping_columns"]) - {
        "element_ids",
        "element_pos",
        "index_pointer",
        "index_pointers",
        "node_ids",
        "time",
    }
    assert extras <= set(table.colnames)
    assert ("element_pos" in facts["mapping_columns"]) == ("position" in table.colnames)


def _check_data(series: Any, facts: dict[str, Any]) -> None:
    assert series.data.shape == (facts["n_rows"], facts["n_values"])
    assert series.data.dtype == np.dtype(facts["dtype"])
    data = series.data[:]
    cells, numbers = _cells_of_columns(series), series.compartments["number"].target.data[:]
    for sample in facts["samples"]:
        column = sample["column"]
        assert data[sample["row"], column] == sample["value"]
        assert cells[column] == sample["node"]
        assert numbers[column] == sample["element_id"]
        if not facts["ids_repeated"]:
            assert column == np.flatnonzero(cells == sample["node"])[sample["k"]]
    assert data.sum(dtype=np.float64) == pytest.approx(facts["total_sum"], rel=1e-9)
    # Of a repeated id the index has the one column that it sampled.
    sampled = {sample["node"]: sample["column"] for sample in facts["samples"]}
    for node, total in facts["node_sums"].items():
        columns = [sampled[int(node)]] if facts["ids_repeated"] else cells == int(node)
        assert data[:, columns].sum(dtype=np.float64) == pytest.approx(total, rel=1e-9)


def _check_times(series: Any, facts: dict[str, Any]) -> None:
    start, _, step = facts["time"]

    assert series.starting_time == start / 1000
    assert series.rate == 1000 / step
    assert series.timestamps is None


def _check_unit(series: Any, facts: dict[str, Any], *, doubtful: bool) -> None:
    stated = facts["data_attrs"].get("units")
    expected = ("unknown", 1.0) if doubtful else UNITS.get(stated, ("unknown", 1.0))

    assert (series.unit, series.conversion) == expected


@_files("spikes", "spikes_old")
def test_spikes_are_those_in_the_index(name: str, sonata_data: Path, tmp_path: Path) -> None:
    populations = INDEX[name]["populations"]

    with _converted(sonata_data / name, tmp_path) as nwbfile:
        units = nwbfile.units
        names = np.asarray(units["population"].data[:])
        assert set(names) == {key or "unknown" for key, facts in populations.items() if facts["n"]}
        for population, facts in populations.items():
            rows = np.flatnonzero(names == (population or "unknown"))
            _check_spikes(units, rows, facts)


def _check_spikes(units: Any, rows: Any, facts: dict[str, Any]) -> None:
    trains = {int(units["node_id"].data[row]): units["spike_times"][row] for row in rows}

    assert len(trains) == len(rows) == facts["n_nodes"]
    assert sum(len(train) for train in trains.values()) == facts["n"]
    assert all(np.all(np.diff(train) >= 0) for train in trains.values())
    if not facts["n"]:
        return
    times = np.concatenate(list(trains.values()))
    assert times.min() == facts["min"] / 1000
    assert times.max() == facts["max"] / 1000
    assert times.sum() * 1000 == pytest.approx(facts["sum_times"], rel=1e-12)
    last = trains[facts["last_node"]["id"]]
    assert len(last) == facts["last_node"]["n"]
    first = np.asarray(facts["last_node"]["times"])
    assert set(first / 1000) <= set(last)
    if np.all(np.diff(first) >= 0):
        assert last[: len(first)].tolist() == (first / 1000).tolist()


@_files("ecp")
def test_potentials_are_those_in_the_index(name: str, sonata_data: Path, tmp_path: Path) -> None:
    facts = INDEX[name]["ecp"]

    with _converted(sonata_data / name, tmp_path) as nwbfile:
        series = nwbfile.acquisition[Path(name).stem]
        assert list(series.data.shape) == facts["shape"]
        assert series.data.dtype == np.dtype(facts["dtype"])
        assert series.data[0, :4].tolist() == facts["first"]
        assert series.data[:].sum(dtype=np.float64) == pytest.approx(facts["sum"], rel=1e-9)
        assert (series.unit, series.conversion) == ("volts", 1e-3)
        assert series.starting_time == facts["time"][0] / 1000
        assert series.rate == 1000 / facts["time"][2]
        channels = [series.electrodes.table["channel"][row] for row in series.electrodes.data[:]]
        assert channels == list(range(facts["channels"]))


def test_the_tutorial_potentials_get_the_positions_beside_them(
    sonata_data: Path, tmp_path: Path
) -> None:
    sources = [sonata_data / "allen_tutorial_ecp.h5", sonata_data / "allen_tutorial_electrodes.csv"]

    with pytest.warns(SimulationOutputWarning, match="1 of 15 channels have no position"):
        convert(sources, tmp_path / "out.nwb", metadata=SESSION)

    with NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
        table = io.read().electrodes
        assert table["y"].data[:14].tolist() == [float(row) for row in range(14)]
        assert np.isnan(table["y"].data[14])


@_files("nwb1_spikes")
def test_spikes_of_an_nwb_1_file_are_those_of_its_trains(
    name: str, sonata_data: Path, tmp_path: Path
) -> None:
    with h5py.File(sonata_data / name) as file:
        trains = file["processing/trial_0/spike_train"]
        expected = {int(key): train["data"][:] / 1000 for key, train in trains.items()}

    with _converted(sonata_data / name, tmp_path) as nwbfile:
        units = nwbfile.units
        found = {int(units["node_id"][row]): units["spike_times"][row] for row in range(len(units))}
        assert found.keys() == {cell for cell, train in expected.items() if len(train)}
        for cell, train in found.items():
            assert train.tolist() == sorted(expected[cell].tolist())


def test_the_file_older_than_sonata_converts_once_the_time_step_is_given(
    sonata_data: Path, tmp_path: Path
) -> None:
    source = sonata_data / "allen_5cells_old_cellvar.h5"
    with h5py.File(source) as file:
        expected, cell = file["v/data"][:], file["mapping/gids"][0]

    with _converted(source, tmp_path, dt=0.1, unit={source.stem: "mV"}) as nwbfile:
        series = nwbfile.acquisition[source.stem]
        assert np.array_equal(series.data[:, 0], expected)
        assert series.rate == 1000 / 0.1
        assert (series.unit, series.conversion) == ("volts", 1e-3)
        assert series.compartments.id.data[:].tolist() == [cell]
