"""Convert the state of a network to NWB objects and back."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import VectorIndex
from numpy.typing import NDArray

from ndx_simulation_output.errors import (
    ExportError,
    ShapeMismatchError,
    SourceError,
    source_errors,
)
from ndx_simulation_output.nwb.arrays import DeferredArrays
from ndx_simulation_output.nwb.series import column_values, free_nwb_name
from ndx_simulation_output.nwb.types import NetworkState, PopulationState, ProjectionState
from ndx_simulation_output.recording import (
    UNKNOWN,
    LazyArray,
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
    Unit,
)
from ndx_simulation_output.recording.arrays import size_in_bytes
from ndx_simulation_output.recording.units import unit_label
from ndx_simulation_output.storage.columns import Column, ColumnLayout, plan_column
from ndx_simulation_output.storage.writing import GZIP_LEVEL

WrapColumn = Callable[[LazyArray], Any]
"""Returns the data of a column, shape (row,): the values, or an empty dataset to be written."""

_PartState = TypeVar("_PartState", PopulationState, ProjectionState)

_PRE_RANK, _WEIGHT, _DELAY, _STEPS = "pre_rank", "weight", "delay", "delay_steps"
_LARGEST_INTEGER = 2**53
"""All integers up to this one can be stored as float64."""
_SMALL_BYTES = 2**13


def load_column(values: LazyArray) -> Any:
    """Return the values of a column."""
    return np.asarray(values[:])


class DeferredColumns:
    """Columns of an HDF5 file; values are written after the file and its datasets exist.

    Text is among ``arrays``.
    """

    def __init__(self, arrays: DeferredArrays) -> None:
        self._arrays = arrays
        self._wrapped: list[tuple[H5DataIO, LazyArray, ColumnLayout]] = []

    def wrap(self, values: LazyArray) -> Any:
        """Return an empty dataset for a column, shape (row, …), or its values if they are few."""
        if size_in_bytes(values) < _SMALL_BYTES:
            return load_column(values)
        if values.dtype.kind == "O":
            return self._arrays.wrap(values)
        layout = plan_column(values)
        wrapped = H5DataIO(
            shape=tuple(values.shape),
            dtype=values.dtype,
            chunks=(layout.chunk, *values.shape[1:]),
            compression="gzip",
            compression_opts=GZIP_LEVEL,
            shuffle=layout.is_shuffled,
        )
        self._wrapped.append((wrapped, values, layout))
        return wrapped

    def columns(self) -> list[Column]:
        """Return the columns to write; the file and its datasets must exist."""
        return [
            Column(wrapped.dataset, values, layout) for wrapped, values, layout in self._wrapped
        ]


def make_state(network: NetworkSnapshot, name: str, wrap: WrapColumn = load_column) -> NetworkState:
    """Return the NWB object of the state of a network; SourceError if it needs its time step."""
    delays = (each for one in network.projections for each in (one.delays, one.delay_steps))
    is_timed = network.step is not None or any(each is not None for each in delays)
    if "container" in network.provenance and is_timed and network.time_step is None:
        msg = f"the times of {network.name} are in time steps; pass dt= (--dt), in ms"
        raise SourceError(msg)
    used = set(dir(NetworkState))
    populations = [
        _make_population(population, _free_name(population.name, used), number, wrap)
        for number, population in enumerate(network.populations)
    ]
    projections = [
        _make_projection(projection, _free_name(projection.name, used), number, wrap)
        for number, projection in enumerate(network.projections)
    ]
    constants: dict[str, Any] = {}
    if network.constants:
        constants["constant_name"] = list(network.constants)
        constants["constant_value"] = np.array(list(network.constants.values()), np.float64)
    state: NetworkState = NetworkState(
        name=name,
        population_states=populations,
        projection_states=projections,
        time=network.time,
        step=network.step,
        time_step=network.time_step,
        seed=network.seed,
        simulator=network.simulator,
        simulator_version=network.simulator_version,
        not_contained=network.not_contained or None,
        provenance=json.dumps({"name": network.name, **network.provenance}),
        **constants,
    )
    return state


def read_state(state: NetworkState) -> NetworkSnapshot:
    """Read the state of a network; values of neurons and synapses are read when used."""
    with source_errors(f"network state {state.name!r} cannot be read"):
        return _read(state)


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


def _in_order(states: Mapping[str, _PartState] | None) -> Iterable[_PartState]:
    last = len(states or {})
    return sorted(
        (states or {}).values(),
        key=lambda state: (last if state.place is None else int(state.place), state.name),
    )


def _make_population(
    population: PopulationSnapshot, name: str, number: int, wrap: WrapColumn
) -> PopulationState:
    names = column_names(_local_names(population.quantities), {}, PopulationState)
    columns = {
        names[quantity.name]: wrap(quantity.values)
        for quantity in population.quantities
        if quantity.name in names
    }
    state: PopulationState = PopulationState.from_arrays(
        population.geometry,
        columns,
        name=name,
        description=f"The state of population {population.name}",
        descriptions=_descriptions(population.quantities, names),
        title=population.name,
        place=number,
        model=population.model,
        **_quantity_arrays(population.quantities, names, population.name),
    )
    return state


def _make_projection(
    projection: ProjectionSnapshot, name: str, number: int, wrap: WrapColumn
) -> ProjectionState:
    local = (one.name for one in projection.quantities if one.locality == "local")
    fixed = {name: _WEIGHT for name in local if name == projection.weight}
    names = column_names(_local_names(projection.quantities), fixed, ProjectionState)
    delays = {_DELAY: projection.delays, _STEPS: projection.delay_steps}
    columns = {_PRE_RANK: wrap(projection.pre_ranks)}
    columns |= {
        column: wrap(values)
        for column, values in delays.items()
        if values is not None and values.shape
    }
    row_columns: dict[str, Any] = {}
    for quantity in projection.quantities:
        if quantity.name in names:
            target = columns if quantity.locality == "local" else row_columns
            target[names[quantity.name]] = wrap(quantity.values)
    state: ProjectionState = ProjectionState.from_arrays(
        np.asarray(projection.post_ranks[:]),
        np.asarray(projection.ends[:]),
        columns,
        name=name,
        row_columns=row_columns,
        wrap_ends=wrap,
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
        **_quantity_arrays(projection.quantities, names, projection.name),
    )
    return state


def _uniform(values: LazyArray | None, kind: type) -> Any:
    return None if values is None or values.shape else kind(values[()])


def _free_name(name: str, used: set[str]) -> str:
    """Return a name that is not in ``used``, and add it."""
    free = free_nwb_name(name, used)
    used.add(free)
    return free


def column_names(names: Iterable[str], fixed: Mapping[str, str], kind: Any) -> dict[str, str]:
    """Return a free name in a table of this ``kind`` for each of ``names``; some are ``fixed``."""
    reserved = {*dir(kind), *(column["name"] for column in kind.__columns__), "id", "colnames"}
    used = {*reserved, *(f"{name}_index" for name in reserved)}
    found: dict[str, str] = {}
    for name in names:
        found[name] = fixed[name] if name in fixed else _free_name(name, used)
        used |= {f"{found[name]}_index", f"{found[name]}_elements"}
    return found


def _local_names(quantities: Iterable[Quantity]) -> list[str]:
    """Return the names of the quantities that have a column."""
    return [one.name for one in quantities if one.locality not in {"shared", "global"}]


def _descriptions(quantities: Iterable[Quantity], names: Mapping[str, str]) -> dict[str, str]:
    return {
        names[quantity.name]: _description(quantity)
        for quantity in quantities
        if quantity.name in names
    }


def _description(quantity: Quantity) -> str:
    unit = unit_label(quantity.unit)
    text = f"{quantity.kind or 'quantity'} {quantity.name}, {quantity.locality}"
    return f"{text}, in {unit}" if unit else text


def _quantity_arrays(
    quantities: Collection[Quantity], names: Mapping[str, str], owner: str
) -> dict[str, Any]:
    """Return the arrays ``quantity_*``, with an element for each quantity."""
    if not quantities:
        return {}
    units: dict[str, Any] = {}
    if any(quantity.unit.known for quantity in quantities):
        units["quantity_unit"] = [quantity.unit.name for quantity in quantities]
        units["quantity_conversion"] = np.array(
            [_conversion(quantity, owner) for quantity in quantities]
        )
    return {
        **units,
        "quantity_name": [quantity.name for quantity in quantities],
        "quantity_column": [names.get(quantity.name, "") for quantity in quantities],
        "quantity_value": np.array(
            [
                np.nan if quantity.name in names else _single_value(quantity, owner)
                for quantity in quantities
            ]
        ),
        "quantity_locality": [quantity.locality for quantity in quantities],
        "quantity_kind": [quantity.kind for quantity in quantities],
        "quantity_type": [str(quantity.values.dtype) for quantity in quantities],
        "quantity_declared_type": [quantity.declared_type for quantity in quantities],
    }


def _conversion(quantity: Quantity, owner: str) -> float:
    if quantity.unit.offset:
        msg = (
            f"the unit of {quantity.name} of {owner} has the offset {quantity.unit.offset:g}; "
            "expected a unit without offset"
        )
        raise ExportError(msg)
    return quantity.unit.conversion


def _single_value(quantity: Quantity, owner: str) -> float:
    value = quantity.values[()]
    if quantity.values.dtype.kind not in "biuf":
        msg = f"{quantity.name} of {owner} is {value!r}; expected a number"
        raise ExportError(msg)
    if quantity.values.dtype.kind in "iu" and abs(int(value)) > _LARGEST_INTEGER:
        msg = (
            f"{quantity.name} of {owner} is {value}; expected at most {_LARGEST_INTEGER}, the "
            "largest integer that float64 stores exactly"
        )
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
            msg = (
                f"column {name!r} of {state.name!r} does not have as many values in each row as "
                f"column {_PRE_RANK!r}"
            )
            raise ShapeMismatchError(msg)
    return ProjectionSnapshot(
        name=state.title or state.name,
        post_ranks=np.asarray(state.id.data[:]).astype(np.int64),
        ends=ends,
        pre_ranks=column_values(state, _PRE_RANK),
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
        return column_values(state, column)
    return None if uniform is None else np.array(uniform, dtype)


def _read_quantities(state: Any) -> tuple[Quantity, ...]:
    if state.quantity_name is None:
        return ()
    texts = {
        key: [_text(text) for text in getattr(state, f"quantity_{key}")[:]]
        for key in ("name", "column", "locality", "kind", "type", "declared_type")
    }
    numbers = state.quantity_value[:]
    units = [UNKNOWN] * len(numbers)
    if state.quantity_unit is not None and state.quantity_conversion is not None:
        named = zip(state.quantity_unit[:], state.quantity_conversion[:], strict=True)
        units = [Unit(_text(name), float(factor), checked=False) for name, factor in named]
    return tuple(
        Quantity(
            name,
            column_values(state, column) if column else _typed(number, dtype),
            locality,
            kind,
            declared,
            unit,
        )
        for name, column, locality, kind, dtype, declared, number, unit in zip(
            *texts.values(), numbers, units, strict=True
        )
    )


def _typed(number: Any, dtype: str) -> NDArray[Any]:
    if np.dtype(dtype).kind not in "biuf":
        msg = f"a single value has type {dtype}; expected a type of numbers"
        raise ValueError(msg)
    return np.array(number).astype(dtype)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
