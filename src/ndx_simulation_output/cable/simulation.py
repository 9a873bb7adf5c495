"""The run: steps of the network, and a description of what was recorded."""

import json
import math
from dataclasses import asdict, dataclass
from importlib.metadata import version

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ndx_simulation_output.cable.network import Network, advance, build, initial_state
from ndx_simulation_output.cable.parameters import Parameters
from ndx_simulation_output.recording import (
    CompartmentTable,
    Electrodes,
    ExtracellularPotential,
    RegularTimes,
    Report,
    Run,
    SimulationOutput,
    Spikes,
    Unit,
)

__all__ = ["simulate"]

_MILLIVOLTS = Unit("volts", 1e-3)
_NANOAMPERES = Unit("amperes", 1e-9)
_MS_PER_S = 1000
# Ids that do not start at 0 show that they are kept.
_FIRST_INH_ID = 100
# A vertical shank through the middle of the layer and beyond its rim.
_ELECTRODES = np.array([[0.0, 0.0, 0.0], [0.0, 200.0, 0.0], [0.0, 400.0, 0.0], [0.0, 800.0, 0.0]])


@dataclass(frozen=True)
class _Samples:
    """What was recorded: ``voltage`` (mV) and ``current`` (nA), both (time, compartment).

    ``spiked`` says which cells spiked at the end of which step, shape (step, cell).
    """

    voltage: NDArray[np.float64]
    current: NDArray[np.float64]
    spiked: NDArray[np.bool_]


def simulate(*, duration: float = 0.2, seed: int = 1) -> SimulationOutput:
    """Simulate ``duration`` seconds of a network of 8 excitatory and 3 inhibitory branched cells.

    Recorded every 0.1 ms: the potential of all compartments (``v_exc``, ``v_inh``), the
    transmembrane currents of the excitatory cells (``i_membrane``, outward positive) and the
    extracellular potential at four electrodes (``ecp``), to which all cells contribute; and the
    spikes. The seed decides on the shapes of the cells, their synapses and their drive.

    Raises
    ------
    ValueError
        If the duration is not a positive number of seconds.

    Example
    -------
    >>> simulate(duration=0.01)["v_exc"].select(cells=3, numbers=0).values.shape
    (100, 1)

    """
    if not (math.isfinite(duration) and duration > 0):
        msg = f"a simulation lasts a positive number of seconds, not {duration}"
        raise ValueError(msg)
    parameters = Parameters()
    rng = np.random.default_rng(seed)
    network = build(rng, parameters)
    samples = _run(rng, network, max(1, round(duration * _MS_PER_S / parameters.time_step)))
    return _describe(network, samples, _describe_run(parameters, duration, seed))


def _run(rng: Generator, network: Network, steps: int) -> _Samples:
    p, somata = network.parameters, network.cables.somata
    delay = 1 + round(p.delay / p.time_step)
    arrivals = np.zeros((steps + delay, len(somata)), dtype=np.bool_)
    rate = p.drive_rate * p.time_step / _MS_PER_S
    voltage, current = [], []
    state = initial_state(network)
    for step in range(steps):
        if step % p.steps_per_sample == 0:
            voltage.append(state.voltage)
            current.append(state.current)
        before = state.voltage[somata] < p.spike_threshold
        state = advance(network, state, arrivals[step], rng.poisson(rate, len(state.voltage)))
        arrivals[step + delay] = before & (state.voltage[somata] >= p.spike_threshold)
    return _Samples(np.array(voltage), np.array(current), arrivals[delay:])


def _describe(network: Network, samples: _Samples, run: Run) -> SimulationOutput:
    p = network.parameters
    times = RegularTimes(0.0, _MS_PER_S / (p.time_step * p.steps_per_sample), len(samples.voltage))
    exc = _describe_compartments(network, "exc", 0, slice(0, p.exc_cells))
    inh = _describe_compartments(network, "inh", _FIRST_INH_ID, slice(p.exc_cells, None))
    v_exc, v_inh = np.split(samples.voltage.astype(np.float32), [exc.n_compartments], axis=1)
    i_exc, _ = np.split(samples.current.astype(np.float32), [exc.n_compartments], axis=1)
    spiked_exc, spiked_inh = np.split(samples.spiked, [len(exc)], axis=1)
    return SimulationOutput(
        reports=(
            Report("v_exc", "v", v_exc, times, exc, _MILLIVOLTS),
            Report("v_inh", "v", v_inh, times, inh, _MILLIVOLTS),
            Report("i_membrane", "i_membrane", i_exc, times, exc, _NANOAMPERES),
        ),
        spikes=(
            _describe_spikes(exc, spiked_exc, p.time_step),
            _describe_spikes(inh, spiked_inh, p.time_step),
        ),
        potentials=(_describe_potential(network, samples.current, times),),
        run=run,
    )


def _describe_compartments(
    network: Network, population: str, first_id: int, cells: slice
) -> CompartmentTable:
    cables = network.cables
    counts = np.bincount(cables.cells)
    rows = np.arange(len(counts))[cells]
    mine = np.isin(cables.cells, rows)
    ids = (first_id + np.arange(len(rows))).astype(np.uint64)
    columns = {"number": cables.sections[mine], "position": cables.positions[mine]}
    return CompartmentTable.from_counts(population, ids, counts[rows], columns)


def _describe_spikes(
    table: CompartmentTable, spiked: NDArray[np.bool_], time_step: float
) -> Spikes:
    """Turn ``spiked`` (step, cell) into ids and times (s) in the order of time."""
    steps, cells = np.nonzero(spiked)
    times = (steps + 1) * time_step / _MS_PER_S
    return Spikes(table.population, np.asarray(table.cell_ids[:])[cells], times)


def _describe_potential(
    network: Network, current: NDArray[np.float64], times: RegularTimes
) -> ExtracellularPotential:
    """Sum the potentials I / (4 pi sigma r) of point sources, one at the centre of a compartment.

    The point-source approximation for an infinite homogeneous medium, as in Linden et al. (2014);
    nA / (S/m µm) is mV. The distance r is at least the radius of the compartment.
    """
    cables = network.cables
    offsets = _ELECTRODES - cables.centers[:, np.newaxis]
    distances = np.linalg.norm(offsets, axis=2)
    distances = np.maximum(distances, cables.diameters[:, np.newaxis] / 2)
    conductivity = network.parameters.extracellular_conductivity
    data = current @ (1 / (4 * np.pi * conductivity * distances))
    ids = np.arange(len(_ELECTRODES))
    electrodes = Electrodes(ids, _ELECTRODES.copy())
    return ExtracellularPotential("ecp", data, times, ids, _MILLIVOLTS, electrodes)


def _describe_run(parameters: Parameters, duration: float, seed: int) -> Run:
    return Run(
        simulator="ndx-sim demo",
        simulator_version=version("ndx-simulation-output"),
        time_step=parameters.time_step / _MS_PER_S,
        duration=duration,
        seed=seed,
        configuration=json.dumps(asdict(parameters)),
    )
