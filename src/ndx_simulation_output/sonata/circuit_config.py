"""Read ``circuit_config.json``: the files of nodes and edges, components, and node sets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ndx_simulation_output.errors import ConfigurationError, SourceError, source_errors
from ndx_simulation_output.sonata.config import FileNames, NamedFile, is_file, load_json

WITHOUT_NODES = "pass nodes=False (--no-nodes) to read the run without its circuit"

_MOST_FILES = 10_000
_MOST_TEXT = 2**26
_NO_TYPES = {"", "NULL", "NONE"}


@dataclass(frozen=True)
class NetworkFile:
    """An HDF5 file of nodes or edges, and what the circuit configuration says of it.

    ``number`` counts the entries of its list, ``types`` is its table of types. ``populations`` has
    the settings of the populations to read, by name; None stands for all in the file.
    """

    number: int
    path: Path
    types: Path | None = None
    populations: Mapping[str, Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class CircuitConfig:
    """The existing files of a circuit, and its ``components``, as they are written.

    ``node_sets`` is the file of node sets. ``missing`` and ``missing_types`` are messages on files
    of nodes and edges, and tables of types, that do not exist.
    """

    path: Path
    text: str
    names: FileNames
    nodes: tuple[NetworkFile, ...] = ()
    edges: tuple[NetworkFile, ...] = ()
    components: Mapping[str, Any] = field(default_factory=dict)
    node_sets: NamedFile | None = None
    missing: tuple[str, ...] = ()
    missing_types: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def components_of(self, file: NetworkFile, population: str) -> dict[str, Any]:
        """Return the components of a population; names of files and directories become paths.

        Values of the population replace those of the circuit, also in ``alternate_morphologies``.
        """
        own = _mapping((file.populations or {}).get(population))
        merged = {**self.components, **own}
        for name, value in self.components.items():
            if isinstance(value, Mapping) and isinstance(own.get(name), Mapping):
                merged[name] = {**value, **own[name]}
        return {name: self._resolved(name, value) for name, value in merged.items()}

    def _resolved(self, name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            of_files = name == "alternate_morphologies"
            return {key: self._path(one) if of_files else one for key, one in value.items()}
        return self._path(value) if name.endswith(("_dir", "_file")) else value

    def _path(self, value: Any) -> Any:
        if not isinstance(value, str) or not value:
            return value
        paths = list(self.names.inputs("", value).paths)
        return next(filter(_exists, paths), paths[0])


def read_circuit_config(path: Path, seen: tuple[Path, ...] = ()) -> CircuitConfig:
    """Read a circuit configuration, or the one that its key ``network`` names."""
    text, config = load_json(path)
    output = _mapping(config.get("output")).get("output_dir") or ""
    names = FileNames(path.parent.absolute(), _mapping(config.get("manifest")), output)
    if path.resolve() in seen:
        msg = f"{path} refers to itself by its key network"
        raise ConfigurationError(msg)
    if isinstance(config.get("network"), str) and "networks" not in config:
        return read_circuit_config(names.input(config["network"]), (*seen, path.resolve()))
    networks = config.get("networks")
    if not isinstance(networks, Mapping):
        msg = f"{path} has no object networks of a circuit configuration; found: {_some(config)}"
        raise ConfigurationError(msg)
    reader = _NetworkReader(path, names)
    nodes = reader.read(networks, "nodes")
    edges = reader.read(networks, "edges")
    sets = config.get("node_sets_file")
    return CircuitConfig(
        path,
        text,
        names,
        nodes,
        edges,
        _mapping(config.get("components")),
        names.inputs("node_sets_file", sets) if isinstance(sets, str) and sets else None,
        tuple(reader.missing),
        tuple(reader.missing_types),
        tuple(reader.notes),
    )


class _NetworkReader:
    """Reads the entries of ``networks``, and collects what is missing."""

    def __init__(self, path: Path, names: FileNames) -> None:
        self.path, self.names = path, names
        self.missing: list[str] = []
        self.missing_types: list[str] = []
        self.notes: list[str] = []

    def read(self, networks: Mapping[str, Any], kind: str) -> tuple[NetworkFile, ...]:
        entries = networks.get(kind) or []
        if not isinstance(entries, list) or len(entries) > _MOST_FILES:
            found = f"{len(entries)} entries" if isinstance(entries, list) else f"{entries!r:.60}"
            msg = f"networks.{kind} in {self.path} is {found}; expected a list of at most "
            raise ConfigurationError(msg + f"{_MOST_FILES} files")
        files = (self._file(number, entry, kind) for number, entry in enumerate(entries))
        return tuple(file for file in files if file is not None)

    def _file(self, number: int, entry: Any, kind: str) -> NetworkFile | None:
        where = f"networks.{kind}[{number}] in {self.path}"
        name = entry.get(f"{kind}_file") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or not name:
            msg = f"{where} is {entry!r:.60}; expected an object with {kind}_file"
            raise ConfigurationError(msg)
        if not entry.get("enabled", True):
            self.notes.append(f"{name} is disabled in {self.path.name} and was left out")
            return None
        populations = entry.get("populations")
        if populations is not None and not isinstance(populations, Mapping):
            msg = f"populations of {where} are {populations!r:.60}; expected an object"
            raise ConfigurationError(msg)
        if (path := self._found(f"{kind}_file", name, self.missing)) is None:
            return None
        types, key = None, f"{kind[:-1]}_types_file"
        stated = entry.get(key)
        if isinstance(stated, str) and stated.strip().upper() not in _NO_TYPES:
            types = self._found(key, stated, self.missing_types)
        elif stated is not None and not isinstance(stated, str):
            msg = f"{key} of {where} is {stated!r:.60}; expected the name of a file"
            raise ConfigurationError(msg)
        settings = None if not populations else {k: _mapping(v) for k, v in populations.items()}
        return NetworkFile(number, path, types, settings)

    def _found(self, key: str, name: str, missing: list[str]) -> Path | None:
        """Return an existing file; add a note on one that is missing, or not where expected."""
        file = self.names.inputs(key, name)
        found = next(filter(is_file, file.paths), None)
        if found is None:
            missing.append(f"{file}, named by {self.path.name} ({key}), does not exist")
        elif file.paths[found]:
            self.notes.append(
                f"{found}, named by {self.path.name} ({key}), was read from the {file.paths[found]}"
            )
        return found


def read_node_sets(path: Path) -> tuple[str, Mapping[str, Any]]:
    """Return the text of a file of node sets, and the sets by name."""
    return read_text(path), load_json(path)[1]


def read_text(path: Path) -> str:
    """Return the text of a small file with its line ends and its mark of UTF-8, to keep it."""
    with source_errors(f"{path} cannot be read"):
        if (size := path.stat().st_size) > _MOST_TEXT:
            msg = f"{path} has {size} bytes; expected at most {_MOST_TEXT}"
            raise SourceError(msg)
        return path.read_bytes().decode()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _some(config: Mapping[str, Any]) -> str:
    return ", ".join(map(str, list(config)[:10])) or "nothing"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
