"""Write the files in which ANNarchy saves: pickles, gzipped or not, arrays, and MATLAB files."""

import gzip
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.adapters.annarchy.saved import (
    DelayUnit,
    boxed,
    connectivity_dictionary,
    network_dictionary,
    part_dictionary,
)
from ndx_simulation_output.adapters.annarchy.unsaid import Form, unsaid_of
from ndx_simulation_output.errors import ExportError, MissingDependencyError
from ndx_simulation_output.files import whole_file
from ndx_simulation_output.recording import NetworkSnapshot

__all__ = ["EXTENSIONS", "write"]

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
