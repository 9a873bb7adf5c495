"""Load data of an NWB file, or of a file of PyMoDAQ, with all their axes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ndx_simulation_output.pymodaq.data import DataWithAxes
from ndx_simulation_output.pymodaq.files import H5SaverLowLevel
from ndx_simulation_output.pymodaq.loading import assemble, assemble_all, axis_as_data
from ndx_simulation_output.pymodaq.nodes import Node
from ndx_simulation_output.pymodaq.sets import DataToExport
from ndx_simulation_output.pymodaq.trees import ReadTree, SavedTree, Tree, path_of

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["DataLoader", "LoadsArrays"]


class LoadsArrays:
    """Loads arrays of the groups of a file, ``with_nav``: with navigation axes too."""

    def __init__(self, tree: Tree, *, with_nav: bool) -> None:
        self.tree, self._with_nav = tree, with_nav

    def load_data(
        self,
        where: str | Node,
        with_bkg: bool = False,  # noqa: FBT001, FBT002 - the arguments of PyMoDAQ
        load_all: bool = False,  # noqa: FBT001, FBT002
    ) -> DataWithAxes:
        """Load an array, or all arrays that belong to it, with their axes and errors.

        ``with_bkg`` subtracts from each the background of its number. The values of an axis are
        data too.

        Raises
        ------
        KeyError
            If there is no such array.
        ShapeMismatchError
            If a background is not of the shape of its data.

        """
        path = path_of(where)
        above, _, name = path.rpartition("/")
        group = self.tree.group(above or "/")
        if any(array.name == name for array in group.arrays):
            nav = self.tree.nav_axes(above) if self._with_nav else ()
            return assemble(group, name, path, nav, load_all=load_all, with_bkg=with_bkg)
        for axis in group.axes:
            if axis.name == name:
                return axis_as_data(axis, path)
        names = [array.name for array in group.arrays] + [axis.name for axis in group.axes]
        msg = f"no array {path}; {above or '/'} has: {', '.join(names) or 'nothing'}"
        raise KeyError(msg)


class DataLoader(LoadsArrays):
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
        self._read: ReadTree | None = None
        self._saver: H5SaverLowLevel | None = None
        tree: Tree
        if isinstance(h5saver, H5SaverLowLevel):
            self._saver, tree = h5saver, SavedTree(h5saver)
        else:
            tree = self._read = ReadTree(Path(h5saver))
        super().__init__(tree, with_nav=True)

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
        ShapeMismatchError
            If a background is not of the shape of its data.

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
            self._read.close()

    def __enter__(self) -> "Self":
        """Give this loader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close a file that was opened for reading."""
        self.close_file()
