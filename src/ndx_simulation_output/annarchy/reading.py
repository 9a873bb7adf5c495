"""Read networks, populations and projections that ANNarchy 4.6 to 5.0 saved."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import inf, prod
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
    file_errors,
    source_errors,
)
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    Run,
    SimulationOutput,
)
from ndx_simulation_output.recording.ids import storable_text
from ndx_simulation_output.recording.network import Locality, QuantityKind

SIMULATOR = "ANNarchy"
WEIGHT = "w"
"""ANNarchy's name for the weight of a synapse."""

NOT_CONTAINED = (
    "Not contained: spikes in flight, earlier rates that are still delayed, remaining refractory "
    "periods, times of last events of event-driven synapses, the spikes in the windows of "
    "compute_firing_rate, decoding projections and hybrid populations, baselines of BOLD "
    "monitors, samples of monitors, the state of random generators, whether populations are "
    "enabled and projections learn, callbacks, weights of filters (convolution, pooling), and "
    "changes of refractory periods, models and structural plasticity after compile. A network that "
    "continues from this state equals the uninterrupted one only if none of these matter."
)
"""Text stored with each state: what a state of ANNarchy does not contain."""

_NO_SCHEDULES = NOT_CONTAINED.replace(
    "callbacks,", "callbacks, schedules of inputs (TimedArray, SpikeSourceArray), constants,"
)

_LARGEST = 2**63 - 1
_MAX_NEURONS_WITHOUT_VALUES = 10_000_000
"""A population in a file of fewer bytes than neurons has at most this many."""

_NO_TIME_STEP = "the file does not contain the time step: dt= (--dt), in ms, sets it"


def read(source: str | Path, *, dt: float | None = None) -> SimulationOutput:
    """Return the state in a file of ANNarchy's ``save`` or ``save_connectivity``.

    No code in the file is run.

    Parameters
    ----------
    source
        A pickle (``.txt`` and others), gzipped pickle, ``.npz`` or ``.mat`` file.
    dt
        The time step in ms, which files do not contain. Without it the time of a network is known
        in steps only, as are delays in some versions.

    Raises
    ------
    SourceError
        If the file is damaged, incomplete or not a file of ANNarchy, if ``dt`` is wrong,
        or if the file contains a step, name, size, rank or delay that no network can have.
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
    if dt is not None and not 0 < dt < inf:
        msg = f"{path}: dt is {dt} ms; expected more than 0"
        raise SourceError(msg)
    loaded = load_dictionary(path)
    name = storable_text(path.name.partition(".")[0])
    with file_errors(path), source_errors(f"{path} does not have the layout of an ANNarchy file"):
        network, notes = _StateReader(loaded, dt).read(name or "network")
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
            found = ", ".join(list(self.content)[:9]) or "nothing"
            msg = (
                "the file contains neither a population nor a projection, as save writes them; "
                f"found: {found}. Data of monitors have no times and cells: add the monitors "
                "themselves with annarchy.add_recordings"
            )
            raise NothingRecordedError(msg)
        step = self._integer("time_step")
        if self.dt is None and (step is not None or any(_has_delays(one) for one in projections)):
            self.notes.append(_NO_TIME_STEP)
        net_id = self._integer("net_id")
        for projection in projections:
            self._check_ranks(projection, {part.name: part.size for part in populations})
        network = NetworkSnapshot(
            name=name,
            populations=tuple(populations),
            projections=tuple(projections),
            time=None if step is None or self.dt is None else to_seconds(step, self.dt),
            step=step,
            time_step=None if self.dt is None else to_seconds(1, self.dt),
            simulator=SIMULATOR,
            not_contained=_NO_SCHEDULES,
            provenance={
                "container": self.container,
                **({} if net_id is None else {"net_id": net_id}),
            },
        )
        return network, self.notes

    def _integer(self, name: str) -> int | None:
        """Return an integer entry, or None if a part or a quantity of a part has its name."""
        found = resolve(self.content.get(name))
        if self._has("post_ranks") or self._has("geometry"):
            return None
        return None if found is None or isinstance(found, Mapping) else read_integer(found, name)

    def _has(self, name: str) -> bool:
        """Return True for an entry of a single part; parts of a network are dictionaries."""
        return not isinstance(resolve(self.content.get(name, {})), Mapping)

    def _parts(self) -> tuple[list[PopulationSnapshot], list[ProjectionSnapshot]]:
        if any(map(self._has, ("post_ranks", "geometry", "name", "attributes", "target"))):
            return self._single_part(str(self.content.get("name", "")))
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
                    self.notes.append(
                        f"left out: {name}, which is listed but missing: the file is incomplete"
                    )
            elif "post_ranks" in part:
                projections.append(self._projection(name, part))
            elif "dendrites" in part:
                msg = f"projection {name!r} has the layout of ANNarchy before 4.5.3"
                raise UnsupportedSourceError(msg)
            elif "geometry" in part:
                populations.append(self._population(name, part))
        if names and not populations and not projections:
            msg = f"the file is incomplete: it ends before {', '.join(names)}"
            raise SourceError(msg)
        return populations, projections

    def _single_part(self, name: str) -> tuple[list[PopulationSnapshot], list[ProjectionSnapshot]]:
        if self._has("post_ranks"):
            return [], [self._projection(name, self.content)]
        if self._has("geometry"):
            return [self._population(name, self.content)], []
        msg = f"{name!r} is incomplete: the file ends before its sizes and values"
        raise SourceError(msg)

    def _population(self, name: str, content: Mapping[str, Any]) -> PopulationSnapshot:
        geometry = self._geometry(name, content)
        quantities = []
        for key, kind in self._listed(name, content):
            with source_errors(f"{key} of population {name!r}"):
                values = read_array(content[key], self.limit)
            # A local value of a single neuron has the shape (1,), except in MATLAB files.
            locality: Locality = "local" if values.shape else "global"
            values = values.reshape(-1) if values.shape else values
            quantities.append(Quantity(key, values, locality, kind))
        return PopulationSnapshot(name, geometry, tuple(quantities))

    def _geometry(self, name: str, content: Mapping[str, Any]) -> tuple[int, ...]:
        where = f"population {name!r}"
        lengths = resolve(content["geometry"])
        if isinstance(lengths, np.ndarray) and lengths.size == max(lengths.shape, default=1):
            lengths = lengths.ravel().tolist()
        geometry = tuple(
            read_integer(length, f"a length of the geometry of {where}", least=1)
            for length in (lengths if isinstance(lengths, (list, tuple)) else [lengths])
        )
        size, limit = prod(geometry), max(self.limit, _MAX_NEURONS_WITHOUT_VALUES)
        if not geometry or size > limit:
            msg = f"the geometry of {where}, {geometry}, has {size} neurons; expected 1 to {limit}"
            raise SourceError(msg)
        if "size" in content and read_integer(content["size"], f"the size of {where}") != size:
            msg = f"the size of {where} is {content['size']}, but its geometry is {geometry}"
            raise SourceError(msg)
        return geometry

    def _projection(self, name: str, content: Mapping[str, Any]) -> ProjectionSnapshot:
        if "pre_ranks" not in content:
            msg = (
                f"projection {name!r} is incomplete: the file ends before the synapses; ANNarchy "
                "breaks off at a value that it cannot save, such as different delays in rows of "
                "different lengths in .npz: save the projection as .txt"
            )
            raise SourceError(msg)
        with source_errors(f"post_ranks of projection {name!r}"):
            post_ranks = read_ranks(np.ravel(read_array(content["post_ranks"], self.limit)))
        with source_errors(f"projection {name!r}"):
            rows, pre_ranks = SynapseRows.read_ranks(
                content["pre_ranks"], len(post_ranks), self.limit
            )
        is_connectivity = "uniform_delay" in content and "attributes" not in content
        delays = self._delays(name, content, rows, is_connectivity=is_connectivity)
        if is_connectivity:
            for key, count in (("size", len(post_ranks)), ("nb_synapses", len(pre_ranks))):
                if key in content and read_integer(content[key], key) != count:
                    msg = f"{key} of projection {name!r} is {content[key]}, but there are {count}"
                    raise SourceError(msg)
        listed = [(WEIGHT, "")] if is_connectivity else self._listed(name, content)
        quantities = [self._synaptic(name, key, content[key], kind, rows) for key, kind in listed]
        return ProjectionSnapshot(
            name=name,
            post_ranks=post_ranks,
            ends=rows.ends,
            pre_ranks=pre_ranks,
            quantities=tuple(quantities),
            pre=_population_name(name, "pre", content),
            post=_population_name(name, "post", content),
            targets=tuple(read_names(content["target"])) if "target" in content else None,
            delays=delays.seconds,
            delay_steps=delays.steps,
            weight=WEIGHT if any(quantity.name == WEIGHT for quantity in quantities) else None,
        )

    def _synaptic(
        self, where: str, name: str, value: Any, kind: Any, rows: "SynapseRows"
    ) -> Quantity:
        with source_errors(f"{name} of projection {where!r}"):
            values, locality = rows.read(value)
        if name == WEIGHT and locality == "global":
            locality = "shared"
        return Quantity(name, values, locality, kind)

    def _delays(
        self, name: str, content: Mapping[str, Any], rows: "SynapseRows", *, is_connectivity: bool
    ) -> "Delays":
        with source_errors(f"delays of projection {name!r}"):
            if is_connectivity:
                return _connectivity_delays(content, rows, self.dt)
            if "delays" not in content:
                self.notes.append(f"projection {name}: the file does not contain the delays")
                return Delays(None, None)
            return read_delays(content["delays"], rows, self.dt)

    def _check_ranks(self, projection: ProjectionSnapshot, sizes: Mapping[str, int]) -> None:
        """Raise an error for ranks that a population does not have; note repeated synapses."""
        where = f"of projection {projection.name!r}"
        post_ranks, pre_ranks = np.asarray(projection.post_ranks), np.asarray(projection.pre_ranks)
        counts = projection.counts()
        sides = (("post", projection.post, post_ranks), ("pre", projection.pre, pre_ranks))
        for side, population, ranks in sides:
            size = sizes.get(population or "", _LARGEST)
            if len(ranks) and ranks.max() >= size:
                msg = (
                    f"{side}-synaptic rank {ranks.max()} {where} is out of range: population "
                    f"{population!r} has {size} neurons"
                )
                raise SourceError(msg)
        ranks, rows_of_rank = np.unique(post_ranks, return_counts=True)
        if (rows_of_rank > 1).any():
            rank = ranks[int(np.argmax(rows_of_rank > 1))]
            msg = f"post-synaptic rank {rank} {where} is in more than one row"
            raise SourceError(msg)
        rows = np.repeat(post_ranks, counts)
        order = np.lexsort((pre_ranks, rows))
        is_repeated = (np.diff(pre_ranks[order]) == 0) & (np.diff(rows[order]) == 0)
        if is_repeated.any():
            synapse = order[int(np.argmax(is_repeated))]
            self.notes.append(
                f"projection {projection.name}: neuron {pre_ranks[synapse]} is connected to neuron "
                f"{rows[synapse]} more than once"
            )

    def _listed(self, where: str, content: Mapping[str, Any]) -> list[tuple[str, QuantityKind]]:
        """Return the names and kinds of the quantities that have a value."""
        kinds: dict[str, QuantityKind] = dict.fromkeys(
            read_names(content.get("parameters", [])), "parameter"
        )
        kinds |= dict.fromkeys(read_names(content.get("variables", [])), "variable")
        found: list[tuple[str, QuantityKind]] = []
        if not where or "" in kinds:
            msg = f"a name in part {where!r} is empty; expected names of parts and quantities"
            raise SourceError(msg)
        for name in read_names(content.get("attributes", [])) or kinds:
            if name in content:
                found.append((name, kinds.get(name, "")))
            else:
                end = "; it may be incomplete" if self.container == "mat" else ""
                self.notes.append(
                    f"left out: {name} of {where}, which is listed without a value{end}"
                )
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
        try:
            return rows, read_ranks(rows.flatten(nested))
        except ValueError as error:
            msg = f"pre_ranks: {error}"
            raise ValueError(msg) from error

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


def read_ranks(ranks: NDArray[Any]) -> NDArray[np.int64]:
    """Return ranks, shape (n,), if they are integers from 0 that int64 can represent."""
    if not len(ranks):
        return ranks.astype(np.int64)
    if ranks.dtype.kind not in "iu":
        msg = f"the ranks are of type {ranks.dtype}; expected integers"
        raise ValueError(msg)
    if ranks.min() < 0 or ranks.max() > _LARGEST:
        is_negative = ranks.min() < 0
        rank, reason = (ranks.min(), "negative") if is_negative else (ranks.max(), "too large")
        msg = f"rank {rank} is {reason}"
        raise ValueError(msg)
    return ranks.astype(np.int64)


def read_integer(value: Any, what: str, *, least: int = 0) -> int:
    """Return a number as an integer; raise SourceError if it is another or out of range."""
    value = resolve(value)
    found = (
        value.item() if isinstance(value, (np.generic, np.ndarray)) and not value.shape else value
    )
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
    # Comparisons with NaN are false.
    if not is_number or not least <= found <= _LARGEST or found != int(found):
        text = " ".join(repr(found).split())
        msg = f"{what} is {text:.60}; expected an integer from {least} to {_LARGEST}"
        raise SourceError(msg)
    return int(found)


def _has_delays(projection: ProjectionSnapshot) -> bool:
    return projection.delays is not None or projection.delay_steps is not None


def _population_name(where: str, side: str, content: Mapping[str, Any]) -> str | None:
    if side not in content:
        return None
    names = read_names(content[side])
    if len(names) != 1:
        msg = f"{side} of projection {where!r} is {names!r:.60}; expected one population"
        raise SourceError(msg)
    return names[0]


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
    if isinstance(value, str):
        return [str(value)]
    found = list(np.ravel(value)) if isinstance(value, np.ndarray) or value else []
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
_LARGEST_STEP = 2**53
"""All integers up to this one can be multiplied by the time step as float64."""


@dataclass(frozen=True)
class Delays:
    """Delays in seconds and in steps, shape (synapse,), or () for all; None if unknown."""

    seconds: NDArray[np.float64] | None
    steps: NDArray[np.int64] | None


def read_delays(value: Any, rows: SynapseRows, dt: float | None) -> Delays:
    """Return the delays of a projection from values in ms."""
    values, locality = rows.read(value)
    if values.dtype.kind == "b":
        msg = "they are booleans; expected times in ms"
        raise ValueError(msg)
    if locality == "semiglobal":
        msg = "there is one value for each row; expected one for each synapse, or one for all"
        raise ValueError(msg)
    return _from_ms(values, dt)


def to_seconds(steps: Any, dt: float) -> Any:
    """Return the times of time steps of ``dt`` ms in seconds, rounded once.

    Example
    -------
    >>> to_seconds(132, 0.1), 132 * 0.1 / 1000
    (0.0132, 0.013200000000000002)

    """
    if not np.isfinite(dt):
        return steps * dt / 1000
    step = Fraction(repr(float(dt))) / 1000
    largest = int(np.max(np.abs(steps), initial=1))
    # Up to this number, integers are exact as floats, and division rounds once.
    if max(largest * step.numerator, step.denominator) > _LARGEST_STEP:
        return steps * dt / 1000
    return steps * step.numerator / step.denominator


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
    uniform = read_integer(content["uniform_delay"], "uniform_delay", least=-1)
    max_steps = read_integer(content["max_delay"], "max_delay")
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
        return Delays(np.asarray(values / 1000, np.float64), None)
    steps = whole_steps(values, dt)
    if steps is None:
        msg = f"they are not multiples of dt, {dt:g} ms; is dt right?"
        raise ValueError(msg)
    return _from_steps(steps, dt)


def _from_steps(values: NDArray[Any], dt: float | None) -> Delays:
    found = np.asarray(values)
    if found.size and not 1 <= found.min() <= found.max() <= _LARGEST_STEP:
        msg = (
            f"they are from {found.min()} to {found.max()} time steps; expected from 1 to "
            f"{_LARGEST_STEP}"
        )
        raise ValueError(msg)
    steps = found.astype(np.int64)
    if not np.array_equal(steps, found):
        msg = "they are in steps, but are not integers"
        raise ValueError(msg)
    seconds = None if dt is None else np.asarray(to_seconds(steps, dt), np.float64)
    return Delays(seconds, steps)
