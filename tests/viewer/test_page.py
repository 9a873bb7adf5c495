"""The page without a browser: its state, its files and contents, and the command that opens it."""

import re
from importlib import import_module

import h5py
import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")

from bokeh.document import Document
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.cli import main
from ndx_simulation_output.errors import SelectionError
from ndx_simulation_output.nwb.stream import stream
from ndx_simulation_output.recording import StreamedReport, Unit
from ndx_simulation_output.viewer import tree as hdf5_tree
from ndx_simulation_output.viewer.page import PANELS, open_page
from ndx_simulation_output.viewer.session import Downloads, ViewedFile
from ndx_simulation_output.viewer.state import PageState, PanelState
from ndx_simulation_output.viewer.tree import Tree
from tests.viewer.making import HOSTILE, a_circuit, a_run, table, values

view_module = import_module("ndx_simulation_output.cli.view")  # its name is also the command's
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TIMES = st.floats(-10, 10).map(lambda one: float(f"{one:.6g}"))
WINDOWS = st.tuples(TIMES, TIMES).filter(lambda ends: ends[0] < ends[1])
PANEL_STATES = st.builds(
    PanelState, st.sampled_from([*PANELS]), NAMES,
    st.dictionaries(NAMES.filter(bool), NAMES.filter(bool), max_size=2),
)  # fmt: skip


@pytest.fixture
def page_of():
    """Return a function that opens a page of files."""
    opened = []

    def make(*paths, query="", **options):
        files = [ViewedFile(path, options) for path in paths]
        opened.append(open_page(Document(), files, Downloads(), query))
        return opened[-1]

    yield make
    for page in opened:
        page.session.close()


def traces_of(page):
    return next(card.panel for card in page.cards if card.panel.kind == "traces")


@given(
    window=st.none() | WINDOWS, at=st.none() | TIMES, cells=NAMES, group_by=NAMES,
    population=NAMES.filter(bool), ids=st.lists(st.integers(0, 10**9), max_size=3),
    panels=st.none() | st.lists(PANEL_STATES, max_size=3).map(tuple),
)  # fmt: skip
def test_a_state_is_read_from_its_address(window, at, cells, group_by, population, ids, panels):
    picked = (population, tuple(ids)) if ids else ("", ())
    state = PageState(1, 0, True, window, at, cells, group_by, picked, panels=panels)  # noqa: FBT003

    query = state.query()

    assert query.isascii()
    assert "#" not in query
    assert PageState.parse(query) == state


@pytest.mark.parametrize("query", ["time=a,b", "time=1", "file=x", "cell=exc:a", "at=now"])
def test_an_address_with_an_error_is_told_of(query):
    with pytest.raises(SelectionError, match="the address is not one of this page"):
        PageState.parse(query)


def test_an_address_of_other_files_shows_the_first(tmp_path, page_of):
    page = page_of(a_run(tmp_path / "run.nwb"), query="file=3&compare=7")

    assert (page.state.file, page.state.other) == (0, None)


def test_the_first_screen_has_the_first_of_each_kind(tmp_path, page_of):
    page = page_of(a_circuit(tmp_path / "run.nwb"))

    assert [str(card.panel.state) for card in page.cards] == [
        "space:v", "raster:exc", "traces:v", "heat:v",
    ]  # fmt: skip
    assert page.contents.group.options[:2] == ["no property", "layer"]


def test_another_file_shows_its_own_data(tmp_path, page_of):
    runs = [a_run(tmp_path / f"{name}.nwb", shift=shift) for name, shift in (("a", 0), ("b", 5))]
    page = page_of(*runs, query="panel=traces:v")
    before = traces_of(page).lines.data["values"][0][0]

    page.show_file(1)

    assert traces_of(page).lines.data["values"][0][0] == pytest.approx(before + 5)
    assert page.state.file == 1


def test_a_missing_file_shows_a_message_until_it_exists(tmp_path, page_of):
    page = page_of(tmp_path / "run.nwb")
    assert "does not exist" in page.session.message.text

    a_run(tmp_path / "run.nwb")
    page.show()

    assert not page.session.message.text
    assert page.cards


def test_a_growing_run_is_read_without_staying_open(tmp_path, page_of):
    target = tmp_path / "run.nwb"
    reports = [StreamedReport("v", table(), rate=10_000.0, unit=Unit("volts", 1e-3))]
    session = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}
    with stream(target, reports, metadata=session) as file:
        file.append("v", values()[:500])
        file.flush()
        page = page_of(target, query="panel=traces:v")
        assert "is being written" in page.status.text
        assert not page.session.file.is_open
        file.append("v", values()[500:1500])
        file.flush()
        page.follow()
        then = traces_of(page).lines.data["xs"][0][-1]
        file.append("v", values()[1500:])
    page.follow()

    assert (then, traces_of(page).lines.data["xs"][0][-1]) == pytest.approx((149.9, 199.9))
    assert not page.status.text


def test_an_unexpected_error_is_shown_in_its_panel(tmp_path, page_of, monkeypatch, capsys):
    def fail(*_, **__):
        msg = "on purpose"
        raise RuntimeError(msg)

    monkeypatch.setattr("ndx_simulation_output.viewer.traces.TracesPanel.update", fail)
    page = page_of(a_run(tmp_path / "run.nwb"))

    assert "RuntimeError: on purpose" in traces_of(page).note.text
    assert "on purpose" in capsys.readouterr().err
    assert len(page.cards[1].panel.points.data["time"]) == 4  # the others go on


def test_attributes_are_escaped(tmp_path, page_of):
    path = a_run(tmp_path / "run.nwb")
    with h5py.File(path, "r+") as file:
        file["acquisition"].attrs["comments"] = HOSTILE
    panel = page_of(path, query="panel=file:").cards[0].panel

    names = [line.child.name for line in panel.tree.lines]
    panel.listed.selected.indices = [names.index("acquisition")]

    assert "&lt;img src=x" in panel.node.text
    assert "<img" not in panel.node.text


@pytest.mark.parametrize("kind", ["sonata", "neuronvisio", "annarchy", "pymodaq", "nwb"])
@pytest.mark.filterwarnings("ignore::ndx_simulation_output.SimulationOutputWarning")
def test_every_panel_of_genuine_files_can_be_opened(kind, request, page_of):
    folder = request.getfixturevalue("sonata_data").parent / kind
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in {".h5", ".nwb", ".npz"}]
    paths = [path for path in paths if not path.name.startswith("simout020")]
    paths = paths[:: max(1, len(paths) // 4)][:4]

    assert paths
    for path in paths:
        page = page_of(path, **({"dt": 0.5} if kind == "annarchy" else {}))
        for offer in page.contents.offers[:6]:
            page.open(offer)
            assert not re.search(r"\w+Error:", page.cards[-1].panel.note.text), (path, offer)
        assert not re.search(r"\w+Error:", page.session.message.text), path


def test_options_after_a_file_are_for_that_file(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(view_module, "_open", found.extend)
    monkeypatch.setattr("asyncio.run", lambda serving: serving.close())
    one, two, three = (str(a_run(tmp_path / f"{name}.nwb")) for name in "abc")

    arguments = ["view", "--no-browser", "--unit", "v=mV", one, two, "--unit", "v=V", three]
    result = CliRunner().invoke(main, arguments)

    assert result.exit_code == 0, result.output
    assert [dict(file.options["unit"]) for file in found] == [{"v": "mV"}, {"v": "V"}, {"v": "mV"}]


def test_a_page_is_saved_in_a_state_unless_the_file_exists(tmp_path, monkeypatch):
    run, target = a_run(tmp_path / "run.nwb"), tmp_path / "page.html"
    command = ["view", str(run), "--save", str(target), "--state", "?at=0.05&panel=raster:exc"]

    first = CliRunner().invoke(main, command)
    monkeypatch.setattr(view_module, "_open", lambda _: pytest.fail("work before the refusal"))
    again = CliRunner().invoke(main, command)

    assert first.exit_code == 0, first.output
    assert "which opens in a browser" in first.stdout
    text = target.read_text(encoding="utf-8")
    assert "raster:exc" in text
    assert "traces:v" not in text
    assert again.exit_code == 1
    assert "page.html exists" in again.stderr


def test_a_group_opens_closes_and_lists_more_members(tmp_path, monkeypatch):

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
