"""Arrays with axes, such as instruments give."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import islice

import numpy as np
from bokeh.layouts import column
from bokeh.models import Select, UIElement

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.reduced import Grid, grids_of
from ndx_simulation_output.recording.reduced.bins import row_blocks
from ndx_simulation_output.viewer.controls import Saving
from ndx_simulation_output.viewer.downloads import Rows
from ndx_simulation_output.viewer.grids import draw_grid
from ndx_simulation_output.viewer.session import Session
from ndx_simulation_output.viewer.theme import new_text, small

__all__ = ["ArraysView", "ShownArray"]

_MOST = 500


@dataclass(frozen=True)
class ShownArray:
    """An array with its axes, by its ``place`` among those of the output."""

    place: int
    imports = ("from ndx_simulation_output.recording.reduced import grids_of",)

    def find(self, output: SimulationOutput) -> Grid:
        """Give the array.

        Raises
        ------
        NothingRecordedError
            If there are not so many.

        """
        for grid in islice(grids_of(output), self.place, None):
            return grid
        msg = f"there is no array {self.place}: the file has fewer"
        raise NothingRecordedError(msg)

    def table(self, *outputs: SimulationOutput) -> Rows:
        """Give places and value of each element; of two dimensions a row for each of the first."""
        grid = self.find(outputs[0])
        value = _named(grid.label, grid.unit)
        if not grid.axes:
            yield (value,)
            yield np.asarray(grid.values[()]).ravel().tolist()
            return
        if len(grid.axes) == 2:
            up, across = grid.axes
            name = _named(across.label, across.unit)
            columns = (f"{name}={place!r}" for place in across.values.tolist())
            yield _named(up.label, up.unit), *columns
            for rows in row_blocks(grid.values, slice(0, len(up.values)), len(across.values)):
                for place, line in zip(up.values[rows].tolist(), grid.values[rows, :], strict=True):
                    yield place, *line.tolist()
            return
        axes = grid.points or grid.axes
        yield *(_named(axis.label, axis.unit) for axis in axes), value
        for rows in row_blocks(grid.values, slice(0, len(axes[0].values)), 1):
            places = (axis.values[rows].tolist() for axis in axes)
            yield from zip(*places, grid.values[rows].tolist(), strict=True)

    def code(self, *names: str) -> Iterator[str]:
        """Give lines that read ``places``, of each axis, and ``values``."""
        yield f"grid = list(grids_of({names[0]}))[{self.place}]"
        yield "places = [axis.values for axis in grid.points or grid.axes]"
        yield "values = grid.values[()]  # as grid.unit says"


class ArraysView:
    """One array of a file at a time, over its axes."""

    title = "Arrays"

    def __init__(self, session: Session) -> None:
        self.session = session

    def build(self, output: SimulationOutput) -> UIElement:
        """Make the widgets for a file."""
        grids = list(islice(grids_of(output), _MOST))
        if not grids:
            msg = f"{self.session.source.name} has no arrays besides its reports"
            raise NothingRecordedError(msg)
        options = [(str(place), f"{one.name}: {one.label}") for place, one in enumerate(grids)]
        first = next((place for place, one in enumerate(grids) if one.axes), 0)
        self.array = Select(title="Array", options=options, value=str(first), width=640)
        self.session.on_change(self.array, "value", self.update)
        self.note = new_text()
        self.drawn = column(new_text(), sizing_mode="stretch_width", min_height=420)
        self.saving = Saving(self.session, "array", self.drawn, self.shown)
        self.update(output)
        parts = self.array, self.drawn, self.note, self.saving.layout
        return column(*parts, sizing_mode="stretch_width")

    def shown(self) -> ShownArray:
        """Give what is shown."""
        return ShownArray(int(self.array.value))

    def update(self, output: SimulationOutput) -> None:
        """Read anew what is shown."""
        grid = self.shown().find(output)
        if grid.axes:
            self.drawn.children = [draw_grid(grid)]
        else:
            value = np.asarray(grid.values[()]).ravel()[0]
            text = f"{value:.6g} {grid.unit}"
            self.drawn.children = [new_text(f"<h3>{escape(text)}</h3>")]
        shape = " × ".join(str(len(axis.values)) for axis in grid.axes) or "one value"
        notes = [shape, str(grid.values.dtype), grid.note]
        self.note.text = small(", ".join(note for note in notes if note))
        self.saving.refresh()


def _named(label: str, unit: str) -> str:
    return f"{label}_{unit}" if unit else label
