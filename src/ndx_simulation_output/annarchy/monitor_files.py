"""Read the files of ``Monitor.save`` and ``MonitorList.save_all``."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ndx_simulation_output.annarchy.containers import load_array
from ndx_simulation_output.annarchy.monitors import (
    LABELS,
    Sampling,
    check_units,
    flat,
    parsed_units,
    population_table,
    times_of,
)
from ndx_simulation_output.errors import NothingRecordedError, ShapeMismatchError, SourceError
from ndx_simulation_output.recording import UNKNOWN, LazyArray, Report, Run, SimulationOutput, Unit

# Read the files of ``Monitor.save`` and ``MonitorList.save_all``: HDF5, or a single array.

_NUMPY = b"\x93NUMPY"


def read_recordings(
    path: str | Path,
    *,
    dt: float,
    population: str | None = None,
    variable: str | None = None,
    period: float | None = None,
    start: float = 0.0,
    geometry: Sequence[int] | None = None,
    unit: Mapping[str, str] | None = None,
) -> SimulationOutput:
    """Describe the samples in a file of a monitor, which says nothing of them but their values.

    Data of HDF5 stay in the file until the output is closed.

    Parameters
    ----------
    path
        A ``.hdf5`` or ``.npy`` file.
    dt
        The time step in ms.
    population
        Name of what was monitored; not needed where variables are in groups of such names.
    variable
        Name of the variable of a ``.npy`` file.
    period
        What the monitor was asked for, in ms; ANNarchy cuts it to whole steps, and so does this.
    start
        Time of the first sample in ms.
    geometry
        Shape of the population, if all of it was recorded.
    unit
        Units of variables, such as ``{"v": "mV"}``.

    Raises
    ------
    SourceError
        If it is no such file, or does not say a name that is not given either.
    NothingRecordedError
        If there is no variable, as ANNarchy leaves a file when it fails at spikes.
    ShapeMismatchError
        If ``geometry`` has not as many neurons.
    UnitError
        If a unit is not understood, or of no variable.

    Example
    -------
    >>> read_recordings("exc.hdf5", dt=0.5, population="exc")  # doctest: +SKIP

    """
    path, given = Path(path), parsed_units(unit)
    sampling = Sampling.of_ms(dt, period, None)
    with ExitStack() as stack:
        reports = []
        for group, name, data in _variables(path, variable, stack):
            where = group or population
            if where is None:
                msg = f"{path} does not say what was monitored: give population="
                raise SourceError(msg)
            reports.append(_report(where, name, data, sampling, start, geometry, given))
        if not reports:
            msg = (
                f"{path} has no variable: ANNarchy leaves such a file when it fails at spikes or "
                "at variables of projections"
            )
            raise NothingRecordedError(msg)
        check_units(reports, given)
        return SimulationOutput(
            reports=tuple(reports),
            run=Run("ANNarchy", time_step=dt / 1000),
            provenance={"format": "annarchy", "files": [path.name]},
            close=stack.pop_all().close,
        )


def _variables(
    path: Path, variable: str | None, stack: ExitStack
) -> Iterator[tuple[str | None, str, LazyArray]]:
    """Give each variable with its group and name."""
    try:
        with path.open("rb") as opened:
            start = opened.read(len(_NUMPY))
        if start == _NUMPY:
            if variable is None:
                msg = f"{path} does not say which variable it has: give variable="
                raise SourceError(msg)
            yield None, variable, _matrix(load_array(path))
            return
        file = stack.enter_context(h5py.File(path, "r"))
    except OSError as error:
        msg = f"{path} is no HDF5 or .npy file that can be read: {error}"
        raise SourceError(msg) from error
    for name, found in file.items():
        members = found.items() if isinstance(found, h5py.Group) else [(None, found)]
        for own, data in members:
            if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "biuf" or not data.ndim:
                msg = f"{path}: {data.name} is no recorded variable; is it a file of a monitor?"
                raise SourceError(msg)
            yield (name, own, _matrix(data)) if own is not None else (None, name, _matrix(data))


def _matrix(data: Any) -> LazyArray:
    """Give values as (time, column): those of a grid, and lists of rows, one after the other."""
    if data.ndim == 2 and data.dtype != object:
        found: LazyArray = data
        return found
    values = data[()]
    if values.dtype == object:
        values = np.array([flat(sample) for sample in values])
    return values.reshape(len(values), -1)  # type: ignore[no-any-return]


def _report(
    where: str,
    name: str,
    data: LazyArray,
    sampling: Sampling,
    start: float,
    geometry: Sequence[int] | None,
    units: Mapping[str, Unit],
) -> Report:
    n_rows, width = data.shape
    shape = (width,) if geometry is None else tuple(geometry)
    if int(np.prod(shape)) != width:
        msg = f"{name} of {where} has {width} columns; expected those of the geometry {shape}"
        raise ShapeMismatchError(msg)
    labels = round(start / sampling.dt) + np.arange(n_rows) * sampling.period
    return Report(
        name=f"{where}_{name}",
        report=where,
        data=data,
        times=times_of(labels, sampling),
        compartments=population_table(where, shape),
        unit=units.get(name, UNKNOWN),
        variable=name,
        description=LABELS,
        provenance={"geometry": list(shape)},
    )
