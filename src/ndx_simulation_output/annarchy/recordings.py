"""What monitors of ANNarchy have recorded, added to an NWB file in memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pynwb import NWBFile

from ndx_simulation_output.adapters import annarchy as adapter
from ndx_simulation_output.nwb.mapping import add_in_memory

__all__ = ["add_recordings", "add_saved_recordings"]


def add_recordings(
    nwbfile: NWBFile,
    monitors: Any,
    *,
    intervals: Mapping[Any, Sequence[tuple[float, float]]] | None = None,
    unit: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Add what monitors have recorded to ``nwbfile``; give notes on what was left out.

    Variables of populations become ``CompartmentSeries`` in the acquisition, with a cell for each
    neuron, its rank and place in the grid; those of projections have the synapses of each neuron.
    Spikes become units, silent neurons too, with the intervals of recording. The monitors keep
    what they have.

    Parameters
    ----------
    nwbfile
        A file in memory without a simulation yet: give all monitors at once.
    monitors
        A monitor, or several.
    intervals
        When a monitor ran, ``{monitor: [(start, stop), ...]}`` in ms, if it says it wrongly.
    unit
        Units of variables, such as ``{"v": "mV"}``, ``"1"`` for none.

    Raises
    ------
    RecordingError
        If the samples of a monitor are not as many as its intervals have, or are of another object
        than it says.
    NameClashError
        If ``nwbfile`` has a simulation, or something of the same name, or monitors contradict each
        other or are of several networks.
    UnitError
        If a unit is not understood, or of no variable.
    MissingDependencyError
        If ANNarchy is not installed.

    Example
    -------
    >>> add_recordings(nwbfile, network.get_monitors(), unit={"v": "mV"})  # doctest: +SKIP

    """
    output = adapter.recordings(monitors, intervals=intervals, unit=unit)
    add_in_memory(nwbfile, output)
    return output.notes


def add_saved_recordings(
    nwbfile: NWBFile,
    path: str | Path,
    *,
    dt: float,
    population: str | None = None,
    variable: str | None = None,
    period: float | None = None,
    start: float = 0.0,
    geometry: Sequence[int] | None = None,
    unit: Mapping[str, str] | None = None,
) -> None:
    """Add what is in a file of ``Monitor.save`` or ``MonitorList.save_all`` to ``nwbfile``.

    Such files have values only; what they do not say is asked for. Spikes, and what was to be
    written after them, are never in them.

    Parameters
    ----------
    nwbfile
        A file in memory without a simulation yet.
    path
        A ``.hdf5`` or ``.npy`` file.
    dt
        The time step in ms.
    population
        Name of what was monitored; not needed where variables are in groups of such names.
    variable
        Name of the variable of a ``.npy`` file.
    period
        What the monitor was asked for, in ms.
    start
        Time of the first sample in ms.
    geometry
        Shape of the population, if all of it was recorded.
    unit
        Units of variables, such as ``{"v": "mV"}``, ``"1"`` for none.

    Raises
    ------
    SourceError
        If it is no such file, or does not say a name that is not given either.
    NothingRecordedError
        If there is no variable in it.
    ShapeMismatchError
        If ``geometry`` has not as many neurons.
    NameClashError
        If ``nwbfile`` has a simulation, or something of the same name.
    UnitError
        If a unit is not understood, or of no variable.

    Example
    -------
    >>> add_saved_recordings(nwbfile, "exc.hdf5", dt=0.5, population="exc")  # doctest: +SKIP

    """
    output = adapter.read_recordings(
        path,
        dt=dt,
        population=population,
        variable=variable,
        period=period,
        start=start,
        geometry=geometry,
        unit=unit,
    )
    with output:
        add_in_memory(nwbfile, output)
