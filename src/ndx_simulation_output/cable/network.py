"""Cells wired by synapses, and one step of their equations: mV, ms, nA, µS, nF.

Every compartment is a passive membrane; somata have the sodium and potassium currents of Traub and
Miles (1991) as given by Pospischil et al. (2008), so that spikes are solved for, not drawn.
Synapses are conductances that jump at a spike and decay exponentially. No electrode injects
current: the transmembrane currents of a cell sum to zero.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ndx_simulation_output.cable.morphology import Cables, axial_conductances, grow_cell, join
from ndx_simulation_output.cable.parameters import Parameters

__all__ = ["Network", "State", "advance", "build", "initial_state"]

_Values = NDArray[np.float64]
_LEAST_ARGUMENT = 1e-6
# From mS to µS, and from µF to nF.
_KILO = 1e3


@dataclass(frozen=True)
class Network:
    """Cells and their elements, by compartment unless said otherwise.

    ``capacitance`` (nF) and ``leak`` (µS) have shape (compartment,), ``sodium`` and ``potassium``
    (µS) shape (cell,). ``response`` (MΩ), shape (compartment, compartment), gives the potential at
    the end of a step for the current that flows into the passive cables. ``weights`` (µS), shape
    (2, cell, compartment), are the excitatory and the inhibitory synapses of each cell.
    """

    parameters: Parameters
    cables: Cables
    capacitance: _Values
    leak: _Values
    sodium: _Values
    potassium: _Values
    response: _Values
    weights: _Values


@dataclass(frozen=True)
class State:
    """A moment: ``voltage`` (mV) and outward transmembrane ``current`` (nA), both (compartment,).

    ``gates`` are m, h and n of each soma, shape (3, cell); ``synapses`` are the excitatory and
    inhibitory conductances (µS), shape (2, compartment).
    """

    voltage: _Values
    current: _Values
    gates: _Values
    synapses: _Values


def build(rng: Generator, parameters: Parameters) -> Network:
    """Draw the cells, excitatory ones first, and their synapses."""
    p = parameters
    cables = _grow_cells(rng, p)
    capacitance = p.capacitance * cables.areas * _KILO
    leak = p.leak * cables.areas * _KILO
    soma_areas = cables.areas[cables.somata] * _KILO
    conductances = np.diag(capacitance / p.time_step + leak)
    conductances -= axial_conductances(cables, p.axial_resistivity)
    return Network(
        parameters=p,
        cables=cables,
        capacitance=capacitance,
        leak=leak,
        sodium=p.sodium * soma_areas,
        potassium=p.potassium * soma_areas,
        response=np.linalg.inv(conductances).astype(np.float64),
        weights=_draw_synapses(rng, p, cables),
    )


def initial_state(network: Network) -> State:
    """Put every compartment at the reversal potential of the leak, gates settled, synapses silent.

    No axial current flows between equal potentials, hence no transmembrane current either.
    """
    voltage = np.full(len(network.cables), network.parameters.leak_reversal)
    opening, closing = _rates(voltage[network.cables.somata], network.parameters.kinetics_shift)
    gates = opening / (opening + closing)
    return State(voltage, np.zeros_like(voltage), gates, np.zeros((2, len(voltage))))


def advance(
    network: Network, state: State, arrivals: NDArray[np.bool_], drive: NDArray[np.int64]
) -> State:
    """Integrate one time step by the backward Euler method.

    ``arrivals`` says which cells' spikes arrive, shape (cell,); ``drive`` is the number of spikes
    from outside, shape (compartment,). The gates take an exponential step (Rush and Larsen 1978);
    synaptic currents are those at the potential of the step before. The active conductances of
    the somata are a low-rank change of the passive cables (Sherman-Morrison formula, one for each
    cell), so that the cables are factorised once.
    """
    p, somata = network.parameters, network.cables.somata
    synapses = _open_synapses(network, state.synapses, arrivals, drive)
    reversals = np.array([[p.exc_reversal], [p.inh_reversal]])
    synaptic = np.sum(synapses * (reversals - state.voltage), axis=0)
    gates = _open_gates(state.gates, state.voltage[somata], p)
    active, push = _active_elements(network, gates)

    stored = network.capacitance / p.time_step
    inflow = stored * state.voltage + network.leak * p.leak_reversal + synaptic
    inflow[somata] += push
    voltage = network.response @ inflow
    at_soma = voltage[somata] / (1 + active * network.response[somata, somata])
    voltage -= network.response[:, somata] @ (active * at_soma)

    current = stored * (voltage - state.voltage)
    current += network.leak * (voltage - p.leak_reversal) - synaptic
    current[somata] += active * voltage[somata] - push
    return State(voltage, current, gates, synapses)


def _grow_cells(rng: Generator, parameters: Parameters) -> Cables:
    cells: list[Cables] = []
    for cell in range(parameters.exc_cells + parameters.inh_cells):
        first = sum(len(grown) for grown in cells)
        cells.append(grow_cell(rng, parameters, cell=cell, first=first))
    return join(cells)


def _draw_synapses(rng: Generator, parameters: Parameters, cables: Cables) -> _Values:
    """Connect each ordered pair of cells with some probability, anywhere on the target cell."""
    p = parameters
    n_cells = p.exc_cells + p.inh_cells
    weights = np.zeros((2, n_cells, len(cables)))
    connected = rng.random((n_cells, n_cells)) < p.connection_probability
    np.fill_diagonal(connected, val=False)
    for source, target in np.argwhere(connected):
        compartment = rng.choice(np.flatnonzero(cables.cells == target))
        inhibitory = int(source >= p.exc_cells)
        weights[inhibitory, source, compartment] = (p.exc_weight, p.inh_weight)[inhibitory]
    return weights


def _open_synapses(
    network: Network, synapses: _Values, arrivals: NDArray[np.bool_], drive: NDArray[np.int64]
) -> _Values:
    p = network.parameters
    decay = np.exp(-p.time_step / np.array([[p.exc_decay], [p.inh_decay]]))
    opened = synapses * decay + arrivals @ network.weights
    opened[0] += p.drive_weight * drive
    return opened


def _open_gates(gates: _Values, voltage: _Values, parameters: Parameters) -> _Values:
    opening, closing = _rates(voltage, parameters.kinetics_shift)
    speed = opening + closing
    settled = opening / speed
    return settled + (gates - settled) * np.exp(-speed * parameters.time_step)


def _active_elements(network: Network, gates: _Values) -> tuple[_Values, _Values]:
    """Give the conductance (µS) of each soma and the current (nA) it lets in at 0 mV: (cell,)."""
    m, h, n = gates
    sodium, potassium = network.sodium * m**3 * h, network.potassium * n**4
    p = network.parameters
    return sodium + potassium, sodium * p.sodium_reversal + potassium * p.potassium_reversal


def _rates(voltage: _Values, shift: float) -> tuple[_Values, _Values]:
    """Give the opening and closing rates (1/ms) of m, h and n, each of shape (3, cell).

    Traub and Miles (1991), in the form of Pospischil et al. (2008), equations of I_Na and I_Kd.
    """
    v = voltage - shift
    opening = [
        1.28 * _linoid((13 - v) / 4),
        0.128 * np.exp((17 - v) / 18),
        0.16 * _linoid((15 - v) / 5),
    ]
    closing = [
        1.4 * _linoid((v - 40) / 5),
        4 / (1 + np.exp((40 - v) / 5)),
        0.5 * np.exp((10 - v) / 40),
    ]
    return np.array(opening), np.array(closing)


def _linoid(x: _Values) -> _Values:
    """Compute x / (exp(x) - 1), and its limit 1 at 0."""
    safe = np.where(np.abs(x) < _LEAST_ARGUMENT, _LEAST_ARGUMENT, x)
    return safe / np.expm1(safe)
