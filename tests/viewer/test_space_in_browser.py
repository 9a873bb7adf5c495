"""Cells in space in a real browser: rotation, order by depth, hover, clicks and saved frames."""

import asyncio
import os
import shutil
import threading
from contextlib import suppress
from queue import Queue

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the viewer needs Bokeh: the extra view")
pytest.importorskip("playwright", reason="Playwright is not installed")

from playwright.sync_api import sync_playwright

from ndx_simulation_output.viewer.saved import save_page
from ndx_simulation_output.viewer.server import serve
from ndx_simulation_output.viewer.session import ViewedFile
from tests.viewer.making import ROWS, a_run, values

CHROMIUM = os.environ.get("NDX_CHROMIUM") or shutil.which("chromium")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium; set NDX_CHROMIUM to its path"
)

# The drawn columns, the angles of the view, and where the middle of a row is on the screen.
_SPACE = """
    () => {
        const find = (view) => view.model.space ? view
            : (view.child_views ?? []).map(find).find((one) => one);
        const view = Object.values(Bokeh.index).map(find).find((one) => one);
        const frames = [...Bokeh.documents[0]._all_models.values()].find(
            (one) => one.type == "ColumnDataSource" && one.tags.length == 3 && one.data.time);
        const source = view.model.renderers[0].data_source, data = source.data;
        const box = view.el.getBoundingClientRect();
        const {x_scale, y_scale} = view.frame;
        return {
            ...Object.fromEntries(["row", "depth", "cell", "section", "value", "width"].map(
                (name) => [name, Array.from(data[name])])),
            angles: view.model.tags,
            times: Array.from(frames.data.time),
            unit: frames.tags[2],
            at: data.xs.map((xs, k) => [box.x + x_scale.compute(xs[xs.length >> 1]),
                                        box.y + y_scale.compute(data.ys[k][xs.length >> 1])]),
            box: [box.x, box.y, box.width, box.height],
            cursor: Bokeh.documents[0].get_model_by_name("cursor").location,
        };
    }
"""


@pytest.fixture(scope="module")
def page():
    """Return a page of the browser, which collects errors of scripts."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        yield page
        browser.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Write a run with sections in space."""
    return a_run(tmp_path_factory.mktemp("space") / "run.nwb")


@pytest.fixture
def address(run):
    """Serve the run, and return the address of its page."""
    addresses, loops = Queue(), Queue()

    async def main():
        loops.put((asyncio.get_running_loop(), asyncio.current_task()))
        with suppress(asyncio.CancelledError):
            await serve([ViewedFile(run)], ready=addresses.put)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    yield addresses.get(timeout=120)
    loop, task = loops.get()
    loop.call_soon_threadsafe(task.cancel)
    thread.join()


def go(page, address):
    page.goto(address)
    page.wait_for_function("window.Bokeh && Bokeh.documents[0]?.is_idle")
    page.wait_for_function(f"({_SPACE})().row.length == 12")


def check_order(found):
    assert found["depth"] == sorted(found["depth"])
    assert len(set(found["row"])) == 12


def test_cells_turn_tell_and_are_picked(page, address):
    go(page, f"{address}{'&' if '?' in address else '?'}panel=space:v&panel=raster:&at=0.1234")
    before = page.evaluate(_SPACE)
    check_order(before)
    np.testing.assert_allclose(before["value"], values()[1234][before["row"]], rtol=1e-6)

    left, top, width, height = before["box"]
    page.mouse.move(left + width / 2, top + height / 3)
    page.mouse.down()
    page.mouse.move(left + width / 2 - 120, top + height / 3 + 60, steps=4)
    page.mouse.up()
    page.wait_for_function(f"({_SPACE})().row.join() != '{','.join(map(str, before['row']))}'")

    turned = page.evaluate(_SPACE)
    np.testing.assert_allclose(
        np.subtract(turned["angles"], before["angles"]), [-1, 0.5], atol=0.02
    )
    check_order(turned)

    page.mouse.move(left + width / 2, top + height / 2)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(400)
    assert max(page.evaluate(_SPACE)["width"]) > max(turned["width"])
    page.mouse.wheel(0, 300)
    page.wait_for_timeout(400)

    found = page.evaluate(_SPACE)
    nearest = len(found["row"]) - 1
    page.mouse.move(*found["at"][nearest])
    page.get_by_text(f"{found['cell'][nearest]} of exc").first.wait_for()
    page.get_by_text(f"{found['value'][nearest]:.4g} mV").first.wait_for()
    page.mouse.click(*found["at"][nearest])

    page.wait_for_function(f"location.search.includes('cell=exc:{found['cell'][nearest]}')")
    assert f"compartment={found['section'][nearest]}," in page.url
    page.get_by_text(f"Cell {found['cell'][nearest]} of exc").wait_for()
    assert page.errors == []
    page.goto("about:blank")


def test_a_saved_page_plays_and_links_without_a_server(page, run, tmp_path):
    saved = save_page([ViewedFile(run)], tmp_path / "page.html", "panel=space:v&panel=raster:")
    go(page, saved.as_uri())

    page.keyboard.press(" ")
    page.wait_for_timeout(700)
    page.keyboard.press(" ")
    page.wait_for_timeout(300)
    found = page.evaluate(_SPACE)
    assert found["cursor"] > 0
    times = np.array(found["times"])
    shown = times[np.abs(times - found["cursor"]).argmin()] * {"s": 10_000, "ms": 10}[found["unit"]]
    first = min(max(int(shown) - 1, 0), ROWS - 1)
    near = values()[first : first + 4][:, found["row"]]
    assert np.abs(near - found["value"]).max(axis=1).min() < 1e-3

    page.mouse.click(*found["at"][-1])
    page.get_by_text(f"Cell {found['cell'][-1]} of exc").wait_for()
    assert page.errors == []
