"""Errors and warnings of this package, and the conversion of those of libraries."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath

__all__ = [
    "CellNotFoundError",
    "CompartmentNotFoundError",
    "ConfigurationError",
    "ExportError",
    "LayoutError",
    "MetadataError",
    "MissingDependencyError",
    "NameClashError",
    "NothingRecordedError",
    "QuantizeError",
    "RankError",
    "RecordingError",
    "RestoreError",
    "SelectionError",
    "ShapeMismatchError",
    "SimulationOutputError",
    "SimulationOutputWarning",
    "SourceError",
    "TargetExistsError",
    "UnitError",
    "UnitWarning",
    "UnsupportedSourceError",
    "WriteError",
    "WrongTypeError",
]


class SimulationOutputError(Exception):
    """Base class of the errors of this package."""


class SourceError(SimulationOutputError):
    """A source file cannot be opened, is truncated, or contradicts its format."""


class UnsupportedSourceError(SourceError):
    """A source contains data other than recorded activity, or in a form that cannot be read."""


class NothingRecordedError(SourceError):
    """A source is valid but contains no recorded activity."""


class ConfigurationError(SourceError):
    """A simulation configuration cannot be read."""


class ShapeMismatchError(SimulationOutputError, ValueError):
    """Lengths or shapes that must be equal differ, or a value of a recording is not possible."""


class WrongTypeError(ShapeMismatchError, TypeError):
    """An id, a time, a name or another value of a recording has a type that cannot be stored."""


class LayoutError(SimulationOutputError, ValueError):
    """Data cannot be stored in the requested layout."""


class QuantizeError(SimulationOutputError, ValueError):
    """Values cannot be quantized with the requested step."""


class CellNotFoundError(SimulationOutputError, LookupError):
    """A cell id is not in the table of recorded compartments."""


class CompartmentNotFoundError(SimulationOutputError, LookupError):
    """A compartment number or label does not belong to the selected cells."""


class SelectionError(SimulationOutputError, ValueError):
    """A selection is not valid, or what it selects cannot be shown."""


class UnitError(SimulationOutputError, ValueError):
    """A unit cannot be parsed or converted, or is set for a name that does not occur."""


class MetadataError(SimulationOutputError, ValueError):
    """Metadata of session or subject do not fit NWB."""


class NameClashError(SimulationOutputError, ValueError):
    """Two recordings would get the same name in one file."""


class TargetExistsError(SimulationOutputError, FileExistsError):
    """The file to write exists already."""


class WriteError(SimulationOutputError, OSError):
    """A file cannot be written. No partial file is left under its name."""


class ExportError(SimulationOutputError):
    """A recording cannot be expressed in the requested format."""


class RecordingError(SimulationOutputError):
    """A simulation or measurement cannot be recorded as requested, or would give wrong values."""


class RestoreError(SimulationOutputError, ValueError):
    """A saved state does not fit the network that should load it."""


class RankError(SimulationOutputError):
    """Another rank of an MPI job failed, or has other arguments, so all ranks stop."""


class MissingDependencyError(SimulationOutputError, ImportError):
    """A library that is needed is not installed."""


class SimulationOutputWarning(UserWarning):
    """Base class of the warnings of this package."""


class UnitWarning(SimulationOutputWarning):
    """A unit is missing or doubtful. The message names the option that sets it."""


# What h5py, hdmf, pynwb, zarr, numpy, pandas and SciPy raise for damaged and hostile files.

DAMAGE = (OSError, RuntimeError, EOFError, MemoryError, BufferError, UnicodeError)
"""Exceptions that damaged data raise and a wrong index does not."""

_OF_FILES = (SourceError, ShapeMismatchError, RecordingError, ExportError)
_MOST_CHARACTERS = 400
_LONGEST_PATH = 4096
"""No file has a longer path; a URL may have a whole file in it (``data:``)."""

# Path shortens // to /.
_URL = re.compile(r"([A-Za-z][\w+.-]+::)*[A-Za-z][\w+.-]+:/")
_USER = re.compile(r"(:/{1,2})[^/?#]*@")
_QUERY = re.compile(r"([?#]).+?(?=::[A-Za-z][\w+.-]+:/|$)", re.DOTALL)


@contextmanager
def source_errors(
    failing: str | Callable[[], str],
    kind: type[SimulationOutputError] = SourceError,
    caught: tuple[type[Exception], ...] = (Exception,),
) -> Iterator[None]:
    """Convert what libraries raise while they read a source to an error of ``kind``.

    ``failing`` begins its message, such as ``v.h5 cannot be read``; it may be a function, which is
    called only for an error. Errors of this package, warnings, missing libraries and names are not
    converted, and neither are those of functions of the caller in ``callers_errors``.
    """
    try:
        yield
    except (SimulationOutputError, Warning, ImportError, NameError):
        raise
    except caught as error:
        if getattr(error, "is_of_caller", False):
            raise
        if isinstance(own := error.__cause__, SimulationOutputError):
            raise own from own.__cause__  # A library has wrapped it.
        begin = failing if isinstance(failing, str) else failing()
        msg = f"{begin}: {reason_of(error)}"
        raise kind(msg) from error


@contextmanager
def file_errors(*paths: object) -> Iterator[None]:
    """Convert errors as ``source_errors`` does, and let all name the files ``paths``."""
    files = ", ".join(map(name_of, paths))
    try:
        with source_errors(f"{files} cannot be read"):
            yield
    except _OF_FILES as error:
        is_named = any(PurePath(name_of(path)).name in str(error) for path in paths)
        if is_named and not isinstance(error, RecordingError):
            raise
        msg = str(error) if is_named else f"{files}: {error}"
        kind = SourceError if isinstance(error, RecordingError) else type(error)
        raise kind(msg) from (error.__cause__ or error)


def is_like_url(path: object) -> bool:
    """Return True if the text of ``path`` begins as a URL, also one that is a ``Path``."""
    return _URL.match(str(path)) is not None


def name_of(path: object) -> str:
    """Return a path as text; of a URL without user, password and query, which may hold a signature.

    Example
    -------
    >>> name_of("zip://run.nwb::https://me:secret@host/a.zip?signature=secret")
    'zip://run.nwb::https://host/a.zip?…'

    """
    text = str(path)
    if is_like_url(path):
        text = _QUERY.sub(r"\1…", _USER.sub(r"\1", text))
    return text if len(text) <= _LONGEST_PATH else f"{text[:_MOST_CHARACTERS]}…"


def reason_of(error: Exception) -> str:
    """Return the message of an error and of its first cause in one line.

    The type of the error is added if that says more.
    """
    text = _shortened(error)
    first = error
    while isinstance(first.__cause__, Exception):
        first = first.__cause__
    if first is not error:
        text = f"{text}: {_shortened(first)}"
    if isinstance(error, MemoryError):
        return f"there is not enough memory {f'({text})' if text else ''}".rstrip()
    is_plain = isinstance(error, (OSError, ValueError, RuntimeError)) and text
    return text if is_plain else f"{type(error).__name__}: {text}"


def _shortened(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


@contextmanager
def callers_errors() -> Iterator[None]:
    """Mark errors of a function of the caller, which are not those of a source."""
    try:
        yield
    except Exception as error:
        error.is_of_caller = True  # type: ignore[attr-defined]
        raise
