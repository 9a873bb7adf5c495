"""A small network of branched neurons, simulated with numpy: the model of ``ndx-sim demo``.

It is a toy with textbook equations, not a model of any tissue. Every compartment is a passive
membrane; somata have the sodium and potassium currents of Traub and Miles (1991) as given by
Pospischil et al. (2008). Synapses are conductances that jump at a spike and decay exponentially.
No electrode injects current, so the transmembrane currents of a cell sum to zero.

Internal quantities are in mV, ms, nA, µS, nF and µm, which need no conversion factors between
them. ``simulate`` takes and returns seconds.
"""

import json
import math
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

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

_FloatArray = NDArray[np.float64]
_MS_PER_S = 1000
_PER_AREA = 1e-5  # from mS/cm² µm² to µS, and from µF/cm² µm² to nF
_MEGOHM_UM_PER_OHM_CM = 1e-2
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
# Two directions along the layer of cells, and the direction of its surface, between y and z so that
# views along either axis show the cells from the side.
_LAYER = np.array([[1.0, 0.0, 0.0], [0.0, -0.8, 0.6], [0.0, 0.6, 0.8]])
# Section 0 is the soma. ``parent`` is the index of the next compartment towards it, or -1.
_NAMES = ["cell", "section", "position", "parent", "length", "diameter", "center"]
_COMPARTMENT = np.dtype({"names": _NAMES, "formats": ["i8", "i8", "f8", "i8", "f8", "f8", "3f8"]})


@dataclass(frozen=True)
class CableParameters:
    """Parameters of a run besides its duration and seed.

    Times are in ms, lengths in µm, potentials in mV, synaptic weights in µS, rates in Hz; specific
    conductances in mS/cm², capacitance in µF/cm², resistivity in Ω cm, conductivity in S/m.

    ``exc_dendrites`` and ``inh_dendrites`` have a word for each cell, with a digit for each
    dendrite: its number of compartments. The first three dendrites of an excitatory cell are the
    apical trunk and its two branches; all others begin at the soma.

    Densities of channels are those of Pospischil et al. (2008) for regular spiking cells; their
    kinetics are shifted by ``kinetics_shift``. The drive is a Poisson process on each compartment.
    The other values are chosen so that every cell spikes a few times.
    """

    time_step: float = 0.025
    steps_per_sample: int = 4

    exc_dendrites: str = "633332 42222 4222 6333333 622222 622222 622222 53333"
    inh_dendrites: str = "4433 4433 4333"
    compartment_length: float = 25.0
    trunk_diameter: float = 3.0
    dendrite_diameter: float = 1.5
    soma_diameter: float = 20.0
    bending: float = 0.15
    layer_half_width: float = 80.0

    capacitance: float = 1.0
    axial_resistivity: float = 150.0
    leak: float = 0.15
    leak_reversal: float = -70.0
    sodium: float = 50.0
    sodium_reversal: float = 50.0
    potassium: float = 5.0
    potassium_reversal: float = -90.0
    kinetics_shift: float = -56.0
    spike_threshold: float = 0.0

    connection_probability: float = 0.3
    delay: float = 1.0
    exc_weight: float = 0.002
    exc_decay: float = 2.0
    exc_reversal: float = 0.0
    inh_weight: float = 0.006
    inh_decay: float = 8.0
    inh_reversal: float = -80.0
    drive_rate: float = 9.0
    drive_weight: float = 0.006

    extracellular_conductivity: float = 0.3
    electrode_heights: tuple[float, ...] = (0.0, 200.0, 400.0, 800.0)


class Network:
    """Cells with their synapses, and their state at one time step.

    ``compartments`` are rows of all cells, excitatory cells first, the soma of each cell first.
    ``voltage`` (mV) and the outward transmembrane ``current`` (nA) have shape (compartment,).
    """

    def __init__(self, rng: Generator, parameters: CableParameters) -> None:
        """Draw the cells and their synapses; all start at rest."""
        p = self.parameters = parameters
        self.compartments = grow_cells(rng, p)
        self.somata = np.flatnonzero(self.compartments["parent"] < 0)
        self.voltage = np.full(len(self.compartments), p.leak_reversal)
        self.current = np.zeros_like(self.voltage)

        areas = _PER_AREA * np.pi * self.compartments["diameter"] * self.compartments["length"]
        self._stored = p.capacitance * areas / p.time_step
        self._leak = p.leak * areas
        passive = np.diag(self._stored + self._leak)
        passive -= axial_conductances(self.compartments, p.axial_resistivity)
        # Potential (mV) at the end of a step for each current (nA) that enters the passive cables.
        self._response = np.linalg.inv(passive)
        self._channels = np.array([[p.sodium], [p.potassium]]) * areas[self.somata]
        self._weights = _draw_synapses(rng, self.compartments["cell"], p)
        self._synapses = np.zeros((2, len(self.voltage)))
        opening, closing = _rates(self.voltage[self.somata] - p.kinetics_shift)
        self._gates = opening / (opening + closing)

    def advance(self, arrivals: NDArray[np.bool_], drive: NDArray[np.int64]) -> None:
        """Integrate one time step by the backward Euler method.

        ``arrivals`` is true for cells whose spikes arrive, shape (cell,); ``drive`` is the number
        of spikes from outside, shape (compartment,). The gates take an exponential step (Rush and
        Larsen 1978); synaptic currents are those at the potential of the previous step. The active
        conductances change the matrix of the passive cables in one element for each cell
        (Sherman-Morrison formula), so that it is inverted only once.
        """
        p, somata, before = self.parameters, self.somata, self.voltage
        self._synapses *= np.exp(-p.time_step / np.array([[p.exc_decay], [p.inh_decay]]))
        self._synapses += arrivals @ self._weights
        self._synapses[0] += p.drive_weight * drive
        reversals = np.array([[p.exc_reversal], [p.inh_reversal]])
        synaptic = np.sum(self._synapses * (reversals - before), axis=0)

        opening, closing = _rates(before[somata] - p.kinetics_shift)
        settled = opening / (opening + closing)
        decay = np.exp(-(opening + closing) * p.time_step)
        self._gates = settled + (self._gates - settled) * decay
        m, h, n = self._gates
        sodium, potassium = self._channels * [m**3 * h, n**4]
        active = sodium + potassium
        push = sodium * p.sodium_reversal + potassium * p.potassium_reversal

        inflow = self._stored * before + self._leak * p.leak_reversal + synaptic
        inflow[somata] += push
        voltage = self._response @ inflow
        at_soma = voltage[somata] / (1 + active * self._response[somata, somata])
        voltage -= self._response[:, somata] @ (active * at_soma)

        current = self._stored * (voltage - before)
        current += self._leak * (voltage - p.leak_reversal) - synaptic
        current[somata] += active * voltage[somata] - push
        self.voltage, self.current = voltage, current


def grow_cells(rng: Generator, parameters: CableParameters) -> NDArray[Any]:
    """Draw the compartments of all cells; apical dendrites rise towards the surface."""
    p = parameters
    rows: list[tuple[Any, ...]] = []
    n_exc = len(p.exc_dendrites.split())
    for cell, dendrites in enumerate(f"{p.exc_dendrites} {p.inh_dendrites}".split()):
        center = rng.uniform(-p.layer_half_width, p.layer_half_width, size=3)
        soma = branching = len(rows), center
        rows.append((cell, 0, 0.5, -1, p.soma_diameter, p.soma_diameter, center))
        first_angle = rng.uniform(0, 2 * math.pi)
        for section, count in enumerate(map(int, dendrites), 1):
            is_trunk = cell < n_exc and section == 1
            is_branch = cell < n_exc and section in {2, 3}
            rise = 10.0 if is_trunk else 1.0 if is_branch else rng.uniform(-1.0, 0.0)
            angle = first_angle + section * (math.pi if is_branch else _GOLDEN_ANGLE)
            direction = np.array([math.cos(angle), math.sin(angle), rise]) @ _LAYER
            diameter = p.trunk_diameter if is_trunk else p.dendrite_diameter
            parent, end = branching if is_branch else soma
            for index in range(count):
                direction = direction / np.linalg.norm(direction) + rng.normal(0, p.bending, 3)
                step = p.compartment_length * direction / np.linalg.norm(direction)
                shape = p.compartment_length, diameter, end + step / 2
                rows.append((cell, section, (index + 0.5) / count, parent, *shape))
                parent, end = len(rows) - 1, end + step
            branching = (parent, end) if is_trunk else branching
    return np.array(rows, _COMPARTMENT)


def axial_conductances(compartments: NDArray[Any], resistivity: float) -> _FloatArray:
    """Return the matrix G (µS): G @ v is the axial current (nA) that enters each compartment.

    The resistance between neighbours is that of the two half cylinders between their centres, at an
    axial ``resistivity`` in Ω cm. Rows and columns sum to zero, since axial currents only flow
    between compartments.
    """
    cross_sections = np.pi * compartments["diameter"] ** 2 / 4
    halves = _MEGOHM_UM_PER_OHM_CM * resistivity * compartments["length"] / 2 / cross_sections
    child = np.flatnonzero(compartments["parent"] >= 0)
    parent = compartments["parent"][child]
    matrix = np.zeros((len(compartments), len(compartments)))
    matrix[child, parent] = matrix[parent, child] = 1 / (halves[child] + halves[parent])
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix


def _draw_synapses(
    rng: Generator, cells: NDArray[np.int64], parameters: CableParameters
) -> _FloatArray:
    """Return weights (µS) of excitatory and inhibitory synapses, shape (2, cell, compartment).

    Each ordered pair of cells is connected with ``connection_probability``, at a random compartment
    of the target cell.
    """
    p, n_cells = parameters, cells[-1] + 1
    weights = np.zeros((2, n_cells, len(cells)))
    connected = rng.random((n_cells, n_cells)) < p.connection_probability
    np.fill_diagonal(connected, val=False)
    for source, target in np.argwhere(connected):
        inhibitory = int(source >= len(p.exc_dendrites.split()))
        compartment = rng.choice(np.flatnonzero(cells == target))
        weights[inhibitory, source, compartment] = (p.exc_weight, p.inh_weight)[inhibitory]
    return weights


def _rates(v: _FloatArray) -> tuple[_FloatArray, _FloatArray]:
    """Return the opening and closing rates (1/ms) of m, h and n, each of shape (3, cell).

    Traub and Miles (1991), in the form of Pospischil et al. (2008), equations of I_Na and I_Kd.
    """
    m = 1.28 * _linoid((13 - v) / 4), 1.4 * _linoid((v - 40) / 5)
    h = 0.128 * np.exp((17 - v) / 18), 4 / (1 + np.exp((40 - v) / 5))
    n = 0.16 * _linoid((15 - v) / 5), 0.5 * np.exp((10 - v) / 40)
    return np.array([m[0], h[0], n[0]]), np.array([m[1], h[1], n[1]])


def _linoid(x: _FloatArray) -> _FloatArray:
    """Return x / (exp(x) - 1), and its limit 1 at 0."""
    x = np.where(x == 0, 1e-9, x)
    return x / np.expm1(x)


def simulate(*, duration: float = 0.2, seed: int = 1) -> SimulationOutput:
    """Simulate ``duration`` seconds of a network of 8 excitatory and 3 inhibitory branched cells.

    Recorded every 0.1 ms: the potential of all compartments (``v_exc``, ``v_inh``), the
    transmembrane currents of the excitatory cells (``i_membrane``, outward positive) and the
    extracellular potential of all cells at four electrodes (``ecp``); and the spikes. The tables of
    compartments have their centres ``x``, ``y``, ``z`` and their ``diameter`` in µm. The seed
    determines the shapes of the cells, their synapses and their drive.

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
        msg = f"duration is {duration}; expected a positive number of seconds"
        raise ValueError(msg)
    p = CableParameters()
    rng = np.random.default_rng(seed)
    network = Network(rng, p)
    steps = max(1, round(duration * _MS_PER_S / p.time_step))
    voltage, current, spiked = _record(rng, network, steps)
    times = RegularTimes(0.0, _MS_PER_S / (p.time_step * p.steps_per_sample), len(voltage))
    n_exc = len(p.exc_dendrites.split())
    exc_rows, inh_rows = np.split(network.compartments, network.somata[[n_exc]])
    # The ids of inh do not start at 0, to show that ids are preserved.
    exc, inh = _table("exc", exc_rows, first_id=0), _table("inh", inh_rows, first_id=100)
    v_exc, v_inh = np.split(voltage.astype(np.float32), [len(exc_rows)], axis=1)
    i_exc = current[:, : len(exc_rows)].astype(np.float32)
    millivolts, nanoamperes = Unit("volts", 1e-3), Unit("amperes", 1e-9)
    reports = (
        Report("v_exc", v_exc, times, exc, millivolts, report="v"),
        Report("v_inh", v_inh, times, inh, millivolts, report="v"),
        Report("i_membrane", i_exc, times, exc, nanoamperes),
    )
    spikes = (
        _spikes(exc, spiked[:, :n_exc], p.time_step),
        _spikes(inh, spiked[:, n_exc:], p.time_step),
    )
    # Point sources in an infinite homogeneous medium, 1 / (4 pi sigma r) (Linden et al. 2014); r is
    # at least the radius of the compartment.
    positions = np.outer(p.electrode_heights, _LAYER[2])
    distances = np.linalg.norm(network.compartments["center"][:, np.newaxis] - positions, axis=2)
    distances = np.maximum(distances, network.compartments["diameter"][:, np.newaxis] / 2)
    ecp = current @ (1 / (4 * np.pi * p.extracellular_conductivity * distances))
    ids = np.arange(len(positions))
    run = Run(
        simulator="ndx-sim demo",
        simulator_version=version("ndx-simulation-output"),
        time_step=p.time_step / _MS_PER_S,
        duration=duration,
        seed=seed,
        configuration=json.dumps(asdict(p)),
    )
    potential = ExtracellularPotential(
        "ecp", ecp, times, ids, millivolts, Electrodes(ids, positions)
    )
    return SimulationOutput(reports=reports, spikes=spikes, potentials=(potential,), run=run)


def _record(
    rng: Generator, network: Network, steps: int
) -> tuple[_FloatArray, _FloatArray, NDArray[np.bool_]]:
    """Return voltage and current, shape (time, compartment), and spikes, shape (step, cell)."""
    p, somata = network.parameters, network.somata
    delay = 1 + round(p.delay / p.time_step)
    arrivals = np.zeros((steps + delay, len(somata)), dtype=np.bool_)
    rate = p.drive_rate * p.time_step / _MS_PER_S
    voltage, current = [], []
    for step in range(steps):
        if step % p.steps_per_sample == 0:
            voltage.append(network.voltage)
            current.append(network.current)
        below = network.voltage[somata] < p.spike_threshold
        network.advance(arrivals[step], rng.poisson(rate, len(network.voltage)))
        arrivals[step + delay] = below & (network.voltage[somata] >= p.spike_threshold)
    return np.array(voltage), np.array(current), arrivals[delay:]


def _table(population: str, rows: NDArray[Any], first_id: int) -> CompartmentTable:
    cells, counts = np.unique(rows["cell"], return_counts=True)
    columns = {"number": rows["section"], "position": rows["position"]}
    columns |= dict(zip("xyz", rows["center"].T, strict=True))
    columns["diameter"] = rows["diameter"]
    ids = (first_id + np.arange(len(cells))).astype(np.uint64)
    return CompartmentTable.from_counts(population, ids, counts, columns)


def _spikes(table: CompartmentTable, spiked: NDArray[np.bool_], time_step: float) -> Spikes:
    """Convert ``spiked``, shape (step, cell), to ids and times (s), sorted by time."""
    steps, cells = np.nonzero(spiked)
    times = (steps + 1) * time_step / _MS_PER_S
    return Spikes(table.population, np.asarray(table.cell_ids[:])[cells], times)
