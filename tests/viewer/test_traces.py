"""Panels of traces, channels and heat maps: what is drawn, named, picked, compared and saved."""

import csv
import io
from dataclasses import replace
from datetime import datetime, timezone

import h5py
import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")

from bokeh.document import Document
from bokeh.events import RangesUpdate, Tap

from ndx_simulation_output.errors import NothingRecordedError, ShapeMismatchError
from ndx_simulation_output.nwb import writer
from ndx_simulation_output.plots.look import COLORS
from ndx_simulation_output.recording import (
    CompartmentTable,
    Electrodes,
    ExtracellularPotential,
    RegularTimes,
    Report,
    SimulationOutput,
    Timestamps,
    Unit,
)
from ndx_simulation_output.viewer.compare import difference_of, matching_columns, require_real
from ndx_simulation_output.viewer.controls import python_code, read_rows
from ndx_simulation_output.viewer.heat_maps import order_rows
from ndx_simulation_output.viewer.page import open_page
from ndx_simulation_output.viewer.session import Downloads, ViewedFile
from tests.viewer.making import ROWS, a_circuit, a_run, table, values


@pytest.fixture
def page_of():
    """Return a function that opens a page."""
    opened = []

    def make(*paths, query):
        files = [ViewedFile(path) for path in paths]
        opened.append(open_page(Document(), files, Downloads(), query))
        assert not opened[-1].session.message.text
        return opened[-1]

    yield make
    for page in opened:
        page.session.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write two runs, the second one shorter and with 2.5 mV more, and one with layers."""
    path = tmp_path_factory.mktemp("traces")
    return (
        a_run(path / "one.nwb"),
        a_run(path / "two.nwb", shift=2.5, rows=1500),
        a_circuit(path / "three.nwb"),
    )


def write(path, *reports, potentials=()):
    session = {"NWBFile": {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}}
    output = SimulationOutput(reports, potentials=potentials)
    writer.write(output, path, metadata=session, overwrite=True)
    return path


def panel_of(page, number=0):
    return page.cards[number].panel


def tap(panel, x, y):
    panel.figures[0]._trigger_event(Tap(panel.figures[0], x=x, y=y))  # noqa: SLF001 - no public method


def zoom(page, panel, window, rows=None):
    """Zoom as the browser does, and run the delayed callbacks."""
    page.session.time.show(window)
    if rows:
        panel.y_range.update(start=rows[1], end=rows[0])
    event = RangesUpdate(panel.figures[0], x0=0, x1=1, y0=0, y1=1)
    panel.figures[0]._trigger_event(event)  # noqa: SLF001 - no public method
    for waiting in list(page.session.waiting.values()):
        waiting.callback()


def saved(panel):
    """Return the names and numbers of the CSV file, and the variables of the Python code."""
    text = "".join(
        ",".join(map(str, row)) + "\n" for row in ([f'"{one}"' if isinstance(one, str) else one
        for one in row] for row in read_rows(panel.shown(), panel.files))
    )  # fmt: skip
    names, *rows = csv.reader(io.StringIO(text))
    variables = {}
    exec(python_code(panel.shown(), panel.files), variables)  # noqa: S102 - the code of the package
    return names, np.array(rows, float), variables


def test_somas_are_drawn_over_one_another_with_their_values_in_the_source(files, page_of):
    panel = panel_of(page_of(files[0], query="panel=traces:v"))

    lines = panel.lines.data

    with h5py.File(files[0]) as file:
        stored = file["acquisition/v/data"][:, ::4]
    assert (lines["cell"], lines["name"]) == ([3, 7, 12], ["cell 3", "cell 7", "cell 12"])
    np.testing.assert_allclose(np.transpose(lines["values"]), stored, rtol=1e-6)
    assert (lines["unit"][0], lines["number"], lines["position"]) == ("mV", [0] * 3, [0.25] * 3)
    assert lines["xs"][0][10] == pytest.approx(1.0)
    heights = [(max(ys) + min(ys)) / 2 for ys in lines["ys"]]
    assert heights == pytest.approx([2, 1, 0])
    step = (max(lines["ys"][0]) - min(lines["ys"][0])) / np.ptp(stored[:, 0])
    axis = panel._bar  # noqa: SLF001 - the scale bar
    assert (axis.bounds[1] - axis.bounds[0]) / step == pytest.approx(20, rel=1e-3)
    assert [*axis.major_label_overrides.values()] == ["20 mV"]
    assert panel.figure.yaxis[0].major_label_overrides[2] == "cell 3"


def test_a_picked_cell_has_several_compartments_and_a_click_picks(files, page_of):
    page = page_of(files[0], query="panel=traces:v;count=2&cell=exc:7")
    panel = panel_of(page)
    assert panel.lines.data["name"] == ["cell 3", "cell 7"]
    panel.option("count", 8)
    assert panel.lines.data["cell"] == [3, 7, 7, 7, 7, 12]
    assert panel.lines.selected.indices == [1, 2, 3, 4]

    tap(panel, 25.0, 4.9)

    assert (page.session.picked, page.session.time.at) == (("exc", (3,)), 0.025)
    assert page.session.compartment == (0, 0.25)
    assert panel.lines.data["cell"] == [3, 3, 3, 3, 7, 12]
    assert panel.lines.selected.indices == [0, 1, 2, 3]


def test_what_is_chosen_is_drawn_and_saved(files, page_of):
    page = page_of(files[2], query="panel=traces:v")
    panel, card = panel_of(page), page.cards[0]
    card.saving.toggle.active = True
    for text, compartments, cells, columns in (
        ("12,3", "1", [12, 12, 3, 3], [10, 11, 2, 3]),
        ("7", "", [7] * 4, [4, 5, 6, 7]),
        ("", "all", [3] * 4 + [7] * 4, range(8)),
        ("layer=L2", "", [3, 12], [0, 8]),
    ):
        page.session.cells = text
        panel.option("compartments", compartments)

        names, numbers, code = saved(panel)

        assert panel.lines.data["cell"] == cells
        assert (names[0], names[1][:6], names[1][-5:]) == (
            "time (ms)", f"cell {cells[0]}"[:6], " (mV)",
        )  # fmt: skip
        np.testing.assert_allclose(numbers[:, 1:], values()[:, list(columns)], rtol=1e-6)
        np.testing.assert_allclose(numbers[:, 1:] / 1e3, code["values"], rtol=1e-6)
        np.testing.assert_allclose(numbers[:, 0] / 1e3, code["times"])
        assert card.saving.text.text == python_code(panel.shown(), panel.files)


def test_a_wrong_choice_has_its_error_in_the_panel(files, page_of):
    page = page_of(files[2], query="panel=traces:v")
    panel = panel_of(page)
    for text, compartments, shown in (
        ("99", "", "cell 99 is not among the 3 recorded cells"),
        ("3-", "", "neither a number nor a range"),
        ("layer=L5", "", "no cell of population"),
        ("", "9", "number 9 is not among"),
        ("", "dend", "have no labels"),
    ):
        page.session.cells = text
        panel.option("compartments", compartments)
        assert shown in panel.note.text
        assert not panel.body.visible  # The figure would be that of the choice before.
    panel.option("compartments", "")
    assert panel.body.visible


def test_zooming_reads_every_sample_of_the_window(files, page_of, monkeypatch):
    from ndx_simulation_output.viewer import figures

    monkeypatch.setattr(figures, "_PIXELS", (40, 50))
    page = page_of(files[0], query="cells=7&panel=traces:v;compartments=0")
    panel = panel_of(page)
    reduced = panel.lines.data["values"][1]
    assert (len(reduced), max(reduced)) == (4 * 55, pytest.approx(40))
    assert "the lowest and the highest of each pixel" in panel.note.text

    zoom(page, panel, (0.12, 0.125))

    assert panel.lines.data["xs"][1][0] == pytest.approx(119.8)
    np.testing.assert_allclose(panel.lines.data["values"][1], values()[1198:1253, 5], rtol=1e-6)
    assert len(panel.points.data["x"]) == 2 * 55
    names, numbers, _ = saved(panel)
    assert (names[0], len(numbers), numbers[0, 0]) == ("time (ms)", 50, 120)


def test_traces_have_the_colours_or_the_means_of_their_groups(files, page_of):
    query = "group_by=layer&panel=traces:v&panel=traces:v;mean=1;compartments=0"
    page = page_of(files[2], query=query)
    assert panel_of(page).lines.data["color"] == [COLORS[0], COLORS[1], COLORS[0]]

    means = panel_of(page, 1)

    names, numbers, code = saved(means)
    expected = [values()[:, [0, 1, 8, 9]].mean(1), values()[:, [4, 5]].mean(1)]
    np.testing.assert_allclose(means.lines.data["values"], expected, rtol=1e-5)
    assert names == ["time (ms)", "layer L2 (mV)", "layer L4 (mV)"]
    np.testing.assert_allclose(numbers[:, 1:].T, expected, rtol=1e-5)
    np.testing.assert_allclose(code["values"] * 1e3, numbers[:, 1:])


def test_on_one_axis_values_have_their_unit_and_the_nearest_line_is_picked(files, page_of):
    page = page_of(files[0], query="panel=traces:v;layout=overlay")
    panel = panel_of(page)
    np.testing.assert_allclose(panel.lines.data["ys"], panel.lines.data["values"])
    assert panel.figure.yaxis[0].axis_label.text == "v (mV)"

    tap(panel, 50.0, values()[500, 8] + 0.1)

    assert page.session.picked == ("exc", (12,))


@pytest.mark.parametrize("is_difference", [False, True])
def test_two_files_are_drawn_together_or_subtracted(files, page_of, is_difference):
    query = f"compare=1&difference={'1' if is_difference else ''}&panel=traces:v"
    panel = panel_of(page_of(*files[:2], query=query))

    names, numbers, code = saved(panel)

    one, two = values()[:, ::4], values(2.5)[:1500, ::4]
    assert len(numbers) == 1500
    if is_difference:
        np.testing.assert_allclose(np.transpose(panel.lines.data["values"]), -2.5, atol=1e-4)
        np.testing.assert_allclose(numbers[:, 1:], -2.5, atol=1e-4)
        np.testing.assert_allclose(code["values"] * 1e3, numbers[:, 1:])
        assert "largest difference 2.5 mV" in panel.note.text
        return
    np.testing.assert_allclose(np.transpose(panel.others.data["values"]), two, rtol=1e-6)
    assert [item.label.value for item in panel.files_legend.items] == ["one.nwb", "two.nwb"]
    assert names[3:5] == [
        "cell 12: 0 (0.25), first file (mV)",
        "cell 3: 0 (0.25), second file (mV)",
    ]
    np.testing.assert_allclose(numbers[:, 1:], np.hstack([one[:1500], two]), rtol=1e-6)
    np.testing.assert_allclose(code["values"] * 1e3, one, rtol=1e-6)
    np.testing.assert_allclose(code["other_values"] * 1e3, two, rtol=1e-6)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"unit": Unit("amperes")}, "volts in the first file, amperes in the second"),
        ({"times": RegularTimes(0.0, 9_000.0, 20)}, "the times of v differ"),
        ({"times": RegularTimes(0.001, 10_000.0, 20)}, "the times of v differ"),
        ({"times": Timestamps(np.arange(20) / 9_000)}, "the times of v differ"),
        ({"compartments": CompartmentTable.from_cells("exc", np.arange(12))},
         "the second file lacks 2 of the 3 selected ones"),
    ],
)  # fmt: skip
def test_runs_with_other_units_times_or_cells_have_no_difference(other, message):
    one = Report("v", "v", values()[:20], RegularTimes(0.0, 10_000.0, 20), table(), Unit("volts"))
    two, columns = replace(one, **other), np.array([0, 5, 6])
    if "compartments" in other:
        two = replace(two, compartments=CompartmentTable.from_counts(
            "exc", [3, 8], [4, 8], {"number": np.zeros(12, int)}))  # fmt: skip

    with pytest.raises(ShapeMismatchError, match=message):
        difference_of(one, two, columns, matching_columns(one, two, columns))


def test_regular_times_and_timestamps_can_be_the_same_times():
    one = Report("v", "v", values()[:20], RegularTimes(0.0, 10_000.0, 20), table(), Unit("volts"))
    other = replace(one, data=values()[:15], times=Timestamps(np.arange(15) / 10_000))

    found = difference_of(one, other, np.array([2, 0]), np.array([1, 0]))

    assert found.shape == (15, 2)
    np.testing.assert_array_equal(found[3:5, 0:1], (values()[3:5, 2:3] - values()[3:5, 1:2]))


def test_channels_have_their_names_and_are_sorted_by_depth(tmp_path, page_of):
    places = np.column_stack([np.zeros(4), [30.0, 0.0, 20.0, 10.0], np.zeros(4)])
    electrodes = Electrodes(np.array([2, 5, 9, 4]), places, {"label": np.array(list("abcd"))})
    times = RegularTimes(0.0, 10_000.0, ROWS)
    ecp = ExtracellularPotential("ecp", values()[:, :4], times, np.array([2, 5, 9, 4]),
                                 Unit("volts", 1e-6), electrodes)  # fmt: skip
    panel = panel_of(
        page_of(write(tmp_path / "e.nwb", potentials=(ecp,)), query="panel=channels:ecp")
    )

    names, numbers, code = saved(panel)

    assert panel.lines.data["name"] == ["a", "c", "d", "b"]
    assert panel.lines.data["y"] == [30, 20, 10, 0]
    assert names == ["time (ms)", *(f"channel {name} (µV)" for name in "acdb")]
    np.testing.assert_allclose(numbers[:, 1:], values()[:, [0, 2, 3, 1]], rtol=1e-6)
    np.testing.assert_allclose(code["values"] * 1e6, numbers[:, 1:])
    panel.option("channels", "9, 2")
    assert panel.lines.data["name"] == ["c", "a"]
    assert not panel.picked_at(1.0, 0.0, None)


def test_any_data_are_drawn(tmp_path, page_of):
    cases = [
        (np.array([[4.0]]), "unknown"),
        (np.full((3, 1), np.nan), "V"),
        (np.array([[-3], [9], [2]], "i2"), "unknown"),
        (np.array([[1.0], [np.nan], [np.inf]]), "A"),
        (np.zeros((0, 1)), "V"),
    ]
    one = CompartmentTable.from_cells("one", [5])
    times = [Timestamps(np.arange(len(data)) ** 2.0) for data, _ in cases]
    reports = [Report(f"r{at}", "r", data, times[at], one, Unit(unit))
               for at, (data, unit) in enumerate(cases)]  # fmt: skip
    query = "&".join(f"panel={kind}:r{at}" for at in range(5) for kind in ("traces", "heat"))
    page = page_of(write(tmp_path / "r.nwb", *reports), query=query)

    for at, (data, _) in enumerate(cases):
        lines, points = panel_of(page, 2 * at).lines.data, panel_of(page, 2 * at).points.data
        np.testing.assert_array_equal(lines["values"][0], data[:, 0])
        assert len(points["y"]) == len(data)
    assert not [card.panel.note.text for card in page.cards if "error" in card.panel.note.text]
    with pytest.raises(NothingRecordedError, match="complex numbers"):
        require_real(replace(reports[0], data=np.array([[1j]])))


def test_heat_maps_have_rows_by_section_and_outlines_of_cells(tmp_path, page_of):
    numbers = np.tile([1, 0, 1, 0], 3)
    cells = replace(
        table(), columns={"number": numbers, "position": np.tile([0.75, 0.5, 0.25, 0.2], 3)}
    )
    currents = values() + 65
    report = Report("i", "i", currents, RegularTimes(0, 10_000, ROWS), cells, Unit("amperes", 1e-9))
    page = page_of(write(tmp_path / "i.nwb", report), query="panel=heat:i&cell=exc:7")
    panel = panel_of(page)
    first = panel.maps[0]

    order = [3, 1, 2, 0]
    assert panel._order.columns.tolist() == [4 * cell + one for cell in range(3) for one in order]  # noqa: SLF001
    assert first.rows.data["number"].tolist() == [0, 0, 1, 1] * 3
    bands = first.bands.data
    assert (bands["cell"], bands["y0"], bands["y1"]) == ([3, 7, 12], [0, 4, 8], [4, 8, 12])
    assert first.bands.selected.indices == [1]
    assert first.figure.yaxis[0].major_label_overrides == {2: "cell 3", 6: "cell 7", 10: "cell 12"}
    assert (first.colors.name, first.colors.low) == ("signed", -first.colors.high)
    assert "beyond the colours" in panel.note.text
    zoom(page, panel, (0.1, 0.11), (4.2, 7.9))
    image = first.pixels.data["image"][0]
    np.testing.assert_allclose(image, currents[1000:1100][:, [7, 5, 6, 4]].T, rtol=1e-5)
    assert first.pixels.data["y"] == [4]
    tap(panel, 105.0, 2.5)
    assert (page.session.picked, page.session.time.at) == (("exc", (3,)), pytest.approx(0.105))
    assert page.session.compartment == (1, 0.25)
    names, rows, code = saved(panel)
    assert names[:2] == ["first cell of the row", "first compartment of the row"]
    assert rows[:, :2].tolist() == [[7, 7], [7, 5], [7, 6], [7, 4]]
    np.testing.assert_allclose(rows[:, 2:], image, rtol=1e-5)
    np.testing.assert_allclose(code["values"] * 1e9, rows[:, 2:])


def test_rows_are_ordered_by_group_and_those_of_one_cell_named_by_section(files, page_of):
    page = page_of(files[2], query="group_by=layer&panel=heat:v&panel=heat:v")
    assert panel_of(page)._order.names.tolist() == ["L2", "L4"]  # noqa: SLF001
    assert panel_of(page).maps[0].rows.data["cell"].tolist() == [3] * 4 + [12] * 4 + [7] * 4

    order = order_rows(table(), np.arange(4, 8), "")

    assert (order.what, order.names.tolist(), order.edges.tolist()) == (
        "#",
        [0, 1],
        [0, 2, 4],
    )


def test_rows_are_ordered_by_depth(files, page_of):
    places = {"y": np.array([5.0, 20.0, 10.0])}
    several = replace(table(with_places=False), cell_columns=places)

    order = order_rows(several, None, "", is_by_depth=True)

    assert order.names.tolist() == [7, 12, 3]
    assert order.columns.tolist() == [*range(4, 8), *range(8, 12), *range(4)]
    one = order_rows(table(), np.arange(4), "", is_by_depth=True)
    assert (one.columns.tolist(), one.names.tolist()) == ([3, 2, 1, 0], [1, 0])
    panel = panel_of(page_of(files[2], query="panel=heat:v;rows=depth"))
    assert len(panel.controls()) == 3


def test_irregular_times_are_resampled_to_even_pixels(files, page_of):
    panel = panel_of(page_of(files[0], query="panel=heat:ca"))

    image = panel.maps[0].pixels.data["image"][0]

    row = int(np.searchsorted(np.sqrt(np.arange(300.0)), np.sqrt(299) / 2)) - 1
    assert image.shape == (12, 1000)
    np.testing.assert_allclose(image[:, 500], values()[row], atol=0.2)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_heat_maps_of_two_files_and_of_their_difference(files, page_of, how):
    page = page_of(*files[:2], query=f"compare=1&panel=heat:v;how={how}")
    panel = panel_of(page)
    one, two = panel.maps
    assert two.figure.visible
    assert one.colors.high == two.colors.high
    assert "above one.nwb, below two.nwb" in panel.note.text

    page.session.shows_difference = True
    page.refresh()

    _, rows, code = saved(panel)
    assert not two.figure.visible
    np.testing.assert_allclose(one.pixels.data["image"][0], -2.5, atol=1e-4)
    np.testing.assert_allclose(rows[:, 2:], -2.5, atol=1e-4)
    np.testing.assert_allclose(code["values"] * 1e3, rows[:, 2:])
    assert (one.colors.name, panel.files[1].name) == ("signed", "two.nwb")


def test_many_cells_have_no_names_but_those_that_are_seen(page_of):
    ids = np.arange(70_000)
    order = order_rows(CompartmentTable.from_cells("exc", ids), None, "")

    assert (order.columns, order.count, len(order.names)) == (None, 70_000, 70_000)
    assert order.part(5, 8).tolist() == [5, 6, 7]
