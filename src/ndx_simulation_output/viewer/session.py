"""What the views of one page share: the file, a line for messages, callbacks that cannot fail."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, Protocol

from bokeh.document import Document
from bokeh.models import UIElement

from ndx_simulation_output.errors import SimulationOutputError
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.viewer.downloads import Downloads, Rows
from ndx_simulation_output.viewer.sources import Source
from ndx_simulation_output.viewer.theme import new_text

__all__ = ["Session", "View", "on_value"]

_REST_MS = 150
"""Zooming is over when nothing has changed for so long."""


class View(Protocol):
    """A tab of the page."""

    title: str

    def build(self, output: SimulationOutput) -> UIElement:
        """Make the widgets for a file.

        Raises
        ------
        NothingRecordedError
            If the file has nothing to show here.

        """

    def update(self, output: SimulationOutput) -> None:
        """Read anew what is shown."""


class Session:
    """One page in one browser: which of the ``sources`` it shows, and how it says what happens.

    ``message`` is the line for messages, ``waiting`` what is done when zooming has come to rest.
    """

    def __init__(self, document: Document, sources: list[Source], downloads: Downloads) -> None:
        self.document = document
        self.sources = sources
        self.source = sources[0]
        self.message = new_text()
        self._downloads = downloads
        self._offered: list[str] = []
        self.waiting: dict[object, Any] = {}

    @contextmanager
    def careful(self) -> Iterator[None]:
        """Show errors in the page instead of raising them."""
        self.say("")
        try:
            yield
        except (SimulationOutputError, OSError, KeyError) as error:
            text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
            self.say(text, is_error=True)
        except Exception as error:  # noqa: BLE001 - a page that is dead says nothing
            traceback.print_exc()
            self.say(f"{type(error).__name__}: {error}", is_error=True)

    def run(self, do: Callable[[SimulationOutput], object]) -> None:
        """Do something with the open file."""
        with self.careful(), self.source.opened() as output:
            do(output)

    def on_change(self, widget: Any, name: str, do: Callable[[SimulationOutput], object]) -> None:
        """Do something with the open file whenever a property of a widget changes."""
        on_value(widget, name, lambda _: self.run(do))

    def soon(self, do: Callable[[], object]) -> None:
        """Do something when it was not asked for again for a while."""
        if do in self.waiting:
            self.document.remove_timeout_callback(self.waiting.pop(do))

        def run() -> None:
            self.waiting.pop(do, None)
            do()

        self.waiting[do] = self.document.add_timeout_callback(run, _REST_MS)

    def say(self, text: str, *, is_error: bool = False) -> None:
        """Show a message, or none."""
        kind = "error" if is_error else "note"
        self.message.text = f'<span class="{kind}">{escape(text)}</span>' if text else ""

    def offer(self, name: str, rows: Callable[[], Rows]) -> str:
        """Offer a table to be saved as long as this page lives, and give its address."""
        self._offered.append(self._downloads.offer(name, rows))
        return self._offered[-1]

    def end(self) -> None:
        """Let go of all files."""
        for address in self._offered:
            self._downloads.withdraw(address)
        for source in self.sources:
            source.close()


def on_value(widget: Any, name: str, do: Callable[[Any], object]) -> None:
    """Do something with each new value of a property of a widget."""

    def changed(attr: str, old: Any, new: Any) -> None:
        del attr, old
        do(new)

    widget.on_change(name, changed)
