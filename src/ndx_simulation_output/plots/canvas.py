"""Axes, titles, images and colour bars that all pictures share."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
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
from ndx_simulation_output.recording.units import Scale, display_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What can be drawn, as the neutral description has it.


def report_of(source: Any) -> Report:
    """Give a report, that of a compartment series, or the first of an output.

    Raises
    ------
    NothingRecordedError
        If an output has no reports.

    """
    if isinstance(source, CompartmentSeries):
        return read_series(source)
    report: Report = _first(source, Report, "reports", "report")
    return report


def spikes_of(source: Any) -> Spikes:
    """Give spikes, or those of the first population of an output.

    Raises
    ------
    NothingRecordedError
        If an output has no spikes.

    """
    spikes: Spikes = _first(source, Spikes, "spikes", "spikes")
    return spikes


def potential_of(source: Any) -> ExtracellularPotential:
    """Give an extracellular potential, or the first of an output.

    Raises
    ------
    NothingRecordedError
        If an output has none.

    """
    potential: ExtracellularPotential = _first(
        source, ExtracellularPotential, "potentials", "extracellular potential"
    )
    return potential


def network_of(source: Any) -> NetworkSnapshot:
    """Give the state of a network, or the first of an output.

    Raises
    ------
    NothingRecordedError
        If an output has none.

    """
    if isinstance(source, NetworkState):
        return read_state(source)
    network: NetworkSnapshot = _first(source, NetworkSnapshot, "networks", "state of a network")
    return network


def _first(source: Any, kind: type, field: str, what: str) -> Any:
    if isinstance(source, kind):
        return source
    if not isinstance(source, SimulationOutput):
        msg = f"{what} expected, or an open output; found {type(source).__name__}"
        raise TypeError(msg)
    found = getattr(source, field)
    if not found:
        msg = f"there is no {what} to draw"
        raise NothingRecordedError(msg)
    return found[0]


# Axes to draw into, and what all pictures have: titles, images, colour bars.

_LONGEST = 12

FINE = 0.8
"""Width of a trace, in points."""


def new_figure(width: float, height: float) -> "Figure":
    """Give an empty figure of so many inches, which no window shows.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.

    """
    library = import_optional("matplotlib.figure", "a picture", "plot")
    figure: Figure = library.Figure(figsize=(width, height), layout="constrained")
    return figure


def axes_or_new(
    ax: "Axes | None", projection: str | None = None, *, number: int | None = None
) -> "Axes":
    """Give ``ax``, or axes of a figure of pyplot, which notebooks and windows show.

    The figure is a new one, or that of a ``number``, whose axes are drawn into again.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.

    """
    if ax is not None:
        return ax
    new_figure(1, 1)
    from matplotlib import pyplot as plt

    if number is not None and plt.fignum_exists(number):
        drawn: Axes = plt.figure(number).gca()
        return drawn
    new: Axes = plt.figure(number, layout="constrained").add_subplot(projection=projection)
    return new


def pixels_of(ax: "Axes") -> tuple[int, int]:
    """Give the height and width of axes in pixels, at least one."""
    extent = ax.get_window_extent()
    return max(1, int(extent.height)), max(1, int(extent.width))


def scale_of(unit: str, values: NDArray[Any]) -> Scale:
    """Choose how to show values of a unit."""
    finite = np.abs(values[np.isfinite(values)])
    return display_scale(unit, float(finite.max(initial=0.0)))


def title(ax: "Axes", text: str, note: str = "") -> None:
    """Say what is shown and, in a second line, what of it."""
    ax.set_title("\n".join(part for part in (text, note) if part), loc="left", fontsize="medium")


def image(
    ax: "Axes",
    values: NDArray[Any],
    across: NDArray[Any],
    up: NDArray[Any],
    **options: Any,
) -> Any:
    """Draw an image of shape (up, across) whose pixels begin and end at these places."""
    steps = np.diff(across), np.diff(up)
    if all(np.allclose(step, step.mean(), rtol=1e-6) for step in steps if len(step)):
        extent = float(across[0]), float(across[-1]), float(up[0]), float(up[-1])
        options = {"aspect": "auto", "origin": "lower", "interpolation": "nearest", **options}
        return ax.imshow(values, extent=extent, **options)
    return ax.pcolormesh(across, up, values, **options)


def color_bar(ax: "Axes", drawn: Any, label: str, **options: Any) -> None:
    """Put a bar of the colours beside axes."""
    ax.figure.colorbar(drawn, ax=ax, label=label, **options)


def quantity_of(report: Report) -> str:
    """Name what a report is about: its variable, or its own name where that may be one."""
    return report.variable or (report.report if len(report.report) <= _LONGEST else "value")


def whole_numbers(axis: Any) -> None:
    """Let only whole numbers stand along an axis, the ``xaxis`` or ``yaxis`` of axes."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.set_major_formatter("{x:.0f}")
