"""Networks of Brian2 continue as if they had not stopped."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("brian2", reason="Brian2 is not installed")

_NETWORK = """
import sys
import brian2 as b
import numpy as np
from ndx_simulation_output import brian2, open_output
from ndx_simulation_output.errors import RestoreError

b.prefs.codegen.target = "numpy"
target = sys.argv[1]

def network(n=6, connect="i!=j"):
    model = "dv/dt = (I - v) / tau : volt (unless refractory)\\nI : volt\\ntau : second (shared)"
    exc = b.NeuronGroup(n, model, threshold="v > 0.9*volt", reset="v = 0*volt",
                        refractory=2 * b.ms, name="exc", method="euler")
    exc.I = "1*volt + i*0.2*volt"
    exc.tau = 10 * b.ms
    syn = b.Synapses(exc, exc, "w : volt\\ndx/dt = -x / (5*ms) : 1 (clock-driven)",
                     on_pre="v_post += w; x += 1", name="syn", method="euler")
    syn.connect(condition=connect)
    syn.w = "0.01*volt*(i+1)"
    monitor = b.SpikeMonitor(exc, name="spikes")
    return b.Network(exc, syn, monitor), exc, syn, monitor
"""
_SAVE = (
    _NETWORK
    + """
net, exc, syn, monitor = network()
net.run(12 * b.ms)
brian2.save(target, net)
net.run(30 * b.ms)
later = monitor.t_[:] > 0.012
np.savez(target + ".npz", v=exc.v_[:], x=syn.x_[:], t=monitor.t_[:][later], i=monitor.i[:][later])
"""
)
_LOAD = (
    _NETWORK
    + """
net, exc, syn, monitor = network()
notes = brian2.load(target, net)
assert notes[-1].startswith("Spikes in flight"), notes
assert float(net.t_) == 0.012
net.run(30 * b.ms)
expected = np.load(target + ".npz")
assert len(expected["t"]) > 5
for found, name in ((exc.v_[:], "v"), (syn.x_[:], "x"), (monitor.t_[:], "t"), (monitor.i[:], "i")):
    np.testing.assert_array_equal(found, expected[name], err_msg=name)

with open_output(target) as output:
    (state,) = output.networks
    exc_state = state.populations[0]
    units = {one.name: one.unit.name for one in exc_state.quantities}
    assert (units["v"], units["lastspike"], units["tau"]) == ("volts", "seconds", "seconds"), units
    assert state.simulator == "Brian2"
    assert "dv/dt" in exc_state.model
"""
)
_MISMATCH = (
    _NETWORK
    + """
for arguments, message in (({"n": 7}, "7 neurons, and 6 in the file"),
                           ({"connect": "i!=j and i!=0"}, "connect other neurons")):
    net, exc, syn, monitor = network(**arguments)
    before = exc.v_[:].copy()
    try:
        brian2.load(target, net)
    except RestoreError as error:
        assert message in str(error), error
    else:
        raise AssertionError("nothing was refused")
    assert float(net.t_) == 0 and (exc.v_[:] == before).all()
"""
)


def run(code: str, target: Path) -> None:
    """Run code in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", code, str(target)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert found.returncode == 0, found.stderr


def test_a_loaded_network_continues_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    """Refractory neurons, too; a network that does not match is not changed."""
    run(_SAVE, tmp_path / "state.nwb")
    run(_LOAD, tmp_path / "state.nwb")
    run(_MISMATCH, tmp_path / "state.nwb")
