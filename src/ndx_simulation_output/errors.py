"""Errors and warnings of this package."""

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
