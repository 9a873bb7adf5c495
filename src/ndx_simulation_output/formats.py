"""Which format a source is in, told by what it holds; each is loaded when a file of it is met."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ndx_simulation_output.errors import SourceError, UnsupportedSourceError
from ndx_simulation_output.recording import SimulationOutput

__all__ = ["FORMATS", "Format", "Source", "read_as", "read_source"]

Source = str | Path | Iterable[str | Path]
"""A file, several files, or a directory."""

_SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True)
class Format:
    """A format whose runs are one file each.

    ``recognises`` tells whether a file is in it, ``read`` describes one and takes ``options``.
    """

    name: str
    recognises: Callable[[Path], bool]
    read: Callable[..., SimulationOutput]
    options: frozenset[str]


def _is_storage(path: Path) -> bool:
    from ndx_simulation_output.neuronvisio.storage import is_storage

    return is_storage(path)


def _read_storage(path: Path, **options: Any) -> SimulationOutput:
    from ndx_simulation_output.neuronvisio.storage import read as storage_read

    return storage_read(path, **options)


def _is_pymodaq(path: Path) -> bool:
    from ndx_simulation_output.pymodaq.reading import is_pymodaq

    return is_pymodaq(path)


def _read_pymodaq(path: Path, **_: Any) -> SimulationOutput:
    from ndx_simulation_output.pymodaq.reading import read as reading_read

    return reading_read(path)


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def _refuse_sqlite(path: Path, **_: Any) -> SimulationOutput:
    msg = (
        f"{path} is an SQLite file, as Neuronvisio 0.4 wrote them: its values are pickles, which "
        "can run any code when they are read, so it is not read"
    )
    raise UnsupportedSourceError(msg)


def _is_annarchy(path: Path) -> bool:
    from ndx_simulation_output.annarchy.reading import is_saved

    return is_saved(path)


def _read_annarchy(path: Path, **options: Any) -> SimulationOutput:
    from ndx_simulation_output.annarchy.reading import read as reading_read

    return reading_read(path, **options)


FORMATS: tuple[Format, ...] = (
    Format("ANNarchy", _is_annarchy, _read_annarchy, frozenset({"dt"})),
    Format("Neuronvisio", _is_storage, _read_storage, frozenset({"unit", "time_unit"})),
    Format("PyMoDAQ", _is_pymodaq, _read_pymodaq, frozenset()),
    Format("SQLite", _is_sqlite, _refuse_sqlite, frozenset()),
)
"""Formats other than SONATA's, which is what all other sources are read as."""


def read_source(
    source: Source, **options: Mapping[str, str] | str | float | None
) -> SimulationOutput:
    """Describe what a run recorded, in whatever format; ``options`` are those of ``convert``.

    Raises
    ------
    SourceError
        If the source cannot be read, or its format has no such option.

    """
    paths = [source] if isinstance(source, (str, Path)) else list(source)
    given = {name: value for name, value in options.items() if value not in (None, {})}
    if len(paths) == 1 and (path := Path(paths[0])).is_file():
        for known in FORMATS:
            if known.recognises(path):
                if others := sorted(set(given) - known.options):
                    msg = f"{path} is a file of {known.name}, which has no option {others[0]}"
                    raise SourceError(msg)
                return known.read(path, **given)
    from ndx_simulation_output import sonata

    return sonata.read(source if isinstance(source, (str, Path)) else paths, **options)  # type: ignore[arg-type]


def read_as(name: str, path: Path, **options: Mapping[str, str] | float | None) -> SimulationOutput:
    """Describe what a file of the format ``name`` holds, which takes such ``options``.

    Raises
    ------
    SourceError
        If the file is of another format, or cannot be read.

    """
    known = next(known for known in FORMATS if known.name == name)
    if not known.recognises(path):
        msg = f"{path} is not a file of {name}"
        raise SourceError(msg)
    return known.read(path, **{key: value for key, value in options.items() if value is not None})
