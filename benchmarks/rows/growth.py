"""How conversion and opening grow with the report, with spikes and with workers."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from statistics import median

import numpy as np
from bench import Bench
from claims import Claim, Section, at_most
from inputs.reports import write_report
from inputs.size import Size
from inputs.spikes import write_spikes
from measuring import Measured, Way, WorkError, run_once
from picture import Curve, Point, draw
from tables import spread, table

__all__ = ["measure"]

GIGABYTES = 0.2  # beside a report of 1.6
REACH = 4.0  # times as little and as much as in the middle
SPIKES, SPIKING_CELLS = 1_000_000, 10_000
ROUNDS = 3
CPUS = os.cpu_count() or 1
WORKERS = (0, *(number for number in (1, 2, 4, 8) if number <= max(2, CPUS)))
PLANNED, MARGIN = "those of the plan", 1.1
CONVERT, OPEN = "convert", "open"
AXES = {"cells": "cells", "compartments": "compartments of a cell", "frames": "time steps"}
COMPRESSIONS = {"workers": "none", "workers, gzip": "gzip"}


def measure(bench: Bench) -> Section:
    """Measure along each axis, and draw it."""
    middle = Size.of(bench.scaled(round(GIGABYTES * 1e9)) / 1e9)
    curves = list(_sizes(bench, middle))
    claims = [claim for curve in curves for claim in _linear(curve)]
    for curve, claim in _workers(bench, middle):
        curves.append(curve)
        claims.append(claim)
    head = ["dimension", "size", "seconds", "exponent", "efficiency", "memory, MB"]
    head += ["seconds of opening", "exponent of opening"]
    rows = [row for curve in curves for row in _rows(curve)]
    notes = [_picture(bench, curves), table(head, rows)]
    return Section(f"Scaling of conversion, about {middle}", claims, notes)


def _linear(curve: Curve) -> Iterator[Claim]:
    """Yield the claims that the largest size takes no longer than so many of the smallest."""
    first, last = curve.points[0], curve.points[-1]
    if first is last:
        return
    factor = last.at / first.at
    other = f"{factor:.3g} × that of {first.at:,} {curve.name}"
    for what, ours, others in (
        ("convert", last.seconds, first.seconds),
        ("open", last.opening, first.opening),
    ):
        label = f"{what} {last.at:,} {curve.name}"
        yield Claim(label, other, at_most(1), ours, [factor * one for one in others])


def _rows(curve: Curve) -> Iterator[list[str]]:
    """Yield the row of each point.

    Time is proportional to the size to the power of the exponent, from the point before to this.
    The efficiency of workers is the time of one, divided by their number and their time.
    """
    times = {point.at: median(point.seconds) for point in curve.points}
    before = None
    for point in curve.points:
        exponents, efficiency, opening = ["", ""], "", ""
        if curve.is_size:
            opening = spread(point.opening)
            exponents = [_exponent(before, point, which) for which in ("seconds", "opening")]
        elif point.at:
            efficiency = f"{times[1] / point.at / times[point.at]:.0%}"
        before = point
        yield [
            curve.name,
            f"{point.at:,}",
            spread(point.seconds),
            exponents[0],
            efficiency,
            f"{point.megabytes:.0f}",
            opening,
            exponents[1],
        ]


def _exponent(before: Point | None, point: Point, which: str) -> str:
    if before is None:
        return ""
    ratio = median(getattr(point, which)) / median(getattr(before, which))
    return f"{log(ratio) / log(point.at / before.at):.2f}"


def _sizes(bench: Bench, middle: Size) -> Iterator[Curve]:
    """Yield the curve of each dimension of a report, and of spikes."""
    source = bench.scratch / "growth.h5"
    for attribute, name in AXES.items():
        points = []
        for number in _numbers(bench, getattr(middle, attribute)):
            size = replace(middle, **{attribute: number})
            bench.tell(f"writing a report of {size} for scaling")
            write_report(source, size)
            points.append(_point(bench, source, size.data_bytes, number))
        yield Curve(name, points, is_size=True)
    points = []
    for number in _numbers(bench, bench.scaled(SPIKES)):
        write_spikes(source, bench.scaled(SPIKING_CELLS), number)
        points.append(_point(bench, source, 16 * number, number))
    yield Curve("spikes", points, is_size=True)
    source.unlink()


def _point(bench: Bench, source: Path, n_bytes: int, at: int) -> Point:
    """Convert a file, and open the result."""
    convert, stored = Way("ours:convert", source, ".nwb"), bench.scratch / "growth.nwb"
    run_once(convert, stored, bench.scratch)
    ways = {CONVERT: convert, OPEN: Way("plotting:open_file", stored)}
    measured = _measured(bench, n_bytes, ways)
    stored.unlink()
    opening = _seconds(measured, OPEN)
    return Point(at, _seconds(measured, CONVERT), _megabytes(measured, CONVERT), opening)


def _workers(bench: Bench, size: Size) -> Iterator[tuple[Curve, Claim]]:
    """Yield the curve of workers, and the claim that those of the plan are as fast as any."""
    source = bench.scratch / "growth.h5"
    write_report(source, size)
    for name, compression in COMPRESSIONS.items():
        options = {str(one): {"workers": one} for one in WORKERS} | {PLANNED: {}}
        ways = {
            label: Way("ours:convert", source, ".nwb", {**chosen, "compression": compression})
            for label, chosen in options.items()
        }
        measured = _measured(bench, size.data_bytes, ways)
        seconds = {one: _seconds(measured, str(one)) for one in WORKERS}
        points = [
            Point(one, taken, _megabytes(measured, str(one))) for one, taken in seconds.items()
        ]
        best = min(WORKERS, key=lambda one: median(seconds[one]))
        planned, other = _seconds(measured, PLANNED), f"the fastest number of workers, {best}"
        claim = Claim(f"{name}: {PLANNED}", other, at_most(MARGIN), planned, seconds[best])
        yield Curve(name, points, is_size=False), claim
    source.unlink()


def _numbers(bench: Bench, middle: int) -> list[int]:
    factors = np.geomspace(1 / REACH, REACH, bench.points)
    return sorted({max(1, round(middle * one)) for one in factors})


def _measured(bench: Bench, n_bytes: int, ways: Mapping[str, Way]) -> Measured:
    """Run some ways of the same file; raise WorkError if one fails."""
    rounds = replace(bench.rounds(n_bytes), count=min(ROUNDS, bench.repeats))
    measured = rounds.measure(ways)
    if measured.problems:
        raise WorkError(measured.problem(*ways).removeprefix("failed: "))
    return measured


def _seconds(measured: Measured, label: str) -> tuple[float, ...]:
    return tuple(run.seconds for run in measured.runs[label])


def _megabytes(measured: Measured, label: str) -> float:
    return measured.peaks.get(label, 0) / 1e6


def _picture(bench: Bench, curves: Sequence[Curve]) -> str:
    """Plot the curves and return a link to the image, or why there is none."""
    if not draw(curves, bench.picture):
        return "Not drawn: matplotlib is not installed."
    link = os.path.relpath(bench.picture, bench.results.parent)
    return f"![Seconds, memory and seconds of opening against size and workers]({link})"
