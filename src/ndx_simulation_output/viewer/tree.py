"""The tree of an HDF5 file, with attributes and tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from bokeh.layouts import column, row
from bokeh.models import (
    Button,
    ColumnDataSource,
    DataTable,
    StringFormatter,
    TableColumn,
    UIElement,
)

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.info import describe
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.viewer.session import Session, on_value
from ndx_simulation_output.viewer.theme import new_text, small

# Read the tree, attributes and tables of any HDF5 file in bounded parts.

CHILDREN = 200
"""Number of members of a group listed at a time."""

PAGE_ROWS = 50
"""Number of rows of a table read at a time."""

_COLUMNS = 20
_CHARACTERS = 100_000
_VALUES = 64
_MOST_VALUES = 10_000_000
_CELL = 120


@dataclass(frozen=True)
class Child:
    """A member of a group: ``kind`` is group, dataset, link or broken."""

    name: str
    path: str
    kind: str
    summary: str


@dataclass(frozen=True)
class Node:
    """A group or dataset: pairs of name and text for ``facts`` of its storage and ``attributes``.

    ``rows`` is the number of rows of its table, None without a table.
    """

    path: str
    kind: str
    facts: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, str], ...]
    rows: int | None


@dataclass(frozen=True)
class Table:
    """Rows of a table as text from row ``first``: ``names`` (column,), ``rows`` (row, column)."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    first: int
    note: str = ""


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, also while it is written in SWMR mode."""
    if not path.is_file() or not h5py.is_hdf5(path):
        msg = f"{path} is not an HDF5 file: it has no tree"
        raise SourceError(msg)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        try:
            file = h5py.File(path, "r", swmr=True)
        except (OSError, ValueError):
            msg = f"{path} cannot be read just now: {error}"
            raise SourceError(msg) from error
    try:
        yield file
    except (OSError, RuntimeError) as error:
        msg = f"{path} cannot be read: {error}"
        raise SourceError(msg) from error
    finally:
        file.close()


def read_children(file: h5py.File, path: str, first: int = 0) -> tuple[list[Child], int]:
    """Return at most ``CHILDREN`` members of a group from ``first``, and the number of all."""
    group = _at(file, path)
    if not isinstance(group, h5py.Group):
        return [], 0
    names = islice(group, first, first + CHILDREN)
    return [_child(group, name) for name in names], len(group)


def _child(group: h5py.Group, name: str) -> Child:
    path = f"{group.name.rstrip('/')}/{name}"
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        return Child(name, path, "link", f"→ {link.filename}:{link.path}")
    if isinstance(link, h5py.SoftLink):
        return Child(name, path, "link", f"→ {link.path}")
    try:
        found = group[name]
    except (KeyError, OSError) as error:
        return Child(name, path, "broken", str(error))
    if isinstance(found, h5py.Group):
        kind = found.attrs.get("neurodata_type", found.attrs.get("type", ""))
        known = f"{_text(kind)}, " if isinstance(kind, (str, bytes, np.bytes_)) and kind else ""
        return Child(name, path, "group", f"{known}{len(found):,} members")
    if isinstance(found, h5py.Dataset):
        return Child(name, path, "dataset", _shape(found))
    return Child(name, path, "type", "named type")


def read_node(file: h5py.File, path: str) -> Node:
    """Describe a group or dataset."""
    found = _at(file, path)
    attributes = tuple((name, _attribute(found, name)) for name in found.attrs)
    if isinstance(found, h5py.Dataset):
        rows = found.shape[0] if found.shape else None
        return Node(path, "dataset", tuple(_facts(found)), attributes, rows)
    if isinstance(found, h5py.Group):
        facts = (("members", f"{len(found):,}"),)
        return Node(path, "group", facts, attributes, _group_rows(found))
    return Node(path, "type", (), attributes, None)


def read_table(file: h5py.File, path: str, first: int = 0) -> Table:
    """Read ``PAGE_ROWS`` rows of a dataset, or of the columns of an NWB table."""
    found = _at(file, path)
    if isinstance(found, h5py.Dataset):
        return _dataset_table(found, first)
    listed = found.attrs.get("colnames")
    names = ["id", *map(_text, listed if isinstance(listed, np.ndarray) else ())]
    names = [name for name in names if isinstance(found.get(name), h5py.Dataset)]
    rows = slice(first, min(first + PAGE_ROWS, _group_rows(found) or 0))
    columns = [_column(found, name, rows) for name in names]
    return Table(tuple(names), tuple(zip(*columns, strict=True)), first)


def _at(file: h5py.File, path: str) -> Any:
    try:
        return file[path]
    except (KeyError, OSError, ValueError) as error:
        msg = f"{path} of {file.filename} cannot be read: {error}"
        raise SourceError(msg) from error


def _shape(dataset: h5py.Dataset) -> str:
    if dataset.shape is None:
        return "empty"
    if not dataset.shape:
        return f"one value, {_type(dataset.dtype)}"
    return f"{' × '.join(f'{length:,}' for length in dataset.shape)}, {_type(dataset.dtype)}"


def _type(dtype: np.dtype[Any]) -> str:
    if h5py.check_string_dtype(dtype) is not None:
        return "text"
    if h5py.check_ref_dtype(dtype) is not None:
        return "reference"
    if dtype.names:
        return f"record of {', '.join(dtype.names)}"
    return str(dtype)


def _facts(dataset: h5py.Dataset) -> Iterator[tuple[str, str]]:
    yield "shape and type", _shape(dataset)
    yield "on disk", f"{dataset.id.get_storage_size():,} bytes"
    layout = f"chunks of {' × '.join(map(str, dataset.chunks))}" if dataset.chunks else "contiguous"
    yield "layout", f"{layout}, {dataset.compression or 'not compressed'}"
    if dataset.shape == ():
        yield "value", _text(dataset[()])


def _attribute(found: Any, name: str) -> str:
    """Read an attribute as text, or return why it cannot be read."""
    try:
        count = h5py.h5a.open(found.id, name.encode()).get_space().get_simple_extent_npoints()
        if count > _MOST_VALUES:
            return f"{count:,} values: too many to be shown"
        return _text(found.attrs[name])
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        return f"cannot be read: {error}"


def _text(value: Any, most: int = _CHARACTERS) -> str:
    if isinstance(value, h5py.Empty):
        return "empty"
    if isinstance(value, (h5py.Reference, h5py.RegionReference)):
        return "reference" if value else "no reference"
    if isinstance(value, (bytes, np.bytes_)):
        value = value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        parts = [_text(one, most) for one in value.ravel()[:_VALUES].tolist()]
        more = f", … ({value.size:,} values)" if value.size > _VALUES else ""
        value = f"[{', '.join(parts)}{more}]"
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def _group_rows(group: h5py.Group) -> int | None:
    ids = group.get("id")
    if "colnames" in group.attrs and isinstance(ids, h5py.Dataset) and ids.shape:
        return int(ids.shape[0])
    return None


def _dataset_table(dataset: h5py.Dataset, first: int) -> Table:
    if not dataset.shape:
        msg = f"{dataset.name} is one value, no table"
        raise SourceError(msg)
    rows = slice(first, min(first + PAGE_ROWS, dataset.shape[0]))
    notes = []
    if dataset.dtype.names:
        names = dataset.dtype.names[:_COLUMNS]
        lines = [[row[name] for name in names] for row in dataset[rows]]
    elif len(dataset.shape) == 1:
        names = ("value",)
        lines = [[one] for one in dataset[rows]]
    else:
        inner = (0,) * (len(dataset.shape) - 2)
        width = min(dataset.shape[1], _COLUMNS)
        names = tuple(map(str, range(width)))
        lines = dataset[(rows, slice(0, width), *inner)]
        notes += [f"{width} of {dataset.shape[1]:,} columns"] if width < dataset.shape[1] else []
        notes += ["the first of all further dimensions"] if inner else []
    texts = (
        (str(row), *(_text(one, _CELL) for one in line)) for row, line in enumerate(lines, first)
    )
    return Table(("row", *names), tuple(texts), first, ", ".join(notes))


def _column(group: h5py.Group, name: str, rows: slice) -> list[str]:
    """Read a column of an NWB table as text: of a ragged one, the first values of each row."""
    column, index = group[name], group.get(f"{name}_index")
    if not isinstance(index, h5py.Dataset):
        return [_text(one, _CELL) for one in column[rows]]
    ends = np.asarray(index[max(rows.start - 1, 0) : rows.stop], np.int64).tolist()
    few = _VALUES // 4
    texts = []
    for start, end in pairwise(ends if rows.start else [0, *ends]):
        parts = [_text(one, _CELL) for one in column[start : min(end, start + few)]]
        more = [f"… ({end - start:,})"] if end - start > few else []
        texts.append(", ".join([*parts, *more]))
    return texts


# View of a file as a tree, with all attributes, and its tables page by page.


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
