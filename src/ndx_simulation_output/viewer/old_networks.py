"""View of the state of a network: values of neurons and synapses, and their histogram."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from bokeh.layouts import row
from bokeh.models import Select, UIElement

from ndx_simulation_output.errors import NothingRecordedError
from ndx_simulation_output.plots.arrays import Grid, GridAxis
from ndx_simulation_output.plots.networks import (
    histogram,
    label_of,
    mean_weights,
    neuron_quantities,
    neuron_quantity,
    synapse_quantities,
    synapse_quantity,
)
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    SimulationOutput,
)
from ndx_simulation_output.recording.units import unit_label
from ndx_simulation_output.viewer.arrays import draw_grid, draw_image
from ndx_simulation_output.viewer.controls import SaveButtons, find_named
from ndx_simulation_output.viewer.figures import COLORS, new_figure, new_text, small_text, stack
from ndx_simulation_output.viewer.session import Rows, View

_SHAPE = 400, 400
_MAX_GRID = 10**6
_BLOCK = 2**16

_Part = PopulationSnapshot | ProjectionSnapshot
_PartKind = Literal["population", "projection"]


@dataclass(frozen=True)
class ShownQuantity:
    """A quantity of the neurons of a population or the synapses of a projection."""

    network: str
    part: str
    quantity: str
    kind: _PartKind

    @property
    def imports(self) -> tuple[str, ...]:
        """Import statements of the code."""
        ours = "from ndx_simulation_output.plots import "
        if self.kind == "population":
            return (ours + "neuron_quantity",)
        return ("import numpy as np", ours + "synapse_quantity")

    def find(self, output: SimulationOutput) -> tuple[NetworkSnapshot, Any, Quantity]:
        """Return the network state, the population or projection, and the quantity."""
        network = _find_network(output, self.network)
        part = _find_part(network, self.part, self.kind)
        find: Any = neuron_quantity if self.kind == "population" else synapse_quantity
        return network, part, find(part, self.quantity)

    def rows(self, *outputs: SimulationOutput) -> Rows:
        """Yield the rank of each neuron, or the two ranks of each synapse, and the value."""
        _, part, quantity = self.find(outputs[0])
        values = quantity.values
        if self.kind == "population":
            yield "rank", label_of(quantity)
            for begin in range(0, part.size, _BLOCK):
                yield from enumerate(values[begin : begin + _BLOCK].tolist(), begin)
            return
        yield "post_rank", "pre_rank", label_of(quantity)
        post_ranks, ends = np.asarray(part.post_ranks[:]), np.asarray(part.ends[:])
        for begin in range(0, part.pre_ranks.shape[0], _BLOCK):
            pre = np.asarray(part.pre_ranks[begin : begin + _BLOCK])
            synapses = np.arange(begin, begin + len(pre))
            post = post_ranks[np.searchsorted(ends, synapses, side="right")]
            block = values[begin : begin + _BLOCK] if values.shape else values[()]
            found = np.broadcast_to(np.asarray(block), pre.shape)
            yield from zip(post.tolist(), pre.tolist(), found.tolist(), strict=True)

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``values``, and for synapses also ``pre`` and ``post``."""
        found = f"one for one in {names[0]}.networks if one.name == {self.network!r}"
        yield f"network = next({found})"
        kind = self.kind
        yield f"{kind} = next(one for one in network.{kind}s if one.name == {self.part!r})"
        if kind == "population":
            yield f"values = neuron_quantity(population, {self.quantity!r}).values[:]"
            return
        yield "counts = np.diff(projection.ends[:], prepend=0)"
        yield "post, pre = np.repeat(projection.post_ranks[:], counts), projection.pre_ranks[:]"
        yield f"values = synapse_quantity(projection, {self.quantity!r}).values[()]"
        yield "values = np.broadcast_to(values, pre.shape)"


class NetworkView(View):
    """Plot and histogram of one selected quantity."""

    title = "Network"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the widgets."""
        names = [network.name for network in output.networks if _parts(network)]
        if not names:
            msg = f"{self.session.file.name} has no state of a network with values"
            raise NothingRecordedError(msg)
        self.network = Select(title="State", options=names, value=names[0], width=220)
        self.part = Select(title="Of", width=320)
        self.quantity = Select(title="Quantity", width=220)
        self._is_quiet = False
        self._list_parts(output)
        self.note = new_text()
        self.drawn = stack(new_text(), min_height=640)
        self.saving = SaveButtons(self.session, "network", self.drawn, self.shown)
        self.update(output)
        self.session.on_change(self.network, "value", self._network_changed)
        self.session.on_change(self.part, "value", self._part_changed)
        self.session.on_change(self.quantity, "value", self._quantity_changed)
        selection = row(self.network, self.part, self.quantity)
        return stack(selection, self.drawn, self.note, self.saving.layout)

    def shown(self) -> ShownQuantity:
        """Return the shown data."""
        prefix, _, name = str(self.part.value).partition(" ")
        kind: _PartKind = "population" if prefix == "population" else "projection"
        return ShownQuantity(str(self.network.value), name, str(self.quantity.value), kind)

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the quantity."""
        network, part, quantity = self.shown().find(output)
        counted = histogram(quantity.values)
        if isinstance(part, ProjectionSnapshot):
            picture, note = _draw_synapses(part, quantity)
            label, counts = label_of(quantity), "synapses"
        else:
            picture, note = _draw_neurons(part, quantity)
            label, counts = label_of(quantity), "neurons"
        below = new_figure(label, counts, height=220)
        below.quad(
            left=counted.edges[:-1],
            right=counted.edges[1:],
            top=counted.counts,
            bottom=0,
            color=COLORS[0],
            line_color="white",
        )
        self.drawn.children = [picture, below]
        time = "" if network.time is None else f"at {network.time:g} s"
        left_out = f"{counted.left_out:,} not finite" if counted.left_out else ""
        self.note.text = small_text("; ".join(text for text in (note, time, left_out) if text))
        self.saving.refresh()

    def _network_changed(self, output: SimulationOutput) -> None:
        self._list_parts(output)
        self.update(output)

    def _part_changed(self, output: SimulationOutput) -> None:
        if not self._is_quiet:
            self._list_quantities(output)
            self.update(output)

    def _quantity_changed(self, output: SimulationOutput) -> None:
        if not self._is_quiet:
            self.update(output)

    def _list_parts(self, output: SimulationOutput) -> None:
        network = _find_network(output, str(self.network.value))
        self._set_options(self.part, [f"{_kind(part)} {part.name}" for part in _parts(network)])
        self._list_quantities(output)

    def _list_quantities(self, output: SimulationOutput) -> None:
        network = _find_network(output, str(self.network.value))
        shown = self.shown()
        part = _find_part(network, shown.part, shown.kind)
        self._set_options(self.quantity, [quantity.name for quantity in _quantities(part)])

    def _set_options(self, widget: Select, options: list[str]) -> None:
        """Set the options and select the first one, without redrawing the view."""
        self._is_quiet = True
        widget.options, widget.value = options, options[0]
        self._is_quiet = False


def _find_network(output: SimulationOutput, name: str) -> NetworkSnapshot:
    named = ((network.name, network) for network in output.networks)
    return find_named(named, name, "state of a network")


def _find_part(network: NetworkSnapshot, name: str, kind: _PartKind) -> _Part:
    named = ((part.name, part) for part in _parts(network) if _kind(part) == kind)
    return find_named(named, name, f"values of {kind}")


def _kind(part: _Part) -> _PartKind:
    return "projection" if isinstance(part, ProjectionSnapshot) else "population"


def _parts(network: NetworkSnapshot) -> list[_Part]:
    """Return the populations and projections that have quantities."""
    return [part for part in network.parts if _quantities(part)]


def _quantities(part: _Part) -> tuple[Quantity, ...]:
    if isinstance(part, ProjectionSnapshot):
        return synapse_quantities(part)
    return neuron_quantities(part)


def _draw_synapses(projection: ProjectionSnapshot, quantity: Quantity) -> tuple[Any, str]:
    """Return an image of the weight matrix, with mean values per pixel, and a note."""
    found = mean_weights(projection, quantity.values, shape=_SHAPE)
    across, up = (
        (float(edges[0]) - 0.5, float(edges[-1]) - 0.5) for edges in (found.pre, found.post)
    )
    most = int(found.counts.max(initial=0))
    label = label_of(quantity)
    title = label if most <= 1 else f"mean {label}"
    names = f"rank in {projection.pre or 'pre'}", f"rank in {projection.post or 'post'}"
    note = f"{int(found.counts.sum()):,} synapses"
    note += f", up to {most:,} in a pixel" if most > 1 else ""
    return draw_image(found.values, across, up, *names, title), note


def _draw_neurons(population: PopulationSnapshot, quantity: Quantity) -> tuple[Any, str]:
    """Return an image of a 2-D grid of neurons or a plot of values against rank, and a note."""
    if len(population.geometry) == 2 and population.size <= _MAX_GRID:
        values = np.asarray(quantity.values[:], np.float64).reshape(population.geometry)
        rows, columns = population.geometry
        axes = _indices("first coordinate", rows), _indices("second coordinate", columns)
        grid = Grid(population.name, quantity.name, unit_label(quantity.unit), values, axes)
        return draw_grid(grid), f"{rows} × {columns} neurons"
    axis = _indices("rank", population.size)
    grid = Grid(population.name, quantity.name, unit_label(quantity.unit), quantity.values, (axis,))
    return draw_grid(grid, joined=False), f"{population.size:,} neurons"


def _indices(label: str, count: int) -> GridAxis:
    return GridAxis(label, "", np.arange(count))
