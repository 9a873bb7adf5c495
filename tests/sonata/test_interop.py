"""Exported files can be read by the readers of the two dialects: libsonata and bmtk."""

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
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
    open_output,
)
from ndx_simulation_output.annarchy.monitors import read_recordings
from ndx_simulation_output.errors import ExportError
from ndx_simulation_output.nwb.stream import stream
from ndx_simulation_output.recording import (
    UNKNOWN,
    CompartmentTable,
    ExtracellularPotential,
    RegularTimes,
    Report,
    SimulationOutput,
    Spikes,
    StreamedReport,
    Unit,
    unit_symbol,
)
from tests.conftest import DATA as GENUINE
from tests.sonata.making import SESSION, SORTING, report, spikes

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


def _described(directory: Path, **changes: Any) -> Path:
    """Convert recordings made in Python, with spikes that are not sorted."""
    table = CompartmentTable.from_counts(
        "pop", np.array(IDS), np.array(COUNTS), {"number": np.array(ELEMENTS)}
    )
    fields = {"data": DATA, "times": RegularTimes(0.01, 1e4, 4), "unit": Unit("volts", 1e-3)}
    made = Report(name="v", report="v", compartments=table, **(fields | changes))
    events = Spikes("pop", np.array([5, 7, 5]), np.array([0.0005, 0.001125, 0.00025]))
    output = SimulationOutput(reports=(made,), spikes=(events,))
    return convert(output, directory / "o.nwb", metadata=SESSION).path


def _early_spikes(directory: Path) -> Path:
    source = spikes([5, 7], [-0.5, 1.0]).write(directory / "s.h5")
    return convert(source, directory / "o.nwb", metadata=SESSION).path


def _streamed(directory: Path) -> Path:
    table = CompartmentTable.from_cells("pop", np.array(IDS))
    reports = [StreamedReport("v", table, rate=3e4, unit=Unit("volts", 1e-3))]
    with stream(directory / "o.nwb", reports, metadata=SESSION) as file:
        file.append("v", DATA[:, :3])
        file.add_spikes(Spikes("pop", np.array([5]), np.array([0.1])))
    return directory / "o.nwb"


def _odd_sonata(dialect: str, **changes: Any) -> Source:
    """Make files that are valid or occur, but that no reader of either dialect opens."""

    def make(directory: Path) -> Path:
        options = {"data": DATA, "time": (10.0, 10.4, 0.1), "dialect": dialect, **changes}
        untrue = np.uint8(2), SORTING
        file = report(IDS, COUNTS, **options) | spikes(
            [5, 7, 5], [2.25, 0.5, 1.125], sorting=untrue, unit=None
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SimulationOutputWarning)
            return convert(
                file.write(directory / "v.h5"),
                directory / "o.nwb",
                metadata=SESSION,
                unit={"v": "mV"},
            ).path

    return make


def _potentials(directory: Path) -> Path:
    channels, volts = np.array([0, 1]), Unit("volts", 1e-3)
    lfp = ExtracellularPotential("lfp", DATA[:, :2], RegularTimes(0.0, 1e4, 4), channels, volts)
    output = SimulationOutput(potentials=(lfp,))
    return convert(output, directory / "o.nwb", metadata=SESSION).path


def _from_example(name: str) -> Source:
    def make(directory: Path) -> Path:
        pytest.importorskip(name, reason=f"{name} is not installed")
        example = Path(__file__).parents[2] / "examples" / f"record_{name}.py"
        command = [sys.executable, "-W", "ignore", example]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
        return directory / "run.nwb"

    return make


def _from_monitor(directory: Path) -> Path:
    """Convert a genuine file of a monitor of ANNarchy."""
    path = GENUINE / "annarchy" / "annarchy-5.0.3" / "monitor_m_exc.hdf5"
    if not path.is_file():
        pytest.skip(f"the genuine file is not at {path}; set NDX_TEST_DATA to its directory")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SimulationOutputWarning)
        with read_recordings(path, dt=0.5, population="exc", period=0.5) as output:
            volts = [replace(one, unit=Unit("volts", 1e-3)) for one in output.reports]
            known = replace(output, reports=tuple(volts))
            return convert(known, directory / "o.nwb", metadata=SESSION).path


ORIGINS = pytest.mark.parametrize(
    "make",
    [
        pytest.param(_from_sonata("bbp"), id="bbp"),
        pytest.param(_from_sonata("allen"), id="allen"),
        pytest.param(_odd_sonata("allen", data=DATA.astype("f8"), time_unit=None), id="bmtk"),
        pytest.param(_odd_sonata("bbp", root="reports"), id="reports"),
        pytest.param(_odd_sonata("bbp", time=(10.0, 11.0, 0.1)), id="fewer rows than its time"),
        pytest.param(_odd_sonata("allen", time=(10.0, 10.3, 0.1)), id="more rows than its time"),
        pytest.param(_odd_sonata("bbp", time=(0.01, 0.0104, 1e-4), time_unit="s"), id="seconds"),
        pytest.param(_odd_sonata("bbp", time=np.float32([10, 10.4, 0.1])), id="float32 time"),
        pytest.param(_odd_sonata("bbp", index_pointers=np.array([0, 2, 3])), id="short pointers"),
        pytest.param(
            _odd_sonata("bbp", time_unit=None, data=DATA.astype(">f4")), id="no time unit"
        ),
        pytest.param(_odd_sonata("allen", data=DATA.astype("i2")), id="integers"),
        pytest.param(_odd_sonata("allen", time=[10.0, 10.1, 10.2, 10.3]), id="time vector"),
        pytest.param(_from_pynwb, id="pynwb"),
        pytest.param(_described, id="in memory"),
        pytest.param(lambda path: _described(path, data=DATA.astype("f8")), id="float64"),
        pytest.param(_streamed, id="stream"),
        pytest.param(_from_monitor, id="annarchy"),
        pytest.param(_from_example("neuron"), id="neuron"),
        pytest.param(_from_example("netpyne"), id="netpyne"),
    ],
)


@ORIGINS
def test_all_that_is_exported_for_libsonata_is_opened_by_it(
    make: Source, libsonata: Any, tmp_path: Path
) -> None:
    source = make(tmp_path)

    done = export_sonata(source, tmp_path / "back", dialect="bbp", dtype="float32")

    assert not [note for note in done.left_out if "libsonata" in note]
    with open_output(source) as output:
        for recorded in output.reports:
            (path,) = (
                path
                for path in done.files
                if _has(path, f"report/{recorded.population}", {recorded.report, recorded.name})
            )
            reader = libsonata.ElementReportReader(str(path))[recorded.population]
            frames = reader.get(tstart=reader.times[0], tstop=reader.times[1])
            expected = np.asarray(recorded.data[:], np.float32)
            assert np.array_equal(frames.data, expected)
            np.testing.assert_allclose(frames.times, recorded.times.seconds() * 1e3, atol=1e-6)
            assert (reader.time_units, reader.data_units) == ("ms", unit_symbol(recorded.unit))
        for events in output.spikes:
            (path,) = (path for path in done.files if _has(path, f"spikes/{events.population}"))
            population = libsonata.SpikeReader(str(path))[events.population]
            assert population.time_units == "ms"
            ids, times = zip(*population.get(), strict=True)
            assert ids == tuple(events.node_ids)
            assert times == pytest.approx(events.times * 1e3)


@ORIGINS
def test_all_that_is_exported_for_bmtk_is_opened_by_it(
    make: Source, bmtk: Any, tmp_path: Path
) -> None:
    source = make(tmp_path)

    done = export_sonata(source, tmp_path / "back", dialect="allen")

    assert not [note for note in done.left_out if "bmtk" in note]
    with open_output(source) as output:
        for recorded in output.reports:
            (path,) = (
                path
                for path in done.files
                if _has(path, f"report/{recorded.population}", {recorded.report, recorded.name})
            )
            reader = bmtk[0].load(str(path))[recorded.population]
            try:
                read = [reader.data(cell) for cell in reader.node_ids()]
                assert np.array_equal(np.hstack(read), recorded.data[:])
                assert reader.tstart() == pytest.approx(recorded.times.start * 1e3)
                assert reader.dt() == pytest.approx(1e3 / recorded.times.rate)
                assert len(reader.element_pos()) == recorded.data.shape[1]
            finally:
                reader.data_ds.file.close()
        for events in output.spikes:
            (path,) = (path for path in done.files if _has(path, f"spikes/{events.population}"))
            trains = bmtk[1].load(str(path), population=events.population)
            try:
                for cell in np.unique(events.node_ids):
                    found = trains.get_times(cell, population=events.population)
                    assert sorted(found) == pytest.approx(
                        sorted(events.times[events.node_ids == cell] * 1e3)
                    )
            finally:
                trains.close()


def _has(path: Path, group: str, stems: set[str] | None = None) -> bool:
    with h5py.File(path) as file:
        return group in file and (stems is None or path.stem in stems)


@pytest.mark.parametrize(
    ("make", "dialect", "match"),
    [
        (_potentials, "bbp", "lfp: written as bmtk does; libsonata does not read it"),
        (
            lambda path: _described(path, data=DATA.astype("f8")),
            "bbp",
            "only float32 with units; this is float64 with units",
        ),
        (
            lambda path: _described(path, unit=UNKNOWN),
            "bbp",
            "this is float32 with no units, which convert --unit sets",
        ),
        (
            lambda path: _described(path, data=DATA[:0], times=RegularTimes(0.0, 1e4, 0)),
            "bbp",
            "libsonata refuses the frames, of which there are none",
        ),
        (
            lambda path: _described(path, times=RegularTimes(-0.01, 1e4, 4)),
            "bbp",
            "libsonata refuses the frames, which start before 0",
        ),
        (
            _odd_sonata("bbp", element_ids=np.array([2**32, 0, 1, 2, 3, 4])),
            "bbp",
            "element ids above 4294967295",
        ),
        (
            _odd_sonata("bbp", time=(0.01, 0.0104, 1e-4), time_unit="s", root="reports"),
            None,
            "libsonata reads only /report",
        ),
        (
            _odd_sonata("bbp", time=(10.0, 11.0, 0.1)),
            None,
            "libsonata expects 10 rows from the time; there are 4",
        ),
        (
            _odd_sonata("bbp", time_unit=None),
            None,
            "report v: libsonata reads only times with units",
        ),
        (_odd_sonata("bbp"), None, "spikes of pop: libsonata reads only times with units"),
        (_odd_sonata("bbp"), None, "spikes of pop: .* not sorted as the source states"),
        (_early_spikes, "bbp", "spikes of pop: libsonata refuses them all, as some are before 0"),
        (_odd_sonata("allen"), None, "the source has no element_pos; bmtk needs one"),
        (_odd_sonata("allen", root="reports"), None, "bmtk reads only /report"),
        (
            _odd_sonata("allen", time=(0.01, 0.0104, 1e-4), time_unit="s"),
            None,
            "bmtk reads times as ms; these are in s",
        ),
        (_odd_sonata("allen", time=(10.0, 10.3, 0.1)), None, "bmtk expects 3 rows"),
        (
            _odd_sonata("bbp", node_ids=np.array([5, 5, 5])),
            "bbp",
            "libsonata selects one compartment",
        ),
        (_odd_sonata("bbp", node_ids=np.array([5, 5, 5])), "allen", "bmtk selects the last entry"),
    ],
)
def test_what_its_reader_cannot_read_is_told(
    make: Source, dialect: Any, match: str, tmp_path: Path
) -> None:
    written = export_sonata(make(tmp_path), tmp_path / "back", dialect=dialect)

    assert any(re.search(match, note) for note in written.left_out), written.left_out


@pytest.mark.parametrize(
    "name",
    [
        "allen_tutorial_membrane.h5",
        "bcl_hypamp_soma_extra_frame.h5",
        "nd_v5_synapse.h5",
        "snap_soma_named_short_pointers.h5",
        "syn_frames_more_than_time.h5",
        "syn_start100.h5",
    ],
)
def test_a_genuine_report_is_opened_by_the_readers_of_both_dialects(
    name: str, libsonata: Any, bmtk: Any, sonata_data: Path, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SimulationOutputWarning)
        unit = {Path(name).stem: "mV"}
        options: Any = {"metadata": SESSION, "unit": unit if name.startswith("allen") else None}
        source = convert(sonata_data / name, tmp_path / "o.nwb", **options).path
    for dialect in ("bbp", "allen"):
        export_sonata(source, tmp_path / dialect, dialect=dialect, dtype="float32")

    with open_output(source) as output:
        for recorded in output.reports:
            population, shape = recorded.population, recorded.data.shape
            reader = libsonata.ElementReportReader(str(tmp_path / "bbp" / name))[population]
            assert reader.get().data.shape == shape
            other = bmtk[0].load(str(tmp_path / "allen" / name))[population]
            try:
                expected = np.asarray(recorded.data[:, :5], np.float32)
                assert np.array_equal(other.data()[:, :5], expected)
                assert other.data().shape == shape
            finally:
                other.data_ds.file.close()


@pytest.mark.parametrize("dtype", ["int16", "float16", "nonsense"])
def test_a_dtype_that_changes_values_is_refused(dtype: str, tmp_path: Path) -> None:
    source = _described(tmp_path)

    with pytest.raises(ExportError, match=f"dtype is '{dtype}'; expected float32 or float64"):
        export_sonata(source, tmp_path / "back", dtype=dtype)
    assert not (tmp_path / "back").exists()


def test_a_population_that_sonata_cannot_name_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    table = CompartmentTable.from_cells("pop", np.array(IDS))
    times, unit = RegularTimes(0.0, 1.0, 4), Unit("volts")
    made = Report("v", "v", DATA[:, :3], times, table, unit)
    events = Spikes("a/b", np.array([5]), np.array([0.5]))
    output = SimulationOutput(reports=(made,), spikes=(events,))
    source = convert(output, tmp_path / "o.nwb", metadata=SESSION).path

    with pytest.raises(ExportError, match="cannot be the name of an HDF5 group"):
        export_sonata(source, tmp_path / "back")

    assert not (tmp_path / "back").exists()


def test_snap_reads_an_exported_report_and_spikes(tmp_path: Path) -> None:
    bluepysnap = pytest.importorskip("bluepysnap", reason="bluepysnap is not installed")
    source = _odd_sonata("allen", data=DATA.astype("f8"), time_unit=None)(tmp_path)
    export_sonata(source, tmp_path / "output", dialect="bbp", dtype="float32")
    with h5py.File(tmp_path / "nodes.h5", "w") as file:
        file["nodes/pop/node_type_id"] = np.zeros(8, int)
        file["nodes/pop/0/mtype"] = np.array([b"L5"] * 8)
    nodes = {"nodes_file": "nodes.h5", "populations": {"pop": {"type": "point_neuron"}}}
    circuit = {"version": 2, "networks": {"nodes": [nodes], "edges": []}}
    (tmp_path / "circuit_config.json").write_text(json.dumps(circuit))
    reports = {"v": {"cells": "all", "variable_name": "v", "type": "compartment", "dt": 0.1}}
    reports["v"] |= {"start_time": 10, "end_time": 10.4, "sections": "all"}
    config = {
        "network": "circuit_config.json",
        "run": {"tstop": 10.4, "dt": 0.1, "random_seed": 1},
        "output": {"output_dir": "output", "spikes_file": "v.h5"},
        "reports": reports,
    }
    (tmp_path / "simulation_config.json").write_text(json.dumps(config))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        simulation = bluepysnap.Simulation(tmp_path / "simulation_config.json")
        frame = simulation.reports["v"]["pop"].get()
        events = simulation.spikes["pop"].get()

    assert frame[5].to_numpy().tolist() == DATA[:, :2].tolist()
    assert frame.index.tolist() == pytest.approx([10.0, 10.1, 10.2, 10.3])
    assert sorted(events.index) == [0.5, 1.125, 2.25]


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
