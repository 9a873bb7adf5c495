"""Contents of the files, listed at the left of the page; each entry opens a panel."""

from collections.abc import Callable, Collection, Sequence
from html import escape
from typing import Any

from bokeh.layouts import column, row
from bokeh.models import Button, Select, TextInput, Toggle, UIElement

from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.viewer.cells import tables_of
from ndx_simulation_output.viewer.controls import CELLS_HINT
from ndx_simulation_output.viewer.figures import (
    WRAPS,
    button,
    field,
    new_text,
    note_html,
    small_text,
    stack,
    title_html,
)
from ndx_simulation_output.viewer.panels import Offer
from ndx_simulation_output.viewer.session import Session, on_value

_NO_GROUP, _NO_FILE = "no property", "nothing"
_MOST_ENTRIES = 40
"""Entries of a section that are listed; more are found by typing."""


class Contents:
    """The files, the choice of cells and of their colours, and the list of contents.

    ``open_`` opens the panel of an entry, ``show_file`` another file by its number, and ``changed``
    draws again after another choice of cells or of the file to compare with.
    """

    def __init__(
        self,
        session: Session,
        open_: Callable[[Offer], object],
        show_file: Callable[[int], object],
        changed: Callable[[], object],
    ) -> None:
        self.session = session
        self._open, self._show_file, self._changed = open_, show_file, changed
        self.head = new_text(sizing_mode=None)
        self.files = column(new_text(), sizing_mode="stretch_width")
        self.cells = TextInput(
            title="Cells", value=session.cells, placeholder=CELLS_HINT, **field()
        )
        self.group = Select(title="Colour by", options=[_NO_GROUP], value=_NO_GROUP, **field())
        self.find = TextInput(title="Find", placeholder="part of a name", visible=False, **field())
        self.list = column(new_text(), sizing_mode="stretch_width")
        self.compare = Select(
            title="Compare with", options=[], visible=len(session.files) > 1, **field()
        )
        self.difference = Toggle(
            label="Difference", active=session.shows_difference, visible=False, **button()
        )
        self.offers: Sequence[Offer] = ()
        self._opened: set[tuple[str, str]] = set()
        # Kept while panels are opened: a click on a button that is gone would come with an error.
        self._buttons: list[tuple[tuple[str, str], Button]] = []
        parts = (self.files, self.compare, self.difference, self.cells, self.group, self.find)
        self.layout: UIElement = stack(*parts, self.list, visible=not session.is_saved)
        on_value(self.cells, "value", lambda text: self._choose("cells", str(text)))
        on_value(self.group, "value", lambda name: self._choose("group_by", _value(name)))
        on_value(self.difference, "active", lambda on: self._choose("shows_difference", bool(on)))
        on_value(self.compare, "value", self._compare)
        on_value(self.find, "value", lambda _: self._list())

    def show_files(self) -> None:
        """List the files, each with its error or its warnings."""
        files, shown = self.session.files, self.session.file
        self.head.text = title_html(shown.name)
        parts: list[UIElement] = [new_text(title_html("Files" if len(files) > 1 else "File"))]
        for number, file in enumerate(files):
            if len(files) > 1:
                style = button("entry active" if file is shown else "entry")
                made = Button(label=file.name, sizing_mode="stretch_width", **style)
                made.on_click(lambda _, number=number: self._show_file(number))
                parts.append(made)
            if file.error:
                parts.append(new_text(note_html(file.error, "error")))
            if file.warnings:
                parts.append(new_text(_warnings_html(file.warnings)))
        self.files.children = parts
        self.files.visible = len(parts) > 1
        others = [(str(number), one.name) for number, one in enumerate(files)
                  if one is not shown and not one.error]  # fmt: skip
        self.compare.options = [("", _NO_FILE), *others]
        other = self.session.other
        self.compare.value = "" if other is None else str(list(files).index(other))
        self.difference.visible = other is not None

    def show(self, output: SimulationOutput, offers: Sequence[Offer]) -> None:
        """List the entries of a file."""
        names = {name: None for table in tables_of(output)
                 for name, values in table.columns.items() if len(values.shape) == 1}  # fmt: skip
        is_known = self.session.group_by in names
        self.group.options = [_NO_GROUP, *names]
        self.group.value = self.session.group_by if is_known else _NO_GROUP
        self.group.visible = bool(names)
        self.cells.visible = bool(output.spikes or output.reports or output.circuit)
        self.offers = offers
        self.find.visible = len(offers) > _MOST_ENTRIES
        self._list()

    def mark(self, opened: Collection[tuple[str, str]]) -> None:
        """Mark the entries whose panels, by kind and name, are open."""
        self._opened = set(opened)
        for key, made in self._buttons:
            kept = [name for name in made.css_classes if name != "active"]
            made.css_classes = [*kept, "active"] if key in self._opened else kept

    def _list(self) -> None:
        wanted = self.find.value.strip().lower() if self.find.visible else ""
        sections: dict[str, dict[tuple[str, str], list[Offer]]] = {}
        for offer in self.offers:
            if wanted in f"{offer.section} {offer.label}".lower():
                entries = sections.setdefault(offer.section, {})
                other = "" if offer.action else offer.panel.name  # Things may have the same label.
                entries.setdefault((offer.label, other), []).append(offer)
        self._buttons.clear()
        parts: list[UIElement] = []
        for section, entries in sections.items():
            parts.append(new_text(title_html(section)))
            some = list(entries.values())[:_MOST_ENTRIES]
            parts += [self._entry(offers) for offers in some]
            if len(some) < len(entries):
                more = f"{len(entries) - len(some):,} more: type a part of a name above"
                parts.append(new_text(small_text(more)))
        self.list.children = parts or [new_text()]

    def _entry(self, offers: Sequence[Offer]) -> UIElement:
        """Return the line of an entry: a button that opens its first panel, and one for each."""
        first = offers[0]
        label = f"{first.label}  {first.about}".strip()
        buttons = [self._button(first, label, "entry", sizing_mode="stretch_width")]
        if len(offers) > 1:
            buttons += [self._button(offer, offer.action, "action") for offer in offers]
        return row(*buttons, sizing_mode="stretch_width", stylesheets=[WRAPS])

    def _button(self, offer: Offer, label: str, classes: str, **options: Any) -> Button:
        key = offer.panel.kind, offer.panel.name
        classes = f"{classes} active" if key in self._opened else classes
        made = Button(label=label, **button(classes), **options)
        made.on_click(lambda _: self._open(offer))
        self._buttons.append((key, made))
        return made

    def _choose(self, name: str, value: object) -> None:
        if getattr(self.session, name) != value:
            setattr(self.session, name, value)
            self._changed()

    def _compare(self, number: Any) -> None:
        files = self.session.files
        self.difference.visible = bool(number)
        self._choose("other", files[int(number)] if number else None)


def _value(name: object) -> str:
    return "" if name == _NO_GROUP else str(name)


def _warnings_html(texts: Sequence[str]) -> str:
    """Return warnings as HTML, folded: their number, and their texts on demand."""
    count = "1 warning" if len(texts) == 1 else f"{len(texts)} warnings"
    lines = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<details class='note'><summary>{count}</summary><ul>{lines}</ul></details>"
