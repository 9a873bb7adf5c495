"""Text that NEST writes while it runs, beside what the same devices have in memory."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from ndx_simulation_output import open_output

pytest.importorskip("nest", reason="NEST is not installed")

_RUN = """
import json, sys
import nest

nest.verbosity = nest.VerbosityLevel.ERROR
nest.set(resolution=0.1, local_num_threads=2, data_path=sys.argv[1], overwrite_files=True)
exc = nest.Create("iaf_psc_exp", 5, params={"I_e": 500.0})
inh = nest.Create("iaf_psc_exp", 3, params={"I_e": 600.0})
nest.Connect(exc, inh, syn_spec={"weight": 20.0, "delay": 1.5})
found = {}
for to in ("memory", "ascii"):
    settings = {"record_to": to, "label": "cells"}
    # Cells deliver the values of some milliseconds at once.
    meter = nest.Create(
        "multimeter", params={**settings, "record_from": ["V_m", "I_syn_ex"], "interval": 0.1}
    )
    steps = {"time_in_steps": True} if to == "ascii" else {}
    recorder = nest.Create("spike_recorder", params={**settings, **steps, "label": "spikes"})
    nest.Connect(meter, exc + inh)
    nest.Connect(exc + inh, recorder)
    if to == "memory":
        found = {"meter": meter, "recorder": recorder}
nest.Simulate(30.0)
names = {"meter": ("senders", "times", "V_m", "I_syn_ex"), "recorder": ("senders", "times")}
events = {key: {name: found[key].events[name].tolist() for name in names[key]} for key in names}
json.dump(events, open(sys.argv[1] + "/memory.json", "w"))
"""


def test_text_has_what_is_in_memory(tmp_path: Path) -> None:
    """Two threads; spikes in steps, and values with three decimals."""
    subprocess.run([sys.executable, "-c", _RUN, tmp_path], check=True, timeout=120)
    memory = json.loads((tmp_path / "memory.json").read_text())
    meter = {name: np.array(values) for name, values in memory["meter"].items()}

    with open_output(tmp_path, population={"exc": "1-5", "inh": "6-8"}, dt=0.1) as output:
        for variable in ("V_m", "I_syn_ex"):
            for population, ids in (("exc", range(1, 6)), ("inh", range(6, 9))):
                report = output[f"{variable}_{population}"]
                times = report.times.seconds() * 1e3
                for column, cell in enumerate(ids):
                    of_cell = meter["senders"] == cell
                    assert_allclose(times, meter["times"][of_cell])
                    assert_allclose(report.data[:, column], meter[variable][of_cell], atol=6e-4)
        found = sorted(
            (round(float(time) * 1e3, 6), int(cell))
            for one in output.spikes
            for cell, time in zip(one.node_ids, one.times, strict=True)
        )
    spikes = memory["recorder"]
    pairs = zip(spikes["times"], spikes["senders"], strict=True)
    assert found == sorted((round(time, 6), cell) for time, cell in pairs)
    assert found


_NETWORK = """
import sys
import nest
import numpy as np
from ndx_simulation_output import open_output
from ndx_simulation_output.errors import RestoreError
from ndx_simulation_output import nest as nest_states

nest.verbosity = nest.VerbosityLevel.ERROR
target = sys.argv[1]

def network(n=4):
    nest.ResetKernel()
    nest.set(resolution=0.1, local_num_threads=2)
    exc = nest.Create("iaf_psc_delta", n, params={"I_e": 300.0})
    inh = nest.Create("iaf_psc_delta", 2)
    synapse = {"synapse_model": "stdp_synapse", "weight": 2.0, "delay": 1.5}
    nest.Connect(exc, inh, syn_spec=synapse)
    nest.Connect(inh, exc, syn_spec={"weight": -1.0})
    return {"exc": exc, "inh": inh}
"""
_SAVE = (
    _NETWORK
    + """
found = network()
found["exc"].V_m = [-70.0, -66.0, -62.0, -58.0]
nest.GetConnections(found["exc"], found["inh"]).weight = [float(k) for k in range(8)]
nest.Simulate(5.0)
nest_states.save(target, found)
weights = {(c.source, c.target): c.weight for c in nest.GetConnections(found["exc"], found["inh"])}
nest.Simulate(5.0)
np.savez(target + ".npz", v=found["exc"].V_m, ends=list(weights), weights=list(weights.values()))
"""
)
_LOAD = (
    _NETWORK
    + """
found = network()
notes = nest_states.load(target, found)
assert len(notes) == 1 and notes[0].startswith("Spikes in flight"), notes
expected = np.load(target + ".npz")
weights = {(c.source, c.target): c.weight for c in nest.GetConnections(found["exc"], found["inh"])}
assert weights == dict(zip(map(tuple, expected["ends"].tolist()), expected["weights"].tolist()))
nest.Simulate(5.0)
np.testing.assert_array_equal(found["exc"].V_m, expected["v"])

with open_output(target) as output:
    (state,) = output.networks
    assert (state.simulator, state.time) == ("NEST", 0.005)
    exc = state.populations[0]
    assert exc.model == "iaf_psc_delta"
    units = {one.name: one.unit.name for one in exc.quantities}
    assert (units["V_m"], units["I_e"], units["C_m"]) == ("volts", "amperes", "farads"), units
    first = state.projections[0]
    assert (first.name, first.model) == ("exc_to_inh", "stdp_synapse")

found = network(5)
before = found["exc"].V_m
try:
    nest_states.load(target, found)
except RestoreError as error:
    assert "5 nodes of iaf_psc_delta, and 4" in str(error), error
else:
    raise AssertionError("nothing was refused")
assert found["exc"].V_m == before
"""
)


def test_a_loaded_network_continues_where_nest_tells_its_state(tmp_path: Path) -> None:
    """Without spikes, the potential is the whole state of these nodes."""
    for code in (_SAVE, _LOAD):
        command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "state.nwb")]
        found = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert found.returncode == 0, found.stderr
