"""Save and load networks, and add recordings, in NWB files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pynwb import NWBFile

from ndx_simulation_output.annarchy.monitors import read_recordings, recordings
from ndx_simulation_output.annarchy.network import find_network, snapshot
from ndx_simulation_output.annarchy.reading import read
from ndx_simulation_output.annarchy.restoring import (
    Restored,
    restore,
    restore_connections,
    storage_in,
)
from ndx_simulation_output.annarchy.writing import write
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.files import is_nwb
from ndx_simulation_output.nwb import reader
from ndx_simulation_output.nwb.mapping import add_in_memory
from ndx_simulation_output.nwb.network_state import make_state
from ndx_simulation_output.nwb.saved_states import save_state
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    ProjectionSnapshot,
    SimulationOutput,
)

_Saved = TypeVar("_Saved", NetworkSnapshot, ProjectionSnapshot)

_NWB_EXTENSIONS = {".nwb", ".zarr"}


def save(
    target: str | Path,
    network: Any = None,
    *,
    populations: bool = True,
    projections: bool = True,
    metadata: str | Path | Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Save the current state of a compiled network, or of a single population or projection.

    NWB files contain every value that can be read, and the time step, seed, versions and equations.

    Parameters
    ----------
    target
        The file to write: NWB if it ends in ``.nwb`` or ``.zarr``, otherwise a file of ANNarchy:
        ``.npz``, ``.gz``, ``.mat``, or a pickle.
    network
        A ``Network``, ``Population`` or ``Projection``; None for the implicit network, as in
        scripts for ANNarchy 4.
    populations
        Save the populations.
    projections
        Save the projections.
    metadata
        Session and subject for NWB as a dict or YAML file, as for ``convert``.
    overwrite
        Replace an existing file.

    Returns
    -------
    tuple of str
        Notes on data that a file of ANNarchy cannot contain; none for NWB.

    Raises
    ------
    RecordingError
        If ``network`` has no populations, is not compiled, or has another type.
    TargetExistsError
        If the file exists and ``overwrite`` is false.
    WriteError
        If the file cannot be written. An existing one is unchanged.
    ExportError
        If a file of ANNarchy cannot store the state.
    MetadataError
        If the metadata do not fit NWB.
    MissingDependencyError
        If ANNarchy is not installed, or SciPy for ``.mat``.

    Example
    -------
    >>> save("state.nwb", network)  # doctest: +SKIP
    >>> save("weights.nwb", network, populations=False)  # doctest: +SKIP

    """
    target = Path(target)
    live = find_network(network)
    state = snapshot(live, populations=populations, projections=projections)
    if target.suffix not in _NWB_EXTENSIONS:
        form: Any = "part" if live.set_step is None else "network"
        return write(target, state, form=form, overwrite=overwrite)
    provenance = {"format": "annarchy", "files": []}
    save_state(target, state, provenance, metadata=metadata, overwrite=overwrite)
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
    """Load a state into a compiled network, or into a single population or projection.

    Geometries, connections, types and the time step are compared first: nothing is set if
    something does not match. The clock is set if populations are loaded; spikes in flight and
    delayed rates of a network that has run are then removed, and inputs (``TimedArray``,
    ``TimedPoissonPopulation``, ``SpikeSourceArray``) continue their saved schedule. Items that are
    only in the file or only in the network are listed in the result, as is what no file contains.
    Copies of a network of ANNarchy 5 share one clock.

    Parameters
    ----------
    source
        An NWB file, or a file of ANNarchy, whose time step is assumed to be that of the network.
    network
        A ``Network``, ``Population`` or ``Projection``; None for the implicit network, as in
        scripts for ANNarchy 4.
    populations
        Load the populations.
    projections
        Load the projections.
    partial
        Set items that match even if others do not.
    state
        Name of the state, if an NWB file has several.

    Raises
    ------
    RestoreError
        If something does not match, or the network is not compiled.
    SourceError
        If the file cannot be read, or has no such state.
    NameClashError
        If two populations or projections have the same name.
    RecordingError
        If ``network`` has no populations, or has another type.
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
    """Create the synapses of a projection from a file, before the network is compiled.

    This restores random connections with their weights and delays, in the storage format that
    ``save`` found, so that the state can be loaded after ``compile``.

    Parameters
    ----------
    projection
        A projection without synapses.
    source
        An NWB file, or a file of ANNarchy.
    name
        Name of the projection in the file, if it differs from that of ``projection``.
    state
        Name of the state, if an NWB file has several.

    Raises
    ------
    RestoreError
        If the projection is compiled, or its populations lack neurons that have synapses.
    SourceError
        If the file cannot be read, or has no such projection.
    MissingDependencyError
        If ANNarchy or SciPy is not installed.

    Example
    -------
    >>> projection = network.connect(exc, inh, "exc", name="to_inh")  # doctest: +SKIP
    >>> connect(projection, "state.nwb")  # doctest: +SKIP

    """
    dt = find_network(projection).dt
    with _open(Path(source), dt) as output:
        found = _state(output, state, source)
        name = name or projection.name
        saved = _select("projection", found.projections, name, source, "name=")
        restore_connections(projection, saved, dt, storage_in(found, name))


def add_state(nwbfile: NWBFile, network: Any = None, *, name: str | None = None) -> None:
    """Add the current state of a compiled network to the acquisition of an NWB file.

    Parameters
    ----------
    nwbfile
        A file in memory.
    network
        A ``Network``, ``Population`` or ``Projection``; None for the implicit network, as in
        scripts for ANNarchy 4.
    name
        Name of the state, so that a file can have states at several times.

    Raises
    ------
    RecordingError
        If ``network`` has no populations, is not compiled, or has another type.
    MissingDependencyError
        If ANNarchy is not installed.

    Example
    -------
    >>> add_state(nwbfile, network, name="after_learning")  # doctest: +SKIP

    """
    state = snapshot(find_network(network))
    state = replace(state, name=name or state.name)
    nwbfile.add_acquisition(make_state(state, state.name))


def add_recordings(
    nwbfile: NWBFile,
    monitors: Any,
    *,
    intervals: Mapping[Any, Sequence[tuple[float, float]]] | None = None,
    start: Mapping[Any, float] | None = None,
    unit: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Add the recordings of monitors to an NWB file, without clearing the monitors.

    Variables of populations become ``CompartmentSeries`` in the acquisition, with the rank and grid
    coordinates of each neuron; variables of projections have the synapses of each neuron. Spikes
    become units, including silent neurons, with the intervals of the recording. Variables and
    monitors that cannot be recorded are left out, with a note.

    Parameters
    ----------
    nwbfile
        A file in memory without a simulation. All monitors must be added in one call.
    monitors
        A monitor, a list, or a dictionary of monitors of the same network. What ``boldmonitor()``
        returns is a monitor too.
    intervals
        Times in ms at which a monitor ran, ``{monitor: [(start, stop), ...]}``, if it reports them
        incorrectly.
    start
        Time in ms of the first sample since a monitor was made or emptied, ``{monitor: 5.0}``, or
        of an earlier one, if it cannot be determined. It is remembered for later calls.
    unit
        Units of variables, such as ``{"v": "mV"}``, ``"1"`` for dimensionless values.

    Returns
    -------
    tuple of str
        Notes on monitors, variables and spikes that were left out; the file has them too.

    Raises
    ------
    RecordingError
        If the number of samples of a monitor contradicts its intervals or does not determine the
        time of the first one, or if nothing at all can be recorded.
    NameClashError
        If ``nwbfile`` has a simulation or an object of the same name, if the monitors belong to
        several networks, or if two recorded spikes of the same neurons at different times.
    UnitError
        If a unit is not known, or belongs to a variable that was not recorded.
    MissingDependencyError
        If ANNarchy is not installed.

    Example
    -------
    >>> add_recordings(nwbfile, network.get_monitors(), unit={"v": "mV"})  # doctest: +SKIP

    """
    output = recordings(monitors, intervals=intervals, start=start, unit=unit)
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
    """Add the recordings in a file of ``Monitor.save`` or ``MonitorList.save_all`` to an NWB file.

    Such files contain only values, never spikes.

    Parameters
    ----------
    nwbfile
        A file in memory without a simulation.
    path
        A ``.hdf5`` or ``.npy`` file.
    dt
        The time step in ms.
    population
        Name of the population; not needed if the variables are in groups named after populations.
    variable
        Name of the variable in a ``.npy`` file.
    period
        The period of the monitor in ms; ANNarchy truncates it to whole time steps.
    start
        Time of the first sample in ms.
    geometry
        Shape of the population, if all its neurons were recorded.
    unit
        Units of variables, such as ``{"v": "mV"}``, ``"1"`` for dimensionless values.

    Raises
    ------
    SourceError
        If it is not a file of a monitor, or if ``population`` or ``variable`` is missing.
    NothingRecordedError
        If the file has no variable, as after ANNarchy failed to save spikes.
    ShapeMismatchError
        If ``geometry`` has another number of neurons.
    NameClashError
        If ``nwbfile`` has a simulation, or an object of the same name.
    UnitError
        If a unit is not known, or belongs to a variable that is not in the file.

    Example
    -------
    >>> add_saved_recordings(nwbfile, "exc.hdf5", dt=0.5, population="exc")  # doctest: +SKIP

    """
    with read_recordings(
        path,
        dt=dt,
        population=population,
        variable=variable,
        period=period,
        start=start,
        geometry=geometry,
        unit=unit,
    ) as output:
        add_in_memory(nwbfile, output)


def _open(source: Path, dt: float) -> SimulationOutput:
    if not source.exists():
        msg = f"{source} does not exist"
        raise SourceError(msg)
    return reader.read(source) if is_nwb(source) else read(source, dt=dt)


def _state(output: SimulationOutput, name: str | None, source: str | Path) -> NetworkSnapshot:
    return _select("state", output.networks, name, source, "state=")


def _select(
    kind: str, items: Sequence[_Saved], name: str | None, source: str | Path, option: str
) -> _Saved:
    found = [item for item in items if name in {None, item.name}]
    if len(found) != 1:
        names = ", ".join(item.name for item in items) or "none"
        expected = f"one {kind}" if name is None else f"one named {name!r}"
        msg = f"{source} has the {kind}s {names}; expected {expected} (select it with {option})"
        raise SourceError(msg)
    return found[0]
