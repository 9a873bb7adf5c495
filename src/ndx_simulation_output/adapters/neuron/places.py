"""Where the segments of a NEURON model are. The model is only looked at."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["segment_places"]

_AXES = ("x", "y", "z")


def segment_places(segments: Sequence[Any]) -> dict[str, NDArray[np.float64]]:
    """Give position along the section (0 to 1), diameter, and centre of each segment.

    The centre (``x``, ``y``, ``z``, micrometres) lies at the same part of the way along the 3-D
    points of the section, and is NaN where it has none. All have shape (segment,).
    """
    position = np.array([segment.x for segment in segments], np.float64)
    places = {"position": position}
    centres = _centres(segments, position)
    if not np.isnan(centres).all():
        places.update(zip(_AXES, centres, strict=True))
    places["diameter"] = np.array([segment.diam for segment in segments], np.float64)
    return places


def _centres(segments: Sequence[Any], position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the centres; shape (axis, segment)."""
    centres = np.full((3, len(segments)), np.nan)
    section, points = None, None
    for number, segment in enumerate(segments):
        if segment.sec != section:
            section = segment.sec
            points = _points(section)
        if points is not None:
            arc, along = points
            at = position[number] * arc[-1]
            centres[:, number] = [np.interp(at, arc, axis) for axis in along]
    return centres


def _points(section: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Give the way to each 3-D point, shape (point,), and the points, (axis, point)."""
    count = section.n3d()
    if count < 2:
        return None
    arc = np.array([section.arc3d(point) for point in range(count)])
    along = [[getattr(section, f"{axis}3d")(point) for point in range(count)] for axis in _AXES]
    return arc, np.array(along)
