"""The page: file, messages, and a tab for each view."""

from collections.abc import Sequence
from html import escape
from typing import Any

from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import Button, Select, TabPanel, Tabs

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.viewer.arrays import ArraysView
from ndx_simulation_output.viewer.compare import CompareView
from ndx_simulation_output.viewer.downloads import Downloads
from ndx_simulation_output.viewer.networks import NetworkView
from ndx_simulation_output.viewer.raster import RasterView
from ndx_simulation_output.viewer.session import Session, Source, View, on_value
from ndx_simulation_output.viewer.space import SpaceView
from ndx_simulation_output.viewer.theme import PAGE, new_text, small
from ndx_simulation_output.viewer.traces import ChannelsView, HeatView, TracesView
from ndx_simulation_output.viewer.tree import TreeView

# The page: which file, what happened, and a tab for each view.

_VIEWS = (
    TreeView,
    TracesView,
    HeatView,
    RasterView,
    SpaceView,
    ChannelsView,
    NetworkView,
    ArraysView,
    CompareView,
)


class Page:
    """Tabs that are filled when they are first looked at: nothing is read that nobody sees."""

    def __init__(self, session: Session) -> None:
        self.session = session
        names = [(str(number), one.name) for number, one in enumerate(session.sources)]
        self.file = Select(options=names, value="0", width=320)
        on_value(self.file, "value", lambda number: self._show_file(int(number)))
        self.again = Button(label="Read again", width=110)
        self.again.on_click(self.read_again)
        self.facts = new_text(sizing_mode=None)
        self.views: list[View] = [kind(session) for kind in _VIEWS]
        self.built: set[int] = set()
        self.stale: set[int] = set()
        panels = [TabPanel(title=view.title, child=_empty()) for view in self.views]
        self.tabs = Tabs(tabs=panels, sizing_mode="stretch_width")
        session.on_change(self.tabs, "active", self._fill)
        head = row(self.file, self.again, self.facts)
        self.layout = column(
            head, session.message, self.tabs, sizing_mode="stretch_width", margin=(12, 20, 40, 20)
        )

    def start(self) -> None:
        """Show the tab that is open."""
        self.session.run(self._fill)

    def _show_file(self, number: int) -> None:
        self.session.source.close()
        self.session.source = self.session.sources[number]
        self.built.clear()
        self.stale.clear()
        for panel in self.tabs.tabs:
            panel.child.children = [new_text()]
        self.start()

    def read_again(self) -> None:
        """Open the files anew, and bring up to date what is shown."""
        for source in self.session.sources:
            source.close()
        self.stale |= self.built
        self.start()

    def _fill(self, output: SimulationOutput) -> None:
        """Fill the tab that is shown if it is empty, or bring it up to date."""
        active = self.tabs.active
        growing = self.session.source.is_growing
        text = "is being written: read it again to see more" if growing else ""
        self.facts.text = small(text)
        if active in self.built:
            if active in self.stale:
                self.views[active].update(output)
                self.stale.discard(active)
            return
        try:
            built = self.views[active].build(output)
        except NothingRecordedError as error:
            note = f'<span class="note">{escape(str(error))}</span>'
            built = new_text(note, margin=(16, 5, 16, 5))
        else:
            self.built.add(active)
        # The browser is told of other children, not of another child of a tab.
        self.tabs.tabs[active].child.children = [built]


def _empty() -> Any:
    return column(new_text(), sizing_mode="stretch_width", min_height=420)


def open_page(document: Document, sources: Sequence[Source], downloads: Downloads) -> None:
    """Make the page of one browser; all pages read from the same open files."""
    session = Session(document, list(sources), downloads)
    page = Page(session)
    document.title = sources[0].name
    document.template = PAGE
    document.add_root(page.layout)
    document.on_session_destroyed(lambda _: session.end())
    page.start()
