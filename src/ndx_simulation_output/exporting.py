"""Export the state of a network from an NWB file to ANNarchy's own files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ndx_simulation_output.adapters import annarchy
from ndx_simulation_output.convert import Converted, open_output
from ndx_simulation_output.errors import ExportError
from ndx_simulation_output.recording import NetworkSnapshot, SimulationOutput

__all__ = ["export_annarchy"]


def export_annarchy(
    path: str | Path,
    target: str | Path,
    *,
    state: str | None = None,
    part: str | None = None,
    connectivity: bool = False,
    delay_unit: annarchy.DelayUnit = "ms",
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
    with open_output(path) as output:
        network = _state_of(output, state, path)
        form: annarchy.Form = "network"
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
