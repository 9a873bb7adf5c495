"""The time axis of the page: one window and one cursor for all panels."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from bokeh.models import CrosshairTool, CustomJSTickFormatter, Range1d, Span

from ndx_simulation_output.recording.times import Times
from ndx_simulation_output.recording.units import Scale, time_scale

ACCENT = "#e8590c"
"""Colour of the cursor, the window and what is picked."""

_MARGIN = 0.05


class TimeAxis:
    """The time window and the cursor that all panels share.

    Times are in s; ``scale`` converts them to the unit of the axes.
    """

    def __init__(self) -> None:
        self.scale = Scale(1.0, "s")
        self.span = 0.0, 1.0
        self.x_range = Range1d(0, 1, name="time")
        self.cursor = Span(
            dimension="height", location=None, line_color=ACCENT, line_width=1.5, name="cursor"
        )
        code = "return `${Number(tick.toPrecision(9))} ${unit}`;"
        self.formatter = CustomJSTickFormatter(args={"unit": "s"}, code=code)
        self.hair = Span(dimension="height", line_color="#8a94a0", line_width=1, line_dash="dotted")

    def set_span(self, first: float, last: float) -> None:
        """Set the time range of the run (s), and show all of it unless the user has zoomed in."""
        last = last if last > first else first + 1e-3
        window = None if self.is_all else self.window
        self.span = first, last
        self.scale = time_scale(last - first)
        self.formatter.args = {"unit": self.scale.symbol}
        ends = first * self.scale.factor, last * self.scale.factor
        self.x_range.reset_start, self.x_range.reset_end = ends
        self.x_range.tags = [self.scale.factor]  # for the address of a saved page
        margin = 0.5 * (ends[1] - ends[0])
        self.x_range.bounds = ends[0] - margin, ends[1] + margin
        self.show(window)

    def show(self, window: tuple[float, float] | None) -> None:
        """Show a window (s), or the whole run if nothing of it is in the window."""
        is_empty = window is None or window[0] >= self.span[1] or window[1] <= self.span[0]
        first, last = self.span if window is None or is_empty else window
        self.x_range.update(start=first * self.scale.factor, end=last * self.scale.factor)

    @property
    def window(self) -> tuple[float, float]:
        """Ends of the window (s)."""
        return (
            float(self.x_range.start) / self.scale.factor,
            float(self.x_range.end) / self.scale.factor,
        )

    @property
    def is_all(self) -> bool:
        """True if the window includes the whole run."""
        return self.start is None and self.stop is None

    @property
    def start(self) -> float | None:
        """Start of the window (s), or None if the window includes the first time."""
        start = self.window[0]
        return None if start <= self.span[0] + self._tolerance else start

    @property
    def stop(self) -> float | None:
        """End of the window (s), or None if the window includes the last time."""
        stop = self.window[1]
        return None if stop >= self.span[1] - self._tolerance else stop

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the window (s), which are exactly those of the run where it includes these."""
        first, last = self.span
        return (first if self.start is None else self.start,
                last if self.stop is None else self.stop)  # fmt: skip

    def drawn(self, pixels: int) -> dict[str, Any]:
        """Keyword arguments of ``reduce_traces``, with a margin so that lines reach the edges."""
        margin = _MARGIN * (self.window[1] - self.window[0])
        return {
            "start": None if self.start is None else self.start - margin,
            "stop": None if self.stop is None else self.stop + margin,
            "pixels": round(pixels * (1 + 2 * _MARGIN)),
        }

    @property
    def at(self) -> float | None:
        """Time of the cursor (s), or None if it is not shown."""
        location: float | None = self.cursor.location
        return None if location is None else float(location) / self.scale.factor

    @at.setter
    def at(self, seconds: float | None) -> None:
        self.cursor.location = None if seconds is None else seconds * self.scale.factor

    def on_window(self, do: Callable[[], object]) -> None:
        """Call a function when the window has changed."""
        for name in ("start", "end"):
            self.x_range.on_change(name, lambda _attr, _old, _new: do())

    def add_to(self, figure: Any) -> None:
        """Give a figure the unit of time, and the cursor and the crosshair of all panels."""
        figure.xaxis.formatter = self.formatter
        figure.add_layout(self.cursor)
        figure.add_tools(CrosshairTool(overlay=self.hair, dimensions="height"))

    @property
    def _tolerance(self) -> float:
        return 1e-9 * (self.span[1] - self.span[0])


def span_of(times: Times) -> tuple[float, float]:
    """Return the first and the last time (s), or (0, 1) if there are no times."""
    if not times.count:
        return 0.0, 1.0
    first, last = (float(times.seconds(slice(row, row + 1))[0]) for row in (0, times.count - 1))
    return first, last


_FRAME_MS = 60


class Player:
    """Moves the cursor through the window, all of it in ``seconds``, again and again.

    ``moved`` is called at each step, and when playing begins and ends.
    """

    def __init__(self, document: Any, time: TimeAxis, moved: Callable[[], object]) -> None:
        self._document, self._time, self._moved = document, time, moved
        self._callback: Any = None
        self._last = 0.0
        self.seconds = 10.0

    @property
    def is_playing(self) -> bool:
        """True while the cursor moves."""
        return self._callback is not None

    def toggle(self) -> None:
        """Start or stop."""
        if self._callback is None:
            self._last = monotonic()
            self._callback = self._document.add_periodic_callback(self.step, _FRAME_MS)
        else:
            self._document.remove_periodic_callback(self._callback)
            self._callback = None
        self._moved()

    def step(self) -> None:
        """Move the cursor by the time that has passed."""
        now = monotonic()
        ends = zip(self._time.window, self._time.span, strict=True)
        (_, first), (last, _) = map(sorted, ends)
        at = first if self._time.at is None else self._time.at
        at += (now - self._last) * self.speed
        self._last = now
        self._time.at = at if first <= at <= last else first
        self._moved()

    @property
    def speed(self) -> float:
        """Seconds of the run in a second."""
        first, last = self._time.window
        return (last - first) / self.seconds
