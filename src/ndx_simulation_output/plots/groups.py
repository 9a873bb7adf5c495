"""Groups of cells with the same value of a property, and how they are drawn."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import SelectionError
from ndx_simulation_output.plots.canvas import (
    label_axis,
    outside_legend,
    short_name,
    size_in_pixels,
)
from ndx_simulation_output.plots.downsampling import Columns, Indices, Recorded
from ndx_simulation_output.plots.look import COLORS, LINE_WIDTH, MISSING_COLOR, OTHER_COLOR, rgb
from ndx_simulation_output.recording import CellTable
from ndx_simulation_output.recording.arrays import LazyArray, LazyArrayBase
from ndx_simulation_output.recording.traces import mean_of_groups
from ndx_simulation_output.recording.units import Unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OTHER, _MISSING = ("other", OTHER_COLOR), ("missing", MISSING_COLOR)
_MOST_LETTERS = 30
_LABEL_PIXELS = 15


@dataclass(frozen=True)
class Groups:
    """Cells by the value of the property ``name``: ``codes`` (cell,) are indices of ``names``.

    Groups are in the order of their values. Of more than 10 values, the smallest groups are joined
    as "other"; cells without a value are "missing"; these two are the last. ``n_values`` is the
    number of different values, ``colors`` (group,) are those of a plot. ``values`` are those of the
    table in the order of their colours, at most 11.
    """

    name: str
    cells: CellTable
    codes: NDArray[np.intp]
    names: tuple[str, ...]
    colors: tuple[str, ...]
    n_values: int
    values: tuple[Any, ...]

    @property
    def counts(self) -> NDArray[np.intp]:
        """Number of cells of each group."""
        return np.bincount(self.codes, minlength=len(self.names))

    @property
    def labels(self) -> list[str]:
        """Name of each group with its number of cells."""
        pairs = zip(self.names, self.counts.tolist(), strict=True)
        return [f"{name} ({count:,})" for name, count in pairs]

    @property
    def note(self) -> str:
        """Property, and the groups that were joined, for a title."""
        most = len(COLORS)
        joined = f", the {most} largest of {self.n_values:,} groups" if self.n_values > most else ""
        return f"by {self.name}{joined}"

    def codes_of(self, ids: NDArray[Any]) -> NDArray[np.intp]:
        """Return the group of each of the cells ``ids``, which may repeat; all must be known."""
        return self.codes[self.cells.find_rows(ids)]

    @cached_property
    def ids(self) -> NDArray[Any]:
        """Ids of the cells."""
        return np.asarray(self.cells.ids[:])

    def sorted_ids(self) -> NDArray[Any]:
        """Return the cells of the first group, then those of the second, and so on."""
        return self.ids[np.lexsort((self.ids, self.codes))]

    def edges(self) -> NDArray[np.intp]:
        """Return where each group begins and ends among ``sorted_ids``; shape (group + 1,)."""
        return np.concatenate([[0], np.cumsum(self.counts)])


def group_cells(
    cells: CellTable | None, by: "str | Groups", ids: NDArray[Any] | None = None
) -> Groups:
    """Return the groups of the cells ``ids``, by default all of a table, by a property.

    Numbers are in ascending order, text is in alphabetical order with numbers in it by value. Ids
    that are not in the table have no value. A value has the same colour whatever the ids are,
    unless the table has more than 10 values. ``by`` is the name of the property or, for the same
    colours in several plots, groups of other cells, whose table is used then.

    Raises
    ------
    SelectionError
        If the table has no such property, or several values of it for each cell.

    Example
    -------
    >>> cells = CellTable("net", np.arange(4), {"layer": np.array([2.0, np.nan, 10.0, 2.0])})
    >>> found = group_cells(cells, "layer")
    >>> found.labels, found.codes.tolist()
    (['2 (2)', '10 (1)', 'missing (1)'], [0, 2, 1, 0])

    """
    common: tuple[Any, ...] = by.values if isinstance(by, Groups) else ()
    cells, name = (by.cells, by.name) if isinstance(by, Groups) else (cells, by)
    if cells is None:
        msg = f"the cells have no property {name!r} (--group-by): their circuit is not known"
        raise SelectionError(msg)
    codes, distinct = cells.groups_of(name, np.arange(len(cells)))
    order = sorted(range(len(distinct)), key=lambda index: _rank(distinct[index]))
    values = common or tuple(distinct[index] for index in order[: len(COLORS) + 1])
    if ids is not None:
        codes, cells = np.append(codes, -1)[cells.find_rows(ids)], cells.select(ids)
    sizes = np.bincount(codes[codes >= 0], minlength=len(distinct))
    used = [index for index in order if sizes[index]]
    largest = set(sorted(used, key=lambda index: -sizes[index])[: len(COLORS)])
    few = len(values) <= len(COLORS)
    colored = values if few else [distinct[one] for one in used if one in largest]
    color_of = dict(zip(colored, COLORS, strict=False))
    named = [index for index in used if index in largest]
    labels = _labels([distinct[index] for index in named])
    pairs = zip(labels, named, strict=True)
    groups = [(label, color_of[distinct[index]]) for label, index in pairs]
    new = np.full(len(distinct) + 1, len(groups))
    new[named] = np.arange(len(groups))
    groups += [_OTHER] if len(named) < len(used) else []
    new[-1] = len(groups)
    groups += [_MISSING] if (codes < 0).any() else []
    names, colors = zip(*groups, strict=True) if groups else ((), ())
    return Groups(name, cells, new[codes], names, colors, len(used), values)


def with_common_colors(several: Sequence[Groups]) -> list[Groups]:
    """Return groups of several tables so that a value has one colour, of at most 10 values."""
    values = {value for groups in several for value in groups.values}
    if len(values) > len(COLORS):
        return [*several]
    common = tuple(sorted(values, key=lambda value: (isinstance(value, str), _rank(value))))
    return [group_cells(None, replace(groups, values=common)) for groups in several]


def _rank(value: Any) -> tuple[Any, ...]:
    """Return a key that sorts numbers by value, and text with the numbers in it by value."""
    if not isinstance(value, str):
        return (value,)
    parts = re.split(r"(\d+)", value)
    return tuple((len(part), part) if part.isdigit() else (0, part) for part in parts)


def _labels(values: Sequence[Any]) -> list[str]:
    """Return different values as short labels; what equal labels begin with is left out."""
    texts = [_text(value) for value in values]
    labels = [short_name(text) for text in texts]
    for label in {label for label in labels if labels.count(label) > 1}:
        alike = [text for text, short in zip(texts, labels, strict=True) if short == label]
        pairs = enumerate(zip(min(alike), max(alike), strict=False))
        differ = next((index for index, pair in pairs if len({*pair}) > 1), 0)
        begin = max(0, differ - _MOST_LETTERS // 4)
        for text in alike:
            labels[texts.index(text)] = short_name(f"…{text[begin:]}")
    return labels


def _text(value: Any) -> str:
    """Return a value as a text of one line."""
    if isinstance(value, str):
        return " ".join(value.split()) or "(empty)"
    text = f"{value:g}" if isinstance(value, float | np.floating) else str(value)
    return text if not isinstance(value, float) or float(text) == value else str(value)


def means_of_groups(recorded: Recorded, columns: Indices, codes: Indices) -> Recorded:
    """Return the mean of the ``columns`` of each group as a recording, computed when it is read.

    ``codes`` (column,) are the groups of the columns; none is empty.
    """
    order = np.argsort(columns, kind="stable")
    means = _Means(recorded.data, columns[order], codes[order], recorded.unit)
    unit = Unit(recorded.unit.name, checked=False)
    return Columns(recorded.name, means, recorded.times, unit)


@dataclass(frozen=True)
class _Means(LazyArrayBase):
    """Means in ``unit`` of the columns of each group of an array, by ``codes`` (column,)."""

    array: LazyArray
    columns: Indices
    codes: Indices
    unit: Unit

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of groups."""
        return int(self.array.shape[0]), int(self.codes.max(initial=-1)) + 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of means."""
        return np.dtype(np.float64)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        means = mean_of_groups(self.array, slices[0], self.columns, self.codes, self.unit)
        return means[:, slices[1]]


def legend_of_groups(ax: "Axes", groups: Groups, labels: Iterable[str], **style: Any) -> None:
    """Add a legend of groups to the right of axes; ``style`` is that of its lines or markers."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=color, **style) for color in groups.colors]
    # Labels that begin with an underscore would be left out.
    outside_legend(ax, handles, [f" {label}" for label in labels], groups.name)


def label_groups(
    ax: "Axes", groups: Groups, edges: NDArray[Any], *, separator: str = "0.6"
) -> None:
    """Label the parts of the vertical axis between ``edges`` (group + 1,), the first at the top.

    Set the limits of the axis before.
    """
    low, high = ax.get_ylim()
    height = _LABEL_PIXELS * (high - low) / size_in_pixels(ax)[0]
    middles = apart((edges[:-1] + edges[1:]) / 2, height, high - height / 2)
    ax.set_yticks(middles, groups.labels)
    ax.tick_params(axis="y", length=0, pad=8)
    aside = ax.get_yaxis_transform()
    for begin, end, color, text in zip(
        edges[:-1], edges[1:], groups.colors, ax.get_yticklabels(), strict=True
    ):
        text.set_color([0.7 * part / 255 for part in rgb(color)])
        text.set_parse_math(False)
        inside = min(0.15 * (end - begin), height / 10)
        ax.plot([-0.012, -0.012], [begin + inside, end - inside], transform=aside, clip_on=False,
                color=color, linewidth=3, solid_capstyle="butt")  # fmt: skip
    for edge in edges[1:-1]:
        ax.axhline(float(edge), color=separator, linewidth=LINE_WIDTH)
    ax.set_ylim(high, low)
    label_axis(ax.yaxis, f"cells by {groups.name}")


def apart(wanted: NDArray[Any], distance: float, highest: float) -> NDArray[Any]:
    """Return positions near ascending ``wanted`` ones that are at least ``distance`` apart."""
    found = np.array(wanted, np.float64)
    for index in range(1, len(found)):
        found[index] = max(found[index], found[index - 1] + distance)
    found[-1:] = np.minimum(found[-1:], highest)
    for index in range(len(found) - 2, -1, -1):
        found[index] = min(found[index], found[index + 1] - distance)
    return found
