"""View of a file: a summary, and its HDF5 hierarchy with attributes and tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from bokeh.layouts import row
from bokeh.models import (
    Button,
    DataTable,
    StringFormatter,
    TableColumn,
    UIElement,
)

from ndx_simulation_output.errors import SourceError, file_errors, source_errors
from ndx_simulation_output.info import describe
from ndx_simulation_output.recording import SimulationOutput
from ndx_simulation_output.storage.sources import check_source
from ndx_simulation_output.viewer.figures import button, empty_source, new_text, small_text, stack
from ndx_simulation_output.viewer.panels import Offer, Panel
from ndx_simulation_output.viewer.session import on_value
from ndx_simulation_output.viewer.state import PanelState

CHILDREN = 200
"""Number of members of a group listed at a time."""

PAGE_ROWS = 50
"""Number of rows of a table read at a time."""

_MAX_COLUMNS = 20
_MAX_CHARACTERS = 100_000
_MAX_CELL_CHARACTERS = 120
_MAX_VALUES = 64
_MAX_RAGGED_VALUES = 16
_MAX_ATTRIBUTE_VALUES = 10_000_000

_TABLE = """
    .slick-header-column, .slick-cell, .slick-row, .bk-data-table {
        background: var(--card) !important; color: var(--ink);
        border-color: var(--line) !important; }
    .slick-row:hover .slick-cell { background: var(--soft) !important; }
    """


@dataclass(frozen=True)
class Child:
    """A member of a group; ``kind`` is "group", "dataset", "link" or "broken"."""

    name: str
    path: str
    kind: str
    summary: str


@dataclass(frozen=True)
class HDF5Node:
    """A group or dataset; ``facts`` (storage) and ``attributes`` are (name, text) pairs.

    ``rows`` is the number of rows of its table, or None if it is not a table.
    """

    path: str
    kind: str
    facts: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, str], ...]
    rows: int | None


@dataclass(frozen=True)
class TablePage:
    """Text of table rows from ``first`` on; ``rows`` has shape (row, column)."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    first: int
    note: str = ""


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, even if another process is writing it in SWMR mode."""
    if not path.is_file() or not h5py.is_hdf5(path):
        msg = f"{path} is not an HDF5 file; only HDF5 files have a tree"
        raise SourceError(msg)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        try:
            file = h5py.File(path, "r", swmr=True)
        except (OSError, ValueError):
            msg = f"{path} cannot be read at the moment: {error}"
            raise SourceError(msg) from error
    with file_errors(path), file:
        yield file


def read_children(file: h5py.File, path: str, first: int = 0) -> tuple[list[Child], int]:
    """Return at most ``CHILDREN`` members of a group from index ``first``, and the total number."""
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
        with source_errors("cannot be read"):
            return _opened_child(group[name], name, path)
    except SourceError as error:
        return Child(name, path, "broken", str(error))


def _opened_child(found: Any, name: str, path: str) -> Child:
    if isinstance(found, h5py.Group):
        kind = found.attrs.get("neurodata_type", found.attrs.get("type", ""))
        known = f"{_text(kind)}, " if isinstance(kind, (str, bytes, np.bytes_)) and kind else ""
        return Child(name, path, "group", f"{known}{len(found):,} members")
    if isinstance(found, h5py.Dataset):
        return Child(name, path, "dataset", _shape(found))
    return Child(name, path, "type", "named type")


def read_node(file: h5py.File, path: str) -> HDF5Node:
    """Return the storage and attributes of a group or dataset."""
    found = _at(file, path)
    attributes = tuple((name, _attribute(found, name)) for name in found.attrs)
    if isinstance(found, h5py.Dataset):
        rows = found.shape[0] if found.shape else None
        return HDF5Node(path, "dataset", tuple(_facts(found)), attributes, rows)
    if isinstance(found, h5py.Group):
        facts = (("members", f"{len(found):,}"),)
        return HDF5Node(path, "group", facts, attributes, _group_rows(found))
    return HDF5Node(path, "type", (), attributes, None)


def read_table(file: h5py.File, path: str, first: int = 0) -> TablePage:
    """Read ``PAGE_ROWS`` rows of a dataset, or of the columns of an NWB table."""
    found = _at(file, path)
    if isinstance(found, h5py.Dataset):
        return _dataset_table(found, first)
    listed = found.attrs.get("colnames")
    names = ["id", *map(_text, listed if isinstance(listed, np.ndarray) else ())]
    names = [name for name in names if isinstance(found.get(name), h5py.Dataset)]
    rows = slice(first, min(first + PAGE_ROWS, _group_rows(found) or 0))
    columns = [_column(found, name, rows) for name in names]
    return TablePage(tuple(names), tuple(zip(*columns, strict=True)), first)


def _at(file: h5py.File, path: str) -> Any:
    with source_errors(f"{path} of {file.filename} cannot be read"):
        return file[path]


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
    """Return an attribute as text, or an error message if it cannot be read."""
    try:
        with source_errors("cannot be read"):
            count = h5py.h5a.open(found.id, name.encode()).get_space().get_simple_extent_npoints()
            if count > _MAX_ATTRIBUTE_VALUES:
                return f"{count:,} values: too many to show"
            return _text(found.attrs[name])
    except SourceError as error:
        return str(error)


def _cell(value: Any) -> str:
    return _text(value, _MAX_CELL_CHARACTERS)


def _text(value: Any, most: int = _MAX_CHARACTERS) -> str:
    if isinstance(value, h5py.Empty):
        return "empty"
    if isinstance(value, (h5py.Reference, h5py.RegionReference)):
        return "reference" if value else "no reference"
    if isinstance(value, (bytes, np.bytes_)):
        value = value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        parts = [_text(one, most) for one in value.ravel()[:_MAX_VALUES].tolist()]
        more = f", … ({value.size:,} values)" if value.size > _MAX_VALUES else ""
        value = f"[{', '.join(parts)}{more}]"
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def _group_rows(group: h5py.Group) -> int | None:
    ids = group.get("id")
    if "colnames" in group.attrs and isinstance(ids, h5py.Dataset) and ids.shape:
        return int(ids.shape[0])
    return None


def _dataset_table(dataset: h5py.Dataset, first: int) -> TablePage:
    if not dataset.shape:
        msg = f"{dataset.name} is a scalar dataset, not a table"
        raise SourceError(msg)
    rows = slice(first, min(first + PAGE_ROWS, dataset.shape[0]))
    notes = []
    if dataset.dtype.names:
        names = dataset.dtype.names[:_MAX_COLUMNS]
        lines = [[row[name] for name in names] for row in dataset[rows]]
    elif len(dataset.shape) == 1:
        names = ("value",)
        lines = [[one] for one in dataset[rows]]
    else:
        inner = (0,) * (len(dataset.shape) - 2)
        width = min(dataset.shape[1], _MAX_COLUMNS)
        names = tuple(map(str, range(width)))
        lines = dataset[(rows, slice(0, width), *inner)]
        notes += [f"{width} of {dataset.shape[1]:,} columns"] if width < dataset.shape[1] else []
        notes += ["the first of all further dimensions"] if inner else []
    texts = ((str(row), *map(_cell, line)) for row, line in enumerate(lines, first))
    return TablePage(("row", *names), tuple(texts), first, ", ".join(notes))


def _column(group: h5py.Group, name: str, rows: slice) -> list[str]:
    """Read a column of an NWB table as text; only the first values per row if it is ragged."""
    column, index = group[name], group.get(f"{name}_index")
    if not isinstance(index, h5py.Dataset):
        return [*map(_cell, column[rows])]
    ends = np.asarray(index[max(rows.start - 1, 0) : rows.stop], np.int64).tolist()
    texts = []
    for start, end in pairwise(ends if rows.start else [0, *ends]):
        parts = [*map(_cell, column[start : min(end, start + _MAX_RAGGED_VALUES)])]
        more = [f"… ({end - start:,})"] if end - start > _MAX_RAGGED_VALUES else []
        texts.append(", ".join([*parts, *more]))
    return texts


@dataclass
class TreeLine:
    """A line of the tree: a file, a group member, or the number of members not yet listed.

    ``more`` is the index of the first member not yet listed.
    """

    file: Path
    child: Child
    depth: int
    more: int | None = None
    is_open: bool = False

    @property
    def label(self) -> str:
        """Name, with a symbol for its kind and indentation for its depth."""
        mark = {"group": "▾" if self.is_open else "▸", "dataset": "▪"}.get(self.child.kind, "·")
        return "\u2003" * self.depth + f"{mark} {self.child.name}"


class Tree:
    """Visible lines of the tree. Members are read when a group is opened.

    Each file is checked as ``open_output`` does, since a directory has files that it does not read.
    """

    def __init__(self, files: list[Path], *, trust: bool = False) -> None:
        self._trusted = set(files) if trust else set()
        self.lines = [TreeLine(file, Child(file.name, "/", "group", ""), 0) for file in files]

    @contextmanager
    def open(self, line: TreeLine) -> Iterator[h5py.File]:
        """Open the file of a line for reading."""
        with open_hdf5(line.file) as file:
            check_source(file, trust=line.file in self._trusted)
            self._trusted.add(line.file)
            yield file

    def toggle(self, index: int) -> None:
        """Expand or collapse a group, or list more of its members."""
        line = self.lines[index]
        if line.more is not None:
            self.lines[index : index + 1] = self._members(line, line.depth, line.more)
        elif line.is_open:
            end = index + 1
            while end < len(self.lines) and self.lines[end].depth > line.depth:
                end += 1
            del self.lines[index + 1 : end]
            line.is_open = False
        elif line.child.kind in {"group", "link"}:
            self.lines[index + 1 : index + 1] = self._members(line, line.depth + 1, 0)
            line.is_open = line.child.kind == "group"

    def _members(self, line: TreeLine, depth: int, first: int) -> list[TreeLine]:
        with self.open(line) as file:
            children, count = read_children(file, line.child.path, first)
        lines = [TreeLine(line.file, child, depth) for child in children]
        listed = first + len(children)
        if listed < count:
            rest = Child(f"… {count - listed:,} more", line.child.path, "more", "")
            lines.append(TreeLine(line.file, rest, depth, listed))
        return lines


class TreePanel(Panel):
    """Summary and tree of a file, with the attributes and table of the selected member."""

    kind = "file"
    over_time = False
    saves = False

    @staticmethod
    def offers(output: SimulationOutput) -> Iterator[Offer]:
        """Yield the file."""
        del output
        yield Offer(PanelState("file"), "File", "Contents of the file", "HDF5 tree, tables")

    @property
    def title(self) -> str:
        """Title of the card."""
        return f"Contents of {self.session.file.name}"

    def build(self, output: SimulationOutput) -> UIElement:
        """Return the widgets."""
        del output
        self.summary = new_text()
        self.listed = empty_source("name", "summary")
        table = DataTable(
            source=self.listed,
            columns=[
                TableColumn(field="name", title="Name", width=300, formatter=StringFormatter()),
                TableColumn(field="summary", title="What it is", width=200),
            ],
            index_position=None,
            sortable=False,
            reorderable=False,
            sizing_mode="stretch_width",
            height=420,
            row_height=24,
            stylesheets=[_TABLE],
        )
        on_value(self.listed.selected, "indices", self._clicked)
        self.node = new_text()
        self.before, self.after = Button(label="◂", **button()), Button(label="▸", **button())
        self.before.on_click(lambda: self._turn(-PAGE_ROWS))
        self.after.on_click(lambda: self._turn(PAGE_ROWS))
        self.page_note = new_text(sizing_mode=None)
        self.pager = row(self.before, self.after, self.page_note, visible=False)
        self.values = new_text()
        self.selected: TreeLine | None = None
        self.first = 0
        self.lines: list[str] = []
        details = stack(self.node, self.pager, self.values)
        return stack(self.summary, row(table, details, sizing_mode="stretch_width"))

    def update(self, output: SimulationOutput) -> None:
        """Read the summary and the tree."""
        lines = [*describe(output), *(f"warning: {text}" for text in self.session.file.warnings)]
        if lines == self.lines:
            return
        self.lines = lines
        self.summary.text = f"<pre class='short'>{escape(chr(10).join(lines))}</pre>"
        file = self.session.file
        self.tree = Tree(file.paths(), trust=bool(file.options.get("trust")))
        if len(self.tree.lines) == 1:
            self.tree.toggle(0)
        self._list()

    def _list(self) -> None:
        self.listed.data = {
            "name": [line.label for line in self.tree.lines],
            "summary": [line.child.summary for line in self.tree.lines],
        }

    def _clicked(self, indices: list[int]) -> None:
        if not indices:
            return
        with self.session.show_errors():
            line = self.tree.lines[indices[0]]
            self.tree.toggle(indices[0])
            self._list()
            self.listed.selected.indices = []
            if line.more is None:
                self.selected, self.first = line, 0
                self._show(line)

    def _turn(self, rows: int) -> None:
        with self.session.show_errors():
            self.first = max(self.first + rows, 0)
            if self.selected is not None:
                self._show(self.selected)

    def _show(self, line: TreeLine) -> None:
        with self.tree.open(line) as file:
            node = read_node(file, line.child.path)
            page = read_table(file, node.path, self.first) if node.rows else None
        self.node.text = _node_html(node)
        self.pager.visible = node.rows is not None and node.rows > PAGE_ROWS
        self.values.text = "" if page is None else _page_html(page)
        if node.rows is not None:
            last = min(self.first + PAGE_ROWS, node.rows)
            self.page_note.text = small_text(f"{self.first:,} to {last:,} of {node.rows:,} rows")
            self.before.disabled, self.after.disabled = self.first == 0, last >= node.rows


def _node_html(node: HDF5Node) -> str:
    facts = _pairs_html(node.facts)
    attributes = _pairs_html(node.attributes) or "<tr><td>no attributes</td></tr>"
    return (
        f"<h3>{escape(node.path)}</h3><table class='facts'>{facts}</table>"
        f"<h3>Attributes</h3><table class='facts'>{attributes}</table>"
    )


def _pairs_html(pairs: tuple[tuple[str, str], ...]) -> str:
    def cell(text: str) -> str:
        return f"<pre>{escape(text)}</pre>" if len(text) > 200 or "\n" in text else escape(text)

    return "".join(f"<tr><th>{escape(name)}</th><td>{cell(text)}</td></tr>" for name, text in pairs)


def _page_html(page: TablePage) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in page.names)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(value)}</td>' for value in line)}</tr>" for line in page.rows
    )
    table = f"<table class='facts'><tr>{head}</tr>{rows}</table>"
    return f"{small_text(page.note)}<div style='overflow: auto; max-height: 420px'>{table}</div>"
