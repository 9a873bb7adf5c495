"""Plot time and memory against size."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["Curve", "Point", "draw"]

COLOR = "#2a6f97"
UNITS = ("seconds", "memory, MB", "seconds of opening")


@dataclass(frozen=True)
class Point:
    """Seconds of each round, memory in MB and seconds of opening at one point of a curve."""

    at: int
    seconds: tuple[float, ...]
    megabytes: float
    opening: tuple[float, ...] = ()


@dataclass(frozen=True)
class Curve:
    """Points along one axis; ``is_size`` selects a logarithmic axis."""

    name: str
    points: Sequence[Point]
    is_size: bool


def draw(curves: Sequence[Curve], path: Path) -> bool:
    """Plot seconds, memory and opening, a column for each curve; return True if possible."""
    if find_spec("matplotlib") is None:
        return False
    import matplotlib as mpl  # noqa: PLC0415 - optional
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    # Text stays text, and equal numbers produce equal files.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "growth", "font.size": 9})
    figure = Figure(figsize=(2.6 * len(curves), 6.2), layout="constrained")
    axes = figure.subplots(3, len(curves), sharex="col", sharey="row", squeeze=False)
    for curve, (above, middle, below) in zip(curves, axes.T, strict=True):
        places = [point.at for point in curve.points]
        _plot_seconds(above, places, [point.seconds for point in curve.points])
        middle.plot(places, [point.megabytes for point in curve.points], "o-", color=COLOR)
        if curve.is_size:
            _plot_seconds(below, places, [point.opening for point in curve.points])
        below.set_xlabel(curve.name)
        if curve.is_size:
            below.set_xlim(left=0)
            below.xaxis.set_major_locator(MaxNLocator(4))
        else:
            below.set_xticks(places)
    for (panel, *_), unit in zip(axes, UNITS, strict=True):
        panel.set_ylim(bottom=0)
        panel.set_ylabel(unit)
    for panel in axes.flat:
        panel.grid(visible=True, alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    return True


def _plot_seconds(panel: Any, places: Sequence[int], seconds: Sequence[Sequence[float]]) -> None:
    """Plot the median at each place, and a line from the least to the most."""
    panel.vlines(places, [min(one) for one in seconds], [max(one) for one in seconds], color=COLOR)
    panel.plot(places, [median(one) for one in seconds], "o-", color=COLOR)
