"""A file that is looked at: open while it rests, opened for each look while it is written."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ndx_simulation_output.engine.journal import is_being_written, left_behind
from ndx_simulation_output.errors import SimulationOutputWarning
from ndx_simulation_output.opening import open_output
from ndx_simulation_output.recording import SimulationOutput

__all__ = ["Source"]

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
            for partial in left_behind(self.path):
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
