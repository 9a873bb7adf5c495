"""The page: which file, what happened, and a tab for each view."""

from collections.abc import Sequence
from typing import Any

from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import Button, Div, Select, TabPanel, Tabs

from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.viewer.downloads import Downloads
from ndx_simulation_output.viewer.session import Session, View
from ndx_simulation_output.viewer.sources import Source
from ndx_simulation_output.viewer.theme import PAGE, SHEET
from ndx_simulation_output.viewer.traces import TracesView

__all__ = ["Page", "open_page"]

_VIEWS = (TracesView,)


class Page:
    """Tabs that are filled when they are first looked at: nothing is read that nobody sees."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.session.message.stylesheets = [SHEET]
        names = [(str(number), one.name) for number, one in enumerate(session.sources)]
        self.file = Select(options=names, value="0", width=320)
        self.file.on_change("value", lambda attr, old, new: self._show_file(int(new)))
        self.again = Button(label="Read again", width=110)
        self.again.on_click(self._read_again)
        self.facts = Div(text="", stylesheets=[SHEET], sizing_mode="stretch_width")
        self.views: list[View] = [kind(session) for kind in _VIEWS]
        self.built: set[int] = set()
        panels = [TabPanel(title=view.title, child=self._empty()) for view in self.views]
        self.tabs = Tabs(tabs=panels, sizing_mode="stretch_width")
        session.on_change(self.tabs, "active", self._fill)
        head = row(self.file, self.again, self.facts, sizing_mode="stretch_width")
        self.layout = column(head, session.message, self.tabs, sizing_mode="stretch_width")

    def start(self) -> None:
        """Show the first tab."""
        self.session.run(self._fill)

    def _empty(self) -> Any:
        return column(Div(text=""), sizing_mode="stretch_width", min_height=420)

    def _show_file(self, number: int) -> None:
        self.session.source.close()
        self.session.source = self.session.sources[number]
        self.built.clear()
        for panel in self.tabs.tabs:
            panel.child.children = [Div(text="")]
        self.start()

    def _read_again(self) -> None:
        self.session.source.close()
        shown = self.tabs.active
        self.stale = self.built - {shown}

        def again(output: SimulationOutput) -> None:
            if shown in self.built:
                self.views[shown].update(output)
            else:
                self._fill(output)

        self.built -= self.stale
        self.session.run(again)

    def _fill(self, output: SimulationOutput) -> None:
        """Fill the tab that is shown, if it is empty."""
        active = self.tabs.active
        growing = ", is being written: read it again to see more" if self.session.source.is_growing else ""
        self.facts.text = f'<span class="small">{growing}</span>' if growing else ""
        if active not in self.built:
            self.tabs.tabs[active].child.children = [self.views[active].build(output)]
            self.built.add(active)


def open_page(document: Document, sources: Sequence[Source], downloads: Downloads) -> None:
    """Make the page of one browser, with files of its own."""
    own = [Source(source.path, source.options) for source in sources]
    session = Session(document, own, downloads)
    page = Page(session)
    document.title = own[0].name
    document.template = PAGE
    document.add_root(page.layout)
    document.on_session_destroyed(lambda _: session.end())
    page.start()
