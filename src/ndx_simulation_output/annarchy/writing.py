"""Write files as ANNarchy saves them."""

import gzip
import io
import pickle
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import ExportError, MissingDependencyError, NameClashError
from ndx_simulation_output.files import whole_file
from ndx_simulation_output.recording import (
    LazyArray,
    NetworkSnapshot,
    PopulationSnapshot,
    ProjectionSnapshot,
    Quantity,
)

# What of a state the files of ANNarchy cannot say, in words.

Form = Literal["network", "part", "connectivity"]
"""What a file holds: a network, one population or projection, or where synapses are."""

_WEIGHT = "w"
_SAID_TYPES = {"float64", "int64", "bool"}


def unsaid_of(network: NetworkSnapshot, form: Form, *, in_matlab: bool = False) -> Iterator[str]:
    """Give a note for all that is lost, or that ANNarchy takes for something else."""
    lost = {
        "time step": network.time_step,
        "seed": network.seed,
        "constants": network.constants or None,
        "model": next((part.model for part in network.parts if part.model is not None), None),
    }
    if form != "network":
        lost |= {"time": network.time, "step": network.step}
    if names := [name for name, value in lost.items() if value is not None]:
        yield f"left out: {', '.join(names)}, which such a file does not have"
    if form == "network" and network.step is None:
        yield "the state does not say its step: loading it leaves the clock as it is"
    for part in network.parts:
        yield from _unsaid_of_quantities(part.name, part.quantities)
    for projection in network.projections:
        yield from _unsaid_of_projection(projection, form)
    if in_matlab:
        yield (
            "in a MATLAB file truth values are integers, and what has one value for one neuron or "
            "synapse is as what is global; ANNarchy does not load it"
        )


def _unsaid_of_quantities(where: str, quantities: tuple[Quantity, ...]) -> Iterator[str]:
    notes = {
        "is neither a parameter nor a variable": [q for q in quantities if not q.kind],
        "is written in 64 bits": [q for q in quantities if str(q.values.dtype) not in _SAID_TYPES],
        "is one value for all, which is read as global": [
            q for q in quantities if q.locality == "shared" and q.name != _WEIGHT
        ],
        "is global, which is read as one weight for all synapses": [
            q for q in quantities if q.locality == "global" and q.name == _WEIGHT
        ],
    }
    for what, found in notes.items():
        if found:
            yield f"{', '.join(quantity.name for quantity in found)} of {where} {what}"


def _unsaid_of_projection(projection: ProjectionSnapshot, form: Form) -> Iterator[str]:
    where = f"projection {projection.name}"
    if form == "connectivity":
        yield f"{where}: only the weight and delays are written"
    elif None in {projection.pre, projection.post, projection.targets}:
        yield f"{where} does not say its populations or targets"
    if projection.weight not in {_WEIGHT, None}:
        yield f"the weight of {where} is named {projection.weight}; ANNarchy's is {_WEIGHT}"
    if projection.delays is None and projection.delay_steps is None:
        yield f"{where} does not say its delays: loading it makes them one step"
    lengths = np.diff(np.asarray(projection.ends[:]), prepend=0)
    if len(lengths) and not lengths.all():
        yield f"{where} has rows without synapses, which ANNarchy has not"
    delays = projection.delays if projection.delay_steps is None else projection.delay_steps
    if form != "connectivity" and delays is not None and delays.shape and len(set(lengths)) > 1:
        yield (
            f"{where}: ANNarchy's own load fails where rows differ in length and delays differ too"
        )


# A state as the dictionaries that ANNarchy 4.7 to 5.0 saves.

DelayUnit = Literal["ms", "steps"]
"""Unit of the delays in a connectivity file: ms since ANNarchy 5.0, time steps before."""

_OF_NETWORK = ("time_step", "net_id", "obj_names", "allow_pickle")
_TYPES = (np.bool_, np.int64, np.uint64, np.float64)
"""Types of values as ANNarchy has them, but for integers that are too large for it."""


def network_dictionary(network: NetworkSnapshot) -> dict[str, Any]:
    """Give what ANNarchy saves of a network: a dictionary for each population and projection.

    Raises
    ------
    NameClashError
        If two parts have the same name, or one has that of an entry of the dictionary.
    ExportError
        If a part has no time step to say its delays with, or a quantity holds no numbers.

    """
    content: dict[str, Any] = {}
    if network.step is not None:
        content["time_step"] = network.step
    content["net_id"] = int(network.provenance.get("net_id", 0))
    _check_names("the network", [*_OF_NETWORK, *(part.name for part in network.parts)])
    for part in network.parts:
        content[part.name] = part_dictionary(part, network.time_step)
    content["obj_names"] = {
        "populations": [population.name for population in network.populations],
        "projections": [projection.name for projection in network.projections],
    }
    return content


def part_dictionary(
    part: PopulationSnapshot | ProjectionSnapshot, time_step: float | None
) -> dict[str, Any]:
    """Give what ANNarchy saves of one population or projection; ``time_step`` is in seconds.

    Raises
    ------
    NameClashError
        If a quantity has the name of another entry.
    ExportError
        If delays are known in steps alone and there is no time step, or a quantity holds no
        numbers.

    """
    if isinstance(part, PopulationSnapshot):
        content = _population(part)
    else:
        content = _projection(part, time_step)
    names = [quantity.name for quantity in part.quantities]
    content["attributes"] = names
    for kind in ("parameter", "variable"):
        content[f"{kind}s"] = [one.name for one in part.quantities if one.kind == kind]
    _check_names(repr(part.name), [*content, *names])
    for quantity in part.quantities:
        values = _values(quantity, part.name)
        if not values.shape:
            content[quantity.name] = values.item()
        elif isinstance(part, PopulationSnapshot):
            dtype = next((kind for kind in _TYPES if np.can_cast(values.dtype, kind)), np.float64)
            content[quantity.name] = values.astype(dtype).reshape(part.geometry)
        elif quantity.locality == "semiglobal":
            content[quantity.name] = values.tolist()
        else:
            content[quantity.name] = _rows(values, part.ends)
    return content


def connectivity_dictionary(
    projection: ProjectionSnapshot, time_step: float | None, delay_unit: DelayUnit
) -> dict[str, Any]:
    """Give what ``save_connectivity`` saves, with delays in the unit that a version has there.

    Raises
    ------
    ExportError
        If there is no weight for each synapse or for all, or delays are not known in steps or
        there is no time step.

    """
    named = projection.weight or _WEIGHT
    found = [one for one in projection.quantities if one.name == named]
    if not found or found[0].locality == "semiglobal":
        msg = (
            f"projection {projection.name!r} has no weight for each synapse or for all, which a "
            "connectivity file has"
        )
        raise ExportError(msg)
    weight = found[0]
    values = _values(weight, projection.name)
    ranks = np.asarray(projection.pre_ranks[:])
    is_local = weight.locality == "local"
    return {
        "name": projection.name,
        "post_ranks": np.asarray(projection.post_ranks[:]).tolist(),
        "pre_ranks": _objects(ranks, projection.ends),
        "w": _objects(values, projection.ends) if is_local else values.item(),
        **_connectivity_delays(projection, time_step, delay_unit),
        "size": projection.ends.shape[0],
        "nb_synapses": len(ranks),
    }


def boxed(values: Sequence[Any]) -> NDArray[Any]:
    """Give an array, shape (value,), of values of any type as they are.

    Example
    -------
    >>> boxed([[1, 2], [3, 4]]).shape
    (2,)

    """
    made: NDArray[Any] = np.empty(len(values), object)
    made[:] = [*values] if made.size else []
    return made


def _population(population: PopulationSnapshot) -> dict[str, Any]:
    geometry = tuple(map(int, population.geometry))
    return {"name": population.name, "geometry": geometry, "size": population.size}


def _projection(projection: ProjectionSnapshot, time_step: float | None) -> dict[str, Any]:
    content: dict[str, Any] = {"name": projection.name}
    targets = projection.targets
    known = {
        "pre": projection.pre,
        "post": projection.post,
        "target": targets[0] if targets and len(targets) == 1 else list(targets or ()) or None,
    }
    content |= {key: value for key, value in known.items() if value is not None}
    content["post_ranks"] = np.asarray(projection.post_ranks[:]).tolist()
    delays = _delays(projection, time_step)
    if delays is not None:
        content["delays"] = delays.item() if not delays.shape else _lists(delays, projection.ends)
    content["pre_ranks"] = _ranks(np.asarray(projection.pre_ranks[:]), projection.ends)
    return content


def _delays(projection: ProjectionSnapshot, time_step: float | None) -> NDArray[Any] | None:
    """Give the delays in ms: ANNarchy computes them as steps times the time step."""
    if projection.delay_steps is not None and time_step is not None:
        return np.asarray(projection.delay_steps[()] * _milliseconds(time_step))
    if projection.delays is not None:
        return np.asarray(np.asarray(projection.delays[()]) * 1000.0)
    if projection.delay_steps is not None:
        msg = (
            f"the delays of projection {projection.name!r} are in time steps, and the state does "
            "not say how long one is"
        )
        raise ExportError(msg)
    return None


def _milliseconds(seconds: float) -> float:
    """Give the shortest number that this is: 0.0003 s are 0.3 ms, not 0.29999999999999998."""
    return float(f"{seconds * 1000:.15g}")


def _connectivity_delays(
    projection: ProjectionSnapshot, time_step: float | None, unit: DelayUnit
) -> dict[str, Any]:
    steps = projection.delay_steps
    delays = steps if unit == "steps" else _delays(projection, time_step)
    if projection.delays is not None and steps is None:
        msg = (
            f"the delays of projection {projection.name!r} are not known in time steps, which a "
            "connectivity file has"
        )
        raise ExportError(msg)
    if delays is None or steps is None or (not steps.shape and int(steps[()]) <= 1):
        return {"delay": None, "max_delay": 0, "uniform_delay": 0}
    largest, delays = int(np.max(steps[()], initial=0)), np.asarray(delays[()])
    if not delays.shape:
        return {"delay": delays.item(), "max_delay": largest, "uniform_delay": largest}
    lists = _objects(delays, projection.ends)
    return {"delay": lists, "max_delay": largest, "uniform_delay": -1}


def _values(quantity: Quantity, where: str) -> NDArray[Any]:
    values = np.asarray(quantity.values[()])
    if values.dtype.kind not in "biuf":
        msg = f"{quantity.name} of {where} is of type {values.dtype}; expected numbers"
        raise ExportError(msg)
    return values


def _ranks(ranks: NDArray[Any], ends: LazyArray) -> NDArray[Any]:
    """Give rows as ANNarchy does: a matrix if all are as long, else an array of lists."""
    if _is_even(ends):
        return ranks.astype(np.int64).reshape(_shape(ranks, ends))
    return boxed(_lists(ranks, ends))


def _rows(values: NDArray[Any], ends: LazyArray) -> Any:
    found = _lists(values, ends)
    return found if _is_even(ends) else boxed(found)


def _objects(values: NDArray[Any], ends: LazyArray) -> NDArray[Any]:
    """Give rows as connectivity files have them: always Python's own numbers."""
    if _is_even(ends):
        found = np.empty(_shape(values, ends), object)
        found.ravel()[:] = values.tolist()
        return found
    return boxed(_lists(values, ends))


def _is_even(ends: LazyArray) -> bool:
    lengths = np.diff(np.asarray(ends[:]), prepend=0)
    return not len(lengths) or bool((lengths == lengths[0]).all())


def _shape(values: NDArray[Any], ends: LazyArray) -> tuple[int, int]:
    rows = ends.shape[0]
    return rows, values.shape[0] // max(rows, 1)


def _lists(values: NDArray[Any], ends: LazyArray) -> list[list[Any]]:
    flat = values.tolist()
    return [flat[start:stop] for start, stop in _edges(np.asarray(ends[:]).tolist())]


def _edges(ends: Sequence[int]) -> Iterator[tuple[int, int]]:
    return zip([0, *ends[:-1]], ends, strict=True)


def _check_names(where: str, names: Iterable[str]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            msg = f"{where} has the name {name!r} twice, and a file of ANNarchy has each only once"
            raise NameClashError(msg)
        seen.add(name)


# Write the files in which ANNarchy saves: pickles, gzipped or not, arrays, and MATLAB files.

EXTENSIONS = (".txt", ".gz", ".npz", ".mat")
"""Extensions that ANNarchy's users know; any other is a pickle, as ``.txt`` is."""

_PROTOCOL = 4
_GZIP_LEVEL = 6
_LONGEST_FIELD = 63


def write(
    path: str | Path,
    network: NetworkSnapshot,
    *,
    form: Form = "network",
    delay_unit: DelayUnit = "ms",
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write a state for ANNarchy 4.8 and 5.0; give notes on what such files cannot say.

    The extension chooses the container: ``.npz``, ``.gz`` (of a pickle), ``.mat``, and a pickle for
    any other. ANNarchy loads all but ``.mat``, with any version of numpy. ``form`` says what is
    written: the ``network``; the only population or projection of it (``part``), for
    ``Population.load`` and ``Projection.load``; or the only projection for ``from_file``
    (``connectivity``), whose delays are in ms in ANNarchy 5 and in ``steps`` before, which is what
    ``delay_unit`` says.

    Raises
    ------
    ExportError
        If the state cannot be said in this form, or by this container.
    NameClashError
        If two parts, or quantities of one, have the same name, or that of another entry.
    TargetExistsError
        If ``path`` exists and ``overwrite`` is false.
    WriteError
        If the file cannot be written. An existing one is then as it was.
    MissingDependencyError
        If it is a MATLAB file and SciPy is not installed.

    Example
    -------
    >>> write("network.npz", output.networks[0])  # doctest: +SKIP

    """
    path = Path(path)
    content = _dictionary(network, form, delay_unit)
    dump = _CONTAINERS.get(path.suffix, _dump_pickle)
    with whole_file(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        dump(file, content)
    return tuple(unsaid_of(network, form, in_matlab=dump is _dump_matlab))


def _dictionary(network: NetworkSnapshot, form: Form, delay_unit: DelayUnit) -> dict[str, Any]:
    if form == "network":
        return network_dictionary(network)
    wanted = network.projections if form == "connectivity" else network.parts
    if len(wanted) != 1:
        what = "projection" if form == "connectivity" else "population or projection"
        names = ", ".join(part.name for part in wanted) or "none"
        msg = f"there are {len(wanted)} parts to write ({names}); expected one {what}"
        raise ExportError(msg)
    if form == "connectivity":
        return connectivity_dictionary(network.projections[0], network.time_step, delay_unit)
    return part_dictionary(network.parts[0], network.time_step)


class _Pickler(pickle.Pickler):
    """Pickles arrays in a way that every version of numpy reads: 2 has renamed its core."""

    def reducer_override(self, value: Any, /) -> Any:
        if type(value) is np.ndarray:
            state = value.__reduce__()[2]
            return np.ndarray, ((0,), np.dtype("b")), state
        return NotImplemented


def _dump_pickle(file: IO[bytes], content: Mapping[str, Any]) -> None:
    _Pickler(file, _PROTOCOL).dump(content)


def _dump_gzip(file: IO[bytes], content: Mapping[str, Any]) -> None:
    with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as deflated:
        _dump_pickle(deflated, content)  # type: ignore[arg-type]


def _dump_archive(file: IO[bytes], content: Mapping[str, Any]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            with archive.open(_member(name), "w", force_zip64=True) as member:
                _dump_array(member, _array(value))


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(f"{name}.npy")
    if member.filename != f"{name}.npy":
        msg = f"{name!r} cannot be the name of an array of an .npz; write a .txt"
        raise ExportError(msg)
    member.compress_type = zipfile.ZIP_DEFLATED
    return member


def _array(value: Any) -> NDArray[Any]:
    if isinstance(value, Mapping):
        return boxed([value]).reshape(())
    try:
        return np.asarray(value)
    except ValueError:
        # Rows of different lengths, of which numpy makes no array unasked.
        return boxed(value)


def _dump_array(file: IO[bytes], array: NDArray[Any]) -> None:
    if array.dtype != object:
        np.lib.format.write_array(file, array, version=(1, 0))
        return
    described = {"descr": "|O", "fortran_order": False, "shape": array.shape}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, described)
    file.write(header.getvalue())
    _dump_pickle(file, array)  # type: ignore[arg-type]


def _dump_matlab(file: IO[bytes], content: Mapping[str, Any]) -> None:
    try:
        from scipy.io import savemat
    except ImportError as error:
        msg = "MATLAB files take SciPy: pip install 'ndx-simulation-output[matlab]'"
        raise MissingDependencyError(msg) from error
    _check_matlab_names(content)
    try:
        savemat(file, _for_matlab(content), long_field_names=True)
    except (TypeError, ValueError, UnicodeError) as error:
        msg = f"a MATLAB file cannot hold this: {error}; write a .txt"
        raise ExportError(msg) from error


def _check_matlab_names(content: Mapping[str, Any]) -> None:
    """Refuse names that are dropped without a word, or cut."""
    for name, value in content.items():
        if name.startswith("_") or not name or len(name) > _LONGEST_FIELD or "\0" in name:
            msg = (
                f"{name!r} cannot be a name in a MATLAB file: it is longer than {_LONGEST_FIELD} "
                "characters, empty, or begins with '_'; write a .txt"
            )
            raise ExportError(msg)
        if isinstance(value, Mapping):
            _check_matlab_names(value)


def _for_matlab(content: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            found[name] = _for_matlab(value)
        else:
            found[name] = 0 if value is None else _array(value)
    return found


_CONTAINERS = {".npz": _dump_archive, ".gz": _dump_gzip, ".mat": _dump_matlab}
