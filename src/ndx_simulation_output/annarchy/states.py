"""Save and load networks and recordings in NWB files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pynwb import NWBFile

from ndx_simulation_output.annarchy.monitor_files import read_recordings
from ndx_simulation_output.annarchy.monitors import recordings
from ndx_simulation_output.annarchy.network import find_network, snapshot
from ndx_simulation_output.annarchy.reading import read
from ndx_simulation_output.annarchy.restoring import Restored, restore
from ndx_simulation_output.annarchy.restoring import connect as restoring_connect
from ndx_simulation_output.annarchy.writing import write
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.nwb import reader, writer
from ndx_simulation_output.nwb.mapping import add_in_memory
from ndx_simulation_output.nwb.metadata import begun_now
from ndx_simulation_output.nwb.network_state import make_state
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    ProjectionSnapshot,
    Run,
    SimulationOutput,
)

# Save and load the state of a network of ANNarchy that is in memory.

_NWB = {".nwb", ".zarr"}


def save(
    target: str | Path,
    network: Any = None,
    *,
    populations: bool = True,
    projections: bool = True,
    metadata: str | Path | Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Save the state of a compiled network, or of one population or projection, as it is now.

    ``NAME.nwb`` holds all that can be read of it: units of time, the time step, seed, versions and
    the text of the models too. Any other name is a file of ANNarchy: ``.npz``, ``.gz``, ``.mat``,
    or a pickle. Give notes on what such a file cannot say.

    Parameters
    ----------
    target
        The file to write.
    network
        A ``Network``, ``Population`` or ``Projection``; None for the implicit network, as in
        scripts for ANNarchy 4.
    populations
        Whether populations are saved.
    projections
        Whether projections are saved.
    metadata
        Session and subject as a dict or YAML file, as for ``convert``, for NWB.
    overwrite
        Whether an existing file is replaced.

    Raises
    ------
    RecordingError
        If it is no network with populations, or part of one, or not compiled.
    TargetExistsError
        If the file exists and ``overwrite`` is false.
    WriteError
        If it cannot be written. An existing one is then as it was.
    ExportError
        If a file of ANNarchy cannot hold it.
    MetadataError
        If the metadata do not fit NWB.
    MissingDependencyError
        If ANNarchy is not installed, or for ``.mat`` SciPy.

    Example
    -------
    >>> save("state.nwb", network)  # doctest: +SKIP
    >>> save("weights.nwb", network, populations=False)  # doctest: +SKIP

    """
    target = Path(target)
    live = find_network(network)
    taken = snapshot(live, populations=populations, projections=projections)
    if target.suffix not in _NWB:
        form: Any = "part" if live.set_step is None else "network"
        return write(target, taken, form=form, overwrite=overwrite)
    output = SimulationOutput(
        networks=(taken,),
        run=Run(taken.simulator, taken.simulator_version, taken.time_step, seed=taken.seed),
        provenance={"format": "annarchy", "files": []},
    )
    writer.write(output, target, metadata=begun_now(metadata), overwrite=overwrite)
    return ()


def load(
    source: str | Path,
    network: Any = None,
    *,
    populations: bool = True,
    projections: bool = True,
    partial: bool = False,
    state: str | None = None,
) -> Restored:
    """Load a state into a compiled network, or into one population or projection of it.

    Sizes, geometries, synapses and types are compared first: nothing is set unless all fits, or
    with ``partial`` all that does. The clock is set where populations are. What only the file or
    only the network has is left alone, and said in the result.

    Parameters
    ----------
    source
        An NWB file, or a file that ANNarchy saved, in whatever container; its time step is taken to
        be that of the network.
    network
        A ``Network``, ``Population`` or ``Projection``; None for the implicit network.
    populations
        Whether populations are loaded.
    projections
        Whether projections are loaded.
    partial
        Whether what fits is set although something else does not.
    state
        Name of the state, where an NWB file has several.

    Raises
    ------
    RestoreError
        If something does not fit.
    SourceError
        If the file cannot be read, or has no such state.
    NameClashError
        If two parts have the same name.
    RecordingError
        If it is no network with populations, or part of one.
    MissingDependencyError
        If ANNarchy is not installed.

    Example
    -------
    >>> print(load("state.nwb", network))  # doctest: +SKIP

    """
    live = find_network(network)
    with _open(Path(source), live.dt) as output:
        return restore(
            live,
            _state(output, state, source),
            populations=populations,
            projections=projections,
            partial=partial,
        )


def connect(
    projection: Any, source: str | Path, *, name: str | None = None, state: str | None = None
) -> None:
    """Give a projection the synapses that one in a file has, before the network is compiled.

    This rebuilds a random topology, so that the state can be loaded after ``compile``. Uniform
    delays go through ``connect_from_sparse``, others through ``connect_with_func``; weights and
    delays are those of the file.

    Parameters
    ----------
    projection
        A projection without synapses yet.
    source
        An NWB file, or a file that ANNarchy saved.
    name
        Name of the projection in the file, if it is not that of ``projection``.
    state
        Name of the state, where an NWB file has several.

    Raises
    ------
    RestoreError
        If the projection is compiled, or its populations have not the neurons.
    SourceError
        If the file cannot be read, or has no such projection.
    MissingDependencyError
        If ANNarchy or SciPy is not installed.

    Example
    -------
    >>> projection = network.connect(exc, inh, "exc", name="to_inh")  # doctest: +SKIP
    >>> connect(projection, "state.nwb")  # doctest: +SKIP

    """
    live = find_network(projection)
    with _open(Path(source), live.dt) as output:
        saved = _state(output, state, source)
        restoring_connect(projection, _projection(saved, name or projection.name, source), live.dt)


def add_state(nwbfile: NWBFile, network: Any = None, *, name: str | None = None) -> None:
    """Add the state of a compiled network, as it is now, to the acquisition of ``nwbfile``.

    ``name`` is that of the object, so that a file can have states of several times.

    Raises
    ------
    RecordingError
        If it is no network with populations, or part of one, or not compiled.
    MissingDependencyError
        If ANNarchy is not installed.

    Example
    -------
    >>> add_state(nwbfile, network, name="after_learning")  # doctest: +SKIP

    """
    taken = snapshot(find_network(network))
    taken = replace(taken, name=name or taken.name)
    nwbfile.add_acquisition(make_state(taken, taken.name))


def _open(source: Path, dt: float) -> SimulationOutput:
    if not source.exists():
        msg = f"{source} does not exist"
        raise SourceError(msg)
    if reader.is_nwb(source):
        return reader.read(source)
    return read(source, dt=dt)


def _state(output: SimulationOutput, name: str | None, source: str | Path) -> NetworkSnapshot:
    found = [network for network in output.networks if name in {None, network.name}]
    if len(found) != 1:
        names = ", ".join(network.name for network in output.networks) or "none"
        wanted = "one state" if name is None else f"a state {name!r}"
        msg = f"{source} has the states {names}; expected {wanted} (say which with state=)"
        raise SourceError(msg)
    return found[0]


def _projection(saved: NetworkSnapshot, name: str, source: str | Path) -> ProjectionSnapshot:
    found = [one for one in saved.projections if one.name == name]
    if len(found) != 1:
        names = ", ".join(one.name for one in saved.projections) or "none"
        msg = f"{source} has the projections {names}; expected {name!r} (say which with name=)"
        raise SourceError(msg)
    return found[0]


# What monitors of ANNarchy have recorded, added to an NWB file in memory.


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
    output = recordings(monitors, intervals=intervals, unit=unit)
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
    output = read_recordings(
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
