"""The look of all pictures: fonts, colours and colour maps. Plain values, without a plot library.

``plots`` draws with it in matplotlib, ``viewer`` in Bokeh, and the summaries of notebooks in SVG.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.recording.units import parse_unit

FONTS = ("Inter", "Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "DejaVu Sans")
"""Names of fonts, the first that is installed is used."""

COLORS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#6858D0",
    "#E03058",
    "#A888C0",
    "#D08048",
    "#407040",
    "#8888F8",
    "#A84818",
)
"""Colours of traces and groups in this order.

People with colour blindness can tell them apart (simulated differences of at least 15 in CIELAB),
and each has a contrast of at least 3 to the ground of both palettes.
"""

OTHER_COLOR, MISSING_COLOR = "#76808A", "#A3ABB3"
"""Colours of cells of no group with a colour of its own, and of cells without a value."""

LINE_WIDTH = 0.8
"""Line width of a trace, in points."""

Shades = tuple[str, ...]
"""Colours at equal distances along a colour map."""

MapName = Literal["values", "signed", "counts"]
"""A colour map: of ``values`` in general, of ``signed`` ones around 0, of ``counts`` from 1."""

_CURRENTS = {"amperes", "amperes per square meter"}
_ROBUST = 0.5, 99.5
_FAR = 0.5
"""An end is that of the percentiles if it is farther from them than this part of their range."""


@dataclass(frozen=True)
class Palette:
    """Colours of a picture on a light or a dark ground, and its colour maps."""

    ground: str
    text: str
    faint: str
    line: str
    grid: str
    nan: str
    values: Shades
    signed: Shades
    counts: Shades

    def shades(self, name: MapName, n_colors: int = 256) -> Shades:
        """Return ``n_colors`` colours of a map, from low to high, as ``#rrggbb``.

        Example
        -------
        >>> LIGHT.shades("signed", 3)
        ('#123b78', '#f5f5f3', '#7d1421')

        """
        stops = np.array([rgb(color) for color in getattr(self, name)])
        at = np.linspace(0, len(stops) - 1, n_colors)
        parts = [np.interp(at, np.arange(len(stops)), part) for part in stops.T]
        return tuple("#{:02x}{:02x}{:02x}".format(*color) for color in np.rint(parts).T.astype(int))


_VALUES = (
    "#440154",
    "#472d7b",
    "#3b528b",
    "#2c728e",
    "#21918c",
    "#28ae80",
    "#5ec962",
    "#addc30",
    "#fde725",
)

LIGHT = Palette(
    ground="#ffffff",
    text="#1c2733",
    faint="#5b6875",
    line="#9aa5b1",
    grid="#e6eaee",
    nan="#b9c0c8",
    values=_VALUES,
    signed=("#123b78", "#3a78b8", "#9cc3e2", "#f5f5f3", "#f0b09a", "#c9543f", "#7d1421"),
    counts=("#b9d5ec", "#5f9fd0", "#1f6cb0", "#0a2f63"),
)
"""Colours on a light ground; many counts are dark."""

DARK = Palette(
    ground="#14191f",
    text="#e4e9ee",
    faint="#9aa7b4",
    line="#566270",
    grid="#27303a",
    nan="#56606b",
    values=_VALUES,
    signed=("#b7dcff", "#62a8ec", "#2a5f9e", "#1b2128", "#96402f", "#e77e62", "#ffd0c0"),
    counts=("#234a73", "#3f84c4", "#8fc2f0", "#eaf5ff"),
)
"""Colours on a dark ground; many counts are light."""


def rgb(color: str) -> tuple[int, int, int]:
    """Return red, green and blue (0 to 255) of a colour ``#rrggbb``."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


@dataclass(frozen=True)
class ColorScale:
    """A colour map and its limits; ``below`` and ``above`` tell that values are beyond them."""

    name: MapName
    low: float
    high: float
    below: bool = False
    above: bool = False

    @property
    def extend(self) -> str:
        """Arrows of a colour bar in the words of matplotlib."""
        ends = {(False, False): "neither", (True, False): "min", (False, True): "max"}
        return ends.get((self.below, self.above), "both")


def color_scale(
    values: NDArray[Any],
    unit: str = "",
    variable: str = "",
    *,
    name: MapName | None = None,
    robust: bool = True,
) -> ColorScale:
    """Return the colour map for values of a variable in ``unit``, and limits for it.

    Currents on both sides of 0, and ``i_membrane`` in any unit, are ``signed``: the limits are the
    same on both sides of 0. All others, potentials too, are ``values``; ``name`` sets the map. The
    limits are the range of the finite values or, if ``robust``, at an end with far outliers the
    percentile 0.5 or 99.5.

    Example
    -------
    >>> color_scale(np.array([-1e-9, 3e-9]), "amperes", "i_clamp")
    ColorScale(name='signed', low=-3e-09, high=3e-09, below=False, above=False)
    >>> color_scale(np.array([-0.07, 0.03]), "volts", "v").name
    'values'

    """
    finite = values[np.isfinite(values)]
    lowest, highest = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if name is None:
        name = "signed" if _is_signed(lowest, highest, unit, variable) else "values"
    low, high = lowest, highest
    if robust and finite.size:
        first, last = (float(value) for value in np.percentile(finite, _ROBUST))
        # Limits at one value would show nothing.
        far = _FAR * (last - first) or np.inf
        low = first if first - lowest > far else lowest
        high = last if highest - last > far else highest
    if name == "signed":
        high = max(abs(low), abs(high))
        low = -high
    return ColorScale(name, low, high, lowest < low, highest > high)


def _is_signed(lowest: float, highest: float, unit: str, variable: str) -> bool:
    """Return True if zero has a meaning for the colours of a variable."""
    parsed = parse_unit(unit)
    is_current = parsed is not None and parsed.name in _CURRENTS
    return variable == "i_membrane" or (is_current and lowest < 0 < highest)


def settings(palette: Palette = LIGHT) -> dict[str, Any]:
    """Return the settings (rcParams) of a palette for ``matplotlib.rc_context``."""
    line, text, faint = palette.line, palette.text, palette.faint
    return {
        # The second family has the letters that a font lacks.
        "font.family": ["sans-serif", "DejaVu Sans"],
        "font.sans-serif": list(FONTS),
        "font.size": 9.5,
        "text.color": text,
        "axes.titlesize": "medium",
        "axes.titlelocation": "left",
        "axes.labelcolor": text,
        "axes.edgecolor": line,
        "axes.linewidth": 0.8,
        "axes.facecolor": palette.ground,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "grid.color": palette.grid,
        "figure.facecolor": palette.ground,
        "savefig.facecolor": palette.ground,
        "xtick.color": line,
        "ytick.color": line,
        "xtick.labelcolor": faint,
        "ytick.labelcolor": faint,
        "legend.frameon": False,
        "legend.fontsize": "small",
        # Text of SVG and PDF can be searched and edited.
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
    }
