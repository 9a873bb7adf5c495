"""Write potentials, spikes and the state of a NEST network to an NWB file."""

import nest
import numpy as np

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.recording import (
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
)

UNITS = {
    "C_m": "pF",
    **dict.fromkeys(["E_L", "V_m", "V_min", "V_reset", "V_th"], "mV"),
    "I_e": "pA",
    **dict.fromkeys(["t_ref", "t_spike", "tau_Ca", "tau_m", "tau_minus"], "ms"),
    **dict.fromkeys(["tau_minus_triplet", "tau_syn_ex", "tau_syn_in"], "ms"),
}
"""Units of the parameters and variables of iaf_psc_alpha; NEST does not return them."""
METADATA = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}

# Your network: cells that excite each other, driven by noise.
nest.verbosity = nest.VerbosityLevel.ERROR
nest.rng_seed = 1
exc = nest.Create("iaf_psc_alpha", 100)
noise = nest.Create("poisson_generator", params={"rate": 10_000.0})
nest.Connect(noise, exc, syn_spec={"weight": 38.0})
rule = {"rule": "pairwise_bernoulli", "p": 0.1, "allow_autapses": False}
weights = nest.random.uniform(5.0, 10.0)
nest.Connect(exc, exc, rule, {"weight": weights, "delay": nest.random.uniform(1.0, 3.0)})
multimeter = nest.Create("multimeter", params={"record_from": ["V_m"], "interval": 0.1})
recorder = nest.Create("spike_recorder")
nest.Connect(multimeter, exc[[3, 7, 50]])
nest.Connect(exc, recorder)
nest.Simulate(200.0)

# The results as NWB objects. NEST counts all nodes from 1 and returns ms, mV and pA.
first = exc[0].global_id
recorded = multimeter.events
order = np.lexsort((recorded["senders"], recorded["times"]))
cells, times = np.unique(recorded["senders"]), np.unique(recorded["times"])
state = exc.get(output="pandas").select_dtypes("number")
synapses = nest.GetConnections(exc, exc)
output = SimulationOutput(
    reports=(
        Report(
            name="V_m",
            data=recorded["V_m"][order].reshape(len(times), len(cells)),
            times=RegularTimes(times[0] / 1000, 1000 / multimeter.interval, len(times)),
            compartments=CompartmentTable.from_cells("exc", cells - first),
            unit=Unit("volts", 1e-3),
        ),
    ),
    spikes=(
        Spikes(
            "exc",
            recorder.events["senders"] - first,
            recorder.events["times"] / 1000,
            cells=range(len(exc)),
            intervals=np.array([[0.0, nest.biological_time / 1000]]),
        ),
    ),
    networks=(
        NetworkSnapshot(
            name="end",
            populations=(
                PopulationSnapshot(
                    "exc",
                    (len(exc),),
                    tuple(
                        Quantity(name, values.to_numpy(), unit=UNITS.get(name, "unknown"))
                        for name, values in state.items()
                    ),
                    model=exc[0].model,
                ),
            ),
            projections=(
                ProjectionSnapshot.from_synapses(
                    "exc_to_exc",
                    np.subtract(synapses.source, first),
                    np.subtract(synapses.target, first),
                    {"weight": synapses.weight},
                    pre="exc",
                    post="exc",
                    delays=np.divide(synapses.delay, 1000),
                    weight="weight",
                    units={"weight": "pA"},
                ),
            ),
            time=nest.biological_time / 1000,
            time_step=nest.resolution / 1000,
            seed=nest.rng_seed,
            simulator="NEST",
            simulator_version=nest.__version__,
            not_contained="Spikes in flight, remaining refractory periods, synaptic currents, "
            "random generators, and properties of nodes that are not numbers.",
        ),
    ),
    run=Run("NEST", nest.__version__, nest.resolution / 1000, 0.2, seed=nest.rng_seed),
)
convert(output, "run.nwb", metadata=METADATA)

with open_output("run.nwb") as output:
    (state,) = output.networks
    (exc,), (projection,) = state.populations, state.projections
    print(f"{exc.size} cells of {exc.model} with {len(exc.quantities)} quantities")
    print(f"{projection.pre_ranks.shape[0]} synapses, {len(output.spikes[0].times)} spikes")
    traces = output["V_m"].get_traces(cells=3)
    print(f"cell 3: {traces.min():.4f} to {traces.max():.4f} volts")
