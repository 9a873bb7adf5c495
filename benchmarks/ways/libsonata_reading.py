"""Answers to queries, and circuits, by libsonata; it may run in an environment of its own."""

from collections.abc import Callable
from typing import Any

import libsonata
import numpy as np
from query import Query

__all__ = ["read_afferent", "read_edges", "read_nodes", "report"]


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


def read_nodes(source: str, *, without: list[str]) -> Callable[[], object]:
    """Open a file of nodes and read columns, enumerations as codes."""

    def work() -> None:
        storage = libsonata.NodeStorage(source)
        (name,) = storage.population_names
        nodes = storage.open_population(name)
        everything = nodes.select_all()
        for column in nodes.attribute_names - nodes.enumeration_names - {*without}:
            nodes.get_attribute(column, everything)
        for column in nodes.enumeration_names:
            nodes.get_enumeration(column, everything)
        for column in nodes.dynamics_attribute_names:
            nodes.get_dynamics_attribute(column, everything)

    return work


def read_edges(source: str) -> Callable[[], object]:
    """Open a file of edges and read all columns."""

    def work() -> None:
        edges = _edges(source)
        everything = edges.select_all()
        edges.source_nodes(everything)
        edges.target_nodes(everything)
        for column in edges.attribute_names:
            edges.get_attribute(column, everything)

    return work


def read_afferent(source: str, *, cells: int) -> Callable[[], object]:
    """Read the edges onto a thousand nodes, in an open file, and their delays."""
    edges = _edges(source)
    chosen = np.random.default_rng(0).choice(cells, min(cells, 1000), replace=False)

    def work() -> None:
        found = edges.afferent_edges(np.sort(chosen).tolist())
        edges.source_nodes(found)
        edges.target_nodes(found)
        edges.get_attribute("delay", found)

    return work


def _edges(source: str) -> Any:
    storage = libsonata.EdgeStorage(source)
    (name,) = storage.population_names
    return storage.open_population(name)
