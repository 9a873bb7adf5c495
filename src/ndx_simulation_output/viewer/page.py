"""Layout of the page: file selection, messages, and one tab per view."""

from collections.abc import Sequence

from bokeh.document import Document
from bokeh.layouts import row
from bokeh.models import Button, Select, TabPanel, Tabs

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.viewer.arrays import ArraysView
from ndx_simulation_output.viewer.compare import CompareView
from ndx_simulation_output.viewer.figures import new_text, note_html, small_text, stack
from ndx_simulation_output.viewer.networks import NetworkView
from ndx_simulation_output.viewer.neurons import NeuronView
from ndx_simulation_output.viewer.session import Downloads, Session, View, ViewedFile, on_value
from ndx_simulation_output.viewer.spikes import SpikesView
from ndx_simulation_output.viewer.traces import ChannelsView, HeatMapView, TracesView
from ndx_simulation_output.viewer.tree import TreeView

_VIEWS: tuple[type[View], ...] = (
    TreeView,
    TracesView,
    HeatMapView,
    SpikesView,
    NeuronView,
    ChannelsView,
    NetworkView,
    ArraysView,
    CompareView,
)

_TEMPLATE = """
{% block preamble %}
<link rel="icon" href="data:,">
<style>
  html, body { background: #fbfcfd; color: #1c2733;
    font-family: system-ui, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif; }
</style>
{% endblock %}
"""


def open_page(document: Document, files: Sequence[ViewedFile], downloads: Downloads) -> None:
    """Add the page to the document of a browser session; all sessions share the open files."""
    session = Session(document, files, downloads)
    page = Page(session)
    document.title = files[0].name
    document.template = _TEMPLATE
    document.add_root(page.layout)
    document.on_session_destroyed(lambda _: session.close())
    page.show()


class Page:
    """Page with tabs that are built when first opened, so that no hidden data are read."""

    def __init__(self, session: Session) -> None:
        self.session = session
        names = [(str(number), file.name) for number, file in enumerate(session.files)]
        self.file = Select(options=names, value="0", width=320)
        on_value(self.file, "value", lambda number: self._show_file(int(number)))
        again = Button(label="Read again", width=110)
        again.on_click(self.read_again)
        self.status = new_text(sizing_mode=None)
        self.views = [kind(session) for kind in _VIEWS]
        self._built: set[int] = set()
        self._outdated: set[int] = set()
        self.tabs = Tabs(
            tabs=[
                TabPanel(title=view.title, child=stack(new_text(), min_height=420))
                for view in self.views
            ],
            sizing_mode="stretch_width",
        )
        session.on_change(self.tabs, "active", self._fill)
        head = row(self.file, again, self.status)
        self.layout = stack(head, session.message, self.tabs, margin=(12, 20, 40, 20))

    def show(self) -> None:
        """Show the active tab."""
        self.session.run(self._fill)

    def read_again(self) -> None:
        """Reopen the files, update the active tab, and mark the others as outdated."""
        for file in self.session.files:
            file.close()
        self._outdated |= self._built
        self.show()

    def _show_file(self, number: int) -> None:
        self.session.file.close()
        self.session.file = self.session.files[number]
        self._built.clear()
        self._outdated.clear()
        for panel in self.tabs.tabs:
            panel.child.children = [new_text()]
        self.show()

    def _fill(self, output: SimulationOutput) -> None:
        """Build the active tab, or update it if it is outdated."""
        active = self.tabs.active
        is_written = self.session.file.is_being_written
        self.status.text = small_text(
            "is being written; press Read again to update" if is_written else ""
        )
        if active in self._built:
            if active in self._outdated:
                self.views[active].update(output)
                self._outdated.discard(active)
            return
        try:
            built = self.views[active].build(output)
        except NothingRecordedError as error:
            built = new_text(note_html(str(error)), margin=(16, 5, 16, 5))
        else:
            self._built.add(active)
        # Replace the children of the layout: Bokeh does not update a replaced child of a panel.
        self.tabs.tabs[active].child.children = [built]
