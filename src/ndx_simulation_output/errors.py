"""Every error and warning that this package raises on purpose."""

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
]


class SimulationOutputError(Exception):
    """Base of every error of this package."""


class SourceError(SimulationOutputError):
    """A source file cannot be opened, is truncated, or contradicts its format."""


class UnsupportedSourceError(SourceError):
    """A source holds something that is not recorded activity, or not in a way we can read."""


class NothingRecordedError(SourceError):
    """A source is in order but holds no recorded activity."""


class ConfigurationError(SourceError):
    """A simulation configuration cannot be read."""


class ShapeMismatchError(SimulationOutputError, ValueError):
    """Two things that must have the same length or shape do not."""


class LayoutError(SimulationOutputError, ValueError):
    """Data cannot be laid out in a file as the caller asked."""


class QuantizeError(SimulationOutputError, ValueError):
    """Values do not fit into the steps that the caller asked for."""


class CellNotFoundError(SimulationOutputError, LookupError):
    """A cell id is not in the table of recorded compartments."""


class CompartmentNotFoundError(SimulationOutputError, LookupError):
    """A compartment number or label is not among those of the chosen cells."""


class SelectionError(SimulationOutputError, ValueError):
    """What is to be chosen or shown is not understood, or cannot be shown."""


class UnitError(SimulationOutputError, ValueError):
    """A unit that the caller gave is not understood."""


class MetadataError(SimulationOutputError, ValueError):
    """Session metadata given by the caller do not fit NWB."""


class NameClashError(SimulationOutputError, ValueError):
    """Two recordings would get the same name in one file."""


class TargetExistsError(SimulationOutputError, FileExistsError):
    """The file to be written exists already."""


class WriteError(SimulationOutputError, OSError):
    """A file cannot be written; nothing is left under its name."""


class ExportError(SimulationOutputError):
    """A recording cannot be expressed in the format asked for."""


class RecordingError(SimulationOutputError):
    """A running simulation cannot be recorded as asked, or would give wrong values."""


class RestoreError(SimulationOutputError, ValueError):
    """A saved state does not fit the network into which it is to be loaded."""


class RankError(SimulationOutputError):
    """Another process of an MPI job failed, and so does this one."""


class MissingDependencyError(SimulationOutputError, ImportError):
    """An optional library is needed and not installed."""


class SimulationOutputWarning(UserWarning):
    """Base of every warning of this package."""


class UnitWarning(SimulationOutputWarning):
    """A unit is missing or doubtful; the message names the option that sets it."""
