"""JSON that NetPyNE writes after a run, beside what it has in memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from numpy.testing import assert_array_equal

from ndx_simulation_output import open_output

pytest.importorskip("netpyne", reason="NetPyNE is not installed")

_MODEL = """
import json, sys
from netpyne import sim, specs

net = specs.NetParams()
net.popParams["exc"] = {"cellType": "BS", "numCells": 12}
drive = {"cellModel": "NetStim", "numCells": 2, "rate": 200, "noise": 0.3, "start": 1}
net.popParams["drive"] = drive
soma = {"geom": {"diam": 18.8, "L": 18.8}, "mechs": {"hh": {}}}
net.cellParams["BS"] = {"conds": {"cellType": "BS"}, "secs": {"soma": soma}}
net.synMechParams["AMPA"] = {"mod": "Exp2Syn", "tau1": 0.1, "tau2": 5.0, "e": 0}
net.connParams["drive->exc"] = {"preConds": {"pop": "drive"}, "postConds": {"pop": "exc"},
                                "weight": 0.02, "delay": 2, "synMech": "AMPA", "sec": "soma"}
cfg = specs.SimConfig()
cfg.duration, cfg.dt, cfg.recordStep, cfg.verbose = 20, 0.025, 0.1, False
cfg.recordCells = ["exc"]
cfg.recordTraces = {"V_soma": {"sec": "soma", "loc": 0.5, "var": "v"}}
cfg.saveFolder, cfg.simLabel, cfg.saveJson = sys.argv[1], "run", True
"""
_RUN = (
    _MODEL
    + """
sim.createSimulateAnalyze(net, cfg)
data = sim.allSimData
spikes = sorted(zip(map(float, data["spkt"]), map(int, data["spkid"])))
traces = {key: list(values) for key, values in data["V_soma"].items()}
json.dump({"spikes": spikes, "V_soma": traces}, open(sys.argv[1] + "/memory.txt", "w"))
"""
)


def test_json_has_what_is_in_memory(tmp_path: Path) -> None:
    """Cells 10 and 11 are after cell 9, and connections are those of the network."""
    subprocess.run(
        [sys.executable, "-c", _RUN, tmp_path], check=True, timeout=240, stdout=subprocess.DEVNULL
    )
    memory = json.loads((tmp_path / "memory.txt").read_text())

    with open_output(tmp_path / "run_data.json") as output:
        report = output["V_soma"]
        assert report.population == "exc"
        gids = report.compartments.cell_ids[:].tolist()
        assert gids == sorted(int(key.removeprefix("cell_")) for key in memory["V_soma"])
        for column, gid in enumerate(gids):
            assert_array_equal(report.data[:, column], memory["V_soma"][f"cell_{gid}"])
        found = sorted(
            (float(time), int(cell))
            for one in output.spikes
            for cell, time in zip(one.node_ids, one.times, strict=True)
        )
        assert [cell for _, cell in found] == [cell for _, cell in memory["spikes"]]
        assert_array_equal([time for time, _ in found], [t / 1e3 for t, _ in memory["spikes"]])
        (projection,) = output.networks[0].projections
        assert projection.pre_ranks.shape == (24,)
        assert projection.quantities[0].unit.name == "siemens"


_RECORD = (
    _MODEL
    + """
from ndx_simulation_output.neuron import record

sim.create(net, cfg)
with record(sys.argv[1] + "/live.nwb", every=0.1):
    sim.runSim()
sim.gatherData()
traces = {key: list(values) for key, values in sim.allSimData["V_soma"].items()}
tags = {cell.gid: cell.tags["y"] for cell in sim.net.cells}
spikes = sorted(zip(map(float, sim.allSimData["spkt"]), map(int, sim.allSimData["spkid"])))
json.dump({"V_soma": traces, "y": tags, "spikes": spikes}, open(sys.argv[1] + "/memory.txt", "w"))
"""
)


def test_a_running_network_is_recorded_without_more_words(tmp_path: Path) -> None:
    """Populations, gids, tags and the spikes of artificial cells are found."""
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _RECORD, tmp_path],
        check=True,
        timeout=240,
        stdout=subprocess.DEVNULL,
    )
    memory = json.loads((tmp_path / "memory.txt").read_text())

    with open_output(tmp_path / "live.nwb") as output:
        (report,) = output.reports
        assert report.population == "exc"
        gids = report.compartments.cell_ids[:].tolist()
        rows = len(next(iter(memory["V_soma"].values())))
        for column, gid in enumerate(gids):
            assert_array_equal(report.data[:rows, column], memory["V_soma"][f"cell_{gid}"])
        depths = report.compartments.cell_columns["y"][:].tolist()
        assert depths == [memory["y"][str(gid)] for gid in gids]
        assert {one.population for one in output.spikes} == {"exc", "drive"}
        found = sorted(
            (float(time) * 1e3, int(cell))
            for one in output.spikes
            for cell, time in zip(one.node_ids, one.times, strict=True)
        )
        assert [cell for _, cell in found] == [cell for _, cell in memory["spikes"]]
