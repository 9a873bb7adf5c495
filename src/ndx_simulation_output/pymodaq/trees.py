"""The groups of a file by their paths, whether it is open to be added to or for reading."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ndx_simulation_output.engine.journal import undisturbed
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.nodes import Node
from ndx_simulation_output.recording import ExportAxis, ExportGroup

__all__ = ["ReadTree", "SavedTree", "Tree", "path_of"]

_NAV_AXES = "navaxes"


class Tree(Protocol):
    """Groups by their paths, such as ``/RawData/Detector000``."""

    def group(self, path: str) -> ExportGroup:
        """Give a group and what is below it; KeyError if there is none."""

    def nav_axes(self, path: str) -> tuple[ExportAxis, ...]:
        """Give the navigation axes of a group: those of the next ``NavAxes`` around it."""


class SavedTree:
    """The groups of a file that is open to be added to."""

    def __init__(self, saver: H5SaverLowLevel) -> None:
        """Take an object with an open file."""
        self._saver = saver

    def group(self, path: str) -> ExportGroup:
        """Give a group and what is below it.

        Raises
        ------
        KeyError
            If there is none.

        """
        from ndx_simulation_output.nwb.exports_reading import group_from

        if not self._saver.get_node(path).is_group:
            msg = f"{path} of {self._saver.file_path} is not a group"
            raise KeyError(msg)
        return group_from(self._saver.h5(path))

    def nav_axes(self, path: str) -> tuple[ExportAxis, ...]:
        """Give the navigation axes of a group."""
        for around in _around(path):
            for name in self._saver.h5(around):
                if name.casefold() == _NAV_AXES:
                    return self.group(f"{around}/{name}").axes
        return ()


class ReadTree:
    """The groups of a file that is open for reading."""

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises
        ------
        SourceError
            If it cannot be read.

        """
        from ndx_simulation_output.adapters import pymodaq
        from ndx_simulation_output.nwb import reader

        self._path = path
        with undisturbed(path):
            self._output = reader.read(path) if reader.is_nwb(path) else pymodaq.read(path)
        exports = self._output.exports
        self._groups = {where: group for export in exports for where, group in export.walk()}
        self._groups["/"] = ExportGroup("", groups=exports)

    def close(self) -> None:
        """Close the file."""
        self._output.close()

    def group(self, path: str) -> ExportGroup:
        """Give a group and what is below it.

        Raises
        ------
        KeyError
            If there is none.

        """
        if path not in self._groups:
            msg = f"no group {path} in {self._path}; there are: {', '.join(self._groups)}"
            raise KeyError(msg)
        return self._groups[path]

    def nav_axes(self, path: str) -> tuple[ExportAxis, ...]:
        """Give the navigation axes of a group."""
        for around in _around(path):
            inner = {group.name.casefold(): group for group in self.group(around).groups}
            if _NAV_AXES in inner:
                return inner[_NAV_AXES].axes
        return ()


def path_of(where: str | Node) -> str:
    """Give the path of a node or path, without a slash at its end."""
    return f"/{(where.path if isinstance(where, Node) else where).strip('/')}"


def _around(path: str) -> Iterator[str]:
    """Give a path and those above it, without the root."""
    while path.strip("/"):
        yield path
        path = path.rpartition("/")[0]
