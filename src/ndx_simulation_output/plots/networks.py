"""Network states: weights of synapses and values of neurons."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    find_source,
    image,
    integer_ticks,
    size_in_pixels,
    title,
)
from ndx_simulation_output.plots.downsampling import column_edges
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Unit,
)
from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.recording.network import Locality, Quantity
from ndx_simulation_output.recording.units import unit_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLOCK = 2**20
_MAX_GRID_SIZE = 10**6

_Member = TypeVar("_Member", Quantity, PopulationSnapshot, ProjectionSnapshot)


@dataclass(frozen=True)
class Histogram:
    """Numbers of values in bins: ``counts`` (bin,), ``edges`` (bin + 1,).

    ``left_out`` is the number of values that are not finite.
    """

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    left_out: int


@dataclass(frozen=True)
class WeightMatrix:
    """Mean weight of the synapses in each pixel, shape (post bin, pre bin), NaN if none.

    ``counts`` are the numbers of synapses, ``post`` and ``pre`` the edges of the bins of ranks.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    post: NDArray[np.intp]
    pre: NDArray[np.intp]


def neuron_quantities(population: PopulationSnapshot) -> tuple[Quantity, ...]:
    """Return the numeric quantities with a value for each neuron, variables first."""
    found = [
        quantity
        for quantity in population.quantities
        if quantity.locality == "local" and quantity.values.dtype.kind in "biuf"
    ]
    return tuple(sorted(found, key=lambda quantity: quantity.kind != "variable"))


def synapse_quantities(projection: ProjectionSnapshot) -> tuple[Quantity, ...]:
    """Return the quantities of synapses, including delays (s), the weight first.

    Their values have shape (synapse,), or () if all synapses have the same value.
    """
    found = [
        quantity for quantity in projection.quantities if quantity.locality in {"local", "shared"}
    ]
    if projection.delays is not None and "delay" not in {quantity.name for quantity in found}:
        locality: Locality = "local" if projection.delays.shape else "shared"
        found.append(Quantity("delay", projection.delays, locality, unit=Unit("seconds")))
    return tuple(sorted(found, key=lambda quantity: quantity.name != projection.weight))


def neuron_quantity(population: PopulationSnapshot, name: str | None = None) -> Quantity:
    """Return a quantity of the neurons by name, by default the first one.

    Raises
    ------
    NothingRecordedError
        If the population has no such quantity with a number for each neuron.

    """
    problem = f"population {population.name!r} has no {name or 'value'!r} for each neuron"
    return _first_named(name, neuron_quantities(population), problem)


def synapse_quantity(projection: ProjectionSnapshot, name: str | None = None) -> Quantity:
    """Return a quantity of the synapses by name, by default the weight.

    Raises
    ------
    NothingRecordedError
        If the projection has no such quantity with a value for each synapse.

    """
    wanted = name or projection.weight or ""
    problem = f"projection {projection.name!r} has no {wanted or 'weight'!r} for each synapse"
    return _first_named(wanted, synapse_quantities(projection), problem)


def label_of(quantity: Quantity) -> str:
    """Return the name of a quantity, with its unit if that is known."""
    unit = unit_label(quantity.unit)
    return f"{quantity.name} ({unit})" if unit else quantity.name


def histogram(values: LazyArray, bins: int = 50) -> Histogram:
    """Count values, shape (value,) or (), in equal bins from the lowest to the highest.

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
) -> WeightMatrix:
    """Return the mean of ``values`` of the synapses in each pixel of an image (post, pre).

    ``values`` has shape (synapse,), or () if all synapses have the same value. The matrix ends at
    the highest rank with a synapse: a projection does not contain the sizes of its populations.
    """
    post_ranks = np.asarray(projection.post_ranks[:], np.int64)
    ends = np.asarray(projection.ends[:], np.int64)
    pre_size = 1 + max((int(block.max()) for block in _blocks(projection.pre_ranks)), default=-1)
    post_size = 1 + int(post_ranks.max(initial=-1))
    post, pre = column_edges(post_size, shape[0]), column_edges(pre_size, shape[1])
    size = len(post) - 1, len(pre) - 1
    sums = np.zeros(size[0] * size[1])
    counts = np.zeros(len(sums), np.int64)
    for begin in range(0, int(ends[-1]) if len(ends) else 0, _BLOCK):
        synapses = slice(begin, begin + _BLOCK)
        ranks = np.asarray(projection.pre_ranks[synapses], np.int64)
        rows = np.searchsorted(ends, np.arange(begin, begin + len(ranks)), side="right")
        y = np.searchsorted(post, post_ranks[rows], side="right") - 1
        x = np.searchsorted(pre, ranks, side="right") - 1
        pixels = y * size[1] + x
        weights = values[synapses] if values.shape else np.full(len(ranks), values[()])
        sums += np.bincount(pixels, np.asarray(weights, np.float64), len(sums))
        counts += np.bincount(pixels, minlength=len(sums))
    means = np.full(len(sums), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return WeightMatrix(means.reshape(size), counts.reshape(size), post, pre)


def _blocks(values: LazyArray) -> Iterator[NDArray[np.float64]]:
    if not values.shape:
        yield np.asarray([values[()]], np.float64)
        return
    for begin in range(0, values.shape[0], _BLOCK):
        yield np.asarray(values[begin : begin + _BLOCK], np.float64)


def weights(
    source: Any,
    projection: str | None = None,
    quantity: str | None = None,
    *,
    bins: int = 50,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a histogram of the weights of a projection, or of another ``quantity``.

    ``source`` is a network state or an open output that contains one. By default its first
    projection is drawn.

    Raises
    ------
    NothingRecordedError
        If there is no such projection or quantity, or no weight for each synapse.

    Example
    -------
    >>> with open_output("state.nwb") as output:  # doctest: +SKIP
    ...     weights(output, "exc_to_inh")

    """
    network = find_source(source, NetworkSnapshot)
    found = _find("projection", network, network.projections, projection)
    shown = synapse_quantity(found, quantity)
    label = label_of(shown)
    ax = axes_or_new(ax)
    counted = _draw_histogram(ax, shown, label, "synapses", bins)
    note = f"{label} of {int(counted.counts.sum()):,} synapses"
    note += f", {counted.left_out:,} not finite" if counted.left_out else ""
    title(ax, _about(found, network), note)
    return ax


def weight_matrix(
    source: Any,
    projection: str | None = None,
    quantity: str | None = None,
    *,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the weights of a projection, or another ``quantity``, by post- and presynaptic neuron.

    A pixel that covers several synapses shows their mean; one without synapses is white.

    Raises
    ------
    NothingRecordedError
        If there is no such projection or quantity, or no weight for each synapse.

    Example
    -------
    >>> with open_output("state.nwb") as output:  # doctest: +SKIP
    ...     weight_matrix(output, "exc_to_inh")

    """
    network = find_source(source, NetworkSnapshot)
    found = _find("projection", network, network.projections, projection)
    shown = synapse_quantity(found, quantity)
    label = label_of(shown)
    ax = axes_or_new(ax)
    matrix = mean_weights(found, shown.values, shape=size_in_pixels(ax))
    most = int(matrix.counts.max(initial=0))
    note = f"{int(matrix.counts.sum()):,} synapses"
    if most > 1:
        label, note = f"mean {label}", f"{note}, up to {most:,} per pixel"
    _draw_matrix(ax, matrix.values, matrix.pre, matrix.post, label)
    ax.set_xlabel("presynaptic rank")
    ax.set_ylabel("postsynaptic rank")
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
    """Draw a quantity of the neurons of a population on its grid, by rank, or as a histogram.

    By default the first variable of the first population is drawn. Populations with two dimensions
    are drawn on their grid, other large ones as a histogram.

    Raises
    ------
    NothingRecordedError
        If there is no such population or quantity.

    Example
    -------
    >>> with open_output("state.nwb") as output:  # doctest: +SKIP
    ...     population_state(output, "exc", "v")

    """
    network = find_source(source, NetworkSnapshot)
    found = _find("population", network, network.populations, population)
    shown = neuron_quantity(found, quantity)
    ax = axes_or_new(ax)
    note = f"{found.size:,} neurons"
    if len(found.geometry) == 2 and found.size <= _MAX_GRID_SIZE:
        rows, columns = found.geometry
        values = np.asarray(shown.values[:], np.float64).reshape(found.geometry)
        _draw_matrix(ax, values, np.arange(columns + 1), np.arange(rows + 1), label_of(shown))
        ax.set_xlabel("second coordinate")
        ax.set_ylabel("first coordinate")
        note = f"{rows} × {columns} neurons"
    elif found.size <= 4 * size_in_pixels(ax)[1]:
        ax.plot(np.arange(found.size), np.asarray(shown.values[:], np.float64), ".")
        ax.set_xlabel("rank")
        ax.set_ylabel(label_of(shown))
        integer_ticks(ax.xaxis)
    else:
        _draw_histogram(ax, shown, label_of(shown), "neurons", bins)
    title(ax, f"{shown.name} of {found.name}{_at_time(network)}", note)
    return ax


def _find(
    kind: str, network: NetworkSnapshot, parts: Sequence[_Member], name: str | None
) -> _Member:
    """Return the population or projection with this name, by default the first one."""
    wanted = kind if name is None else f"{kind} {name!r}"
    return _first_named(name, parts, f"state {network.name!r} has no {wanted}")


def _first_named(name: str | None, items: Sequence[_Member], problem: str) -> _Member:
    """Return the first item, or the first with this name; raise an error if there is none."""
    for item in items:
        if name in {None, item.name}:
            return item
    msg = f"{problem}; it has: {', '.join(item.name for item in items) or 'none'}"
    raise NothingRecordedError(msg)


def _draw_histogram(ax: "Axes", shown: Quantity, xlabel: str, ylabel: str, bins: int) -> Histogram:
    counted = histogram(shown.values, bins)
    ax.stairs(counted.counts, counted.edges, fill=True)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    return counted


def _draw_matrix(
    ax: "Axes", values: NDArray[Any], across: NDArray[Any], up: NDArray[Any], label: str
) -> None:
    """Draw values by rank, with the centre of a pixel at its rank."""
    color_bar(ax, image(ax, values, across - 0.5, up - 0.5), label)
    integer_ticks(ax.xaxis)
    integer_ticks(ax.yaxis)


def _about(projection: ProjectionSnapshot, network: NetworkSnapshot) -> str:
    ends = [name for name in (projection.pre, projection.post) if name]
    between = f", {' to '.join(ends)}" if len(ends) == 2 else ""
    return f"projection {projection.name}{between}{_at_time(network)}"


def _at_time(network: NetworkSnapshot) -> str:
    return "" if network.time is None else f", at {network.time:g} s"
