"""Exported files can be read by the readers of the two dialects: libsonata and bmtk."""

import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.ecephys import ElectricalSeries

from ndx_simulation_output import (
    Compartments,
    CompartmentSeries,
    SimulationMetaData,
    SimulationOutputWarning,
    convert,
    export_sonata,
)
from tests.sonata.making import SESSION, report, spikes

Source = Callable[[Path], Path]

IDS = [5, 2, 7]
COUNTS = [2, 1, 3]
ELEMENTS = [0, 1, 0, 0, 1, 1]
DATA = np.arange(24, dtype=np.float32).reshape(4, 6) - 70
SPIKES = {5: [0.5, 2.25], 7: [1.125]}


@pytest.fixture
def libsonata() -> Any:
    return pytest.importorskip("libsonata", reason="libsonata is not installed")


@pytest.fixture
def bmtk() -> Any:
    pytest.importorskip("bmtk", reason="bmtk is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from bmtk.utils.reports.compartment import CompartmentReport
        from bmtk.utils.reports.spike_trains import SpikeTrains
    return CompartmentReport, SpikeTrains


def _from_sonata(dialect: str) -> Source:
    def make(directory: Path) -> Path:
        ids = np.asarray(ELEMENTS, np.uint32)
        positions = np.full(len(ids), 0.5) if dialect == "allen" else None
        file = report(
            IDS,
            COUNTS,
            data=DATA,
            time=(10.0, 10.4, 0.1),
            dialect=dialect,
            element_ids=ids,
            element_pos=positions,
        )
        file |= spikes([5, 7, 5], [0.5, 1.125, 2.25], unit="ms" if dialect == "bbp" else None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SimulationOutputWarning)
            convert(file.write(directory / "v.h5"), directory / "o.nwb", metadata=SESSION)
        return directory / "o.nwb"

    return make


def _nwbfile() -> NWBFile:
    return NWBFile("made with pynwb", "id", datetime(2026, 1, 31, tzinfo=timezone.utc))


def _saved(nwbfile: NWBFile, path: Path) -> Path:
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def _from_pynwb(directory: Path) -> Path:
    table = Compartments.from_arrays(number=ELEMENTS, counts=COUNTS, id=IDS, population="pop")
    series = CompartmentSeries(
        "v",
        DATA,
        compartments=table,
        unit="volts",
        conversion=1e-3,
        rate=10000.0,
        starting_time=0.01,
    )
    nwbfile = _nwbfile()
    nwbfile.add_lab_meta_data(SimulationMetaData(compartments=table))
    nwbfile.add_acquisition(series)
    nwbfile.add_unit_column("population", "population")
    nwbfile.add_unit_column("node_id", "id in the population")
    for cell, times in SPIKES.items():
        nwbfile.add_unit(spike_times=np.asarray(times) / 1000, population="pop", node_id=cell)
    return _saved(nwbfile, directory / "o.nwb")


SOURCES = pytest.mark.parametrize(
    "make",
    [
        pytest.param(_from_sonata("bbp"), id="bbp"),
        pytest.param(_from_sonata("allen"), id="allen"),
        pytest.param(_from_pynwb, id="pynwb"),
    ],
)


def _exported(source: Path, dialect: Any) -> tuple[Path, Path]:
    """Export; return the paths of the report and of the spikes."""
    back = source.parent / "back"
    export_sonata(source, back, dialect=dialect)
    return back / "v.h5", back / ("spikes.h5" if (back / "spikes.h5").exists() else "v.h5")


@SOURCES
def test_libsonata_reads_an_exported_report(make: Source, libsonata: Any, tmp_path: Path) -> None:
    path, _ = _exported(make(tmp_path), "bbp")

    reader = libsonata.ElementReportReader(str(path))["pop"]

    frame = reader.get()
    order = np.concatenate([np.flatnonzero(frame.ids[:, 0] == cell) for cell in IDS])
    assert sorted(reader.get_node_ids()) == sorted(IDS)
    assert frame.ids[order].tolist() == [
        [cell, element] for cell, element in zip(np.repeat(IDS, COUNTS), ELEMENTS, strict=True)
    ]
    assert np.array_equal(frame.data[:, order], DATA)
    assert reader.times == pytest.approx((10.0, 10.4, 0.1))
    assert (reader.time_units, reader.data_units) == ("ms", "mV")


@SOURCES
def test_libsonata_reads_exported_spikes(make: Source, libsonata: Any, tmp_path: Path) -> None:
    _, path = _exported(make(tmp_path), "bbp")

    population = libsonata.SpikeReader(str(path))["pop"]

    assert population.time_units == "ms"
    assert sorted(population.get()) == [(5, 0.5), (5, 2.25), (7, 1.125)]


@SOURCES
def test_bmtk_reads_an_exported_report(make: Source, bmtk: Any, tmp_path: Path) -> None:
    path, _ = _exported(make(tmp_path), "allen")

    with h5py.File(path):
        reader = bmtk[0].load(str(path))["pop"]
    try:
        starts = np.cumsum([0, *COUNTS])
        assert reader.node_ids().tolist() == IDS
        for cell, start, count in zip(IDS, starts, COUNTS, strict=False):
            columns = slice(start, start + count)
            assert reader.element_ids(cell).tolist() == ELEMENTS[columns]
            found = reader.data(cell)
            # bmtk counts the steps with int((stop - start) / dt) and so may miss the last row.
            assert np.array_equal(found.reshape(len(found), -1), DATA[: len(found), columns])
            assert len(found) >= len(DATA) - 1
        assert (reader.tstart(), reader.dt()) == pytest.approx((10.0, 0.1))
        assert reader.units() == "mV"
    finally:
        reader.data_ds.file.close()


@SOURCES
def test_bmtk_reads_exported_spikes(make: Source, bmtk: Any, tmp_path: Path) -> None:
    _, path = _exported(make(tmp_path), "allen")

    trains = bmtk[1].load(str(path), population="pop")
    try:
        for cell, times in SPIKES.items():
            assert sorted(trains.get_times(cell, population="pop")) == times
    finally:
        trains.close()


@pytest.mark.parametrize("unit", ["milliseconds", "s", None])
def test_libsonata_reads_spikes_whatever_unit_their_source_had(
    unit: str | None, libsonata: Any, tmp_path: Path
) -> None:
    file = spikes([5, 7], [0.5, 1.125], unit=unit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SimulationOutputWarning)
        convert(file.write(tmp_path / "s.h5"), tmp_path / "o.nwb", metadata=SESSION)
    export_sonata(tmp_path / "o.nwb", tmp_path / "back", dialect="bbp")
    milliseconds = 1000 if unit == "s" else 1

    population = libsonata.SpikeReader(str(tmp_path / "back" / "s.h5"))["pop"]

    factor = {"s": 1000.0}.get(population.time_units, 1.0)
    assert [time * factor for _, time in sorted(population.get())] == pytest.approx(
        [0.5 * milliseconds, 1.125 * milliseconds]
    )


def test_libsonata_reads_spikes_that_had_no_population(libsonata: Any, tmp_path: Path) -> None:
    file = spikes([5, 7], [0.5, 1.125], population=None, sorting="by_gid")
    convert(file.write(tmp_path / "s.h5"), tmp_path / "o.nwb", metadata=SESSION, population="pop")
    export_sonata(tmp_path / "o.nwb", tmp_path / "back", dialect="bbp")

    reader = libsonata.SpikeReader(str(tmp_path / "back" / "s.h5"))

    assert reader["pop"].get() == [(5, 0.5), (7, 1.125)]


def test_float64_data_reach_libsonata_with_float32_as_dtype(libsonata: Any, tmp_path: Path) -> None:
    file = report(IDS, COUNTS, data=DATA.astype(np.float64), time=(10.0, 10.4, 0.1))
    convert(file.write(tmp_path / "v.h5"), tmp_path / "o.nwb", metadata=SESSION)

    plain = export_sonata(tmp_path / "o.nwb", tmp_path / "plain", dialect="bbp")
    export_sonata(tmp_path / "o.nwb", tmp_path / "back", dialect="bbp", dtype="float32")

    assert any("libsonata reads only float32" in text for text in plain.left_out)
    reader = libsonata.ElementReportReader(str(tmp_path / "back" / "v.h5"))["pop"]
    assert np.array_equal(np.sort(reader.get().data), np.sort(DATA))


def test_the_missing_section_of_a_point_cell_reaches_libsonata(
    libsonata: Any, tmp_path: Path
) -> None:
    elements = np.asarray([2**64 - 1, 1, 0], np.uint64)
    file = report([5, 2], [2, 1], dialect="allen", element_ids=elements)
    convert(file.write(tmp_path / "v.h5"), tmp_path / "o.nwb", metadata=SESSION)
    export_sonata(tmp_path / "o.nwb", tmp_path / "back", dialect="bbp")

    with h5py.File(tmp_path / "back" / "v.h5") as back:
        found = back["report/pop/mapping/element_ids"].astype("u8")[:]

    assert found.tolist() == elements.tolist()


def test_a_series_of_another_type_is_reported(tmp_path: Path) -> None:
    nwbfile = _nwbfile()
    nwbfile.add_acquisition(TimeSeries(name="stimulus", data=np.zeros(3), unit="amperes", rate=1.0))
    nwbfile.add_unit(spike_times=[0.5])

    written = export_sonata(_saved(nwbfile, tmp_path / "o.nwb"), tmp_path / "back")

    assert any("stimulus is a TimeSeries" in text for text in written.left_out)


def test_columns_of_units_that_sonata_cannot_store_are_reported(tmp_path: Path) -> None:
    nwbfile = _nwbfile()
    nwbfile.add_unit_column("quality", "how good it is")
    nwbfile.add_unit(spike_times=[0.5], quality=0.9)

    written = export_sonata(_saved(nwbfile, tmp_path / "o.nwb"), tmp_path / "back")

    assert any("quality" in text for text in written.left_out)


def _electrical(nwbfile: NWBFile, data: Any, **options: Any) -> ElectricalSeries:
    group = nwbfile.create_electrode_group(
        "probe", description="probe", location="unknown", device=nwbfile.create_device("probe")
    )
    channels = 1 if np.ndim(data) == 1 else np.shape(data)[1]
    for channel in range(channels):
        nwbfile.add_electrode(x=float(channel), y=0.0, z=0.0, location="unknown", group=group)
    region = nwbfile.create_electrode_table_region(list(range(channels)), "all")
    series = ElectricalSeries(name="lfp", data=data, electrodes=region, rate=1000.0, **options)
    nwbfile.add_acquisition(series)
    return series


def test_potentials_of_one_electrode_may_be_a_vector(tmp_path: Path) -> None:
    nwbfile = _nwbfile()
    _electrical(nwbfile, np.asarray([1.0, 2.0, 3.0]))

    export_sonata(_saved(nwbfile, tmp_path / "o.nwb"), tmp_path / "back")

    with h5py.File(tmp_path / "back" / "lfp.h5") as back:
        assert back["ecp/data"][:].tolist() == [[1.0], [2.0], [3.0]]


def test_a_factor_of_each_channel_is_applied_or_reported(tmp_path: Path) -> None:
    nwbfile = _nwbfile()
    _electrical(nwbfile, np.ones((3, 2)), channel_conversion=[1.0, 5.0])

    written = export_sonata(_saved(nwbfile, tmp_path / "o.nwb"), tmp_path / "back")

    with h5py.File(tmp_path / "back" / "lfp.h5") as back:
        applied = back["ecp/data"][0].tolist() == [1.0, 5.0]
    assert applied or any("channel_conversion" in text for text in written.left_out)


def test_one_series_that_cannot_be_stored_does_not_stop_the_others(tmp_path: Path) -> None:
    nwbfile = _nwbfile()
    _electrical(nwbfile, np.ones((3, 2, 2)))
    nwbfile.add_unit(spike_times=[0.5])

    written = export_sonata(_saved(nwbfile, tmp_path / "o.nwb"), tmp_path / "back")

    assert [path.name for path in written.files] == ["spikes.h5"]
    assert any("lfp" in text for text in written.left_out)


def test_labels_and_coordinates_go_out_as_columns(tmp_path: Path) -> None:
    table = Compartments.from_arrays(
        number=[0, 1, 0],
        counts=[2, 1],
        population="pop",
        label=["soma", "dend", "soma"],
        x=[0.0, 1.5, 2.0],
    )
    nwbfile = _nwbfile()
    nwbfile.add_lab_meta_data(SimulationMetaData(compartments=table))
    nwbfile.add_acquisition(
        CompartmentSeries("v", np.zeros((2, 3)), compartments=table, unit="volts", rate=1.0)
    )

    export_sonata(_saved(nwbfile, tmp_path / "o.nwb"), tmp_path / "back", dialect="allen")

    with h5py.File(tmp_path / "back" / "v.h5") as back:
        mapping = back["report/pop/mapping"]
        assert mapping["label"].asstr()[:].tolist() == ["soma", "dend", "soma"]
        assert mapping["x"][:].tolist() == [0.0, 1.5, 2.0]


def test_values_without_a_symbol_for_their_unit_are_scaled_to_the_si_unit(tmp_path: Path) -> None:
    table = Compartments.from_arrays(number=[0], counts=[1], population="pop")
    nwbfile = _nwbfile()
    nwbfile.add_lab_meta_data(SimulationMetaData(compartments=table))
    nwbfile.add_acquisition(
        CompartmentSeries(
            "v",
            np.asarray([[1.0], [2.0]]),
            compartments=table,
            unit="volts",
            conversion=0.25,
            offset=1.0,
            rate=1.0,
        )
    )

    written = export_sonata(_saved(nwbfile, tmp_path / "o.nwb"), tmp_path / "back")

    with h5py.File(tmp_path / "back" / "v.h5") as back:
        assert back["report/pop/data"][:].tolist() == [[1.25], [1.5]]
        assert back["report/pop/data"].attrs["units"] == "V"
    assert any("scaled to volts" in text for text in written.left_out)


def test_a_table_without_population_goes_out_under_some_name(tmp_path: Path) -> None:
    table = Compartments.from_arrays(number=[0], counts=[1])
    nwbfile = _nwbfile()
    nwbfile.add_acquisition(table)
    nwbfile.add_acquisition(
        CompartmentSeries("v", np.zeros((2, 1)), compartments=table, unit="volts", rate=1.0)
    )

    export_sonata(_saved(nwbfile, tmp_path / "o.nwb"), tmp_path / "back")

    with h5py.File(tmp_path / "back" / "v.h5") as back:
        assert list(back["report"]) == ["unknown"]
