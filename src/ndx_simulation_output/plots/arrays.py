"""Arrays with axes: lines, images, and the points of a scan."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.plots.canvas import FINE, axes_or_new, color_bar, image, pixels_of, title
from ndx_simulation_output.recording.reduced import Grid, GridAxis
from ndx_simulation_output.recording.scales import Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["array"]


def array(grids: Grid | Sequence[Grid], *, ax: "Axes | None" = None) -> "Axes":
    """Draw an array with its axes; several of one dimension that share theirs into one picture.

    One dimension is a line, two are an image, the first dimension upwards; places of a scan that
    is no grid are points in the colour of their value; a single value is written. Grids come from
    ``recording.reduced.export_grids`` and ``own_grids``.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> from ndx_simulation_output.recording.reduced import export_grids
    >>> with open_output("scan.h5") as output:  # doctest: +SKIP
    ...     array(next(export_grids(output.exports[0])))

    """
    ax = axes_or_new(ax)
    several = [grids] if isinstance(grids, Grid) else list(grids)
    first = several[0]
    if not first.axes:
        _write(ax, several)
    elif len(first.axes) == 2:
        _draw_image(ax, first)
    elif len(first.points) == 2:
        _draw_points(ax, first)
    else:
        _draw_lines(ax, several)
    title(ax, first.name.strip("/"), _note(several))
    return ax


def _note(grids: Sequence[Grid]) -> str:
    parts = [grids[0].label] if len(grids) == 1 else []
    return ", ".join(part for part in (*parts, grids[0].note) if part)


def _named(axis: GridAxis) -> str:
    return Scale(1.0, axis.unit).label(axis.label)


def _write(ax: "Axes", grids: Sequence[Grid]) -> None:
    lines = []
    for grid in grids:
        value = np.asarray(grid.values[()]).ravel()[0]
        lines.append(f"{grid.label}: {value:.6g} {grid.unit}".strip())
    ax.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", transform=ax.transAxes)
    ax.set_axis_off()


def _draw_lines(ax: "Axes", grids: Sequence[Grid]) -> None:
    for grid in grids:
        lines = grid.line(pixels_of(ax)[1])
        marker = "." if len(lines.times) <= 30 else ""
        ax.plot(lines.times, lines.values[:, 0], linewidth=FINE, marker=marker, label=grid.label)
    ax.set_xlabel(_named(grids[0].axes[0]))
    units = dict.fromkeys(grid.unit for grid in grids)
    labels = dict.fromkeys(grid.label for grid in grids)
    what = next(iter(labels)) if len(labels) == 1 else "value"
    ax.set_ylabel(Scale(1.0, ", ".join(filter(None, units))).label(what))
    if len(grids) > 1:
        ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _draw_points(ax: "Axes", grid: Grid) -> None:
    x, y = grid.points
    values = np.asarray(grid.values[()], np.float64).ravel()
    drawn = ax.scatter(x.values, y.values, c=values)
    ax.set_xlabel(_named(x))
    ax.set_ylabel(_named(y))
    color_bar(ax, drawn, Scale(1.0, grid.unit).label(grid.label))


def _draw_image(ax: "Axes", grid: Grid) -> None:
    up, across = grid.axes
    values, rows, columns = grid.image(pixels_of(ax))
    drawn = image(ax, values, _edges(across, columns), _edges(up, rows))
    ax.set_xlabel(_named(across) if _is_ordered(across) else f"index of {across.label}")
    ax.set_ylabel(_named(up) if _is_ordered(up) else f"index of {up.label}")
    color_bar(ax, drawn, Scale(1.0, grid.unit).label(grid.label))


def _is_ordered(axis: GridAxis) -> bool:
    """Whether the values of an axis ascend or descend all along."""
    steps = np.diff(axis.values)
    return bool((steps > 0).all() or (steps < 0).all())


def _edges(axis: GridAxis, bins: NDArray[np.intp]) -> NDArray[Any]:
    """Give where pixels begin and end on an axis: halfway between values, or at indices."""
    if not _is_ordered(axis):
        return bins - 0.5
    values = np.asarray(axis.values, np.float64)
    halves = (values[1:] + values[:-1]) / 2
    before, behind = 2 * values[0] - halves[0], 2 * values[-1] - halves[-1]
    return np.concatenate([[before], halves, [behind]])[bins]
