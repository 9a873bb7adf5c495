"""View of a file as a tree, with all attributes, and its tables page by page."""

from dataclasses import dataclass
from html import escape
from pathlib import Path

from bokeh.layouts import column, row
from bokeh.models import (
    Button,
    ColumnDataSource,
    DataTable,
    StringFormatter,
    TableColumn,
    UIElement,
)

from ndx_simulation_output.info import describe
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.viewer.hdf5_tree import (
    PAGE_ROWS,
    Child,
    Node,
    Table,
    opened,
    read_children,
    read_node,
    read_table,
)
from ndx_simulation_output.viewer.session import Session, on_value
from ndx_simulation_output.viewer.theme import new_text, small

__all__ = ["Line", "Tree", "TreeView"]


@dataclass
class Line:
    """A line of the tree: a file, a member of a group, or the number of members not listed yet.

    ``more`` is the first of those members.
    """

    file: Path
    child: Child
    depth: int
    more: int | None = None
    is_open: bool = False

    @property
    def label(self) -> str:
        """Name with a mark for its kind, indented by its depth."""
        mark = {"group": "▾" if self.is_open else "▸", "dataset": "▪"}.get(self.child.kind, "·")
        return "\u2003" * self.depth + f"{mark} {self.child.name}"


class Tree:
    """Visible lines of the tree. Members are read when a group is opened."""

    def __init__(self, files: list[Path]) -> None:
        self.lines = [Line(file, Child(file.name, "/", "group", ""), 0) for file in files]

    def toggle(self, place: int) -> None:
        """Open or close a group, or list more of its members."""
        line = self.lines[place]
        if line.more is not None:
            self.lines[place : place + 1] = self._members(line, line.depth, line.more)
        elif line.is_open:
            inside = place + 1
            while inside < len(self.lines) and self.lines[inside].depth > line.depth:
                inside += 1
            del self.lines[place + 1 : inside]
            line.is_open = False
        elif line.child.kind in {"group", "link"}:
            self.lines[place + 1 : place + 1] = self._members(line, line.depth + 1, 0)
            line.is_open = line.child.kind == "group"

    def _members(self, line: Line, depth: int, first: int) -> list[Line]:
        with opened(line.file) as file:
            children, count = read_children(file, line.child.path, first)
        lines = [Line(line.file, child, depth) for child in children]
        listed = first + len(children)
        if listed < count:
            rest = Child(f"… {count - listed:,} more", line.child.path, "more", "")
            lines.append(Line(line.file, rest, depth, listed))
        return lines


class TreeView:
    """View of the content of a file: a description and a tree."""

    title = "File"

    def __init__(self, session: Session) -> None:
        self.session = session

    def build(self, output: SimulationOutput) -> UIElement:
        """Make the widgets for a file."""
        self.words = new_text()
        self.listed = ColumnDataSource({"name": [], "summary": []})
        self.table = DataTable(
            source=self.listed,
            columns=[
                TableColumn(field="name", title="Name", width=330, formatter=StringFormatter()),
                TableColumn(field="summary", title="What it is", width=230),
            ],
            index_position=None,
            sortable=False,
            reorderable=False,
            width=580,
            height=560,
            row_height=24,
        )
        on_value(self.listed.selected, "indices", self._clicked)
        self.node = new_text()
        self.paging = new_text(sizing_mode=None)
        self.before, self.after = Button(label="◂", width=40), Button(label="▸", width=40)
        self.before.on_click(lambda: self._turn(-PAGE_ROWS))
        self.after.on_click(lambda: self._turn(PAGE_ROWS))
        self.pager = row(self.before, self.after, self.paging, visible=False)
        self.values = new_text()
        self.place: Line | None = None
        self.first = 0
        self.update(output)
        right = column(self.node, self.pager, self.values, sizing_mode="stretch_width")
        parts = row(self.table, right, sizing_mode="stretch_width")
        return column(self.words, parts, sizing_mode="stretch_width")

    def update(self, output: SimulationOutput) -> None:
        """Read the file again."""
        lines = [*describe(output), *(f"warning: {text}" for text in self.session.source.warnings)]
        self.words.text = f"<pre class='short'>{escape(chr(10).join(lines))}</pre>"
        self.tree = Tree(self.session.source.files())
        if len(self.tree.lines) == 1:
            self.tree.toggle(0)
        self._list()

    def _list(self) -> None:
        self.listed.data = {
            "name": [line.label for line in self.tree.lines],
            "summary": [line.child.summary for line in self.tree.lines],
        }

    def _clicked(self, places: list[int]) -> None:
        if not places:
            return
        with self.session.careful():
            line = self.tree.lines[places[0]]
            self.tree.toggle(places[0])
            self._list()
            self.listed.selected.indices = []
            if line.more is None:
                self.place, self.first = line, 0
                self._show()

    def _turn(self, rows: int) -> None:
        with self.session.careful():
            self.first = max(self.first + rows, 0)
            self._show()

    def _show(self) -> None:
        if self.place is None:
            return
        with opened(self.place.file) as file:
            node = read_node(file, self.place.child.path)
            table = read_table(file, node.path, self.first) if node.rows else None
        self.node.text = _node_html(node)
        self.pager.visible = node.rows is not None and node.rows > PAGE_ROWS
        self.values.text = "" if table is None else _table_html(table)
        if node.rows is not None:
            last = min(self.first + PAGE_ROWS, node.rows)
            self.paging.text = small(f"{self.first:,} to {last:,} of {node.rows:,} rows")
            self.before.disabled, self.after.disabled = self.first == 0, last >= node.rows


def _node_html(node: Node) -> str:
    facts = _rows_html(node.facts)
    attributes = _rows_html(node.attributes) or "<tr><td>no attributes</td></tr>"
    return (
        f"<h3>{escape(node.path)}</h3><table class='facts'>{facts}</table>"
        f"<h3>Attributes</h3><table class='facts'>{attributes}</table>"
    )


def _rows_html(pairs: tuple[tuple[str, str], ...]) -> str:
    def cell(text: str) -> str:
        return f"<pre>{escape(text)}</pre>" if len(text) > 200 or "\n" in text else escape(text)

    return "".join(f"<tr><th>{escape(name)}</th><td>{cell(text)}</td></tr>" for name, text in pairs)


def _table_html(table: Table) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.names)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(value)}</td>' for value in line)}</tr>" for line in table.rows
    )
    text = f"<table class='facts'><tr>{head}</tr>{rows}</table>"
    return f"{small(table.note)}<div style='overflow: auto; max-height: 420px'>{text}</div>"
