"""Panels of the state of a network: neurons on their grid, and the weights of synapses."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
from bokeh.events import Tap
from bokeh.layouts import row
from bokeh.models import (
    BasicTicker,
    HoverTool,
    LinearColorMapper,
    Range1d,
    Select,
    TapTool,
    UIElement,
)
from numpy.typing import NDArray

from ndx_simulation_output.plots.look import COLORS, LIGHT, color_scale
from ndx_simulation_output.plots.networks import (
    Histogram,
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
from ndx_simulation_output.recording.arrays import LazyArray
from ndx_simulation_output.recording.units import unit_label
from ndx_simulation_output.viewer.controls import find_named
from ndx_simulation_output.viewer.figures import (
    add_color_bar,
    add_image,
    empty_source,
    field,
    hover_text,
    image_data,
    new_figure,
    plain_text,
    set_range,
    stack,
    widened,
)
from ndx_simulation_output.viewer.panels import Offer, Panel
from ndx_simulation_output.viewer.session import Rows, Session, on_value
from ndx_simulation_output.viewer.state import PanelState
from ndx_simulation_output.viewer.time_axis import ACCENT

_SHAPE = 400, 400
_MOST_MARKS = 10_000
"""Of more neurons or synapses, an image is drawn."""

_MOST_IN_IMAGE = 10**6
_BLOCK = 2**16
_HEIGHT = 300

_Kind = Literal["population", "projection"]
_Part = PopulationSnapshot | ProjectionSnapshot


@dataclass(frozen=True)
class ShownQuantity:
    """A quantity of the neurons of a population or the synapses of a projection.

    Without a ``quantity``, it is the first variable, or the weight.
    """

    network: str
    part: str
    quantity: str | None
    kind: _Kind

    @property
    def imports(self) -> tuple[str, ...]:
        """Import statements of the code."""
        ours = "from ndx_simulation_output.plots import "
        if self.kind == "population":
            return (ours + "neuron_quantity",)
        return ("import numpy as np", ours + "synapse_quantity")

    def find(self, output: SimulationOutput) -> tuple[NetworkSnapshot, Any, Quantity]:
        """Return the network state, the population or projection, and the quantity."""
        network = find_named(output.networks, self.network, "state of a network")
        part = find_named(_parts(network, self.kind), self.part, f"values of {self.kind}")
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
        for begin in range(0, part.pre_ranks.shape[0], _BLOCK):
            synapses = slice(begin, begin + _BLOCK)
            post, pre, found = _synapses(part, quantity, synapses)
            yield from zip(post.tolist(), pre.tolist(), found.tolist(), strict=True)

    def code(self, *names: str) -> Iterator[str]:
        """Yield lines of code that read ``values``, and for synapses also ``pre`` and ``post``."""
        found = f"one for one in {names[0]}.networks if one.name == {self.network!r}"
        yield f"network = next({found})"
        kind, quantity = self.kind, f", {self.quantity!r}" if self.quantity else ""
        yield f"{kind} = next(one for one in network.{kind}s if one.name == {self.part!r})"
        if kind == "population":
            yield f"values = neuron_quantity(population{quantity}).values[:]"
            return
        yield "post = np.repeat(projection.post_ranks[:], projection.counts())"
        yield "pre = projection.pre_ranks[:]"
        yield f"values = synapse_quantity(projection{quantity}).values[()]"
        yield "values = np.broadcast_to(values, pre.shape)"


def _parts(network: NetworkSnapshot, kind: _Kind) -> list[Any]:
    """Return the populations or projections that have quantities."""
    parts: Any = network.populations if kind == "population" else network.projections
    return [part for part in parts if _quantities(part)]


def _quantities(part: _Part) -> tuple[Quantity, ...]:
    if isinstance(part, ProjectionSnapshot):
        return synapse_quantities(part)
    return neuron_quantities(part)


def _synapses(
    projection: ProjectionSnapshot, quantity: Quantity, synapses: slice
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the post- and the presynaptic ranks and the values of some synapses."""
    pre = np.asarray(projection.pre_ranks[synapses])
    rows = np.searchsorted(
        np.asarray(projection.ends[:]), synapses.start + np.arange(len(pre)), side="right"
    )
    values = quantity.values
    found = np.asarray(values[synapses] if values.shape else values[()])
    return np.asarray(projection.post_ranks[:])[rows], pre, np.broadcast_to(found, pre.shape)


class Tiles:
    """A figure of values at pairs of ranks or coordinates, each a tile of side 1."""

    def __init__(self, panel: "StatePanel", tapped: Callable[[float, float], None]) -> None:
        self.figure = new_figure("", "", height=_HEIGHT, zoom="both", x_range=Range1d(0, 1),
                                 y_range=Range1d(0, 1))  # fmt: skip
        self.figure.min_border_left, self.figure.min_border_right = 50, 10
        self.figure.grid.visible = False
        self.figure.styles = {"flex": "1 1 260px"}
        for axis in self.figure.axis:
            axis.ticker = BasicTicker(min_interval=1, desired_num_ticks=5)
        self.colors = panel.colors
        self.image = add_image(self.figure, self.colors)
        self.tiles = empty_source("x", "y", "cell", "population", "pre", "value")
        drawn = self.figure.rect(
            "x", "y", width=1, height=1, source=self.tiles, line_color=None,
            fill_color={"field": "value", "transform": self.colors}, nonselection_alpha=1,
            selection_line_color=ACCENT, selection_line_width=2, hover_line_color=ACCENT,
        )  # fmt: skip
        self.hover = HoverTool(renderers=[drawn], limit=1, formatters={"@value": "printf"})
        self.image_hover = HoverTool(renderers=[self.figure.renderers[0]],
                                     formatters={"@image": "printf"})  # fmt: skip
        self.figure.add_tools(self.hover, self.image_hover)
        self.figure.on_event(Tap, lambda event: tapped(float(event.x), float(event.y)))
        if panel.session.is_saved:
            self.figure.add_tools(TapTool())
        panel.link("", self.tiles)

    def show(self, width: float, height: float, x: str, y: str, title: str) -> None:
        """Set the ranges and the texts; the second coordinate goes down."""
        set_range(self.figure.x_range, -0.5, width - 0.5)
        set_range(self.figure.y_range, height - 0.5, -0.5)
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = plain_text(x), plain_text(y)
        self.figure.yaxis.visible = height > 1
        self.figure.title.text = plain_text(title)

    def fill(self, population: str, tooltips: Sequence[tuple[str, str]], **columns: Any) -> None:
        """Draw tiles without an image."""
        self.image.data, self.hover.tooltips = image_data(), [*tooltips]
        columns["population"] = [population] * len(columns["x"])
        self.tiles.data = columns

    def fill_image(
        self, values: NDArray[Any], width: float, height: float, tooltips: Sequence[tuple[str, str]]
    ) -> None:
        """Draw an image without tiles."""
        self.tiles.data = {name: [] for name in self.tiles.data}
        self.image_hover.tooltips = [*tooltips]
        self.image.data = image_data(values, (-0.5, width - 0.5), (-0.5, height - 0.5))


class StatePanel(Panel):
    """Base of the panels of a quantity of a part of a network; ``name`` is ``network/part``."""

    over_time = False
    part_kind: ClassVar[_Kind]

    def __init__(self, session: Session, state: PanelState) -> None:
        super().__init__(session, state)
        self.colors = LinearColorMapper(LIGHT.shades("values"), nan_color="rgba(0, 0, 0, 0)")
        self.quantity = Select(**field(width=180, sizing_mode=None, visible=False))
        on_value(self.quantity, "value", self._choose)
        self._key: tuple[Any, ...] = ()
        self._said: tuple[str, ...] = ()

    @classmethod
    def offered(cls, output: SimulationOutput, rank: int) -> Iterator[Offer]:
        """Yield the parts of each state that have quantities."""
        for network in output.networks:
            section = "State" if len(output.networks) == 1 else f"State {network.name}"
            for part in _parts(network, cls.part_kind):
                if isinstance(part, PopulationSnapshot):
                    about = " × ".join(f"{one:,}" for one in part.geometry) + " neurons"
                else:
                    about = f"{part.pre_ranks.shape[0]:,} synapses"
                yield Offer(PanelState(cls.kind, f"{network.name}/{part.name}"), section,
                            part.name, about, rank)  # fmt: skip

    @property
    def title(self) -> str:
        """Title of the card."""
        return self.name.partition("/")[2] or self.name

    def shown(self) -> ShownQuantity:
        """Return the shown data."""
        network, _, part = self.name.partition("/")
        return ShownQuantity(network, part, self.options.get("quantity") or None, self.part_kind)

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the values, unless they are drawn."""
        network, part, quantity = self.shown().find(output)
        key = output, quantity.name
        if key != self._key:
            self._draw(network, part, quantity)
            self._key = key
        self.say(*self._said)

    @abstractmethod
    def _draw(self, network: NetworkSnapshot, part: Any, quantity: Quantity) -> None: ...

    def _choose(self, name: str) -> None:
        if name != self.options.get("quantity", self.quantity.options[0]):
            self.option("quantity", name)

    def _lay_out(self, *figures: Any) -> UIElement:
        """Return the choice of the quantity, over figures and the histogram side by side."""
        figures = *figures, self._make_histogram()
        beside = row(*figures, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"})
        return stack(self.quantity, beside)

    def _make_histogram(self) -> Any:
        made = new_figure("", self.part_kind, height=_HEIGHT)
        made.min_border_left, made.min_border_right = 60, 10
        made.styles = {"flex": "1 1 220px"}
        self.bins = empty_source("left", "right", "top", "text")
        made.quad(left="left", right="right", top="top", bottom=0, source=self.bins,
                  color=COLORS[0], line_color=None)  # fmt: skip
        made.add_tools(HoverTool(tooltips=[("values", "@text"), ("number", "@top{0,0}")]))
        made.yaxis.ticker = BasicTicker(min_interval=1, desired_num_ticks=5)
        made.yaxis.axis_label = plain_text(
            "neurons" if self.part_kind == "population" else "synapses"
        )
        self.histogram = made
        return made

    def _show_quantity(self, part: _Part, quantity: Quantity) -> Histogram:
        """Set the colours, and draw the histogram."""
        names = [one.name for one in _quantities(part)]
        is_chosen = len(names) > 1 and not self.session.is_saved
        self.quantity.update(options=names, value=quantity.name, visible=is_chosen)
        counted = histogram(quantity.values)
        self.histogram.xaxis.axis_label = plain_text(label_of(quantity))
        edges = counted.edges
        self.bins.data = {
            "left": edges[:-1], "right": edges[1:], "top": counted.counts,
            "text": [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)],
        }  # fmt: skip
        low, high = float(edges[0]), float(edges[-1])
        is_signed = low < 0 < high and self.part_kind == "projection"
        colors = color_scale(np.array([low, high]), quantity.unit.name, quantity.name,
                             name="signed" if is_signed else None, robust=False)  # fmt: skip
        low, high = widened(colors.low, colors.high)
        self.colors.update(low=low, high=high, palette=LIGHT.shades(colors.name))
        return counted

    def _tooltip(self, quantity: Quantity, of: str = "value") -> tuple[str, str]:
        return quantity.name, f"@{of}{{%.4g}} {hover_text(unit_label(quantity.unit))}".strip()

    def _notes(self, note: str, network: NetworkSnapshot, counted: Histogram) -> tuple[str, ...]:
        at = "" if network.time is None else f"at {network.time:g} s"
        return note, at, f"{counted.left_out:,} not finite" if counted.left_out else ""


class NeuronsPanel(StatePanel):
    """A quantity of the neurons of a population on their grid, and its histogram."""

    kind = "neurons"
    part_kind = "population"

    @staticmethod
    def offers(output: SimulationOutput) -> Iterator[Offer]:
        """Yield the populations of each state."""
        yield from NeuronsPanel.offered(output, 50)

    def build(self, output: SimulationOutput) -> UIElement:  # noqa: ARG002
        """Return the grid and the histogram."""
        self.grid = Tiles(self, self._tapped_grid)
        add_color_bar(self.grid.figure, self.colors)
        return self._lay_out(self.grid.figure)

    def _draw(self, network: NetworkSnapshot, part: Any, quantity: Quantity) -> None:
        population: PopulationSnapshot = part
        counted = self._show_quantity(population, quantity)
        height, width, x, y = grid_of(population)
        self.shape = height, width
        self.grid.show(width, height, x, y, label_of(quantity))
        note = " × ".join(f"{one:,}" for one in population.geometry) + " neurons"
        if population.size <= _MOST_MARKS:
            ranks = np.arange(population.size)
            values = np.asarray(quantity.values[:], np.float64)
            place = [("place", "(@y, @x)")] if len(population.geometry) > 1 else []
            tooltips = [("neuron", f"@cell of {hover_text(population.name)}"), *place,
                        self._tooltip(quantity)]  # fmt: skip
            self.grid.fill(population.name, tooltips, x=ranks % width, y=ranks // width,
                           cell=ranks, pre=ranks, value=values)  # fmt: skip
        else:
            values, (down, across) = _sampled(quantity.values, height, width)
            note += f", 1 of {down * across} drawn" if down * across > 1 else ""
            tooltips = [("place", "($y{0}, $x{0})"), self._tooltip(quantity, "image")]
            size = values.shape[1] * across, values.shape[0] * down
            self.grid.fill_image(values, *size, tooltips)
        self._said = self._notes(note, network, counted)

    def _tapped_grid(self, x: float, y: float) -> None:
        height, width = self.shape
        row, column = round(y), round(x)
        if 0 <= row < height and 0 <= column < width:
            self.session.pick(self.title, [row * width + column])


def grid_of(population: PopulationSnapshot) -> tuple[int, int, str, str]:
    """Return rows and columns of the picture of a population, and the labels across and up."""
    first, *others = population.geometry
    if not others:
        return 1, first, "rank", ""
    across = "second coordinate" if len(others) == 1 else "other coordinates"
    return first, population.size // first, across, "first coordinate"


def _sampled(
    values: LazyArray, height: int, width: int
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Read a grid of values, or of a large one each n-th column or row, and return the steps."""
    step = -(-height * width // _MOST_IN_IMAGE)
    if step > 1 and height <= width:
        rows = (values[row * width : (row + 1) * width : step] for row in range(height))
        return np.array([*rows], np.float64), (1, step)
    block = step * max(_MOST_IN_IMAGE // (step * width), 1)
    parts = (np.asarray(values[row * width : (row + block) * width], np.float64)
             for row in range(0, height, block))  # fmt: skip
    return np.concatenate([part.reshape(-1, width)[::step] for part in parts]), (step, 1)


class SynapsesPanel(StatePanel):
    """A quantity of the synapses of a projection: matrix, what one neuron receives, histogram."""

    kind = "synapses"
    part_kind = "projection"

    @staticmethod
    def offers(output: SimulationOutput) -> Iterator[Offer]:
        """Yield the projections of each state."""
        yield from SynapsesPanel.offered(output, 51)

    def build(self, output: SimulationOutput) -> UIElement:  # noqa: ARG002
        """Return the matrix, what one neuron receives, and the histogram."""
        self.matrix = Tiles(self, self._tapped_matrix)
        self.band = empty_source("low", "high")
        self.matrix.figure.hstrip(y0="low", y1="high", source=self.band, fill_color=None,
                                  line_color=ACCENT, line_width=1.5)  # fmt: skip
        self.received = Tiles(self, self._tapped_received)
        add_color_bar(self.received.figure, self.colors)
        return self._lay_out(self.matrix.figure, self.received.figure)

    def update(self, output: SimulationOutput) -> None:
        """Read and draw the matrix, unless it is drawn, and what the picked neuron receives."""
        super().update(output)
        self._draw_received(*self.shown().find(output))

    def _draw(self, network: NetworkSnapshot, part: Any, quantity: Quantity) -> None:
        projection: ProjectionSnapshot = part
        counted = self._show_quantity(projection, quantity)
        n_synapses = int(projection.pre_ranks.shape[0])
        pre, post = projection.pre or "pre", projection.post or "post"
        names = f"rank in {pre}", f"rank in {post}"
        note = f"{n_synapses:,} synapses from {pre} to {post}"
        if n_synapses <= _MOST_MARKS:
            posts, pres, values = _synapses(projection, quantity, slice(0, n_synapses))
            self.size = _size(network, projection, posts, pres)
            tooltips = [("from", f"@pre of {hover_text(pre)}"),
                        ("to", f"@cell of {hover_text(post)}"),
                        self._tooltip(quantity)]  # fmt: skip
            self.matrix.fill(post, tooltips, x=pres, y=posts, cell=posts, pre=pres,
                             value=values.astype(np.float64))  # fmt: skip
        else:
            found = mean_weights(projection, quantity.values, shape=_SHAPE)
            self.size = int(found.post[-1]), int(found.pre[-1])
            most = int(found.counts.max(initial=0))
            note += f", means of up to {most:,} in a pixel" if most > 1 else ""
            tooltips = [("from", f"$x{{0}} of {hover_text(pre)}"),
                        ("to", f"$y{{0}} of {hover_text(post)}"),
                        self._tooltip(quantity, "image")]  # fmt: skip
            self.matrix.fill_image(found.values, self.size[1], self.size[0], tooltips)
        self.matrix.show(self.size[1], self.size[0], *names, label_of(quantity))
        self._said = self._notes(note, network, counted)

    def _draw_received(
        self, network: NetworkSnapshot, projection: ProjectionSnapshot, quantity: Quantity
    ) -> None:
        posts = np.asarray(projection.post_ranks[:])
        population, ids = self.session.picked
        rank = ids[0] if ids and population == projection.post else None
        if rank is None and len(posts):
            rank = int(posts[0])
        post, pre = projection.post or "post", projection.pre or "pre"
        rows = np.flatnonzero(posts == rank)
        ends = np.asarray(projection.ends[:])
        if len(rows):
            begin = int(ends[rows[0] - 1]) if rows[0] else 0
            _, ranks, values = _synapses(projection, quantity, slice(begin, int(ends[rows[0]])))
        else:
            ranks, values = np.zeros(0, np.int64), np.zeros(0)
        known = next((one for one in network.populations if one.name == projection.pre), None)
        alone = 1, self.size[1], "rank", ""
        height, width, *labels = alone if known is None else grid_of(known)
        self._pre_width = width
        x, y = (f"{one} in {pre}" if one else "" for one in labels)
        self.received.show(width, height, x, y, f"{quantity.name} that {rank} of {post} receives")
        tooltips = [("from", f"@cell of {hover_text(pre)}"),
                    ("to", f"{rank} of {hover_text(post)}"), self._tooltip(quantity)]  # fmt: skip
        self.received.fill(pre, tooltips, x=ranks % width, y=ranks // width, cell=ranks, pre=ranks,
                           value=np.asarray(values, np.float64))  # fmt: skip
        self.band.data = {"low": [], "high": []}
        if rank is not None:
            self.band.data = {"low": [rank - 0.5], "high": [rank + 0.5]}

    def _tapped_matrix(self, x: float, y: float) -> None:  # noqa: ARG002
        self._pick_of("post", round(y))

    def _tapped_received(self, x: float, y: float) -> None:
        if 0 <= round(x) < self._pre_width:
            self._pick_of("pre", round(y) * self._pre_width + round(x))

    def _pick_of(self, side: str, rank: int) -> None:
        def pick(output: SimulationOutput) -> None:
            _, projection, _ = self.shown().find(output)
            self.session.pick(getattr(projection, side) or side, [rank])

        if rank >= 0:
            self.session.run(pick)


def _size(
    network: NetworkSnapshot,
    projection: ProjectionSnapshot,
    posts: NDArray[Any],
    pres: NDArray[Any],
) -> tuple[int, int]:
    """Return the numbers of post- and presynaptic neurons, as far as they are known."""
    sizes = {one.name: one.size for one in network.populations}
    return (
        max(sizes.get(projection.post or "", 0), int(posts.max(initial=-1)) + 1),
        max(sizes.get(projection.pre or "", 0), int(pres.max(initial=-1)) + 1),
    )
