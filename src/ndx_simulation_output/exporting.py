"""The way back from an NWB file: to SONATA, and to ANNarchy's own files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ndx_simulation_output.convert import Converted
from ndx_simulation_output.errors import ExportError
from ndx_simulation_output.opening import existing, open_output
from ndx_simulation_output.recording import NetworkSnapshot, SimulationOutput
from ndx_simulation_output.recording.arrays import Progress

if TYPE_CHECKING:
    from ndx_simulation_output.adapters.annarchy import DelayUnit, Form
    from ndx_simulation_output.adapters.sonata import Dialect, Written

__all__ = ["export_annarchy", "export_sonata"]


def export_sonata(
    path: str | Path,
    directory: str | Path,
    *,
    dialect: "Dialect | None" = None,
    dtype: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> "Written":
    """Write the reports, spikes and extracellular potentials of an NWB file as SONATA files.

    What came from SONATA goes out with the same values, ids, order, populations, times, units,
    types and extra columns. The result lists the files, and what SONATA cannot say.

    Parameters
    ----------
    path
        An NWB file, of this package or any other.
    directory
        Where the files go; made if it does not exist.
    dialect
        ``allen`` (bmtk) or ``bbp`` (libsonata); by default that of the source, else ``bbp``.
    dtype
        Type of the data of reports, such as ``float32``; by default the recorded one.
    overwrite
        Whether existing files are replaced.
    progress
        Called with the number of bytes done since the last call, and that of all.

    Raises
    ------
    SourceError
        If the NWB file cannot be read.
    ExportError
        If nothing in it can be said in SONATA.
    TargetExistsError
        If a file exists and ``overwrite`` is false.
    WriteError
        If a file cannot be written.

    Example
    -------
    >>> export_sonata("run.nwb", "sonata/", dialect="bbp")  # doctest: +SKIP

    """
    from ndx_simulation_output.adapters import sonata
    from ndx_simulation_output.nwb import reader

    reader.check_nwb(existing(path))
    with reader.read(Path(path)) as output:
        written = sonata.write(
            output,
            Path(directory),
            dialect=dialect,
            dtype=dtype,
            overwrite=overwrite,
            progress=progress,
        )
        written.left_out[:0] = output.notes
    return written


def export_annarchy(
    path: str | Path,
    target: str | Path,
    *,
    state: str | None = None,
    part: str | None = None,
    connectivity: bool = False,
    delay_unit: "DelayUnit" = "ms",
    overwrite: bool = False,
) -> Converted:
    """Write the state of a network as a file that ANNarchy 4.8 and 5.0 load.

    The extension of ``target`` chooses the container, as in ANNarchy: ``.npz``, ``.gz``, ``.mat``,
    which ANNarchy does not load, and a pickle for ``.txt`` and any other. The notes of the result
    say what such a file cannot.

    Parameters
    ----------
    path
        An NWB file, or a file of ANNarchy that says its time itself.
    target
        The file to write.
    state
        Name of the state; not needed where there is one.
    part
        Name of the one population or projection to write, for its own ``load``.
    connectivity
        Write only where the synapses of the projection ``part`` are, with weights and delays, as
        ``save_connectivity`` does.
    delay_unit
        Unit of the delays there: ``ms`` for ANNarchy 5, ``steps`` for its versions before.
    overwrite
        Whether an existing target is replaced.

    Raises
    ------
    SourceError
        If the file cannot be read.
    ExportError
        If there is no such state or part, or a file of ANNarchy cannot hold it.
    NameClashError
        If two parts have the same name.
    TargetExistsError
        If the target exists and ``overwrite`` is false.
    WriteError
        If the file cannot be written. An existing one is then as it was.
    MissingDependencyError
        If it is a MATLAB file and SciPy is not installed.

    Example
    -------
    >>> export_annarchy("state.nwb", "network.npz")  # doctest: +SKIP

    """
    from ndx_simulation_output.adapters import annarchy

    with open_output(path) as output:
        network = _state_of(output, state, path)
        form: Form = "network"
        if part is not None or connectivity:
            form = "connectivity" if connectivity else "part"
            network = _part_of(network, part, only_projections=connectivity)
        notes = annarchy.write(
            target, network, form=form, delay_unit=delay_unit, overwrite=overwrite
        )
    return Converted(Path(target), (*output.notes, *notes))


def _state_of(output: SimulationOutput, name: str | None, path: str | Path) -> NetworkSnapshot:
    names = [network.name for network in output.networks]
    found = [network for network in output.networks if name in {None, network.name}]
    if len(found) != 1:
        wanted = "one state" if name is None else f"one state named {name!r}"
        msg = f"{path} has {_listed(names)}; expected {wanted} to export (--state)"
        raise ExportError(msg)
    return found[0]


def _part_of(
    network: NetworkSnapshot, name: str | None, *, only_projections: bool
) -> NetworkSnapshot:
    among = replace(network, populations=()) if only_projections else network
    chosen = replace(
        among,
        populations=tuple(one for one in among.populations if name in {None, one.name}),
        projections=tuple(one for one in among.projections if name in {None, one.name}),
    )
    if len(chosen.parts) != 1:
        what = "projection" if only_projections else "population or projection"
        named = "" if name is None else f" named {name!r}"
        names = _listed([one.name for one in among.parts])
        msg = f"{network.name} has {names}; expected one {what}{named} (--part)"
        raise ExportError(msg)
    return chosen


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
