"""The circuit of a simulation: its populations of cells, their connections, and node sets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ndx_simulation_output.errors import ShapeMismatchError, WrongTypeError
from ndx_simulation_output.recording.arrays import LazyArray, as_array, as_arrays
from ndx_simulation_output.recording.cells import CellTable
from ndx_simulation_output.recording.ids import check_name


@dataclass(frozen=True)
class ConnectionTable:
    """The connections from the cells of population ``source`` to those of ``target``.

    ``source_ids``, ``target_ids`` and ``columns`` by name have shape (connection,), in the order of
    their file. Populations are None if they are not known. A missing value is NaN, -1 for an
    integer that has no place for NaN, or None for text. ``units`` are those of columns, as text.
    """

    name: str
    source: str | None
    target: str | None
    source_ids: LazyArray
    target_ids: LazyArray
    columns: Mapping[str, LazyArray] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the name, and that the lengths of the arrays agree."""
        check_name(self.name, "the name of connections")
        where = f"connections {self.name!r}"
        for key in ("source_ids", "target_ids"):
            ids = as_array(getattr(self, key), f"{key} of {where}", kinds="iu")
            object.__setattr__(self, key, ids)
        object.__setattr__(self, "columns", as_arrays(self.columns, where, allow_none=True))
        for name, values in {"target_ids": self.target_ids, **self.columns}.items():
            if tuple(values.shape[:1]) != (len(self),):
                msg = f"{name} of {where} has shape {values.shape}; expected a value for each of "
                raise ShapeMismatchError(msg + f"{len(self)} connections")

    def __len__(self) -> int:
        """Return the number of connections."""
        return int(self.source_ids.shape[0])


@dataclass(frozen=True)
class PopulationSummary:
    """Name, number of cells, kind and names of the properties of a population."""

    name: str
    size: int
    kind: str = ""
    properties: tuple[str, ...] = ()


@dataclass(frozen=True)
class Circuit:
    """The populations of a circuit, their ``connections``, and ``node_sets`` by name.

    ``summary`` also lists populations whose cells are not in ``populations``, as in a file that has
    only the recorded cells. ``configuration`` is the text of the circuit configuration.
    """

    populations: tuple[CellTable, ...] = ()
    connections: tuple[ConnectionTable, ...] = ()
    node_sets: Mapping[str, Any] = field(default_factory=dict)
    summary: tuple[PopulationSummary, ...] = ()
    configuration: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check types and add the populations to the summary."""
        for what, kind in (("populations", CellTable), ("connections", ConnectionTable)):
            items = tuple(getattr(self, what))
            if not all(isinstance(item, kind) for item in items):
                msg = f"{what} of a circuit are {items!r:.60}; expected {kind.__name__}"
                raise WrongTypeError(msg)
            object.__setattr__(self, what, items)
        known = {one.name for one in self.summary}
        new = tuple(
            PopulationSummary(cells.population, len(cells), cells.kind, tuple(cells.columns))
            for cells in self.populations
            if cells.population not in known
        )
        object.__setattr__(self, "summary", (*self.summary, *new))

    def __getitem__(self, population: str) -> CellTable:
        """Return the cells of a population.

        Raises
        ------
        KeyError
            If the cells of this population are not known.

        """
        for cells in self.populations:
            if cells.population == population:
                return cells
        names = ", ".join(cells.population for cells in self.populations) or "none"
        msg = f"no cells of population {population!r}; expected one of: {names}"
        raise KeyError(msg)
