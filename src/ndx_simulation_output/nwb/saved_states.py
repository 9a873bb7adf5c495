"""Files with the state of one network, as simulators save and load them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ndx_simulation_output.errors import RestoreError, SourceError
from ndx_simulation_output.files import is_nwb
from ndx_simulation_output.nwb import reader, writer
from ndx_simulation_output.nwb.metadata import read_metadata
from ndx_simulation_output.recording import NetworkSnapshot, Run, SimulationOutput


def save_state(
    target: str | Path,
    state: NetworkSnapshot,
    provenance: Mapping[str, Any],
    *,
    metadata: str | Path | Mapping[str, Any] | None,
    overwrite: bool,
) -> None:
    """Write a state to an NWB file of its own."""
    output = SimulationOutput(
        networks=(state,),
        run=Run(state.simulator, state.simulator_version, state.time_step, seed=state.seed),
        provenance=provenance,
    )
    found = read_metadata(metadata, starts_now=True)
    writer.write(output, Path(target), metadata=found, overwrite=overwrite)


@contextmanager
def saved_state(source: str | Path, name: str | None, simulator: str) -> Iterator[NetworkSnapshot]:
    """Context manager for a state of a simulator in an NWB file.

    Raises
    ------
    SourceError
        If the file cannot be read, or does not have the one state that is asked for.
    RestoreError
        If the state is of another simulator.

    """
    if not (Path(source).exists() and is_nwb(Path(source))):
        msg = f"{source} is not an NWB file; expected one with a state of {simulator}"
        raise SourceError(msg)
    with reader.read(Path(source)) as output:
        found = [one for one in output.networks if name in {None, one.name}]
        if len(found) != 1:
            names = ", ".join(one.name for one in output.networks) or "none"
            expected = "one" if name is None else f"one named {name!r}"
            msg = f"{source} has the states {names}; expected {expected} (select it with state=)"
            raise SourceError(msg)
        if found[0].simulator != simulator:
            msg = f"the state in {source} is of {found[0].simulator}; expected one of {simulator}"
            raise RestoreError(msg)
        yield found[0]
