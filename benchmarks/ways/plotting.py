"""Pictures, each from an open file to a PNG in memory."""

import io
from collections.abc import Callable
from typing import Any

import ndx_simulation_output.nwb.reader  # noqa: F401 - what a task needs is imported before it
from ndx_simulation_output import open_output

__all__ = ["draw", "open_file"]

Work = Callable[[], object]


def open_file(source: str) -> Work:
    """Open a file."""
    return lambda: open_output(source)


def draw(source: str, *, kind: str, **selection: Any) -> Work:
    """Draw one kind of picture of an open file."""
    from matplotlib import font_manager  # noqa: PLC0415 - optional

    from ndx_simulation_output import plots  # noqa: PLC0415 - optional

    font_manager.findfont("DejaVu Sans")  # looked up once, before the time begins
    output = open_output(source)
    chosen = plots.PictureOptions(**selection)
    return lambda: plots.draw(output, kind, chosen).savefig(io.BytesIO(), dpi=150)
