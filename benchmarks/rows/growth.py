"""How time and memory of conversion grow with the size of the report and with workers."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from bench import Bench
from claims import Section
from inputs.reports import write_report
from inputs.size import Size
from measuring import Measured, Way, WorkError
from picture import Curve, Point, draw
from tables import spread, table

__all__ = ["measure"]

GIGABYTES = 0.2  # beside a report of 1.6
REACH = 4.0  # times as little and as much as in the middle
ROUNDS = 3
WORKERS = (0, 1, 2)
AXES = {"cells": "cells", "compartments": "compartments of a cell", "frames": "time steps"}


def measure(bench: Bench) -> Section:
    """Measure along each axis, and draw it."""
    middle = Size.of(bench.scaled(round(GIGABYTES * 1e9)) / 1e9)
    curves = list(_curves(bench, middle))
    head = ["dimension", "size", "seconds", "memory, MB"]
    rows = [
        [curve.name, f"{point.at:,}", spread(point.seconds), f"{point.megabytes:.0f}"]
        for curve in curves
        for point in curve.points
    ]
    notes = [_picture(bench, curves), table(head, rows)]
    return Section(f"Scaling of conversion, about {middle}", [], notes)


def _curves(bench: Bench, middle: Size) -> Iterator[Curve]:
    for attribute, name in AXES.items():
        factors = np.geomspace(1 / REACH, REACH, bench.points)
        numbers = sorted({max(1, round(getattr(middle, attribute) * one)) for one in factors})
        points = []
        for number in numbers:
            size = replace(middle, **{attribute: number})
            points.append(_point(_convert(bench, size, WORKERS[-1:]), WORKERS[-1], number))
        yield Curve(name, points, is_size=True)
    measured = _convert(bench, middle, WORKERS)
    points = [_point(measured, workers, workers) for workers in WORKERS]
    yield Curve("workers", points, is_size=False)


def _convert(bench: Bench, size: Size, workers: Sequence[int]) -> Measured:
    """Convert a report of this size with so many workers; raise WorkError if that fails."""
    source = bench.scratch / "growth.h5"
    bench.tell(f"writing a report of {size} for scaling")
    write_report(source, size)
    ways = {
        f"{number} workers": Way("ours:convert", source, ".nwb", {"workers": number})
        for number in workers
    }
    rounds = replace(bench.rounds(size.data_bytes), count=min(ROUNDS, bench.repeats))
    try:
        measured = rounds.measure(ways)
    finally:
        source.unlink()
    if measured.problems:
        raise WorkError(measured.problem(*ways).removeprefix("failed: "))
    return measured


def _point(measured: Measured, workers: int, at: int) -> Point:
    label = f"{workers} workers"
    seconds = tuple(run.seconds for run in measured.runs[label])
    return Point(at, seconds, measured.peaks.get(label, 0) / 1e6)


def _picture(bench: Bench, curves: Sequence[Curve]) -> str:
    """Plot the curves and return a link to the image, or why there is none."""
    if not draw(curves, bench.picture):
        return "Not drawn: matplotlib is not installed."
    link = os.path.relpath(bench.picture, bench.results.parent)
    return f"![Seconds and memory against size and workers]({link})"
