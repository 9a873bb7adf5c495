"""The page of the viewer without a browser: reading, and what is sent."""

from collections.abc import Callable
from typing import Any

from bokeh.document import Document

import ndx_simulation_output.nwb.reader  # noqa: F401 - what a task needs is imported before it
from ndx_simulation_output.viewer.page import open_page
from ndx_simulation_output.viewer.session import Downloads, ViewedFile

__all__ = ["change", "first_picture"]

Work = Callable[[], object]


def first_picture(source: str) -> Work:
    """Open a file and make the first screen, as the text that is sent to the browser."""

    def work() -> None:
        _open(source).session.document.to_json()

    return work


def change(source: str, *, what: str) -> Work:
    """Change the time window of an open page, or pick a cell."""
    page = _open(source)
    time = page.session.time
    first, last = time.span
    tenth = first, first + 0.1 * (last - first)
    if what == "whole run":
        time.show(tenth)
        page.refresh()

    def work() -> None:
        if what == "pick a cell":
            page.command.value = "next 1"
        else:
            time.show(tenth if what == "zoom" else None)
            page.refresh()  # as the page does when the window has not moved for 150 ms

    return work


def _open(source: str) -> Any:
    return open_page(Document(), [ViewedFile(source)], Downloads())
