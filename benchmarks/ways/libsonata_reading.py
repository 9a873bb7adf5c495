"""Answers to queries by libsonata; it may run in an environment of its own."""

from collections.abc import Callable
from typing import Any

import libsonata
import numpy as np
from query import Query

__all__ = ["report"]


def report(path: str) -> Callable[[Query], Callable[[], Any]]:
    """Open a report of one population."""
    reader = libsonata.ElementReportReader(path)
    (name,) = reader.get_population_names()
    population = reader[name]
    start, _, step = population.times

    def ask(query: Query) -> Callable[[], Any]:
        options: dict[str, Any] = {
            "tstart": start + query.first * step,
            "tstop": start + (query.first + query.frames - 1) * step,
        }
        if query.cells is not None:
            options["node_ids"] = libsonata.Selection(np.array(query.cells, np.uint64))
        return lambda: population.get(**options).data

    return ask
