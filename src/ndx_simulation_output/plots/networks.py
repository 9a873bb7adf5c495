"""Network states: weights of synapses and values of neurons."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod, sqrt
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.canvas import (
    axes_or_new,
    color_bar,
    coloring,
    fewer_ticks,
    find_source,
    image,
    integer_ticks,
    label_axis,
    names_on_axis,
    size_in_pixels,
    title,
    with_look,
)
from ndx_simulation_output.plots.downsampling import column_edges
from ndx_simulation_output.plots.look import COLORS, color_scale
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Unit,
)
from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.recording.display import counted as counted_text
from ndx_simulation_output.recording.display import shape_text
from ndx_simulation_output.recording.ids import some_of
from ndx_simulation_output.recording.network import Locality, Quantity
from ndx_simulation_output.recording.units import unit_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLOCK = 2**20
_MAX_GRID_SIZE = 10**6
_MAX_FIELDS = 64

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
    if lowest == highest:
        margin = abs(lowest) / 10 or 0.5
        lowest, highest = lowest - margin, highest + margin
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
    pre_size = 1 + max((int(block.max()) for block in _blocks(projection.pre_ranks)), default=0)
    post_size = 1 + int(post_ranks.max(initial=0))
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


def receptive_fields(
    projection: ProjectionSnapshot, values: LazyArray, size: int = 0
) -> NDArray[np.float64]:
    """Return the mean of ``values`` of synapses between neurons, shape (post-synaptic, rank).

    There is a row for each of ``post_ranks`` and, for those without a synapse NaN, a column for
    each presynaptic rank: ``size``, or up to the highest one with a synapse. Use it for some
    neurons: ``projection.afferent(cells)``.

    Example
    -------
    >>> found = ProjectionSnapshot("p", [3], [2], [0, 2])
    >>> receptive_fields(found, np.array([0.5, 0.7])).tolist()
    [[0.5, nan, 0.7]]

    """
    pre = np.asarray(projection.pre_ranks[:], np.int64)
    ends = np.asarray(projection.ends[:], np.int64)
    shape = len(ends), max(size, int(pre.max(initial=-1)) + 1)
    rows = np.searchsorted(ends, np.arange(len(pre)), side="right")
    pixels = rows * shape[1] + pre
    weights = np.asarray(values[:] if values.shape else np.full(len(pre), values[()]), np.float64)
    counts = np.bincount(pixels, minlength=shape[0] * shape[1])
    sums = np.bincount(pixels, weights, len(counts))
    means = np.full(len(counts), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means.reshape(shape)


def _blocks(values: LazyArray) -> Iterator[NDArray[np.float64]]:
    if not values.shape:
        yield np.asarray([values[()]], np.float64)
        return
    for begin in range(0, values.shape[0], _BLOCK):
        yield np.asarray(values[begin : begin + _BLOCK], np.float64)


@with_look
def weights(
    source: Any,
    projection: str | None = None,
    quantity: str | None = None,
    *,
    cells: Iterable[int] | int | None = None,
    bins: int = 50,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a histogram of the weights of a projection, or of another ``quantity``.

    ``source`` is a network state or an open output that contains one. By default its first
    projection is drawn; with ``cells``, ranks of post-synaptic neurons, only what they receive.

    Raises
    ------
    NothingRecordedError
        If there is no such projection or quantity, or no weight for each synapse.
    CellNotFoundError
        If a cell receives no synapses of the projection.

    Example
    -------
    >>> with open_output("state.nwb") as output:  # doctest: +SKIP
    ...     weights(output, "exc_to_inh")

    """
    network = find_source(source, NetworkSnapshot)
    found, note = _of_cells(_find("projection", network, network.projections, projection), cells)
    shown = synapse_quantity(found, quantity)
    label = label_of(shown)
    ax = axes_or_new(ax)
    counted = _draw_histogram(ax, shown, label, "synapses", bins, int(found.pre_ranks.shape[0]))
    note += f"{label} of {counted_text(int(counted.counts.sum()), 'synapses')}"
    note += "" if shown.values.shape else ", all equal"
    note += f", {counted.left_out:,} not finite" if counted.left_out else ""
    title(ax, _about(found, network), note)
    return ax


@with_look
def weight_matrix(
    source: Any,
    projection: str | None = None,
    quantity: str | None = None,
    *,
    cells: Iterable[int] | int | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the weights of a projection, or another ``quantity``, by post- and presynaptic neuron.

    A pixel that covers several synapses shows their mean; one without synapses is grey. With
    ``cells``, ranks of post-synaptic neurons, it shows what each of the first 64 receives (its
    receptive field), on the grid of the presynaptic population if that has two dimensions.

    Raises
    ------
    NothingRecordedError
        If there is no such projection or quantity, or no weight for each synapse.
    CellNotFoundError
        If a cell receives no synapses of the projection.

    Example
    -------
    >>> with open_output("state.nwb") as output:  # doctest: +SKIP
    ...     weight_matrix(output, "exc_to_inh")
    ...     weight_matrix(output, "exc_to_inh", cells=3)

    """
    network = find_source(source, NetworkSnapshot)
    whole = _find("projection", network, network.projections, projection)
    found, note = _of_cells(whole, cells)
    if cells is not None:
        found, more = _first_cells(found, _grid_of(found.pre, network))
        note += more
    shown = synapse_quantity(found, quantity)
    ax = axes_or_new(ax)
    count = counted_text(int(found.pre_ranks.shape[0]), "synapses")
    if cells is not None:
        _draw_fields(ax, found, shown, network)
        title(ax, _about(found, network), f"{note}{count}")
        return ax
    label = label_of(shown)
    matrix = mean_weights(found, shown.values, shape=size_in_pixels(ax))
    most = int(matrix.counts.max(initial=0))
    if most > 1:
        label, count = f"mean {label}", f"{count}, up to {most:,} per pixel"
    _draw_matrix(ax, matrix.values, matrix.pre, matrix.post, label)
    label_axis(ax.xaxis, f"presynaptic rank{_in(found.pre)}")
    label_axis(ax.yaxis, f"postsynaptic rank{_in(found.post)}")
    title(ax, _about(found, network), count)
    return ax


def _of_cells(
    projection: ProjectionSnapshot, cells: Iterable[int] | int | None
) -> tuple[ProjectionSnapshot, str]:
    """Return what cells receive of a projection, and words for them."""
    if cells is None:
        return projection, ""
    found = projection.afferent(cells)
    ranks = np.asarray(found.post_ranks[:])
    one = len(ranks) == 1
    return (
        found,
        f"{'cell' if one else 'cells'} {some_of(ranks)} {'receives' if one else 'receive'} ",
    )


def _grid_of(name: str | None, network: NetworkSnapshot) -> tuple[int, ...]:
    """Return the shape of the grid of a population, empty if it is not in the network."""
    return next((one.geometry for one in network.populations if one.name == name), ())


def _first_cells(
    projection: ProjectionSnapshot, grid: tuple[int, ...]
) -> tuple[ProjectionSnapshot, str]:
    """Return what the first post-synaptic neurons receive, as many as can be drawn, and a note."""
    ranks = np.asarray(projection.post_ranks[:])
    highest = max((int(block.max()) for block in _blocks(projection.pre_ranks)), default=0)
    size = max(highest + 1, prod(grid))
    most = max(1, min(_MAX_FIELDS, 4 * _MAX_GRID_SIZE // size))
    if len(ranks) <= most:
        return projection, ""
    return projection.afferent(ranks[:most]), f"(the first {most} are shown) "


def _draw_fields(
    ax: "Axes", found: ProjectionSnapshot, shown: Quantity, network: NetworkSnapshot
) -> None:
    """Draw what each post-synaptic neuron receives, by rank or on the grid of the senders."""
    geometry = _grid_of(found.pre, network)
    fields = receptive_fields(found, shown.values, prod(geometry) if geometry else 0)
    names = [*map(str, np.asarray(found.post_ranks[:]).tolist())]
    label = label_of(shown)
    if len(geometry) == 2:
        _draw_tiles(
            ax, fields.reshape(len(fields), *geometry), [f"cell {name}" for name in names], label
        )
        return
    label_axis(ax.xaxis, f"presynaptic rank{_in(found.pre)}")
    if len(fields) == 1:
        ax.vlines(np.arange(fields.shape[1]), 0, fields[0], color=COLORS[0])
        ax.plot(fields[0], "o", markersize=3, color=COLORS[0])
        label_axis(ax.yaxis, label)
        integer_ticks(ax.xaxis)
        return
    _draw_matrix(ax, fields, np.arange(fields.shape[1] + 1), np.arange(len(fields) + 1), label)
    label_axis(ax.yaxis, f"postsynaptic rank{_in(found.post)}")
    names_on_axis(ax, names)


def _draw_tiles(ax: "Axes", grids: NDArray[np.float64], names: Sequence[str], label: str) -> None:
    """Draw images (tile, row, column) side by side, with a name above each."""
    count, height, width = grids.shape
    across = min(count, ceil(sqrt(count * height / width)))
    rows = ceil(count / across)
    above = max(1, height // 4)
    canvas = np.full((rows * (height + above) - above, across * (width + 1) - 1), np.nan)
    is_tile = np.zeros(canvas.shape, bool)
    for number, grid in enumerate(grids):
        # The first tile is at the top left, row 0 of each at its bottom.
        bottom = (rows - 1 - number // across) * (height + above)
        left = number % across * (width + 1)
        part = slice(bottom, bottom + height), slice(left, left + width)
        canvas[part], is_tile[part] = grid, True
        if count > 1:
            middle = left + (width - 1) / 2
            ax.text(middle, bottom + height - 0.4, names[number], ha="center",
                    va="bottom", fontsize="x-small", parse_math=False)  # fmt: skip
    edges = np.arange(canvas.shape[1] + 1), np.arange(canvas.shape[0] + 1)
    _draw_matrix(ax, canvas, *edges, label, alpha=is_tile.astype(float))
    ax.set_aspect("equal")
    if count > 1:
        ax.set_ylim(top=canvas.shape[0] + above - 0.5)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        return
    ax.set_xlabel("second coordinate")
    ax.set_ylabel("first coordinate")


def _in(population: str | None) -> str:
    return f" in {population}" if population else ""


@with_look
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
    are drawn on their grid, those with three as a grid for each first coordinate, other large ones
    as a histogram.

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
    label = label_of(shown)
    grid = (1, *found.geometry) if len(found.geometry) == 2 else tuple(found.geometry)
    if len(grid) == 3 and grid[0] <= _MAX_FIELDS and found.size <= _MAX_GRID_SIZE:
        planes = np.asarray(shown.values[:], np.float64).reshape(grid)
        _draw_tiles(ax, planes, [*map(str, range(len(planes)))], label)
        note = f"{shape_text(found.geometry)} neurons"
        note += ", a plane for each first coordinate" if len(found.geometry) == 3 else ""
    elif found.size <= 4 * size_in_pixels(ax)[1]:
        values = np.asarray(shown.values[:], np.float64)
        ax.plot(values, "o", markersize=3, color=COLORS[0])
        ax.set_xlabel("rank")
        label_axis(ax.yaxis, label)
        integer_ticks(ax.xaxis)
    else:
        _draw_histogram(ax, shown, label, "neurons", bins, found.size)
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


def _draw_histogram(
    ax: "Axes", shown: Quantity, xlabel: str, ylabel: str, bins: int, count: int
) -> Histogram:
    """Draw how many of ``count`` synapses or neurons have a value, one if they share it."""
    counted = histogram(shown.values, bins)
    if not shown.values.shape:
        counted = replace(counted, counts=counted.counts * count)
    ax.stairs(counted.counts, counted.edges, fill=True, color=COLORS[0])
    label_axis(ax.xaxis, xlabel)
    ax.set_ylabel(ylabel)
    integer_ticks(ax.yaxis)
    fewer_ticks(ax)
    return counted


def _draw_matrix(
    ax: "Axes",
    values: NDArray[Any],
    across: NDArray[Any],
    up: NDArray[Any],
    label: str,
    **options: Any,
) -> None:
    """Draw values by rank, with the centre of a pixel at its rank; those on both sides of 0."""
    scale = color_scale(values)
    if scale.low < 0 < scale.high:
        scale = color_scale(values, name="signed")
    drawn = image(ax, values, across - 0.5, up - 0.5, **coloring(scale), **options)
    color_bar(ax, drawn, label)
    integer_ticks(ax.xaxis)
    integer_ticks(ax.yaxis)


def _about(projection: ProjectionSnapshot, network: NetworkSnapshot) -> str:
    ends = [name for name in (projection.pre, projection.post) if name]
    between = f", {' to '.join(ends)}" if len(ends) == 2 else ""
    return f"projection {projection.name}{between}{_at_time(network)}"


def _at_time(network: NetworkSnapshot) -> str:
    return "" if network.time is None else f", at {network.time:g} s"
