"""Tables of compartments as NWB objects: one for each population and distinct mapping."""

import hashlib
from collections.abc import Iterable
from itertools import chain, count

import numpy as np

from ndx_simulation_output.nwb.series import nwb_name
from ndx_simulation_output.nwb.types import Compartments
from ndx_simulation_output.recording import CompartmentTable, Report

__all__ = ["Tables"]


class Tables:
    """One table for each population and distinct mapping, shared by the reports that have it.

    Tables of a file have the names ``taken`` already.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.by_digest: dict[str, Compartments] = {}
        self._taken = set(taken)

    def of(self, report: Report) -> Compartments:
        """Give the table of a report, made when it is asked for first."""
        digest = _digest(report.compartments)
        if digest not in self.by_digest:
            name = self._name(report)
            self._taken.add(name)
            self.by_digest[digest] = _make_table(report.compartments, name)
        return self.by_digest[digest]

    def _name(self, report: Report) -> str:
        """``compartments`` as in version 0.2.6; further tables say whose they are."""
        population = nwb_name(f"compartments_{report.population}")
        named = nwb_name(f"compartments_{report.name}")
        counted = (f"{named}_{number}" for number in count(2))
        candidates = chain(["compartments", population, named], counted)
        return next(name for name in candidates if name not in self._taken)


def _digest(table: CompartmentTable) -> str:
    digest = hashlib.sha256(table.population.encode())
    arrays = {"id": table.cell_ids, "ends": table.ends, **table.columns, **table.cell_columns}
    for name, array in sorted(arrays.items()):
        values = np.ascontiguousarray(array[:])
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(repr(values.tolist()).encode() if values.dtype == object else values.data)
    return digest.hexdigest()


def _make_table(table: CompartmentTable, name: str) -> Compartments:
    columns = {column: np.asarray(values[:]) for column, values in table.columns.items()}
    made: Compartments = Compartments.from_arrays(
        columns.pop("number"),
        table.counts(),
        id=np.asarray(table.cell_ids[:]),
        name=name,
        description=f"The recorded compartments of the cells of population {table.population}",
        population=table.population,
        cell_columns={key: np.asarray(values[:]) for key, values in table.cell_columns.items()},
        **columns,
    )
    return made
