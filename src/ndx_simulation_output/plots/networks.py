"""Weights of synapses and values of neurons."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    image,
    network_of,
    pixels_of,
    title,
    whole_numbers,
)
from ndx_simulation_output.plots.downsampling import column_edges
from ndx_simulation_output.recording import NetworkSnapshot, PopulationSnapshot, ProjectionSnapshot
from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.recording.network import Locality, Quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Weights of synapses and values of neurons as histograms and images.

_BLOCK = 2**20


@dataclass(frozen=True)
class Histogram:
    """How many values lie in each bin: ``counts`` (bin,), ``edges`` (bin + 1,).

    ``left_out`` values are not finite.
    """

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    left_out: int


@dataclass(frozen=True)
class Matrix:
    """The mean weight of the synapses in each pixel: shape (post bin, pre bin), NaN for none.

    ``counts`` are the synapses in each, ``post`` and ``pre`` where the bins of ranks begin and end.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    post: NDArray[np.intp]
    pre: NDArray[np.intp]


def neuron_quantities(population: PopulationSnapshot) -> tuple[Quantity, ...]:
    """Give the quantities that are numbers, one for each neuron: variables first."""
    found = [
        quantity
        for quantity in population.quantities
        if quantity.locality == "local" and quantity.values.dtype.kind in "biuf"
    ]
    return tuple(sorted(found, key=lambda quantity: quantity.kind != "variable"))


def synapse_quantities(projection: ProjectionSnapshot) -> tuple[Quantity, ...]:
    """Give the quantities of synapses: the weight first, and delays (s) among them.

    Their values have shape (synapse,), or () where all synapses have the one.
    """
    found = [one for one in projection.quantities if one.locality in {"local", "shared"}]
    if projection.delays is not None and "delay" not in {one.name for one in found}:
        locality: Locality = "local" if projection.delays.shape else "shared"
        found.append(Quantity("delay", projection.delays, locality))
    return tuple(sorted(found, key=lambda quantity: quantity.name != projection.weight))


def neuron_quantity(population: PopulationSnapshot, name: str | None = None) -> Quantity:
    """Give one of the quantities of neurons, by default the first.

    Raises
    ------
    NothingRecordedError
        If the population has no such quantity with a number for each neuron.

    """
    found = neuron_quantities(population)
    for quantity in found:
        if name in {None, quantity.name}:
            return quantity
    what = f"population {population.name!r} has no {name or 'value'!r} for each neuron"
    msg = f"{what}; it has: {_names(found)}"
    raise NothingRecordedError(msg)


def synapse_quantity(projection: ProjectionSnapshot, name: str | None = None) -> Quantity:
    """Give one of the quantities of synapses, by default the weight.

    Raises
    ------
    NothingRecordedError
        If the projection has no such quantity with a value for each synapse.

    """
    wanted = name or projection.weight
    found = synapse_quantities(projection)
    for quantity in found:
        if quantity.name == wanted:
            return quantity
    what = f"projection {projection.name!r} has no {wanted or 'weight'!r} for each synapse"
    msg = f"{what}; it has: {_names(found)}"
    raise NothingRecordedError(msg)


def label_of(projection: ProjectionSnapshot, quantity: Quantity) -> str:
    """Name a quantity of synapses with its unit, if that is known: only that of delays is."""
    return f"{quantity.name} (s)" if quantity.values is projection.delays else quantity.name


def _names(quantities: Iterable[Quantity]) -> str:
    return ", ".join(quantity.name for quantity in quantities) or "none"


def histogram(values: LazyArray, bins: int = 50) -> Histogram:
    """Count values, of any shape (value,), in equal bins from the lowest to the highest.

    Example
    -------
    >>> histogram(np.array([0.0, 0.1, 1.0]), bins=2).counts.tolist()
    [2, 1]

    """
    lowest, highest, left_out = np.inf, -np.inf, 0
    for block in _blocks(values):
        finite = block[np.isfinite(block)]
        left_out += len(block) - len(finite)
        if len(finite):
            lowest, highest = min(lowest, finite.min()), max(highest, finite.max())
    if lowest > highest:
        return Histogram(np.zeros(bins, np.int64), np.linspace(0.0, 1.0, bins + 1), left_out)
    counts, edges = np.zeros(bins, np.int64), np.zeros(0)
    for block in _blocks(values):
        found, edges = np.histogram(block[np.isfinite(block)], bins, (lowest, highest))
        counts += found
    return Histogram(counts, edges.astype(np.float64), left_out)


def mean_weights(
    projection: ProjectionSnapshot,
    values: LazyArray,
    *,
    shape: tuple[int, int] = (500, 500),
) -> Matrix:
    """Give the mean of ``values`` of the synapses in each pixel of an image (post, pre).

    ``values`` has shape (synapse,), or () if all synapses have the one. The matrix reaches to the
    highest rank that has a synapse: the sizes of the populations are not known to a projection.
    """
    post_ranks = np.asarray(projection.post_ranks[:], np.int64)
    ends = np.asarray(projection.ends[:], np.int64)
    pre_size = 1 + max((int(block.max()) for block in _blocks(projection.pre_ranks)), default=-1)
    post_size = 1 + int(post_ranks.max(initial=-1))
    post, pre = column_edges(post_size, shape[0]), column_edges(pre_size, shape[1])
    sums = np.zeros((len(post) - 1) * (len(pre) - 1))
    counts = np.zeros(len(sums), np.int64)
    for begin in range(0, int(ends[-1]) if len(ends) else 0, _BLOCK):
        synapses = slice(begin, begin + _BLOCK)
        ranks = np.asarray(projection.pre_ranks[synapses], np.int64)
        rows = np.searchsorted(ends, np.arange(begin, begin + len(ranks)), side="right")
        y = np.searchsorted(post, post_ranks[rows], side="right") - 1
        x = np.searchsorted(pre, ranks, side="right") - 1
        place = y * (len(pre) - 1) + x
        weights = values[synapses] if values.shape else np.full(len(ranks), values[()])
        sums += np.bincount(place, np.asarray(weights, np.float64), len(sums))
        counts += np.bincount(place, minlength=len(sums))
    means = np.full(len(sums), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    size = len(post) - 1, len(pre) - 1
    return Matrix(means.reshape(size), counts.reshape(size), post, pre)


def _blocks(values: LazyArray) -> Iterator[NDArray[np.float64]]:
    if not values.shape:
        yield np.asarray([values[()]], np.float64)
        return
    for begin in range(0, values.shape[0], _BLOCK):
        yield np.asarray(values[begin : begin + _BLOCK], np.float64)


# The state of a network: weights and values of neurons.


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
    matrix = mean_weights(found, shown.values, shape=pixels_of(ax))
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
