"""Record potentials, currents and spikes of a NEURON model to an NWB file while it runs."""

from itertools import pairwise

from neuron import h

from ndx_simulation_output import open_output
from ndx_simulation_output.neuron import Variable, record

METADATA = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}


class Cell:
    """A soma with channels and a passive dendrite with a synapse."""

    def __init__(self) -> None:
        self.soma, self.dend = h.Section("soma", self), h.Section("dend", self)
        self.dend.connect(self.soma(1))
        self.soma.L = self.soma.diam = 20
        self.dend.L, self.dend.diam, self.dend.nseg = 300, 2, 5
        self.soma.insert("hh")
        self.dend.insert("pas")
        self.synapse = h.ExpSyn(self.dend(0.5))
        self.synapse.tau = 2


# A chain of three cells. Each excites the next, and the first is stimulated.
cells = [Cell() for _ in range(3)]
stimulus = h.NetStim()
stimulus.start, stimulus.number, stimulus.interval = 5, 3, 15
connections = [h.NetCon(stimulus, cells[0].synapse, 0, 1, 0.05)]
for before, after in pairwise(cells):
    source = before.soma(0.5)._ref_v  # noqa: SLF001 - NEURON's
    connections.append(h.NetCon(source, after.synapse, 10, 1, 0.05, sec=before.soma))

h.celsius = 6.3
variables = ["v", "ina", Variable("ExpSyn.g", every=0.025)]
with record("run.nwb", variables=variables, every=0.1, spikes=10.0, metadata=METADATA) as recorder:
    recorder.run(60.0, v_init=-65.0)

with open_output("run.nwb") as output:
    for report in output.reports:
        times, columns = report.data.shape
        print(f"{report.name}: {times} times × {columns} compartments, in {report.unit.name}")
    for spikes in output.spikes:
        print(f"{len(spikes.times)} spikes of {spikes.population}")
    somata = output["v"].get_traces(cells=[0, 2], numbers=0)
    print(f"two somata: {somata.shape}, {somata.min():.3f} to {somata.max():.3f} volts")
