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
