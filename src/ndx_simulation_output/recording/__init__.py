"""Format-independent data model of a recorded run: frozen dataclasses of numpy arrays."""

from ndx_simulation_output.recording.array_groups import (
    ArrayAxis,
    ArrayGroup,
    ArrayWithAxes,
)
from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.recording.cells import Categories, CellTable
from ndx_simulation_output.recording.circuit import Circuit, ConnectionTable, PopulationSummary
from ndx_simulation_output.recording.compartments import CompartmentTable
from ndx_simulation_output.recording.network import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    Synapses,
)
from ndx_simulation_output.recording.output import (
    Electrodes,
    ExtracellularPotential,
    Run,
    SimulationOutput,
)
from ndx_simulation_output.recording.reports import Report, StreamedReport
from ndx_simulation_output.recording.spikes import SpikeBlock, Spikes
from ndx_simulation_output.recording.times import RegularTimes, Times, Timestamps
from ndx_simulation_output.recording.traces import GroupMeans, Traces
from ndx_simulation_output.recording.units import UNKNOWN, Unit, parse_unit, unit_symbol

__all__ = [
    "UNKNOWN",
    "ArrayAxis",
    "ArrayGroup",
    "ArrayWithAxes",
    "Categories",
    "CellTable",
    "Circuit",
    "CompartmentTable",
    "ConnectionTable",
    "Electrodes",
    "ExtracellularPotential",
    "GroupMeans",
    "LazyArray",
    "NetworkSnapshot",
    "PopulationSnapshot",
    "PopulationSummary",
    "ProjectionSnapshot",
    "Quantity",
    "RegularTimes",
    "Report",
    "Run",
    "SimulationOutput",
    "SpikeBlock",
    "Spikes",
    "StreamedReport",
    "Synapses",
    "Times",
    "Timestamps",
    "Traces",
    "Unit",
    "parse_unit",
    "unit_symbol",
]
