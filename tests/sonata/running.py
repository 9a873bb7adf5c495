"""Run a small model of a simulator that writes SONATA: python running.py SIMULATOR DIRECTORY.

Files are written to ``output`` of the directory, and for BlueCelluLab the positions of its reports.
Of the files in ``morphologies``, ``sections`` writes the sections that NEURON makes of them, and
``places`` where bmtk has their segments in a run of BioNet.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

NETWORKS = Path("network")
MEMBRANE = {"module": "membrane_report", "cells": "all", "sections": "soma"}
HOC = """
begintemplate HHCell
public init, soma, dend, all, somatic, basal, apical, axonal, myelinated, CellRef, getCell
public clear, gid, re_init_rng, nSecAll, nSecSoma, nSecBasal
create soma[1], dend[2]
objref this, CellRef, all, somatic, basal, apical, axonal, myelinated
proc init() {
  gid = $1
  nSecAll = 3
  nSecSoma = 1
  nSecBasal = 2
  CellRef = this
  all = new SectionList()
  somatic = new SectionList()
  basal = new SectionList()
  apical = new SectionList()
  axonal = new SectionList()
  myelinated = new SectionList()
  soma[0] { L = 20 diam = 20 nseg = 1 all.append() somatic.append() }
  dend[0] { L = 200 diam = 2 nseg = 3 all.append() basal.append() }
  dend[1] { L = 100 diam = 2 nseg = 5 all.append() basal.append() }
  connect dend[0](0), soma[0](1)
  connect dend[1](0), soma[0](0)
  forsec all { insert hh }
  k = 0
  forsec all { v(0.0001) = k  k = k + 1 }
}
proc clear() {}
obfunc getCell() { return this }
proc re_init_rng() {}
gid = 0
nSecAll = 0
nSecSoma = 0
nSecBasal = 0
endtemplate HHCell
"""


def written(name: str, contents: Any) -> str:
    """Write JSON to a file and return its name."""
    Path(name).write_text(json.dumps(contents), encoding="utf-8")
    return name


def build(population: str, **nodes: Any) -> dict[str, str]:
    """Build a population with bmtk; return its entry in a configuration."""
    from bmtk.builder.networks import NetworkBuilder

    network = NetworkBuilder(population)
    network.add_nodes(**nodes)
    network.build()
    network.save(output_dir=str(NETWORKS))
    files = {"nodes_file": "nodes.h5", "node_types_file": "node_types.csv"}
    return {key: str(NETWORKS / f"{population}_{name}") for key, name in files.items()}


def bionet() -> None:
    """Record two variables in one file, and one alone, in the cells of two populations."""
    from bmtk.simulator import bionet
    from bmtk.simulator.bionet.pyfunction_cache import add_cell_model
    from neuron import h

    h.load_file("stdrun.hoc")
    # bmtk needs 3-D points.
    h(HOC.replace("forsec all { insert hh }", "forsec all { insert hh } define_shape()"))
    add_cell_model(lambda *_: h.HHCell(0), "python:hh", "biophysical")
    nodes = {"model_type": "biophysical", "model_template": "python:hh"}
    for name in ("mechanisms", "models"):
        Path(name).mkdir()
    config = {
        "run": {"tstart": 0.0, "tstop": 5.0, "dt": 0.1, "dL": 20.0, "nsteps_block": 20},
        "conditions": {"celsius": 6.3, "v_init": -65.0},
        "target_simulator": "NEURON",
        "output": {"output_dir": "output", "spikes_file": "spikes.h5", "log_file": "log.txt"},
        "reports": {
            "v_report": {**MEMBRANE, "variable_name": "v", "file_name": "vars.h5"},
            "m_report": {**MEMBRANE, "variable_name": "m_hh", "file_name": "vars.h5"},
            "list": {**MEMBRANE, "variable_name": ["m_hh", "v"]},
            "x.hdf": {**MEMBRANE, "variable_name": "v"},
        },
        "components": {
            name: ("mechanisms" if "mech" in name else "models")
            for name in ("mechanisms_dir", "biophysical_neuron_models_dir", "morphologies_dir")
        },
        "networks": {"nodes": [build("l4", N=3, **nodes), build("l5", N=2, **nodes)], "edges": []},
        "inputs": {
            "clamp": {
                "input_type": "current_clamp",
                "module": "IClamp",
                "node_set": {"population": "l4"},
                "amp": 0.5,
                "delay": 0.5,
                "duration": 4.0,
            }
        },
    }
    found = bionet.Config.from_json(written("simulation_config.json", config), validate=False)
    found.build_env()
    network = bionet.BioNetwork.from_config(found)
    bionet.BioSimulator.from_config(found, network=network).run()


def sections() -> None:
    """Import morphologies with NEURON; write x, y, z, diameter of points, and names of sections."""
    from neuron import h

    h.load_file("stdrun.hoc")
    h.load_file("import3d.hoc")
    h(
        """
        begintemplate Imported
        public soma, axon, dend, apic, all, somatic, axonal, basal, apical
        objref this, all, somatic, axonal, basal, apical
        create soma[1], axon[1], dend[1], apic[1]
        proc init() {
          forall delete_section()
          all = new SectionList() somatic = new SectionList() axonal = new SectionList()
          basal = new SectionList() apical = new SectionList()
        }
        endtemplate Imported
        """
    )
    found: dict[str, list[Any]] = {}
    for path in sorted(Path("morphologies").iterdir()):
        reader = h.Import3d_SWC_read()
        reader.input(str(path))
        cell = h.Imported()
        h.Import3d_GUI(reader, 0).instantiate(cell)
        found[path.name] = [
            [
                section.name().partition(".")[2].partition("[")[0],
                [
                    [value(i) for value in (section.x3d, section.y3d, section.z3d, section.diam3d)]
                    for i in range(section.n3d())
                ],
            ]
            for section in cell.all
        ]
    written("sections.json", found)


def places() -> None:
    """Record all segments of cells with axon and without, turned in several ways."""
    from bmtk.builder.networks import NetworkBuilder
    from bmtk.simulator import bionet

    passive = {"ra": 100.0, "e_pas": -70.0}
    passive["cm"] = [{"section": name, "cm": 1.0} for name in ("soma", "axon", "dend", "apic")]
    Path("models").mkdir()
    Path("mechanisms").mkdir()
    written(
        "models/passive.json", {"passive": [passive], "conditions": [{"erev": []}], "genome": []}
    )
    network = NetworkBuilder("cells")
    for number, path in enumerate(sorted(Path("morphologies").iterdir())):
        # bmtk replaces only axons that are there.
        has_axon = "2" in {
            line.split()[1] for line in path.read_text().splitlines() if line[0] != "#"
        }
        for extra in [{}, {"model_processing": "aibs_perisomatic"}][: 1 + has_axon]:
            network.add_nodes(
                N=2,
                model_type="biophysical",
                model_template="ctdb:Biophys1.hoc",
                dynamics_params="passive.json",
                morphology=path.name if number % 2 else path.stem,
                x=[100.0 * number, 7.0],
                y=[-50.0, 3.5 * number],
                z=[1000.0, -0.25],
                rotation_angle_yaxis=[1.1, -2.0],
                rotation_angle_xaxis=[0.3, 0.0],
                rotation_angle_zaxis=-0.7 + number,
                **extra,
            )
    network.build()
    network.save(output_dir=str(NETWORKS))
    names = {"biophysical_neuron_models_dir": "models", "mechanisms_dir": "mechanisms"}
    files = {"nodes_file": "nodes.h5", "node_types_file": "node_types.csv"}
    config = {
        "run": {"tstart": 0.0, "tstop": 1.0, "dt": 0.1, "dL": 15.0, "nsteps_block": 20},
        "conditions": {"celsius": 6.3, "v_init": -65.0},
        "target_simulator": "NEURON",
        "output": {"output_dir": "output", "log_file": "log.txt", "spikes_file": "spikes.h5"},
        "reports": {
            "all": {**MEMBRANE, "sections": "all", "variable_name": "v"},
            "soma": {**MEMBRANE, "variable_name": "v"},
        },
        "components": {**names, "morphologies_dir": "morphologies"},
        "networks": {
            "nodes": [{key: str(NETWORKS / f"cells_{name}") for key, name in files.items()}],
            "edges": [],
        },
    }
    found = bionet.Config.from_json(written("simulation_config.json", config), validate=False)
    found.build_env()
    cells = bionet.BioNetwork.from_config(found)
    bionet.BioSimulator.from_config(found, network=cells).run()
    where = {}
    for node in range(len(cells.get_local_cells())):
        # bmtk turns the cell again at each access.
        coordinates = cells.get_cell_gid(node).seg_coords
        where[str(node)] = np.vstack([coordinates.p05, coordinates.d]).T
    np.savez("places.npz", **where)


def circuit() -> None:
    """Build a circuit of two populations with edges to the sections of cells, and run it."""
    from bmtk.builder.networks import NetworkBuilder

    for name in ("synapses", "mechanisms", "models", "morphologies"):
        Path(name).mkdir()
    written("synapses/exc.json", {"level_of_detail": "exp2syn", "tau1": 0.5, "tau2": 2, "erev": 0})
    cells, sources = NetworkBuilder("cells"), NetworkBuilder("sources")
    for layer, count in ((2, 3), (5, 2)):
        heights = [10.0 * layer + row for row in range(count)]
        model = {"model_type": "biophysical", "model_template": "python:hh"}
        cells.add_nodes(N=count, layer=layer, mtype=f"L{layer} PC", y=heights, **model)
    sources.add_nodes(N=4, model_type="virtual", ei="e")
    synapses = {"model_template": "Exp2Syn", "dynamics_params": "exc.json", "weight_function": None}
    places = {"names": ["sec_id", "sec_x", "syn_weight"], "dtypes": [int, float, float]}
    for source, delay in ((sources, 1.5), (cells, 0.8)):
        edges = cells.add_edges(
            source=source.nodes(),
            target=cells.nodes(),
            connection_rule=lambda one, other: (one.node_id + 2 * other.node_id) % 3,
            delay=delay,
            **synapses,
        )
        weight = 1e-4 if source is sources else 0.004
        edges.add_properties(
            rule=lambda one, other, w=weight: (other.node_id % 3, 0.3, w * (1 + one.node_id)),
            **places,
        )
    for network in (cells, sources):
        network.build()
        network.save(output_dir=str(NETWORKS))
    names = {"biophysical_neuron_models_dir": "models", "mechanisms_dir": "mechanisms"}
    names |= {"synaptic_models_dir": "synapses", "morphologies_dir": "morphologies"}
    between = ("cells_cells", "sources_cells")
    config = {
        "manifest": {"$NET": f"./{NETWORKS}", "$HERE": "."},
        "components": {name: f"$HERE/{place}" for name, place in names.items()},
        "networks": {
            "nodes": [
                {
                    "nodes_file": f"$NET/{name}_nodes.h5",
                    "node_types_file": f"$NET/{name}_node_types.csv",
                }
                for name in ("cells", "sources")
            ],
            "edges": [
                {
                    "edges_file": f"$NET/{name}_edges.h5",
                    "edge_types_file": f"$NET/{name}_edge_types.csv",
                }
                for name in between
            ],
        },
    }
    written("circuit_config.json", config)
    written("node_sets.json", {"deep": {"layer": 5}})
    clamp = {"input_type": "current_clamp", "module": "IClamp", "delay": 1.0, "duration": 2.0}
    simulation = {
        "manifest": {"$HERE": "."},
        "network": "$HERE/circuit_config.json",
        "node_sets_file": "$HERE/node_sets.json",
        "run": {"tstart": 0.0, "tstop": 15.0, "dt": 0.1, "dL": 20.0, "nsteps_block": 50},
        "conditions": {"celsius": 6.3, "v_init": -65.0},
        "target_simulator": "NEURON",
        "output": {"output_dir": "$HERE/output", "spikes_file": "spikes.h5", "log_file": "log.txt"},
        "reports": {
            "v": {**MEMBRANE, "variable_name": "v"},
            "deep": {**MEMBRANE, "cells": "deep", "variable_name": "v"},
        },
        "inputs": {"clamp": {**clamp, "amp": 1.0, "node_set": {"population": "cells", "layer": 5}}},
    }
    written("simulation_config.json", simulation)
    again()


def again() -> None:
    """Run the circuit of ``simulation_config.json`` in the directory."""
    from bmtk.simulator import bionet
    from bmtk.simulator.bionet.pyfunction_cache import add_cell_model
    from neuron import h

    h.load_file("stdrun.hoc")
    h(HOC.replace("forsec all { insert hh }", "forsec all { insert hh } define_shape()"))
    add_cell_model(lambda *_: h.HHCell(0), "python:hh", "biophysical")
    found = bionet.Config.from_json("simulation_config.json", validate=False)
    found.build_env()
    network = bionet.BioNetwork.from_config(found)
    bionet.BioSimulator.from_config(found, network=network).run()


def filternet() -> None:
    """Respond to a flash in the cells of two populations."""
    from bmtk.simulator import filternet

    Path("models").mkdir()
    weights = {"opt_wts": [3.4, -2.1], "opt_kpeaks": [8.3, 20.1], "opt_delays": [0.0, 0.0]}
    written("models/toff.json", weights)
    nodes = {"model_type": "virtual", "model_template": "lgnmodel:tOFF_TF4", "spatial_size": 3.0}
    nodes |= {"dynamics_params": "toff.json", "x": 5.0, "y": 5.0}
    movie = {"row_size": 20, "col_size": 20, "t_on": 50.0, "t_off": 100.0, "frame_rate": 1000.0}
    names = {
        "rates_h5": "rates.h5",
        "rates_csv": "rates.csv",
        "spikes_csv": "spikes.csv",
        "spikes_nwb": "spikes.nwb",
    }
    config = {
        "run": {"tstop": 200.0, "dt": 0.1},
        "target_simulator": "LGNModel",
        "inputs": {
            "flash": {
                "input_type": "movie",
                "module": "full_field_flash",
                "max_intensity": 20.0,
                **movie,
            }
        },
        "output": {"output_dir": "output", "log_file": "log.txt", **names},
        "components": {"filter_models_dir": "models"},
        "networks": {"nodes": [build("LGN", N=4, **nodes), build("LP", N=3, **nodes)]},
    }
    found = filternet.Config.from_json(written("simulation_config.json", config))
    found.build_env()
    network = filternet.FilterNetwork.from_config(found)
    filternet.FilterSimulator.from_config(found, network).run()


def bluecellulab() -> None:
    """Record reports of every kind, and write the positions that were recorded."""
    from bluecellulab import CircuitSimulation
    from bluecellulab.reports.manager import ReportManager

    for name in ("models", "morphologies"):
        Path(name).mkdir()
    Path("models/HHCell.hoc").write_text(HOC, encoding="utf-8")
    Path("morphologies/m.swc").write_text("1 1 0 0 0 5 -1\n2 1 0 5 0 5 1\n", encoding="utf-8")
    with h5py.File("nodes.h5", "w") as file:
        group = file.create_group("nodes/pop/0")
        group.parent["node_type_id"] = np.full(3, -1)
        for axis in "xyz":
            group[axis] = group[f"rotation_angle_{axis}axis"] = np.zeros(3)
        texts = {"model_type": "biophysical", "model_template": "hoc:HHCell", "morphology": "m"}
        for name, text in {**texts, "mtype": "m", "etype": "e"}.items():
            group.create_dataset(name, data=[text] * 3, dtype=h5py.string_dtype())
        for name in ("holding_current", "threshold_current"):
            group[f"dynamics_params/{name}"] = np.zeros(3)
    population = {"nodes_file": "nodes.h5", "populations": {"pop": {"type": "biophysical"}}}
    circuit = {
        "version": 2,
        "node_sets_file": written("node_sets.json", {"all": {"population": "pop"}}),
        "components": {
            "biophysical_neuron_models_dir": "models",
            "morphologies_dir": "morphologies",
        },
        "networks": {"nodes": [population], "edges": []},
    }
    listed = [[0, 0, 0.5], [0, 1, 0.1], [0, 1, 0.9], [2, 1, 0.5], [2, 2, 0.3], [2, 2, 0.8]]
    sets = {"some": {"population": "pop", "compartment_set": listed}}
    common = {"variable_name": "v", "unit": "mV", "dt": 0.1, "start_time": 0.0, "end_time": 5.0}
    whole = {"type": "compartment", "cells": "all", "sections": "dend", **common}
    config = {
        "version": 1,
        "network": written("circuit_config.json", circuit),
        "compartment_sets_file": written("sets.json", sets),
        "node_sets_file": "node_sets.json",
        "run": {"dt": 0.1, "tstop": 5.0, "random_seed": 1},
        "conditions": {"v_init": -65.0, "celsius": 34.0},
        "output": {"output_dir": "output", "spikes_file": "out.h5"},
        "inputs": {},
        "reports": {
            "all": {**whole, "compartments": "all"},
            "center": {**whole, "compartments": "center"},
            "absent": whole,
            "set": {"type": "compartment_set", "compartment_set": "some", **common},
        },
    }
    simulation = CircuitSimulation(written("simulation_config.json", config))
    simulation.instantiate_gids([("pop", cell) for cell in range(3)])
    simulation.run(t_stop=5.0)
    ReportManager(simulation.circuit_access.config, simulation.dt).write_all(simulation.cells)
    positions: dict[str, dict[int, list[float]]] = {}
    for cell in simulation.cells.values():
        for name, sites in cell.report_sites.items():
            of_cell = [site["segx"] for site in sites]
            positions.setdefault(name, {})[cell.cell_id.id] = of_cell
    written("positions.json", positions)


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    simulators = {"bionet": bionet, "filternet": filternet, "bluecellulab": bluecellulab}
    others = {"places": places, "sections": sections, "circuit": circuit, "again": again}
    (simulators | others)[sys.argv[1]]()
