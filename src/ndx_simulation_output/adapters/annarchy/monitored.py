"""What a monitor of ANNarchy looks at: its neurons or synapses as a table of columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.annarchy.live import base_of, declared
from ndx_simulation_output.adapters.annarchy.snapshots import pre_ranks_of
from ndx_simulation_output.errors import RecordingError
from ndx_simulation_output.recording import CompartmentTable, Unit

__all__ = ["Monitored", "flat", "monitored", "population_table"]

_MANY = (list, np.ndarray)
_POTENTIALS = ("Izhikevich", "IF_", "EIF_", "HH_", "GIF_")


@dataclass(frozen=True)
class Monitored:
    """What the columns of a recording are.

    ``rows`` is the table for values of neurons, or of the post-synaptic neurons of a projection;
    ``synapses`` that for values of synapses. ``facts`` are for the way back, ``units`` are known.
    """

    name: str
    rows: CompartmentTable
    synapses: CompartmentTable | None
    localities: dict[str, str]
    facts: dict[str, Any]
    units: dict[str, Unit]

    def table(self, variable: str) -> CompartmentTable:
        """Give the table of the columns of a variable."""
        is_local = self.localities.get(variable, "local") == "local"
        return self.synapses if self.synapses is not None and is_local else self.rows

    def values(self, variable: str, recorded: Any) -> NDArray[Any]:
        """Give recorded values, shape (time, column), of the lists or arrays in which they come.

        Raises
        ------
        RecordingError
            If they do not fit the table, as when synapses were made or pruned.

        """
        table = self.table(variable)
        width = table.n_compartments
        if self.synapses is not None:
            self._check_rows(variable, recorded, table)
            recorded = [flat(sample) for sample in recorded]
        try:
            return np.reshape(np.asarray(recorded), (-1, width) if width else (len(recorded), 0))
        except ValueError as error:
            msg = f"{variable} of {self.name!r} does not fit its {width} columns: {error}"
            raise RecordingError(msg) from error

    def _check_rows(self, variable: str, recorded: Any, table: CompartmentTable) -> None:
        """Refuse samples of other synapses, which may be as many in all."""
        lengths = np.diff(np.asarray(table.ends), prepend=0).tolist()
        for sample in recorded:
            rows = sample if isinstance(sample, _MANY) else ()
            found = [len(row) for row in rows if isinstance(row, _MANY)]
            if found and found != lengths:
                msg = (
                    f"{variable} of {self.name!r} was recorded with other synapses than there are "
                    "now: some were made or pruned; take recordings before that"
                )
                raise RecordingError(msg)


def monitored(found: Any) -> Monitored:
    """Describe the object of a monitor.

    Raises
    ------
    RecordingError
        If it is a dendrite for which ANNarchy records another, or no object that is known.

    """
    if hasattr(found, "proj"):
        return _of_dendrite(found)
    if hasattr(found, "synapse_type"):
        return _of_projection(found, slice(None), found.name)
    if not hasattr(found, "neuron_type"):
        msg = f"a monitor of a {type(found).__name__} is not known; expected one of a population"
        raise RecordingError(msg)
    whole = base_of(found)
    ranks = np.arange(int(whole.size)) if whole is found else np.asarray(found.ranks)
    geometry = tuple(int(length) for length in whole.geometry)
    return Monitored(
        whole.name,
        population_table(whole.name, geometry, ranks),
        None,
        {},
        {"geometry": list(geometry)},
        _units_of(whole.neuron_type),
    )


def _units_of(model: Any) -> dict[str, Unit]:
    """Give units that the papers of ANNarchy's own models say; others are unknown."""
    kind = type(model)
    is_own = kind.__module__.startswith("ANNarchy.") and kind.__name__.startswith(_POTENTIALS)
    return {"v": Unit("volts", 1e-3)} if is_own else {}


def population_table(
    name: str, geometry: Sequence[int], ranks: NDArray[Any] | None = None
) -> CompartmentTable:
    """Give a table with a cell for each neuron: its rank, and its place ``grid_0`` … in a grid.

    Example
    -------
    >>> table = population_table("exc", (2, 3))
    >>> table.cell_columns["grid_1"].tolist()
    [0, 1, 2, 0, 1, 2]

    """
    ranks = np.arange(int(np.prod(geometry))) if ranks is None else ranks.astype(np.int64)
    ones = np.ones(len(ranks), np.int64)
    places = np.unravel_index(ranks, tuple(geometry)) if len(geometry) > 1 else ()
    columns = {f"grid_{axis}": place for axis, place in enumerate(places)}
    return CompartmentTable.from_counts(name, ranks, ones, {"number": ones - 1}, columns)


def flat(sample: Any) -> list[Any]:
    """Give the values of all rows one after the other; of one synapse there is only a number.

    Example
    -------
    >>> flat([[0.1, 0.2], [0.3]])
    [0.1, 0.2, 0.3]

    """
    if not isinstance(sample, _MANY):
        return [sample]
    found: list[Any] = []
    for row in sample:
        found.extend(row if isinstance(row, _MANY) else [row])
    return found


def _of_projection(projection: Any, rows: slice, name: str) -> Monitored:
    ranks = np.asarray(projection.post_ranks, np.int64)[rows]
    pre_ranks = pre_ranks_of(projection)[rows]
    post = base_of(projection.post).name
    counts = np.array([len(row) for row in pre_ranks], np.int64)
    numbers = [number for row in pre_ranks for number in range(len(row))]
    columns = {
        "number": np.array(numbers, np.int64),
        "pre_rank": np.array([rank for row in pre_ranks for rank in row], np.int64),
    }
    facts = {"pre": base_of(projection.pre).name, "post": post, "projection": projection.name}
    return Monitored(
        name,
        population_table(post, (len(ranks),), ranks),
        CompartmentTable.from_counts(post, ranks, counts, columns),
        {key: str(one["locality"]) for key, one in declared(projection).items()},
        facts,
        {},
    )


def _of_dendrite(dendrite: Any) -> Monitored:
    projection, rank = dendrite.proj, int(dendrite.post_rank)
    row = [int(one) for one in projection.post_ranks].index(rank)
    if row != rank:
        msg = (
            f"the monitor of the dendrite of neuron {rank} in {projection.name!r} has recorded "
            "that of another: ANNarchy takes its row for a rank, and neurons before it have no "
            "synapses; monitor the projection"
        )
        raise RecordingError(msg)
    return _of_projection(projection, slice(row, row + 1), f"{projection.name}_{rank}")
