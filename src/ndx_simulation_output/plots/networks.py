"""The state of a network: weights and values of neurons."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    image,
    pixels_of,
    title,
    whole_numbers,
)
from ndx_simulation_output.plots.sources import network_of
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
)
from ndx_simulation_output.recording.reduced import (
    histogram,
    label_of,
    neuron_quantity,
    synapse_quantity,
)
from ndx_simulation_output.recording.reduced import weight_matrix as reduce_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["population_state", "weight_matrix", "weights"]


def weights(
    source: Any,
    projection: str | None = None,
    quantity: str | None = None,
    *,
    bins: int = 50,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw how often the weights of a projection occur, or the values of another ``quantity``.

    ``source`` is a network's state, or an open output with one; by default its first projection
    is drawn.

    Raises
    ------
    NothingRecordedError
        If there is no such projection or quantity, or no weight for each synapse.
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> with open_output("state.nwb") as output:  # doctest: +SKIP
    ...     weights(output, "exc_to_inh")

    """
    network = network_of(source)
    found = _projection(network, projection)
    shown = synapse_quantity(found, quantity)
    name = label_of(found, shown)
    counted = histogram(shown.values, bins)
    ax = axes_or_new(ax)
    ax.stairs(counted.counts, counted.edges, fill=True)
    ax.set_xlabel(name)
    ax.set_ylabel("synapses")
    left = f", {counted.left_out:,} not finite" if counted.left_out else ""
    total = int(counted.counts.sum())
    title(ax, _about(found, network), f"{name} of {total:,} synapses{left}")
    return ax


def weight_matrix(
    source: Any,
    projection: str | None = None,
    quantity: str | None = None,
    *,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the weights of a projection, or another ``quantity``, by post- and pre-synaptic neuron.

    A pixel of several synapses shows their mean; one without any is left white.

    Raises
    ------
    NothingRecordedError
        If there is no such projection or quantity, or no weight for each synapse.
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> with open_output("state.nwb") as output:  # doctest: +SKIP
    ...     weight_matrix(output, "exc_to_inh")

    """
    network = network_of(source)
    found = _projection(network, projection)
    shown = synapse_quantity(found, quantity)
    name = label_of(found, shown)
    ax = axes_or_new(ax)
    matrix = reduce_weights(found, shown.values, shape=pixels_of(ax))
    drawn = image(ax, matrix.values, matrix.pre - 0.5, matrix.post - 0.5)
    several = int(matrix.counts.max(initial=0))
    color_bar(ax, drawn, name if several <= 1 else f"mean {name}")
    _ranks(ax, "pre-synaptic rank", "post-synaptic rank")
    note = f"{int(matrix.counts.sum()):,} synapses"
    note += f", up to {several:,} a pixel" if several > 1 else ""
    title(ax, _about(found, network), note)
    return ax


def population_state(
    source: Any,
    population: str | None = None,
    quantity: str | None = None,
    *,
    bins: int = 50,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a quantity of the neurons of a population: on its grid, or how often values occur.

    By default that is the first variable of the first population that has a value for each neuron.

    Raises
    ------
    NothingRecordedError
        If there is no such population or quantity.
    MissingDependencyError
        If matplotlib is not installed.

    Example
    -------
    >>> with open_output("state.nwb") as output:  # doctest: +SKIP
    ...     population_state(output, "exc", "v")

    """
    network = network_of(source)
    found = _population(network, population)
    shown = neuron_quantity(found, quantity)
    ax = axes_or_new(ax)
    about = f"{shown.name} of {found.name}{_when(network)}"
    if len(found.geometry) == 2 and found.size <= 10**6:
        values = np.asarray(shown.values[:], np.float64).reshape(found.geometry)
        rows, columns = found.geometry
        drawn = image(ax, values, np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5)
        color_bar(ax, drawn, shown.name)
        _ranks(ax, "second coordinate", "first coordinate")
        title(ax, about, f"{rows} × {columns} neurons")
        return ax
    if found.size <= 4 * pixels_of(ax)[1]:
        ax.plot(np.arange(found.size), np.asarray(shown.values[:], np.float64), ".")
        ax.set_xlabel("rank")
        ax.set_ylabel(shown.name)
        whole_numbers(ax.xaxis)
        title(ax, about, f"{found.size:,} neurons")
        return ax
    counted = histogram(shown.values, bins)
    ax.stairs(counted.counts, counted.edges, fill=True)
    ax.set_xlabel(shown.name)
    ax.set_ylabel("neurons")
    title(ax, about, f"{found.size:,} neurons")
    return ax


def _projection(network: NetworkSnapshot, name: str | None) -> ProjectionSnapshot:
    for projection in network.projections:
        if name in {None, projection.name}:
            return projection
    known = ", ".join(projection.name for projection in network.projections) or "none"
    wanted = "projection" if name is None else f"projection {name!r}"
    msg = f"state {network.name!r} has no {wanted}; it has: {known}"
    raise NothingRecordedError(msg)


def _population(network: NetworkSnapshot, name: str | None) -> PopulationSnapshot:
    for population in network.populations:
        if name in {None, population.name}:
            return population
    known = ", ".join(population.name for population in network.populations) or "none"
    wanted = "population" if name is None else f"population {name!r}"
    msg = f"state {network.name!r} has no {wanted}; it has: {known}"
    raise NothingRecordedError(msg)


def _about(projection: ProjectionSnapshot, network: NetworkSnapshot) -> str:
    ends = [name for name in (projection.pre, projection.post) if name]
    between = f", {' to '.join(ends)}" if len(ends) == 2 else ""
    return f"projection {projection.name}{between}{_when(network)}"


def _when(network: NetworkSnapshot) -> str:
    return "" if network.time is None else f", at {network.time:g} s"


def _ranks(ax: "Axes", across: str, up: str) -> None:
    ax.set_xlabel(across)
    ax.set_ylabel(up)
    whole_numbers(ax.xaxis)
    whole_numbers(ax.yaxis)
