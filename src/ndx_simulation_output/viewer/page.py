"""Layout of the page: contents, overview, panels over one another, and the cells in space."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import Button, TextInput, Toggle, UIElement
from bokeh.plotting import figure as figure_model

from ndx_simulation_output.errors import SelectionError
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.viewer.arrays import ArrayPanel, TextPanel
from ndx_simulation_output.viewer.cells import CellCard
from ndx_simulation_output.viewer.contents import Contents
from ndx_simulation_output.viewer.controls import SaveButtons
from ndx_simulation_output.viewer.figures import (
    WRAPS,
    button,
    new_text,
    small_text,
    stack,
    title_html,
)
from ndx_simulation_output.viewer.heat_maps import HeatMapPanel
from ndx_simulation_output.viewer.networks import NeuronsPanel, SynapsesPanel
from ndx_simulation_output.viewer.overview import Overview
from ndx_simulation_output.viewer.panels import Offer, Panel
from ndx_simulation_output.viewer.rates import RatesPanel
from ndx_simulation_output.viewer.session import Downloads, Session, ViewedFile, on_value
from ndx_simulation_output.viewer.space import SpacePanel
from ndx_simulation_output.viewer.spikes import RasterPanel
from ndx_simulation_output.viewer.state import PageState, PanelState
from ndx_simulation_output.viewer.traces import ChannelsPanel, TracesPanel
from ndx_simulation_output.viewer.tree import TreePanel

PANELS: dict[str, type[Panel]] = {
    kind.kind: kind
    for kind in (
        RasterPanel,
        RatesPanel,
        TracesPanel,
        HeatMapPanel,
        ChannelsPanel,
        SpacePanel,
        NeuronsPanel,
        SynapsesPanel,
        ArrayPanel,
        TextPanel,
        TreePanel,
    )
}
"""The kinds of panels by the name that the address has for them."""

_MOST_FIRST = 5
_SAVED = "a saved page: data are reduced to what was drawn, and zooming in does not read more"
_KEYS = "keys: ← → + - 0 time · n p cell · space play · Esc none"
_TITLE_WIDTH = 105
_FOLDER = Path(__file__).parent
_Do = Callable[[SimulationOutput], object]


def open_page(
    document: Document,
    files: Sequence[ViewedFile],
    downloads: Downloads,
    query: str = "",
    *,
    is_saved: bool = False,
) -> "Page":
    """Add the page to the document of a browser session; all sessions share the open files.

    ``query`` is the state of the page in its address.
    """
    error = ""
    try:
        state = PageState.parse(query)
    except SelectionError as wrong:
        state, error = PageState(), str(wrong)
    session = Session(document, files, downloads, state, is_saved=is_saved)
    page = Page(session, state)
    document.title = session.file.name
    document.template = (_FOLDER / "page.html").read_text("utf-8")
    document.template_variables.update(
        is_saved=is_saved,
        page_css=(_FOLDER / "page.css").read_text("utf-8"),
        page_js=(_FOLDER / "page.js").read_text("utf-8"),
    )
    if not is_saved:
        document.on_session_destroyed(lambda _: session.close())
    page.show()
    if error:
        session.show_message(error, kind="error")
    # Filled first: the models of a document are collected again at each change of its layout.
    for name, root in page.roots.items():
        root.name = name
        document.add_root(root)
    return page


class Card:
    """A panel with its title, the buttons to change and save it, and a line of text."""

    def __init__(self, page: "Page", panel: Panel, output: SimulationOutput) -> None:
        self.page, self.panel = page, panel
        session = page.session
        self.is_built = False
        self.saving: SaveButtons | None = None
        head: list[UIElement] = []
        body: list[UIElement] = []
        title = f"{panel.kind} {panel.name}"
        with session.show_errors(panel.note):
            built = panel.body = panel.build(output)
            for figure in built.select({"type": figure_model}):
                figure.name = figure.name or f"{panel.kind}:{panel.name}"  # also finds earlier ones
            title = panel.title
            if panel.saves:
                name = f"{panel.kind}-{panel.name}"
                self.saving = SaveButtons(session, name, built, panel.shown, lambda: panel.files)
                panel.on_drawn = self.saving.refresh
            controls = panel.controls()
            settings = row(*(controls or [new_text()]), visible=False)
            if controls and not session.is_saved:
                toggle = Toggle(label="Options", **button())
                on_value(toggle, "active", lambda on: settings.update(visible=bool(on)))
                head.append(toggle)
            head += self.saving.buttons if self.saving else []
            body = [settings, built] if controls else [built]
            self.is_built = True
        if not session.is_saved:
            if panel.place == "middle":
                head.append(self._button("↑", lambda: page.move(self, -1)))
                head.append(self._button("↓", lambda: page.move(self, 1)))
            head.append(self._button("×", lambda: page.close(self)))
        self.layout = stack(
            row(
                new_text(title_html(title), min_width=_TITLE_WIDTH),
                *head,
                sizing_mode="stretch_width",
                stylesheets=[WRAPS],
            ),
            *body,
            panel.note,
            *([self.saving.text] if self.saving else []),
            css_classes=["card"],
            stylesheets=[_CARD],
        )

    def draw(self, output: SimulationOutput) -> None:
        """Draw the panel, unless it could not be made."""
        if self.is_built:
            self.panel.draw(output)

    @staticmethod
    def _button(label: str, do: Callable[[], object]) -> Button:
        made = Button(label=label, **button())
        made.on_click(lambda _: do())
        return made


_CARD = """
    :host { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
            padding: 4px 8px 6px; margin-bottom: 8px; }
"""


class Page:
    """The page of a browser session."""

    def __init__(self, session: Session, state: PageState) -> None:
        self.session = session
        self.theme = state.theme
        self._asked, self._is_other, self._has_cells = state, False, False
        self.cards: list[Card] = []
        self.overview = Overview(session)
        self.contents = Contents(session, self.open, self.show_file, self._show_picked)
        self.cell = CellCard(session)
        self.status = new_text(sizing_mode=None)
        self._seen: object = None
        self._opened: object = None
        self.command = TextInput(name="command", value="")
        self.address = TextInput(name="address", value="")
        on_value(self.command, "value", lambda text: self._do(str(text).split(" ")[0]))
        self.middle = column(new_text(), sizing_mode="stretch_width")
        self.right = column(new_text(), sizing_mode="stretch_width")
        self.cell_above, self.cell_beside = (
            column(new_text(), sizing_mode="stretch_width", stylesheets=[_CARD]) for _ in range(2)
        )
        self.side = stack(self.right, self.cell_beside)
        theme = Button(label="◐", name="theme_button", **button())
        keys = new_text(f'<span class="small keys">{_KEYS}</span>', sizing_mode=None)
        head = row(
            self.contents.head,
            self.status,
            session.message,
            keys,
            theme,
            sizing_mode="stretch_width",
            stylesheets=[":host { align-items: center; }"],
        )
        self.top = stack(self.overview.layout, stylesheets=[_CARD])
        self.roots: dict[str, UIElement] = {
            "head": head,
            "left": stack(self.contents.layout),
            "middle": stack(self.top, self.cell_above, self.middle),
            "right": self.side,
            "hidden": column(self.command, self.address, visible=False),
        }
        session.listeners = {
            "picked": self._show_picked,
            "cursor": lambda: self._run(self._move_cursor),
            "address": self._show_address,
        }
        session.time.on_window(lambda: session.run_later(self.refresh))

    def show(self) -> None:
        """Show the file of the session from the start."""
        self.cards.clear()
        self.contents.show_files()
        self.session.show_message("")
        self.session.run(self._fill)
        if self.session.file.error:  # Nothing stays of the file that was shown before.
            self.contents.show(SimulationOutput(), ())
            self.overview.layout.visible = self.top.visible = self._has_cells = False
        self.contents.show_files()
        self._arrange()
        if self.session.is_saved:
            self.status.text = small_text(_SAVED)
        elif self.session.file.is_being_written:
            self._follow_later()

    def _follow_later(self, seconds: float = 1.0) -> None:
        self.status.text = small_text("is being written; the page follows")
        self._seen = self.session.file.stamp
        self.session.run_later(self.follow, round(1000 * seconds))

    def follow(self) -> None:
        """Show what has been added to a file that is being written, until it is complete."""
        file, began = self.session.file, perf_counter()
        is_complete = not file.is_being_written
        self.status.text = ""
        if is_complete or file.stamp != self._seen:
            self.session.run(self._grow)
        if not is_complete:
            # Reading takes at most a quarter of the time.
            self._follow_later(max(1.0, 3 * (perf_counter() - began)))

    def _grow(self, output: SimulationOutput) -> None:
        time, before = self.session.time, (self.state, self.session.time.scale)
        self._opened = self.session.file.opened_stamp
        self.overview.update(output)
        if not self.cards or time.scale != before[1]:
            self._asked = before[0] if self.cards else self._asked
            self.cards.clear()
            self._fill(output)
            self._arrange()
            return
        self.contents.show(output, _offers(output))
        self._update(output)

    def show_file(self, number: int) -> None:
        """Show another file: the same panels if it has them, and otherwise its first screen."""
        session = self.session
        self._asked, self._is_other = replace(self.state, file=number, window=None), True
        session.file = session.files[number]
        if session.other is session.file:
            session.other = None
        self.show()

    def refresh(self) -> None:
        """Read and draw again what is in the window."""
        self._run(self._update)

    def _run(self, do: Callable[[SimulationOutput], object]) -> None:
        """Call a function with the open file, and show all anew if the file has been replaced."""
        self.session.run(do)
        file = self.session.file
        if self._opened != file.opened_stamp and not file.is_being_written:
            self.show_file(list(self.session.files).index(file))

    def open(self, offer: Offer) -> None:
        """Add the panel of an entry of the contents, or point at it if it is there."""

        def add(output: SimulationOutput) -> None:
            if all(card.panel.state.kind != offer.panel.kind or card.panel.name != offer.panel.name
                   for card in self.cards):  # fmt: skip
                self._add(offer.panel, output)
                self._arrange()

        self.session.run(add)

    def close(self, card: Card) -> None:
        """Remove a panel."""
        self.cards.remove(card)
        self._arrange()

    def move(self, card: Card, step: int) -> None:
        """Move a panel up or down."""
        here = self.cards.index(card)
        there = min(max(here + step, 0), len(self.cards) - 1)
        self.cards.insert(there, self.cards.pop(here))
        self._arrange()

    @property
    def state(self) -> PageState:
        """State of the page, as it is written to the address."""
        session, time = self.session, self.session.time
        other = None if session.other is None else list(session.files).index(session.other)
        return PageState(
            file=list(session.files).index(session.file),
            other=other,
            difference=session.shows_difference and other is not None,
            window=None if time.is_all else time.window,
            at=time.at,
            cells=session.cells,
            group_by=session.group_by,
            picked=session.picked,
            compartment=session.compartment,
            panels=tuple(card.panel.state for card in self.cards),
            theme=self.theme,
        )

    def _fill(self, output: SimulationOutput) -> None:
        asked, self._opened = self._asked, self.session.file.opened_stamp
        offers = _offers(output)
        self.contents.show(output, offers)
        with self.session.show_errors(self.overview.text):
            if self.overview.update(output) and asked.window:
                self.session.time.show(asked.window)
        self.top.visible = self.overview.layout.visible
        cells = output.reports, output.spikes, output.circuit, output.networks
        self._has_cells = any(map(bool, cells))
        begin, end = self.session.time.span
        is_inside = asked.at is not None and begin <= asked.at <= end
        self.session.time.at = asked.at if is_inside else None
        self.cell.forget_unknown(output)
        ranked = (one for one in offers if one.rank is not None)
        first = sorted(ranked, key=lambda one: one.rank or 0)
        panels = asked.panels if asked.panels is not None else _first_panels(first)
        if self._is_other:
            offered = {(one.panel.kind, one.panel.name) for one in offers}
            panels = [one for one in panels if (one.kind, one.name) in offered]
            panels = panels or _first_panels(first)
        for panel in panels:
            if panel.kind in PANELS:
                self._add(panel, output)
            elif panel.kind:
                self.session.show_message(f"there is no panel {panel.kind!r}", kind="error")
        self._show_picked()

    def _add(self, state: PanelState, output: SimulationOutput) -> None:
        self.cards.append(Card(self, PANELS[state.kind](self.session, state), output))
        self.cards[-1].draw(output)

    def _arrange(self) -> None:
        middle, right = (
            [one.layout for one in self.cards if one.panel.place == place]
            for place in ("middle", "right")
        )
        # One column has all of the width if there is nothing for the other.
        if not (middle or self.top.visible):
            middle, right = right, []
        has_space = bool(right)
        self.middle.children = middle or [new_text()]  # Bokeh warns of layouts without children.
        self.right.children = right or [new_text()]
        self.middle.visible = bool(middle)
        here, away = self.cell_beside, self.cell_above
        here, away = (here, away) if has_space else (away, here)
        away.update(children=[new_text()], visible=False)
        here.update(children=[self.cell.layout], visible=self._has_cells)
        self.side.visible = has_space
        self.contents.mark([(card.panel.kind, card.panel.name) for card in self.cards])
        self._show_address()

    def _update(self, output: SimulationOutput) -> None:
        """Draw what depends on the window."""
        self._draw_cards(output, [one.draw for one in self.cards if one.panel.over_time])

    def _draw(self, output: SimulationOutput) -> None:
        self._draw_cards(output, [one.draw for one in self.cards])

    def _move_cursor(self, output: SimulationOutput) -> None:
        self._draw_cards(output, [one.panel.moved for one in self.cards if one.is_built])

    def _draw_cards(self, output: SimulationOutput, draw: Sequence[_Do]) -> None:
        for one in draw:
            one(output)
        self.cell.update(output)
        self._show_address()

    def _show_picked(self) -> None:
        self._run(self._draw)

    def _show_address(self) -> None:
        self.address.value = self.state.query()

    def _do(self, command: str) -> None:
        """Follow a key, or another command of the browser."""
        session = self.session
        if command in {"next", "previous"}:
            session.run(lambda output: self.cell.step(output, 1 if command == "next" else -1))
        elif command == "play":
            session.player.toggle()
        elif command == "unpick":
            session.pick("", ())
        elif command.startswith("theme:"):
            self.theme = command.partition(":")[2]
            self._show_address()


def _offers(output: SimulationOutput) -> list[Offer]:
    return [offer for kind in PANELS.values() for offer in kind.offers(output)]


def _first_panels(offers: Sequence[Offer]) -> list[PanelState]:
    """Return the panels of the first screen: the first of each kind, or arrays, at most five."""
    first = {offer.panel.kind: offer.panel for offer in reversed(offers)}
    if set(first) == {ArrayPanel.kind}:
        return [offer.panel for offer in offers[:_MOST_FIRST]]
    return sorted(first.values(), key=[one.panel for one in offers].index)[:_MOST_FIRST]
