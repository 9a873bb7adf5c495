"""Places of compartments in space, from the cells and morphologies of a circuit.

Places are given only where it is certain which part of which morphology a compartment is. All
others are NaN, and the notes of the table say why.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    MissingDependencyError,
    SourceError,
    UnsupportedSourceError,
)
from ndx_simulation_output.recording import CellTable, CompartmentTable, Report
from ndx_simulation_output.recording.arrays import LazyArrayBase
from ndx_simulation_output.sonata.morphologies import (
    AXON,
    ENDS,
    SOMA,
    SPHERE,
    Morphology,
    MorphologyFiles,
)

_Found = tuple[NDArray[np.float64] | None, str]
"""Compartments of a cell, or None, and why some are not known."""
COLUMNS = ("x", "y", "z", "diameter")
"""The columns that ``add_places`` adds."""

_AXES = COLUMNS[:3]
_SPACE = slice(0, 3)
_PROPERTIES = {
    *(*_AXES, "positions", "morphology", "model_type", "model_template", "model_processing"),
    *("dynamics_params", "recenter"),
}
ANGLES = tuple(f"rotation_angle_{axis}axis" for axis in _AXES)
QUATERNION = tuple(f"orientation_{part}" for part in "wxyz")
_SEGMENT = 20.0  # µm: the default of bmtk, and what neurodamus uses
_MOST_REASONS = 5
_CLOSE = 1e-3  # µm
_EXACT = 1e-4  # of positions from 0 to 1, which may be float32
_POINTS = {"point_neuron", "point_process", "point_soma"}
_STAYS = "the soma is not at the origin of the morphology, and recenter is 0, which bmtk ignores"
_TEMPLATES = ("ctdb:Biophys1", "nml:")
_TURNS = "programs differ in how they turn the cell, or it is not known"
# Kinds of reports whose elements are no compartments.
_OTHER_KINDS = {"synapse", "summation", "lfp"}
# Processors of bmtk that replace the axon by two stubs, and those that change no sections.
_REPLACING = {
    f"aibs_{name}{end}" for name in ("perisomatic", "allactive") for end in ("", "_directed")
}
_KEEPING = {"extracellular", "set_extracellular"}


def add_places(
    report: Report, cells: CellTable, files: MorphologyFiles, segment: float | None = None
) -> Report:
    """Return a report with the places of its compartments, which are computed when they are read.

    ``cells`` are those of its population, and ``segment`` is the longest segment (µm), dL of bmtk.
    """
    table = report.compartments
    is_placed = set(_AXES) <= set(cells.columns) or "positions" in cells.columns
    if not is_placed or set(COLUMNS) & set(table.columns):
        return report
    if report.provenance.get("kind") in _OTHER_KINDS:
        note = f"report {report.name!r}: its elements are no compartments, and have no x, y and z"
        return replace(report, compartments=replace(table, notes=lambda: [note]))
    known = segment if segment is not None and segment > 0 else _SEGMENT
    places = _Places(report, cells, files, known)
    names = COLUMNS if "morphology" in cells.columns and files.folders else _AXES
    columns = {name: _Column(places, COLUMNS.index(name)) for name in names}
    return replace(
        report,
        compartments=replace(
            table, columns={**table.columns, **columns}, notes=lambda: places.notes
        ),
        provenance={**report.provenance, "computed": list(names)},
    )


def rotations(columns: Mapping[str, Any], count: int) -> NDArray[np.float64]:
    """Return the rotation of each cell, NaN if it is not known; shape (cell, 3, 3).

    The orientation is used, not normalised, or else the angles about x, y and z (rad): the cell is
    turned about z, then about y, then about x. Missing angles are 0.

    Example
    -------
    >>> rotations({"rotation_angle_zaxis": np.array([np.pi / 2])}, 1).round()[0].tolist()
    [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]

    """
    angles = [_numbers(columns, name, count) for name in ANGLES]
    about_x, about_y, about_z = (_about(axis, values) for axis, values in enumerate(angles))
    found = about_x @ about_y @ about_z
    if set(QUATERNION) & set(columns):
        parts = np.stack([_numbers(columns, name, count) for name in QUATERNION])
        is_missing = np.isnan(parts).all(axis=0) & ~np.isnan(np.stack(angles)).all(axis=0)
        found = np.where(np.reshape(is_missing, (-1, 1, 1)), found, _of_quaternions(parts))
    return found


def angles_of(turned: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angles about x, y and z of rotations; shape (3, cell).

    Example
    -------
    >>> angles_of(rotations({"rotation_angle_yaxis": np.array([np.pi / 2])}, 1)).round(2).tolist()
    [[0.0], [1.57], [0.0]]

    """
    across = np.hypot(turned[:, 0, 0], turned[:, 0, 1])
    about_x = np.arctan2(-turned[:, 1, 2], turned[:, 2, 2])
    about_z = np.arctan2(-turned[:, 0, 1], turned[:, 0, 0])
    is_upright = across < 1e-9  # Then x and z are one axis.
    about_x = np.where(is_upright, np.arctan2(turned[:, 2, 1], turned[:, 1, 1]), about_x)
    return np.array(
        [about_x, np.arctan2(turned[:, 0, 2], across), np.where(is_upright, 0, about_z)]
    )


def _numbers(columns: Mapping[str, Any], name: str, count: int) -> NDArray[np.float64]:
    """Return a property, NaN if it is missing, and inf if it is not a number for each cell."""
    values = np.asarray(columns[name][:]) if name in columns else np.full(count, np.nan)
    if values.dtype.kind not in "biuf" or values.shape != (count,):
        return np.full(count, np.inf)
    return values.astype(np.float64)


def _about(axis: int, angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrices of rotations about an axis, counter-clockwise; missing angles are 0."""
    angles = np.where(np.isnan(angles), 0.0, angles)
    with np.errstate(invalid="ignore"):
        cosines, sines = np.cos(angles), np.sin(angles)
    found = np.zeros((len(angles), 3, 3))
    found[:, axis, axis] = 1.0
    one, other = (axis + 1) % 3, (axis + 2) % 3
    found[:, one, one] = found[:, other, other] = cosines
    found[:, other, one], found[:, one, other] = sines, -sines
    return found


def _of_quaternions(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrices of quaternions, w, x, y, z; NaN for 0."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        scaled = parts / np.abs(parts).max(axis=0)
        w, x, y, z = scaled / np.linalg.norm(scaled, axis=0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def _turned_alike(columns: Mapping[str, Any], turned: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return True for cells that all of Blue Brain's programs turn alike.

    neurodamus turns about x first, about z last, and uses z only where there is y.
    """
    if set(QUATERNION) & set(columns):
        return np.ones(len(turned), bool)
    found = np.broadcast_to(np.eye(3), turned.shape)
    for axis, name in enumerate(ANGLES):
        if axis < 2 or ANGLES[1] in columns:
            found = _about(axis, _numbers(columns, name, len(turned))) @ found
    return np.asarray(np.isclose(found, turned, atol=1e-6).all(axis=(1, 2)))


def _centers(columns: Mapping[str, Any], count: int) -> NDArray[np.float64]:
    """Return where cells are, NaN if it is not known; shape (cell, 3)."""
    if set(_AXES) <= set(columns):
        values = np.stack([_numbers(columns, name, count) for name in _AXES], axis=1)
    else:
        values = np.asarray(columns["positions"][:])
    if values.dtype.kind not in "iuf" or values.shape != (count, 3):
        return np.full((count, 3), np.nan)
    is_known = np.isfinite(values).all(axis=1, keepdims=True)
    return np.where(is_known, values, np.nan)


def _properties_of_models(columns: Mapping[str, Any], count: int) -> Iterator[tuple[Any, ...]]:
    """Yield the values for the ``_Model`` of each cell, as they are in the circuit."""
    unknown = np.full(count, None)
    names = ("morphology", "model_type", "model_template", "model_processing", "dynamics_params")
    texts = [np.asarray(columns.get(name, unknown)[:], object).tolist() for name in names]
    stays = _numbers(columns, "recenter", count) == 0
    return zip(*texts, stays.tolist(), strict=True)


def _model(properties: tuple[Any, ...]) -> "_Model":
    morphology, kind, template, processing, parameters = map(_text, properties[:-1])
    return _Model(morphology, kind, template, processing, parameters, stays=properties[-1])


def _text(value: Any) -> str | None:
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return text.strip() or None if isinstance(text, str) else None


@dataclass(frozen=True)
class _Column(LazyArrayBase):
    """A column of the places of compartments."""

    places: "_Places"
    number: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of compartments."""
        return (self.places.table.n_compartments,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(np.float64)

    def _read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        start, stop, step = slices[0].indices(self.shape[0])
        found = self.places.read(self.number, start, max(start, stop))
        return found[::step]


@dataclass(frozen=True)
class _Model:
    """Morphology and treatment of a cell; ``stays`` is True if its soma is not moved."""

    morphology: str | None
    kind: str | None
    template: str | None
    processing: str | None
    parameters: str | None
    stays: bool

    @property
    def processors(self) -> set[str]:
        """The functions of bmtk that change the cell."""
        return {name.strip() for name in (self.processing or "").split(",")} - {""}


@dataclass(frozen=True)
class _Shape:
    """x, y, z and diameter of the compartments of a cell, before it is turned and moved.

    ``values`` (compartment, 4) are NaN where unknown, and 0 at the place of the cell. ``reasons``
    say why, each with the number of compartments.
    """

    values: NDArray[np.float64]
    reasons: tuple[tuple[str, int], ...] = ()

    @cached_property
    def at_cell(self) -> NDArray[np.bool_]:
        """True for compartments at the place of the cell; shape (compartment,)."""
        at_cell: NDArray[np.bool_] = (self.values[:, _SPACE] == 0).all(axis=1)
        return at_cell

    @cached_property
    def n_turned(self) -> int:
        """Number of compartments whose place depends on how the cell is turned."""
        return int(np.count_nonzero(np.isfinite(self.values[:, 0]) & ~self.at_cell))


@dataclass(frozen=True)
class _Kind:
    """Model, numbers and positions that the cells of one shape have in common."""

    model: _Model
    numbers: NDArray[Any]
    positions: NDArray[np.float64]


@dataclass(frozen=True)
class _Placed:
    """Where cells are: the row of ``kinds`` of each, its place (cell, 3) and its rotation."""

    kinds: tuple[_Kind, ...]
    rows: NDArray[np.intp]
    centers: NDArray[np.float64]
    turned: NDArray[np.float64]


@dataclass
class _Places:
    """Computes the places of the compartments of a report."""

    report: Report
    cells: CellTable
    files: MorphologyFiles
    segment: float
    _last: tuple[str, Morphology] | None = None
    _shapes: dict[int, _Shape] = field(default_factory=dict)

    @property
    def table(self) -> CompartmentTable:
        """The compartments."""
        return self.report.compartments

    @property
    def _is_bbp(self) -> bool:
        return self.report.provenance.get("dialect") == "bbp"

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Notes on compartments whose place is unknown."""
        found = self._placed
        counts: Counter[str] = Counter()
        cells: Counter[str] = Counter()

        def add(reason: str, compartments: int) -> None:
            if compartments:
                counts[reason] += compartments
                cells[reason] += 1

        is_placed = np.isfinite(found.centers.sum(axis=1))
        is_turned = np.isfinite(found.turned.sum(axis=(1, 2)))
        for row in range(len(found.kinds)):
            self._shape(row)  # In this order, each morphology is read once.
        for row, placed, turned in zip(found.rows.tolist(), is_placed, is_turned, strict=True):
            shape = self._shape(row)
            if not placed:
                add("the circuit does not say where the cell is", len(shape.values))
                continue
            for reason in shape.reasons:
                add(*reason)
            if not turned:
                add(_TURNS, shape.n_turned)
        most = counts.most_common(_MOST_REASONS)
        notes = [
            f"report {self.report.name!r}: x, y and z of {number} compartments, of "
            f"{cells[reason]} cell{'s' * (cells[reason] > 1)}, are unknown: {reason}"
            for reason, number in most
        ]
        if rest := counts.total() - sum(number for _, number in most):
            notes.append(
                f"report {self.report.name!r}: x, y and z of {rest} compartments are unknown for "
                f"other reasons ({len(counts) - len(most)})"
            )
        return tuple(notes)

    def read(self, number: int, start: int, stop: int) -> NDArray[np.float64]:
        """Return a column, by its number in ``COLUMNS``, of a range of compartments."""
        found, values = self._placed, np.full(stop - start, np.nan)
        ends = np.asarray(self.table.ends[:], np.int64)
        starts = ends - self.table.counts()
        first, last = np.searchsorted(ends, start, "right"), np.searchsorted(starts, stop, "left")
        rows = found.rows[first:last]
        order = np.argsort(rows, kind="stable")
        for same in np.split(order, np.flatnonzero(np.diff(rows[order])) + 1) if len(rows) else ():
            shape, chosen = self._shape(int(rows[same[0]])), first + same
            places = starts[chosen][:, np.newaxis] + np.arange(len(shape.values)) - start
            of_cells = self._column(number, shape, found, chosen)
            inside = (places >= 0) & (places < len(values))
            values[places[inside]] = of_cells[inside]
        return values

    @staticmethod
    def _column(
        number: int, shape: _Shape, found: _Placed, cells: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Return a column of cells of one shape; shape (cell, compartment)."""
        if number == len(_AXES):
            return np.broadcast_to(shape.values[:, number], (len(cells), len(shape.values)))
        moved = found.centers[cells, number, np.newaxis]
        turned = found.turned[cells, number] @ shape.values[:, _SPACE].T
        values: NDArray[np.float64] = moved + np.where(shape.at_cell, 0.0, turned)
        return values

    @cached_property
    def _placed(self) -> _Placed:
        table, ids = self.table, np.asarray(self.table.cell_ids[:])
        known = {*_PROPERTIES, *ANGLES, *QUATERNION}
        wanted = {name: some for name, some in self.cells.columns.items() if name in known}
        columns = replace(self.cells, columns=wanted).select(ids).columns
        turned = rotations(columns, len(ids))
        if self._is_bbp:
            turned = np.where(_turned_alike(columns, turned)[:, None, None], turned, np.nan)
        numbers = np.asarray(table.columns["number"][:])
        unknown = np.full(len(numbers), np.nan)
        positions = np.asarray(table.columns.get("position", unknown)[:], np.float64)
        groups: dict[tuple[Any, ...], dict[tuple[bytes, bytes], list[int]]] = {}
        ends = np.asarray(table.ends[:], np.int64)
        bounds = zip((ends - table.counts()).tolist(), ends.tolist(), strict=True)
        found = _properties_of_models(columns, len(ids))
        for cell, (of_cell, (start, end)) in enumerate(zip(found, bounds, strict=True)):
            key = numbers[start:end].tobytes(), positions[start:end].tobytes()
            groups.setdefault(of_cell, {}).setdefault(key, []).append(cell)
        kinds: list[_Kind] = []
        rows = np.zeros(len(ids), np.intp)
        models = {key: _model(key) for key in groups}
        for key in sorted(groups, key=lambda key: models[key].morphology or ""):
            for (some, at), members in groups[key].items():
                rows[members] = len(kinds)
                recorded = np.frombuffer(some, numbers.dtype), np.frombuffer(at)
                kinds.append(_Kind(models[key], *recorded))
        return _Placed(tuple(kinds), rows, _centers(columns, len(ids)), turned)

    def _shape(self, row: int) -> _Shape:
        """Return the shape of cells of a kind, computed once."""
        if row not in self._shapes:
            kind = self._placed.kinds[row]
            self._shapes[row] = self._make_shape(kind.model, kind.numbers, kind.positions)
        return self._shapes[row]

    def _make_shape(
        self, model: _Model, numbers: NDArray[Any], positions: NDArray[np.float64]
    ) -> _Shape:
        morphology: Morphology | Exception
        try:
            morphology = self._morphology(model)
        except (SourceError, MissingDependencyError) as error:
            morphology = error
        if model.kind in _POINTS or (len(numbers) == 1 and numbers[0] == 0):
            return self._soma(model, morphology, numbers)
        found, reason = self._compartments(model, morphology, numbers, positions)
        if found is None:
            found = np.full((len(numbers), len(COLUMNS)), np.nan)
            if self._has_soma(morphology) and np.count_nonzero(numbers == 0) == 1:
                found[numbers == 0] = self._soma(model, morphology, numbers[numbers == 0]).values
        unknown = int(np.isnan(found[:, 0]).sum())
        return _Shape(found, ((reason, unknown),) if unknown else ())

    def _has_soma(self, morphology: Morphology | Exception) -> bool:
        """Return True if section 0 is the soma, and is where the cell is."""
        if not str(self.report.provenance.get("kind")).startswith("compartment"):
            return False
        if isinstance(morphology, Morphology):
            return morphology.soma in {SPHERE, ENDS}
        return not isinstance(morphology, UnsupportedSourceError)

    def _compartments(
        self,
        model: _Model,
        morphology: Morphology | Exception,
        numbers: NDArray[Any],
        positions: NDArray[np.float64],
    ) -> _Found:
        """Return the compartments of several sections, or why they are not known."""
        if np.isnan(positions).any() or numbers.min(initial=0) < 0:
            return None, "their positions in the sections are not known"
        if isinstance(morphology, Exception):
            return None, str(morphology)
        if doubt := self._doubt(model, morphology):
            return None, doubt
        return self._fitting(model, morphology, numbers, positions)

    def _morphology(self, model: _Model) -> Morphology:
        """Read the morphology of a cell, unless it was the last one."""
        if not model.morphology:
            msg = "the circuit names no morphology of the cells"
            raise SourceError(msg)
        if self._last is None or self._last[0] != model.morphology:
            self._last = model.morphology, self.files.read(model.morphology)
        return self._last[1]

    def _soma(
        self, model: _Model, morphology: Morphology | Exception, numbers: NDArray[Any]
    ) -> _Shape:
        """Return the shape of compartments that are the soma, or a point neuron."""
        values = np.zeros((len(numbers), len(COLUMNS)))
        values[:, -1] = np.nan
        if model.kind in _POINTS or isinstance(morphology, Exception):
            return _Shape(values)
        values[:] = morphology.segments(np.zeros(len(values), np.intp), 1, 0)
        values[values[:, -1] == 0, -1] = np.nan
        values[:, _SPACE] = 0.0
        if not morphology.is_centered and (self._is_bbp or model.stays):
            values[:, _SPACE] = morphology.center if self._is_bbp else np.nan
            return _Shape(values, () if self._is_bbp else ((_STAYS, len(values)),))
        return _Shape(values)

    def _doubt(self, model: _Model, morphology: Morphology) -> str:
        """Return why the sections of a model are not known, or an empty text."""
        is_point = self._is_bbp or self.files.old_import
        if morphology.soma not in ({SPHERE} if is_point else {SPHERE, ENDS}):
            return "programs differ in where dendrites begin on a soma of several points"
        if self._is_bbp:
            return ""
        if model.stays and not morphology.is_centered:
            return _STAYS
        template = model.template or ""
        if template and not template.startswith(_TEMPLATES):
            return f"model_template {template} has its own sections"
        unknown = model.processors - _REPLACING - _KEEPING
        return f"model_processing {min(unknown)} is not known" if unknown else ""

    def _numberings(self, model: _Model, morphology: Morphology) -> list[NDArray[np.intp]]:
        """Return the section of each number, -1 if it is not in the file, for all programs."""
        types, by_type = morphology.types, np.arange(len(morphology.types))
        if self._is_bbp:
            # neurodamus numbers sections by type, BlueCelluLab as in the file. Axons are replaced.
            orders = (by_type, np.argsort(morphology.file_order))
            return [np.where(np.isin(types[order], (SOMA, AXON)), -1, order) for order in orders]
        replaced = np.concatenate([by_type[types != AXON], [-1, -1]])
        replacing = model.processors & _REPLACING
        if (model.template or "").startswith("nml:"):
            return [replaced]
        if not replacing:
            return [by_type]
        # bmtk keeps the axon if there are no parameters.
        is_idle = replacing == {"aibs_perisomatic"} and not model.parameters
        return [by_type, replaced] if is_idle else [replaced]

    def _fitting(
        self,
        model: _Model,
        morphology: Morphology,
        numbers: NDArray[Any],
        positions: NDArray[np.float64],
    ) -> _Found:
        """Return the segments of a morphology that fit numbers and positions in one way."""
        fitting = []
        for numbering in self._numberings(model, morphology):
            if (numbers >= len(numbering)).any():
                continue
            sections = numbering[numbers]
            known = sections >= 0
            found = self._segments(morphology, sections[known], positions[known])
            if found is not None:
                fitting.append(np.full((len(numbers), len(COLUMNS)), np.nan))
                fitting[-1][known] = found
        if not fitting:
            dl = f" with dL {self.segment:g}"
            return None, f"they do not fit the sections of {model.morphology}{dl}"
        if not np.allclose(fitting[0], fitting[-1], atol=_CLOSE, equal_nan=True):
            return None, "they fit sections in several ways, as programs number them differently"
        if not self._is_bbp:
            fitting[0][:, _SPACE] -= morphology.center
            return fitting[0], "they are stubs that replace the axon"
        if np.count_nonzero(is_soma := numbers == 0) == 1:
            fitting[0][is_soma] = self._soma(model, morphology, numbers[is_soma]).values
        return fitting[0], "they are in the axon, which Blue Brain's programs replace"

    def _segments(
        self, morphology: Morphology, sections: NDArray[np.intp], positions: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """Return the segments at positions in sections, or None if the sections have others."""
        distinct, first, counts = np.unique(sections, return_inverse=True, return_counts=True)
        lengths = morphology.lengths[distinct]
        # NEURON has the lengths as float32.
        low, high = (
            1 + 2 * np.floor((lengths + shift) / (2 * self.segment)) for shift in (-_CLOSE, _CLOSE)
        )
        expected = np.where(counts == high, high, low)
        is_center = self._is_bbp and (counts == 1).all()
        if not (is_center or (counts == expected).all()):
            return None
        number = np.floor(positions * expected[first])
        exact = np.abs(positions * expected[first] - number - 0.5) <= _EXACT * expected[first]
        pairs = np.stack([sections, number])
        if not exact.all() or np.unique(pairs, axis=1).shape[1] < len(sections):
            return None
        return morphology.segments(sections, expected[first], number)
