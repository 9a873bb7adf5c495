"""Cells in space and the card of the picked cell: what is drawn, coloured, picked and saved."""

from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")

from bokeh.document import Document

from ndx_simulation_output.nwb import writer
from ndx_simulation_output.recording import (
    CellTable,
    CompartmentTable,
    RegularTimes,
    Report,
    SimulationOutput,
    Spikes,
    Unit,
)
from ndx_simulation_output.viewer import space
from ndx_simulation_output.viewer.controls import python_code, read_rows
from ndx_simulation_output.viewer.page import open_page
from ndx_simulation_output.viewer.session import Downloads, ViewedFile
from tests.viewer.making import CELLS, ROWS, a_circuit, a_mixture, a_run, values

SESSION = {"NWBFile": {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write a run with sections in space, and one with points."""
    folder = tmp_path_factory.mktemp("space")
    return a_run(folder / "run.nwb"), a_circuit(folder / "circuit.nwb")


@pytest.fixture
def run(files):
    """Return the path of the run with sections."""
    return files[0]


@pytest.fixture
def circuit(files):
    """Return the path of the run with points."""
    return files[1]


@pytest.fixture
def page_of():
    """Return a function that opens a page."""
    opened = []

    def make(path, query="", **options):
        opened.append(open_page(Document(), [ViewedFile(path)], Downloads(), query, **options))
        return opened[-1]

    yield make
    for page in opened:
        page.session.close()


def panel_of(page):
    return next(card.panel for card in page.cards if card.panel.kind == "space")


def shown_values(panel, frame=0):
    return np.asarray(panel.frames.data["value"][frame], float)


def csv_of(panel, path):
    return list(read_rows(panel.shown(), [ViewedFile(path)]))


def run_code(panel, path):
    names = {}
    exec(python_code(panel.shown(), [ViewedFile(path)]), names)  # noqa: S102 - the code of the package
    return names


def test_sections_have_the_colours_of_the_time_of_the_cursor(run, page_of):
    page = page_of(run, "panel=space:v&at=0.1234")
    panel = panel_of(page)
    rows = panel.rows.data

    assert np.diff(rows["stop"], prepend=0).tolist() == [3] * 12
    columns = panel._drawn[0].columns  # noqa: SLF001 - the compartment of each row
    np.testing.assert_allclose(shown_values(panel), values()[1234][columns], rtol=1e-6)
    np.testing.assert_array_equal(rows["cell"], np.repeat(CELLS, 4)[columns])
    middle = slice(1, None, 3)
    np.testing.assert_allclose(panel.points.data["x"][middle], np.repeat([0, 50, 100], 4)
                               + np.tile([0, 10, 20, 30], 3))  # fmt: skip
    assert panel.bar.title.text == "v (mV)"

    page.session.time.at = 0.05
    page.session.cursor_moved()

    np.testing.assert_allclose(shown_values(panel), values()[500][columns], rtol=1e-6)
    assert "at 50 ms" in panel.when.text


def test_values_of_the_start_are_shown_without_a_cursor(run, page_of):
    panel = panel_of(page_of(run, "panel=space:v"))
    np.testing.assert_allclose(shown_values(panel)[:4], values()[0][:4], rtol=1e-6)


def test_csv_and_code_have_the_same_places_and_values(run, page_of):
    path = run
    panel = panel_of(page_of(path, "panel=space:v&at=0.1234&cells=7,12"))

    names, *rows = csv_of(panel, path)
    code = run_code(panel, path)

    assert names[:3] == ("population", "cell", "section")
    assert names[-1] == "v (mV)"
    assert [row[1] for row in rows] == [7] * 4 + [12] * 4
    np.testing.assert_allclose([row[4:7] for row in rows], code["points"]["exc"])
    found = [row[-1] for row in rows]
    np.testing.assert_allclose(np.multiply(found, 1e-3), code["values"]["exc"], rtol=1e-6)
    np.testing.assert_allclose(found, values()[1234][4:], rtol=1e-6)


def test_points_are_cells_at_their_places_in_the_colours_of_their_groups(circuit, page_of):
    page = page_of(circuit, "group_by=layer&panel=space:v")
    panel = panel_of(page)

    assert panel.points.data["x"].tolist() == [0, 40, 80]
    assert panel.points.data["z"].tolist() == [0, 9, 30]
    assert panel.legend.visible
    assert not panel.bar.visible
    assert shown_values(panel).tolist() == [0, 1, 0]
    assert panel.rows.data["about"] == ["layer L2", "layer L4", "layer L2"]

    panel.variable.value = "v"
    panel.variable.value = "spikes"

    assert panel.bar.visible
    assert panel.state.options["by"] == "value"
    assert "by=value" in page.address.value


def test_cells_light_up_after_a_spike(circuit, page_of):
    path = circuit
    panel = panel_of(page_of(path, "panel=space:spikes&at=0.1012"))
    found = dict(zip(panel.rows.data["cell"].tolist(), shown_values(panel), strict=True))

    assert found[7] == pytest.approx(1.2, rel=1e-5)
    assert np.isnan([found[cell] for cell in (3, 12)]).all()
    assert panel.bar.title.text == "time since the last spike (ms)"
    rows = csv_of(panel, path)
    assert {row[1]: row[-1] for row in rows[1:]}[7] == pytest.approx(1.2)
    spikes = run_code(panel, path)["values"]["exc"]
    assert spikes.node_ids.tolist() == [7]


def test_a_click_picks_the_cell_in_all_panels(run, page_of):
    page = page_of(run, "panel=space:v&panel=raster:")
    panel = panel_of(page)

    panel.rows.selected.indices = [5]  # The browser finds the row at a click.

    assert page.session.picked == ("exc", (7,))
    assert panel.rows.selected.indices == [4, 5, 6, 7]
    raster = page.cards[1].panel
    picked = raster.points.data["cell"][raster.points.selected.indices]
    assert picked.tolist() == [7]
    assert "Cell 7 of exc" in page.cell.head.text


def test_a_click_on_a_section_picks_its_compartment(run, page_of):
    page = page_of(run, "panel=space:v&panel=traces:v;count=4&at=0.1234")
    panel, traces = (card.panel for card in page.cards)

    panel.rows.selected.indices = [7]  # section 1 of cell 7, position 0.75

    assert page.session.compartment == (1, 0.75)
    assert panel.front.tags == [7]
    assert "7 #1" in traces.lines.data["name"]
    assert "(section 1, position 0.75)" in page.cell.text.text
    assert f"{values()[1234, 7]:.4g} mV" in page.cell.text.text
    assert "cell=exc:7&compartment=1,0.75" in page.address.value

    page.session.pick("exc", [3])

    assert "compartment" not in page.address.value


def test_populations_with_the_same_variable_are_in_one_picture(tmp_path, page_of):
    path = tmp_path / "two.nwb"
    steps, millivolts = RegularTimes(0.0, 1000.0, 3), Unit("volts", 1e-3)
    places = {"x": np.arange(2.0), "y": np.arange(2.0), "z": np.arange(2.0)}
    reports = []
    for name, begin in (("exc", 0), ("inh", 10)):
        table = CompartmentTable.from_cells(name, begin + np.arange(2))
        table = replace(table, cell_columns={axis: begin + place for axis, place in places.items()})
        data = begin + np.arange(6.0).reshape(3, 2)
        reports.append(Report(f"v_{name}", "v", data, steps, table, millivolts))
    writer.write(SimulationOutput(tuple(reports)), path, metadata=SESSION)
    page = page_of(path, "panel=space:v&at=0.001")
    panel = panel_of(page)

    assert panel.rows.data["population"] == ["exc", "exc", "inh", "inh"]
    assert shown_values(panel).tolist() == [2, 3, 12, 13]
    page.session.pick("inh", [11])
    assert panel.rows.selected.indices == [3]
    rows = csv_of(panel, path)[1:]
    assert [row[:2] for row in rows] == [("exc", 0), ("exc", 1), ("inh", 10), ("inh", 11)]
    np.testing.assert_allclose([row[-1] for row in rows], [2, 3, 12, 13])
    found = run_code(panel, path)["values"]
    np.testing.assert_allclose(found["inh"], [12e-3, 13e-3])


def test_currents_have_colours_around_zero(tmp_path, page_of):
    path = tmp_path / "currents.nwb"
    cells = replace(CompartmentTable.from_cells("exc", np.arange(2)),
                    cell_columns={"x": np.arange(2.0), "y": np.zeros(2)})  # fmt: skip
    data = np.array([[-1.0, 3.0], [2.0, 0.5]])
    report = Report("i", "i_membrane", data, RegularTimes(0.0, 1000.0, 2), cells,
                    Unit("amperes", 1e-9))  # fmt: skip
    writer.write(SimulationOutput((report,)), path, metadata=SESSION)

    panel = panel_of(page_of(path))

    assert (panel.colors.low, panel.colors.high) == pytest.approx((-3, 3))
    assert panel.figure.tags == [0, 0]  # Flat cells are seen from above.


def test_of_many_cells_some_are_drawn_and_the_picked_ones(tmp_path, page_of, monkeypatch):
    path = tmp_path / "many.nwb"
    ids = np.arange(1000) * 2
    table = CellTable("exc", ids, {"x": ids * 1.0, "y": ids * 2.0, "z": ids * 3.0})
    spikes = Spikes("exc", ids[::3], np.linspace(0, 1, len(ids[::3])), cells=table)
    writer.write(SimulationOutput(spikes=(spikes,)), path, metadata=SESSION)
    monkeypatch.setattr(space, "_MOST", 50)
    page = page_of(path, "panel=space:spikes")
    panel = panel_of(page)

    assert len(panel.rows.data["cell"]) == 50
    assert "50 of 334 cells" in panel.note.text
    missing = np.setdiff1d(ids[::3], panel.rows.data["cell"])[7]

    page.session.pick("exc", [missing])

    assert missing in panel.rows.data["cell"]
    assert len(panel.rows.selected.indices) == 1
    assert "cells" in panel.note.text


def test_playing_moves_the_cursor_of_the_page_and_begins_again(run, page_of):
    page = page_of(run, "panel=space:v&time=0.05,0.15")
    panel, time, player = panel_of(page), page.session.time, page.session.player

    page.command.value = "play 1"
    assert player.is_playing
    assert panel.play.label == "⏸"
    player.step()
    assert 0.05 <= time.at < 0.06
    time.at = 0.15
    player.step()
    assert time.at == pytest.approx(0.05)
    page.command.value = "play 2"

    assert not player.is_playing
    assert panel.play.label == "▶"


def test_a_saved_page_has_frames_and_cards(run, page_of):
    page = page_of(run, "panel=space:v", is_saved=True)
    panel = panel_of(page)
    frames = panel.frames.data
    columns = panel._drawn[0].columns  # noqa: SLF001 - the compartment of each row

    assert len(frames["time"]) == space._SAVED_FRAMES  # noqa: SLF001
    for number in (0, 50, 99):
        sample = min(round(frames["time"][number] * 10), ROWS - 1)
        near = values()[max(sample - 1, 0) : sample + 2][:, columns]
        error = np.abs(near - shown_values(panel, number)).max(axis=1).min()
        assert error < 1e-4
    (cards,) = page.cell.text.tags
    assert cards.data["cell"] == [3, 7, 12]
    assert "spikes in the window" in cards.data["text"][0]


def test_a_file_without_places_gives_its_width_to_the_middle(run, tmp_path, page_of):
    page = page_of(a_run(tmp_path / "flat.nwb", with_places=False))
    assert all(card.panel.kind != "space" for card in page.cards)
    assert not page.side.visible
    assert page.cell_above.children == [page.cell.layout]

    page = page_of(run, "panel=raster:&panel=space:v")
    assert page.side.visible
    assert page.cell_beside.children == [page.cell.layout]


def test_the_card_has_properties_spikes_and_values(circuit, page_of):
    page = page_of(circuit, "cell=exc:3&at=0.02")
    text = page.cell.text.text
    facts = dict(
        part.split("</b> ")
        for part in text.replace("</span>", "").split('<span class="fact"><b>')[1:]
    )

    assert facts["spikes in the window"].startswith("2 of 2, ")
    assert "first 10, last 150 ms" in facts["spikes in the window"]
    value = f"{values()[100, 0]:.4g} mV at the cursor"
    assert facts["v"] == f"{value} (first compartment), 4 compartments"
    assert facts["layer"] == "L2"
    assert text.index("layer") < text.index("<b>x</b>")

    page.command.value = "next 1"
    assert page.session.picked == ("exc", (7,))
    page.command.value = "previous 2"
    page.command.value = "previous 3"
    assert page.session.picked == ("exc", (20,))
    page.command.value = "unpick 4"

    assert "4 spikes" in page.cell.text.text
    (first,) = (one for one in page.cell.layout.children if one.__class__.__name__ == "Button")
    assert first.label == "first spike: cell 3 of exc, 10 ms"
    page.session.time.show((0.05, 0.12))
    page.refresh()
    assert "1 spikes" in page.cell.text.text


def test_the_card_of_a_neuron_of_a_state_has_its_values(tmp_path, page_of):
    page = page_of(a_mixture(tmp_path / "state.nwb"), "cell=sheet:4")
    assert "<b>v</b> 4" in page.cell.text.text
    assert "<b>tau</b> 20" in page.cell.text.text
