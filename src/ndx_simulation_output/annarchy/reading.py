"""Read saved networks, populations and projections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.annarchy.containers import Loaded, load, resolved
from ndx_simulation_output.errors import NothingRecordedError, SourceError, UnsupportedSourceError
from ndx_simulation_output.recording import (
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    Run,
    SimulationOutput,
)
from ndx_simulation_output.recording.network import Kind, Locality

# Values in any of the forms of ANNarchy's files as flat arrays, by their shape alone.


@dataclass(frozen=True)
class Rows:
    """Where the synapses of each row end, shape (row,), and how many values a file can have."""

    ends: NDArray[np.int64]
    limit: int

    @classmethod
    def of(cls, pre_ranks: Any, n_rows: int, limit: int) -> tuple["Rows", NDArray[np.int64]]:
        """Give the rows of ``pre_ranks``, and the ranks one after the other.

        Raises
        ------
        ValueError
            If there are not ``n_rows`` rows, or more values than the file can have.

        """
        rows = _rows_of(pre_ranks)
        if len(rows) != n_rows:
            msg = f"pre_ranks has {len(rows)} rows; expected {n_rows}, as post_ranks"
            raise ValueError(msg)
        ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
        made = cls(ends, limit)
        ranks = made.flat(rows)
        if ranks.dtype.kind not in "iu" and len(ranks):
            msg = f"pre_ranks are of type {ranks.dtype}; expected integers"
            raise ValueError(msg)
        return made, ranks.astype(np.int64)

    def flat(self, rows: Sequence[Any]) -> NDArray[Any]:
        """Give the values of all rows one after the other.

        Raises
        ------
        ValueError
            If a row has another length, or there are more values than the file can have.

        """
        total = int(self.ends[-1]) if len(self.ends) else 0
        if total > self.limit:
            msg = f"there are {total} synapses, more than the file has bytes"
            raise ValueError(msg)
        found = np.cumsum([len(row) for row in rows], dtype=np.int64)
        if not np.array_equal(found, self.ends):
            msg = "the rows have other lengths than those of pre_ranks"
            raise ValueError(msg)
        if isinstance(rows, np.ndarray):
            return _numbers(rows.reshape(-1))
        return _numbers([one for row in rows for one in row])

    def read(self, value: Any) -> tuple[NDArray[Any], Locality]:
        """Give the values of a quantity and how many it has.

        Raises
        ------
        ValueError
            If it fits neither the rows nor the synapses, or holds no numbers.

        """
        value = resolved(value)
        if not np.ndim(value) if isinstance(value, np.ndarray) else _is_number(value):
            return _numbers(value), "global"
        n_rows = len(self.ends)
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape == (1, n_rows):
            one_row = n_rows == 1 and int(self.ends[-1]) == 1
            return _numbers(value.ravel()), "local" if one_row else "semiglobal"
        if len(value) == n_rows and all(_is_number(one) for one in value):
            return _numbers(list(value)), "semiglobal"
        return self.flat(_rows_of(value)), "local"


def array_of(value: Any, limit: int) -> NDArray[Any]:
    """Give a value of a population as an array of numbers.

    Raises
    ------
    ValueError
        If it holds anything else, or more than the file can have.

    """
    value = resolved(value)
    if isinstance(value, np.ndarray):
        return _numbers(value)
    if isinstance(value, (list, tuple)) and sum(1 for _ in value) > limit:
        msg = "there are more values than the file has bytes"
        raise ValueError(msg)
    if isinstance(value, (list, tuple)) and not all(map(_is_number, value)):
        msg = "a list holds something else than numbers"
        raise ValueError(msg)
    return _numbers(value)


def texts_of(value: Any) -> list[str]:
    """Give a list of text, without what occurs again, of a list, array or single text.

    Raises
    ------
    ValueError
        If it holds anything else.

    """
    value = resolved(value)
    found = [value] if isinstance(value, str) else list(np.ravel(value)) if len(value) else []
    if not all(isinstance(text, str) for text in found):
        msg = "expected names"
        raise ValueError(msg)
    return list(dict.fromkeys(map(str, found)))


def _rows_of(value: Any) -> Sequence[Any]:
    value = resolved(value)
    if isinstance(value, np.ndarray) and value.ndim == 2:
        return value if value.dtype != object else value.tolist()  # type: ignore[return-value]
    rows = [resolved(row) for row in value]
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
        msg = f"the values are no numbers: {error}"
        raise ValueError(msg) from error
    if found.dtype == object:
        found = np.asarray(found.tolist())
    if found.dtype.kind not in "biuf":
        msg = f"the values are of type {found.dtype}; expected numbers"
        raise ValueError(msg)
    return found.astype(found.dtype.newbyteorder("="), copy=False)


# Delays in steps, whichever unit a file has them in.

_TOLERANCE = 1e-3
_NO_DT = "they are not in {}, and the file does not say how long a step is: give dt (ms)"


@dataclass(frozen=True)
class Delays:
    """Delays in seconds and in time steps, of each synapse or of all; None if not known."""

    seconds: NDArray[np.float64] | None
    steps: NDArray[np.int64] | None


def file_delays(value: Any, rows: Rows, dt: float | None) -> Delays:
    """Read the delays of a saved projection, which are in ms.

    Raises
    ------
    ValueError
        If they do not fit the rows, or are no multiples of ``dt``, or it is not given.

    """
    found, locality = rows.read(value)
    if locality == "semiglobal":
        msg = "there is one for each row; expected one for each synapse, or for all"
        raise ValueError(msg)
    return _of_ms(found, dt)


def connectivity_delays(content: Mapping[str, Any], rows: Rows, dt: float | None) -> Delays:
    """Read the delays of a connectivity file: in steps until version 4.8, in ms since 5.0.

    ``max_delay`` and ``uniform_delay`` are in steps in all, so that both can be told apart; where
    the delays differ, they give the length of a step too.

    Raises
    ------
    ValueError
        If they do not fit the rows or ``dt``, or the length of a step is not known.

    """
    uniform, largest = int(content["uniform_delay"]), int(content["max_delay"])
    if uniform >= 0:
        # 0 means no delay, which takes one step.
        return _of_steps(np.array(max(uniform, 1)), dt)
    found, _ = rows.read(content["delay"])
    most = float(found.max()) if found.size else 0.0
    if largest <= 0 or most <= 0:
        msg = f"the largest is {most}, and max_delay is {largest}; expected more than 0"
        raise ValueError(msg)
    if most == largest and (dt is None or not np.isclose(dt, 1)):
        return _of_steps(found, dt)
    inferred = most / largest
    if dt is not None and not np.isclose(dt, inferred):
        msg = f"dt is {dt:g} ms, but the largest delay shows that it is {inferred:g} ms"
        raise ValueError(msg)
    return _of_ms(found, inferred)


def _of_ms(values: NDArray[Any], dt: float | None) -> Delays:
    if dt is None:
        raise ValueError(_NO_DT.format("steps"))
    steps = np.rint(values / dt)
    if not np.isfinite(steps).all() or (abs(values / dt - steps) > _TOLERANCE * abs(steps)).any():
        msg = f"they are no multiples of dt, {dt:g} ms; is it right?"
        raise ValueError(msg)
    return _of_steps(steps, dt)


def _of_steps(values: NDArray[Any], dt: float | None) -> Delays:
    if dt is None:
        raise ValueError(_NO_DT.format("seconds"))
    steps = np.asarray(values).astype(np.int64)
    if not np.array_equal(steps, values):
        msg = "they are in steps, but not whole"
        raise ValueError(msg)
    return Delays(np.asarray(steps * dt / 1000, np.float64), steps)


# Read the files in which ANNarchy 4.6 to 5.0 saves networks, populations and projections.

_SIMULATOR = "ANNarchy"
_WEIGHT = "w"
_RANKS = "post_ranks"


def read(source: str | Path, *, dt: float | None = None) -> SimulationOutput:
    """Read what ANNarchy's ``save`` or ``save_connectivity`` has written, as one state.

    Nothing in the file is run. Files do not say the time step, so ``dt`` (ms) must, but for single
    populations.

    Raises
    ------
    SourceError
        If the file is damaged, holds something else, or does not say what only ``dt`` does.
    UnsupportedSourceError
        If it holds what could run code, or a layout older than ANNarchy 4.5.3.
    NothingRecordedError
        If there is neither a population nor a projection.
    MissingDependencyError
        If it is a MATLAB file and SciPy is not installed.

    Example
    -------
    >>> with read("network.npz", dt=0.5) as output:  # doctest: +SKIP
    ...     output.networks[0].populations[0].quantities

    """
    path = Path(source)
    loaded = load(path)
    try:
        network, notes = _Reading(loaded, dt).network(path.name)
    except SourceError as error:
        msg = f"{path}: {error}"
        raise type(error)(msg) from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        msg = f"{path} contradicts the format of ANNarchy: {type(error).__name__}: {error}"
        raise SourceError(msg) from error
    return SimulationOutput(
        networks=(network,),
        run=Run(simulator=_SIMULATOR, time_step=network.time_step),
        notes=tuple(notes),
        provenance={"format": "annarchy", "files": [path.name]},
    )


class _Reading:
    """Reads the dictionary of one file."""

    def __init__(self, loaded: Loaded, dt: float | None) -> None:
        self.loaded, self.dt = loaded, dt
        self.content = loaded.content
        self.notes: list[str] = []

    def network(self, file: str) -> tuple[NetworkSnapshot, list[str]]:
        if _RANKS in self.content or "geometry" in self.content:
            populations, projections = self._single()
        else:
            populations, projections = self._all()
        if not populations and not projections:
            msg = "there is neither a population nor a projection"
            raise NothingRecordedError(msg)
        step = self._integer("time_step")
        seconds = None if self.dt is None else self.dt / 1000
        if step is not None and self.dt is None:
            msg = "the time is in steps, and the file does not say how long one is: give dt (ms)"
            raise SourceError(msg)
        provenance: dict[str, Any] = {"container": self.loaded.container}
        if (number := self._integer("net_id")) is not None:
            provenance["net_id"] = number
        name = file.partition(".")[0] or "network"
        network = NetworkSnapshot(
            name=name,
            populations=tuple(populations),
            projections=tuple(projections),
            time=None if step is None or self.dt is None else step * self.dt / 1000,
            step=step,
            time_step=seconds,
            simulator=_SIMULATOR,
            provenance=provenance,
        )
        return network, self.notes

    def _integer(self, name: str) -> int | None:
        """Give an entry of the network, unless a population has its name and is there instead."""
        found = self.content.get(name)
        return int(found) if isinstance(found, (int, np.integer)) else None

    def _single(self) -> tuple[list[PopulationSnapshot], list[ProjectionSnapshot]]:
        name = str(self.content.get("name", ""))
        if _RANKS not in self.content:
            return [self._population(name, self.content)], []
        return [], [self._projection(name, self.content)]

    def _all(self) -> tuple[list[PopulationSnapshot], list[ProjectionSnapshot]]:
        listed = _mapping(self.content.get("obj_names", {}))
        order = [*texts_of(listed.get("populations", [])), *texts_of(listed.get("projections", []))]
        populations, projections = [], []
        for name in dict.fromkeys([*order, *self.content]):
            found = resolved(self.content.get(name))
            if name == "obj_names" or not isinstance(found, Mapping):
                if name in order:
                    self.notes.append(f"left out: {name} is listed, but not there")
                continue
            if _RANKS in found:
                projections.append(self._projection(name, found))
            elif "dendrites" in found:
                msg = f"projection {name!r} has the layout of ANNarchy before 4.5.3"
                raise UnsupportedSourceError(msg)
            elif "geometry" in found:
                populations.append(self._population(name, found))
        return populations, projections

    def _population(self, name: str, content: Mapping[str, Any]) -> PopulationSnapshot:
        geometry = tuple(int(n) for n in np.ravel(array_of(content["geometry"], 100)))
        found = []
        for quantity, kind in self._listed(name, content):
            try:
                values = array_of(content[quantity], self.loaded.n_bytes)
            except ValueError as error:
                msg = f"{quantity} of population {name!r}: {error}"
                raise SourceError(msg) from error
            # A population of one neuron has a local value of shape (1,), but not in MATLAB files.
            is_global = not values.shape
            values = values if is_global else values.reshape(-1)
            found.append(Quantity(quantity, values, "global" if is_global else "local", kind))
        return PopulationSnapshot(name, geometry, tuple(found))

    def _projection(self, name: str, content: Mapping[str, Any]) -> ProjectionSnapshot:
        if "pre_ranks" not in content:
            msg = (
                f"projection {name!r} is incomplete: it ends before its delays, as ANNarchy leaves "
                "a .npz of rows of different lengths whose delays differ; save it as .txt"
            )
            raise SourceError(msg)
        post_ranks = np.ravel(array_of(content[_RANKS], self.loaded.n_bytes)).astype(np.int64)
        try:
            rows, pre_ranks = Rows.of(content["pre_ranks"], len(post_ranks), self.loaded.n_bytes)
        except ValueError as error:
            msg = f"projection {name!r}: {error}"
            raise SourceError(msg) from error
        is_connectivity = "uniform_delay" in content and "attributes" not in content
        delays = self._delays(name, content, rows, is_connectivity=is_connectivity)
        listed = [(_WEIGHT, "")] if is_connectivity else self._listed(name, content)
        quantities = [self._synaptic(name, one, content[one], kind, rows) for one, kind in listed]
        return ProjectionSnapshot(
            name=name,
            post_ranks=post_ranks,
            ends=rows.ends,
            pre_ranks=pre_ranks,
            quantities=tuple(quantities),
            pre=_optional_text(content, "pre"),
            post=_optional_text(content, "post"),
            targets=tuple(texts_of(content["target"])) if "target" in content else None,
            delays=delays.seconds,
            delay_steps=delays.steps,
            weight=_WEIGHT if any(one.name == _WEIGHT for one in quantities) else None,
        )

    def _synaptic(self, where: str, name: str, value: Any, kind: Any, rows: Rows) -> Quantity:
        try:
            values, locality = rows.read(value)
        except (ValueError, TypeError) as error:
            msg = f"{name} of projection {where!r}: {error}"
            raise SourceError(msg) from error
        if name == _WEIGHT and locality == "global":
            locality = "shared"
        return Quantity(name, values, locality, kind)

    def _delays(
        self, name: str, content: Mapping[str, Any], rows: Rows, *, is_connectivity: bool
    ) -> Delays:
        try:
            if is_connectivity:
                return connectivity_delays(content, rows, self.dt)
            if "delays" not in content:
                self.notes.append(f"projection {name}: the file does not say its delays")
                return Delays(None, None)
            return file_delays(content["delays"], rows, self.dt)
        except (ValueError, TypeError) as error:
            msg = f"delays of projection {name!r}: {error}"
            raise SourceError(msg) from error

    def _listed(self, where: str, content: Mapping[str, Any]) -> list[tuple[str, Kind]]:
        """Give the quantities that are listed and there, with their kinds."""
        kinds: dict[str, Kind] = dict.fromkeys(texts_of(content.get("parameters", [])), "parameter")
        kinds |= dict.fromkeys(texts_of(content.get("variables", [])), "variable")
        listed = texts_of(content.get("attributes", []))
        found: list[tuple[str, Kind]] = []
        for name in listed or kinds:
            if name not in content:
                self.notes.append(f"left out: {name} of {where} is listed, but has no value")
                continue
            found.append((name, kinds.get(name, "")))
        return found


def _mapping(value: Any) -> Mapping[str, Any]:
    found = resolved(value)
    return found if isinstance(found, Mapping) else {}


def _optional_text(content: Mapping[str, Any], key: str) -> str | None:
    return texts_of(content[key])[0] if key in content else None
