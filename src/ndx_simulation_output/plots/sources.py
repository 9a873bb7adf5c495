"""What can be drawn, as the neutral description has it."""

from typing import Any

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.nwb.described import describe_series
from ndx_simulation_output.nwb.network_state import read_state
from ndx_simulation_output.nwb.types import CompartmentSeries, NetworkState
from ndx_simulation_output.recording import (
    ExtracellularPotential,
    NetworkSnapshot,
    Report,
    SimulationOutput,
    Spikes,
)

__all__ = ["network_of", "potential_of", "report_of", "spikes_of"]


def report_of(source: Any) -> Report:
    """Give a report, that of a compartment series, or the first of an output.

    Raises
    ------
    NothingRecordedError
        If an output has no reports.

    """
    if isinstance(source, CompartmentSeries):
        return describe_series(source)
    report: Report = _first(source, Report, "reports", "report")
    return report


def spikes_of(source: Any) -> Spikes:
    """Give spikes, or those of the first population of an output.

    Raises
    ------
    NothingRecordedError
        If an output has no spikes.

    """
    spikes: Spikes = _first(source, Spikes, "spikes", "spikes")
    return spikes


def potential_of(source: Any) -> ExtracellularPotential:
    """Give an extracellular potential, or the first of an output.

    Raises
    ------
    NothingRecordedError
        If an output has none.

    """
    potential: ExtracellularPotential = _first(
        source, ExtracellularPotential, "potentials", "extracellular potential"
    )
    return potential


def network_of(source: Any) -> NetworkSnapshot:
    """Give the state of a network, or the first of an output.

    Raises
    ------
    NothingRecordedError
        If an output has none.

    """
    if isinstance(source, NetworkState):
        return read_state(source)
    network: NetworkSnapshot = _first(source, NetworkSnapshot, "networks", "state of a network")
    return network


def _first(source: Any, kind: type, field: str, what: str) -> Any:
    if isinstance(source, kind):
        return source
    if not isinstance(source, SimulationOutput):
        msg = f"{what} expected, or an open output; found {type(source).__name__}"
        raise TypeError(msg)
    found = getattr(source, field)
    if not found:
        msg = f"there is no {what} to draw"
        raise NothingRecordedError(msg)
    return found[0]
