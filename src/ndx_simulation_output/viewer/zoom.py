"""Zooming that reads again: what is to be seen, in the units of what is stored."""

from collections.abc import Callable
from typing import Any

from bokeh.core.property.descriptors import UnsetValueError
from bokeh.events import RangesUpdate

from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.recording.scales import Scale, time_scale
from ndx_simulation_output.recording.times import Times
from ndx_simulation_output.viewer.session import Session
from ndx_simulation_output.viewer.theme import plain

__all__ = ["Window", "pixels_of", "span_of"]

_PIXELS = 400, 1100
"""What a figure is taken for until the browser has told how large it is."""

_BEYOND = 0.05


def pixels_of(figure: Any) -> tuple[int, int]:
    """Give the height and width of the inside of a figure."""
    try:
        height, width = int(figure.inner_height), int(figure.inner_width)
    except UnsetValueError:
        return _PIXELS
    return (height, width) if height > 0 and width > 0 else _PIXELS


def span_of(times: Times) -> tuple[float, float]:
    """Give the first and the last time (s), 0 and 1 where there are none."""
    if not times.count:
        return 0.0, 1.0
    first, last = (float(times.seconds(slice(row, row + 1))[0]) for row in (0, times.count - 1))
    return first, last


class Window:
    """The window of time that a figure shows; ``changed`` is called when zooming has come to rest.

    ``scale`` says in which unit the figure shows times.
    """

    def __init__(
        self, session: Session, figure: Any, changed: Callable[[SimulationOutput], object]
    ) -> None:
        self.figure = figure
        self.scale = Scale(1.0, "s")
        self._span = 0.0, 1.0
        self._changed = changed
        self._session = session
        figure.on_event(RangesUpdate, self._moved)

    def show_all(self, first: float, last: float) -> None:
        """Show all times from the first to the last (s), unless that is what was shown before."""
        last = last if last > first else first + 1e-3
        if (first, last) == self._span:
            return
        was_all = self.start is None and self.stop is None
        self._span = first, last
        scale = time_scale(last - first)
        if was_all or scale != self.scale:
            self.scale = scale
            ends = first * scale.factor, last * scale.factor
            shown = self.figure.x_range
            shown.start, shown.end = shown.reset_start, shown.reset_end = ends
            self.figure.xaxis.axis_label = plain(scale.label("time"))
        else:
            self.figure.x_range.reset_start = first * scale.factor
            self.figure.x_range.reset_end = last * scale.factor

    @property
    def start(self) -> float | None:
        """When the window begins (s), None where it shows the first time."""
        begin = self._ends[0]
        return None if begin <= self._span[0] + self._slack else begin

    @property
    def stop(self) -> float | None:
        """When the window ends (s), None where it shows the last time."""
        end = self._ends[1]
        return None if end >= self._span[1] - self._slack else end

    @property
    def drawn(self) -> dict[str, Any]:
        """What ``reduce_traces`` is to read: a little beyond the window, so that lines reach it."""
        margin = _BEYOND * (self._ends[1] - self._ends[0])
        start, stop = self.start, self.stop
        return {
            "start": None if start is None else start - margin,
            "stop": None if stop is None else stop + margin,
            "pixels": round(pixels_of(self.figure)[1] * (1 + 2 * _BEYOND)),
        }

    @property
    def _ends(self) -> tuple[float, float]:
        shown = self.figure.x_range
        return float(shown.start) / self.scale.factor, float(shown.end) / self.scale.factor

    @property
    def _slack(self) -> float:
        return 1e-9 * (self._span[1] - self._span[0])

    def _moved(self, _: RangesUpdate) -> None:
        self._session.soon(self._read)

    def _read(self) -> None:
        self._session.run(self._changed)
