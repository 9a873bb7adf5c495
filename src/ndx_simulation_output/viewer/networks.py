"""View of the state of a network."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from bokeh.layouts import column, row
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
from ndx_simulation_output.viewer.arrays import draw_grid, draw_image
from ndx_simulation_output.viewer.controls import Saving
from ndx_simulation_output.viewer.downloads import Rows
from ndx_simulation_output.viewer.session import Session
from ndx_simulation_output.viewer.theme import COLORS, new_figure, new_text, small

# The state of a network: values of neurons and of synapses.

_SHAPE = 400, 400
_MOST_OF_GRID = 10**6
_BLOCK = 2**16

Kind = Literal["population", "projection"]
"""What has quantities."""

_KINDS: dict[type, Kind] = {PopulationSnapshot: "population", ProjectionSnapshot: "projection"}


@dataclass(frozen=True)
class ShownQuantity:
    """A quantity of the neurons of a population, or of the synapses of a projection."""

    network: str
    part: str
    quantity: str
    kind: Kind

    @property
    def imports(self) -> tuple[str, ...]:
        """Lines that import what the other lines need."""
        ours = "from ndx_simulation_output.plots import "
        if self.kind == "population":
            return (ours + "neuron_quantity",)
        return ("import numpy as np", ours + "synapse_quantity")

    def find(self, output: SimulationOutput) -> tuple[NetworkSnapshot, Any, Quantity]:
        """Give the network, the population or projection, and the quantity.

        Raises
        ------
        NothingRecordedError
            If there is none of these.

        """
        network = _network(output, self.network)
        part = _part(network, self.part, self.kind)
        find: Any = neuron_quantity if self.kind == "population" else synapse_quantity
        return network, part, find(part, self.quantity)

    def table(self, *outputs: SimulationOutput) -> Rows:
        """Give the rank of each neuron, or both of each synapse, and the value."""
        _, part, quantity = self.find(outputs[0])
        values = quantity.values
        if self.kind == "population":
            yield "rank", quantity.name
            for begin in range(0, part.size, _BLOCK):
                yield from enumerate(values[begin : begin + _BLOCK].tolist(), begin)
            return
        yield "post_rank", "pre_rank", label_of(part, quantity)
        post_ranks, ends = np.asarray(part.post_ranks[:]), np.asarray(part.ends[:])
        for begin in range(0, part.pre_ranks.shape[0], _BLOCK):
            pre = np.asarray(part.pre_ranks[begin : begin + _BLOCK])
            synapses = np.arange(begin, begin + len(pre))
            post = post_ranks[np.searchsorted(ends, synapses, side="right")]
            each = values[begin : begin + _BLOCK] if values.shape else values[()]
            found = np.broadcast_to(np.asarray(each), pre.shape)
            yield from zip(post.tolist(), pre.tolist(), found.tolist(), strict=True)

    def code(self, *names: str) -> Iterator[str]:
        """Give lines that read ``values``, of synapses with their ranks."""
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


class NetworkView:
    """One quantity at a time: where its values are, and how often they occur."""

    title = "Network"

    def __init__(self, session: Session) -> None:
        self.session = session

    def build(self, output: SimulationOutput) -> UIElement:
        """Make the widgets for a file."""
        names = [network.name for network in output.networks if _parts(network)]
        if not names:
            msg = f"{self.session.source.name} has no state of a network with values to show"
            raise NothingRecordedError(msg)
        self.network = Select(title="State", options=names, value=names[0], width=220)
        self.part = Select(title="Of", width=320)
        self.quantity = Select(title="Quantity", width=220)
        self._is_quiet = False
        self._offer_parts(output)
        self.note = new_text()
        self.drawn = column(new_text(), sizing_mode="stretch_width", min_height=640)
        self.saving = Saving(self.session, "network", self.drawn, self.shown)
        self.update(output)
        self.session.on_change(self.network, "value", self._network_changed)
        self.session.on_change(self.part, "value", self._part_changed)
        self.session.on_change(self.quantity, "value", self._quantity_changed)
        chosen = row(self.network, self.part, self.quantity)
        parts = chosen, self.drawn, self.note, self.saving.layout
        return column(*parts, sizing_mode="stretch_width")

    def shown(self) -> ShownQuantity:
        """Give what is shown."""
        kind, _, name = str(self.part.value).partition(" ")
        of: Kind = "population" if kind == "population" else "projection"
        return ShownQuantity(str(self.network.value), name, str(self.quantity.value), of)

    def update(self, output: SimulationOutput) -> None:
        """Read anew what is shown."""
        network, part, quantity = self.shown().find(output)
        counted = histogram(quantity.values)
        if isinstance(part, ProjectionSnapshot):
            picture, note, what = *_matrix(part, quantity), "synapses"
            label = label_of(part, quantity)
        else:
            picture, note, what = *_neurons(part, quantity), "neurons"
            label = quantity.name
        below = new_figure(label, what, height=220)
        below.quad(
            left=counted.edges[:-1],
            right=counted.edges[1:],
            top=counted.counts,
            bottom=0,
            color=COLORS[0],
            line_color="white",
        )
        self.drawn.children = [picture, below]
        when = "" if network.time is None else f"at {network.time:g} s"
        left = f"{counted.left_out:,} not finite" if counted.left_out else ""
        self.note.text = small("; ".join(part for part in (note, when, left) if part))
        self.saving.refresh()

    def _network_changed(self, output: SimulationOutput) -> None:
        self._offer_parts(output)
        self.update(output)

    def _part_changed(self, output: SimulationOutput) -> None:
        if not self._is_quiet:
            self._offer_quantities(output)
            self.update(output)

    def _quantity_changed(self, output: SimulationOutput) -> None:
        if not self._is_quiet:
            self.update(output)

    def _offer_parts(self, output: SimulationOutput) -> None:
        network = _network(output, str(self.network.value))
        self._set(self.part, [f"{_KINDS[type(part)]} {part.name}" for part in _parts(network)])
        self._offer_quantities(output)

    def _offer_quantities(self, output: SimulationOutput) -> None:
        network = _network(output, str(self.network.value))
        shown = self.shown()
        part = _part(network, shown.part, shown.kind)
        self._set(self.quantity, [quantity.name for quantity in _quantities(part)])

    def _set(self, widget: Select, options: list[str]) -> None:
        """Offer other options, and choose the first, without telling of it."""
        self._is_quiet = True
        widget.options, widget.value = options, options[0]
        self._is_quiet = False


def _network(output: SimulationOutput, name: str) -> NetworkSnapshot:
    for network in output.networks:
        if network.name == name:
            return network
    msg = f"there is no state of a network {name!r}"
    raise NothingRecordedError(msg)


def _part(
    network: NetworkSnapshot, name: str, kind: Kind
) -> PopulationSnapshot | ProjectionSnapshot:
    for part in _parts(network):
        if part.name == name and _KINDS[type(part)] == kind:
            return part
    msg = f"state {network.name!r} has no {kind} {name!r} with values to show"
    raise NothingRecordedError(msg)


def _parts(network: NetworkSnapshot) -> list[PopulationSnapshot | ProjectionSnapshot]:
    """Give the populations and projections that have something to show."""
    return [part for part in network.parts if _quantities(part)]


def _quantities(part: PopulationSnapshot | ProjectionSnapshot) -> tuple[Quantity, ...]:
    if isinstance(part, ProjectionSnapshot):
        return synapse_quantities(part)
    return neuron_quantities(part)


def _matrix(projection: ProjectionSnapshot, quantity: Quantity) -> tuple[Any, str]:
    """Draw the synapses by their ranks; the mean where a pixel has several."""
    found = mean_weights(projection, quantity.values, shape=_SHAPE)
    across, up = (
        (float(edges[0]) - 0.5, float(edges[-1]) - 0.5) for edges in (found.pre, found.post)
    )
    several = int(found.counts.max(initial=0))
    label = label_of(projection, quantity)
    title = label if several <= 1 else f"mean {label}"
    names = f"rank in {projection.pre or 'pre'}", f"rank in {projection.post or 'post'}"
    note = f"{int(found.counts.sum()):,} synapses"
    note += f", up to {several:,} in a pixel" if several > 1 else ""
    return draw_image(found.values, across, up, *names, title), note


def _neurons(population: PopulationSnapshot, quantity: Quantity) -> tuple[Any, str]:
    """Draw neurons on their grid, if it has two dimensions, else by rank."""
    note = f"{population.size:,} neurons"
    if len(population.geometry) == 2 and population.size <= _MOST_OF_GRID:
        values = np.asarray(quantity.values[:], np.float64).reshape(population.geometry)
        rows, columns = population.geometry
        axes = _ranks("first coordinate", rows), _ranks("second coordinate", columns)
        note = f"{rows} × {columns} neurons"
        return draw_grid(Grid(population.name, quantity.name, "", values, axes)), note
    axis = _ranks("rank", population.size)
    grid = Grid(population.name, quantity.name, "", quantity.values, (axis,))
    return draw_grid(grid, joined=False), note


def _ranks(label: str, count: int) -> GridAxis:
    return GridAxis(label, "", np.arange(count))
