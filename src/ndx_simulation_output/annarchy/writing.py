"""Write files that ANNarchy 4.8 and 5.0 load."""

import gzip
import io
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.annarchy.containers import object_array
from ndx_simulation_output.annarchy.reading import WEIGHT, check_distinct, split_rows
from ndx_simulation_output.choices import DelayUnit
from ndx_simulation_output.errors import ExportError
from ndx_simulation_output.files import atomic_file
from ndx_simulation_output.optional import import_optional
from ndx_simulation_output.recording import (
    LazyArray,
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)

Form = Literal["network", "part", "connectivity"]
"""Content of a file: a network, a single population or projection, or only its connections."""

_Dump = Callable[[IO[bytes], dict[str, Any]], None]


def write(
    path: str | Path,
    network: NetworkSnapshot,
    *,
    form: Form = "network",
    delay_unit: DelayUnit = "ms",
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write a state to a file of ANNarchy, and return notes on data that it cannot contain.

    The extension selects the container: ``.npz``, ``.gz`` for a gzipped pickle, ``.mat``, and a
    pickle for any other. ANNarchy loads all but ``.mat``, with any version of numpy.

    Parameters
    ----------
    path
        The file to write.
    network
        The state.
    form
        ``network`` for all of the state; ``part`` for its only population or projection, for
        ``Population.load`` and ``Projection.load``; ``connectivity`` for its only projection, for
        ``from_file``.
    delay_unit
        Unit of the delays in a connectivity file: ``ms`` for ANNarchy 5, ``steps`` for earlier
        versions.
    overwrite
        Replace an existing file.

    Raises
    ------
    ExportError
        If the state lacks data that ``form`` requires, or the container cannot store it.
    NameClashError
        If two populations, projections or quantities have the same name, or one has the name of
        another entry of the file.
    TargetExistsError
        If ``path`` exists and ``overwrite`` is false.
    WriteError
        If the file cannot be written. An existing one is unchanged.
    MissingDependencyError
        If it is a MATLAB file and SciPy is not installed.

    Example
    -------
    >>> write("network.npz", output.networks[0])  # doctest: +SKIP

    """
    path = Path(path)
    content = _content(network, form, delay_unit)
    dump: _Dump = _DUMPS.get(path.suffix, _dump_pickle)
    with atomic_file(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        dump(file, content)
    return tuple(_notes(network, form, is_matlab=dump is _dump_matlab))


def _content(network: NetworkSnapshot, form: Form, delay_unit: DelayUnit) -> dict[str, Any]:
    if form == "network":
        return network_dictionary(network)
    parts = network.projections if form == "connectivity" else network.parts
    if len(parts) != 1:
        expected = "projection" if form == "connectivity" else "population or projection"
        names = ", ".join(part.name for part in parts) or "none"
        msg = f"there are {len(parts)} parts to write ({names}); expected one {expected}"
        raise ExportError(msg)
    if form == "connectivity":
        return _connectivity_dictionary(network.projections[0], network.time_step, delay_unit)
    return _part_dictionary(network.parts[0], network.time_step)


# The dictionaries that ANNarchy 4.7 to 5.0 saves

_NETWORK_KEYS = ("time_step", "net_id", "obj_names", "allow_pickle")
_TYPES = (np.bool_, np.int64, np.uint64, np.float64)
"""Types of values in ANNarchy's files, and uint64 for integers that int64 cannot represent."""


def network_dictionary(network: NetworkSnapshot) -> dict[str, Any]:
    """Return the dictionary that ANNarchy saves for a network, which nests those of its parts."""
    content: dict[str, Any] = {}
    if network.step is not None:
        content["time_step"] = network.step
    content["net_id"] = int(network.provenance.get("net_id", 0))
    check_distinct(
        "entries of the network", [*_NETWORK_KEYS, *(part.name for part in network.parts)]
    )
    for part in network.parts:
        content[part.name] = _part_dictionary(part, network.time_step)
    content["obj_names"] = {
        "populations": [population.name for population in network.populations],
        "projections": [projection.name for projection in network.projections],
    }
    return content


def _part_dictionary(
    part: PopulationSnapshot | ProjectionSnapshot, time_step: float | None
) -> dict[str, Any]:
    """Return the dictionary that ANNarchy saves for a part; ``time_step`` is in seconds."""
    if isinstance(part, PopulationSnapshot):
        geometry = tuple(map(int, part.geometry))
        content: dict[str, Any] = {"name": part.name, "geometry": geometry, "size": part.size}
    else:
        content = _projection_entries(part, time_step)
    names = [quantity.name for quantity in part.quantities]
    content["attributes"] = names
    for kind in ("parameter", "variable"):
        content[f"{kind}s"] = [item.name for item in part.quantities if item.kind == kind]
    check_distinct(f"entries of {part.name!r}", [*content, *names])
    for quantity in part.quantities:
        values = _numbers(quantity, part.name)
        if not values.shape:
            content[quantity.name] = values.item()
        elif isinstance(part, PopulationSnapshot):
            dtype = next((kind for kind in _TYPES if np.can_cast(values.dtype, kind)), np.float64)
            content[quantity.name] = values.astype(dtype).reshape(part.geometry)
        elif quantity.locality == "semiglobal":
            content[quantity.name] = values.tolist()
        else:
            rows = split_rows(values, part.ends)
            content[quantity.name] = rows if _is_rectangular(part.ends) else object_array(rows)
    return content


def _projection_entries(projection: ProjectionSnapshot, time_step: float | None) -> dict[str, Any]:
    targets = list(projection.targets or ())
    known = {
        "pre": projection.pre,
        "post": projection.post,
        "target": targets[0] if len(targets) == 1 else targets or None,
    }
    content: dict[str, Any] = {"name": projection.name}
    content |= {key: value for key, value in known.items() if value is not None}
    content["post_ranks"] = np.asarray(projection.post_ranks[:]).tolist()
    delays, ends = _delays_in_ms(projection, time_step), projection.ends
    if delays is not None:
        content["delays"] = split_rows(delays, ends) if delays.shape else delays.item()
    ranks = np.asarray(projection.pre_ranks[:])
    content["pre_ranks"] = (
        _matrix(ranks.astype(np.int64), ends)
        if _is_rectangular(ends)
        else object_array(split_rows(ranks, ends))
    )
    return content


def _connectivity_dictionary(
    projection: ProjectionSnapshot, time_step: float | None, delay_unit: DelayUnit
) -> dict[str, Any]:
    """Return the dictionary of ``save_connectivity``; ``time_step`` is in seconds."""
    name = projection.weight or WEIGHT
    weight = next((item for item in projection.quantities if item.name == name), None)
    if weight is None or weight.locality == "semiglobal":
        msg = (
            f"projection {projection.name!r} has no weight for each synapse or for all synapses, "
            "which a connectivity file requires"
        )
        raise ExportError(msg)
    weights = _numbers(weight, projection.name)
    ranks, ends = np.asarray(projection.pre_ranks[:]), projection.ends
    return {
        "name": projection.name,
        "post_ranks": np.asarray(projection.post_ranks[:]).tolist(),
        "pre_ranks": _object_rows(ranks, ends),
        "w": _object_rows(weights, ends) if weight.locality == "local" else weights.item(),
        **_connectivity_delays(projection, time_step, delay_unit),
        "size": ends.shape[0],
        "nb_synapses": len(ranks),
    }


def _connectivity_delays(
    projection: ProjectionSnapshot, time_step: float | None, unit: DelayUnit
) -> dict[str, Any]:
    steps = projection.delay_steps
    delays = steps if unit == "steps" else _delays_in_ms(projection, time_step)
    if projection.delays is not None and steps is None:
        msg = (
            f"the delays of projection {projection.name!r} are not known in time steps, which a "
            "connectivity file requires"
        )
        raise ExportError(msg)
    if delays is None or steps is None or (not steps.shape and int(steps[()]) <= 1):
        return {"delay": None, "max_delay": 0, "uniform_delay": 0}
    largest, delays = int(np.max(steps[()], initial=0)), np.asarray(delays[()])
    if not delays.shape:
        return {"delay": delays.item(), "max_delay": largest, "uniform_delay": largest}
    rows = _object_rows(delays, projection.ends)
    return {"delay": rows, "max_delay": largest, "uniform_delay": -1}


def _delays_in_ms(projection: ProjectionSnapshot, time_step: float | None) -> NDArray[Any] | None:
    """Return delays in ms: as in ANNarchy, steps times the time step if both are known."""
    if projection.delay_steps is not None and time_step is not None:
        # The shortest number for 0.0003 s is 0.3 ms, not 0.29999999999999998.
        dt = float(f"{time_step * 1000:.15g}")
        return np.asarray(projection.delay_steps[()] * dt)
    if projection.delays is not None:
        return np.asarray(np.asarray(projection.delays[()]) * 1000.0)
    if projection.delay_steps is not None:
        msg = (
            f"the delays of projection {projection.name!r} are in time steps, but the state has "
            "no time step; pass dt= (--dt), in ms"
        )
        raise ExportError(msg)
    return None


def _numbers(quantity: Quantity, where: str) -> NDArray[Any]:
    values = np.asarray(quantity.values[()])
    if values.dtype.kind not in "biuf":
        msg = f"{quantity.name} of {where} is of type {values.dtype}; expected numbers"
        raise ExportError(msg)
    return values


def _is_rectangular(ends: LazyArray) -> bool:
    lengths = np.diff(np.asarray(ends[:]), prepend=0)
    return not len(lengths) or bool((lengths == lengths[0]).all())


def _matrix(values: NDArray[Any], ends: LazyArray) -> NDArray[Any]:
    n_rows = ends.shape[0]
    return values.reshape(n_rows, len(values) // max(n_rows, 1))


def _object_rows(values: NDArray[Any], ends: LazyArray) -> NDArray[Any]:
    """Return rows of Python numbers, as connectivity files contain them."""
    if _is_rectangular(ends):
        return _matrix(np.array(values.tolist(), object), ends)
    return object_array(split_rows(values, ends))


# The containers

_PROTOCOL = 4
_GZIP_LEVEL = 6
_MAX_FIELD_NAME = 63


class _Pickler(pickle.Pickler):
    """Pickles arrays so that numpy 1 and 2 can read them: numpy 2 renamed ``numpy.core``."""

    def reducer_override(self, value: Any, /) -> Any:
        if type(value) is np.ndarray:
            state = value.__reduce__()[2]
            return np.ndarray, ((0,), np.dtype("b")), state
        return NotImplemented


def _dump_pickle(file: Any, content: Any) -> None:
    _Pickler(file, _PROTOCOL).dump(content)


def _dump_gzip(file: IO[bytes], content: Mapping[str, Any]) -> None:
    with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as compressed:
        _dump_pickle(compressed, content)


def _dump_archive(file: IO[bytes], content: Mapping[str, Any]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            if info.filename != f"{name}.npy":
                msg = f"{name!r} cannot be the name of an array in an .npz file; write a .txt file"
                raise ExportError(msg)
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                _dump_array(member, _as_array(value))


def _as_array(value: Any) -> NDArray[Any]:
    if isinstance(value, Mapping):
        return object_array([value]).reshape(())
    try:
        return np.asarray(value)
    except ValueError:
        # numpy cannot create an array from rows of different lengths.
        return object_array(value)


def _dump_array(file: IO[bytes], array: NDArray[Any]) -> None:
    if array.dtype != object:
        np.lib.format.write_array(file, array, version=(1, 0))
        return
    description = {"descr": "|O", "fortran_order": False, "shape": array.shape}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, description)
    file.write(header.getvalue())
    _dump_pickle(file, array)


def _dump_matlab(file: IO[bytes], content: Mapping[str, Any]) -> None:
    savemat = import_optional("scipy.io", "a MATLAB file", "matlab").savemat
    converted = _to_matlab(content)
    try:
        savemat(file, converted, long_field_names=True)
    except (TypeError, ValueError, UnicodeError) as error:
        msg = f"the state cannot be stored in a MATLAB file: {error}; write a .txt file"
        raise ExportError(msg) from error


def _to_matlab(content: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values to arrays; raise ExportError for names that SciPy drops or truncates."""
    converted: dict[str, Any] = {}
    for name, value in content.items():
        if name.startswith("_") or not name or len(name) > _MAX_FIELD_NAME or "\0" in name:
            msg = (
                f"{name!r} cannot be a name in a MATLAB file: it is empty, begins with '_' or is "
                f"longer than {_MAX_FIELD_NAME} characters; write a .txt file"
            )
            raise ExportError(msg)
        if isinstance(value, Mapping):
            converted[name] = _to_matlab(value)
        else:
            converted[name] = 0 if value is None else _as_array(value)
    return converted


_DUMPS: dict[str, _Dump] = {
    ".npz": _dump_archive,
    ".gz": _dump_gzip,
    ".mat": _dump_matlab,
}


# Notes on values that the files cannot contain or that ANNarchy reads differently

_STORED_TYPES = {"float64", "int64", "bool"}


def _notes(network: NetworkSnapshot, form: Form, *, is_matlab: bool) -> Iterator[str]:
    lost = {
        "time step": network.time_step,
        "seed": network.seed,
        "constants": network.constants or None,
        "schedules of inputs": network.provenance.get("schedules"),
        "storage formats": network.provenance.get("storage"),
        "model": next((part.model for part in network.parts if part.model is not None), None),
    }
    if form != "network":
        lost |= {"time": network.time, "step": network.step}
    if names := [name for name, value in lost.items() if value is not None]:
        yield f"left out: {', '.join(names)}, which ANNarchy's files cannot contain"
    if form == "network" and network.step is None:
        yield "the state has no step: loading it does not set the clock"
    for part in network.parts:
        yield from _quantity_notes(part.name, part.quantities)
    for projection in network.projections:
        yield from _projection_notes(projection, form)
    if is_matlab:
        yield (
            "a MATLAB file stores booleans as integers, and a local value of a single neuron or "
            "synapse as a global one; ANNarchy cannot load it"
        )


def _quantity_notes(where: str, quantities: tuple[Quantity, ...]) -> Iterator[str]:
    notes: dict[str, Callable[[Quantity], bool]] = {
        "neither a parameter nor a variable": lambda item: not item.kind,
        "written in 64 bits": lambda item: str(item.values.dtype) not in _STORED_TYPES,
        "one value for all, which is read as global": lambda item: (
            item.locality == "shared" and item.name != WEIGHT
        ),
        "global, which is read as one weight for all synapses": lambda item: (
            item.locality == "global" and item.name == WEIGHT
        ),
    }
    for note, applies in notes.items():
        if names := [quantity.name for quantity in quantities if applies(quantity)]:
            yield f"{', '.join(names)} of {where} is {note}"


def _projection_notes(projection: ProjectionSnapshot, form: Form) -> Iterator[str]:
    where = f"projection {projection.name}"
    if form == "connectivity":
        yield f"{where}: only the weight and delays are written"
    elif None in {projection.pre, projection.post, projection.targets}:
        yield f"{where} has no names of its populations or targets"
    if projection.weight not in {WEIGHT, None}:
        yield f"the weight of {where} is named {projection.weight}; ANNarchy expects {WEIGHT}"
    if projection.delays is None and projection.delay_steps is None:
        yield f"{where} has no delays: loading it sets them to one step"
    lengths = projection.counts()
    if len(lengths) and not lengths.all():
        yield f"{where} has rows without synapses, which a network of ANNarchy cannot have"
    delays = projection.delays if projection.delay_steps is None else projection.delay_steps
    if form != "connectivity" and delays is not None and delays.shape and len(set(lengths)) > 1:
        yield f"{where}: ANNarchy cannot load rows of different lengths with different delays"
