"""Viewed files, and state shared by the panels of one page."""

import os
import secrets
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bokeh.document import Document

from ndx_simulation_output.api import open_output
from ndx_simulation_output.errors import (
    SimulationOutputError,
    SimulationOutputWarning,
    source_errors,
)
from ndx_simulation_output.recording import SimulationOutput, Spikes
from ndx_simulation_output.recording.spikes import SpikeBlock
from ndx_simulation_output.storage.journal import find_writer, unfinished_files
from ndx_simulation_output.viewer.figures import new_text, note_html
from ndx_simulation_output.viewer.state import PageState
from ndx_simulation_output.viewer.time_axis import Player, TimeAxis

Rows = Iterator[Sequence[object]]
"""Rows of a table; the first row has the names of the columns."""

_MAX_PATHS = 100
_ERROR = '<span class="error">'
_MOST_KEPT = 2**21
"""Spikes of a window that are kept for the next panel."""
_DELAY_MS = 150
"""Zooming has ended if the ranges of a figure have not changed for this long."""

_Stamp = tuple[tuple[int, int, int], ...]


class ViewedFile:
    """A file or directory for ``open_output`` that is reopened after it has changed.

    A file that is being written is open only while it is read, because the writer does not modify
    a file that a reader has open. ``warnings`` are those issued when it was last opened, ``error``
    is why it could not be opened, if so.
    """

    def __init__(self, path: str | Path, options: Mapping[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.options = {name: value for name, value in (options or {}).items() if value}
        self.warnings: tuple[str, ...] = ()
        self.error = ""
        self._output: SimulationOutput | None = None
        self._stamp: _Stamp = ()

    @property
    def name(self) -> str:
        """Name of the file, without its directory; bytes that are not text are replaced."""
        return os.fsencode(self.path.name or self.path).decode(errors="replace")

    @property
    def current_path(self) -> Path:
        """Path of the file, or of its temporary file while it is being written."""
        if not self.path.exists():
            for partial in unfinished_files(self.path):
                if find_writer(partial):
                    return partial
        return self.path

    @property
    def is_being_written(self) -> bool:
        """True if a stream is writing the file."""
        return find_writer(self.current_path) is not None

    @property
    def stamp(self) -> object:
        """A value that changes when the file does."""
        return _stamp_of(self.current_path)

    @property
    def opened_stamp(self) -> object:
        """The stamp of the file when it was last opened, unless it was being written."""
        return self._stamp

    @property
    def is_open(self) -> bool:
        """True if the file is open."""
        return self._output is not None

    @contextmanager
    def open(self) -> Iterator[SimulationOutput]:
        """Context manager for reading, which reuses the open output if the file is unchanged."""
        path = self.current_path
        if find_writer(path):
            self.close()
            with self.open_separately() as output:
                yield output
            return
        stamp = _stamp_of(path)
        if self._output is None or stamp != self._stamp:
            self.close()
            self._output, self._stamp = self.open_separately(), stamp
        yield self._output

    def open_separately(self) -> SimulationOutput:
        """Open the file and return a new output, which the caller must close."""
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", SimulationOutputWarning)
            try:
                output = open_output(self.current_path, **self.options)
            except Exception as error:
                self.error = str(error)
                raise
        self.error = ""
        self.warnings = tuple(dict.fromkeys(str(one.message) for one in found))
        return output

    def paths(self) -> list[Path]:
        """Return the path of the file, or of at most 100 files in the directory."""
        path = self.current_path
        if not path.is_dir():
            return [path]
        return sorted(one for one in path.iterdir() if one.is_file())[:_MAX_PATHS]

    def close(self) -> None:
        """Close the file if it is open."""
        if self._output is not None:
            self._output.close()
            self._output = None


def _stamp_of(path: Path) -> _Stamp:
    stamp = []
    for one in sorted(path.iterdir()) if path.is_dir() else [path]:
        with suppress(OSError):
            stat = one.stat()
            stamp.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(stamp)


class Downloads:
    """Tables available for download as CSV files, identified by random keys."""

    def __init__(self) -> None:
        self._tables: dict[str, tuple[str, Callable[[], Rows]]] = {}

    def add(self, name: str, rows: Callable[[], Rows]) -> str:
        """Add a file and return its relative URL; ``rows`` is called at each download."""
        key = secrets.token_urlsafe(12)
        self._tables[key] = (name, rows)
        return f"download/{key}"

    def remove(self, url: str) -> None:
        """Remove the table with this URL."""
        self._tables.pop(url.removeprefix("download/"), None)

    def find(self, key: str) -> tuple[str, Callable[[], Rows]] | None:
        """Return the file name and ``rows`` of a key, or None if the key is unknown."""
        return self._tables.get(key)


class Session:
    """A page in a browser: its ``files``, the ``file`` that it shows, and its ``message`` line.

    ``other`` is the file compared with it, or None; ``shows_difference`` asks for first minus
    second. If ``is_saved``, the page goes to a file, in which no Python runs. ``time`` is the time
    axis of all panels, ``cells`` the choice of cells and ``group_by`` the property that colours
    them (texts, empty for none), ``picked`` the population and ids of the cells that are selected
    everywhere. The page sets ``listeners``, which ``pick``, ``cursor_moved`` and ``show_address``
    call. ``waiting`` maps functions to their pending callbacks, see ``run_later``.
    """

    def __init__(
        self,
        document: Document,
        files: Sequence[ViewedFile],
        downloads: Downloads,
        state: PageState | None = None,
        *,
        is_saved: bool = False,
    ) -> None:
        state = state or PageState()
        self.is_saved = is_saved
        self.document = document
        self.files = files
        numbered = dict(enumerate(files))  # The address may be that of other files.
        self.file = numbered.get(state.file, files[0])
        other = None if state.other is None else numbered.get(state.other)
        self.other = None if other is self.file else other
        self.shows_difference = state.difference
        self.time = TimeAxis()
        self.player = Player(document, self.time, self.cursor_moved)
        self.cells, self.group_by, self.picked = state.cells, state.group_by, state.picked
        self.compartment = state.compartment
        self.listeners: dict[str, Callable[[], object]] = {}
        self.message = new_text()
        self._failed = ""
        self.waiting: dict[object, Any] = {}
        self._downloads = downloads
        self._urls: list[str] = []
        self._window: Any = None
        self._kept: list[tuple[Spikes, list[SpikeBlock]]] = []

    @contextmanager
    def open_other(self) -> Iterator[SimulationOutput | None]:
        """Context manager for the file that is compared with the one shown, None without one."""
        if self.other is None:
            yield None
            return
        with self.other.open() as output:
            yield output

    def spikes_in_window(self, spikes: Spikes) -> Iterator[SpikeBlock]:
        """Yield the spikes in the window in any order; panels share what was read, if it is few."""
        window = self.time.start, self.time.stop
        if window != self._window:
            self._window, self._kept = window, []
        known = next((found for one, found in self._kept if one is spikes), None)
        if known is not None:
            yield from known
            return
        left = _MOST_KEPT - sum(len(one.times) for _, kept in self._kept for one in kept)
        found: list[SpikeBlock] = []
        for block in spikes.parts(start=window[0], stop=window[1]):
            left -= len(block.times)
            found = [*found, block] if left >= 0 else []
            yield block
        if left >= 0 and window == self._window:
            self._kept.append((spikes, found))

    def pick(
        self,
        population: str,
        ids: Sequence[int],
        *,
        at: float | None = None,
        compartment: tuple[int, float] | None = None,
    ) -> None:
        """Select cells in all panels, and move the cursor to a time (s) if one is given.

        ``compartment`` is the section number and the position of that one which was clicked.
        """
        self.picked = population, tuple(int(one) for one in ids)
        self.compartment = compartment
        if at is not None:
            self.time.at = at
        self._tell("picked")

    def cursor_moved(self) -> None:
        """Update the panels after the cursor has moved."""
        self._tell("cursor")

    def show_address(self) -> None:
        """Show the state of the page in its address."""
        self._tell("address")

    def _tell(self, what: str) -> None:
        if what in self.listeners:
            self.listeners[what]()

    @contextmanager
    def show_errors(self, place: Any = None, what: str = "") -> Iterator[None]:
        """Context manager that displays errors in the page, or in a text of it, not raising them.

        The error stays until the same thing, named ``what``, is done without one.
        """
        place = place or self.message
        try:
            yield
            is_same = place is not self.message or what == self._failed
            if is_same and place.text.startswith(_ERROR):
                self.show_message("", place=place)
        except (SimulationOutputError, OSError, KeyError) as error:
            if not isinstance(error.__cause__, (SimulationOutputError, OSError, type(None))):
                traceback.print_exc()  # The page shows one line of what a library raised.
            text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
            self.show_message(text, kind="error", place=place)
            self._failed = what
        except Exception as error:  # noqa: BLE001 - otherwise the page stops responding
            traceback.print_exc()
            self.show_message(f"{type(error).__name__}: {error}", kind="error", place=place)
            self._failed = what

    def show_message(self, text: str, *, kind: str = "note", place: Any = None) -> None:
        """Show a message in a text of the page, or clear it if the message is empty."""
        (place or self.message).text = note_html(text, kind)

    def run(self, do: Callable[[SimulationOutput], object]) -> None:
        """Call a function with the open file."""
        failing = f"{self.file.name} cannot be shown"
        frozen = self.document.models.freeze()  # Bokeh looks for new models once, at the end.
        errors = self.show_errors(None, do.__qualname__)
        with frozen, errors, source_errors(failing), self.file.open() as output:
            do(output)

    def run_later(self, do: Callable[[], object], delay: int = _DELAY_MS) -> None:
        """Call a function after a delay (ms), which further calls with this function restart."""
        if do in self.waiting:
            self.document.remove_timeout_callback(self.waiting.pop(do))

        def run() -> None:
            self.waiting.pop(do, None)
            do()

        self.waiting[do] = self.document.add_timeout_callback(run, delay)

    def offer_csv(self, name: str, rows: Callable[[], Rows]) -> str:
        """Add a CSV download, available until the page is closed, and return its URL."""
        self._urls.append(self._downloads.add(name, rows))
        return self._urls[-1]

    def close(self) -> None:
        """Close the files, and remove the downloads of the page."""
        for url in self._urls:
            self._downloads.remove(url)
        for file in self.files:
            file.close()


def on_value(widget: Any, name: str, do: Callable[[Any], object]) -> None:
    """Call a function with each new value of a property of a widget."""

    def changed(attr: str, old: Any, new: Any) -> None:
        del attr, old
        do(new)

    widget.on_change(name, changed)
