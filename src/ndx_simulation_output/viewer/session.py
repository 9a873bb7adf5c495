"""Files that are viewed, and what the views of one page share."""

import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from html import escape
from pathlib import Path
from typing import Any, Protocol

from bokeh.document import Document
from bokeh.models import UIElement

from ndx_simulation_output.api import open_output
from ndx_simulation_output.errors import SimulationOutputError, SimulationOutputWarning
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.storage.journal import is_being_written, unfinished_files
from ndx_simulation_output.viewer.downloads import Downloads, Rows
from ndx_simulation_output.viewer.theme import new_text

# A file that is looked at: open while it rests, opened for each look while it is written.

_Stamp = tuple[tuple[int, int, int], ...]


class Source:
    """What ``open_output`` opens, again whenever it has changed.

    A file that a stream writes is held open only while something is read, because it is not
    changed as long as anybody holds it. ``warnings`` are those of the last opening.
    """

    def __init__(self, path: str | Path, options: Mapping[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.options = {name: value for name, value in (options or {}).items() if value}
        self.warnings: tuple[str, ...] = ()
        self._output: SimulationOutput | None = None
        self._stamp: _Stamp = ()

    @property
    def name(self) -> str:
        """Name of the file, without its directory."""
        return self.path.name or str(self.path)

    def current(self) -> Path:
        """Give the file, or the one in which a stream writes it until it ends."""
        if not self.path.exists():
            for partial in unfinished_files(self.path):
                if is_being_written(partial):
                    return partial
        return self.path

    @property
    def is_growing(self) -> bool:
        """Whether a stream writes the file just now."""
        return is_being_written(self.current())

    @property
    def is_open(self) -> bool:
        """Whether the file is held open."""
        return self._output is not None

    @contextmanager
    def opened(self) -> Iterator[SimulationOutput]:
        """Give what the file holds now, to be read from within the block.

        Raises
        ------
        SourceError
            If it cannot be read.

        """
        path = self.current()
        if is_being_written(path):
            self.close()
            with self.open_apart() as output:
                yield output
            return
        stamp = _stamp_of(path)
        if self._output is None or stamp != self._stamp:
            self.close()
            self._output, self._stamp = self.open_apart(), stamp
        yield self._output

    def open_apart(self) -> SimulationOutput:
        """Open the file for a reader of its own, who closes it.

        Raises
        ------
        SourceError
            If it cannot be read.

        """
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", SimulationOutputWarning)
            output = open_output(self.current(), **self.options)
        self.warnings = tuple(dict.fromkeys(str(one.message) for one in found))
        return output

    def files(self) -> list[Path]:
        """Give the file, or those of a directory, at most 100."""
        path = self.current()
        if not path.is_dir():
            return [path]
        return sorted(one for one in path.iterdir() if one.is_file())[:100]

    def close(self) -> None:
        """Let go of the file."""
        if self._output is not None:
            self._output.close()
            self._output = None


def _stamp_of(path: Path) -> _Stamp:
    found = []
    paths = sorted(path.iterdir()) if path.is_dir() else [path]
    for one in paths:
        with suppress(OSError):
            facts = one.stat()
            found.append((facts.st_ino, facts.st_mtime_ns, facts.st_size))
    return tuple(found)


# What the views of one page share: the file, a line for messages, callbacks that cannot fail.

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
