"""How time and memory of conversion grow with the report, with spikes and with workers."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from bench import Bench
from claims import Section
from inputs.reports import write_report
from inputs.size import Size
from inputs.spikes import write_spikes
from measuring import Measured, Way, WorkError
from picture import Curve, Point, draw
from tables import spread, table

__all__ = ["measure"]

GIGABYTES = 0.2  # beside a report of 1.6
REACH = 4.0  # times as little and as much as in the middle
SPIKES, SPIKING_CELLS = 1_000_000, 10_000
ROUNDS = 3
CPUS = os.cpu_count() or 1
WORKERS = (0, *(number for number in (1, 2, 4, 8) if number <= max(2, CPUS)))
BEST = WORKERS[-1]
AXES = {"cells": "cells", "compartments": "compartments of a cell", "frames": "time steps"}
COMPRESSIONS = {"workers": "none", "workers, gzip": "gzip"}


def measure(bench: Bench) -> Section:
    """Measure along each axis, and draw it."""
    middle = Size.of(bench.scaled(round(GIGABYTES * 1e9)) / 1e9)
    curves = list(_curves(bench, middle))
    head = ["dimension", "size", "seconds", "memory, MB", "exponent", "efficiency"]
    rows = [row for curve in curves for row in _rows(curve)]
    notes = [_picture(bench, curves), table(head, rows)]
    return Section(f"Scaling of conversion, about {middle}", [], notes)


def _rows(curve: Curve) -> Iterator[list[str]]:
    """Yield the row of each point.

    Time is proportional to the size to the power of the exponent, from the point before to this.
    The efficiency of workers is the time of one, divided by their number and their time.
    """
    times = {point.at: median(point.seconds) for point in curve.points}
    before = None
    for point in curve.points:
        now, exponent, efficiency = times[point.at], "", ""
        if curve.is_size and before is not None:
            exponent = f"{log(now / times[before]) / log(point.at / before):.2f}"
        if not curve.is_size and point.at:
            efficiency = f"{times[1] / point.at / now:.0%}"
        before = point.at
        memory = f"{point.megabytes:.0f}"
        name = curve.name
        yield [name, f"{point.at:,}", spread(point.seconds), memory, exponent, efficiency]


def _curves(bench: Bench, middle: Size) -> Iterator[Curve]:
    source = bench.scratch / "growth.h5"
    for attribute, name in AXES.items():
        points = []
        for number in _numbers(bench, getattr(middle, attribute)):
            size = replace(middle, **{attribute: number})
            bench.tell(f"writing a report of {size} for scaling")
            write_report(source, size)
            points += _points(bench, source, size.data_bytes, {number: {"workers": BEST}})
        yield Curve(name, points, is_size=True)
    points = []
    for number in _numbers(bench, bench.scaled(SPIKES)):
        write_spikes(source, bench.scaled(SPIKING_CELLS), number)
        points += _points(bench, source, 16 * number, {number: {"workers": BEST}})
    yield Curve("spikes", points, is_size=True)
    write_report(source, middle)
    for name, compression in COMPRESSIONS.items():
        options = {one: {"workers": one, "compression": compression} for one in WORKERS}
        points = _points(bench, source, middle.data_bytes, options)
        yield Curve(name, points, is_size=False)
    source.unlink()


def _numbers(bench: Bench, middle: int) -> list[int]:
    factors = np.geomspace(1 / REACH, REACH, bench.points)
    return sorted({max(1, round(middle * one)) for one in factors})


def _points(
    bench: Bench, source: Path, n_bytes: int, options: Mapping[int, Mapping[str, Any]]
) -> list[Point]:
    """Convert a file with the options of each point; raise WorkError if that fails."""
    ways = {str(at): Way("ours:convert", source, ".nwb", chosen) for at, chosen in options.items()}
    rounds = replace(bench.rounds(n_bytes), count=min(ROUNDS, bench.repeats))
    measured = rounds.measure(ways)
    if measured.problems:
        raise WorkError(measured.problem(*ways).removeprefix("failed: "))
    return [_point(measured, at) for at in options]


def _point(measured: Measured, at: int) -> Point:
    seconds = tuple(run.seconds for run in measured.runs[str(at)])
    return Point(at, seconds, measured.peaks.get(str(at), 0) / 1e6)


def _picture(bench: Bench, curves: Sequence[Curve]) -> str:
    """Plot the curves and return a link to the image, or why there is none."""
    if not draw(curves, bench.picture):
        return "Not drawn: matplotlib is not installed."
    link = os.path.relpath(bench.picture, bench.results.parent)
    return f"![Seconds and memory against size and workers]({link})"
