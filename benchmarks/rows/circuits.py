"""Circuits: store and read their nodes and edges, compared with h5py and libsonata."""

from pathlib import Path

from bench import Bench
from claims import Claim, Section, at_most, compare
from environments import LIBSONATA
from inputs.circuits import EDGES, NODES, TEXTS, beside, write_circuit
from measuring import Measured, Way, run_once
from tables import ways_table

__all__ = ["measure_edges", "measure_nodes"]

CELLS, CONNECTIONS = 1_000_000, 10_000_000
CONVERT, UNSORTED, COPY = "convert", "convert, not sorted by target", "h5py, shuffle and gzip 4"
SONATA, NWB, H5PY, OTHER = "ours, SONATA", "ours, NWB", "h5py", "libsonata"
BOTH = "convert, cells and connections"
AFFERENT = "afferent of 1,000 cells"
BOUND_MEGABYTES = 500


def measure_nodes(bench: Bench) -> Section:
    """Measure the conversion of all cells, and reading 18 of their 20 columns."""
    config, nodes = _circuit(bench), beside(_circuit(bench), NODES)
    ways = {
        CONVERT: Way("ours:convert_circuit", config, ".nwb", {"circuit": True, "edges": False}),
        COPY: Way("plain:copy_columns", nodes, ".h5"),
    }
    converted = bench.rounds().measure(ways)
    stored = _stored(bench, "cells.nwb", config, circuit=True, edges=False)
    reading = {
        SONATA: Way("ours:read_cells", config),
        NWB: Way("ours:read_cells", stored),
        H5PY: Way("plain:read_columns", nodes),
        OTHER: Way(
            "libsonata_reading:read_nodes",
            nodes,
            options={"without": TEXTS},
            python=bench.python_of(LIBSONATA),
        ),
    }
    read = bench.rounds().measure(reading)
    claims = [
        compare(converted, "convert --circuit", CONVERT, COPY, at_most(1.5)),
        compare(read, f"read, {SONATA}", SONATA, H5PY, at_most(3)),
        compare(read, f"read, {SONATA}", SONATA, OTHER, at_most(1)),
        compare(read, f"read, {NWB}", NWB, OTHER, at_most(3)),
    ]
    title = f"The cells of a circuit: {bench.scaled(CELLS):,}, 20 properties"
    return Section(title, claims, [ways_table(converted), ways_table(read)])


def measure_edges(bench: Bench) -> Section:
    """Measure the conversion of all connections, its memory, and reading them."""
    config, edges = _circuit(bench), beside(_circuit(bench), EDGES)
    unsorted = _circuit(bench, is_sorted=False)
    both = {"circuit": True, "edges": True}
    ways = {
        CONVERT: Way("ours:convert_circuit", config, ".nwb", {"circuit": False, "edges": True}),
        UNSORTED: Way("ours:convert_circuit", unsorted, ".nwb", {"circuit": False, "edges": True}),
        COPY: Way("plain:copy_columns", edges, ".h5"),
        BOTH: Way("ours:convert_circuit", config, ".nwb", both),
    }
    converted = bench.rounds().measure(ways)
    stored = _stored(bench, "connections.nwb", config, circuit=False, edges=True)
    other = bench.python_of(LIBSONATA)
    reading = {
        SONATA: Way("ours:read_connections", config),
        NWB: Way("ours:read_connections", stored),
        H5PY: Way("plain:read_columns", edges),
        OTHER: Way("libsonata_reading:read_edges", edges, python=other),
    }
    read = bench.rounds().measure(reading)
    cells = {"cells": bench.scaled(CELLS)}
    afferent = {
        SONATA: Way("ours:read_afferent", config, options=cells),
        NWB: Way("ours:read_afferent", stored, options=cells),
        OTHER: Way("libsonata_reading:read_afferent", edges, options=cells, python=other),
    }
    chosen = bench.rounds().measure(afferent)
    claims = [
        compare(converted, "convert --edges", CONVERT, COPY, at_most(1.5)),
        compare(converted, "convert --edges, not sorted", UNSORTED, COPY, at_most(4)),
        _bounded(converted),
        compare(read, f"read, {SONATA}", SONATA, H5PY, at_most(1.5)),
        compare(read, f"read, {SONATA}", SONATA, OTHER, at_most(1)),
        compare(read, f"read, {NWB}", NWB, OTHER, at_most(3)),
        compare(chosen, f"{AFFERENT}, {SONATA}", SONATA, OTHER, at_most(3)),
        compare(chosen, f"{AFFERENT}, {NWB}", NWB, OTHER, at_most(3)),
    ]
    title = f"The connections of a circuit: {bench.scaled(CONNECTIONS):,}, 12 columns"
    notes = [ways_table(converted), ways_table(read), f"{AFFERENT}:", ways_table(chosen)]
    return Section(title, claims, notes)


def _bounded(measured: Measured) -> Claim:
    problem = measured.problem(BOTH)
    if not problem and BOTH not in measured.peaks:
        problem = "not measured: not available on this system"
    peak = [measured.peaks.get(BOTH, 0) / 1e6]
    bound = f"limit of {BOUND_MEGABYTES} MB"
    what = f"memory of {BOTH}"
    return Claim(what, bound, at_most(1), peak, [BOUND_MEGABYTES], "MB", problem)


def _circuit(bench: Bench, *, is_sorted: bool = True) -> Path:
    sizes = bench.scaled(CELLS), bench.scaled(CONNECTIONS)
    name = "circuit.json" if is_sorted else "unsorted.json"
    return bench.made(name, lambda path: write_circuit(path, *sizes, is_sorted=is_sorted))


def _stored(bench: Bench, name: str, config: Path, **options: bool) -> Path:
    way = Way("ours:convert_circuit", config, options=options)
    return bench.made(name, lambda path: run_once(way, path, bench.scratch))
