"""Other files in the page, and addresses of other files: what stays and what is shown anew."""

import shutil
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")

from bokeh.document import Document
from bokeh.models import Button

from ndx_simulation_output.errors import SelectionError
from ndx_simulation_output.nwb import writer
from ndx_simulation_output.recording import RegularTimes, Report, SimulationOutput, Unit
from ndx_simulation_output.viewer.page import open_page
from ndx_simulation_output.viewer.panels import Offer
from ndx_simulation_output.viewer.session import Downloads, ViewedFile
from ndx_simulation_output.viewer.state import PageState, PanelState
from tests.viewer.making import ROWS, a_circuit, a_mixture, a_run, table, values


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Write three files of different contents, and one that cannot be opened."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "bad.nwb").write_bytes(b"no")
    made = a_run(folder / "a.nwb"), a_circuit(folder / "c.nwb"), a_mixture(folder / "m.nwb")
    return (*made, folder / "bad.nwb")


@pytest.fixture
def page_of(paths):
    """Return a function that opens a page of the files."""
    opened = []

    def make(query="", count=None):
        files = [ViewedFile(path) for path in paths[:count]]
        opened.append(open_page(Document(), files, Downloads(), query))
        return opened[-1]

    yield make
    for page in opened:
        page.session.close()


def test_nothing_of_the_file_before_is_shown_for_a_bad_one(page_of):
    page = page_of("cell=exc:7")
    page.show_file(3)
    assert "not an HDF5 file" in page.session.message.text
    contents = page.contents
    hidden = (page.top, page.cell_above, page.side, contents.cells, contents.group)
    assert not any(one.visible for one in hidden)
    assert page.cards == []
    assert all(not getattr(one, "children", ()) for one in page.contents.list.children)
    page.show_file(0)
    assert page.session.message.text == ""
    assert page.top.visible
    assert page.session.picked == ("exc", (7,))


def test_cells_window_and_cursor_stay_only_where_a_file_has_them(page_of):
    page = page_of("cell=exc:7&time=0.05,0.1&at=0.07&compare=1&difference=1")
    page.show_file(1)
    assert page.state.query().startswith("file=1&time=0.05,0.1&at=0.07&cell=exc:7&panel=")
    page.session.time.show((0.05, 0.1))
    page.show_file(2)
    assert page.session.picked == ("", ())
    page.show_file(0)
    page.session.time.show((1.0, 1.5))
    page.session.time.at = 1.2
    page.show_file(1)
    assert (page.session.time.is_all, page.session.time.at) == (True, None)


def test_a_file_that_was_replaced_is_shown_anew(paths, tmp_path):
    path = shutil.copy(paths[0], tmp_path / "run.nwb")
    page = open_page(Document(), [ViewedFile(path)], Downloads(), "cell=exc:7")
    shutil.copy(paths[2], tmp_path / "other.nwb").replace(path)
    page.refresh()
    assert page.cards[0].panel.kind == "channels"
    assert page.overview.text.text.count("ecp") == 1
    assert page.session.picked == ("", ())
    path.write_bytes(b"no")
    page.session.pick("", ())
    assert "not an HDF5 file" in page.session.message.text
    shutil.copy(paths[0], tmp_path / "other.nwb").replace(path)
    page.refresh()
    assert page.session.message.text == ""
    assert page.overview.text.text.count("exc") == 1
    page.session.close()


@pytest.mark.parametrize(
    "query",
    [
        "compare=9&difference=1&time=5,9&at=-3&cell=exc:99",
        "compare=0&file=-1&cell=none:1",
        "compare=-1&file=99",
    ],
)
def test_an_address_of_other_files_shows_what_there_is(page_of, query):
    page = page_of(query, 1)
    assert page.session.message.text == ""
    assert page.state == replace(PageState(), panels=page.state.panels)


def test_an_impossible_address_has_its_error_in_the_page(page_of):
    page = page_of("time=nan,1", 1)
    assert "the address is not one of this page: a time is not finite" in page.session.message.text
    for query in ("time=1,inf", "time=2,1", "at=nan", f"cell=exc:{10**20}"):
        with pytest.raises(SelectionError):
            PageState.parse(query)


def test_things_with_the_same_label_have_an_entry_each(page_of):
    page = page_of("", 1)
    offers = [Offer(PanelState("array", name), "Arrays", "x: A", name) for name in "01"]
    page.contents.show(SimulationOutput(), offers)
    labels = [
        one.label for line in page.contents.list.children for one in line.select({"type": Button})
    ]
    assert labels == ["x: A  0", "x: A  1"]


def test_the_card_counts_the_spikes_that_the_raster_draws(page_of):
    page = page_of("cell=exc:7&time=0.05,0.1", 1)
    assert "0 of 1" in page.cell.text.text
    page.session.pick("", ())
    assert "0 spikes" in page.cell.text.text


def test_the_overview_of_a_recording_has_its_values_in_the_unit_of_its_axis(tmp_path):
    report = Report("v", "v", values(), RegularTimes(0.0, 1e4, ROWS), table(), Unit("volts", 1e-3))
    session = {"NWBFile": {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}}
    writer.write(SimulationOutput((report,)), tmp_path / "v.nwb", metadata=session)
    page = open_page(Document(), [ViewedFile(tmp_path / "v.nwb")], Downloads())
    page.session.close()
    drawn = np.asarray(page.overview.lines.data["ys"][0])
    low, high = page.overview.figure.y_range.start, page.overview.figure.y_range.end
    assert page.overview.figure.yaxis.axis_label.text == "mV"
    np.testing.assert_allclose([drawn.min(), drawn.max()], [-75, -55], atol=0.1)
    assert low < drawn.min() < drawn.max() < high
