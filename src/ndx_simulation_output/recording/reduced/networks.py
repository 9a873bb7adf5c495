"""Weights of synapses and values of neurons as histograms and images."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.recording.network import (
    Locality,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)
from ndx_simulation_output.recording.reduced.bins import column_edges

__all__ = [
    "Histogram",
    "Matrix",
    "histogram",
    "label_of",
    "neuron_quantities",
    "neuron_quantity",
    "synapse_quantities",
    "synapse_quantity",
    "weight_matrix",
]

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


def weight_matrix(
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
