"""The state of a network as NWB objects, and back."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import VectorIndex
from numpy.typing import NDArray

from ndx_simulation_output.errors import ExportError, ShapeMismatchError, SourceError
from ndx_simulation_output.nwb.types import NetworkState, PopulationState, ProjectionState
from ndx_simulation_output.recording import (
    LazyArray,
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)
from ndx_simulation_output.recording.arrays import size_in_bytes
from ndx_simulation_output.recording.ids import free_name
from ndx_simulation_output.storage.columns import Column, ColumnLayout, plan_column
from ndx_simulation_output.storage.writing import GZIP_LEVEL

# Where the columns of a state go: into memory, or into a file, which is filled in later.

ColumnPlace = Callable[[LazyArray], Any]
"""Gives what stands for the values of a column, shape (row,): an array, or a place in a file."""

_SMALL = 2**13


def in_memory(values: LazyArray) -> Any:
    """Give the values themselves."""
    return np.asarray(values[:])


class PlacedColumns:
    """Makes places for the columns of an HDF5 file, and knows afterwards what belongs there."""

    def __init__(self) -> None:
        self._placed: list[tuple[H5DataIO, LazyArray, ColumnLayout]] = []

    def place(self, values: LazyArray) -> Any:
        """Give a place for a column, shape (row,), or its values if they are few."""
        if size_in_bytes(values) < _SMALL:
            return in_memory(values)
        layout = plan_column(values)
        made = H5DataIO(
            shape=tuple(values.shape),
            dtype=values.dtype,
            chunks=(layout.chunk,),
            compression="gzip",
            compression_opts=GZIP_LEVEL,
            shuffle=layout.is_shuffled,
        )
        self._placed.append((made, values, layout))
        return made

    def columns(self) -> list[Column]:
        """Give what is to be filled in, once the file has its datasets."""
        return [Column(place.dataset, values, layout) for place, values, layout in self._placed]


# The state of a network as NWB objects, and read back as it was.

_EXACT = 2**53
"""Integers up to here are the same in float64."""

_PRE_RANK, _WEIGHT, _DELAY, _STEPS = "pre_rank", "weight", "delay", "delay_steps"
_State = TypeVar("_State", PopulationState, ProjectionState)


def make_state(network: NetworkSnapshot, name: str, place: ColumnPlace = in_memory) -> NetworkState:
    """Make an NWB object of the state of a network; ``place`` gives what columns hold.

    Raises
    ------
    ExportError
        If a value that stands alone is no number, or an integer that float64 cannot hold.

    """
    taken = set(dir(NetworkState))
    populations = [
        _population(population, _free(population.name, taken), number, place)
        for number, population in enumerate(network.populations)
    ]
    projections = [
        _projection(projection, _free(projection.name, taken), number, place)
        for number, projection in enumerate(network.projections)
    ]
    constants: dict[str, Any] = {}
    if network.constants:
        constants["constant_name"] = list(network.constants)
        constants["constant_value"] = np.array(list(network.constants.values()), np.float64)
    made: NetworkState = NetworkState(
        name=name,
        population_states=populations,
        projection_states=projections,
        time=network.time,
        step=network.step,
        time_step=network.time_step,
        seed=network.seed,
        simulator=network.simulator,
        simulator_version=network.simulator_version,
        not_contained=network.not_contained,
        provenance=json.dumps({"name": network.name, **network.provenance}),
        **constants,
    )
    return made


def read_state(state: NetworkState) -> NetworkSnapshot:
    """Read the state of a network as it was; values of neurons and synapses stay in the file.

    Raises
    ------
    SourceError
        If the object contradicts itself.

    """
    try:
        return _read(state)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        msg = f"network state {state.name!r} cannot be read: {error}"
        raise SourceError(msg) from error


def _read(state: NetworkState) -> NetworkSnapshot:
    provenance = json.loads(state.provenance) if state.provenance else {}
    names = [] if state.constant_name is None else state.constant_name[:]
    values = [] if state.constant_value is None else state.constant_value[:]
    return NetworkSnapshot(
        name=str(provenance.pop("name", state.name)),
        populations=tuple(map(_read_population, _in_order(state.population_states))),
        projections=tuple(map(_read_projection, _in_order(state.projection_states))),
        constants=dict(zip(map(_text, names), map(float, values), strict=True)),
        time=None if state.time is None else float(state.time),
        step=None if state.step is None else int(state.step),
        time_step=None if state.time_step is None else float(state.time_step),
        seed=None if state.seed is None else int(state.seed),
        simulator=state.simulator,
        simulator_version=state.simulator_version,
        not_contained=state.not_contained or "",
        provenance=provenance,
    )


def _in_order(states: Mapping[str, _State] | None) -> Iterable[_State]:
    last = len(states or {})
    return sorted(
        (states or {}).values(),
        key=lambda state: (last if state.place is None else int(state.place), state.name),
    )


def _population(
    population: PopulationSnapshot, name: str, number: int, place: ColumnPlace
) -> PopulationState:
    names = _column_names(population.quantities, {}, PopulationState)
    columns = {
        names[quantity.name]: place(quantity.values)
        for quantity in population.quantities
        if quantity.name in names
    }
    made: PopulationState = PopulationState.from_arrays(
        population.geometry,
        columns,
        name=name,
        description=f"The state of population {population.name}",
        descriptions=_descriptions(population.quantities, names),
        title=population.name,
        place=number,
        model=population.model,
        **_catalogue(population.quantities, names, population.name),
    )
    return made


def _projection(
    projection: ProjectionSnapshot, name: str, number: int, place: ColumnPlace
) -> ProjectionState:
    own = {} if projection.weight is None else {projection.weight: _WEIGHT}
    names = _column_names(projection.quantities, own, ProjectionState)
    delays = {_DELAY: projection.delays, _STEPS: projection.delay_steps}
    columns = {_PRE_RANK: place(projection.pre_ranks)}
    columns |= {
        column: place(values)
        for column, values in delays.items()
        if values is not None and values.shape
    }
    row_columns: dict[str, Any] = {}
    for quantity in projection.quantities:
        if quantity.name in names:
            put = columns if quantity.locality == "local" else row_columns
            put[names[quantity.name]] = place(quantity.values)
    made: ProjectionState = ProjectionState.from_arrays(
        np.asarray(projection.post_ranks[:]),
        np.asarray(projection.ends[:]),
        columns,
        name=name,
        row_columns=row_columns,
        hold=place,
        description=f"The state of projection {projection.name}",
        descriptions={
            _PRE_RANK: "Rank of the pre-synaptic neuron of each synapse, in its population",
            _DELAY: "Delay of each synapse, in seconds",
            _STEPS: "Delay of each synapse, in time steps",
            **_descriptions(projection.quantities, names),
        },
        title=projection.name,
        place=number,
        pre=projection.pre,
        post=projection.post,
        target=None if projection.targets is None else list(projection.targets),
        weight_name=projection.weight,
        uniform_delay=_uniform(projection.delays, float),
        uniform_delay_steps=_uniform(projection.delay_steps, int),
        model=projection.model,
        **_catalogue(projection.quantities, names, projection.name),
    )
    return made


def _uniform(values: LazyArray | None, kind: type) -> Any:
    return None if values is None or values.shape else kind(values[()])


def _free(name: str, taken: set[str]) -> str:
    """Give a name that NWB allows and nothing else has."""
    named = name.replace("/", "_").replace(":", "_").replace("\0", "_").strip(".") or "unnamed"
    found = free_name(named, taken)
    taken.add(found)
    return found


def _column_names(
    quantities: Iterable[Quantity], own: Mapping[str, str], kind: Any
) -> dict[str, str]:
    """Name the columns of the quantities that have one; ``own`` are columns of the type."""
    reserved = {*dir(kind), *(column["name"] for column in kind.__columns__), "id", "colnames"}
    taken = {*reserved, *(f"{name}_index" for name in reserved)}
    found: dict[str, str] = {}
    for quantity in quantities:
        if quantity.locality in {"shared", "global"}:
            continue
        if quantity.name in own and quantity.locality == "local":
            found[quantity.name] = own[quantity.name]
            continue
        found[quantity.name] = _free(quantity.name, taken)
        taken.add(f"{found[quantity.name]}_index")
    return found


def _descriptions(quantities: Iterable[Quantity], names: Mapping[str, str]) -> dict[str, str]:
    return {
        names[quantity.name]: f"{quantity.kind or 'quantity'} {quantity.name}, {quantity.locality}"
        for quantity in quantities
        if quantity.name in names
    }


def _catalogue(
    quantities: Collection[Quantity], names: Mapping[str, str], where: str
) -> dict[str, Any]:
    """Give the arrays ``quantity_*``, none where there are no quantities."""
    if not quantities:
        return {}
    return {
        "quantity_name": [quantity.name for quantity in quantities],
        "quantity_column": [names.get(quantity.name, "") for quantity in quantities],
        "quantity_value": np.array(
            [
                np.nan if quantity.name in names else _number(quantity, where)
                for quantity in quantities
            ]
        ),
        "quantity_locality": [quantity.locality for quantity in quantities],
        "quantity_kind": [quantity.kind for quantity in quantities],
        "quantity_type": [str(quantity.values.dtype) for quantity in quantities],
        "quantity_declared_type": [quantity.declared_type for quantity in quantities],
    }


def _number(quantity: Quantity, where: str) -> float:
    value = quantity.values[()]
    if quantity.values.dtype.kind not in "biuf":
        msg = f"{quantity.name} of {where} is {value!r}; expected a number"
        raise ExportError(msg)
    if quantity.values.dtype.kind in "iu" and abs(int(value)) > _EXACT:
        msg = f"{quantity.name} of {where} is {value}; expected at most {_EXACT}, as in float64"
        raise ExportError(msg)
    return float(value)


def _read_population(state: PopulationState) -> PopulationSnapshot:
    return PopulationSnapshot(
        name=state.title or state.name,
        geometry=tuple(int(length) for length in state.geometry[:]),
        quantities=_read_quantities(state),
        model=state.model,
    )


def _read_projection(state: ProjectionState) -> ProjectionSnapshot:
    ends = np.asarray(state[_PRE_RANK].data[:]).astype(np.int64)
    for name in state.colnames:
        column = state[name]
        if isinstance(column, VectorIndex) and not np.array_equal(column.data[:], ends):
            msg = f"column {name!r} of {state.name!r} has other rows than {_PRE_RANK!r}"
            raise ShapeMismatchError(msg)
    return ProjectionSnapshot(
        name=state.title or state.name,
        post_ranks=np.asarray(state.id.data[:]).astype(np.int64),
        ends=ends,
        pre_ranks=_values(state, _PRE_RANK),
        quantities=_read_quantities(state),
        pre=state.pre,
        post=state.post,
        targets=None if state.target is None else tuple(map(_text, state.target[:])),
        delays=_delays(state, _DELAY, state.uniform_delay, np.float64),
        delay_steps=_delays(state, _STEPS, state.uniform_delay_steps, np.int64),
        weight=state.weight_name,
        model=state.model,
    )


def _delays(state: Any, column: str, uniform: Any, dtype: type) -> LazyArray | None:
    if column in state.colnames:
        return _values(state, column)
    return None if uniform is None else np.array(uniform, dtype)


def _read_quantities(state: Any) -> tuple[Quantity, ...]:
    if state.quantity_name is None:
        return ()
    texts = {
        key: [_text(text) for text in getattr(state, f"quantity_{key}")[:]]
        for key in ("name", "column", "locality", "kind", "type", "declared_type")
    }
    numbers = state.quantity_value[:]
    return tuple(
        Quantity(
            name,
            _values(state, column) if column else _alone(number, dtype),
            locality,
            kind,
            declared,
        )
        for name, column, locality, kind, dtype, declared, number in zip(
            *texts.values(), numbers, strict=True
        )
    )


def _alone(number: Any, dtype: str) -> NDArray[Any]:
    kind = np.dtype(dtype)
    if kind.kind not in "biuf":
        msg = f"a single value of type {dtype} is not known"
        raise ValueError(msg)
    return np.array(number).astype(kind)


def _values(state: Any, name: str) -> LazyArray:
    column = state[name]
    data = column.target.data if isinstance(column, VectorIndex) else column.data
    values: LazyArray = data if hasattr(data, "dtype") else np.asarray(data)
    return values


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
