"""Write potentials, spikes and the state of a Brian2 network to an NWB file."""

import numpy as np
from brian2 import (
    Network,
    NeuronGroup,
    SpikeMonitor,
    StateMonitor,
    Synapses,
    defaultclock,
    get_unit,
    ms,
    prefs,
    second,
    seed,
    volt,
)
from brian2.core.variables import Variable

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.recording import (
    UNKNOWN,
    CompartmentTable,
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    Unit,
    parse_unit,
)

METADATA = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}

# Your network: leaky cells that excite each other.
prefs.codegen.target = "numpy"
seed(1)
np.random.seed(1)  # noqa: NPY002 - the generator of Brian2
cells = NeuronGroup(
    100,
    "dv/dt = (-60*mV - v + drive) / (20*ms) : volt (unless refractory)\ndrive : volt",
    threshold="v > -50*mV",
    reset="v = -65*mV",
    refractory=5 * ms,
    method="exact",
    name="exc",
)
cells.v = "-65*mV + rand() * 15*mV"
cells.drive = "5*mV + rand() * 10*mV"
synapses = Synapses(cells, cells, "w : volt", on_pre="v_post += w", name="exc_to_exc")
synapses.connect("i != j", p=0.1)
synapses.w = "rand() * 0.5*mV"
synapses.delay = "1*ms + rand() * 2*ms"
potentials = StateMonitor(cells, "v", record=[7, 3, 50])
spikes = SpikeMonitor(cells)
net = Network(cells, synapses, potentials, spikes)
net.run(200 * ms)


def unit_of(variable: Variable) -> Unit:
    """Return the SI unit of a variable of Brian2."""
    return parse_unit(str(get_unit(variable.dim))) or UNKNOWN


# The results as NWB objects. Brian2 returns numbers in SI units.
states = net.get_states(units=False, read_only_variables=False)
local = {
    name: values for name, values in states["exc"].items() if np.shape(values) == (len(cells),)
}
rate = float(1 / (potentials.clock.dt / second))
output = SimulationOutput(
    reports=(
        Report(
            name="v",
            data=np.asarray(potentials.v / volt).T,
            times=RegularTimes(float(potentials.t[0] / second), rate, len(potentials.t)),
            compartments=CompartmentTable.from_cells("exc", potentials.record),
            unit=Unit("volts"),
        ),
    ),
    spikes=(
        Spikes(
            "exc",
            np.asarray(spikes.i),
            np.asarray(spikes.t / second),
            cells=range(len(cells)),
            intervals=np.array([[0.0, net.t / second]]),
        ),
    ),
    networks=(
        NetworkSnapshot(
            name="end",
            populations=(
                PopulationSnapshot(
                    "exc",
                    (len(cells),),
                    tuple(
                        Quantity(name, values, unit=unit_of(cells.variables[name]))
                        for name, values in local.items()
                    ),
                    model=str(cells.equations),
                ),
            ),
            projections=(
                ProjectionSnapshot.from_synapses(
                    "exc_to_exc",
                    synapses.i[:],
                    synapses.j[:],
                    {"w": states["exc_to_exc"]["w"]},
                    pre="exc",
                    post="exc",
                    delays=np.asarray(synapses.delay / second),
                    weight="w",
                    units={"w": unit_of(synapses.variables["w"])},
                ),
            ),
            time=float(net.t / second),
            simulator="Brian2",
            not_contained="Spikes that are on their way to a synapse, and random generators.",
        ),
    ),
    run=Run(simulator="Brian2", time_step=float(defaultclock.dt / second), duration=0.2),
)
convert(output, "run.nwb", metadata=METADATA)

with open_output("run.nwb") as output:
    (state,) = output.networks
    (exc,), (projection,) = state.populations, state.projections
    print(f"{exc.size} cells: {', '.join(quantity.name for quantity in exc.quantities)}")
    print(f"{projection.pre_ranks.shape[0]} synapses, {len(output.spikes[0].times)} spikes")
    print(f"{len(output.spikes[0].silent)} of {exc.size} recorded cells are silent")
    traces = output["v"].get_traces(cells=3)
    print(f"cell 3: {traces.min():.4f} to {traces.max():.4f} volts")
