"""Read morphologies as the sections that NEURON makes of them.

SWC is read with numpy alone. ASC and HDF5 need MorphIO.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    MissingDependencyError,
    SourceError,
    UnsupportedSourceError,
    source_errors,
)
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.sonata.config import is_file
from ndx_simulation_output.storage.sources import TRUST, open_source

SOMA, AXON, BASAL, APICAL = 1, 2, 3, 4
"""Types of sections, as in SWC."""
SPHERE, ENDS, INSIDE = "sphere", "ends", "inside"
"""Kinds of somata."""

_MOST_BYTES = 2**25
_COLUMNS = ("id", "type", "x", "y", "z", "radius", "parent")
_SPHERE = 0.01  # relative tolerance of the lengths of a soma of three points
_SUFFIXES = {"swc": ".swc", "neurolucida-asc": ".asc", "h5v1": ".h5"}
_AXES = slice(0, 3)


@dataclass(frozen=True)
class Morphology:
    """Sections in the order of NEURON: the soma, axon, basal and apical dendrites.

    ``points`` (point, 4) are x, y, z and diameter (µm) of the sections, one after another; ``ends``
    (section,) is the end of each (exclusive), ``types`` (section,) its type. ``file_order``
    (section,) ranks sections by their place in the file. ``soma`` is ``SPHERE`` (one point), or
    says whether neurites begin at the ``ENDS`` of several points, or between them (``INSIDE``).
    ``is_centered`` is True if the origin is in the soma.
    """

    points: NDArray[np.float64]
    ends: NDArray[np.intp]
    types: NDArray[np.int64]
    file_order: NDArray[np.intp]
    soma: str = SPHERE
    is_centered: bool = True

    @cached_property
    def center(self) -> NDArray[np.float64]:
        """Mean of the points of the soma; shape (3,)."""
        center: NDArray[np.float64] = self.points[: self.ends[0], _AXES].mean(axis=0)
        return center

    @cached_property
    def lengths(self) -> NDArray[np.float64]:
        """Length of each section (µm); shape (section,)."""
        return self._arc[self.ends - 1] - self._arc[self._starts]

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        return np.concatenate([np.zeros(1, np.intp), self.ends[:-1]])

    @cached_property
    def _arc(self) -> NDArray[np.float64]:
        """Path length at each point; sections follow each other with a gap of 1 µm."""
        steps = np.linalg.norm(np.diff(self.points[:, _AXES], axis=0), axis=1)
        steps[self.ends[:-1] - 1] = 1.0
        return np.concatenate([np.zeros(1), np.cumsum(steps)])

    def segments(
        self, sections: NDArray[np.intp], counts: NDArray[Any] | int, numbers: NDArray[Any] | int
    ) -> NDArray[np.float64]:
        """Return x, y, z and diameter of segments, shape (segment, 4).

        They are the ``numbers``-th of ``counts`` segments of one length of ``sections``. The
        diameter is the mean along the segment, as in NEURON.
        """
        width = self.lengths[sections] / counts
        start = self._arc[self._starts[sections]] + numbers * width
        centers = start + width / 2
        found = np.stack([np.interp(centers, self._arc, column) for column in self.points.T], 1)
        along = self._integral(start + width) - self._integral(start)
        np.divide(along, width, out=found[:, 3], where=width > 0)
        return found

    def _integral(self, arc: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the integral of the diameter along the path, up to ``arc``."""
        diameters = self.points[:, 3]
        pieces = np.diff(self._arc) * (diameters[1:] + diameters[:-1]) / 2
        integral = np.concatenate([[0.0], np.cumsum(pieces)])
        piece = np.clip(np.searchsorted(self._arc, arc, side="right") - 1, 0, len(pieces) - 1)
        at = np.interp(arc, self._arc, diameters)
        found: NDArray[np.float64] = integral[piece]
        return found + (arc - self._arc[piece]) * (diameters[piece] + at) / 2


@dataclass(frozen=True)
class MorphologyFiles:
    """Where the morphologies of a population are, by the names of formats in a configuration.

    ``folders`` are directories or container files; ``swc`` is the key of ``morphologies_dir``.
    ``old_import`` is True if an older importer of bmtk read them.
    """

    folders: Mapping[str, Path] = field(default_factory=dict)
    trust: bool = False
    old_import: bool = False

    def read(self, name: str) -> Morphology:
        """Read a morphology from the first folder that has it in a form that can be used.

        Raises
        ------
        SourceError, MissingDependencyError
            If there is none: the reason is that for the first folder, or a missing library.

        """
        errors: list[Exception] = []
        for kind, folder in self.folders.items():
            try:
                return self._read(name, kind, folder)
            except (SourceError, MissingDependencyError) as error:
                errors.append(error)
        if not errors:
            msg = "the circuit names no morphologies_dir"
            raise SourceError(msg)
        raise next((one for one in errors if isinstance(one, MissingDependencyError)), errors[0])

    def _read(self, name: str, kind: str, folder: Path) -> Morphology:
        if is_file(folder):
            return _read_with_morphio(folder, name.removesuffix(".h5"))
        if not folder.is_dir():
            msg = f"the directory of morphologies, {folder.name}, does not exist"
            raise SourceError(msg)
        suffix = _SUFFIXES.get(kind, ".swc")
        stem = name[: -len(suffix)] if name.lower().endswith(suffix) else name
        with source_errors(f"morphology {name!r:.60} cannot be found"):
            paths = [folder / name, folder / f"{stem.removesuffix('.swc')}{suffix}"]
            root = folder.resolve()
            paths = [path for path in paths if path.suffix.lower() == suffix]
            inside = [path for path in paths if self.trust or root in path.resolve().parents]
            path = next(filter(is_file, inside), None)
        if not inside:
            msg = f"morphology {name!r:.60} is outside {folder.name}: {TRUST}"
            raise SourceError(msg)
        if path is None:
            msg = f"there is no {inside[-1].name:.60} in {folder.name}"
            raise SourceError(msg)
        return read_swc(path) if suffix == ".swc" else _read_with_morphio(path)


def read_swc(path: Path) -> Morphology:
    """Read an SWC file as NEURON's Import3d does.

    Raises
    ------
    SourceError
        If the file is damaged.
    UnsupportedSourceError
        If programs differ in the sections that they make of it.

    """
    points = _read_points(path)
    ids, types, parents = (points[:, column].astype(np.int64) for column in (0, 1, 6))
    parent = np.searchsorted(ids, parents[1:])
    for is_wrong, what in (
        (points[:, (0, 1, 6)] != np.stack([ids, types, parents], 1), "ids that are not integers"),
        (np.diff(ids) <= 0, "points that are not sorted by id"),
        (parents[:1] != -1, "a root whose parent is not -1"),
        (parents[1:] < 0, "several trees"),
        (parents[1:] >= ids[1:], "points before their parents"),
        (ids[np.minimum(parent, len(ids) - 1)] != parents[1:], "points without parent"),
        (~np.isin(types, (SOMA, AXON, BASAL, APICAL)), "types other than 1 to 4"),
        (types[:1] != SOMA, "no soma at the root"),
        (points[:, 5] < 0, "negative radii"),
    ):
        if np.any(is_wrong):
            msg = f"{path.name} has {what}"
            raise UnsupportedSourceError(msg)
    parent = np.concatenate([[-1], parent])
    if np.any((types[1:] == SOMA) & (types[parent[1:]] != SOMA)):
        msg = f"{path.name} has somata on neurites"
        raise UnsupportedSourceError(msg)
    values = points[:, 2:6] * (1, 1, 1, 2)
    return _sections(path, values, types, parent)


def _check_size(path: Path) -> None:
    if (size := path.stat().st_size) > _MOST_BYTES:
        msg = f"{path.name} has {size} bytes; expected at most {_MOST_BYTES} of a morphology"
        raise SourceError(msg)


def _read_points(path: Path) -> NDArray[np.float64]:
    with source_errors(f"{path.name} cannot be read"):
        _check_size(path)
        lines = path.read_text(encoding="latin-1").lstrip("ï»¿").splitlines()
        kept = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not kept:
            msg = f"{path.name} is empty"
            raise SourceError(msg)
        points = np.loadtxt(io.StringIO("\n".join(kept)), usecols=range(len(_COLUMNS)), ndmin=2)
    if not np.isfinite(points).all() or (np.abs(points) > np.iinfo(np.int32).max).any():
        msg = f"{path.name} has values that are not finite, or too large"
        raise SourceError(msg)
    return points


def _sections(
    path: Path, values: NDArray[np.float64], types: NDArray[np.int64], parent: NDArray[np.intp]
) -> Morphology:
    """Cut the points of a tree into sections."""
    n_soma = int(np.count_nonzero(types == SOMA))
    if (types[:n_soma] != SOMA).any():
        msg = f"{path.name} has a soma whose points are not together"
        raise UnsupportedSourceError(msg)
    n_children = np.bincount(parent[1:], minlength=len(types))
    is_free = not n_children[1:3].any()
    soma, is_sphere = _soma(path, values[:n_soma], parent[:n_soma], is_free=is_free)
    before = np.arange(n_soma, len(types)) - 1
    rest = parent[n_soma:]
    begins = (rest != before) | (n_children[rest] > 1) | (types[n_soma:] != types[rest])
    first = np.flatnonzero(begins) + n_soma
    stops = np.append(first[1:], len(types))[: len(first)]
    if ((stops - first == 1) & (parent[first] < n_soma)).any():
        # NEURON joins some of them to others, and bmtk removes them.
        msg = f"{path.name} has sections of one point on the soma"
        raise UnsupportedSourceError(msg)
    order = np.argsort(types[first], kind="stable")
    parts, is_end = [soma], (0, n_soma - 1)
    for start, stop in zip(first[order], stops[order], strict=True):
        own, root = values[start:stop], int(parent[start])
        is_dropped = root < n_soma and (is_sphere or root not in is_end)
        if not (is_dropped and len(own) > 1):
            own = np.vstack([values[root], own])
            if root < n_soma:
                own[0, 3] = own[1, 3]
        parts.append(own)
    rank = np.concatenate([[0], order + 1])
    found = np.concatenate([[SOMA], types[first[order]]])
    radius = float(soma[:, 3].max()) / 2
    roots = parent[first][parent[first] < n_soma]
    kind = SPHERE if is_sphere else ENDS if np.isin(roots, is_end).all() else INSIDE
    return _made(parts, found, rank, soma=kind, radius=radius)


def _soma(
    path: Path, values: NDArray[np.float64], parent: NDArray[np.intp], *, is_free: bool
) -> tuple[NDArray[np.float64], bool]:
    """Return the points of the soma, and True if it is that of a sphere."""
    if len(values) == 1:
        return _sphere(values[0]), True
    if (parent == np.arange(len(parent)) - 1).all():
        return values, False
    if len(values) == 3:
        center, diameter = values[0], values[0, 3]
        length = np.linalg.norm(values[1:, _AXES] - center[_AXES], axis=1).sum()
        is_close = abs(length - diameter) <= _SPHERE * diameter
        if (values[:, 3] == diameter).all() and is_close and is_free:
            return _sphere(center), True
    msg = f"{path.name} has a soma of several sections"
    raise UnsupportedSourceError(msg)


def _sphere(point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the three points of a cylinder along x that stands for a sphere."""
    shift = np.array([[-0.5], [0.0], [0.5]]) * [1, 0, 0, 0] * point[3]
    found: NDArray[np.float64] = point + shift
    return found


def _made(
    parts: list[NDArray[np.float64]],
    types: NDArray[np.int64],
    file_order: NDArray[np.intp],
    *,
    soma: str = SPHERE,
    radius: float,
) -> Morphology:
    # NEURON stores points as float32.
    points = np.vstack(parts).astype(np.float32).astype(np.float64)
    ends = np.cumsum([len(part) for part in parts])
    distance = float(np.linalg.norm(points[: ends[0], _AXES].mean(axis=0)))
    return Morphology(points, ends, types, file_order, soma, distance <= radius)


def _read_with_morphio(path: Path, name: str | None = None) -> Morphology:
    """Read an ASC or HDF5 file, or the morphology ``name`` of a container, as neurodamus does."""
    morphio = import_optional("morphio", path.name, "morphology")
    with source_errors(f"{path.name} cannot be read"):
        if name is not None or path.suffix.lower() == ".h5":
            _check_hdf5(path, name)
        else:
            _check_size(path)
        morphio.set_maximum_warnings(0)
        if name is None:
            read, given = morphio.Morphology, (str(path),)
        else:
            read, given = morphio.Collection(str(path)).load, (name,)
        by_type = read(*given, morphio.Option.nrn_order)
        in_file = [section.points.tobytes() for section in read(*given).iter()]
        sections = list(by_type.iter())
        types = np.array([int(section.type) for section in sections], np.int64)
        center, around = np.asarray(by_type.soma.center), np.asarray(by_type.soma.points)
    if not len(around) or not np.isin(types, (AXON, BASAL, APICAL)).all():
        what = "no soma" if not len(around) else "types of sections other than axon and dendrites"
        msg = f"{path.name} has {what}"
        raise SourceError(msg)
    # The diameter of a soma that is not one point is not known: 0.
    diameter = float(by_type.soma.diameters[0]) if len(around) == 1 else 0.0
    radius = max(float(np.linalg.norm(around - center, axis=1).mean()), diameter / 2)
    parts = [_sphere(np.array([*center, diameter]))]
    parts += [np.column_stack([section.points, section.diameters]) for section in sections]
    places = {points: place for place, points in enumerate(in_file, 1)}
    rank = [0, *(places[section.points.tobytes()] for section in sections)]
    return _made(parts, np.array([SOMA, *types]), np.array(rank), radius=radius)


def _check_hdf5(path: Path, name: str | None) -> None:
    with open_source(path) as file:
        if name is not None and name not in file:
            msg = f"there is no {name:.60} in {path.name}"
            raise SourceError(msg)
