"""Load data of an NWB file, or of a file of PyMoDAQ, with all their axes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ndx_simulation_output.pymodaq.data import DataToExport, DataWithAxes
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel, Node
from ndx_simulation_output.pymodaq.loading import assemble, assemble_all, axis_as_data
from ndx_simulation_output.recording import ExportAxis, ExportGroup

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["DataLoader", "SavedTree", "Tree", "load_node", "path_of"]

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


class _ReadTree:
    """The groups of a file that is open for reading."""

    def __init__(self, path: Path) -> None:
        from ndx_simulation_output.adapters import pymodaq
        from ndx_simulation_output.nwb import reader

        self._path = path
        self.output = reader.read(path) if reader.is_nwb(path) else pymodaq.read(path)
        self._groups = {
            where: group for export in self.output.exports for where, group in export.walk()
        }
        self._groups["/"] = ExportGroup("", groups=self.output.exports)

    def group(self, path: str) -> ExportGroup:
        if path not in self._groups:
            msg = f"no group {path} in {self._path}; there are: {', '.join(self._groups)}"
            raise KeyError(msg)
        return self._groups[path]

    def nav_axes(self, path: str) -> tuple[ExportAxis, ...]:
        for around in _around(path):
            inner = {group.name.casefold(): group for group in self.group(around).groups}
            if _NAV_AXES in inner:
                return inner[_NAV_AXES].axes
        return ()


class DataLoader:
    """Loads data with their navigation axes, and all data of a group at once.

    It takes an object with an open file, or the path of an NWB file or of a file of PyMoDAQ, which
    it opens for reading alone.

    Example
    -------
    >>> with DataLoader("Data_20261120_17_28_52.h5") as loader:  # doctest: +SKIP
    ...     loader.load_all("/RawData/Detector000")

    """

    def __init__(self, h5saver: H5SaverLowLevel | str | Path) -> None:
        """Take a file.

        Raises
        ------
        SourceError
            If it cannot be read.

        """
        self._read: _ReadTree | None = None
        self._saver: H5SaverLowLevel | None = None
        self.tree: Tree
        if isinstance(h5saver, H5SaverLowLevel):
            self._saver = h5saver
            self.tree = SavedTree(h5saver)
        else:
            self._read = _ReadTree(Path(h5saver))
            self.tree = self._read

    def load_data(
        self,
        where: str | Node,
        with_bkg: bool = False,  # noqa: FBT001, FBT002 - the arguments of PyMoDAQ
        load_all: bool = False,  # noqa: FBT001, FBT002
    ) -> DataWithAxes:
        """Load an array, or all arrays that belong to it, with their axes and errors.

        ``with_bkg`` subtracts from each the background of its number.

        Raises
        ------
        KeyError
            If there is no such array.

        """
        return load_node(self.tree, where, with_bkg=with_bkg, load_all=load_all, with_nav=True)

    def load_all(
        self,
        where: str | Node,
        data: Any = None,
        with_bkg: bool = False,  # noqa: FBT001, FBT002
    ) -> DataToExport:
        """Load all data below a group: added to ``data`` where that is given, and given back.

        Data without an origin have the name of their group as one; none replace others.

        Raises
        ------
        KeyError
            If there is no such group.

        """
        path = path_of(where)
        made = assemble_all(
            self.tree.group(path), path, self.tree.nav_axes(path), with_bkg=with_bkg
        )
        if data is None:
            return made
        for some in made:
            data.append(some if isinstance(data, DataToExport) else some.to_pymodaq())
        return data  # type: ignore[no-any-return]

    def walk_nodes(self, where: str | Node = "/") -> Iterator[Node]:
        """Give a node and all below it, of a file that is open to be added to.

        Raises
        ------
        TypeError
            If the file is open for reading alone.

        """
        if self._saver is None:
            msg = "nodes are those of an H5SaverLowLevel; open the file with one"
            raise TypeError(msg)
        return self._saver.walk_nodes(where)

    def close_file(self) -> None:
        """Close a file that was opened for reading."""
        if self._read is not None:
            self._read.output.close()

    def __enter__(self) -> "Self":
        """Give this loader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close a file that was opened for reading."""
        self.close_file()


def load_node(
    tree: Tree,
    where: str | Node,
    *,
    with_bkg: bool = False,
    load_all: bool = False,
    with_nav: bool = False,
) -> DataWithAxes:
    """Load an array of a tree, or the values of an axis as data.

    Raises
    ------
    KeyError
        If there is no such array.

    """
    path = path_of(where)
    above, _, name = path.rpartition("/")
    group = tree.group(above or "/")
    if any(array.name == name for array in group.arrays):
        nav = tree.nav_axes(above) if with_nav else ()
        return assemble(group, name, path, nav, load_all=load_all, with_bkg=with_bkg)
    for axis in group.axes:
        if axis.name == name:
            return axis_as_data(axis, path)
    names = [array.name for array in group.arrays] + [axis.name for axis in group.axes]
    msg = f"no array {path}; {above or '/'} has: {', '.join(names) or 'nothing'}"
    raise KeyError(msg)


def path_of(where: str | Node) -> str:
    """Give the path of a node or path, without a slash at its end."""
    return f"/{(where.path if isinstance(where, Node) else where).strip('/')}"


def _around(path: str) -> Iterator[str]:
    """Give a path and those above it, without the root."""
    while path.strip("/"):
        yield path
        path = path.rpartition("/")[0]
