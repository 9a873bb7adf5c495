"""Storages of all versions, and what their writers did wrong, are read as they were meant."""

import h5py
import numpy as np
import pytest

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import NothingRecordedError, SourceError, UnitError, UnitWarning
from ndx_simulation_output.neuronvisio.description import restore
from ndx_simulation_output.recording import RegularTimes, Timestamps, Unit
from tests.neuronvisio.making import CABLES, add_truths, neuroml, storage

TIMES = np.arange(5) * 0.25
VALUES = np.linspace(-65, 20, 5)


def contents_of(path) -> dict:
    """References by group and section: their vectors and detail."""
    with open_output(path) as output:
        return {
            group.name: [
                (ref.section, ref.detail, {key: np.asarray(v[()]) for key, v in ref.vecs.items()})
                for ref in group.refs
            ]
            for group in restore(output).groups
        }


@pytest.mark.parametrize("of_version_05", [True, False])
def test_traces_of_sections_are_a_report_in_millivolts(tmp_path, of_version_05):
    path = storage(tmp_path / "storage.h5", of_version_05=of_version_05)

    with open_output(path) as output:
        report = output["v"]

        np.testing.assert_array_equal(report.data[:, :], VALUES[:, np.newaxis])
        assert report.unit == Unit("volts", 1e-3)
        assert report.times == RegularTimes(0.0, 4000.0, 5)
        assert output.run.simulator_version == "8.0.2"
        assert output.run.morphology == neuroml()


def test_full_names_positions_and_places_come_from_the_geometry(tmp_path):
    arrays = {"VecRef/x": TIMES, "VecRef/dend_0/v": VALUES, "VecRef/soma/v": VALUES}

    with open_output(storage(tmp_path / "storage.h5", arrays)) as output:
        table = output["v"].compartments

    assert table.columns["label"].tolist() == ["dend[0]", "soma"]
    assert table.columns["position"].tolist() == [0.625, 0.5]
    assert table.columns["number"].tolist() == [1, 0]
    assert table.columns["y"].tolist() == [62.5, 0.0]
    assert table.columns["diameter"].tolist() == [1.75, 20.0]
    assert table.cell_columns["cell_name"].tolist() == ["soma"]


@pytest.mark.parametrize(("nseg", "position"), [(1, 0.5), (2, 0.75), (3, 0.5), (4, 0.625)])
def test_the_position_is_the_centre_of_the_segment_that_neuron_takes(tmp_path, nseg, position):
    cables = {"soma": ("soma", nseg, [(0, 0, 0, 1), (8, 0, 0, 1)])}
    path = storage(tmp_path / "storage.h5", geometry=neuroml({"soma": cables}))

    with open_output(path) as output:
        columns = output["v"].compartments.columns

    assert columns["position"].tolist() == [position]
    assert columns["x"].tolist() == [8 * position]


def test_brackets_that_old_versions_kept_are_understood(tmp_path):
    arrays = {"VecRef/x": TIMES, "VecRef/dend[0]/v": VALUES}

    with open_output(storage(tmp_path / "storage.h5", arrays)) as output:
        assert output["v"].compartments.columns["label"].tolist() == ["dend[0]"]


def test_without_comments_names_are_those_of_the_cables(tmp_path):
    arrays = {"VecRef/x": TIMES, "VecRef/dend_0/v": VALUES}
    path = storage(tmp_path / "storage.h5", arrays, geometry=neuroml(comments=False))

    with open_output(path) as output:
        assert output["v"].compartments.columns["label"].tolist() == ["dend_0"]


def test_a_section_of_two_cells_keeps_its_name_and_is_noted(tmp_path):
    cells = {f"Cell_{n}": {"soma": (f"Cell[{n}].soma", 1, CABLES["soma"][2])} for n in range(2)}
    path = storage(tmp_path / "storage.h5", geometry=neuroml(cells))

    with open_output(path) as output:
        assert output["v"].compartments.columns["label"].tolist() == ["soma"]
        assert output["v"].compartments.cell_columns["cell_name"].tolist() == ["unknown"]
        (note,) = output.notes

    assert "Cell[0].soma, Cell[1].soma" in note


def test_two_cells_are_two_rows(tmp_path):
    # In the file, the section of the second cell comes first.
    cells = {"Cell_0": {"z": ("Cell[0].z", 1, CABLES["soma"][2])}}
    cells["Cell_1"] = {"a": ("Cell[1].a", 1, CABLES["soma"][2])}
    arrays = {"VecRef/x": TIMES, "VecRef/a/v": VALUES, "VecRef/z/v": VALUES + 1}
    path = storage(tmp_path / "storage.h5", arrays, geometry=neuroml(cells))

    with open_output(path) as output:
        table = output["v"].compartments

        assert table.cell_ids.tolist() == [0, 1]
        assert table.cell_columns["cell_name"].tolist() == ["Cell_0", "Cell_1"]
        np.testing.assert_array_equal(output["v"].get_traces(cells=1)[:, 0], VALUES * 1e-3)


def test_a_file_without_geometry_is_read(tmp_path):
    path = storage(tmp_path / "storage.h5", geometry=None)

    with open_output(path) as output:
        assert output["v"].compartments.columns["position"].tolist() == [0.5]
        assert "x" not in output["v"].compartments.columns
        assert "no geometry" in output.notes[0]


def test_a_group_that_was_put_into_a_section_is_found_without_its_x(tmp_path):
    arrays = {
        "VecRef/x": TIMES,
        "VecRef/soma/v": VALUES,
        "VecRef/soma/spine/ca": np.array([1.0, 2.0]),
    }
    path = storage(tmp_path / "storage.h5", arrays)

    found = contents_of(path)
    with open_output(path) as output:
        group = next(group for group in output.arrays if group.name == "soma")

    assert [name for name, *_ in found["soma"]] == ["spine"]
    assert found["soma"][0][2]["ca"].tolist() == [1.0, 2.0]
    assert group.axes == ()
    assert "group soma was found in a section of group VecRef" in output.notes[0]


def test_arrays_beside_x_are_those_of_a_section_named_as_the_group(tmp_path):
    arrays = {"spines/x": TIMES, "spines/ca": np.array([1, 2])}

    found = contents_of(storage(tmp_path / "storage.h5", arrays))

    assert [name for name, *_ in found["spines"]] == ["spines"]


def test_what_shares_a_section_is_told_apart_by_its_detail(tmp_path):
    arrays = {"SynVecRef/x": TIMES, "SynVecRef/soma/i": VALUES, "SynVecRef/soma/g": VALUES}
    details = {"SynVecRef/soma/i": "AMPA", "SynVecRef/soma/g": "NMDA µ"}
    path = storage(tmp_path / "storage.h5", arrays, details=details)

    found = contents_of(path)["SynVecRef"]

    assert sorted((detail, *vecs) for _, detail, vecs in found) == [("AMPA", "i"), ("NMDA µ", "g")]


def test_synapses_say_no_position(tmp_path):
    arrays = {"SynVecRef/x": TIMES, "SynVecRef/soma/i": VALUES}

    with open_output(storage(tmp_path / "storage.h5", arrays)) as output:
        report = output["SynVecRef_i"]

    assert np.isnan(report.compartments.columns["position"]).all()
    assert report.unit == Unit("amperes", 1e-9)


OWN = {
    "integers": np.arange(5),
    "matrix": np.zeros((5, 2)),
    "shorter": np.array([1.0, 2.0]),
    "complex": np.array([1 + 2j] * 5),
    "bytes": np.array([b"a", b"bc", b"", b"d", b"e"]),
    "scalar": np.float64(3.5),
    "single": np.array([1, 2], np.float16),
    "other_order": np.array([1, 2], ">i4"),
}


@pytest.mark.parametrize("variable", OWN)
def test_what_is_no_trace_keeps_its_type_and_shape(tmp_path, variable):
    arrays = {"VecRef/x": TIMES, "VecRef/soma/v": VALUES, f"VecRef/soma/{variable}": OWN[variable]}
    path = storage(tmp_path / "storage.h5", arrays)

    found = contents_of(path)["VecRef"][0][2][variable]
    with open_output(path) as output:
        reports = [report.name for report in output.reports]

    np.testing.assert_array_equal(found, OWN[variable])
    assert (found.dtype, found.shape) == (OWN[variable].dtype, OWN[variable].shape)
    assert reports == ["v"]


def test_truth_values_are_truth_values(tmp_path):
    path = storage(tmp_path / "storage.h5")
    add_truths(path, "VecRef/soma/fired", [True, False, True])

    found = contents_of(path)["VecRef"][0][2]["fired"]

    assert (found.dtype, found.tolist()) == (np.dtype(bool), [True, False, True])


def test_a_section_without_arrays_and_an_empty_x_are_kept(tmp_path):
    path = storage(tmp_path / "storage.h5", {"VecRef/x": np.zeros(0), "VecRef/soma": None})

    with open_output(path) as output:
        (group,) = output.arrays

        assert group.axes[0].values.shape == (0,)
        assert output.reports == ()
    assert contents_of(path) == {"VecRef": [("soma", "", {})]}


def test_irregular_times_are_timestamps(tmp_path):
    x = np.array([0.0, 0.1, 0.1 + 3e-14, 2.0, 2.5])
    path = storage(tmp_path / "storage.h5", {"VecRef/x": x, "VecRef/soma/v": VALUES})

    with open_output(path) as output:
        times = output["v"].times

    assert isinstance(times, Timestamps)
    np.testing.assert_array_equal(times.values, x * 1e-3)


@pytest.mark.parametrize("count", [2, 10, 480, 40001])
def test_times_that_neuron_added_up_are_regular(tmp_path, count):
    x = np.cumsum(np.full(count, 0.025)) - 0.025
    path = storage(tmp_path / "storage.h5", {"VecRef/x": x, "VecRef/soma/v": np.zeros(count)})

    with open_output(path) as output:
        assert output["v"].times.rate == 40000.0


def test_steps_that_are_no_short_number_stay_as_they_are(tmp_path):
    x = np.arange(100_000) / 3
    path = storage(tmp_path / "storage.h5", {"VecRef/x": x, "VecRef/soma/v": x})

    with open_output(path) as output:
        seconds = output["v"].times.seconds(slice(-1, None))

    np.testing.assert_allclose(seconds, x[-1:] * 1e-3, rtol=1e-12)


@pytest.mark.parametrize("x", [TIMES[::-1], TIMES * np.nan, TIMES * 1j, np.zeros((5, 1))], ids=str)
def test_an_x_that_is_no_time_makes_no_report(tmp_path, x):
    path = storage(tmp_path / "storage.h5", {"VecRef/x": x, "VecRef/soma/v": VALUES})

    with open_output(path) as output:
        assert output.reports == ()
        (group,) = output.arrays
        found = {item.name: item.values[()] for item in (*group.axes, *group.arrays)}
    np.testing.assert_array_equal(found["x"], x)
    np.testing.assert_array_equal(found["soma_v"], VALUES)


def test_a_unit_that_is_not_known_is_asked_for(tmp_path):
    path = storage(tmp_path / "storage.h5", {"VecRef/x": TIMES, "VecRef/soma/q": VALUES})

    with pytest.warns(UnitWarning, match="--unit q=UNIT"), open_output(path) as output:
        assert not output["q"].unit.known
    with open_output(path, unit={"q": "nA"}) as output:
        assert output["q"].unit == Unit("amperes", 1e-9)


def test_the_x_of_other_groups_is_taken_for_ms_with_a_warning(tmp_path):
    arrays = {"Mine/x": TIMES, "Mine/spine/ca": VALUES}
    path = storage(tmp_path / "storage.h5", arrays)
    unit = {"ca": "mM"}

    with pytest.warns(UnitWarning, match="--time-unit Mine=UNIT"):
        open_output(path, unit=unit).close()
    with open_output(path, unit=unit, time_unit={"Mine": "s"}) as output:
        assert output["Mine_ca"].times.rate == 4.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": {"w": "mV"}}, "no 'w' whose unit"),
        ({"unit": {"v": "bananas"}}, "'bananas', which is not known"),
        ({"time_unit": {"w": "ms"}}, "no 'w' whose time unit"),
        ({"time_unit": {"VecRef": "mV"}}, "expected s, ms"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, options, message):
    path = storage(tmp_path / "storage.h5")

    with pytest.raises(UnitError, match=message):
        open_output(path, **options)


def test_options_of_sonata_are_refused(tmp_path):
    with pytest.raises(SourceError, match="Neuronvisio, which has no option dt"):
        open_output(storage(tmp_path / "storage.h5"), dt=0.1)


def test_a_file_without_groups_holds_nothing(tmp_path):
    with pytest.raises(NothingRecordedError, match="results holds no group"):
        open_output(storage(tmp_path / "storage.h5", {}))


def test_all_types_of_the_same_variable_are_reports(tmp_path):
    arrays = {
        "VecRef/x": TIMES,
        "VecRef/soma/v": VALUES,
        "VecRef/dend_0/v": VALUES.astype(np.float32),
    }

    with open_output(storage(tmp_path / "storage.h5", arrays)) as output:
        found = {report.name: report.data.dtype.str for report in output.reports}

    assert sorted(found.values()) == ["<f4", "<f8"]
    assert set(found) == {"v", "v_2"}


def test_rows_and_columns_are_read_alone(tmp_path):
    arrays = {"VecRef/x": TIMES, "VecRef/soma/v": VALUES, "VecRef/dend_0/v": -VALUES}

    with open_output(storage(tmp_path / "storage.h5", arrays)) as output:
        data = output["v"].data

        np.testing.assert_array_equal(data[1:3, 0:1], -VALUES[1:3, np.newaxis])
        np.testing.assert_array_equal(data[::2, 1:], VALUES[::2, np.newaxis])
        np.testing.assert_array_equal(data[3:], np.column_stack([-VALUES, VALUES])[3:])


def test_damage_is_not_hidden(tmp_path):
    path = storage(tmp_path / "storage.h5")
    with h5py.File(path, "r+") as file:
        file["results/VecRef/soft"] = h5py.SoftLink("/results/VecRef/soma")
        file["results/VecRef/outside"] = h5py.ExternalLink("other.h5", "/")
        file["results/VecRef/soma/table"] = np.zeros(2, [("a", "i4"), ("b", "f4")])
        file["results/VecRef/soma/text"] = "text"
        file["results/stray"] = 1.0

    with open_output(path) as output:
        notes = "\n".join(output.notes)
        assert [report.name for report in output.reports] == ["v"]

    for name in ("soft", "outside", "table", "text", "stray"):
        assert name in notes
