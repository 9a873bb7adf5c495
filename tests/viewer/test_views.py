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
