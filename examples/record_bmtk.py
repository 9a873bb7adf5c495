"""Record a network of bmtk's BioNet to an NWB file while it runs.

Alternatively, ``convert`` converts the SONATA reports and spikes that BioNet writes.
"""

from pathlib import Path
from typing import Any

from bmtk.builder.networks import NetworkBuilder
from bmtk.simulator import bionet

from ndx_simulation_output import open_output
from ndx_simulation_output.neuron import record

# Stand-in for your network: four cells of two sections; the first two cells are stimulated.
Path("templates").mkdir()
Path("templates/stick.hoc").write_text(
    """
    begintemplate Stick
    public soma, dend, all
    objref all
    create soma[1], dend[1]
    proc init() {
        all = new SectionList()
        soma[0] { pt3dadd(0, 0, 0, 20)  pt3dadd(20, 0, 0, 20)  insert hh  all.append() }
        dend[0] { pt3dadd(20, 0, 0, 2)  pt3dadd(320, 0, 0, 2)  nseg = 5  insert pas  all.append() }
        connect dend[0](0), soma[0](1)
    }
    endtemplate Stick
    """,
    encoding="utf-8",
)
builder = NetworkBuilder("exc")
builder.add_nodes(
    N=4, model_type="biophysical", model_template="hoc:Stick", stimulated=[1, 1, 0, 0]
)
builder.build()
builder.save(output_dir="network")
config = bionet.Config.from_dict(
    {
        "target_simulator": "NEURON",
        "run": {"tstop": 50.0, "dt": 0.025, "nsteps_block": 1000, "spike_threshold": -15},
        "conditions": {"celsius": 6.3, "v_init": -65.0},
        "components": {"templates_dir": "templates"},
        "networks": {
            "nodes": [
                {
                    "nodes_file": "network/exc_nodes.h5",
                    "node_types_file": "network/exc_node_types.csv",
                }
            ]
        },
        "inputs": {
            "step": {
                "input_type": "current_clamp",
                "module": "IClamp",
                "node_set": {"stimulated": 1},
                "amp": 0.5,
                "delay": 5.0,
                "duration": 30.0,
            }
        },
        "output": {"output_dir": "output", "spikes_file": "spikes.h5"},
    }
)
config.build_env()
network = bionet.BioNetwork.from_config(config)
simulator = bionet.BioSimulator.from_config(config, network=network)

cells: dict[str, dict[int, Any]] = {}
for cell in network.get_local_cells().values():
    cells.setdefault(cell.population_name, {})[cell.node_id] = cell.hobj
with record("run.nwb", cells=cells, variables=["v", "ina"], every=0.1, spikes=-15.0):
    simulator.run()

with open_output("run.nwb") as output:
    for report in output.reports:
        times, columns = report.data.shape
        print(f"{report.name}: {times} times × {columns} compartments of {report.population}")
    for spikes in output.spikes:
        print(f"{len(spikes.times)} spikes of {spikes.population}")
