"""The table of formats: how a file is recognised, and which module reads it.

A file is recognised by its bytes or by its root group. Only the module that reads it is imported.
"""

import gzip
import json
import mmap
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py

from ndx_simulation_output.errors import SourceError, UnsupportedSourceError, file_errors
from ndx_simulation_output.recording import SimulationOutput

SourcePaths = str | Path | Iterable[str | Path]
"""A file, several files, or a directory."""

_SQLITE = b"SQLite format 3\0"
_ZIP, _GZIP, _MATLAB = b"PK\x03\x04", b"\x1f\x8b", b"MATLAB 5.0"
_PICKLE_PROTOCOLS = range(2, 6)
_NUMPY = b"\x93NUMPY"
_MOST_JSON, _OTHER_SECTIONS = 2**20, {"network", "constants"}
_GROUPS_OF_SONATA = {
    *("report", "reports", "spikes", "ecp", "data", "firing_rates", "rates", "processing"),
    *("nodes", "edges", "electrodes", "mapping"),
}
_NETPYNE_JSON = (b'"netpyne_version"', b'"simData"')
_NETPYNE_PICKLE, _BRIAN_PICKLE = (b"netpyne_version",), (b"defaultclock", b"timestep")
_NEO_PICKLE = (b"neo.core", b"analogsignals")
_HDF5 = {".h5", ".hdf5", ".nwb"}
_NEST_HEADER = b"# NEST version:"
_MOST_INFLATED, _LONGEST_LINE = 2**24, 2**16
_OF_MONITOR = (
    "without times and cells. If a monitor of ANNarchy saved it, read it with "
    "annarchy.read_recordings(path, dt=…, population=…) and pass the result to convert"
)


@dataclass(frozen=True)
class Format:
    """A format of files, read by the function ``read`` of ``module``.

    Without a module, files are not read, and ``refusal`` says why. ``options`` are the options of
    ``open_output`` that apply. ``recognizes`` is called with the path of a file, or with its root
    group if ``is_hdf5``. If ``is_joined``, several files are one run, and ``read`` gets a list.
    """

    name: str
    module: str
    recognizes: Callable[[Any], bool]
    options: frozenset[str] = frozenset()
    is_hdf5: bool = False
    is_joined: bool = False
    refusal: str = ""

    def read(self, paths: Sequence[Path], options: Mapping[str, Any]) -> SimulationOutput:
        """Read files; raise SourceError if an option does not apply to the format."""
        path = paths[0]
        if not self.module:
            msg = f"{path} {self.refusal}"
            raise UnsupportedSourceError(msg)
        if len(paths) > 1 and not self.is_joined:
            msg = f"{path} and {paths[1]} are files of {self.name}; expected a single file"
            raise UnsupportedSourceError(msg)
        # Only HDF5 files refer to others.
        options = {name: options[name] for name in options if self.is_hdf5 or name != "trust"}
        if unknown := sorted(set(options) - self.options - {"trust"}):
            msg = f"{path} is a file of {self.name}, which has no option {unknown[0]}"
            raise SourceError(msg)
        module = import_module(f"ndx_simulation_output.{self.module}")
        with file_errors(*paths):
            output: SimulationOutput = module.read(
                list(paths) if self.is_joined else path, **options
            )
        return output


def _begins_with(mark: bytes, path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _contains(path: Path, texts: Sequence[bytes]) -> bool:
    """Return True if all texts are in a file, of which a gzip file is inflated up to a limit."""
    if not path.stat().st_size:
        return False
    if _begins_with(_GZIP, path):
        with gzip.open(path) as inflated:
            start = inflated.read(_MOST_INFLATED)
        return all(text in start for text in texts)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return all(content.find(text) >= 0 for text in texts)


def _is_netpyne(path: Path) -> bool:
    with path.open("rb") as file:
        is_object = file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{")
    return is_object and _contains(path, _NETPYNE_JSON)


def _is_pickle_with(texts: Sequence[bytes], path: Path) -> bool:
    """Return True for a pickle or a MATLAB file, also in gzip, that contains all texts."""
    with path.open("rb") as file:
        start = file.read(16)
    try:
        if start.startswith(_GZIP):
            with gzip.open(path) as inflated:
                start = inflated.read(16)
        is_known = _is_pickle(start) or start.startswith(_MATLAB)
        return is_known and _contains(path, texts)
    except (OSError, EOFError, zlib.error):
        return False


def _is_nest(path: Path) -> bool:
    """Return True for text of NEST 3, which has a header, and for files of NEST 2 (``.gdf``)."""
    return _begins_with(_NEST_HEADER, path) or (
        path.suffix == ".gdf" and _is_table_of_numbers(path)
    )


def _is_table_of_numbers(path: Path) -> bool:
    """Return True for text whose first line has several numbers and nothing else."""
    with path.open("rb") as file:
        line = file.readline(_LONGEST_LINE)
    try:
        numbers = [float(text) for text in line.split()]
    except ValueError:
        return False
    return len(numbers) > 1


def _has_attribute(name: str, value: str | None, root: h5py.Group) -> bool:
    """Return True if the root group has an attribute, of this value unless it is None."""
    found = root.attrs.get(name)
    found = found.decode("utf-8", "replace") if isinstance(found, bytes) else found
    return found is not None if value is None else isinstance(found, str) and found == value


def _is_parameters(path: Path) -> bool:
    """Return True for JSON with the sections of ANNarchy's ``save_parameters``."""
    if path.suffix != ".json" or path.stat().st_size > _MOST_JSON:
        return False
    try:
        content = json.loads(path.read_bytes())
    except ValueError:  # The reader of configurations reports what is wrong.
        return False
    sections = {"populations", "projections"}
    return isinstance(content, dict) and sections <= set(content) <= sections | _OTHER_SECTIONS


def _is_monitor(root: h5py.Group) -> bool:
    """Return True if there are only arrays of numbers, or groups of them, with unknown names."""
    if not len(root) or len(root.attrs) or _GROUPS_OF_SONATA & set(root):
        return False
    links = [root.get(name, getlink=True) for name in root]
    if not all(isinstance(link, h5py.HardLink) for link in links):
        return False
    members = [one for name in root for one in _members(root[name])]
    return all(
        isinstance(one, h5py.Dataset) and one.ndim and one.dtype.kind in "biuf" for one in members
    )


def _members(item: Any) -> list[Any]:
    return list(item.values()) if isinstance(item, h5py.Group) else [item]


def _is_annarchy(path: Path) -> bool:
    """Return True for a pickle, npz or MATLAB file, whatever its extension."""
    with path.open("rb") as file:
        start = file.read(16)
    try:
        if start.startswith(_GZIP):
            with gzip.open(path) as inflated:
                return _is_pickle(inflated.read(2))
        if start.startswith(_ZIP):
            with zipfile.ZipFile(path) as archive:
                return all(name.endswith(".npy") for name in archive.namelist())
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, ValueError, NotImplementedError):
        return True  # The reader reports what is damaged.
    return start.startswith(_MATLAB) or _is_pickle(start)


def _is_pickle(start: bytes) -> bool:
    return len(start) > 1 and start[0] == 0x80 and start[1] in _PICKLE_PROTOCOLS


def _is_neuronvisio(root: h5py.Group) -> bool:
    """Return True if there is a group ``results``, and a geometry or PyTables' version."""
    # A file that a link leads to is not opened.
    links = [root.get(name, getlink=True) for name in ("results", "geometry")]
    results, geometry = (isinstance(link, h5py.HardLink) for link in links)
    has_mark = geometry or "PYTABLES_FORMAT_VERSION" in root.attrs
    return results and has_mark and root.get("results", getclass=True) is h5py.Group


def _is_pymodaq(root: h5py.Group) -> bool:
    """Return True if the root group has PyMoDAQ's title or version, and is not NWB."""
    attributes = root.attrs
    if "nwb_version" in attributes:
        return False
    if "pymodaq_version" in attributes or "pymodaq_data_version" in attributes:
        return True
    title = attributes.get("TITLE")
    if isinstance(title, bytes):
        title = title.decode("utf-8", "replace")
    return isinstance(title, str) and title == "PyMoDAQ file"


FORMATS: tuple[Format, ...] = (
    Format("NetPyNE", "netpyne.reading", _is_netpyne, frozenset({"unit"}), is_joined=True),
    Format(
        "pickles of NetPyNE",
        "",
        partial(_is_pickle_with, _NETPYNE_PICKLE),
        refusal="is a pickle or a MATLAB file of NetPyNE, which is not read: a pickle could run "
        "code. Save the run with cfg.saveJson = True. Where NetPyNE is installed, and for a pickle "
        'that you trust: python -c "import json, pickle, netpyne.sim; '
        "json.dump(pickle.load(open('run_data.pkl', 'rb')), open('run_data.json', 'w'), "
        'cls=netpyne.sim.utils.NpSerializer)"',
    ),
    Format(
        "NEST",
        "nest.reading",
        _is_nest,
        frozenset({"population", "dt", "unit"}),
        is_joined=True,
    ),
    Format(
        "columns of numbers",
        "",
        _is_table_of_numbers,
        refusal="has columns of numbers without a header, as NeuroML and LEMS (OutputFile) and "
        "saveDat of NetPyNE write them. Their names and units are elsewhere: read the columns with "
        "numpy.loadtxt, describe them as a SimulationOutput and pass it to convert",
    ),
    Format(
        "Brian2",
        "",
        partial(_is_pickle_with, _BRIAN_PICKLE),
        refusal="is a pickle that store of Brian2 wrote, which is not read: a pickle could run "
        "code. Pass what the monitors recorded to convert as a SimulationOutput",
    ),
    Format(
        "pickles of Neo",
        "",
        partial(_is_pickle_with, _NEO_PICKLE),
        refusal="is a pickle of blocks of Neo, as write_data of PyNN writes them, which is not "
        'read: a pickle could run code. Write a NIX file, population.write_data("run.nix"), or '
        "pass blocks in memory to neo.to_output and its result to convert",
    ),
    Format(
        "NIX",
        "neo.nix",
        partial(_has_attribute, "format", "nix"),
        frozenset({"segment", "unit"}),
        is_hdf5=True,
        is_joined=True,
    ),
    Format(
        "NSDF",
        "",
        partial(_has_attribute, "nsdf_version", None),
        is_hdf5=True,
        refusal="is a file of NSDF, as MOOSE writes them, which is not read: it states neither "
        "units nor populations. Pass its arrays to convert as a SimulationOutput",
    ),
    Format("ANNarchy", "annarchy.reading", _is_annarchy, frozenset({"dt"})),
    Format(
        "SQLite",
        "",
        partial(_begins_with, _SQLITE),
        refusal="is an SQLite file, as Neuronvisio 0.4 wrote them. Its values are pickles, which "
        "could run code when they are read, so it is not read",
    ),
    Format(
        "parameters of ANNarchy",
        "",
        _is_parameters,
        refusal="has parameters of a network of ANNarchy, as save_parameters writes them, and no "
        "recording. Set them in the network with annarchy.load_parameters",
    ),
    Format("NumPy", "", partial(_begins_with, _NUMPY), refusal=f"is a NumPy file, {_OF_MONITOR}"),
    Format(
        "Neuronvisio",
        "neuronvisio.storage",
        _is_neuronvisio,
        frozenset({"unit", "time_unit"}),
        is_hdf5=True,
    ),
    Format("PyMoDAQ", "pymodaq.reading", _is_pymodaq, is_hdf5=True),
    Format(
        "monitors of ANNarchy",
        "",
        _is_monitor,
        is_hdf5=True,
        refusal=f"has only arrays of numbers, {_OF_MONITOR}",
    ),
)
"""All formats except SONATA, the format of every other source."""


def recognize(path: Path) -> Format | None:
    """Return the format of a file, or None."""
    if not path.is_file():
        return None
    try:
        if not h5py.is_hdf5(path):
            return _first(path, is_hdf5=False)
        with h5py.File(path, "r") as root:
            return _first(root, is_hdf5=True)
    except (KeyError, OSError, RuntimeError):
        return None


def _first(source: Path | h5py.Group, *, is_hdf5: bool) -> Format | None:
    candidates = (entry for entry in FORMATS if entry.is_hdf5 == is_hdf5)
    return next((entry for entry in candidates if entry.recognizes(source)), None)


def read_source(
    source: SourcePaths, **options: Mapping[str, Any] | Iterable[str] | str | float | None
) -> SimulationOutput:
    """Read a source of any format; ``options`` are those of ``open_output``."""
    paths = [Path(source)] if isinstance(source, (str, Path)) else list(map(Path, source))
    found = _recognize_all(paths)
    if found:
        first = next(iter(found.values()))
        for path in paths if len(paths) > 1 else ():
            if found.get(path) is not first:
                other = f"a file of {found[path].name}" if path in found else "not"
                msg = f"{next(iter(found))} is a file of {first.name}, but {path} is {other}"
                raise UnsupportedSourceError(msg)
        return first.read(list(found), _set_options(options))
    if isinstance(options.get("population"), Mapping):
        msg = f"the population of {paths[0]} is a mapping; expected a name for a source of SONATA"
        raise SourceError(msg)
    if options.pop("segment", None) is not None:
        msg = f"{paths[0]} is a source of SONATA, which has no option segment"
        raise SourceError(msg)
    from ndx_simulation_output import sonata

    return sonata.read(source if isinstance(source, (str, Path)) else paths, **options)  # type: ignore[arg-type]


def _recognize_all(paths: Sequence[Path]) -> dict[Path, Format]:
    """Return the formats of files, or of the files in a directory that are joined.

    Nothing is returned for SONATA, nor for a directory that has files of several formats.
    """
    if len(paths) == 1 and paths[0].is_dir():
        files = {path: recognize(path) for path in sorted(paths[0].iterdir()) if path.is_file()}
        joined = {path: one for path, one in files.items() if one is not None and one.is_joined}
        others = {path for path, one in files.items() if one is None and path.suffix in _HDF5}
        return joined if len({one.name for one in joined.values()}) == 1 and not others else {}
    files = {path: recognize(path) for path in paths}
    return {path: one for path, one in files.items() if one is not None}


def read_as(name: str, path: Path, **options: Mapping[str, str] | float | None) -> SimulationOutput:
    """Read a file of the format ``name``; raise SourceError if it is in another format."""
    found = recognize(path)
    if found is None or found.name != name:
        msg = f"{path} is not a file of {name}"
        raise SourceError(msg)
    return found.read([path], _set_options(options))


def _set_options(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in options.items()
        if value is not False and value not in (None, {})
    }
