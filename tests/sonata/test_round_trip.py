"""Conversion from SONATA to NWB and export to SONATA keep the content."""

import json
import shutil
import tempfile
import warnings
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pynwb import NWBHDF5IO, NWBFile

from ndx_simulation_output import (
    SimulationOutputWarning,
    convert,
    export_sonata,
    open_output,
    sonata,
)
from ndx_simulation_output.cable import simulate
from ndx_simulation_output.info import facts_of
from tests.conftest import DATA
from tests.sonata.making import SESSION, File, differences, report, spikes
from tests.strategies import ecp_files, report_files, spike_files

_INDEX = DATA / "sonata" / "INDEX.json"
INDEX: dict[str, Any] = json.loads(_INDEX.read_text()) if _INDEX.is_file() else {}
# What has no recorded signal, and what is not SONATA before and is afterwards.
OTHERS = {
    "allen_5cells_old_cellvar.h5",
    "ext_electrodes.h5",
    "nd_lfp_electrodes_file.h5",
    "pysonata_spikes_nwb1.nwb",
}
# Empty groups are dropped; pointers of length N get their end.
NORMALISED = {
    "libsonata_elements.h5": [
        "report/element1 only in the first",
        "report/element42 only in the first",
    ],
    "libsonata_somas.h5": ["report/soma2 only in the first"],
    "snap_soma_named_short_pointers.h5": [
        f"report/{population}/mapping/index_pointers has shape (3,) and (4,)"
        for population in ("default", "default2")
    ],
}
FILES = sorted(set(INDEX) - OTHERS)

relaxed = settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)


def _there_and_back(
    source: Path | list[Path], directory: Path, *, dialect: Any = None, **options: Any
) -> list[Path]:
    """Convert and export; return the exported files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SimulationOutputWarning)
        convert(source, directory / "between.nwb", metadata=SESSION, overwrite=True, **options)
    return export_sonata(directory / "between.nwb", directory / "back", dialect=dialect).files


@pytest.mark.parametrize(
    "name", FILES or [pytest.param("", marks=pytest.mark.skip(reason="no genuine files"))]
)
def test_a_genuine_file_comes_back_the_same(name: str, sonata_data: Path, tmp_path: Path) -> None:
    source = sonata_data / name

    back = _there_and_back(source, tmp_path)

    assert [path.name for path in back] == [name]
    assert differences(source, back[0]) == NORMALISED.get(name, [])


@pytest.mark.parametrize("name", ["allen_9cells_v.h5", "nd_ring_comp_v.h5", "bcl_soma_hippo.h5"])
def test_a_genuine_report_that_was_split_in_time_comes_back_the_same(
    name: str, sonata_data: Path, tmp_path: Path
) -> None:
    parts = [tmp_path / part / name for part in ("late", "early")]
    for part in parts:
        part.parent.mkdir()
        shutil.copy(sonata_data / name, part)
        with h5py.File(part, "r+") as file:
            for group in file["report"].values():
                values, attributes = group["data"][:], dict(group["data"].attrs)
                cut = len(values) // 3
                rows = (cut, len(values)) if part is parts[0] else (0, cut)
                del group["data"]
                group["data"] = values[slice(*rows)]
                group["data"].attrs.update(attributes)
                start, _, step = group["mapping/time"][:]
                group["mapping/time"][:2] = start + np.array(rows) * step

    back = _there_and_back(parts, tmp_path)

    assert differences(sonata_data / name, back[0]) == []


def test_spikes_of_an_nwb_1_file_go_out_as_sonata_with_the_same_bits(
    sonata_data: Path, tmp_path: Path
) -> None:
    source = sonata_data / "pysonata_spikes_nwb1.nwb"
    with h5py.File(source) as file:
        trains = file["processing/trial_0/spike_train"]
        expected = {int(key): train["data"][:].tolist() for key, train in trains.items()}

    back = _there_and_back(source, tmp_path)

    with h5py.File(back[0]) as file:
        ids, times = (file[f"spikes/unknown/{key}"][:] for key in ("node_ids", "timestamps"))
        assert file["spikes/unknown/timestamps"].attrs["units"] == "ms"
    assert {cell: times[ids == cell].tolist() for cell in np.unique(ids)} == {
        cell: train for cell, train in expected.items() if train
    }


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_spikes_of_an_nwb_1_file_keep_their_times_whatever_their_unit(
    unit: str, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "old.nwb", "w") as file:
        train = file.create_dataset("processing/trial_0/spike_train/3/data", data=[1.5, 2.5])
        train.attrs["unit"] = unit
    seconds = 1.0 if unit == "s" else 1e-3

    back = _there_and_back(tmp_path / "old.nwb", tmp_path)

    with h5py.File(back[0]) as file:
        times = file["spikes/unknown/timestamps"]
        factor = {"s": 1.0, "ms": 1e-3}[times.attrs["units"]]
        assert times[:] * factor == pytest.approx([1.5 * seconds, 2.5 * seconds])


def test_the_electrodes_of_the_tutorial_come_back_with_the_same_positions(
    sonata_data: Path, tmp_path: Path
) -> None:
    electrodes = sonata_data / "allen_tutorial_electrodes.csv"

    back = _there_and_back([sonata_data / "allen_tutorial_ecp.h5", electrodes], tmp_path)

    assert [path.name for path in back] == ["allen_tutorial_ecp.h5", electrodes.name]
    assert back[1].read_text().split() == electrodes.read_text().split()


@pytest.mark.parametrize("dialect", ["bbp", "allen"])
@given(data=st.data())
@relaxed
def test_any_report_comes_back_the_same(dialect: str, data: st.DataObject) -> None:
    file = data.draw(report_files(dialect))
    with tempfile.TemporaryDirectory() as directory:
        source = file.write(Path(directory) / "v.h5")

        back = _there_and_back(source, Path(directory))

        assert differences(source, back[0]) == [
            f"{name} has shape {values.shape} and ({len(values) + 1},)"
            for name, values in sorted(file.datasets.items())
            if "index_pointer" in name
            and len(values) == len(file.datasets[f"{name.rsplit('/', 1)[0]}/node_ids"])
        ]


def _compartments(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return (cell, element id, data) of each compartment of each population, cell by cell."""
    found = {}
    with h5py.File(path) as file:
        root = file["reports" if "reports" in file else "report"]
        for name, group in root.items():
            mapping, data = group["mapping"], group["data"][:]
            pointers = mapping["index_pointers" if "index_pointers" in mapping else "index_pointer"]
            ends = [*pointers[1:], data.shape[1]][: len(mapping["node_ids"])]
            elements = mapping["element_ids"][:]
            rows = [
                (int(cell), int(elements[column]), data[:, column].tobytes())
                for cell, start, end in zip(mapping["node_ids"], pointers, ends, strict=False)
                for column in range(int(start), int(end))
            ]
            cells = list(dict.fromkeys(int(cell) for cell in mapping["node_ids"]))
            found[name] = [(cell, *(row[1:] for row in rows if row[0] == cell)) for cell in cells]
    return found


@given(file=report_files("bbp", entries_of_one=False))
@relaxed
def test_cells_listed_in_any_way_keep_their_compartments(file: File) -> None:
    with tempfile.TemporaryDirectory() as directory:
        source = file.write(Path(directory) / "v.h5")

        back = _there_and_back(source, Path(directory))

        assert _compartments(back[0]) == _compartments(source)


@given(file=report_files("bbp"))
@relaxed
def test_a_report_keeps_values_ids_order_and_times_through_the_other_dialect(file: File) -> None:
    with tempfile.TemporaryDirectory() as directory:
        places = [Path(directory) / name for name in ("one", "two")]
        for place in places:
            place.mkdir()
        source = file.write(Path(directory) / "v.h5")

        allen = _there_and_back(source, places[0], dialect="allen")[0]
        back = _there_and_back(allen, places[1], dialect="bbp")[0]

        with h5py.File(source, "r+") as renamed:
            # The readers of both dialects open only /report, and take all times as ms.
            if "reports" in renamed:
                renamed.move("reports", "report")
        left = [
            difference
            for difference in differences(source, back, values_only=True)
            if "element_pos only in the second" not in difference
            and "index_pointers has shape" not in difference
            and "mapping/time has the values" not in difference
        ]
        assert left == []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SimulationOutputWarning)
            first, second = open_output(source), open_output(back)
        with first, second:
            for one, other in zip(first.reports, second.reports, strict=True):
                assert one.times.count == other.times.count
                assert one.times.rate == pytest.approx(other.times.rate, rel=1e-12)
                assert one.times.start == pytest.approx(other.times.start, rel=1e-12)


@pytest.mark.parametrize("dialect", ["bbp", "allen"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
@pytest.mark.parametrize(
    ("triple", "start", "rate"),
    [
        ([0.0, 0.3, 0.1], 0.0, 1e4),
        ([1000.1, 1000.175, 0.025], 1.0001, 4e4),
        ([0.0, 0.1, 1 / 30], 0.0, 3e4),
        ([5.0, 5.3703701, 0.1234567], 0.005, None),
    ],
)
def test_times_rounded_to_float32_have_the_rate_a_person_meant(
    triple: list[float], start: float, rate: float | None, dtype: str, dialect: str, tmp_path: Path
) -> None:
    rounded = np.asarray(np.float32(triple), dtype)
    file = report(time=rounded, dialect=dialect, element_pos=np.zeros(3))
    source = file.write(tmp_path / "v.h5")

    back = _there_and_back(source, tmp_path)

    with open_output(tmp_path / "between.nwb") as output:
        times = output["v"].times
        assert (times.start, times.rate) == (start, rate or 1000.0 / float(np.float32(triple[2])))
    assert differences(source, back[0]) == []


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("made", "rate"),
    [
        (lambda: np.arange(1000) * 0.1, 1e4),
        (lambda: 10.3 + np.arange(50) * 0.025, 4e4),
        (lambda: np.cumsum(np.full(5000, 0.025)), 4e4),
        (lambda: np.arange(90) / 30, 3e4),
        (lambda: np.cumsum(np.full(1000, 0.1, "f4")), None),
        (lambda: np.append(np.arange(9) * 0.1, 0.95), None),
    ],
)
def test_a_vector_of_times_is_regular_where_it_was_meant_to_be(
    made: Any, rate: float | None, dtype: str, tmp_path: Path
) -> None:
    vector = made().astype(dtype)
    data = np.zeros((len(vector), 3), np.float32)
    source = report(data=data, time=None).write(tmp_path / "v.h5")
    with h5py.File(source, "r+") as file:
        file["report/pop/mapping/time"] = vector
        file["report/pop/mapping/time"].attrs["units"] = "ms"

    with open_output(source) as output:
        times = output["v"].times
        error = np.spacing(np.abs(vector).max()) / 1e3 + 1e-12
        np.testing.assert_allclose(times.seconds(), vector / 1e3, rtol=0, atol=error)
        assert getattr(times, "rate", None) == rate


@given(file=spike_files())
@relaxed
def test_any_spikes_come_back_the_same_to_the_bit(file: File) -> None:
    with tempfile.TemporaryDirectory() as directory:
        source = file.write(Path(directory) / "spikes.h5")

        back = _there_and_back(source, Path(directory))

        assert differences(source, back[0]) == []


@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("ids", "times"),
    [
        ([3, 1, 3], [0.5, np.nan, 2.25]),
        ([3, 1, 3, 9], [np.nan, np.inf, 0.3, -np.inf]),
        ([7, 7], [np.nan, np.nan]),
    ],
)
def test_spikes_at_times_that_are_not_finite_come_back(
    ids: list[int], times: list[float], dtype: str, tmp_path: Path
) -> None:
    file = spikes(ids, times, sorting="none") | report()
    file.datasets["spikes/pop/timestamps"] = np.asarray(times, dtype)
    source = file.write(tmp_path / "v.h5")
    lost = sum(not np.isfinite(time) for time in times)

    with pytest.warns(SimulationOutputWarning, match=f"{lost} spikes of population 'pop' at times"):
        notes = convert(source, tmp_path / "o.nwb", metadata=SESSION).notes
    back = export_sonata(tmp_path / "o.nwb", tmp_path / "back").files

    assert f"{lost} spikes of population 'pop' at times that are not finite" in notes[-1]
    with open_output(tmp_path / "o.nwb") as output:
        assert notes[-1] in facts_of(output)["notes"]
        found = np.concatenate([np.zeros(0), *(some.times for some in output.spikes)])
    assert np.isfinite(found).all()
    assert len(found) == len(times) - lost
    assert differences(source, back[0]) == []


def test_spikes_at_times_that_are_not_finite_in_text_are_left_out(tmp_path: Path) -> None:
    source = tmp_path / "spikes.csv"
    source.write_text("timestamps population node_ids\n0.5 pop 3\nnan pop 1\ninf pop 3\n")

    with pytest.warns(SimulationOutputWarning, match="left out: 2 spikes of population 'pop'"):
        output = open_output(source)

    with output:
        assert output.spikes[0].times.tolist() == [0.0005]


def test_units_of_others_with_times_that_are_not_finite_are_read_without_them(
    tmp_path: Path,
) -> None:
    nwbfile = NWBFile("units", "id", datetime(2026, 1, 31, tzinfo=timezone.utc))
    nwbfile.add_unit(spike_times=[0.1, np.nan, 0.3])
    nwbfile.add_unit(spike_times=[np.inf, 0.2])
    with NWBHDF5IO(tmp_path / "o.nwb", "w") as io:
        io.write(nwbfile)

    with open_output(tmp_path / "o.nwb") as output:
        assert output.spikes[0].times.tolist() == [0.1, 0.3, 0.2]
        assert output.spikes[0].node_ids.tolist() == [0, 0, 1]
        assert output.notes == ("left out: 2 spike times of the units that are not finite",)


@given(file=spike_files().filter(lambda file: "spikes/gids" not in file.datasets))
@relaxed
def test_spikes_keep_their_times_and_order_through_the_other_dialect(file: File) -> None:
    with tempfile.TemporaryDirectory() as directory:
        places = [Path(directory) / name for name in ("one", "two")]
        for place in places:
            place.mkdir()
        source = file.write(Path(directory) / "spikes.h5")

        bbp = _there_and_back(source, places[0], dialect="bbp")[0]
        allen = _there_and_back(bbp, places[1], dialect="allen")[0]

        assert differences(source, allen, values_only=True) == []


@given(made=ecp_files())
@relaxed
def test_any_potentials_come_back_the_same(made: tuple[File, bool, str | None]) -> None:
    file, transposed, electrodes = made
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        sources = [file.write(directory / "ecp.h5")]
        if electrodes is not None:
            sources.append(directory / "electrodes.csv")
            sources[1].write_text(electrodes)

        back = _there_and_back(sources, directory)

        if transposed:
            file.datasets["ecp/data"] = file.datasets["ecp/data"].T
            file.storage = {}
            file.write(sources[0])
        assert differences(sources[0], back[0]) == []
        if electrodes is not None:
            found, expected = (
                [[float(value) for value in line.split()] for line in text.splitlines()[1:]]
                for text in (back[1].read_text(), electrodes)
            )
            assert found == expected


def test_data_that_were_changed_in_nwb_are_not_forced_into_the_type_of_the_source(
    tmp_path: Path,
) -> None:
    source = report(data=np.zeros((3, 3), np.int16)).write(tmp_path / "v.h5")
    convert(source, tmp_path / "o.nwb", metadata=SESSION)
    with h5py.File(tmp_path / "o.nwb", "r+") as file:
        attributes = dict(file["acquisition/v/data"].attrs)
        del file["acquisition/v/data"]
        file["acquisition/v/data"] = np.full((3, 3), 0.75)
        file["acquisition/v/data"].attrs.update(attributes)

    export_sonata(tmp_path / "o.nwb", tmp_path / "back")

    with h5py.File(tmp_path / "back" / "v.h5") as back:
        assert back["report/pop/data"][:].tolist() == [[0.75] * 3] * 3


def test_spikes_of_cells_added_in_nwb_are_not_forced_into_the_ids_of_the_source(
    tmp_path: Path,
) -> None:
    source = spikes([1, 2], [0.5, 1.5])
    source.datasets["spikes/pop/node_ids"] = np.asarray([1, 2], np.uint8)
    convert(source.write(tmp_path / "s.h5"), tmp_path / "o.nwb", metadata=SESSION)
    with h5py.File(tmp_path / "o.nwb", "r+") as file:
        ids = file["units/node_id"][:] + 300
        attributes = dict(file["units/node_id"].attrs)
        del file["units/node_id"]
        file["units/node_id"] = ids
        file["units/node_id"].attrs.update(attributes)

    export_sonata(tmp_path / "o.nwb", tmp_path / "back")

    with h5py.File(tmp_path / "back" / "s.h5") as back:
        assert back["spikes/pop/node_ids"][:].tolist() == [301, 302]


def test_names_for_which_other_systems_have_no_file_are_changed(
    tmp_path: Path,
) -> None:
    (tmp_path / "run").mkdir()
    for value, name in enumerate(["V", "v", "a:b"]):
        report(data=np.full((3, 3), value, "f4")).write(tmp_path / "run" / f"{name}.h5")

    convert(tmp_path / "run", tmp_path / "run.nwb", metadata=SESSION)
    written = export_sonata(tmp_path / "run.nwb", tmp_path / "out")

    assert sorted(path.name for path in written.files) == ["V.h5", "a_b.h5", "v_2.h5"]
    assert written.left_out == [
        "the name v.h5: not every system has such a file beside the others; written as v_2.h5",
        "the name a:b.h5: not every system has such a file beside the others; written as a_b.h5",
    ]
    for value, name in enumerate(["V", "v_2", "a_b"]):
        with h5py.File(tmp_path / "out" / f"{name}.h5") as file:
            assert (file["report/pop/data"][()] == value).all()


def test_values_too_large_for_float32_are_noted(tmp_path):
    output = simulate(duration=0.005)
    values = np.asarray(output["i_membrane"].data[:], np.float64)
    values[3, 2], values[4, 5], values[1, 1] = 1e300, -1e39, np.inf
    large = replace(output, reports=(replace(output["i_membrane"], data=values),))

    written = sonata.write(large, tmp_path / "narrow", dtype="float32")
    wide = sonata.write(large, tmp_path / "wide", dtype="float64")

    noted = [note for note in written.left_out if "float32" in note]
    assert noted == ["/report/exc: 2 values are too large for float32, and became infinite"]
    assert not [note for note in wide.left_out if "too large" in note]
    with h5py.File(tmp_path / "narrow" / "i_membrane.h5") as file:
        assert np.isinf(file["report/exc/data"][:]).sum() == 3
