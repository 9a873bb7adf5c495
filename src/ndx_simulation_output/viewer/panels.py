"""Base of the panels of the page, and the card that holds each."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from bokeh.events import RangesUpdate, Tap
from bokeh.models import ColumnDataSource, CustomJS, Select, TapTool, TextInput, UIElement

from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.viewer.controls import ShownData
from ndx_simulation_output.viewer.figures import field, new_text, small_text
from ndx_simulation_output.viewer.session import Session, ViewedFile, on_value
from ndx_simulation_output.viewer.state import PanelState


@dataclass(frozen=True)
class Offer:
    """Something in a file that a panel can show: an entry of the contents at the left.

    ``section`` is the heading, ``label`` the text, and ``about`` a few words, such as a shape.
    Entries of several panels with one label differ in ``action``, such as "raster". The panels of
    the first screen are those with the lowest ``rank``; those without one are not in it.
    """

    panel: PanelState
    section: str
    label: str
    about: str = ""
    rank: int | None = None
    action: str = ""


class Panel(ABC):
    """A part of the page that shows one thing of a file.

    ``kind`` names the class in the address. ``place`` is "middle", or "right" for what is in space.
    A subclass makes its figures once in ``build`` and fills them in ``update``, which is called
    when the time window, the picked cells, the choice of cells or a control has changed.
    ``linked`` are data sources with a column ``cell``, whose picked cells are highlighted. The card
    sets ``on_drawn``, which is called when the panel has been drawn.
    """

    kind: ClassVar[str]
    place: ClassVar[str] = "middle"
    over_time: ClassVar[bool] = True
    """True if the panel shows data of the time window."""

    saves: ClassVar[bool] = True
    """True if the panel has data and figures that can be saved."""

    def __init__(self, session: Session, state: PanelState) -> None:
        self.session = session
        self.name = state.name
        self.options = dict(state.options)
        self.note = new_text()
        self.linked: list[tuple[str, ColumnDataSource]] = []
        self.figures: list[Any] = []
        self.body: UIElement | None = None
        self.on_drawn: Callable[[], object] = lambda: None

    @staticmethod
    @abstractmethod
    def offers(output: SimulationOutput) -> Iterator[Offer]:
        """Yield what this kind of panel can show of a file."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Title of the card."""

    @abstractmethod
    def build(self, output: SimulationOutput) -> UIElement:
        """Return the figures without data."""

    @abstractmethod
    def update(self, output: SimulationOutput) -> None:
        """Read and draw the data."""

    def shown(self) -> ShownData:
        """Return the data that are seen, for CSV and Python; called if ``saves``."""
        raise NotImplementedError

    @property
    def files(self) -> Sequence[ViewedFile]:
        """The files that are read for CSV and Python."""
        return [self.session.file]

    def controls(self) -> Sequence[UIElement]:
        """Return widgets that the card shows on demand; their values are in ``options``."""
        return ()

    def moved(self, output: SimulationOutput) -> None:  # noqa: B027 - most need not
        """Follow the cursor; by default nothing is drawn again."""

    def picked_at(self, x: float, y: float, output: SimulationOutput) -> bool:  # noqa: ARG002
        """Pick the cell at a place of the first figure; return True if there is one."""
        return False

    @property
    def state(self) -> PanelState:
        """The panel as in the address."""
        return PanelState(self.kind, self.name, self.options)

    def draw(self, output: SimulationOutput) -> None:
        """Draw all; an error is shown instead of the figures, and the other panels go on."""
        is_drawn = False
        with self.session.show_errors(self.note):
            self.update(output)
            self.moved(output)
            self.highlight()
            self.on_drawn()
            is_drawn = True
        if self.body is not None and self.body.visible != is_drawn:
            self.body.visible = is_drawn

    # What subclasses use.

    def choice(
        self, name: str, title: str, options: Sequence[str], width: int, default: str = ""
    ) -> Select:
        """Return a widget for an option, by default the first."""
        made = Select(title=title, options=[*options], value=self.chosen(name, options, default),
                      width=width, **field(sizing_mode=None))  # fmt: skip
        on_value(made, "value", lambda text: self.option(name, text))
        return made

    def chosen(self, name: str, options: Sequence[str], default: str = "") -> str:
        """Return the value of an option; without one that is known, the default or the first."""
        found = self.options.get(name, default)
        return found if found in options else default or options[0]

    def text_choice(self, name: str, title: str, placeholder: str, width: int) -> TextInput:
        """Return a widget for an option that is a text."""
        made = TextInput(title=title, value=self.options.get(name, ""), placeholder=placeholder,
                         width=width, **field(sizing_mode=None))  # fmt: skip
        on_value(made, "value", lambda text: self.option(name, text.strip()))
        return made

    def option(self, name: str, value: Any) -> None:
        """Set the value of a control and draw again."""
        self.options[name] = str(value)
        self.session.run(self.draw)
        self.session.show_address()

    def add_figure(self, figure: Any, *, zooms: bool = False) -> None:
        """Link a figure: cursor, crosshair, picking by click, reading again if ``zooms`` in y."""
        self.figures.append(figure)
        if self.over_time:
            self.session.time.add_to(figure)
        if self.session.is_saved:
            figure.add_tools(TapTool())
            cursor = {"cursor": self.session.time.cursor}
            figure.js_on_event(Tap, CustomJS(args=cursor, code="cursor.location = cb_obj.x"))
        figure.on_event(Tap, self._tapped)
        if zooms:
            figure.on_event(RangesUpdate, lambda _: self.session.run_later(self._again))

    def link(self, population: str, source: ColumnDataSource) -> None:
        """Highlight the picked cells in a data source that has a column ``cell``.

        With an empty ``population``, it also has a column ``population``.
        """
        source.tags = ["linked", population]  # for the links of a saved page
        self.linked.append((population, source))

    def highlight(self) -> None:
        """Select the rows of the picked cells in the linked data sources."""
        population, ids = self.session.picked
        for name, source in self.linked:
            is_picked = np.zeros(0, bool)
            if ids and name in {population, ""}:
                is_picked = np.isin(np.asarray(source.data["cell"]), ids)
                if not name:
                    is_picked &= np.asarray(source.data["population"], object) == population
            source.selected.indices = np.flatnonzero(is_picked).tolist()

    def say(self, *texts: str) -> None:
        """Show a line of texts, those that are not empty, under the figures."""
        self.note.text = small_text("; ".join(filter(None, texts)))

    def _again(self) -> None:
        self.session.run(self.draw)

    def _tapped(self, event: Tap) -> None:
        def pick(output: SimulationOutput) -> None:
            time = self.session.time
            is_cell = self.picked_at(float(event.x), float(event.y), output)
            if self.over_time and not is_cell:
                time.at = float(event.x) / time.scale.factor
            self.session.cursor_moved()

        self.session.run(pick)
