"""Read networks, populations and projections that ANNarchy 4.6 to 5.0 saved."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.annarchy.containers import Loaded, load_dictionary, resolve
from ndx_simulation_output.errors import (
    NameClashError,
    NothingRecordedError,
    SourceError,
    UnsupportedSourceError,
)
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    Run,
    SimulationOutput,
)
from ndx_simulation_output.recording.network import Locality, QuantityKind

SIMULATOR = "ANNarchy"
WEIGHT = "w"
"""ANNarchy's name for the weight of a synapse."""

_NO_TIME_STEP = "the file does not contain the time step; pass dt= (--dt), in ms"


def read(source: str | Path, *, dt: float | None = None) -> SimulationOutput:
    """Return the state in a file of ANNarchy's ``save`` or ``save_connectivity``.

    No code in the file is run.

    Parameters
    ----------
    source
        A pickle (``.txt`` and others), gzipped pickle, ``.npz`` or ``.mat`` file.
    dt
        The time step in ms, which files do not contain. It is required for networks and for
        projections with delays.

    Raises
    ------
    SourceError
        If the file is damaged or not a file of ANNarchy, or if ``dt`` is missing or wrong.
    UnsupportedSourceError
        If the file could run code, or has the layout of ANNarchy before 4.5.3.
    NothingRecordedError
        If the file contains neither a population nor a projection.
    MissingDependencyError
        If it is a MATLAB file and SciPy is not installed.

    Example
    -------
    >>> with read("network.npz", dt=0.5) as output:  # doctest: +SKIP
    ...     output.networks[0].populations[0].quantities

    """
    path = Path(source)
    loaded = load_dictionary(path)
    try:
        network, notes = _StateReader(loaded, dt).read(path.name.partition(".")[0] or "network")
    except SourceError as error:
        msg = f"{path}: {error}"
        raise type(error)(msg) from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        msg = (
            f"{path} does not have the layout of an ANNarchy file: {type(error).__name__}: {error}"
        )
        raise SourceError(msg) from error
    return SimulationOutput(
        networks=(network,),
        run=Run(simulator=SIMULATOR, time_step=network.time_step),
        notes=tuple(notes),
        provenance={"format": "annarchy", "files": [path.name]},
    )


class _StateReader:
    """Converts the dictionary in a file to a network state."""

    def __init__(self, loaded: Loaded, dt: float | None) -> None:
        self.content, self.container, self.limit = loaded.content, loaded.container, loaded.n_bytes
        self.dt = dt
        self.notes: list[str] = []

    def read(self, name: str) -> tuple[NetworkSnapshot, list[str]]:
        populations, projections = self._parts()
        if not populations and not projections:
            msg = "the file contains neither a population nor a projection"
            raise NothingRecordedError(msg)
        step = self._integer("time_step")
        if step is not None and self.dt is None:
            msg = f"the time is in steps, and {_NO_TIME_STEP}"
            raise SourceError(msg)
        net_id = self._integer("net_id")
        network = NetworkSnapshot(
            name=name,
            populations=tuple(populations),
            projections=tuple(projections),
            time=None if step is None or self.dt is None else step * self.dt / 1000,
            step=step,
            time_step=None if self.dt is None else self.dt / 1000,
            simulator=SIMULATOR,
            provenance={
                "container": self.container,
                **({} if net_id is None else {"net_id": net_id}),
            },
        )
        return network, self.notes

    def _integer(self, name: str) -> int | None:
        """Return an integer entry, or None if it is missing or a population has its name."""
        found = self.content.get(name)
        return int(found) if isinstance(found, (int, np.integer)) else None

    def _parts(self) -> tuple[list[PopulationSnapshot], list[ProjectionSnapshot]]:
        own_name = str(self.content.get("name", ""))
        if "post_ranks" in self.content:
            return [], [self._projection(own_name, self.content)]
        if "geometry" in self.content:
            return [self._population(own_name, self.content)], []
        listed = resolve(self.content.get("obj_names", {}))
        listed = listed if isinstance(listed, Mapping) else {}
        names = [
            name
            for key in ("populations", "projections")
            for name in read_names(listed.get(key, []))
        ]
        populations, projections = [], []
        for name in dict.fromkeys([*names, *self.content]):
            part = resolve(self.content.get(name))
            if name == "obj_names" or not isinstance(part, Mapping):
                if name in names:
                    self.notes.append(f"left out: {name}, which is listed but not in the file")
            elif "post_ranks" in part:
                projections.append(self._projection(name, part))
            elif "dendrites" in part:
                msg = f"projection {name!r} has the layout of ANNarchy before 4.5.3"
                raise UnsupportedSourceError(msg)
            elif "geometry" in part:
                populations.append(self._population(name, part))
        return populations, projections

    def _population(self, name: str, content: Mapping[str, Any]) -> PopulationSnapshot:
        geometry = tuple(int(length) for length in np.ravel(read_array(content["geometry"], 100)))
        quantities = []
        for key, kind in self._listed(name, content):
            try:
                values = read_array(content[key], self.limit)
            except ValueError as error:
                msg = f"{key} of population {name!r}: {error}"
                raise SourceError(msg) from error
            # A local value of a single neuron has the shape (1,), except in MATLAB files.
            locality: Locality = "local" if values.shape else "global"
            values = values.reshape(-1) if values.shape else values
            quantities.append(Quantity(key, values, locality, kind))
        return PopulationSnapshot(name, geometry, tuple(quantities))

    def _projection(self, name: str, content: Mapping[str, Any]) -> ProjectionSnapshot:
        if "pre_ranks" not in content:
            msg = (
                f"projection {name!r} is incomplete: the file ends before the delays; ANNarchy "
                "fails to save rows of different lengths with different delays as .npz: save the "
                "projection as .txt"
            )
            raise SourceError(msg)
        post_ranks = np.ravel(read_array(content["post_ranks"], self.limit)).astype(np.int64)
        try:
            rows, pre_ranks = SynapseRows.read_ranks(
                content["pre_ranks"], len(post_ranks), self.limit
            )
        except ValueError as error:
            msg = f"projection {name!r}: {error}"
            raise SourceError(msg) from error
        is_connectivity = "uniform_delay" in content and "attributes" not in content
        delays = self._delays(name, content, rows, is_connectivity=is_connectivity)
        listed = [(WEIGHT, "")] if is_connectivity else self._listed(name, content)
        quantities = [self._synaptic(name, key, content[key], kind, rows) for key, kind in listed]
        return ProjectionSnapshot(
            name=name,
            post_ranks=post_ranks,
            ends=rows.ends,
            pre_ranks=pre_ranks,
            quantities=tuple(quantities),
            pre=read_names(content["pre"])[0] if "pre" in content else None,
            post=read_names(content["post"])[0] if "post" in content else None,
            targets=tuple(read_names(content["target"])) if "target" in content else None,
            delays=delays.seconds,
            delay_steps=delays.steps,
            weight=WEIGHT if any(quantity.name == WEIGHT for quantity in quantities) else None,
        )

    def _synaptic(
        self, where: str, name: str, value: Any, kind: Any, rows: "SynapseRows"
    ) -> Quantity:
        try:
            values, locality = rows.read(value)
        except (ValueError, TypeError) as error:
            msg = f"{name} of projection {where!r}: {error}"
            raise SourceError(msg) from error
        if name == WEIGHT and locality == "global":
            locality = "shared"
        return Quantity(name, values, locality, kind)

    def _delays(
        self, name: str, content: Mapping[str, Any], rows: "SynapseRows", *, is_connectivity: bool
    ) -> "Delays":
        try:
            if is_connectivity:
                return _connectivity_delays(content, rows, self.dt)
            if "delays" not in content:
                self.notes.append(f"projection {name}: the file does not contain the delays")
                return Delays(None, None)
            return read_delays(content["delays"], rows, self.dt)
        except (ValueError, TypeError) as error:
            msg = f"delays of projection {name!r}: {error}"
            raise SourceError(msg) from error

    def _listed(self, where: str, content: Mapping[str, Any]) -> list[tuple[str, QuantityKind]]:
        """Return the names and kinds of the quantities that have a value."""
        kinds: dict[str, QuantityKind] = dict.fromkeys(
            read_names(content.get("parameters", [])), "parameter"
        )
        kinds |= dict.fromkeys(read_names(content.get("variables", [])), "variable")
        found: list[tuple[str, QuantityKind]] = []
        for name in read_names(content.get("attributes", [])) or kinds:
            if name in content:
                found.append((name, kinds.get(name, "")))
            else:
                self.notes.append(f"left out: {name} of {where}, which is listed without a value")
        return found


# Values: their shapes and types differ between versions and containers.


@dataclass(frozen=True)
class SynapseRows:
    """Ends of the rows of synapses, shape (row,), and the maximum number of synapses.

    The limit protects against small files that refer to the same list many times.
    """

    ends: NDArray[np.int64]
    limit: int

    @classmethod
    def read_ranks(
        cls, pre_ranks: Any, n_rows: int, limit: int
    ) -> tuple["SynapseRows", NDArray[np.int64]]:
        """Return the rows of ``pre_ranks``, and the ranks as a flat array."""
        nested = _rows_of(pre_ranks)
        if len(nested) != n_rows:
            msg = f"pre_ranks has {len(nested)} rows; expected {n_rows}, as post_ranks"
            raise ValueError(msg)
        rows = cls(np.cumsum([len(row) for row in nested], dtype=np.int64), limit)
        ranks = rows.flatten(nested)
        if ranks.dtype.kind not in "iu" and len(ranks):
            msg = f"pre_ranks are of type {ranks.dtype}; expected integers"
            raise ValueError(msg)
        return rows, ranks.astype(np.int64)

    def flatten(self, nested: Sequence[Any]) -> NDArray[Any]:
        """Return the values of all rows as an array of shape (synapse,)."""
        total = int(self.ends[-1]) if len(self.ends) else 0
        if total > self.limit:
            msg = (
                f"there are {total} synapses; expected at most {self.limit}, the bytes of the file"
            )
            raise ValueError(msg)
        ends = np.cumsum([len(row) for row in nested], dtype=np.int64)
        if not np.array_equal(ends, self.ends):
            msg = "the lengths of the rows differ from those of pre_ranks"
            raise ValueError(msg)
        if isinstance(nested, np.ndarray):
            return _numbers(nested.reshape(-1))
        return _numbers([value for row in nested for value in row])

    def read(self, value: Any) -> tuple[NDArray[Any], Locality]:
        """Return the values of a quantity, and its locality, which follows from their number."""
        value = resolve(value)
        if not np.ndim(value) if isinstance(value, np.ndarray) else _is_number(value):
            return _numbers(value), "global"
        n_rows = len(self.ends)
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape == (1, n_rows):
            is_one_synapse = n_rows == 1 and int(self.ends[-1]) == 1
            return _numbers(value.ravel()), "local" if is_one_synapse else "semiglobal"
        if len(value) == n_rows and all(map(_is_number, value)):
            return _numbers(list(value)), "semiglobal"
        return self.flatten(_rows_of(value)), "local"


def split_rows(values: NDArray[Any], ends: Any) -> list[list[Any]]:
    """Return values of shape (synapse,) as a list for each row."""
    flat, edges = values.tolist(), [0, *np.asarray(ends[:]).tolist()]
    return [flat[start:end] for start, end in pairwise(edges)]


def read_array(value: Any, limit: int) -> NDArray[Any]:
    """Return a value of a population as an array of at most ``limit`` numbers."""
    value = resolve(value)
    if isinstance(value, (list, tuple)):
        if len(value) > limit:
            msg = f"there are {len(value)} values; expected at most {limit}"
            raise ValueError(msg)
        if not all(map(_is_number, value)):
            msg = "the list contains something other than numbers"
            raise ValueError(msg)
    return _numbers(value)


def read_names(value: Any) -> list[str]:
    """Return the distinct names in a list, an array or a single text."""
    value = resolve(value)
    found = [value] if isinstance(value, str) else list(np.ravel(value)) if len(value) else []
    if not all(isinstance(name, str) for name in found):
        msg = f"expected names, found {value!r:.60}"
        raise ValueError(msg)
    return list(dict.fromkeys(map(str, found)))


def check_distinct(plural: str, names: Iterable[str]) -> None:
    """Raise NameClashError for repeated names; ``plural`` is the kind of object in the message."""
    for name, count in Counter(names).items():
        if count > 1:
            msg = f"two {plural} are named {name!r}; expected distinct names"
            raise NameClashError(msg)


def _rows_of(value: Any) -> Sequence[Any]:
    value = resolve(value)
    if isinstance(value, np.ndarray) and value.ndim == 2:
        return value if value.dtype != object else value.tolist()  # type: ignore[return-value]
    rows = [resolve(row) for row in value]
    if any(not isinstance(row, (list, tuple, np.ndarray)) for row in rows):
        msg = "expected a list for each row"
        raise ValueError(msg)
    return rows


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float, np.generic))


def _numbers(values: Any) -> NDArray[Any]:
    try:
        found = np.asarray(values)
    except (OverflowError, ValueError) as error:
        msg = f"the values are not numbers: {error}"
        raise ValueError(msg) from error
    if found.dtype == object:
        found = np.asarray(found.tolist())
    if found.dtype.kind not in "biuf":
        msg = f"the values are of type {found.dtype}; expected numbers"
        raise ValueError(msg)
    return found.astype(found.dtype.newbyteorder("="), copy=False)


# Delays, which are in ms or in steps.

_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Delays:
    """Delays in seconds and in steps, shape (synapse,), or () for all; None if unknown."""

    seconds: NDArray[np.float64] | None
    steps: NDArray[np.int64] | None


def read_delays(value: Any, rows: SynapseRows, dt: float | None) -> Delays:
    """Return the delays of a projection from values in ms."""
    values, locality = rows.read(value)
    if locality == "semiglobal":
        msg = "there is one value for each row; expected one for each synapse, or one for all"
        raise ValueError(msg)
    return _from_ms(values, dt)


def whole_steps(values: NDArray[Any], dt: float) -> NDArray[np.float64] | None:
    """Return times divided by ``dt``, in the same unit, or None if they are not multiples."""
    exact = values / dt
    steps = np.rint(exact)
    if not np.isfinite(steps).all() or (abs(exact - steps) > _TOLERANCE * abs(steps)).any():
        return None
    return np.asarray(steps, np.float64)


def _connectivity_delays(content: Mapping[str, Any], rows: SynapseRows, dt: float | None) -> Delays:
    """Return the delays of a connectivity file: in steps until ANNarchy 4.8, in ms since 5.0.

    ``max_delay`` and ``uniform_delay`` are always in steps. They determine the unit of ``delay``
    and, if the delays differ, the time step.
    """
    uniform, max_steps = int(content["uniform_delay"]), int(content["max_delay"])
    if uniform >= 0:
        # 0 means no delays: spikes arrive in the next step.
        return _from_steps(np.array(max(uniform, 1)), dt)
    values, _ = rows.read(content["delay"])
    largest = float(values.max()) if values.size else 0.0
    if max_steps <= 0 or largest <= 0:
        msg = f"the largest delay is {largest} and max_delay is {max_steps}; expected more than 0"
        raise ValueError(msg)
    if largest == max_steps and (dt is None or not np.isclose(dt, 1)):
        return _from_steps(values, dt)
    inferred = largest / max_steps
    if dt is not None and not np.isclose(dt, inferred):
        msg = f"dt is {dt:g} ms, but from the largest delay it is {inferred:g} ms"
        raise ValueError(msg)
    return _from_ms(values, inferred)


def _from_ms(values: NDArray[Any], dt: float | None) -> Delays:
    if dt is None:
        msg = f"they are in ms, and {_NO_TIME_STEP}"
        raise ValueError(msg)
    steps = whole_steps(values, dt)
    if steps is None:
        msg = f"they are not multiples of dt, {dt:g} ms; is dt right?"
        raise ValueError(msg)
    return _from_steps(steps, dt)


def _from_steps(values: NDArray[Any], dt: float | None) -> Delays:
    if dt is None:
        msg = f"they are in steps, and {_NO_TIME_STEP}"
        raise ValueError(msg)
    steps = np.asarray(values).astype(np.int64)
    if not np.array_equal(steps, values):
        msg = "they are in steps, but are not integers"
        raise ValueError(msg)
    return Delays(np.asarray(steps * dt / 1000, np.float64), steps)
