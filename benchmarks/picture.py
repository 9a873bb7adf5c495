"""Plot time and memory against size."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

__all__ = ["Curve", "Point", "draw"]

COLOR = "#2a6f97"


@dataclass(frozen=True)
class Point:
    """Seconds of each round and memory in MB at one point of a curve."""

    at: int
    seconds: tuple[float, ...]
    megabytes: float


@dataclass(frozen=True)
class Curve:
    """Points along one axis; ``is_size`` selects a logarithmic axis."""

    name: str
    points: Sequence[Point]
    is_size: bool


def draw(curves: Sequence[Curve], path: Path) -> bool:
    """Plot seconds above memory, with a column for each curve; return True if matplotlib exists."""
    if find_spec("matplotlib") is None:
        return False
    import matplotlib as mpl  # noqa: PLC0415 - optional
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    # Text stays text, and equal numbers produce equal files.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "growth", "font.size": 9})
    figure = Figure(figsize=(2.6 * len(curves), 4.4), layout="constrained")
    axes = figure.subplots(2, len(curves), sharex="col", sharey="row", squeeze=False)
    for curve, (above, below) in zip(curves, axes.T, strict=True):
        places = [point.at for point in curve.points]
        lowest = [min(point.seconds) for point in curve.points]
        highest = [max(point.seconds) for point in curve.points]
        above.vlines(places, lowest, highest, color=COLOR, linewidth=1)
        above.plot(places, [median(point.seconds) for point in curve.points], "o-", color=COLOR)
        below.plot(places, [point.megabytes for point in curve.points], "o-", color=COLOR)
        below.set_xlabel(curve.name)
        if curve.is_size:
            below.set_xlim(left=0)
            below.xaxis.set_major_locator(MaxNLocator(4))
        else:
            below.set_xticks(places)
    for (panel, *_), unit in zip(axes, ("seconds", "memory, MB"), strict=True):
        panel.set_ylim(bottom=0)
        panel.set_ylabel(unit)
    for panel in axes.flat:
        panel.grid(visible=True, alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    return True
