"""Panels of spikes and the overview: what is drawn, picked, saved and followed."""

import csv
import io
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")

from bokeh.document import Document
from bokeh.events import Tap

from ndx_simulation_output.nwb import writer
from ndx_simulation_output.nwb.stream import stream
from ndx_simulation_output.plots.look import COLORS
from ndx_simulation_output.plots.spikes import spike_rates
from ndx_simulation_output.recording import (
    Categories,
    CellTable,
    SimulationOutput,
    Spikes,
    StreamedReport,
    Unit,
)
from ndx_simulation_output.viewer import spikes as spikes_panels
from ndx_simulation_output.viewer.controls import python_code, read_rows
from ndx_simulation_output.viewer.page import open_page
from ndx_simulation_output.viewer.rates import ShownRates
from ndx_simulation_output.viewer.server import csv_pieces
from ndx_simulation_output.viewer.session import Downloads, ViewedFile
from ndx_simulation_output.viewer.spikes import ShownSpikes
from tests.viewer.making import a_circuit, a_run, table, values

BOTH = "panel=raster:&panel=rates:"


@pytest.fixture
def page_of():
    """Return a function that opens a page."""
    opened = []

    def make(path, query=""):
        opened.append(open_page(Document(), [ViewedFile(path)], Downloads(), query))
        return opened[-1]

    yield make
    for page in opened:
        page.session.close()


def panel_of(page, kind="raster"):
    return next(card.panel for card in page.cards if card.panel.kind == kind)


def tap(panel, x, y):
    panel.figure._trigger_event(Tap(panel.figure, x=x, y=y))  # noqa: SLF001 - Bokeh has no public method


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Write many spikes of two populations, one of which has layers; they are not in order."""
    path = tmp_path_factory.mktemp("two") / "two.nwb"
    rng = np.random.default_rng(0)
    ids = np.arange(40) * 3
    layers = CellTable("exc", ids, {"layer": Categories(np.arange(40) % 2, ("L4", "L2"))})
    exc = Spikes(
        "exc", rng.choice(ids[:-1], 3000), rng.uniform(0, 1, 3000), cells=layers, silent=ids[-1:]
    )
    inh = Spikes("inh", rng.integers(5, 15, 1000), rng.uniform(0, 1, 1000))
    session = {"NWBFile": {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}}
    writer.write(SimulationOutput(spikes=(exc, inh)), path, metadata=session)
    return path, exc, inh


def test_a_raster_has_a_mark_for_each_spike(tmp_path, page_of):
    panel = panel_of(page_of(a_run(tmp_path / "run.nwb")))

    marks = panel.points.data

    np.testing.assert_allclose(marks["time"], [10, 20, 100, 150])
    assert marks["cell"].tolist() == [3, 12, 7, 3]
    assert marks["row"].tolist() == [0, 2, 1, 0]

    assert "4 spikes of 3 cells" in panel.note.text


def test_all_populations_are_in_one_raster_in_groups(two, page_of):
    path, exc, inh = two
    page = page_of(path, "panel=raster:&group_by=layer")
    panel = panel_of(page)
    blue, orange, green = COLORS[:3]

    first, second = panel._made[2]  # noqa: SLF001

    assert first.ids.tolist() == [*range(3, 120, 6), *range(0, 120, 6)]
    assert first.labels == ("L2", "L4")
    assert second.ids.tolist() == list(range(5, 15))
    assert panel.bands.data["low"] == [-0.5, 19.5, 39.5]
    assert (panel.figure.y_range.start, panel.figure.y_range.end) == (49.5, -0.5)
    names = [label.text for label in panel.figure.yaxis[0].major_label_overrides.values()]
    assert names == ["exc L2", "exc L4", "inh"]
    marks = panel.points.data
    assert len(marks["time"]) == len(exc.times) + len(inh.times)
    is_layer = np.asarray(marks["cell"]) % 6 == 3
    of_exc = np.asarray(marks["population"]) == "exc"
    assert set(marks["color"][of_exc & is_layer]) == {blue}
    assert set(marks["about"][of_exc & is_layer]) == {"layer L2"}
    assert set(marks["color"][of_exc & ~is_layer]) == {orange}
    assert set(marks["color"][~of_exc]) == {green}


def test_many_spikes_are_an_image_with_the_picked_cells_over_it(two, page_of, monkeypatch):
    monkeypatch.setattr(spikes_panels, "_MOST_MARKS", 100)
    path, exc, inh = two
    page = page_of(path, "panel=raster:&cell=exc:60&time=0.2,0.6")
    panel = panel_of(page)

    counts, image = panel.pixels.data["count"][0], panel.pixels.data["image"][0]

    assert counts.shape == image.shape == (50, 1100)
    for row, (spikes, cell) in enumerate(
        [*((exc, cell) for cell in exc.cells.ids), *((inh, cell) for cell in range(5, 15))]
    ):
        times = spikes.times[spikes.node_ids == cell]
        expected, _ = np.histogram(times[(times >= 0.2) & (times < 0.6)], 1100, (0.2, 0.6))
        np.testing.assert_array_equal(counts[row], expected)
    alpha = image.view(np.uint8).reshape(50, 1100, 4)[:, :, 3]
    assert (alpha[counts == 0] == 0).all()
    assert alpha[counts == 1].max() < alpha[counts >= 2].min()
    picked = np.sort(exc.times[(exc.node_ids == 60) & (exc.times >= 0.2) & (exc.times < 0.6)])
    np.testing.assert_allclose(np.sort(panel.points.data["time"]), picked * 1000)
    assert len(panel.points.selected.indices) == len(picked)
    assert panel.pixel_rows.data["text"][-1] == "14 to 14 of inh"
    assert "the stronger a colour" in panel.note.text


def test_a_click_picks_the_nearest_spike(two, page_of):
    path, exc, _ = two
    page = page_of(path, "panel=raster:")
    panel = panel_of(page)
    spike = 17

    tap(panel, exc.times[spike] * 1000, exc.node_ids[spike] // 3 + 0.1)

    assert page.session.picked == ("exc", (exc.node_ids[spike],))
    assert page.session.time.at == pytest.approx(exc.times[spike], abs=1e-12)
    tap(panel, 500.0, 39.0)  # the cell of this row is silent
    assert page.session.picked == ("exc", (117,))
    assert page.session.time.at == pytest.approx(0.5)


def test_zooming_in_cells_draws_and_saves_their_spikes(two, page_of):
    path, exc, _ = two
    page = page_of(path, "panel=raster:exc")
    panel = panel_of(page)

    panel.figure.y_range.start, panel.figure.y_range.end = 9.5, 19.5
    page.session.time.show((0.1, 0.3))
    page.refresh()

    inside = (exc.times >= 0.1) & (exc.times < 0.3)
    inside &= (exc.node_ids >= 30) & (exc.node_ids < 60)
    assert len(panel.points.data["time"]) == inside.sum()
    assert panel.shown().cells == {"exc": list(range(30, 60, 3))}
    labels = [label.text for label in panel.figure.yaxis[0].major_label_overrides.values()]
    assert labels == ["30", "40", "50"] or set(labels) <= set(map(str, range(30, 60, 3)))


def test_cells_are_chosen_by_property(two, page_of):
    path, *_ = two
    page = page_of(path, "panel=raster:&cells=layer=L2")

    assert set(panel_of(page).points.data["cell"].tolist()) <= set(range(3, 120, 6))
    assert panel_of(page).shown().cells == {"exc": {"layer": ["L2"]}}


@pytest.mark.parametrize("by", ["", "layer"])
def test_rates_are_those_of_groups(two, page_of, by):
    path, exc, inh = two
    page = page_of(path, f"{BOTH}&time=0.2,0.6&group_by={by}")
    panel = panel_of(page, "rates")

    names = panel.lines.data["name"]
    groups = {"exc (40)": exc.cells.ids}
    if by:
        groups = {"exc L2 (20)": exc.cells.ids[1::2], "exc L4 (20)": exc.cells.ids[::2]}
        assert panel.lines.data["dash"] == ["solid"] * 3

    assert names == [*groups, "inh (10)"]
    for drawn, ids in zip(panel.lines.data["ys"], groups.values(), strict=False):
        rates = spike_rates(exc, np.asarray(ids), start=0.2, stop=0.6)
        np.testing.assert_allclose(drawn[::2], rates.rates)
    assert panel.bins.data["count"].sum() == sum(
        ((one.times >= 0.2) & (one.times < 0.6)).sum() for one in (exc, inh)
    )
    assert "bins of 10 ms" in panel.note.text


def read_csv(shown, path):
    text = "".join(csv_pieces(read_rows(shown, [ViewedFile(path)])))
    return list(csv.reader(io.StringIO(text)))


def run_code(shown, path):
    names = {}
    exec(python_code(shown, [ViewedFile(path)]), names)  # noqa: S102 - the code of the package
    return names


@pytest.mark.parametrize(
    ("cells", "ids"),
    [
        ({"exc": None, "inh": None}, range(120)),
        ({"exc": {"layer": ["L2"]}, "inh": None}, range(3, 120, 6)),
        ({"exc": [3, 6]}, (3, 6)),
    ],
)
def test_csv_and_code_have_the_same_spikes(two, cells, ids):
    path, exc, _ = two
    shown = ShownSpikes(cells, 0.1, 0.5)

    names, *rows = read_csv(shown, path)
    found = run_code(shown, path)["spikes"]

    assert names == ["time (s)", "population", "node id"]
    inside = (exc.times >= 0.1) & (exc.times < 0.5) & np.isin(exc.node_ids, ids)
    assert len(found["exc"].times) == inside.sum()
    assert list(found) == list(cells)
    for name in cells:
        mine = [row for row in rows if row[1] == name]
        np.testing.assert_array_equal([float(row[0]) for row in mine], found[name].times)
        np.testing.assert_array_equal([int(row[2]) for row in mine], found[name].node_ids)


@pytest.mark.parametrize("by", ["", "layer"])
def test_csv_and_code_have_the_same_rates(two, by):
    path, *_ = two
    shown = ShownRates(("exc", "inh"), 0.1, 0.5, None, by)

    names, *rows = read_csv(shown, path)
    found = [one for several in run_code(shown, path)["rates"].values() for one in several]

    assert names[-1] == "inh (10) (Hz)"
    expected = np.column_stack(
        [found[0].times[:-1], found[0].times[1:], *(one.rates for one in found)]
    )
    np.testing.assert_array_equal(np.array(rows, float), expected)


def test_the_overview_shows_all_populations_or_an_envelope(two, tmp_path, page_of):
    path, *_ = two
    page = page_of(path, "time=0.2,0.6")

    lines = page.overview.lines.data
    assert lines["name"] == ["exc (40)", "inh (10)"]
    np.testing.assert_allclose(lines["ys"][0][::2].sum() * 0.02 * 40, 3000, rtol=0.02)
    assert page.session.time.window == pytest.approx((0.2, 0.6))
    with closing(ViewedFile(a_circuit(tmp_path / "run.nwb"))) as file, file.open() as output:
        silent = replace(output, spikes=())
        page.overview.update(silent)
        assert page.overview.lines.data["name"] == ["v"]
        assert "v, cell 3" in page.overview.text.text
        drawn, shown = page.overview.lines.data["ys"][0], page.overview.figure.y_range
        assert shown.start < drawn.min() < drawn.max() < shown.end


def test_the_page_follows_a_file_until_it_is_complete(tmp_path, page_of):
    path = tmp_path / "run.nwb"
    reports = [StreamedReport("v", table(), rate=10_000.0, unit=Unit("volts", 1e-3))]
    session = {"NWBFile": {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}}
    with stream(path, reports, metadata=session) as file:
        file.append("v", values()[:500])
        file.flush()
        page = page_of(path)
        time, status, waiting = page.session.time, page.status, page.session.waiting

        def follow():
            waiting[page.follow].callback()

        assert time.span[1] == pytest.approx(0.05)
        assert "is being written" in status.text
        assert not page.session.file.is_open
        file.append("v", values()[500:1500])
        file.add_spikes(Spikes("exc", np.array([3, 7]), np.array([0.01, 0.12])))
        file.flush()
        follow()
        assert (time.is_all, time.span[1]) == (True, pytest.approx(0.15))
        time.show((0.02, 0.03))
        file.append("v", values()[1500:])
    follow()

    assert time.window == pytest.approx((0.02, 0.03))
    assert time.span[1] == pytest.approx(0.2)
    assert status.text == ""
    assert page.follow not in waiting


@pytest.mark.parametrize("most", [2**21, 1500, 0])
def test_panels_share_the_spikes_of_a_window(two, page_of, monkeypatch, most):
    monkeypatch.setattr("ndx_simulation_output.viewer.session._MOST_KEPT", most)
    path, *written = two
    page = page_of(path)
    reads = []
    parts = Spikes.parts
    monkeypatch.setattr(
        Spikes, "parts", lambda self, *cells, **at: reads.append(at) or parts(self, *cells, **at)
    )

    for window in [(0.25, 0.5), (0.5, 0.75), None]:
        page.session.time.show(window)
        page.refresh()

        start, stop = window or (0, 1)
        for one in written:
            count = int(((one.times >= start) & (one.times < stop)).sum())
            assert f"<b>{one.population}</b> {count:,} spikes" in page.cell.text.text
    shared = {2**21: 4, 1500: 4, 0: 8}[most]
    assert len(reads) == shared  # nothing is read for the whole run, which was shown before
