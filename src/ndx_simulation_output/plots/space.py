"""Lines and points in space with matplotlib: near ones over far ones, to scale, with a scale bar.

Import this module in functions: it needs matplotlib.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mpl_toolkits.mplot3d import proj3d
from mpl_toolkits.mplot3d.art3d import Line3DCollection
from numpy.typing import NDArray

from ndx_simulation_output.plots.canvas import round_below
from ndx_simulation_output.plots.look import LIGHT

_THINNEST, _UNKNOWN_WIDTH = 0.8, 1.5
"""Width in points of lines that would be too thin to be seen, and of those of unknown diameter."""

_FLAT = 0.02
"""Depth of neurons relative to their extent below which the view is along z."""

_REACH = 0.084
"""Projected distance of what is drawn from the centre of axes."""

_AXIS_LENGTH, _BAR_LENGTH, _GAP = 0.08, 0.25, 0.08
"""Lengths relative to the extent: of the axes, at most of the scale bar, and to the neurons."""


class DepthLines(Line3DCollection):  # type: ignore[misc]
    """Lines in space, each as wide as its diameter (µm); near ones are drawn over far ones.

    ``margin`` is a width in points that is added on both sides.
    Values of ``set_array`` are in the order of the lines.
    """

    def __init__(
        self,
        lines: Sequence[NDArray[Any]],
        diameters: NDArray[np.float64],
        colors: Sequence[str] = (),
        margin: float = 0.0,
        **options: Any,
    ) -> None:
        self._lines, self._diameters = list(lines), diameters
        self._order = np.arange(len(lines))
        self._values: NDArray[Any] | None = None
        self._given_colors, self._margin = list(colors), margin
        self._middles = np.array([line.mean(axis=0) for line in lines])
        options |= {"colors": self._given_colors} if colors else {}
        super().__init__(self._lines, **options)

    def set_array(self, A: Any) -> None:  # noqa: N803 - the name that matplotlib has
        """Set the values that define the colours, one for each line."""
        self._values = A
        super().set_array(A if A is None else np.ma.masked_invalid(A)[self._order])

    def do_3d_projection(self) -> Any:
        """Sort the lines by their depth, and set their widths, before they are projected."""
        _, _, depth = projected(self.axes, self._middles)
        order = np.argsort(-depth, kind="stable")
        if not np.array_equal(order, self._order):
            self._order = order
            self.set_segments([self._lines[index] for index in order])
            if self._values is not None:
                self.set_array(self._values)
            if self._given_colors:
                self.set_color([self._given_colors[index] for index in order])
        widths = self._diameters[self._order] * _points_per_micrometre(self.axes)
        widths = np.nan_to_num(np.clip(widths, _THINNEST, None), nan=_UNKNOWN_WIDTH)
        self.set_linewidth(widths + 2 * self._margin)
        return super().do_3d_projection()


def projected(ax: Any, points: NDArray[np.float64]) -> tuple[NDArray[Any], ...]:
    """Return x, y and depth of points, shape (point, 3), in the view of axes."""
    found: tuple[NDArray[Any], ...] = proj3d.proj_transform(*points.T, ax.get_proj())
    return found


def _directions(ax: Any) -> NDArray[np.float64]:
    """Return what 1 µm along x, y and z is to the right and upwards in the view, shape (2, 3)."""
    origin = np.array([np.mean(limits) for limits in _limits(ax)])
    ends = np.stack(projected(ax, origin + np.vstack([np.zeros(3), np.eye(3)]))[:2])
    return np.asarray(ends[:, 1:] - ends[:, :1])


def _limits(ax: Any) -> tuple[tuple[float, float], ...]:
    return ax.get_xlim3d(), ax.get_ylim3d(), ax.get_zlim3d()


def _points_per_micrometre(ax: Any) -> float:
    """Return the length in points of 1 µm across the line of sight."""
    length = float(np.linalg.norm(_directions(ax)[0]))
    pixels = np.diff(ax.transData.transform([[0.0, 0.0], [length, 0.0]])[:, 0])[0]
    return float(pixels * 72 / ax.figure.dpi)


def set_view(ax: Any, parts: Sequence[NDArray[np.float64]]) -> None:
    """Show all parts (µm) with y upwards, equal scales, a scale bar and the directions of axes.

    The view of flat neurons is along z, that of others oblique; both are without perspective.
    """
    points = np.concatenate(parts)
    points = points[np.isfinite(points).all(axis=1)]
    low, high = points.min(axis=0), points.max(axis=0)
    widest = float((high - low).max()) or 1.0
    span = 1.05 * np.maximum(high - low, widest / 100)
    middle = (low + high) / 2
    _set_limits(ax, middle, span)
    ax.set_proj_type("ortho")
    is_flat = bool(high[2] - low[2] < _FLAT * widest)
    if is_flat:
        ax.view_init(elev=90, azim=-90)
    else:
        ax.view_init(elev=15, azim=25, vertical_axis="y")
    ax.set_axis_off()
    ax.set_box_aspect(span)
    right, up = _right_and_up(ax)
    drawn = np.concatenate([points, _draw_scale(ax, points, middle)])
    for direction in (right, up):
        along = (drawn - middle) @ direction
        middle = middle + (along.max() + along.min()) / 2 * direction
    _set_limits(ax, middle, span)
    x, y, _ = projected(ax, drawn)
    ax.set_box_aspect(span, zoom=_REACH / float(np.abs([x, y]).max()))


def _set_limits(ax: Any, middle: NDArray[np.float64], span: NDArray[np.float64]) -> None:
    for name, center, length in zip("xyz", middle, span, strict=True):
        getattr(ax, f"set_{name}lim")(center - length / 2, center + length / 2)


def _right_and_up(ax: Any) -> NDArray[np.float64]:
    """Return the directions in space that are to the right and upwards in the view."""
    directions = _directions(ax)
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))


def _draw_scale(
    ax: Any, points: NDArray[np.float64], middle: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Draw a scale bar and the directions of the axes below points; return their ends."""
    directions = _directions(ax)
    right, up = _right_and_up(ax)
    across, along = (points - middle) @ right, (points - middle) @ up
    extent = max(np.ptp(across), np.ptp(along)) or 1.0
    bottom = along.min() - (_GAP + _AXIS_LENGTH) * extent
    length = round_below(_BAR_LENGTH * extent)
    end = middle + max(across.max(), across.min() + 2 * length) * right + bottom * up
    bar = np.stack([end - length * right, end])
    ax.plot(*bar.T, color=LIGHT.text, linewidth=1.5, label="_scale")
    below = bar.mean(axis=0) - 0.02 * extent * up
    ax.text(*below, f"{length:g} µm", ha="center", va="top", fontsize="small")
    origin = middle + across.min() * right + bottom * up
    tips = origin + _AXIS_LENGTH * extent * np.eye(3)
    for name, tip in zip("xyz", tips, strict=True):
        seen = directions @ (tip - origin) / np.linalg.norm(directions[0])
        if np.linalg.norm(seen) > _AXIS_LENGTH * extent / 4:
            ax.plot(*np.stack([origin, tip]).T, color=LIGHT.faint, linewidth=0.8, label="_axis")
            ax.text(*(origin + 1.35 * (tip - origin)), name, ha="center", va="center",
                    fontsize="small", color=LIGHT.faint)  # fmt: skip
    return np.vstack([bar, below - 0.05 * extent * up, origin, tips])
