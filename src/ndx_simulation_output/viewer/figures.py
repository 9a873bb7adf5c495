"""Functions that create text elements and figures in the style of the page."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from bokeh.core.property.descriptors import UnsetValueError
from bokeh.layouts import column
from bokeh.models import (
    BoxZoomTool,
    ColorBar,
    ColumnDataSource,
    Div,
    Legend,
    LegendItem,
    LinearColorMapper,
    PanTool,
    PlainText,
    ResetTool,
    SaveTool,
    UIElement,
    WheelZoomTool,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ndx_simulation_output.plots.look import COLORS

GREY = "#7f8b97"
"""Colour of texts and edges on light and on dark ground."""

_IMAGE = ("image", "x", "y", "dw", "dh")
_PIXELS = 400, 1100
"""Height and width of a figure until the browser has sent them."""

_MOST_LETTERS = 12

_SHEET = """
    :host { color: var(--ink); }
    .error { display: block; padding: 6px 10px; border-radius: 6px; background: var(--bad-ground);
             color: var(--bad); white-space: pre-wrap; overflow-wrap: anywhere; }
    .note { display: block; padding: 6px 10px; border-radius: 6px; background: var(--soft);
            white-space: pre-wrap; overflow-wrap: anywhere; }
    .small { color: var(--pale); font-size: 12px; }
    pre { margin: 0; padding: 10px; background: var(--soft); border-radius: 6px; overflow: auto;
          max-height: 420px; font-size: 12px; white-space: pre-wrap; overflow-wrap: anywhere; }
    pre.short { max-height: 190px; }
    table.facts { border-collapse: collapse; font-size: 12.5px; width: 100%; }
    table.facts th, table.facts td { text-align: left; vertical-align: top;
          padding: 3px 10px 3px 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
    table.facts th { color: var(--pale); font-weight: 500; }
    table.facts td pre { max-height: 200px; }
    .keys { white-space: nowrap; }
    @media (max-width: 1000px) { .keys { display: none; } }
    details { cursor: pointer; }
    ul { margin: 4px 0; padding-left: 18px; }
    h3 { margin: 4px 0; font-size: 13px; font-weight: 600; overflow-wrap: anywhere; }
    """

WRAPS = ":host { flex-wrap: wrap; align-items: center; }"
"""Style of a row whose parts go to the next line where it is narrow."""

_BUTTON = """
    :host { margin: 1px 2px; }
    :host .bk-btn, :host .bk-btn-group .bk-btn { padding: 1px 8px; font-size: 12px;
            border-radius: 5px; background: transparent;
            border: 1px solid var(--line); color: var(--pale); }
    :host .bk-btn:hover, :host .bk-btn.bk-active { background: var(--soft); color: var(--ink); }
    :host(.active) .bk-btn { background: var(--soft); font-weight: 600; }
    :host(.entry) .bk-btn { border-color: transparent; text-align: left; color: var(--ink);
            justify-content: flex-start; white-space: normal; overflow-wrap: anywhere; }
    """


_FIELD = """
    :host { color: var(--pale); }
    .bk-input { background: var(--card); color: var(--ink); border-color: var(--line);
                padding: 3px 8px; min-height: 26px; font-size: 12.5px; }
    .bk-input::placeholder { color: var(--pale); opacity: 0.8; }
    .bk-input:focus { border-color: var(--link); box-shadow: none; }
    """


def field(**options: Any) -> dict[str, Any]:
    """Return the style of a field or a selection as keyword arguments, with others of it."""
    return {"stylesheets": [_FIELD], "sizing_mode": "stretch_width", **options}


def short_text(text: str, most: int = _MOST_LETTERS) -> str:
    """Return a name beside a figure, without its middle if it needs more room than figures have.

    Names of sections of NEURON begin with that of the class of their cell.
    """
    head = most // 3
    return text if len(text) <= most else f"{text[:head]}…{text[head + 1 - most :]}"


def hover_text(text: str) -> str:
    """Return a name or unit for a hover, in which @ and $ begin fields and HTML is not text."""
    return text.translate(dict.fromkeys(map(ord, "@$<>&{}"), "·"))


def button(classes: str = "") -> dict[str, Any]:
    """Return the style of a small button as keyword arguments; ``classes`` are CSS classes."""
    return {"css_classes": classes.split(), "stylesheets": [_BUTTON]}


def title_html(text: str) -> str:
    """Return a heading as HTML."""
    return f"<h3>{escape(text)}</h3>"


def new_text(html: str = "", **options: Any) -> Div:
    """Return a text element; the caller must escape any names from files in ``html``."""
    options = {"sizing_mode": "stretch_width", **options}
    # With math enabled, the browser would download MathJax for a name with dollar signs.
    return Div(text=html, stylesheets=[_SHEET], disable_math=True, **options)


def small_text(text: str) -> str:
    """Return text as HTML in small letters."""
    return f'<span class="small">{escape(text)}</span>' if text else ""


def note_html(text: str, kind: str = "note") -> str:
    """Return text as HTML in a box for a note or an error."""
    return f'<span class="{kind}">{escape(text)}</span>' if text else ""


def key_html(names: Sequence[str], colors: Sequence[str], marks: str = "") -> str:
    """Return the names of lines with their colours as HTML; ``marks`` has a letter for each."""
    lines = zip(names, colors, marks or "\N{BLACK SQUARE}" * len(names), strict=True)
    return " &ensp;".join(
        f'<b style="color:{color}">{mark}</b> {escape(name)}' for name, color, mark in lines
    )


def plain_text(text: str) -> PlainText:
    """Return an axis label or title in which dollar signs do not delimit math."""
    return PlainText(text=text)


def stack(*parts: Any, **options: Any) -> UIElement:
    """Return a column layout with the width of the page."""
    return column(*parts, sizing_mode="stretch_width", **options)


def new_figure(x: str, y: str, *, height: int = 420, zoom: str = "width", **options: Any) -> Any:
    """Return an empty figure with axis labels; ``zoom`` is the dimension in which it zooms.

    If this is "both", the wheel zooms in the width or, with Ctrl, in the height: see ``page.js``.
    """
    wheel = "width" if zoom == "both" else zoom
    made = figure(
        height=height,
        sizing_mode="stretch_width",
        x_axis_label=plain_text(x),
        y_axis_label=plain_text(y),
        tools=[
            PanTool(dimensions=zoom),
            BoxZoomTool(dimensions=zoom),
            WheelZoomTool(dimensions=wheel, name=f"wheel {wheel}"),
            ResetTool(),
            SaveTool(),
        ],
        toolbar_location=None,
        **options,
    )
    style_figure(made)
    if zoom == "both":
        made.add_tools(WheelZoomTool(dimensions="height", name="wheel height"))
    return made


def style_figure(made: Any) -> None:
    """Apply the style of the page to a figure; its colours are in ``page.css``."""
    made.toolbar.logo = None
    made.toolbar.active_scroll = made.select_one(WheelZoomTool)
    made.title.update(text_font_size="13px", text_font_style="normal")
    for axis in made.axis:
        axis.axis_label_text_font_style = "normal"
        axis.formatter.use_scientific = False
    made.update(min_border_left=72, min_border_right=76)  # The time axes of panels are aligned.


def empty_source(*names: str) -> ColumnDataSource:
    """Return a data source with empty columns."""
    return ColumnDataSource({name: [] for name in names})


def add_lines(made: Any, **style: Any) -> tuple[ColumnDataSource, Any]:
    """Add lines without data to a figure, and return their data source and renderer."""
    source = empty_source("xs", "ys", "color", "name")
    return source, made.multi_line("xs", "ys", color="color", source=source, **style)


def line_data(
    times: NDArray[np.float64],
    values: NDArray[Any],
    names: Sequence[str],
    colors: Sequence[str] = COLORS,
) -> dict[str, list[Any]]:
    """Return data source columns of lines with shared times; ``values`` is (time, line)."""
    return {
        "xs": [times] * len(names),
        "ys": list(np.asarray(values, np.float64).T),
        "color": [colors[index % len(colors)] for index in range(len(names))],
        "name": list(names),
    }


def add_legend(made: Any, *renderers: Any, place: str = "right", **options: Any) -> Legend:
    """Add a legend of lines beside a figure, and return it."""
    items = [LegendItem(label={"field": "name"}, renderers=[one]) for one in renderers]
    legend = Legend(
        items=items,
        border_line_color=None,
        background_fill_color=None,
        label_text_font_size="12px",
        # Legends take their colours before they are in the page, where those of the page apply.
        stylesheets=[".bk-label { color: var(--ink) !important; }"],
        **options,
    )
    made.add_layout(legend, place)
    return legend


class GroupLegend:
    """A legend of groups of cells above a figure, hidden until it shows some."""

    def __init__(self, made: Any) -> None:
        self._source, lines = add_lines(made, line_width=3)
        self._legend = add_legend(
            made, lines, place="above", orientation="horizontal", ncols=6, visible=False
        )

    def show(self, names: Sequence[str] = (), colors: Sequence[str] = ()) -> None:
        """Show names with their colours."""
        nowhere = np.full((1, len(names)), np.nan)
        self._source.data = line_data(np.full(1, np.nan), nowhere, names, colors or COLORS)
        self._legend.visible = bool(names)


def add_image(made: Any, colors: LinearColorMapper) -> ColumnDataSource:
    """Add an empty image to a figure, and return its data source."""
    source = empty_source(*_IMAGE)
    made.image(*_IMAGE, color_mapper=colors, source=source)
    return source


def image_data(
    values: NDArray[Any] | None = None,
    x: tuple[float, float] = (0, 1),
    y: tuple[float, float] = (0, 1),
) -> dict[str, list[Any]]:
    """Return data source columns of an image with extents ``x`` and ``y``, empty without values."""
    if values is None:
        return {name: [] for name in _IMAGE}
    columns = (np.asarray(values, np.float32), x[0], y[0], x[1] - x[0], y[1] - y[0])
    return {name: [value] for name, value in zip(_IMAGE, columns, strict=True)}


def add_color_bar(
    made: Any, colors: LinearColorMapper, place: str = "right", **options: Any
) -> ColorBar:
    """Add a colour bar beside a figure, and return it."""
    # Colour bars take their colours before they are in the page; this grey suits both grounds.
    options = options or {"width": 10}
    bar = ColorBar(
        color_mapper=colors, padding=4, title_standoff=2, title_text_font_style="normal",
        title_text_color=GREY, major_label_text_color=GREY, background_fill_color=None, **options,
    )  # fmt: skip
    made.add_layout(bar, place)
    return bar


def widened(low: float, high: float) -> tuple[float, float]:
    """Return limits of colours or of an axis, with values between them if they are equal."""
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def limits_of(values: NDArray[Any]) -> tuple[float, float]:
    """Return the limits of an axis for values, with a margin."""
    finite = values[np.isfinite(values)]
    low, high = widened(*((finite.min(), finite.max()) if finite.size else (0.0, 1.0)))
    margin = 0.05 * (high - low)
    return float(low - margin), float(high + margin)


def pixels_of(made: Any) -> tuple[int, int]:
    """Return the height and width of the plotting area of a figure."""
    try:
        height, width = int(made.inner_height), int(made.inner_width)
    except UnsetValueError:
        return _PIXELS
    return (height, width) if height > 0 and width > 0 else _PIXELS


def visible_rows(y_range: Any, count: int, offset: float = 0.0) -> tuple[int, int]:
    """Return the half-open interval of the rows, of ``count``, that are in a vertical range.

    The lower edge of row ``i`` is at ``i - offset``.
    """
    low, high = sorted((y_range.start + offset, y_range.end + offset))
    first = min(max(int(np.floor(low)), 0), max(count - 1, 0))
    return first, max(min(int(np.ceil(high)), count), min(first + 1, count))


def set_range(axis_range: Any, start: float, end: float) -> None:
    """Set a range, also as the one that the reset tool restores."""
    axis_range.update(start=start, end=end, reset_start=start, reset_end=end)


def drawn_note(count: int, total: int, what: str) -> str:
    """Return a note with the number of drawn items, or an empty text if all are drawn."""
    return f"{count} of {total:,} {what} drawn" if count < total else ""
