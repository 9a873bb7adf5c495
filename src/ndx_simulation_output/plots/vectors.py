"""Vectors as a manager of Neuronvisio has them, over time and over the distance of sections."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.plots.canvas import FINE, axes_or_new, pixels_of
from ndx_simulation_output.recording.reduced import reduce_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["vectors", "vectors_along"]

_TIME = "time (ms)"


def vectors(
    named: Mapping[str, NDArray[Any]],
    x: NDArray[Any] | None = None,
    *,
    legend: bool = True,
    points: bool = False,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw vectors, each of shape (value,), along ``x``; those of another length by their index.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> vectors({"soma": np.zeros(3)}, np.arange(3.0))  # doctest: +SKIP

    """
    ax = axes_or_new(ax)
    by_index = [name for name, values in named.items() if x is None or len(values) != len(x)]
    for name, values in named.items():
        at = np.arange(len(values)) if x is None or name in by_index else x
        lines = reduce_columns(at, values[:, np.newaxis], pixels=pixels_of(ax)[1])
        style: dict[str, Any] = {"linewidth": FINE}
        style = {"linestyle": "none", "marker": "o"} if points else style
        ax.plot(lines.times, lines.values[:, 0], label=name, **style)
    some = len(by_index) < len(named)
    ax.set_xlabel(_TIME if not by_index else f"{_TIME}, or index" if some else "index")
    if legend and named:
        ax.legend(fontsize="small")
    return ax


def vectors_along(
    named: Mapping[str, NDArray[Any]],
    distances: Mapping[str, float],
    time: NDArray[Any],
    label: str,
    *,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw vectors over time, each at the distance of its section in micrometres.

    ``ax`` must be three-dimensional.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> vectors_along({"soma": np.zeros(3)}, {"soma": 0.0}, np.arange(3.0), "v")  # doctest: +SKIP

    """
    space: Any = axes_or_new(ax, "3d")
    for name in sorted(named, key=lambda name: distances[name]):
        lines = reduce_columns(time, named[name][:, np.newaxis], pixels=pixels_of(space)[1])
        away = np.full(len(lines.times), distances[name])
        space.plot(lines.times, away, lines.values[:, 0], linewidth=FINE, label=name)
    space.set_xlabel(_TIME)
    space.set_ylabel("distance (µm)")
    space.set_zlabel(label)
    drawn: Axes = space
    return drawn
