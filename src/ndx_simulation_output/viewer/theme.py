"""Colours, figures and frame of the page."""

from html import escape
from typing import Any

from bokeh.models import BoxZoomTool, Div, PanTool, PlainText, ResetTool, SaveTool, WheelZoomTool
from bokeh.plotting import figure

# How the page looks: colours, figures, the frame of the page.

COLORS = (
    "#1f6fb2",
    "#d1602a",
    "#2b8a57",
    "#8c4fa8",
    "#b8232f",
    "#7a5c3e",
    "#c2478f",
    "#5f6b76",
    "#8a8c14",
    "#138a9e",
)
"""Colours of traces, one after the other."""

_INK, _PALE, _LINE = "#1c2733", "#5b6875", "#dfe4ea"

_SHEET = """
    .error { display: block; padding: 8px 12px; border-radius: 6px; background: #fdecea;
             color: #8f1d14; border: 1px solid #f3c3be; white-space: pre-wrap; }
    .note { display: block; padding: 8px 12px; border-radius: 6px; background: #eef4fa;
            color: #24476b; white-space: pre-wrap; }
    .small { color: #5b6875; font-size: 12px; }
    pre { margin: 0; padding: 12px; background: #f6f8fa; border: 1px solid #dfe4ea;
          border-radius: 6px; overflow: auto; max-height: 420px; font-size: 12px;
          white-space: pre-wrap; overflow-wrap: anywhere; }
    pre.short { max-height: 190px; }
    table.facts { border-collapse: collapse; font-size: 12.5px; width: 100%; }
    table.facts th, table.facts td { text-align: left; vertical-align: top;
          padding: 4px 12px 4px 0; border-bottom: 1px solid #edf0f3; overflow-wrap: anywhere; }
    table.facts th { color: #5b6875; font-weight: 500; white-space: nowrap; }
    table.facts td pre { max-height: 200px; }
    h3 { margin: 6px 0; font-size: 15px; overflow-wrap: anywhere; }
    """
"""Styles of what is written in the page."""

PAGE = """
{% block preamble %}
<link rel="icon" href="data:,">
<style>
  html, body { background: #fbfcfd; color: #1c2733;
    font-family: system-ui, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif; }
</style>
{% endblock %}
"""
"""The frame of the page."""


def new_figure(x: str, y: str, *, height: int = 420, zoom: Any = "width", **options: Any) -> Any:
    """Give an empty figure with its axes named, to be zoomed along ``zoom``."""
    made = figure(
        height=height,
        sizing_mode="stretch_width",
        x_axis_label=plain(x),
        y_axis_label=plain(y),
        tools=[
            PanTool(dimensions=zoom),
            BoxZoomTool(dimensions=zoom),
            WheelZoomTool(dimensions=zoom),
            ResetTool(),
            SaveTool(),
        ],
        toolbar_location="above",
        **options,
    )
    dress(made)
    return made


def new_text(text: str = "", **options: Any) -> Div:
    """Give a piece of the page with text, which is HTML: what files say must be escaped."""
    options = {"sizing_mode": "stretch_width", **options}
    # Dollar signs are no formulas: the page would ask for what draws them.
    return Div(text=text, stylesheets=[_SHEET], disable_math=True, **options)


def plain(text: str) -> PlainText:
    """Give text for an axis or title of a figure, whose dollar signs are no formulas either."""
    return PlainText(text=text)


def small(text: str) -> str:
    """Give text as HTML in small letters."""
    return f'<span class="small">{escape(text)}</span>' if text else ""


def dress(made: Any) -> None:
    """Let a figure look like all others."""
    made.toolbar.logo = None
    made.toolbar.active_scroll = made.select_one(WheelZoomTool)
    made.title.text_color, made.title.text_font_size = _INK, "13px"
    made.title.text_font_style = "normal"
    for axis in made.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = axis.major_label_text_color = _PALE
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = _LINE
        axis.formatter.use_scientific = False
    made.grid.grid_line_color = "#edf0f3"
    made.outline_line_color = _LINE
