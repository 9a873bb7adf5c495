"""Open the sources of commands, and print progress, notes and warnings."""

import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from ndx_simulation_output.errors import callers_errors, file_errors

if TYPE_CHECKING:
    from ndx_simulation_output.recording import SimulationOutput

_SECONDS = 1.0
"""Time after which a progress bar is drawn, and drawn again."""
_LINE_BREAKS = re.compile(r"\s*[\r\n]\s*")
_OF_PYTHON = (
    (r"\b\w+=\S* \((--[^()]+)\)", r"\1"),  # overwrite=True (--overwrite)
    (r"(--[\w-]+ \S*) \(\w+=[^()]*\)", r"\1"),  # --unit v=UNIT (unit={'v': UNIT})
    (r"\b\w+(?= cannot be set for )|(?<=, which has no option )\w+", r"--\g<0>"),
    (r"\b\w+ and (?=--\w+ cannot be set for )", r"--\g<0>"),
)
"""How messages of the library name an argument, and how the command line does."""


def print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line, in the form of ``warnings.showwarning``."""
    del category, filename, lineno, file, line
    print_line(f"warning: {message}", err=True)


def print_line(text: str, *, err: bool = False) -> None:
    """Print text as one line, to standard error with ``err``; arguments get names of options.

    Control characters, and bytes of file names that are not text, are escaped. Errors of YAML, and
    warnings of other libraries, have several lines.
    """
    text = _LINE_BREAKS.sub(" ", text.rstrip())
    for pattern, option in _OF_PYTHON if err else ():
        text = re.sub(pattern, option, text)
    if not text.isprintable():
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    # A reader of a pipe that has ended, such as head, is no fault of a source.
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None) if sys.stderr.isatty() else None
    with callers_errors(), nullcontext() if tqdm is None else tqdm.external_write_mode():
        click.echo(text, err=err)


@contextmanager
def open_sources(sources: Sequence[str | Path], **options: Any) -> "Iterator[SimulationOutput]":
    """Open sources with the options of a command; errors of what the command does name them."""
    from ndx_simulation_output.api import open_output

    with (
        file_errors(*sources),
        open_output(sources[0] if len(sources) == 1 else sources, **options) as output,
    ):
        yield output


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], object]]:
    """Show a progress bar on a terminal for work that takes more than a second.

    It is drawn again every second, and has only the time until the first bytes are done.
    """
    from tqdm import tqdm

    ended = threading.Event()
    with tqdm(
        desc=label,
        unit="B",
        unit_scale=True,
        bar_format="{desc}: {elapsed}",
        disable=None,
        delay=_SECONDS,
        leave=False,
    ) as bar:

        def refresh() -> None:
            while not ended.wait(_SECONDS):
                bar.refresh()

        def update(n_bytes: int, total: int) -> None:
            bar.total, bar.bar_format = total, None
            bar.update(n_bytes)

        drawing = threading.Thread(target=refresh, daemon=True)
        if not bar.disable:
            drawing.start()
        try:
            yield update
        finally:
            ended.set()
            if not bar.disable:
                drawing.join()


def print_notes(notes: Iterable[str]) -> None:
    """Print notes, one line each."""
    for note in notes:
        print_line(f"note: {note}", err=True)
