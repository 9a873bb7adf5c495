"""Functions that all plots use: data sources, axes, titles, images, scale and colour bars."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from math import ceil, floor, log10
from textwrap import wrap
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import CellNotFoundError, NothingRecordedError
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.plots.look import LIGHT, ColorScale, settings
from ndx_simulation_output.recording import (
    ExtracellularPotential,
    NetworkSnapshot,
    Report,
    SimulationOutput,
    Spikes,
)
from ndx_simulation_output.recording.units import UNKNOWN, Scale, display_scale, time_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_LABEL_LENGTH = 12
_MOST_LETTERS = 30
_TICK_PIXELS = 70
_BAR_PIXELS = 24
"""A scale bar has this height at least, unless the axes are lower."""

# Field of an output and name in messages of each type that can be drawn.
_SOURCES: dict[type, tuple[str, str]] = {
    Report: ("reports", "report"),
    Spikes: ("spikes", "spikes"),
    ExtracellularPotential: ("potentials", "extracellular potential"),
    NetworkSnapshot: ("networks", "network state"),
}

_Source = TypeVar("_Source")
_Options = ParamSpec("_Options")
_Drawn = TypeVar("_Drawn")


def find_source(source: Any, kind: type[_Source]) -> _Source:
    """Return ``source`` as a ``kind``, read from an NWB object or the first one of an output."""
    found: Any = source
    if hasattr(source, "neurodata_type"):
        from ndx_simulation_output.nwb.network_state import read_state
        from ndx_simulation_output.nwb.series import read_series
        from ndx_simulation_output.nwb.types import CompartmentSeries, NetworkState

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


@contextmanager
def in_look() -> Iterator[None]:
    """Draw with the look of the package instead of the settings of the caller."""
    library = import_optional("matplotlib", "a plot", "plot")
    from matplotlib.font_manager import fontManager

    found = settings()
    installed = {font.name for font in fontManager.ttflist}
    # Names of fonts that are not installed would be warned of.
    names = [name for name in found["font.sans-serif"] if name in installed]
    with library.rc_context({**found, "font.family": [*names, "sans-serif"]}):
        yield


def with_look(draw: Callable[_Options, _Drawn]) -> Callable[_Options, _Drawn]:
    """Decorate a drawing function to apply the look if it makes its own figure."""

    @wraps(draw)
    def drawn(*args: _Options.args, **kwargs: _Options.kwargs) -> _Drawn:
        if kwargs.get("ax") is not None:
            return draw(*args, **kwargs)
        with in_look():
            ax: Any = draw(*args, **kwargs)
            make_ticks(ax.figure)
        made: _Drawn = ax
        return made

    return drawn


def make_ticks(figure: "Figure") -> None:
    """Make the ticks now, with the settings of now: matplotlib would make them when it draws."""
    for ax in figure.axes:
        for axis in ax._axis_map.values():  # noqa: SLF001 - two or three axes
            axis.get_ticklabels()


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


def letters_in(ax: "Axes", pixels: int) -> int:
    """Return how many letters of a label have room; they are about half as wide as high."""
    return int(2 * pixels / (float(ax.xaxis.label.get_fontsize()) * ax.figure.dpi / 72))


def title(ax: "Axes", text: str, note: str = "") -> None:
    """Set the title of axes, with ``note`` below it; long lines are broken, very long ones cut."""
    letters = max(letters_in(ax, size_in_pixels(ax)[1]), 20)
    parts = [short_name(part, 3 * letters) for part in (text, note) if part]
    lines = [line for part in parts for line in wrap(part, letters)]
    # Names from files may contain dollar signs.
    ax.set_title("\n".join(lines), loc="left", fontsize="medium", parse_math=False)


def report_title(report: Report) -> str:
    """Return the first line of the title of a report."""
    return f"{report.name}, population {report.population}"


def quantity_of(report: Report) -> str:
    """Return the name of the reported quantity, for the label of an axis."""
    is_short = len(report.report) <= _MAX_LABEL_LENGTH
    return report.variable or (report.report if is_short else "value")


def coloring(scale: ColorScale, factor: float = 1.0) -> dict[str, Any]:
    """Return the colour map and limits of values for matplotlib, with limits times ``factor``."""
    from matplotlib.colors import ListedColormap

    cmap: Any = ListedColormap(LIGHT.shades(scale.name)).with_extremes(bad=LIGHT.nan)
    cmap.colorbar_extend = scale.extend
    return {"cmap": cmap, "vmin": scale.low * factor, "vmax": scale.high * factor}


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
    # Thousands of cells would each be a path in SVG and PDF.
    return ax.pcolormesh(across, up, values, **{"rasterized": values.size > 10_000, **options})


def color_bar(ax: "Axes", drawn: Any, label: str, **options: Any) -> Any:
    """Add a colour bar next to axes, and return it."""
    bar = ax.figure.colorbar(drawn, ax=ax, **{"pad": 0.02, **options})
    label_axis(bar.ax.yaxis, label)
    return bar


def outside_legend(ax: "Axes", handles: Any = None, labels: Any = None, name: str = "") -> None:
    """Add a legend to the right of axes, by default of their artists; ``name`` is its title."""
    given = {} if handles is None else {"handles": handles, "labels": labels}
    legend = ax.legend(
        **given,
        title=name or None,
        fontsize="small",
        title_fontsize="small",
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        borderaxespad=0,
        frameon=False,
        alignment="left",
    )
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)
    box, height = legend.get_window_extent(), ax.get_window_extent().height
    for bar in (text.get_window_extent() for text in ax.texts):
        # Axes are lower when the figure has its layout.
        if box.x0 < bar.x1 and box.y0 - height / 4 < bar.y1:
            beside = ax.transAxes.inverted().transform((bar.x1, bar.y1))[0] + 0.02
            legend.set_bbox_to_anchor((beside, 1), transform=ax.transAxes)


def round_below(value: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is not above ``value``."""
    power = 10.0 ** floor(log10(value))
    # A tenth of a power of ten is not exact.
    factor = max(one for one in (0.5, 1, 2, 5, 10) if one * power <= value * (1 + 1e-9))
    return float(f"{factor * power:.3g}")


def round_above(value: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is not below ``value``."""
    found = round_below(value)
    return found if found >= value * (1 - 1e-9) else round_below(2.5 * found)


def scale_bar(ax: "Axes", step: float, unit: str) -> None:
    """Draw a bar of a round length right of axes; 1 along the vertical axis is ``step`` in a unit.

    Set the limits of the axis before.
    """
    low, high = sorted(ax.get_ylim())
    pixels = size_in_pixels(ax)[0] / (high - low)
    value = round_below(step * min(max(1.0, _BAR_PIXELS / pixels), high - low))
    length = value / step
    bottom = low + 0.02 * (high - low)
    aside = ax.get_yaxis_transform()
    ends = [bottom, bottom + length]
    ax.plot([1.012] * 2, ends, transform=aside, clip_on=False, color=LIGHT.text, linewidth=1.5,
            solid_capstyle="butt", label="_scale")  # fmt: skip
    scale = scale_of(unit, np.asarray([value]))
    text = with_unit(f"{value * scale.factor:.3g}", scale)
    ax.text(1.022, bottom + length / 2, text, transform=aside, va="center", fontsize="small",
            parse_math=False)  # fmt: skip


def with_unit(text: str, scale: Scale) -> str:
    """Return a number or a range with the symbol of its unit."""
    is_known = scale.symbol != display_scale(UNKNOWN.name, 1.0).symbol
    symbol = short_name(scale.symbol)
    return f"{text} {symbol if is_known else f'({symbol})'}".strip()


def names_on_axis(ax: "Axes", names: Sequence[str]) -> None:
    """Write names at 0, 1, 2, … on the vertical axis, as many as have room."""
    low, high = sorted(ax.get_ylim())
    pixels = size_in_pixels(ax)[0] / (high - low)
    letters = float(ax.yaxis.label.get_fontsize()) * ax.figure.dpi / 72
    every = ceil(1.1 * letters / pixels)
    shown = range(0, len(names), every)
    ax.set_yticks(shown, [short_name(names[index]) for index in shown], parse_math=False)
    ax.tick_params(axis="y", length=0)


def short_name(name: str, most: int = _MOST_LETTERS) -> str:
    """Return a name without its middle if it is long."""
    half = most // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def label_axis(axis: Any, text: str) -> None:
    """Label an ``xaxis`` or ``yaxis``; names from files may be long and contain dollar signs."""
    ax = axis.axes
    room = size_in_pixels(ax)[0 if axis is ax.yaxis else 1]
    axis.set_label_text(
        short_name(text, max(letters_in(ax, room), _MOST_LETTERS)), parse_math=False
    )


def fewer_ticks(ax: "Axes") -> None:
    """Reduce the ticks of the horizontal axis so that long labels do not overlap."""
    ax.locator_params("x", nbins=min(max(2, size_in_pixels(ax)[1] // _TICK_PIXELS), 9))


def integer_ticks(axis: Any) -> None:
    """Restrict the ticks of an ``xaxis`` or ``yaxis`` to integers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axis.set_major_formatter("{x:.0f}")
