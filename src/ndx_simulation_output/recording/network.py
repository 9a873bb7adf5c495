"""The state of a network at one point in time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite, prod
from numbers import Real
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ndx_simulation_output.errors import (
    CellNotFoundError,
    RecordingError,
    ShapeMismatchError,
    UnitError,
    WrongTypeError,
)
from ndx_simulation_output.recording.arrays import LazyArray, as_array
from ndx_simulation_output.recording.display import (
    Facts,
    counted,
    listed,
    quantity_text,
    represent,
    shape_text,
)
from ndx_simulation_output.recording.fields import set_fields, tuple_of
from ndx_simulation_output.recording.ids import as_ids, check_ids, some_of
from ndx_simulation_output.recording.units import UNKNOWN, Unit, as_unit

QuantityKind = Literal["parameter", "variable", ""]
"""The equations change a variable but not a parameter; empty if the kind is not known."""

_LARGEST_INTEGER = 2**63 - 1

Locality = Literal["local", "shared", "semiglobal", "global"]
"""How many values a quantity has.

``local``: one for each neuron or synapse; ``shared``: it is local, but all have the same value;
``semiglobal``: one for each post-synaptic neuron of a projection; ``global``: one.
"""


@dataclass(frozen=True)
class Quantity:
    """A parameter or variable; ``locality`` defines the shape of ``values``, () for a scalar.

    ``declared_type`` is the type that the simulator declares, such as ``double``, empty if it is
    not known. ``unit`` is the unit of the values, a ``Unit`` or text such as ``"mV"``.
    """

    name: str
    values: LazyArray
    locality: Locality = "local"
    kind: QuantityKind = ""
    declared_type: str = ""
    unit: Unit = UNKNOWN

    def __post_init__(self) -> None:
        """Check name and unit, and make lists and numbers arrays."""
        where = f"quantity {self.name!r}"
        for text in (self.name, self.locality, self.kind, self.declared_type):
            if not isinstance(text, str):
                msg = f"name, locality, kind or type of {where} is {text!r:.60}; expected text"
                raise WrongTypeError(msg)
        values = as_array(self.values, f"values of {where}", ndim=None, kinds=None)
        set_fields(self, values=values)
        set_fields(self, unit=as_unit(self.unit, where))

    __repr__ = represent

    def _facts(self) -> Facts:
        yield self.name
        yield " ".join(filter(None, [self.locality, self.kind]))
        yield shape_text(self.values.shape)
        yield quantity_text(None, self.unit) if self.unit.known else ""


@dataclass(frozen=True)
class PopulationSnapshot:
    """A population: neurons sorted by rank, with the last grid coordinate varying fastest.

    ``geometry`` is the shape of the grid, (neuron,) without a grid; ``model`` is the text of the
    model. Values of local quantities have shape (neuron,).
    """

    name: str
    geometry: tuple[int, ...]
    quantities: tuple[Quantity, ...] = ()
    model: str | None = None

    def __post_init__(self) -> None:
        """Check the shapes of the quantities."""
        where = f"population {self.name!r}"
        geometry = as_array(self.geometry, f"the geometry of {where}", kinds="iu")
        set_fields(self, geometry=tuple(map(int, geometry)))
        set_fields(self, quantities=tuple_of(self.quantities, Quantity, f"quantities of {where}"))
        if any(length < 1 for length in self.geometry):
            msg = f"the geometry of {where} is {self.geometry}; expected lengths of at least 1"
            raise ShapeMismatchError(msg)
        _check_text(where, self.name, self.model, *(item.name for item in self.quantities))
        _check(where, self.quantities, {"local": (self.size,)})

    __repr__ = represent

    def _facts(self) -> Facts:
        yield self.name
        yield f"{shape_text(self.geometry)} neurons"
        yield listed(quantity.name for quantity in self.quantities)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.geometry)


class Synapses(NamedTuple):
    """The synapses of a projection: arrays of shape (synapse,), delays in seconds or None."""

    pre_ranks: NDArray[Any]
    post_ranks: NDArray[Any]
    values: Mapping[str, NDArray[Any]]
    delays: NDArray[Any] | None


@dataclass(frozen=True)
class ProjectionSnapshot:
    """A projection, with one row of synapses for each post-synaptic neuron that has synapses.

    ``post_ranks`` and ``ends`` have shape (row,): the ranks of the post-synaptic neurons in their
    whole population, and the end of their synapses in ``pre_ranks``, shape (synapse,).
    ``delays`` (s) and ``delay_steps`` have shape (synapse,), or () if all are equal, and are None
    if they are not known. Values of local quantities have shape (synapse,), of semiglobal ones
    (row,). ``weight`` is the name of the weight quantity. ``pre`` and ``post``, the populations,
    and ``targets`` are None if they are not known.
    """

    name: str
    post_ranks: LazyArray
    ends: LazyArray
    pre_ranks: LazyArray
    quantities: tuple[Quantity, ...] = ()
    pre: str | None = None
    post: str | None = None
    targets: tuple[str, ...] | None = None
    delays: LazyArray | None = None
    delay_steps: LazyArray | None = None
    weight: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        """Check that rows and quantities agree with the number of synapses."""
        where = f"projection {self.name!r}"
        set_fields(self, quantities=tuple_of(self.quantities, Quantity, f"quantities of {where}"))
        for name in ("post_ranks", "ends", "pre_ranks"):
            values = as_array(getattr(self, name), f"{name} of {where}", kinds="iu")
            if isinstance(values, np.ndarray):
                check_ids(values, f"{name} of {where}")
            set_fields(self, **{name: values})
        for name in ("delays", "delay_steps"):
            if getattr(self, name) is not None:
                values = as_array(getattr(self, name), f"{name} of {where}", ndim=None)
                set_fields(self, **{name: values})
        targets = () if self.targets is None else tuple_of(self.targets, str, f"targets of {where}")
        if self.targets is not None:
            set_fields(self, targets=targets)
        names = (self.name, self.pre, self.post, *targets, self.model)
        _check_text(where, *names, *(item.name for item in self.quantities))
        rows, synapses = tuple(self.post_ranks.shape), tuple(self.pre_ranks.shape)
        if tuple(self.ends.shape) != rows:
            msg = f"{where} has {rows} post-synaptic ranks but {self.ends.shape} ends of rows"
            raise ShapeMismatchError(msg)
        ends = self.ends[:]
        last = int(ends[-1]) if len(ends) else 0
        ascending = not len(ends) or (int(ends[0]) >= 0 and bool((ends[1:] >= ends[:-1]).all()))
        if not ascending or synapses != (last,):
            msg = f"the rows of {where} end at {ends}; expected them to ascend to {synapses}"
            raise ShapeMismatchError(msg)
        _check(where, self.quantities, {"local": synapses, "semiglobal": rows})
        for name, delays in (("delays", self.delays), ("delay_steps", self.delay_steps)):
            if delays is not None and tuple(delays.shape) not in {(), synapses}:
                msg = f"{name} of {where} have shape {delays.shape}; expected () or {synapses}"
                raise ShapeMismatchError(msg)

    __repr__ = represent

    def _facts(self) -> Facts:
        yield self.name
        yield f"{self.pre or 'unknown'} to {self.post or 'unknown'}"
        yield counted(self.pre_ranks.shape[0], "synapses")
        yield listed(quantity.name for quantity in self.quantities)

    @classmethod
    def from_synapses(
        cls,
        name: str,
        pre_ranks: ArrayLike,
        post_ranks: ArrayLike,
        values: Mapping[str, ArrayLike],
        *,
        pre: str | None = None,
        post: str | None = None,
        delays: ArrayLike | None = None,
        weight: str | None = None,
        units: Mapping[str, Unit | str] | None = None,
    ) -> "ProjectionSnapshot":
        """Create a projection from a list of synapses in any order.

        ``pre_ranks``, ``post_ranks``, each of the ``values`` by name, and ``delays`` (s) have shape
        (synapse,); a scalar delay applies to all. The order of synapses of a neuron is preserved.
        ``units`` are the known units of the values by name.

        Raises
        ------
        ShapeMismatchError
            If the arrays differ in length.
        UnitError
            If a unit cannot be parsed, or is that of a name without values.

        Example
        -------
        >>> found = ProjectionSnapshot.from_synapses(
        ...     "e_to_i", [0, 1, 2], [5, 3, 5], {"w": [0.1, 0.2, 0.3]}, weight="w"
        ... )
        >>> found.post_ranks.tolist(), found.ends.tolist(), found.pre_ranks.tolist()
        ([3, 5], [1, 3], [1, 0, 2])

        """
        units = {} if units is None else units
        if not isinstance(values, Mapping) or not isinstance(units, Mapping):
            msg = f"values or units of projection {name!r} are no mapping; expected them by name"
            raise WrongTypeError(msg)
        if weight is not None and weight not in list(values):
            msg = f"the weight of projection {name!r} is {weight!r:.60}; expected one of its "
            raise ShapeMismatchError(msg + f"values: {list(values)}")
        if unknown := [key for key in units if key not in values]:
            msg = f"units are set for {unknown} of projection {name!r}; values: {list(values)}"
            raise UnitError(msg)
        targets = np.asarray(as_array(post_ranks, f"post_ranks of projection {name!r}", kinds="iu"))
        order = np.argsort(targets, kind="stable")

        def sort(what: str, array: ArrayLike) -> NDArray[Any]:
            found = np.asarray(as_array(array, f"{what} of projection {name!r}", ndim=None))
            if found.shape != targets.shape:
                msg = (
                    f"{what} of projection {name!r} have shape {found.shape}; expected "
                    f"{targets.shape}, that of post_ranks"
                )
                raise ShapeMismatchError(msg)
            return found[order]

        if delays is not None:
            delays = sort("delays", delays) if np.ndim(delays) else np.asarray(delays)
            if delays.dtype.kind not in "iuf" or not (np.isfinite(delays) & (delays >= 0)).all():
                msg = f"delays of projection {name!r} are {delays!r:.60}; expected seconds from 0"
                raise ShapeMismatchError(msg)
        rows, counts = np.unique(targets, return_counts=True)
        return cls(
            name=name,
            post_ranks=rows,
            ends=np.cumsum(counts),
            pre_ranks=sort("pre_ranks", pre_ranks),
            quantities=tuple(
                Quantity(key, sort(key, array), unit=as_unit(units.get(key, UNKNOWN), key))
                for key, array in values.items()
            ),
            pre=pre,
            post=post,
            delays=delays,
            weight=weight,
        )

    def counts(self) -> NDArray[np.int64]:
        """Return the number of synapses of each row."""
        ends = np.asarray(self.ends[:], np.int64)
        return np.ediff1d(ends, to_begin=ends[:1])

    def to_synapses(self) -> Synapses:
        """Return a list of all synapses, from which ``from_synapses`` makes the same rows.

        Values that many synapses share are repeated.

        Example
        -------
        >>> found = ProjectionSnapshot.from_synapses(
        ...     "e_to_i", [0, 1, 2], [5, 3, 5], {"w": [0.1, 0.2, 0.3]}, delays=0.001
        ... ).to_synapses()
        >>> found.pre_ranks.tolist(), found.post_ranks.tolist(), found.values["w"].tolist()
        ([1, 0, 2], [3, 5, 5], [0.2, 0.1, 0.3])

        """
        counts, shape = self.counts(), self.pre_ranks.shape

        def of_synapses(values: LazyArray, locality: Locality = "local") -> NDArray[Any]:
            read = np.asarray(values[...])
            return (
                np.repeat(read, counts)
                if locality == "semiglobal"
                else np.broadcast_to(read, shape)
            )

        return Synapses(
            np.asarray(self.pre_ranks[:]),
            np.repeat(np.asarray(self.post_ranks[:]), counts),
            {one.name: of_synapses(one.values, one.locality) for one in self.quantities},
            None if self.delays is None else of_synapses(self.delays),
        )

    def afferent(self, cells: Iterable[int] | int) -> "ProjectionSnapshot":
        """Return the synapses onto post-synaptic neurons, by rank; only these are read.

        Raises
        ------
        CellNotFoundError
            If a neuron receives no synapses of this projection.

        Example
        -------
        >>> found = ProjectionSnapshot.from_synapses("e_to_i", [0, 1, 2], [5, 3, 5], {})
        >>> found.afferent(5).pre_ranks.tolist()
        [0, 2]

        """
        ranks = np.asarray(self.post_ranks[:])
        wanted = np.unique(as_ids(cells))
        missing = wanted[~np.isin(wanted, ranks)]
        if len(missing):
            msg = f"neuron {some_of(missing)} receives no synapses of projection {self.name!r}; "
            raise CellNotFoundError(msg + f"it ends at: {some_of(ranks) or 'none'}")
        rows = np.flatnonzero(np.isin(ranks, wanted))
        ends = np.asarray(self.ends[:], np.int64)
        starts = np.append(0, ends[:-1])[rows]
        counts = ends[rows] - starts

        def read(values: LazyArray) -> NDArray[Any]:
            parts = [values[first : first + n] for first, n in zip(starts, counts, strict=True)]
            return np.concatenate([np.asarray(values[:0]), *parts])

        def of_rows(quantity: Quantity) -> Quantity:
            if quantity.locality == "semiglobal":
                return replace(quantity, values=np.asarray(quantity.values[:])[rows])
            is_local = quantity.locality == "local"
            return replace(quantity, values=read(quantity.values)) if is_local else quantity

        delays: dict[str, Any] = {
            name: values if values is None or not values.shape else read(values)
            for name, values in (("delays", self.delays), ("delay_steps", self.delay_steps))
        }
        return replace(
            self,
            post_ranks=ranks[rows],
            ends=np.cumsum(counts),
            pre_ranks=read(self.pre_ranks),
            quantities=tuple(map(of_rows, self.quantities)),
            **delays,
        )


NetworkPart = TypeVar("NetworkPart", PopulationSnapshot, ProjectionSnapshot)


@dataclass(frozen=True)
class NetworkSnapshot:
    """The state of a network, or of parts of it, at one ``time`` (s), after ``step`` time steps.

    ``time_step`` is in seconds. ``constants`` are values that belong to no population. None means
    that a value is not known. ``not_contained`` says what the simulator has and the state has not,
    such as spikes in flight; it is empty if that is not known.
    """

    name: str
    populations: tuple[PopulationSnapshot, ...] = ()
    projections: tuple[ProjectionSnapshot, ...] = ()
    constants: Mapping[str, float] = field(default_factory=dict)
    time: float | None = None
    step: int | None = None
    time_step: float | None = None
    seed: int | None = None
    simulator: str | None = None
    simulator_version: str | None = None
    not_contained: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that step and seed are integers of 64 bits, and that names can be stored."""
        where = f"state {self.name!r}"
        for what, kind in (
            ("populations", PopulationSnapshot),
            ("projections", ProjectionSnapshot),
        ):
            items = tuple_of(getattr(self, what), kind, f"{what} of {where}")
            set_fields(self, **{what: items})
        for what in ("name", "simulator", "simulator_version", "not_contained"):
            if not isinstance(text := getattr(self, what), str | None):
                msg = f"the {what} of {where} is {text!r:.60}; expected text"
                raise WrongTypeError(msg)
        if not isinstance(self.constants, Mapping):
            msg = f"the constants of {where} are {self.constants!r:.60}; expected numbers by name"
            raise WrongTypeError(msg)
        _check_text(where, self.name, self.simulator, self.not_contained, *self.constants)
        numbers = {what: getattr(self, what) for what in ("time", "time_step", "step", "seed")}
        for what, value in {**numbers, **self.constants}.items():
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if value is not None and not is_number:
                msg = f"the {what} of {where} is {value!r:.60}; expected a number"
                raise WrongTypeError(msg)
        if any(value is not None and not isfinite(value) for value in numbers.values()):
            msg = f"a time of {where} is not finite: {numbers}; expected finite numbers"
            raise ShapeMismatchError(msg)
        for what in ("step", "seed"):
            value = getattr(self, what)
            if value is not None and (not 0 <= value <= _LARGEST_INTEGER or value != int(value)):
                msg = f"the {what} of {where} is {value}; expected 0 to {_LARGEST_INTEGER}"
                raise RecordingError(msg)

    __repr__ = represent

    def _facts(self) -> Facts:
        yield self.name
        yield "" if self.time is None else f"at {self.time:g} s"
        yield listed((one.name for one in self.populations), "populations")
        yield listed((one.name for one in self.projections), "projections")

    @property
    def parts(self) -> tuple[PopulationSnapshot | ProjectionSnapshot, ...]:
        """The populations, and after them the projections."""
        return (*self.populations, *self.projections)


def _check_text(where: str, *texts: str | None) -> None:
    """Raise an error for text that HDF5 cannot store."""
    for text in texts:
        if text is None:
            continue
        if not isinstance(text, str):
            msg = f"a name or text of {where} is {text!r:.60}; expected text"
            raise WrongTypeError(msg)
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            msg = f"{text!r:.60} in {where} contains NUL or a lone surrogate; expected text"
            raise RecordingError(msg)


def _check(
    where: str, quantities: tuple[Quantity, ...], shapes: Mapping[Locality, tuple[int, ...]]
) -> None:
    shapes = {**shapes, "shared": (), "global": ()}
    names = [quantity.name for quantity in quantities]
    for quantity in quantities:
        named = f"quantity {quantity.name!r} of {where}"
        if names.count(quantity.name) > 1:
            msg = f"{named} is listed more than once; expected distinct names"
            raise ShapeMismatchError(msg)
        expected = shapes.get(quantity.locality)
        if expected is None:
            msg = f"{named} is {quantity.locality}; only those of projections can be"
            raise ShapeMismatchError(msg)
        if tuple(quantity.values.shape) != expected:
            msg = (
                f"{named} has values of shape {tuple(quantity.values.shape)}; expected {expected}, "
                f"because it is {quantity.locality}"
            )
            raise ShapeMismatchError(msg)
