"""Read the files in which ANNarchy 4.6 to 5.0 saves networks, populations and projections."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ndx_simulation_output.adapters.annarchy.containers import Loaded, is_container, load
from ndx_simulation_output.adapters.annarchy.delays import Delays, connectivity_delays, file_delays
from ndx_simulation_output.adapters.annarchy.rows import Rows, array_of, texts_of
from ndx_simulation_output.adapters.annarchy.unpickling import resolved
from ndx_simulation_output.errors import (
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
from ndx_simulation_output.recording.network import Kind

__all__ = ["is_saved", "read"]

_SIMULATOR = "ANNarchy"
_WEIGHT = "w"
_RANKS = "post_ranks"


def is_saved(path: Path) -> bool:
    """Tell whether a file is in one of ANNarchy's containers, whatever its extension."""
    return is_container(path)


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
