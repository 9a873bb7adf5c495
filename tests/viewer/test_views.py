"""Data of the figures of each view, without a browser."""

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")

from bokeh.document import Document
from bokeh.events import RangesUpdate

from ndx_simulation_output.nwb.stream import stream
from ndx_simulation_output.plots.look import COLORS
from ndx_simulation_output.recording import StreamedReport, Unit
from ndx_simulation_output.viewer.page import Page
from ndx_simulation_output.viewer.session import Downloads, Session, ViewedFile
from ndx_simulation_output.viewer.tree import Tree
from tests.viewer.making import ROWS, a_circuit, a_mixture, a_run, table, values

FILE, TRACES, HEAT, SPIKES, NEURON, CHANNELS, NETWORK, ARRAYS, COMPARE = range(9)


@pytest.fixture
def page_of():
    """Return a function that opens a tab of a page."""
    sessions = []

    def make(tab, *paths, **options):
        files = [ViewedFile(path, options) for path in paths]
        session = Session(Document(), files, Downloads())
        sessions.append(session)
        page = Page(session)
        page.tabs.active = tab
        page.show()
        return page

    yield make
    for session in sessions:
        session.close()


def view_of(page):
    return page.views[page.tabs.active]


def message(page):
    return page.session.message.text


def zoom(page, view, start, end):
    """Zoom as the browser does, and run the delayed callbacks."""
    view.figure.x_range.start, view.figure.x_range.end = start, end
    event = RangesUpdate(view.figure, x0=start, x1=end, y0=0, y1=1)
    view.figure._trigger_event(event)  # noqa: SLF001 - Bokeh has no public method
    for waiting in list(page.session.waiting.values()):
        waiting.callback()


def test_some_cells_and_their_first_number_are_selected_initially(tmp_path, page_of):
    page = page_of(TRACES, a_run(tmp_path / "run.nwb"))

    view = view_of(page)
    view.choice.report.value = "v"

    assert (view.choice.cells.value, view.choice.numbers.value) == ("3, 7, 12", "0")
    assert view.lines.data["name"][:3] == [
        "cell 3: 0 (0.25)",
        "cell 3: 0 (0.75)",
        "cell 7: 0 (0.25)",
    ]
    np.testing.assert_allclose(view.lines.data["ys"][0], values()[:, 0], rtol=1e-6)
    assert view.figure.yaxis[0].axis_label.text == "v (mV)"


def test_a_selection_draws_its_traces(tmp_path, page_of):
    page = page_of(TRACES, a_run(tmp_path / "run.nwb"))
    view = view_of(page)
    view.choice.report.value = "v"

    view.choice.numbers.value = ""
    view.choice.cells.value = "12, 3"

    assert len(view.lines.data["ys"]) == 8
    np.testing.assert_allclose(view.lines.data["ys"][0], values()[:, 8], rtol=1e-6)
    assert not message(page)


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        ("99", "cell 99 is not among the 3 recorded cells"),
        ("3-", "neither a number nor a range"),
        ("L5", "has no node set"),
        ("layer=5", "has no property"),
    ],
)
def test_a_wrong_selection_shows_a_message_and_keeps_the_traces(tmp_path, page_of, cells, shown):
    page = page_of(TRACES, a_run(tmp_path / "run.nwb"))
    view = view_of(page)
    before = view.lines.data

    view.choice.cells.value = cells

    assert shown in message(page)
    assert view.lines.data == before
    view.choice.cells.value = "7"
    assert not message(page)


def test_zooming_reads_every_sample_of_the_window(tmp_path, page_of, monkeypatch):
    from ndx_simulation_output.viewer import figures

    monkeypatch.setattr(figures, "_PIXELS", (40, 50))
    page = page_of(TRACES, a_run(tmp_path / "run.nwb"))
    view = view_of(page)
    view.choice.report.value = "v"
    view.choice.cells.value, view.choice.numbers.value = "7", "0"
    reduced = view.lines.data["ys"][1]

    zoom(page, view, 120, 125)

    assert len(reduced) == 4 * 55
    assert max(reduced) == pytest.approx(40)
    times, found = view.lines.data["xs"][1], view.lines.data["ys"][1]
    assert len(found) == 55
    assert times[0] == pytest.approx(119.8)
    np.testing.assert_allclose(found, values()[1198:1253, 5], rtol=1e-6)
    shown = view.shown()
    assert (shown.start, shown.stop) == (0.12, 0.125)


@pytest.mark.parametrize(
    ("text", "cells"), [("layer=L2", [3, 12]), ("x=0..50", [3, 7]), ("upper", [3, 12]), ("7", [7])]
)
def test_cells_are_chosen_by_property_and_node_set(tmp_path, page_of, text, cells):
    page = page_of(TRACES, a_circuit(tmp_path / "run.nwb"))
    traces = view_of(page)
    traces.choice.numbers.value = ""

    traces.choice.cells.value = text

    shown = [int(name.split()[1].strip(":")) for name in traces.lines.data["name"]]
    assert shown == np.repeat(cells, 4).tolist()
    assert not message(page)
    traces.saving.toggle.active = True
    assert "select(cells=" in traces.saving.text.text
    page.tabs.active = SPIKES
    view_of(page).cells.value = text
    assert set(view_of(page).points.data["id"].tolist()) == set(cells)


def test_traces_have_the_colours_of_their_groups(tmp_path, page_of):
    page = page_of(TRACES, a_circuit(tmp_path / "run.nwb"))
    view = view_of(page)
    assert view.group.select.options == ["nothing", "layer", "x", "y", "z"]

    view.group.select.value = "layer"

    blue, red = COLORS[:2]
    assert view.lines.data["name"] == ["L2 (2)"] * 4 + ["L4 (1)"] * 2
    assert view.lines.data["color"] == [blue] * 4 + [red] * 2
    view.group.select.value = "nothing"
    assert view.lines.data["name"][0] == "cell 3: 0 (0.25)"


def test_spikes_are_sorted_by_group(tmp_path, page_of):
    page = page_of(SPIKES, a_circuit(tmp_path / "run.nwb"))
    view = view_of(page)

    view.group.select.value = "layer"

    blue, red = COLORS[:2]
    assert view.points.data["id"].tolist() == [0, 1, 0, 2]
    assert view.points.data["color"].tolist() == [blue, blue, blue, red]
    assert (view.figure.y_range.start, view.figure.y_range.end) == (3.5, -0.5)
    assert view.group_rates.data["name"] == ["L2", "L4", "missing"]
    view.figure.y_range.start, view.figure.y_range.end = 3.5, 1.5
    zoom(page, view, 0, 200)
    assert view.points.data["id"].tolist() == [2]
    assert view.shown().cells == (7, 20)
    view.group.select.value = "nothing"
    assert view.points.data["id"].tolist() == [3, 12, 3, 7]


def test_cells_in_space_have_the_colours_of_their_groups(tmp_path, page_of):
    page = page_of(NEURON, a_circuit(tmp_path / "run.nwb"))
    view = view_of(page)
    assert view.spots.data["z"] + 15 == pytest.approx([0, 9, 30])
    assert (view.time.value, message(page)) == (10, "")

    view.group.select.value = "layer"

    blue, red = COLORS[:2]
    assert view.spots.data["color"].tolist() == [blue, red, blue]
    assert view.bar.visible is False
    view.time.value = 100.0
    assert view.spots.data["color"].tolist() == [blue, red, blue]


def test_a_heat_map_zooms_into_compartments(tmp_path, page_of):
    page = page_of(HEAT, a_run(tmp_path / "run.nwb"))
    view = view_of(page)
    view.choice.report.value = "v"
    assert view.pixels.data["image"][0].shape == (12, 1000)

    view.figure.y_range.start, view.figure.y_range.end = 4.2, 7.9
    zoom(page, view, 100, 110)

    assert view.pixels.data["image"][0].shape == (4, 100)
    np.testing.assert_allclose(view.pixels.data["image"][0], values()[1000:1100, 4:8].T, rtol=1e-5)
    assert view.pixels.data["y"] == [4]


def test_irregular_times_are_resampled_to_even_pixels(tmp_path, page_of):
    page = page_of(HEAT, a_run(tmp_path / "run.nwb"))

    view = view_of(page)
    view.choice.report.value = "ca"

    image = view.pixels.data["image"][0]
    row = int(np.searchsorted(np.sqrt(np.arange(300.0)), np.sqrt(299) / 2)) - 1
    assert image.shape == (12, 1000)
    np.testing.assert_allclose(image[:, 500], values()[row], atol=0.2)


def test_few_spikes_are_marks(tmp_path, page_of, monkeypatch):
    page = page_of(SPIKES, a_run(tmp_path / "run.nwb"))
    view = view_of(page)
    assert view.points.data["id"].tolist() == [3, 12, 3, 7]
    assert view.points.data["time"].tolist() == [10, 20, 150, 100]

    view.cells.value = "3, 7"

    assert view.points.data["id"].tolist() == [3, 3, 7]
    assert view.shown().cells == (3, 7)


def test_rates_of_visible_ids_are_the_mean_of_the_cells_among_them(tmp_path, page_of):
    page = page_of(SPIKES, a_run(tmp_path / "run.nwb"))
    view = view_of(page)
    assert "mean of 3 cells that spike" in view.note.text
    end = pytest.approx(100 * np.sqrt(299))
    assert (view.figure.x_range.start, view.figure.x_range.end) == (0, end)
    assert (view.rates.data["left"][0], view.rates.data["right"][-1]) == (0, end)

    view.figure.y_range.start, view.figure.y_range.end = 5.5, 12.5
    zoom(page, view, 0, 100)

    assert "mean of 2 selected cells" in view.note.text


def test_many_spikes_are_counted_in_pixels(tmp_path, page_of, monkeypatch):
    from ndx_simulation_output.viewer import spikes

    def few(*arguments, **options):
        return raster_of(*arguments, **options, most_points=2)

    raster_of = spikes.spike_raster
    monkeypatch.setattr(spikes, "spike_raster", few)
    page = page_of(SPIKES, a_run(tmp_path / "run.nwb"))

    view = view_of(page)

    assert len(view.points.data["id"]) == 0
    assert np.nansum(view.pixels.data["image"][0]) == 4


def test_a_neuron_has_the_colours_of_the_time_of_the_slider(tmp_path, page_of):
    page = page_of(NEURON, a_run(tmp_path / "run.nwb"))
    view = view_of(page)
    assert len(view.lines.data["xs"]) == 12
    report = view.choice.report
    report.value = "v"

    view.time.value = 123.4

    found = view.lines.data["value"]
    np.testing.assert_allclose(found[view.owners == 5], 40, rtol=1e-6)
    np.testing.assert_allclose(found, values()[1234][view.owners], rtol=1e-6)
    assert view.shown().at == pytest.approx(0.1234)


def test_playing_moves_the_slider_and_restarts_at_the_end(tmp_path, page_of):
    page = page_of(NEURON, a_run(tmp_path / "run.nwb"))
    view = view_of(page)

    view.play.active = True
    view.step()
    assert view.time.value > view.time.start
    view.time.value = view.time.end
    view.step()
    view.play.active = False

    assert view.time.value == view.time.start
    assert not page.session.document.session_callbacks


def test_cells_without_coordinates_show_a_message(tmp_path, page_of):
    page = page_of(NEURON, a_run(tmp_path / "run.nwb", with_places=False))

    (shown,) = page.tabs.tabs[NEURON].child.children

    assert "has no coordinates of compartments" in shown.text


def test_channels_are_stacked_and_labelled_by_id(tmp_path, page_of):
    page = page_of(CHANNELS, a_mixture(tmp_path / "run.nwb"))
    view = view_of(page)
    assert len(view.lines.data["ys"]) == 4

    view.channels.value = "9, 2"

    ninth, second = view.lines.data["ys"]
    assert ninth.mean() == pytest.approx(0, abs=0.1)
    assert second.mean() == pytest.approx(1, abs=0.1)
    assert view.figure.yaxis[0].major_label_overrides == {0: "9", 1: "2"}
    wave = values()[:, 2].astype(float)
    widest = np.ptp(values()[:, [2, 0]], axis=0).max()
    np.testing.assert_allclose(ninth * widest + (wave.max() + wave.min()) / 2, wave, rtol=1e-9)
    assert "20 V from one channel to the next; every sample" in view.note.text

    zoom(page, view, 100, 110)

    assert len(view.lines.data["ys"][0]) == 110
    view.channels.value = "3"
    assert "channel 3 is not among the 4 channels" in message(page)


def test_neurons_are_drawn_on_their_grid_with_a_histogram(tmp_path, page_of):
    view = view_of(page_of(NETWORK, a_mixture(tmp_path / "state.nwb")))

    picture, counted = view.drawn.children

    assert view.quantity.options == ["v", "tau"]
    (image,) = picture.renderers[0].data_source.data["image"]
    np.testing.assert_array_equal(image, [[0, 1, 2], [3, 4, 5]])
    assert counted.renderers[0].data_source.data["top"].sum() == 6
    assert "2 × 3 neurons; at 0.25 s" in view.note.text


def test_neurons_without_a_grid_are_drawn_by_rank(tmp_path, page_of):
    page = page_of(NETWORK, a_mixture(tmp_path / "state.nwb"))
    view = view_of(page)

    view.part.value = "population row"

    assert view.quantity.options == ["r"]
    drawn = view.drawn.children[0].renderers[0].data_source.data
    assert (drawn["x"].tolist(), drawn["y"].tolist()) == ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0])
    assert not message(page)


@pytest.mark.parametrize(("quantity", "first"), [("w", 0.1), ("gain", 2.0), ("delay", 1e-3)])
def test_synapses_are_a_matrix_of_ranks(tmp_path, page_of, quantity, first):
    page = page_of(NETWORK, a_mixture(tmp_path / "state.nwb"))
    view = view_of(page)

    view.part.value = "projection to_row"
    view.quantity.value = quantity

    assert view.quantity.options == ["w", "gain", "delay"]
    drawn = view.drawn.children[0].renderers[0].data_source.data
    (image,) = drawn["image"]
    np.testing.assert_array_equal(np.argwhere(np.isfinite(image)), [[1, 0], [1, 3], [4, 5]])
    assert image[1, 0] == pytest.approx(first)
    glyph = view.drawn.children[0].renderers[0].glyph
    assert (glyph.x, glyph.dw, glyph.y, glyph.dh) == (-0.5, 6, -0.5, 5)
    assert "3 synapses" in view.note.text
    assert not message(page)


def test_arrays_of_every_dimension_are_drawn(tmp_path, page_of):
    page = page_of(ARRAYS, a_mixture(tmp_path / "arrays.nwb"))
    view = view_of(page)
    shown = []

    for place, _ in view.array.options:
        view.array.value = place
        shown.append(view.note.text)
        assert not message(page)

    assert [len(one) > 0 for one in shown] == [True] * 4
    assert "3 × 4" in shown[0]


def test_files_without_channels_states_or_arrays_show_a_message(tmp_path, page_of):
    page = page_of(CHANNELS, a_run(tmp_path / "run.nwb"))
    for tab, what in (
        (CHANNELS, "extracellular potentials"),
        (NETWORK, "state of a network"),
        (ARRAYS, "arrays"),
    ):
        page.tabs.active = tab
        (shown,) = page.tabs.tabs[tab].child.children
        assert what in shown.text


def test_two_runs_and_their_difference_are_drawn(tmp_path, page_of):
    one, two = a_run(tmp_path / "one.nwb"), a_run(tmp_path / "two.nwb", shift=2.0)
    page = page_of(COMPARE, one, two)
    view = view_of(page)
    view.choice.report.value = "v"

    first, second, apart = (source.data["ys"] for source in view.sources)

    assert len(first) == len(second) == len(apart) == 6
    np.testing.assert_allclose(second[0] - first[0], 2.0, atol=1e-4)
    np.testing.assert_allclose(apart, -2.0, atol=1e-4)
    assert "largest difference drawn: 2 mV" in view.note.text


def test_the_saved_difference_is_that_of_the_selected_file(tmp_path, page_of):
    paths = [a_run(tmp_path / f"{name}.nwb") for name in ("one", "two", "three")]
    view = view_of(page_of(COMPARE, *paths))

    view.saving.toggle.active = True
    view.file.value = "2"

    assert "three.nwb') as other" in view.saving.text.text


def test_comparing_needs_two_files(tmp_path, page_of):
    page = page_of(COMPARE, a_run(tmp_path / "run.nwb"))

    (shown,) = page.tabs.tabs[COMPARE].child.children

    assert "ndx-sim view ONE TWO" in shown.text


def test_selecting_a_file_shows_it(tmp_path, page_of):
    one, two = a_run(tmp_path / "one.nwb"), a_run(tmp_path / "two.nwb", shift=2.0)
    page = page_of(TRACES, one, two)

    page.file.value = "1"
    view = view_of(page)
    view.choice.report.value = "v"

    np.testing.assert_allclose(view.lines.data["ys"][0], values(2.0)[:, 0], rtol=1e-6)


def test_a_file_that_was_replaced_is_reopened(tmp_path, page_of):
    path = a_run(tmp_path / "run.nwb")
    page = page_of(TRACES, path)
    view = view_of(page)
    view.choice.report.value = "v"

    a_run(path, shift=5.0)
    view.choice.cells.value = "3"

    np.testing.assert_allclose(view.lines.data["ys"][0], values(5.0)[:, 0], rtol=1e-6)


def test_a_missing_file_shows_a_message_until_it_exists_again(tmp_path, page_of):
    path = a_run(tmp_path / "run.nwb")
    page = page_of(TRACES, path)
    path.rename(tmp_path / "away.nwb")

    page.read_again()
    assert "does not exist" in message(page)
    (tmp_path / "away.nwb").rename(path)
    page.read_again()

    assert not message(page)


def test_a_growing_run_is_read_without_staying_open(tmp_path, page_of):
    target = tmp_path / "run.nwb"
    reports = [StreamedReport("v", table(), rate=10_000.0, unit=Unit("volts", 1e-3))]
    session = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}
    with stream(target, reports, metadata=session) as file:
        file.append("v", values()[:500])
        file.flush()
        page = page_of(TRACES, target)
        view = view_of(page)
        seen = len(view.lines.data["xs"][0])
        assert "is being written" in page.status.text
        assert not page.session.file.is_open
        file.append("v", values()[500:1500])
        file.flush()
        page.read_again()
        then = len(view.lines.data["xs"][0])
        file.append("v", values()[1500:])
    page.read_again()

    assert (seen, then, len(view.lines.data["xs"][0])) == (500, 1500, ROWS)
    assert not page.status.text


def test_an_unexpected_error_is_shown_in_the_page(tmp_path, page_of, monkeypatch, capsys):
    page = page_of(TRACES, a_run(tmp_path / "run.nwb"))
    view = view_of(page)
    monkeypatch.setattr(view, "shown", lambda: 1 / 0)

    view.choice.cells.value = "3"

    assert "ZeroDivisionError" in message(page)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_code_is_updated_with_the_selection(tmp_path, page_of):
    page = page_of(TRACES, a_run(tmp_path / "run.nwb"))
    view = view_of(page)

    view.saving.toggle.active = True
    view.choice.cells.value = "7"

    assert "cells=[7]" in view.saving.text.text


def test_a_group_opens_closes_and_lists_more_members(tmp_path, monkeypatch):
    from ndx_simulation_output.viewer import tree as hdf5_tree

    monkeypatch.setattr(hdf5_tree, "CHILDREN", 4)
    tree = Tree([a_run(tmp_path / "run.nwb")])

    tree.toggle(0)
    assert len(tree.lines) == 6
    assert "more" in tree.lines[5].child.name
    tree.toggle(5)
    assert len(tree.lines) == 10
    tree.toggle(1)
    assert tree.lines[2].depth == 2
    tree.toggle(0)

    assert len(tree.lines) == 1


def test_attributes_are_escaped(tmp_path, page_of):
    import h5py

    path = a_run(tmp_path / "run.nwb")
    with h5py.File(path, "r+") as file:
        file["acquisition/v"].attrs["comments"] = "<img src=x onerror=alert(1)>"
    page = page_of(FILE, path)
    view = view_of(page)
    places = [line.child.name for line in view.tree.lines]
    view.listed.selected.indices = [places.index("acquisition")]
    places = [line.child.name for line in view.tree.lines]

    view.listed.selected.indices = [places.index("v")]

    assert "&lt;img src=x" in view.node.text
    assert "<img" not in view.node.text


@pytest.mark.parametrize("kind", ["sonata", "neuronvisio", "annarchy", "pymodaq", "nwb"])
@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
def test_every_tab_of_genuine_files_can_be_opened(kind, request, page_of):
    folder = request.getfixturevalue("sonata_data").parent / kind
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in {".h5", ".nwb", ".npz"}]
    paths = [path for path in paths if not path.name.startswith("simout020")]
    paths = paths[:: max(1, len(paths) // 4)][:4]

    assert paths
    for path in paths:
        page = page_of(FILE, path, **({"dt": 0.5} if kind == "annarchy" else {}))
        for tab in range(TRACES, COMPARE):
            page.tabs.active = tab
            assert "Error:" not in message(page), (path, tab)
            assert page.tabs.tabs[tab].child.children
        if kind == "annarchy":
            page.tabs.active = NETWORK
            assert len(view_of(page).drawn.children) == 2
