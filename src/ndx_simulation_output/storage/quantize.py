"""Quantize values to 16-bit integers, on request."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ndx_simulation_output.errors import QuantizeError, UnitError
from ndx_simulation_output.recording import LazyArray, Report, SimulationOutput, Unit
from ndx_simulation_output.recording.views import Quantized
from ndx_simulation_output.storage.layout import parse_step, plan_layout
from ndx_simulation_output.storage.partitions import Piece, default_workers, in_order, regions

# Values rounded to multiples of a step, in two bytes each: a bounded loss, on request only.

_MOST = 2**15 - 1


def quantize_output(
    output: SimulationOutput, steps: str | Mapping[str, str], workers: int | None = None
) -> SimulationOutput:
    """Round reports to multiples of a step such as ``0.01mV``: all in that unit, or some by name.

    Each value changes by at most half a step; the description of the report says so. All values
    are looked at once before, so that what does not fit is refused before anything is written.

    Raises
    ------
    QuantizeError
        If a report has NaN or infinite values, or spans more than 65534 steps.
    UnitError
        If a step is not understood, or belongs to no report.

    """
    workers = default_workers() if workers is None else workers
    named = dict(steps) if not isinstance(steps, str) else {}
    wanted = {name: parse_step(text) for name, text in named.items()}
    general = parse_step(steps) if isinstance(steps, str) else None
    known = {report.name: report for report in output.reports}
    for name in set(wanted) - set(known):
        msg = f"a step is given for {name!r}; there are reports {', '.join(known) or 'none'}"
        raise UnitError(msg)
    if general is not None:
        wanted = {
            name: general for name, report in known.items() if report.unit.name == general.name
        }
    if not wanted:
        units = ", ".join(f"{name} in {report.unit.name}" for name, report in known.items())
        msg = f"the step {steps} is not one of the unit of any report: {units or 'none'}"
        raise UnitError(msg)
    reports = (
        _quantized(report, wanted[report.name], workers) if report.name in wanted else report
        for report in output.reports
    )
    return replace(output, reports=tuple(reports))


def _quantized(report: Report, step: Unit, workers: int = 0) -> Report:
    """Round the values of a report to multiples of ``step``, a factor and an SI unit.

    Raises
    ------
    QuantizeError
        If it has NaN or infinite values, or spans more than 65534 steps.
    UnitError
        If the report is in another unit.

    """
    if report.unit.name != step.name:
        msg = f"report {report.name} is in {report.unit.name}; its step is given in {step.name}"
        raise UnitError(msg)
    raw = step.conversion / report.unit.conversion
    lowest, highest = _extremes(report.data, workers)
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        msg = f"report {report.name} has values that are not finite; they cannot be quantized"
        raise QuantizeError(msg)
    if highest - lowest > 2 * _MOST * raw:
        least = (highest - lowest) / (2 * _MOST) * report.unit.conversion
        msg = (
            f"report {report.name} spans {highest - lowest:g} and has room for {2 * _MOST * raw:g} "
            f"in steps of {raw:g}; it needs a step of at least {least:.3g} {step.name}"
        )
        raise QuantizeError(msg)
    offset = 0.0
    if max(-lowest, highest) > _MOST * raw:
        offset = float(np.rint((lowest + highest) / 2 / raw)) * raw
    unit = Unit(step.name, step.conversion, offset * report.unit.conversion + report.unit.offset)
    bound = f"{step.conversion / 2:g} {step.name}"
    note = f"values are rounded to multiples of {step.conversion:g}, an error of at most {bound}"
    return replace(
        report,
        data=Quantized(report.data, raw, offset),
        unit=unit,
        description=f"{report.description} ({note})".strip(),
    )


def _extremes(data: LazyArray, workers: int) -> tuple[float, float]:
    """Lowest and highest value; NaN if there is one, 0 if there is none."""
    rows, columns = data.shape
    layout = plan_layout((rows, columns), data.dtype.itemsize, workers=workers)

    def look(piece: Piece) -> tuple[float, float]:
        values = piece.read()
        return float(values.min()), float(values.max())

    found = np.array(
        [
            extremes
            for region in regions(data, layout, range(columns))
            for extremes in in_order(look, region.pieces(layout), workers)
        ]
    ).reshape(-1, 2)
    if not len(found):
        return 0.0, 0.0
    return float(found[:, 0].min()), float(found[:, 1].max())
