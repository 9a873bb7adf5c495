"""What a file holds, at the left of the page: each entry opens its panel."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

from bokeh.layouts import column
from bokeh.models import Button, Select, TextInput, UIElement

from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.viewer.controls import CELLS_HINT
from ndx_simulation_output.viewer.figures import button, new_text, stack, title_html
from ndx_simulation_output.viewer.panels import Offer
from ndx_simulation_output.viewer.session import Session, on_value

_NONE = "nothing"


class Contents:
    """The list of contents, and the choice of cells and of their colours.

    ``open_`` opens the panel of an entry, ``changed`` draws again after another choice of cells.
    """

    def __init__(
        self,
        session: Session,
        open_: Callable[[Offer], object],
        changed: Callable[[], object],
    ) -> None:
        self.session, self._open = session, open_
        self.head = new_text(title_html(session.file.name), sizing_mode=None, width=300)
        self.cells = TextInput(title="Cells", value=session.cells, placeholder=CELLS_HINT)
        self.group = Select(title="Colour by", options=[_NONE], value=_NONE)
        self.list = column(sizing_mode="stretch_width")
        self.layout: UIElement = stack(self.cells, self.group, self.list)
        for widget in (self.cells, self.group):
            widget.sizing_mode = "stretch_width"
        on_value(self.cells, "value", lambda text: self._choose("cells", str(text), changed))
        on_value(self.group, "value",
                 lambda name: self._choose("group_by", "" if name == _NONE else name, changed))  # fmt: skip

    def show(self, output: SimulationOutput, offers: Sequence[Offer]) -> None:
        """List the entries of a file."""
        tables = [one.cells for one in output.spikes]
        tables += [one.compartments.cells for one in output.reports]
        names = {name: None for table in tables if table is not None
                 for name, values in table.columns.items() if len(values.shape) == 1}  # fmt: skip
        self.group.options = [_NONE, *names]
        self.group.value = self.session.group_by or _NONE
        self.group.visible = bool(names)
        parts: list[UIElement] = []
        for section, several in groupby(offers, lambda one: one.section):
            parts.append(new_text(title_html(section)))
            for offer in several:
                label = f"{offer.label}  {offer.about}".strip()
                made = Button(label=label, sizing_mode="stretch_width", **button("entry"))
                made.on_click(partial(self._clicked, offer))
                parts.append(made)
        self.list.children = parts
        self.layout.visible = not self.session.is_saved

    def _clicked(self, offer: Offer, _: object) -> None:
        self._open(offer)

    def _choose(self, name: str, value: str, changed: Callable[[], object]) -> None:
        setattr(self.session, name, value)
        changed()
