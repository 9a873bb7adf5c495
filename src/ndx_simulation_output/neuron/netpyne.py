"""The network of NetPyNE in this process: its populations, cells and tags."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NOT_TAGS = {"pop", "popLabel", "cellList"}


def netpyne_network(cells: Any) -> Any:
    """Return the network of NetPyNE that ``cells`` are, or that was made if they are None.

    ``cells`` may be ``netpyne.sim`` or ``sim.net``. None is returned for anything else.
    """
    sim = sys.modules.get("netpyne.sim")
    network = getattr(sim, "net", None)
    if network is None or not getattr(network, "pops", None):
        return None
    # Objects of NetPyNE pretend to have every attribute, so that only identity is certain.
    return network if cells is None or cells is sim or cells is network else None


def cells_of(network: Any) -> dict[str, dict[int, Any]]:
    """Return the cells of this process by population and gid, those of NetStim among them."""
    return {
        str(name): {int(gid): network.cells[network.gid2lid[gid]] for gid in population.cellGids}
        for name, population in network.pops.items()
    }


def tags_of(network: Any, name: str) -> dict[str, NDArray[Any]]:
    """Return the tags of the cells of a population that are numbers or texts, shape (cell,)."""
    population = network.pops[name]
    tags = [network.cells[network.gid2lid[gid]].tags for gid in population.cellGids]
    names = dict.fromkeys(key for one in tags for key in one if key not in _NOT_TAGS)
    columns: dict[str, NDArray[Any]] = {}
    for key in names:
        values = [one.get(key) for one in tags]
        if all(isinstance(value, int | float) for value in values):
            columns[str(key)] = np.array(values, np.float64)
        elif all(isinstance(value, str | None) for value in values):
            columns[str(key)] = np.array(values, object)
    return columns
