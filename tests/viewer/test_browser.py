"""The page in a real browser: headless Chromium, driven by Playwright.

Screenshots are saved to the directory in the environment variable ``NDX_SCREENSHOTS``.
"""

import asyncio
import os
import re
import shutil
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Queue

import h5py
import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")
pytest.importorskip("playwright", reason="Playwright is not installed")

from playwright.sync_api import sync_playwright
from pynwb import NWBHDF5IO

from ndx_simulation_output import open_output, sonata
from ndx_simulation_output.cable import simulate
from ndx_simulation_output.demo import run_demo
from ndx_simulation_output.nwb.types import NAMESPACE
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.viewer.server import serve
from ndx_simulation_output.viewer.session import ViewedFile
from tests.viewer.making import HOSTILE, a_circuit, a_hostile_run, a_mixture, a_run

CHROMIUM = os.environ.get("NDX_CHROMIUM") or shutil.which("chromium")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium; set NDX_CHROMIUM to its path"
)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Write a run of the demo and two small runs with coordinates."""
    folder = tmp_path_factory.mktemp("runs")
    list(run_demo(folder / "demo"))
    a_run(folder / "one.nwb")
    a_run(folder / "two.nwb", shift=3.0)
    return folder


class BrowserPage:
    """A page in the browser, with its console messages, errors and foreign requests."""

    def __init__(self, context, address):
        self.page = context.new_page()
        self.problems = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._on_request)
        self.page.on("dialog", lambda dialog: self.problems.append(dialog.message))
        self.page.goto(address)
        self.page.wait_for_function(
            "window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle"
        )

    def _on_console(self, message):
        if message.type in {"error", "warning"}:
            self.problems.append(message.text)

    def _on_request(self, request):
        if not request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            self.problems.append(f"request to {request.url}")

    def tab(self, name, shows):
        """Open a tab and wait until it shows something."""
        self.page.locator(".bk-tab", has_text=name).first.click()
        self.page.get_by_text(shows).locator("visible=true").first.wait_for()
        self.page.wait_for_timeout(400)

    def fill(self, title, text):
        """Enter text into the visible field with this title."""
        field = self.page.get_by_label(title, exact=True).locator("visible=true").first
        field.fill(text)
        field.press("Enter")

    def plotted(self, name):
        """Return the values of a column in all data sources that have it."""
        return self.page.evaluate(_PLOTTED, name)

    def shot(self, name):
        """Save a screenshot if a directory is set."""
        folder = os.environ.get("NDX_SCREENSHOTS")
        if folder:
            self.page.screenshot(path=Path(folder) / f"{name}.png")


_PLOTTED = """
    (name) => {
        const found = [];
        for (const model of Bokeh.documents[0]._all_models.values()) {
            if (model.type == "ColumnDataSource" && model.data[name]?.length) {
                found.push(Array.from(model.data[name], (one) =>
                    one.length === undefined ? one : Array.from(one)));
            }
        }
        return found;
    }
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
    """Return a function that serves files and opens the page."""
    servers, contexts = [], []

    def at(*paths, **options):
        servers.append(Served([ViewedFile(path, options) for path in paths]))
        context = browser.new_context(viewport={"width": 1280, "height": 860})
        context.set_default_timeout(30_000)
        contexts.append(context)
        return BrowserPage(context, servers[-1].addresses.get(timeout=60))

    yield at
    for context in contexts:
        context.close()
    for server in servers:
        server.stop()


def test_the_tabs_of_a_run_have_no_problems(open_page, runs):
    page = open_page(runs / "demo" / "run.nwb")

    page.page.get_by_text("report v_exc").first.wait_for()
    page.page.get_by_text("acquisition").first.click()
    page.page.get_by_text("/acquisition", exact=True).wait_for()
    page.shot("file")
    page.tab("Traces", "every sample")
    before = page.plotted("ys")
    page.fill("Cells", "0-3")
    page.page.wait_for_function(f"({_PLOTTED})('ys')[0].length == 4")
    page.shot("traces")
    page.tab("Heat map", "per pixel")
    page.shot("heat-map")
    page.tab("Spikes", "each a mark")
    page.shot("spikes")
    page.tab("Neuron", "drag to rotate")
    page.shot("demo-neuron")

    assert len(before[0]) == 5
    assert page.problems == []


def test_a_run_without_coordinates_has_no_neuron(open_page, tmp_path):
    report = simulate(duration=0.01)["v_exc"]
    columns = {"number": report.compartments.columns["number"]}
    placeless = replace(report, compartments=replace(report.compartments, columns=columns))
    sonata.write(SimulationOutput(reports=(placeless,)), tmp_path / "sonata")

    page = open_page(tmp_path / "sonata")
    page.tab("Neuron", "has no coordinates of compartments")

    assert page.problems == []


def test_zooming_with_the_wheel_reads_again(open_page, runs):
    page = open_page(runs / "one.nwb")
    page.tab("Traces", "every sample")
    page.page.get_by_text("Python", exact=True).first.click()
    page.page.get_by_text("open_output").first.wait_for()
    before = len(page.plotted("xs")[0][0])

    box = page.page.locator("canvas").first.bounding_box()
    page.page.mouse.move(box["x"] + 300, box["y"] + 200)
    for _ in range(4):
        page.page.mouse.wheel(0, -300)
    page.page.get_by_text(re.compile(r"start=0\.\d+, stop=0\.\d+")).wait_for()

    assert len(page.plotted("xs")[0][0]) < before
    assert page.problems == []


def test_a_neuron_rotates_and_plays(open_page, runs):
    page = open_page(runs / "one.nwb")
    page.tab("Neuron", "drag to rotate")
    places, depths, values = (page.plotted(name) for name in ("xs", "z", "value"))

    box = page.page.locator(".bk-Figure canvas").locator("visible=true").first.bounding_box()
    page.page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 420, box["y"] + 260, steps=6)
    page.page.mouse.up()
    page.page.get_by_text("Play", exact=True).click()
    page.page.wait_for_timeout(1500)
    page.page.get_by_text("Play", exact=True).click()
    page.shot("neuron")

    assert page.plotted("xs") != places
    assert page.plotted("z") == depths
    assert page.plotted("value") != values
    assert page.problems == []


def test_channels_states_and_arrays_are_drawn(open_page, tmp_path):
    page = open_page(a_mixture(tmp_path / "mixture.nwb"))

    page.tab("Channels", "from one channel to the next")
    page.fill("Channels", "5, 2")
    page.page.wait_for_function(f"({_PLOTTED})('ys')[0].length == 2")
    page.shot("channels")
    page.tab("Network", "2 × 3 neurons")
    page.page.get_by_label("Of", exact=True).select_option("projection to_row")
    page.page.get_by_text("3 synapses; at").wait_for()
    page.shot("network")
    with page.page.expect_download() as png:
        page.page.get_by_text("PNG", exact=True).locator("visible=true").click()
    page.tab("Arrays", "3 × 4")
    page.page.get_by_text("Python", exact=True).locator("visible=true").click()
    page.page.get_by_text("grids_of").first.wait_for()
    page.shot("arrays")

    assert png.value.suggested_filename == "mixture-network.png"
    assert page.problems == []


def test_two_runs_are_compared(open_page, runs):
    page = open_page(runs / "one.nwb", runs / "two.nwb")

    page.tab("Compare", "largest difference drawn")
    page.page.get_by_label("Report").locator("visible=true").first.select_option("v")
    page.page.get_by_text("largest difference drawn: 3 mV").wait_for()
    page.shot("compare")

    assert page.problems == []


def test_shown_data_are_saved(open_page, runs, tmp_path):
    page = open_page(runs / "one.nwb")
    page.tab("Traces", "every sample")
    page.page.get_by_label("Report").locator("visible=true").first.select_option("v")
    page.page.wait_for_function(f"({_PLOTTED})('ys')[0][0][0] < -50")

    with page.page.expect_download() as csv:
        page.page.get_by_text("CSV", exact=True).locator("visible=true").click()
    with page.page.expect_download() as png:
        page.page.get_by_text("PNG", exact=True).locator("visible=true").click()
    csv.value.save_as(tmp_path / "saved.csv")
    png.value.save_as(tmp_path / "saved.png")

    assert csv.value.suggested_filename == "one-traces.csv"
    header = (tmp_path / "saved.csv").read_text(encoding="utf-8").split("\n")[0]
    assert header.startswith("time (ms),cell 3: 0 (0.25) (mV),")
    assert (tmp_path / "saved.png").read_bytes().startswith(b"\x89PNG")
    assert page.problems == []


def test_a_wrong_selection_shows_a_message_until_it_is_corrected(open_page, runs):
    page = open_page(runs / "one.nwb")
    page.tab("Traces", "every sample")

    page.fill("Cells", "99")
    page.page.get_by_text("cell 99 is not among").wait_for()
    page.shot("error")
    page.fill("Cells", "7")
    page.page.wait_for_function(f"({_PLOTTED})('ys')[0].length == 2")

    assert page.page.get_by_text("cell 99 is not among").count() == 0
    assert page.problems == []


def test_cells_are_chosen_and_coloured_by_property(open_page, tmp_path):
    page = open_page(a_circuit(tmp_path / "circuit.nwb"))

    page.tab("Traces", "every sample")
    page.fill("Cells", "layer=L2")
    page.page.wait_for_function(f"({_PLOTTED})('ys')[0].length == 4")
    for tab, shows in (("Traces", "by layer"), ("Spikes", "in groups"), ("Neuron", "drag")):
        page.tab(tab, "drag" if tab == "Neuron" else "e")
        colours = page.page.get_by_label("Colour by").locator("visible=true").first
        colours.select_option("layer")
        page.page.get_by_text(shows).locator("visible=true").first.wait_for()
        page.page.wait_for_timeout(400)
        page.shot(f"circuit-{tab.lower()}")
    page.fill("Cells", "layer=L9")
    page.page.get_by_text("no cell of population 'exc' matches").wait_for()

    assert page.plotted("color")
    assert page.problems == []


def test_the_page_is_refused_without_the_token(open_page, runs, browser):
    page = open_page(runs / "one.nwb")
    stranger = browser.new_context()
    other = stranger.new_page()

    answer = other.goto(page.page.url)
    stranger.close()

    assert "token" not in page.page.url
    assert answer.status == 403


def test_names_of_a_file_are_neither_markup_nor_math(open_page, tmp_path):
    path = a_run(tmp_path / "<img src=x onerror=alert(1)>.nwb", name="<img src=x> $$x$$")
    with h5py.File(path, "r+") as file:
        file["acquisition"].attrs["$$x$$"] = "<img src=x onerror=alert(1)> $$x$$"
        for data in ("ca", "<img src=x> $$x$$"):
            file[f"acquisition/{data}/data"].attrs["unit"] = "$$x$$"

    page = open_page(path)
    page.page.get_by_text("acquisition").first.click()
    page.page.get_by_text("$$x$$").nth(1).wait_for()
    for name, shows in (("Traces", "every"), ("Heat map", "pixel"), ("Neuron", "drag to rotate")):
        page.tab(name, shows)
        page.page.get_by_text("Python", exact=True).locator("visible=true").click()
    page.fill("Cells", "<img src=x>")
    page.page.get_by_text("has no node set").wait_for()

    assert page.page.locator("img").count() == 0
    assert page.problems == []


def test_texts_of_a_file_run_no_scripts(open_page, tmp_path):
    paths = [a_hostile_run(tmp_path / f"{number}{HOSTILE}.nwb") for number in "12"]
    page = open_page(*paths)

    for name in (f"▸ {HOSTILE}", "▪ compound", f"▪ {HOSTILE}", "▸ acquisition", f"▸ {HOSTILE}"):
        page.page.locator(".slick-cell", has_text=name).first.click()
        page.page.wait_for_timeout(300)
    for name, shows in (
        ("Traces", "every"),
        ("Heat map", "pixel"),
        ("Spikes", "each a mark"),
        ("Neuron", "drag to rotate"),
        ("Channels", "from one channel"),
        ("Network", "neurons"),
        ("Arrays", ", float64"),
        ("Compare", "largest difference drawn"),
    ):
        page.tab(name, shows)
        page.page.get_by_text("Python", exact=True).locator("visible=true").click()
        page.page.mouse.move(500, 400)
    page.tab("Arrays", ", float64")
    with page.page.expect_download() as csv:
        page.page.get_by_text("CSV", exact=True).locator("visible=true").click()

    assert csv.value.suggested_filename.endswith("-array.csv")
    assert page.page.locator("img, svg[onload]").count() == 0
    assert page.problems == []


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


@pytest.mark.parametrize(
    ("kind", "pattern", "tab", "shows"),
    [
        ("sonata", "nd_v5_soma.h5", "Traces", "every sample"),
        ("neuronvisio", "cvode_nv091_pt240.h5", "Neuron", "drag to rotate"),
        ("pymodaq", "v5_3_0_h5py/03_dte.h5", "Arrays", ", float64"),
        ("sonata", "allen_tutorial_ecp.h5", "Channels", "from one channel to the next"),
        ("annarchy", "annarchy-5.0.3/network.npz", "Network", "neurons"),
        ("nwb", "p026_pynwb200_lab.nwb", "Heat map", "each value has a pixel"),
    ],
)
def test_genuine_files_have_no_problems(open_page, request, kind, pattern, tab, shows):
    folder = request.getfixturevalue("sonata_data").parent / kind

    page = open_page(folder / pattern, dt=0.5 if kind == "annarchy" else None)
    page.tab(tab, shows)
    page.shot(f"genuine-{kind}-{tab}")

    assert page.problems == []
