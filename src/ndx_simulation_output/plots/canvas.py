"""Functions that all plots use: data sources, axes, titles, images and colour bars."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import CellNotFoundError, NothingRecordedError
from ndx_simulation_output.nwb.network_state import read_state
from ndx_simulation_output.nwb.series import read_series
from ndx_simulation_output.nwb.types import CompartmentSeries, NetworkState
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording import (
    ExtracellularPotential,
    NetworkSnapshot,
    Report,
    SimulationOutput,
    Spikes,
)
from ndx_simulation_output.recording.units import Scale, display_scale, time_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_WIDTH = 0.8
"""Line width of a trace, in points."""

_MAX_LABEL_LENGTH = 12

# Field of an output and name in messages of each type that can be drawn.
_SOURCES: dict[type, tuple[str, str]] = {
    Report: ("reports", "report"),
    Spikes: ("spikes", "spikes"),
    ExtracellularPotential: ("potentials", "extracellular potential"),
    NetworkSnapshot: ("networks", "network state"),
}

_Source = TypeVar("_Source")


def find_source(source: Any, kind: type[_Source]) -> _Source:
    """Return ``source`` as a ``kind``, read from an NWB object or the first one of an output."""
    found: Any = source
    if isinstance(source, CompartmentSeries):
        found = read_series(source)
    elif isinstance(source, NetworkState):
        found = read_state(source)
    if isinstance(found, kind):
        return found
    field, name = _SOURCES[kind]
    if not isinstance(source, SimulationOutput):
        msg = f"expected {name} or an open output; found {type(source).__name__}"
        raise TypeError(msg)
    recorded: tuple[_Source, ...] = getattr(source, field)
    if not recorded:
        msg = f"there is nothing to draw: the output contains no {name}"
        raise NothingRecordedError(msg)
    return recorded[0]


def require_cells(population: str, cells: Any, found: NDArray[Any]) -> None:
    """Raise an error if no cell of a population has the properties, or is in the node set."""
    if isinstance(cells, str | Mapping) and not len(found):
        msg = f"no cell of population {population!r} matches {cells!r}"
        raise CellNotFoundError(msg)


def require_values(name: str, values: NDArray[Any]) -> None:
    """Raise an error if there are no values to draw."""
    if not values.size:
        msg = f"{name!r} has no values to draw: no compartments, or none in this time window"
        raise NothingRecordedError(msg)


def empty_figure(width: float, height: float) -> "Figure":
    """Return an empty figure, not registered with pyplot; its size is in inches."""
    library = import_optional("matplotlib.figure", "a plot", "plot")
    figure: Figure = library.Figure(figsize=(width, height), layout="constrained")
    return figure


def axes_or_new(
    ax: "Axes | None", projection: str | None = None, *, number: int | None = None
) -> "Axes":
    """Return ``ax``, or axes of a new pyplot figure, or of the figure with this ``number``."""
    if ax is not None:
        return ax
    import_optional("matplotlib.figure", "a plot", "plot")
    from matplotlib import pyplot as plt

    if number is not None and plt.fignum_exists(number):
        existing: Axes = plt.figure(number).gca()
        return existing
    new: Axes = plt.figure(number, layout="constrained").add_subplot(projection=projection)
    return new


def size_in_pixels(ax: "Axes") -> tuple[int, int]:
    """Return the height and width of axes in pixels, at least one."""
    extent = ax.get_window_extent()
    return max(1, int(extent.height)), max(1, int(extent.width))


def scale_of(unit: str, values: NDArray[Any]) -> Scale:
    """Return the factor and symbol with which values of a unit are shown."""
    finite = np.abs(values[np.isfinite(values)])
    return display_scale(unit, float(finite.max(initial=0.0)))


def time_axis(
    ax: "Axes", first: float, last: float, start: float | None, stop: float | None
) -> Scale:
    """Label the time axis, and return the scale of its unit.

    The axis spans the window from ``start`` to ``stop``, where these are given, and otherwise the
    recording from ``first`` to ``last`` (all in s).
    """
    left, right = first if start is None else start, last if stop is None else stop
    scale = time_scale(right - left)
    if right > left:
        ax.set_xlim(left * scale.factor, right * scale.factor)
    ax.set_xlabel(scale.label("time"))
    return scale


def title(ax: "Axes", text: str, note: str = "") -> None:
    """Set the title of axes, with ``note`` as a second line."""
    lines = "\n".join(part for part in (text, note) if part)
    # Names from files may contain dollar signs.
    ax.set_title(lines, loc="left", fontsize="medium", parse_math=False)


def report_title(report: Report) -> str:
    """Return the first line of the title of a report."""
    return f"{report.name}, population {report.population}"


def quantity_of(report: Report) -> str:
    """Return the name of the reported quantity, for the label of an axis."""
    is_short = len(report.report) <= _MAX_LABEL_LENGTH
    return report.variable or (report.report if is_short else "value")


def image(
    ax: "Axes",
    values: NDArray[Any],
    across: NDArray[Any],
    up: NDArray[Any],
    **options: Any,
) -> Any:
    """Draw an image of shape (up, across); ``across`` and ``up`` are the edges of its pixels."""
    steps = np.diff(across), np.diff(up)
    if all(np.allclose(step, step.mean(), rtol=1e-6) for step in steps if len(step)):
        extent = float(across[0]), float(across[-1]), float(up[0]), float(up[-1])
        options = {"aspect": "auto", "origin": "lower", "interpolation": "nearest", **options}
        return ax.imshow(values, extent=extent, **options)
    return ax.pcolormesh(across, up, values, **options)


def color_bar(ax: "Axes", drawn: Any, label: str, **options: Any) -> None:
    """Add a colour bar next to axes."""
    ax.figure.colorbar(drawn, ax=ax, label=label, **options)


def outside_legend(ax: "Axes") -> None:
    """Add a legend to the right of axes."""
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def integer_ticks(axis: Any) -> None:
    """Restrict the ticks of an ``xaxis`` or ``yaxis`` to integers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.set_major_formatter("{x:.0f}")
