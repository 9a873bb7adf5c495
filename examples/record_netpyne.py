"""Record a NetPyNE network with its populations and gids to an NWB file while it runs."""

from netpyne import sim, specs

from ndx_simulation_output import open_output
from ndx_simulation_output.neuron import record

# Stand-in for your network: two populations; the first is stimulated, also by artificial cells.
network = specs.NetParams()
network.cellParams["ball and stick"] = {
    "secs": {
        "soma": {"geom": {"diam": 18.8, "L": 18.8, "Ra": 123.0}, "mechs": {"hh": {}}},
        "dend": {
            "geom": {"diam": 2.0, "L": 200.0, "nseg": 5},
            "mechs": {"pas": {"g": 3e-5, "e": -70}},
            "topol": {"parentSec": "soma", "parentX": 1.0, "childX": 0.0},
        },
    }
}
for name, count in (("exc", 4), ("inh", 2)):
    network.popParams[name] = {"cellType": "ball and stick", "numCells": count}
network.popParams["drive"] = {"cellModel": "NetStim", "numCells": 3, "rate": 40, "noise": 0.5}
network.synMechParams["AMPA"] = {"mod": "Exp2Syn", "tau1": 0.1, "tau2": 5.0, "e": 0}
network.stimSourceParams["input"] = {"type": "NetStim", "rate": 50, "noise": 0.5}
network.stimTargetParams["input to exc"] = {
    "source": "input",
    "conds": {"pop": "exc"},
    "sec": "dend",
    "weight": 0.02,
    "delay": 1,
    "synMech": "AMPA",
}
for before, after in (("exc", "inh"), ("drive", "exc")):
    network.connParams[f"{before} to {after}"] = {
        "preConds": {"pop": before},
        "postConds": {"pop": after},
        "sec": "dend",
        "weight": 0.01,
        "delay": 2,
        "synMech": "AMPA",
    }
config = specs.SimConfig({"duration": 100.0, "dt": 0.025, "verbose": False})
config.use_fast_imem = True  # for i_membrane_

sim.create(network, config)
sim.preRun()  # as in sim.simulate(): sets use_fast_imem, h.dt and the random streams
with record("run.nwb", variables=["v", "i_membrane_"], every=0.1):
    sim.runSim()
sim.gatherData()  # NetPyNE has its own recordings

with open_output("run.nwb") as output:
    for report in output.reports:
        times, columns = report.data.shape
        print(f"{report.name}: {times} times × {columns} compartments of {report.population}")
    for spikes in output.spikes:
        print(f"{len(spikes.times)} spikes of {spikes.population}")
    found = sorted(time for spikes in output.spikes for time in spikes.times)
    assert found == sorted(time / 1000.0 for time in sim.simData["spkt"])
