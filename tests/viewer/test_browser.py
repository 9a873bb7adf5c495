"""The page in a real browser: headless Chromium, driven by Playwright.

Screenshots are saved to the directory in the environment variable ``NDX_SCREENSHOTS``.
"""

import asyncio
import csv
import os
import re
import shutil
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from contextlib import suppress
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from queue import Queue

import h5py
import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")
pytest.importorskip("playwright", reason="Playwright is not installed")

from playwright.sync_api import sync_playwright
from pynwb import NWBHDF5IO

from ndx_simulation_output import open_output
from ndx_simulation_output.demo import run_demo
from ndx_simulation_output.nwb import writer
from ndx_simulation_output.nwb.stream import StreamedReport, stream
from ndx_simulation_output.nwb.types import NAMESPACE
from ndx_simulation_output.recording import SimulationOutput, Spikes, Unit
from ndx_simulation_output.viewer.saved import save_page
from ndx_simulation_output.viewer.server import serve
from ndx_simulation_output.viewer.session import ViewedFile
from tests.viewer.making import HOSTILE, a_circuit, a_hostile_run, a_run, table, values

CHROMIUM = os.environ.get("NDX_CHROMIUM") or shutil.which("chromium")

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no chromium; set NDX_CHROMIUM to its path"
    ),
    # Bokeh, when a browser leaves while the server sends to it.
    pytest.mark.filterwarnings(r"ignore:(?s).*WSHandler\.send_message"),
]

ROOT = Path(__file__).parents[2]
RASTER, TRACES, HEAT, SPACE = "raster:", "traces:v_exc", "heat:i_membrane", "space:v"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Write the run of the demo."""
    folder = tmp_path_factory.mktemp("demo")
    list(run_demo(folder))
    return folder / "run.nwb"


@pytest.fixture(scope="module")
def demo(browser, run):
    """Serve the demo by the command, and return its page, which tests open in a state."""
    start = "from ndx_simulation_output.cli import main; main()"
    command = [sys.executable, "-c", start, "view", run, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        address = it.stdout.readline().split()[1]
        context = browser.new_context(viewport={"width": 1366, "height": 820})
        page = BrowserPage(context, address)
        page.run = run
        yield page
        context.close()
        it.terminate()
        assert "Traceback" not in it.stderr.read()
    assert page.problems == []


class BrowserPage:
    """A page in the browser, with its console messages, errors and foreign requests."""

    def __init__(self, context, address, own="http://127.0.0.1:"):
        context.set_default_timeout(30_000)
        self.page = context.new_page()
        self.page.add_init_script(_SCRIPT)
        self.problems, self.clicks = [], 0
        self._own = (own, own.replace("http", "ws"), "data:", "blob:")
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._on_request)
        self.page.on("dialog", lambda dialog: self.problems.append(dialog.message))
        self.go(address)

    def _on_console(self, message):
        if message.type in {"error", "warning"}:
            self.problems.append(message.text)

    def _on_request(self, request):
        if not request.url.startswith(self._own):
            self.problems.append(f"request to {request.url}")

    def go(self, address):
        """Open an address."""
        self.page.goto(address)
        self.wait("window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")
        self.wait("document.documentElement.dataset.theme")
        return self

    def open(self, query=""):
        """Open the page of the same server in a state."""
        self.page.mouse.move(0, 0)
        return self.go(f"{self.page.url.partition('?')[0]}?{query}")

    def wait(self, script, argument=None):
        """Wait until a script of the browser is true, with ``x`` as its argument."""
        self.page.wait_for_function(f"(x) => {script}", arg=argument)

    def data(self, figure, column):
        """Return a column of the data of a figure, once it is seen."""
        self.wait("seen.views(x).length > 0", figure)
        return self.page.evaluate("([f, c]) => seen.data(f, c)", [figure, column])

    def wait_picked(self, ids, *figures):
        """Wait until figures highlight cells."""
        script = "x[1].every((name) => seen.picked(name).join() == x[0].join())"
        self.wait(script, [ids, list(figures)])

    def model(self, name, attribute):
        """Return an attribute of a named model."""
        code = "([n, a]) => Bokeh.documents[0].get_model_by_name(n)[a]"
        return self.page.evaluate(code, [name, attribute])

    def place(self, figure, x, y):
        """Return where in the window a place of a figure in data coordinates is."""
        self.wait("seen.views(x).length > 0", figure)
        return self.page.evaluate("(args) => seen.place(...args)", [figure, x, y])

    def click(self, figure, x, y):
        """Click a place of a figure."""
        self.clicks += 1
        self.page.mouse.click(*self.place(figure, x, y))

    def press(self, text):
        """Click what has a text."""
        self.clicks += 1
        self.page.get_by_text(text, exact=True).locator("visible=true").first.click()

    def hover(self, figure, x, y):
        """Return the texts of the hover at a place of a figure."""
        at = self.place(figure, x, y)
        self.page.mouse.move(0, 0)
        self.page.mouse.move(at[0] - 1, at[1])
        self.page.mouse.move(*at)
        shown = self.page.locator(".bk-tooltip-content").locator("visible=true")
        shown.first.wait_for()
        return re.sub(r"\s+", " ", " ".join(shown.all_inner_texts()))

    def drag(self, figure, x0, y0, x1, y1):
        """Drag from one place of a figure to another."""
        self.page.mouse.move(*self.place(figure, x0, y0))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(figure, x1, y1), steps=5)
        self.page.mouse.up()

    def fill(self, title, text):
        """Enter text into the visible field with this title."""
        field = self.page.get_by_label(title, exact=True).locator("visible=true").first
        field.fill(text)
        field.press("Enter")

    def card(self, title):
        """Return the card of a panel by its title."""
        return self.page.locator(".card", has=self.page.get_by_text(title, exact=True)).first

    def save(self, title, kind, folder):
        """Press a button of a card and return the file that the browser saves."""
        with self.page.expect_download() as found:
            self.card(title).get_by_text(kind, exact=True).click()
        path = folder / found.value.suggested_filename
        found.value.save_as(path)
        return path

    def sees(self, text):
        """Wait until a text is seen."""
        self.page.get_by_text(text).locator("visible=true").first.wait_for()

    def shot(self, name):
        """Save a screenshot if a directory is set."""
        folder = os.environ.get("NDX_SCREENSHOTS")
        if folder:
            self.page.mouse.move(0, 0)
            self.page.wait_for_timeout(500)
            self.page.screenshot(path=Path(folder) / f"{name}.png")


_SCRIPT = """
    window.seen = {
        views(name) {
            const found = [];
            const walk = (view) => {
                if (view.model.type == "Figure" && view.model.name == name) { found.push(view); }
                (view.child_views ?? []).forEach(walk);
            };
            Object.values(Bokeh.index).forEach(walk);
            return found.filter((view) => view.el.getBoundingClientRect().width > 0);
        },
        sources(name) {
            const renderers = seen.views(name).flatMap((view) => view.model.renderers);
            return [...new Set(renderers.map((one) => one.data_source))];
        },
        data(name, column) {
            const plain = (one) => one?.length === undefined || typeof one == "string"
                ? (Number.isNaN(one) ? null : one) : Array.from(one, plain);
            const found = seen.sources(name).find((one) => one.data[column]?.length);
            return found ? plain(found.data[column]) : [];
        },
        picked(name) {
            const linked = seen.sources(name).filter((one) => one.tags[0] == "linked");
            const cells = linked.flatMap((source) =>
                source.selected.indices.map((row) => source.data.cell[row]));
            return [...new Set(cells)];
        },
        place(name, x, y) {
            const [view] = seen.views(name);
            view.el.scrollIntoView({block: "center"});
            const box = view.el.getBoundingClientRect();
            const {x_scale, y_scale} = view.frame;
            return [box.x + x_scale.compute(x), box.y + y_scale.compute(y)];
        },
    };
"""


class Served(threading.Thread):
    """A server in a thread; the queue gets its address."""

    def __init__(self, files):
        super().__init__()
        self.files, self.addresses = files, Queue()
        self.start()

    def run(self):
        asyncio.run(self._serve())

    async def _serve(self):
        self.loop, self.task = asyncio.get_running_loop(), asyncio.current_task()
        with suppress(asyncio.CancelledError):
            await serve(self.files, ready=self.addresses.put)

    def stop(self):
        self.loop.call_soon_threadsafe(self.task.cancel)
        self.join()


@pytest.fixture
def open_page(browser):
    """Return a function that serves files and opens the page, which then must have no problems."""
    servers, contexts, pages = [], [], []

    def at(*paths, query="", size=(1366, 820), **options):
        servers.append(Served([ViewedFile(path, options) for path in paths]))
        contexts.append(
            browser.new_context(viewport=dict(zip(("width", "height"), size, strict=True)))
        )
        address = servers[-1].addresses.get(timeout=60)
        pages.append(BrowserPage(contexts[-1], f"{address}&{query}" if query else address))
        return pages[-1]

    yield at
    for context in contexts:
        context.close()
    for server in servers:
        server.stop()
    assert [problem for page in pages for problem in page.problems] == []


def test_a_newcomer_answers_the_questions_of_the_first_look(demo):
    script = (ROOT / "docs/tutorial/first-look.md").read_text(encoding="utf-8")
    page = demo.open()
    page.clicks = 0
    page.shot("first-look-0")

    page.press(re.search(r"Click \*\*(.*)\*\*", script)[1])
    page.wait_picked([4], RASTER, TRACES, HEAT)
    page.sees("Cell 4 of exc")
    page.shot("first-look-1")
    lines = [(cell, number) for cell, number in
             zip(page.data(TRACES, "cell"), page.data(TRACES, "number"), strict=True)]  # fmt: skip
    soma, branch = (max(page.data(TRACES, "values")[lines.index((4, number))][90:150])
                    for number in (0, 2))  # fmt: skip
    channel = page.data("channels:ecp", "name").index("0")
    y = page.data("channels:ecp", "ys")[channel]
    trough = y.index(min(y))
    at = page.data("channels:ecp", "xs")[channel][trough]
    page.click("channels:ecp", at, y[trough])
    page.sees(re.compile(r"at 18[78]\.\d+ ms"))
    page.shot("first-look-2")

    assert page.clicks == len(re.findall(r"^\d\. Click", script, re.MULTILINE)) == 2
    assert f"peaks at {soma:.1f} mV" in script
    assert f"later at {branch:.1f} mV" in script
    assert f"It is at {at:.1f} ms" in script
    with h5py.File(page.run) as file:
        ends = file["units/spike_times_index"][:]
        is_exc = file["units/population"].asstr()[:] == "exc"
        first = file["units/spike_times"][:][np.r_[0, ends[:-1]]]
        assert file["units/node_id"][:][is_exc][np.argmin(first[is_exc])] == 4
        assert np.argmin(file["acquisition/ecp/data"][:, 0]) == round(10 * at)


def test_a_click_on_a_spike_picks_its_cell_everywhere(demo):
    page = demo.open(f"panel={SPACE}&panel={RASTER}&panel={TRACES}&panel={HEAT}")
    times, rows, cells = (page.data(RASTER, name) for name in ("time", "row", "cell"))
    spike = next(i for i, cell in enumerate(cells) if cell == 4)

    page.click(RASTER, times[spike], rows[spike])
    page.sees("Cell 4 of exc")
    page.wait_picked([4], RASTER, TRACES, HEAT)
    page.wait("location.search.includes('at=')")

    assert page.data(TRACES, "cell").count(4) > 1  # also of its dendrite
    assert page.model("cursor", "location") == pytest.approx(times[spike])
    assert "cell=exc:4" in page.page.url
    assert f"&at={times[spike] / 1000:.9g}&" in f"&{page.page.url.partition('?')[2]}&"


def test_a_click_on_a_trace_a_heat_map_or_a_cell_in_space_picks_it(demo):
    page = demo.open(f"panel={SPACE}&panel={TRACES}&panel={HEAT}")

    page.click(TRACES, 80, page.data(TRACES, "y0")[2] + 0.5)
    page.sees(f"Cell {page.data(TRACES, 'cell')[2]} of exc")
    cells = page.data(HEAT, "cell")
    row = cells.index(6)
    page.click(HEAT, 120, page.data(HEAT, "y0")[row] + 0.5)
    page.sees("Cell 6 of exc")
    heat_at = page.model("cursor", "location")
    # The soma that is nearest to the viewer.
    somas = [i for i, width in enumerate(page.data(SPACE, "diameter")) if width > 10]
    xs, ys, ids = (page.data(SPACE, name) for name in ("xs", "ys", "cell"))
    middle = [sum(one) / len(one) for one in (xs[somas[-1]], ys[somas[-1]])]
    page.click(SPACE, *middle)
    page.sees(re.compile(f"Cell {ids[somas[-1]]} of (exc|inh)"))

    assert heat_at == pytest.approx(120, abs=1)


def test_a_click_moves_the_cursor_and_space_has_its_colours(demo):
    page = demo.open(f"panel={SPACE}&panel=channels:ecp")
    before = page.data(SPACE, "value")

    page.click("channels:ecp", 51.3, page.data("channels:ecp", "y0")[0] + 0.5)
    page.sees(re.compile(r"at 51\.\d+ ms"))
    page.wait("seen.data(x[0], 'value').join() != x[1]", [SPACE, ",".join(map(str, before))])

    with h5py.File(demo.run) as file:
        frame = file["acquisition/v_exc/data"][round(page.model("cursor", "location") * 10)]
    values = page.data(SPACE, "value")
    shown = [one for one, of in zip(values, page.data(SPACE, "population"), strict=True)
             if of == "exc"]  # fmt: skip
    np.testing.assert_allclose(sorted(shown), np.sort(frame), rtol=1e-4)


def test_the_window_of_the_overview_is_that_of_all_panels(demo):
    page = demo.open(f"panel={RASTER}&panel={TRACES}&panel={HEAT}")

    page.drag("overview", 50, 20, 100, 20)
    page.wait("new URLSearchParams(location.search).has('time')")
    page.wait("seen.data(x, 'xs')[0]?.[0] > 40", TRACES)
    start, stop = page.model("time", "start"), page.model("time", "end")
    xs = page.data(TRACES, "xs")[0]

    assert (start, stop) == pytest.approx((50, 100), abs=1)
    assert start - 5 < xs[0] < start < stop < xs[-1] < stop + 5
    inside = [one for one in page.data(RASTER, "time") if start <= one <= stop]
    page.card("Spikes of all populations").get_by_text(f"{len(inside)} spikes of").wait_for()
    page.page.mouse.dblclick(*page.place("overview", 150, 20))
    page.wait("!new URLSearchParams(location.search).has('time')")


def test_the_wheel_zooms_all_panels_and_reads_again(demo):
    page = demo.open(f"panel={RASTER}&panel={TRACES}")
    before = len(page.data(TRACES, "xs")[0])

    page.page.mouse.move(*page.place(TRACES, 60, 3))
    for _ in range(4):
        page.page.mouse.wheel(0, -300)
    page.wait("seen.data(x[0], 'xs')[0]?.length < x[1]", [TRACES, before])

    shared = "seen.views(x[0])[0].model.x_range == seen.views(x[1])[0].model.x_range"
    page.wait(shared, [RASTER, TRACES])


def test_keys_zoom_pan_reset_step_and_play(demo):
    page = demo.open(f"panel={SPACE}&panel={RASTER}")
    keys = page.page.keyboard

    keys.press("+")
    page.wait("new URLSearchParams(location.search).get('time') == '0.05,0.15'")
    keys.press("ArrowRight")
    page.wait("new URLSearchParams(location.search).get('time') == '0.06,0.16'")
    keys.press("ArrowLeft")
    keys.press("-")
    page.wait("!new URLSearchParams(location.search).has('time')")
    keys.press("+")
    keys.press("0")
    keys.press("n")
    page.sees("Cell 0 of exc")
    keys.press("n")
    page.sees("Cell 1 of exc")
    keys.press("p")
    page.sees("Cell 0 of exc")
    page.wait_picked([0], RASTER)
    keys.press("Escape")
    page.sees("In the window")
    page.wait_picked([], RASTER)
    keys.press(" ")
    page.wait("Bokeh.documents[0].get_model_by_name('cursor').location > 1")
    keys.press(" ")
    page.sees("▶")
    page.page.get_by_label("Cells", exact=True).focus()
    page.page.wait_for_timeout(300)
    at = page.model("cursor", "location")
    keys.type("n0")
    page.page.wait_for_timeout(300)
    assert page.model("cursor", "location") == at
    assert "cell=" not in page.page.url


def test_panels_open_close_and_change_places(demo):
    page = demo.open(f"panel={RASTER}&panel={TRACES}")

    page.page.locator("nav").get_by_text(re.compile("^ecp")).click()
    page.sees("Channels of ecp")
    page.card("Channels of ecp").get_by_text("↑", exact=True).click()
    page.wait("location.search.includes('panel=raster:&panel=channels:ecp&panel=traces')")
    page.card("Spikes of all populations").get_by_text("×", exact=True).click()
    page.wait("!location.search.includes('raster')")

    titles = page.page.locator(".card h3").all_inner_texts()
    assert titles == ["Channels of ecp", "Traces of v_exc"]


def test_the_address_shows_the_same_in_another_window(demo):
    page = demo.open(f"panel={SPACE}&panel={RASTER}&panel={TRACES}")
    cell = page.data(RASTER, "cell")[0]
    page.click(RASTER, page.data(RASTER, "time")[0], page.data(RASTER, "row")[0])
    page.sees(re.compile(r"Cell \d+ of"))
    page.page.keyboard.press("+")
    page.wait("location.search.includes('time')")
    page.page.get_by_text("◐").click()
    page.wait("location.search.includes('theme=dark')")
    page.page.wait_for_timeout(300)
    url, seen = page.page.url, [page.data(f, c) for f, c in _STATE]

    other = BrowserPage(page.page.context, url)

    assert [other.data(f, c) for f, c in _STATE] == seen
    other.wait_picked([cell], RASTER, TRACES)
    assert other.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert other.page.url == url
    assert other.problems == []
    other.page.close()


_STATE = [(RASTER, "time"), (TRACES, "xs"), (TRACES, "ys"), (TRACES, "name"), (SPACE, "value")]


def test_the_token_leads_to_the_state_of_the_address(open_page, run):
    page = open_page(run, query=f"time=0.1,0.15&cell=exc:2&panel={RASTER}")

    page.sees("Cell 2 of exc")

    assert page.page.url.endswith("/?time=0.1,0.15&cell=exc:2&panel=raster:")
    assert page.model("time", "start") == pytest.approx(100)


def test_a_wrong_address_shows_the_first_screen_and_a_message(demo):
    page = demo.open("time=a,b&panel=raster:")

    page.sees("the address is not one of this page")

    assert page.data(RASTER, "time")


def test_the_theme_follows_the_system_and_the_button(browser, demo):
    context = browser.new_context(
        color_scheme="dark",
        storage_state=demo.page.context.storage_state(),
        viewport={"width": 1366, "height": 820},
    )
    page = BrowserPage(context, f"{demo.page.url.partition('?')[0]}?cell=exc:4&at=0.0514")
    ground = "getComputedStyle(document.body).backgroundColor"

    dark = page.page.evaluate(ground)
    page.shot("demo-dark")
    page.page.get_by_text("◐").click()
    page.wait("location.search.includes('theme=light')")
    page.shot("demo-light")

    assert dark == "rgb(15, 20, 26)"
    assert page.page.evaluate(ground) == "rgb(244, 246, 248)"
    assert page.problems == []
    context.close()


def test_the_page_fits_its_window(demo):
    figures = ["overview", RASTER, TRACES, HEAT, "channels:ecp"]
    page = demo.open("&".join(f"panel={name}" for name in [SPACE, *figures[1:]]))
    for width in (390, 2560, 1366):
        page.page.set_viewport_size({"width": width, "height": 900})
        page.page.wait_for_timeout(600)
        page.shot(f"demo-{width}")

        edges = page.page.evaluate(
            "(names) => names.map((name) => { const [view] = seen.views(name);"
            "const {x} = view.el.getBoundingClientRect(); const {left, right} = view.frame.bbox;"
            "return [x + left, x + right]; })",
            figures,
        )
        wide = page.page.evaluate(
            "['html', 'nav', 'main', 'aside'].filter((one) => {"
            "const {scrollWidth, clientWidth} = document.querySelector(one);"
            "return scrollWidth > clientWidth; })"
        )

        np.testing.assert_allclose(edges, [edges[0]] * 5, atol=1)
        assert edges[0][1] - edges[0][0] > 150
        assert wide == []


def test_cells_are_chosen_and_coloured_by_property(open_page, tmp_path):
    page = open_page(a_circuit(tmp_path / "circuit.nwb"))
    kinds = ("raster:exc", "traces:v", "heat:v")

    page.fill("Cells", "layer=L2")
    page.wait("location.search.includes('cells=layer=L2')")
    for kind in kinds:
        page.wait("[...new Set(seen.data(x, 'cell'))].sort((a, b) => a - b).join() == '3,12'", kind)
    page.fill("Cells", "")
    page.page.get_by_label("Colour by", exact=True).select_option("layer")
    page.wait("location.search.includes('group_by=layer')")
    page.wait("new Set(seen.data('raster:exc', 'color')).size > 1")
    page.shot("circuit")
    page.fill("Cells", "layer=L9")
    page.sees("no cell of population 'exc' matches")
    page.fill("Cells", "7")
    page.wait("seen.data('raster:exc', 'cell').join() == '7'")
    page.wait("location.search.includes('cells=7')")

    assert page.page.get_by_text("no cell of population").locator("visible=true").count() == 0


def test_two_runs_are_compared(open_page, tmp_path):
    runs = [a_run(tmp_path / f"{name}.nwb", shift=shift) for name, shift in (("a", 0), ("b", 3.0))]
    page = open_page(*runs, query="panel=traces:v")

    page.page.get_by_label("Compare with", exact=True).select_option("b.nwb")
    page.wait("location.search.includes('compare=1')")
    page.wait("seen.sources('traces:v').filter((one) => one.data.values?.length).length == 2")
    page.press("Difference")
    page.sees("largest difference 3 mV")
    page.wait("location.search.includes('difference=1')")
    page.shot("compare")

    np.testing.assert_allclose(page.data("traces:v", "values")[0], -3, rtol=1e-5)


def test_a_file_with_an_error_is_a_row_and_warnings_are_seen(open_page, tmp_path):
    broken = tmp_path / "broken.nwb"
    broken.write_bytes(b"not HDF5")
    page = open_page(a_run(tmp_path / "run.nwb"), broken)

    entry = page.page.locator("nav .entry")
    entry.filter(has_text="broken.nwb").click()
    page.page.locator("nav .error").filter(has_text="broken.nwb").first.wait_for()
    page.page.locator("header .error").filter(has_text="broken.nwb").first.wait_for()
    entry.filter(has_text="run.nwb").click()
    page.wait("seen.data('raster:exc', 'time').length == 4")

    assert page.page.get_by_text("Spikes of").locator("visible=true").count()


_PLACE = r"cell: 4 compartment: 0 position: 0\.5\d*"


@pytest.mark.parametrize(
    ("figure", "column", "expected"),
    [
        (RASTER, "row", r"cell:? 4 of exc .*time:? [\d.]+ ms"),
        (TRACES, "y0", rf"{_PLACE} time: [\d.]+ ms value: -?[\d.]+ mV"),
        (HEAT, "y0", rf"{_PLACE} .*time: [\d.]+ ms value: -?[\d.e-]+ nA"),
        ("channels:ecp", "y0", r"channel: .*electrode: .*µm time: [\d.]+ ms value: -?[\d.]+ .V"),
    ],
)  # fmt: skip
def test_a_hover_has_names_units_and_the_value_of_the_file(demo, figure, column, expected):
    page = demo.open(f"panel={figure}")
    names = page.data(figure, "cell")
    row = 0 if figure.startswith("channels") else names.index(4)
    x, y = 50.0, page.data(figure, column)[row] + 0.5
    if figure == RASTER:
        x, y = page.data(figure, "time")[row], y - 0.5

    text = page.hover(figure, x, y)

    assert re.search(expected, text), text
    at = round(10 * float(re.search(r"([\d.]+) ms", text)[1]))
    with h5py.File(page.run) as file:
        index = file["general/simulation/compartments/number_index"][3]
        of = {TRACES: ("v_exc", index), HEAT: ("i_membrane", index), "channels:ecp": ("ecp", 0)}
        if figure in of:
            name, place = of[figure]
            data = file[f"acquisition/{name}/data"]
            scale = {"channels:ecp": data.attrs["conversion"] * 1e6}.get(figure, 1)
            shown = float(re.search(r"value:? (-?[\d.e-]+)", text)[1])
            values = data[at - 20 : at + 20, place] * scale  # a pixel is the mean of some samples
            assert values.min() - 1e-3 <= shown <= values.max() + 1e-3


def test_the_hover_in_space_names_cell_section_place_and_value(demo):
    page = demo.open(f"panel={SPACE}&at=0.05")
    x, y, cell, section = page.page.evaluate(_NEAR, SPACE)

    text = page.hover(SPACE, x, y)

    assert re.search(
        rf"cell:? {cell} of .*section:? {section}\b.*position.*µm.*-?[\d.]+ mV", text
    ), text


_NEAR = """
    (name) => {
        const source = seen.sources(name).find((one) => one.data.xs?.length > 1);
        const {xs, ys, cell, section} = source.data;
        const row = xs.length - 1;  // the nearest to the viewer
        const middle = (one) => (one[0] + one.at(-1)) / 2;
        return [middle(xs[row]), middle(ys[row]), cell[row], section[row]];
    }
"""


def test_csv_has_the_numbers_of_the_file(demo, tmp_path):
    page = demo.open(f"time=0.05,0.06&panel={RASTER}&panel={TRACES}&panel=channels:ecp")
    page.wait("seen.data(x, 'xs')[0]?.length < 200", TRACES)

    traces, spikes, channels = (
        page.save(title, "CSV", tmp_path)
        for title in ("Traces of v_exc", "Spikes of all populations", "Channels of ecp")
    )

    with h5py.File(page.run) as file:
        names, numbers = _read_csv(traces)
        rows = slice(500, 500 + len(numbers))
        somata = [0, *file["general/simulation/compartments/number_index"][:-1]]
        assert names[:2] == ["time (ms)", "cell 0: 0 (0.5) (mV)"]
        assert 100 <= len(numbers) <= 101
        np.testing.assert_allclose(numbers[:, 0], np.arange(rows.start, rows.stop) / 10)
        np.testing.assert_allclose(numbers[:, 1:], file["acquisition/v_exc/data"][rows][:, somata],
                                   rtol=1e-6)  # fmt: skip
        names, numbers = _read_csv(channels)
        data = file["acquisition/ecp/data"]
        assert names[1].endswith("(µV)")
        order = [int(re.search(r"\d+", name)[0]) for name in names[1:]]
        expected = data[rows][:, order] * data.attrs["conversion"] * 1e6
        np.testing.assert_allclose(numbers[:, 1:], expected, rtol=1e-6)
        times = file["units/spike_times"][:]
        inside = np.sort(times[(times >= 0.05) & (times <= 0.06)]) * 1000
    with spikes.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["time (ms)", "population", "node id"]
    np.testing.assert_allclose(sorted(float(one[0]) for one in rows), inside)


def _read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    return names, np.asarray(rows, float)


def test_figures_are_saved_as_png_and_svg(demo, tmp_path):
    page = demo.open(f"panel={SPACE}&panel={TRACES}&panel={HEAT}")

    for title in ("Traces of v_exc", "Heat map of i_membrane", "Cells in space"):
        png, svg = (page.save(title, kind, tmp_path) for kind in ("PNG", "SVG"))
        tree = ET.parse(svg).getroot()  # noqa: S314 - of this test
        texts = " ".join(one.text or "" for one in tree.iter("{http://www.w3.org/2000/svg}text"))

        assert png.read_bytes().startswith(b"\x89PNG")
        assert png.stat().st_size > 3000
        assert tree.tag == "{http://www.w3.org/2000/svg}svg"
        assert ("ms" if "space" not in title else "µm") in texts


def test_python_lines_are_those_of_what_is_seen(demo):
    page = demo.open(f"cells=2&time=0.05,0.1&panel={TRACES}")

    page.press("Python")
    code = page.page.locator("pre").locator("visible=true").first
    code.wait_for()
    names = {}
    exec(code.inner_text(), names)  # noqa: S102 - the code of the package

    with h5py.File(page.run) as file:
        ends = file["general/simulation/compartments/number_index"][:]
        expected = file["acquisition/v_exc/data"][500:, ends[1] : ends[2]]
    assert len(names["values"]) in {500, 501}
    shown = np.asarray(names["values"])
    assert np.isclose(shown[0][:, np.newaxis], expected[0] * 1e-3).any(axis=1).all()


@pytest.fixture(scope="module")
def saved(browser, run, tmp_path_factory):
    """Save the page of the demo, and open it from the disk without a network."""
    target = tmp_path_factory.mktemp("saved") / "page.html"
    state = "&".join(f"panel={name}" for name in (SPACE, RASTER, TRACES, HEAT, "channels:ecp"))
    save_page([ViewedFile(run)], target, state)
    context = browser.new_context(viewport={"width": 1366, "height": 768}, offline=True)
    page = BrowserPage(context, target.as_uri(), own="file://")
    page.target = target
    yield page
    context.close()
    assert page.problems == []


def test_a_saved_page_is_linked_without_a_server(saved):
    page = saved.go(saved.target.as_uri())
    times, rows, cells = (page.data(RASTER, name) for name in ("time", "row", "cell"))
    spike = cells.index(4)
    values = page.data(SPACE, "value")

    page.click(RASTER, times[spike], rows[spike])
    page.sees("Cell 4 of exc")
    page.wait_picked([4], RASTER, TRACES, HEAT)
    page.wait("JSON.stringify(seen.data(x[0], 'value')) != JSON.stringify(x[1])", [SPACE, values])
    page.sees(re.compile(r"at 10\.\d ms"))
    page.page.keyboard.press("n")
    page.sees("Cell 5 of exc")
    page.wait_picked([5], RASTER, TRACES, HEAT)
    page.page.keyboard.press("Escape")
    page.wait_picked([], RASTER, TRACES, HEAT)
    page.shot("saved")

    assert page.page.get_by_text("data are reduced").count()
    assert page.page.get_by_text("CSV", exact=True).locator("visible=true").count() == 0
    assert page.target.stat().st_size < 8e6


def test_a_saved_page_has_its_state_in_its_address(saved, browser):
    page = saved.go(saved.target.as_uri())
    page.page.keyboard.press("+")
    page.page.keyboard.press("n")
    page.click("channels:ecp", 100, 1)
    page.wait("location.hash.includes('at=') && location.hash.includes('cell=')")

    other = BrowserPage(page.page.context, page.page.url, own="file://")
    other.wait("location.hash.includes('at=')")

    assert page.page.url.partition("#")[2].startswith("time=0.05,0.15&at=0.")
    assert other.page.url == page.page.url
    assert other.model("time", "start") == pytest.approx(50)
    other.sees("Cell 0 of exc")
    other.wait_picked([0], RASTER, TRACES)
    assert other.problems == []
    other.page.close()


def test_a_saved_page_has_hovers_and_plays(saved):
    page = saved.go(saved.target.as_uri())

    raster = page.hover(RASTER, page.data(RASTER, "time")[0], page.data(RASTER, "row")[0])
    trace = page.hover(TRACES, 50, page.data(TRACES, "y0")[0] + 0.5)
    page.page.keyboard.press(" ")
    page.wait("Bokeh.documents[0].get_model_by_name('cursor').location > 0")
    page.page.keyboard.press(" ")

    assert re.search(r"cell:? \d+ of", raster)
    assert re.search(r"cell:? 0 .*mV", trace)


def test_a_page_follows_a_file_that_is_written(open_page, tmp_path):
    reports = [StreamedReport("v", table(), rate=10_000.0, unit=Unit("volts", 1e-3))]
    session = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}
    with stream(tmp_path / "run.nwb", reports, metadata=session) as file:
        file.append("v", values()[:500])
        file.flush()
        page = open_page(tmp_path / "run.nwb", query="panel=traces:v")
        page.sees("is being written")
        page.wait("seen.data('traces:v', 'xs')[0]?.at(-1) < 50")
        file.append("v", values()[500:1500])
        file.flush()
        page.wait("seen.data('traces:v', 'xs')[0]?.at(-1) > 149")
        file.append("v", values()[1500:])
    page.wait("seen.data('traces:v', 'xs')[0]?.at(-1) > 199")
    page.wait("!document.querySelector('header').textContent.includes('is being written')")


def test_spikes_of_many_cells_are_linked(open_page, tmp_path):
    rng = np.random.default_rng(1)
    cells, count = 100_000, 500_000
    times = np.sort(rng.uniform(0, 10, count))
    spikes = Spikes("cortex", rng.integers(0, cells, count), times)
    session = {"NWBFile": {"session_start_time": datetime(2026, 1, 31, tzinfo=timezone.utc)}}
    writer.write(SimulationOutput(spikes=(spikes,)), tmp_path / "many.nwb", metadata=session)
    page = open_page(tmp_path / "many.nwb")

    page.click("raster:cortex", 5, 50_000)
    page.sees(re.compile(r"Cell \d+ of cortex"))
    page.drag("overview", 4, 1, 4.001, 1)
    page.page.keyboard.press("+")
    page.wait("location.search.includes('time')")
    page.shot("many")

    assert "cell=cortex:" in page.page.url


def test_the_page_is_refused_without_the_token(demo, browser):
    stranger = browser.new_context()

    answer = stranger.new_page().goto(demo.page.url)
    stranger.close()

    assert "token" not in demo.page.url
    assert answer.status == 403


def test_texts_of_a_file_run_no_scripts(open_page, tmp_path):
    paths = [a_hostile_run(tmp_path / f"{number}{HOSTILE}.nwb") for number in "12"]
    with h5py.File(paths[0], "r+") as file:
        file["acquisition"].attrs["$$x$$"] = f"{HOSTILE} $$x$$"
    page = open_page(*paths)
    entries = page.page.locator("nav .entry")
    page.page.wait_for_timeout(300)

    for number in range(entries.count()):
        entries.nth(number).click()
        page.page.wait_for_timeout(250)
    for name in (f"▸ {HOSTILE}", "▪ compound", f"▪ {HOSTILE}", "▸ acquisition", f"▸ {HOSTILE}"):
        found = page.page.locator(".slick-cell", has_text=name).first
        if found.count():
            found.click()
            page.page.wait_for_timeout(200)
    for button in page.page.get_by_text("Python", exact=True).locator("visible=true").all():
        button.click()
    page.page.get_by_label("Compare with", exact=True).select_option(index=1)
    page.page.keyboard.press("n")
    page.fill("Cells", HOSTILE)
    page.page.wait_for_timeout(500)
    for figure in page.page.locator(".bk-Figure").all():
        box = figure.bounding_box()
        if box and figure.is_visible():
            figure.hover()
    state = page.page.url.partition("?")[2]
    save_page([ViewedFile(path) for path in paths], tmp_path / "page.html", state)
    offline = BrowserPage(page.page.context, (tmp_path / "page.html").as_uri(), own="file://")
    offline.page.wait_for_timeout(300)

    for one in (page, offline):
        assert one.page.locator("img, svg[onload]").count() == 0
        assert one.problems == []


@pytest.mark.parametrize(
    ("name", "options", "shows"),
    [
        ("sonata/nd_v5_soma.h5", {}, "Traces of"),
        ("sonata/allen_tutorial_ecp.h5", {}, "Channels of"),
        ("neuronvisio/cvode_nv091_pt240.h5", {}, "Cells in space"),
        ("annarchy/annarchy-5.0.3/network.npz", {"dt": 0.5}, "neurons"),
        ("pymodaq/v5_3_0_h5py/03_dte.h5", {}, "float64"),
        ("nwb/p026_pynwb200_lab.nwb", {}, "Traces of"),
    ],
)
def test_genuine_files_have_no_problems(open_page, request, name, options, shows):
    folder = request.getfixturevalue("sonata_data").parent
    page = open_page(folder / name, **options)

    page.sees(shows)
    page.shot(f"genuine-{name.partition('/')[0]}-{Path(name).stem}")


HAS_NEURON = find_spec("neuron") is not None
NEEDS_NEURON = pytest.mark.skipif(not HAS_NEURON, reason="NEURON is not installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Write the files of the gallery: a circuit, a network, a scan, and a model of NEURON."""
    folder = tmp_path_factory.mktemp("made")
    page = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    for example in ("make_circuit", *(["record_neuron"] if HAS_NEURON else [])):
        subprocess.run([sys.executable, ROOT / f"examples/{example}.py"], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize(
    ("name", "query", "shows"),
    [
        ("run", "group_by=layer&at=0.02", "Cells in space"),
        pytest.param("run.nwb", "at=0.0188", "Traces of v", marks=NEEDS_NEURON),
        ("state.nwb", "", "near"),
        ("scan.nwb", "", "intensity"),
    ],
)
def test_files_of_the_gallery_have_no_problems(open_page, made, name, query, shows):
    page = open_page(made / name, query=query)

    page.sees(shows)
    page.shot(f"gallery-{name}")


def test_summaries_in_notebooks_run_no_scripts(browser, tmp_path):
    path = a_hostile_run(tmp_path / "run.nwb")
    with open_output(path) as output:
        shown = [output, *output.reports, *output.spikes, *output.potentials]
        html = [one._repr_html_() for one in shown if hasattr(one, "_repr_html_")]
    with NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        ours = [one for one in nwbfile.objects.values() if one.namespace == NAMESPACE]
        html += [one._repr_html_() for one in ours]
        # What an NWBFile shows of our types; the rest is the HTML of pynwb, which does not escape.
        html += [one._generate_field_html(one.name, one, 0, "") for one in ours]  # noqa: SLF001
        html += [one.generate_html_repr(0, "") for one in ours]
    html += [one._repr_html_() for one in ours]  # their file is closed now
    page = browser.new_page()
    problems = []
    page.on("dialog", lambda dialog: problems.append(dialog.message))

    page.set_content("".join(html))
    page.wait_for_timeout(500)

    assert {type(one).__name__ for one in ours} >= {
        *("Compartments", "CompartmentSeries", "SimulationMetaData", "DataWithAxes", "Axis"),
        *("LabeledArray", "NetworkState", "PopulationState", "ProjectionState"),
    }
    assert page.locator("img, script, svg[onload]").count() == 0
    assert page.get_by_text(HOSTILE).count() > 100
    assert problems == []
