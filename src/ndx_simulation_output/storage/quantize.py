"""Quantize reports: round values to multiples of a step, stored in two bytes each."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ndx_simulation_output.errors import QuantizeError, UnitError
from ndx_simulation_output.recording import LazyArray, Report, SimulationOutput, Unit
from ndx_simulation_output.recording.views import Quantized
from ndx_simulation_output.storage.layout import default_workers, parse_step, plan_layout
from ndx_simulation_output.storage.partitions import Piece, in_order, regions

_MOST_STEPS = 2**15 - 1


def quantize_output(
    output: SimulationOutput, steps: str | Mapping[str, str], workers: int | None = None
) -> SimulationOutput:
    """Return the output with reports rounded to ``steps``; see ``StorageOptions.quantize``.

    The description of each report states the largest error, half a step. All values are read, and
    QuantizeError is raised before anything is written if a report has NaN or infinite values, or a
    range of more than 65534 steps.
    """
    workers = default_workers() if workers is None else workers
    chosen = _steps_by_report(output, steps)
    reports = (
        _quantized(report, chosen[report.name], workers) if report.name in chosen else report
        for report in output.reports
    )
    return replace(output, reports=tuple(reports))


def _steps_by_report(output: SimulationOutput, steps: str | Mapping[str, str]) -> dict[str, Unit]:
    units = {report.name: report.unit.name for report in output.reports}
    if isinstance(steps, str):
        step = parse_step(steps)
        chosen = {name: step for name, unit in units.items() if unit == step.name}
        if not chosen:
            known = ", ".join(f"{name} in {unit}" for name, unit in units.items()) or "none"
            msg = f"no report has the unit of the quantization step {steps}; reports: {known}"
            raise UnitError(msg)
        return chosen
    for name in steps:
        if name not in units:
            known = ", ".join(units) or "none"
            msg = f"a quantization step is set for report {name!r}; reports: {known}"
            raise UnitError(msg)
    return {name: parse_step(step) for name, step in steps.items()}


def _quantized(report: Report, step: Unit, workers: int = 0) -> Report:
    """Round the values of a report to multiples of ``step``, a factor and an SI unit."""
    if report.unit.name != step.name:
        msg = (
            f"report {report.name} is in {report.unit.name}, its quantization step in {step.name}; "
            "expected the same unit"
        )
        raise UnitError(msg)
    raw = step.conversion / report.unit.conversion
    lowest, highest = _value_range(report.data, workers)
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        msg = f"report {report.name} has NaN or infinite values, which cannot be quantized"
        raise QuantizeError(msg)
    if highest - lowest > 2 * _MOST_STEPS * raw:
        least = (highest - lowest) / (2 * _MOST_STEPS) * report.unit.conversion
        msg = (
            f"report {report.name} has a range of {highest - lowest:g}, {2 * _MOST_STEPS} steps of "
            f"{raw:g} cover {2 * _MOST_STEPS * raw:g}; expected a step of at least {least:.3g} "
            f"{step.name}"
        )
        raise QuantizeError(msg)
    offset = 0.0
    if max(-lowest, highest) > _MOST_STEPS * raw:
        offset = float(np.rint((lowest + highest) / 2 / raw)) * raw
    shift = offset * report.unit.conversion + report.unit.offset
    unit = Unit(step.name, step.conversion, shift, checked=False)
    bound = f"{step.conversion / 2:g} {step.name}"
    note = f"values are rounded to multiples of {step.conversion:g}, an error of at most {bound}"
    return replace(
        report,
        data=Quantized(report.data, raw, offset),
        unit=unit,
        description=f"{report.description} ({note})".strip(),
    )


def _value_range(data: LazyArray, workers: int) -> tuple[float, float]:
    """Return the lowest and highest value: NaN if any value is NaN, 0 without values."""
    rows, columns = data.shape
    layout = plan_layout((rows, columns), data.dtype.itemsize, workers=workers)

    def piece_range(piece: Piece) -> tuple[float, float]:
        values = piece.read()
        return float(values.min()), float(values.max())

    found = np.array(
        [
            limits
            for region in regions(data, layout, range(columns))
            for limits in in_order(piece_range, region.pieces(layout), workers)
        ]
    ).reshape(-1, 2)
    if not len(found):
        return 0.0, 0.0
    return float(found[:, 0].min()), float(found[:, 1].max())
