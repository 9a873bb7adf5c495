"""Circuits are read as libsonata, bluepysnap and bmtk read them, except where these are wrong.

Each difference is listed with its reason; the page on our reading of SONATA has those that matter.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import SimulationOutputError
from ndx_simulation_output.recording import CellTable, Circuit, ConnectionTable
from tests.conftest import DATA
from tests.sonata import circuits

FOLDER = DATA / "circuits"

Difference = tuple[str, str, str]
"""A file, a population of it, and what differs: a property or ``*``."""

needs_files = pytest.mark.skipif(not FOLDER.exists(), reason="needs genuine circuits")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def libsonata() -> Any:
    return pytest.importorskip("libsonata", reason="libsonata is not installed")


@pytest.fixture
def snap() -> Any:
    return pytest.importorskip("bluepysnap", reason="bluepysnap is not installed")


@pytest.fixture
def bmtk() -> Any:
    pytest.importorskip("bmtk", reason="bmtk is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from bmtk.utils import sonata
    return sonata


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a made run in each dialect, and of circuits that readers differ about."""
    directory = tmp_path_factory.mktemp("made")
    for dialect in ("allen", "bbp"):
        circuits.write_run(directory / dialect, dialect)
    shuffled = {"x": [10.0, 20.0, 30.0, 40.0], "layer": [1, 2, 3, 4]}
    ids = {"node_id": [10, 30, 20, 40], "node_group_index": [3, 0, 0, 2]}
    circuits.nodes(shuffled, population="shuffled", **ids).write(directory / "shuffled_nodes.h5")
    circuits.table(
        directory / "shuffled_node_types.csv", [{"node_type_id": 100, "model_type": "virtual"}]
    )
    strings = circuits.nodes(
        {"x": [1.0, 2.0]}, population="fixed", **{"0/ei": np.array([b"e", b"i"])}
    )
    strings.write(directory / "fixed_nodes.h5")
    circuits.table(directory / "fixed_node_types.csv", [{"node_type_id": 100, "pop_name": "ä b"}])
    return directory


def _types_of(path: Path, kind: str) -> Path | None:
    """Return the table of types that belongs to a file of nodes or edges."""
    for name in (path.stem.replace(f"{kind}s", f"{kind}_types"), f"{kind}_types"):
        if (found := path.with_name(f"{name}.csv")).exists():
            return found
    return None


def _files(kind: str, *roots: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name and path of each file with nodes or edges."""
    for root in roots:
        for path in sorted(root.rglob(f"*{kind[:-1]}*.h5")):
            with h5py.File(path) as file:
                if kind in file:
                    yield str(path.relative_to(root)), path


Values = Mapping[tuple[str, str], list[Any]]
"""Plain values by population and property; those of a population that is refused by ``*``."""


def _compare(
    kind: str, roots: list[Path], directory: Path, read: Callable[[Path, Path | None], Values]
) -> set[Difference]:
    """Return what differs between our reading of all files and that of another reader.

    What the other reader does not read at all, such as the tables of libsonata, is not compared.
    """
    found: set[Difference] = set()
    for name, path in _files(kind, *roots):
        types = _types_of(path, kind[:-1])
        entry = {f"{kind}_file": str(path)}
        if types is not None:
            entry[f"{kind[:-1]}_types_file"] = str(types)
        some_nodes = circuits.nodes({"x": [0.0]}, population="some").write(directory / "some.h5")
        networks = {"nodes": [{"nodes_file": str(some_nodes)}], kind: [entry]}
        config = directory / "circuit_config.json"
        config.write_text(json.dumps({"networks": networks}))
        with open_output(config) as output:
            ours = _values(output.circuit, kind)
        for (population, column), values in read(path, types).items():
            if column == "*" or ours.get((population, column), REFUSED) != values:
                found.add((name, population, column))
    return found


def _values(circuit: Circuit | None, kind: str) -> Values:
    """Return all values of a circuit; a population that we refuse has the values None."""
    assert circuit is not None
    values: dict[tuple[str, str], Any] = {}
    for table in circuit.populations if kind == "nodes" else circuit.connections:
        name = table.population if isinstance(table, CellTable) else table.name
        columns = dict(table.columns)
        if isinstance(table, ConnectionTable):
            columns |= {"@source_node": table.source_ids, "@target_node": table.target_ids}
            targets = np.asarray(table.target_ids[:])
            known = range(targets.max(initial=-1) + 1)
            afferent = [np.flatnonzero(targets == node).tolist() for node in known]
            values[name, "@afferent"] = _plain(afferent)
            sources = np.asarray(table.source_ids[:])
            values[name, "@sources"] = _plain([sources[targets == node].tolist() for node in known])
        else:
            columns["node_id"] = table.ids
        for column, array in columns.items():
            with suppress(SimulationOutputError):
                values[name, column] = _plain(array[:])
    return values


def _plain(values: Any) -> list[Any]:
    """Return values as numbers and text, with None for what is missing."""
    if isinstance(values, list):
        return [_plain_value(value) for value in values]
    array = np.asarray(values)
    if array.dtype.kind not in "biufSUO":
        array = array.astype(object)
    return [_plain_value(value) for value in array.tolist()]


def _plain_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain_value(item) for item in value]
    if isinstance(value, (str, bytes)):
        return value
    return None if value is None or np.isnan(value) else float(value)


REFUSED = ["refused"]


def _read(function: Callable[[], Any]) -> list[Any]:
    """Return the plain values that a function of another reader returns, or that it refused."""
    try:
        return _plain(function())
    except Exception:  # noqa: BLE001 - readers raise errors of many classes
        return REFUSED


def _with_libsonata(storage_of: Callable[[str], Any], path: Path) -> Values:
    storage, values = storage_of(str(path)), {}
    for name in storage.population_names:
        try:
            population = storage.open_population(name)
            everything = population.select_all()
        except Exception:  # noqa: BLE001 - readers raise errors of many classes
            values[name, "*"] = REFUSED
            continue
        get, dynamics = population.get_attribute, population.get_dynamics_attribute
        for column in population.attribute_names:
            values[name, column] = _read(partial(get, column, everything))
        for column in population.dynamics_attribute_names:
            values[name, f"@dynamics:{column}"] = _read(partial(dynamics, column, everything))
        if hasattr(population, "source_nodes"):
            values[name, "@source_node"] = _read(partial(population.source_nodes, everything))
            values[name, "@target_node"] = targets = _read(
                partial(population.target_nodes, everything)
            )
            known = range(int(max(targets, default=-1)) + 1)
            values[name, "@afferent"] = _read(
                lambda population=population, known=known: [
                    population.afferent_edges([node]).flatten().tolist() for node in known
                ]
            )
    return values


_OF_BMTK = {"index", "node_type_id", "edge_type_id", "source_population", "target_population"}
"""Columns of its frames that are not properties here."""


def _with_bmtk(sonata: Any, kind: str, path: Path, types: Path | None) -> Values:
    with h5py.File(path) as file:
        names = list(file[kind])
    values: dict[tuple[str, str], Any] = {}
    for name in names:
        try:
            opened = sonata.File([str(path)], [str(types)] if types else [])
            frame = getattr(opened, kind)[name].to_dataframe()
        except Exception:  # noqa: BLE001 - readers raise errors of many classes
            values[name, "*"] = REFUSED
            continue
        renamed = {"source_node_id": "@source_node", "target_node_id": "@target_node"}
        if kind == "nodes":  # Groups follow each other; here, rows are in the order of the file.
            with h5py.File(path) as file:
                frame = frame.loc[file[f"nodes/{name}/node_id"][:]]
        frame = frame.reset_index()
        for column in frame.columns:
            several = [other for other in frame.columns if other.startswith(f"{column[:-1]}")]
            if column.endswith(".0"):
                values[name, column[:-2]] = [_plain(row) for row in frame[several].to_numpy()]
            elif column[-2:-1] != "." and column not in _OF_BMTK:
                values[name, renamed.get(column, column)] = _plain(frame[column])
        if kind == "edges":
            known = range(int(frame["target_node_id"].max()) + 1)
            population = opened.edges[name]
            values[name, "@sources"] = _read(
                lambda population=population, known=known: [
                    [edge.source_node_id for edge in population.get_target(node)] for node in known
                ]
            )
    return values


Reasons = Mapping[str, set[Difference]]

LIBSONATA: Mapping[str, Reasons] = {
    "nodes": {
        "the index in the group is ignored": {
            ("shuffled_nodes.h5", "shuffled", "layer"),
            ("shuffled_nodes.h5", "shuffled", "x"),
        },
        "text of fixed length is refused": {("fixed_nodes.h5", "fixed", "ei")},
        "a code that the library lacks is refused": {
            ("tricky/04_library/nodes.h5", "bad", "mtype")
        },
        "two groups are refused": {("tricky/07_two_groups/nodes.h5", "p", "*")},
        "a population without groups is refused": {
            ("tricky/02_missing_groups/nodes.h5", "no_group_at_all", "*")
        },
    },
    "edges": {
        "an index by the name of bmtk, and the lack of one, are refused": {
            *(
                (
                    f"allen/300_pointneurons/network/{name}_internal_edges.h5",
                    f"{name}_to_internal",
                    "@afferent",
                )
                for name in ("internal", "external")
            ),
            *(
                (f"allen/9_cells/network/{name}_cortex_edges.h5", f"{name}_to_cortex", "@afferent")
                for name in ("excvirt", "inhvirt")
            ),
            *(
                (f"allen/network/{name}_cortex_edges.h5", f"{name}_to_cortex", "@afferent")
                for name in ("cortex", "lgn")
            ),
            ("tricky/01_both_dialects/allen/edges.h5", "ca_to_ca", "@afferent"),
            *(
                ("tricky/10_edge_indices/edges.h5", name, "@afferent")
                for name in ("indicies", "no_population", "none")
            ),
        },
        "an index is trusted": {("tricky/10_edge_indices/edges.h5", "stale", "@afferent")},
        "edges without types are refused": {("allen/edges/edge_index_example.h5", "example", "*")},
        "two groups are refused": {("tricky/07_two_groups/edges.h5", "p_to_p", "*")},
        "the number of edges is that of their types, also where there are fewer edges": {
            ("snap/edges_single_pop.h5", "default", "*")
        },
    },
}
BMTK: Mapping[str, Reasons] = {
    "nodes": {
        "NA, None and empty text of a table are missing": {
            ("allen/network/cortex_nodes.h5", "cortex", "region"),
            ("tricky/03_h5_over_csv/nodes.h5", "p", "comment"),
            ("tricky/03_h5_over_csv/nodes.h5", "p", "region"),
        },
        "text of HDF5 is bytes": {
            ("fixed_nodes.h5", "fixed", "ei"),
            ("tricky/03_h5_over_csv/nodes.h5", "p", "ei"),
            ("tricky/07_two_groups/nodes.h5", "p", "morphology"),
        },
        "populations without a table, ids or groups are refused": {
            ("bbp/network/nodes.h5", "cortex", "*"),
            ("bbp/network/nodes.h5", "lgn", "*"),
            ("snap/nodes.h5", "default", "*"),
            ("snap/nodes.h5", "default2", "*"),
            ("snap/nodes_no_rotation.h5", "default", "*"),
            ("snap/nodes_no_xz_rotation.h5", "default", "*"),
            ("snap/nodes_points.h5", "default", "*"),
            ("snap/nodes_quaternions.h5", "default", "*"),
            ("snap/nodes_single_pop.h5", "default", "*"),
            ("snap/nodes_with_library_small.h5", "default", "*"),
            ("tricky/01_both_dialects/bbp/nodes.h5", "ca", "*"),
            ("tricky/02_missing_groups/nodes.h5", "no_group_at_all", "*"),
            ("tricky/02_missing_groups/nodes.h5", "no_group_datasets", "*"),
            ("tricky/04_library/nodes.h5", "bad", "*"),
            ("tricky/04_library/nodes.h5", "p", "*"),
            ("tricky/08_no_csv/nodes.h5", "p", "*"),
            ("tricky/10_edge_indices/nodes.h5", "a", "*"),
            ("tricky/10_edge_indices/nodes.h5", "b", "*"),
        },
    },
    "edges": {
        "edges without a table, types or groups are refused": {
            ("allen/edges/edge_index_example.h5", "example", "*"),
            ("bbp/network/edges.h5", "cortex__cortex__chemical", "*"),
            ("bbp/network/edges.h5", "lgn__cortex__chemical", "*"),
            ("snap/edges.h5", "default", "*"),
            ("snap/edges.h5", "default2", "*"),
            ("snap/edges_single_pop.h5", "default", "*"),
            ("tricky/01_both_dialects/bbp/edges.h5", "ca__ca__chemical", "*"),
        },
        "edges of two groups get the values of other rows, in the order of groups": {
            ("tricky/07_two_groups/edges.h5", "p_to_p", "*")
        },
        "an index is needed, and trusted": {
            ("tricky/10_edge_indices/edges.h5", name, "@sources")
            for name in ("no_population", "none", "stale")
        },
    },
}


def _check(found: set[Difference], reasons: Reasons) -> None:
    """Check that the differences found are those listed; ``*`` is any property."""
    listed = {difference for differences in reasons.values() for difference in differences}
    anything = {(file, population) for file, population, name in listed if name == "*"}

    assert {(*one[:2], "*" if one[:2] in anything else one[2]) for one in found} == listed


@needs_files
@pytest.mark.parametrize("kind", ["nodes", "edges"])
def test_libsonata_reads_the_same(kind, libsonata, made, tmp_path):
    storage = {"nodes": libsonata.NodeStorage, "edges": libsonata.EdgeStorage}[kind]

    found = _compare(kind, [FOLDER, made], tmp_path, lambda path, _: _with_libsonata(storage, path))

    _check(found, LIBSONATA[kind])


@needs_files
@pytest.mark.parametrize("kind", ["nodes", "edges"])
def test_bmtk_reads_the_same(kind, bmtk, made, tmp_path):
    found = _compare(kind, [FOLDER, made], tmp_path, partial(_with_bmtk, bmtk, kind))

    _check(found, BMTK[kind])


def _configurations(made: Path) -> list[Path]:
    """Return the configurations of circuits that bluepysnap can open."""
    names = ("snap", "tricky/01_both_dialects/bbp")
    return [*(FOLDER / name for name in names), made / "bbp"]


@needs_files
def test_bluepysnap_reads_the_same_frames(snap, made):
    found = set()
    for directory in _configurations(made):
        theirs = snap.Circuit(str(directory / "circuit_config.json"))
        with open_output(directory / "circuit_config.json") as output:
            for table in output.circuit.populations:
                frame = theirs.nodes[table.population].get()
                for name in frame.columns:
                    if _plain(table.columns[name][:]) != _plain(frame[name]):
                        found.add((directory.name, table.population, name))

    assert found == set()


@needs_files
def test_libsonata_and_bluepysnap_find_the_same_cells_of_node_sets(libsonata, snap, made):
    found = set()
    for directory in _configurations(made):
        theirs = snap.Circuit(str(directory / "circuit_config.json"))
        node_sets = libsonata.NodeSets.from_file(str(directory / "node_sets.json"))
        with open_output(directory / "circuit_config.json") as output:
            for table in output.circuit.populations:
                nodes = theirs.nodes[table.population]
                population = nodes.to_libsonata
                for name in sorted(node_sets.names):
                    ours = _read(lambda table=table, name=name: table.ids[:][table.rows_of(name)])
                    materialized = _read(
                        lambda name=name, population=population, sets=node_sets: sets.materialize(
                            name, population
                        ).flatten()
                    )
                    if ours != materialized or ours != _read(partial(nodes.ids, name)):
                        found.add((directory.name, table.population, name))

    # Node sets are of a circuit: no cell of lgn has the property layer.
    assert found == {("bbp", "lgn", "both")}


def test_libsonata_and_bluepysnap_find_no_populations_without_their_names(libsonata, snap, made):
    config = str(made / "allen" / "circuit_config.json")

    assert libsonata.CircuitConfig.from_file(config).node_populations == set()
    assert snap.Circuit(config).nodes.size == 0


def test_bmtk_finds_no_cell_by_text_with_pandas_3_and_all_by_an_unknown_property(bmtk, made):
    pandas = pytest.importorskip("pandas", minversion="3")
    network = made / "allen" / "network"
    files = [str(network / name) for name in ("cortex_nodes.h5", "cortex_node_types.csv")]
    nodes = bmtk.File(files[:1], files[1:]).nodes["cortex"]

    assert [node.node_id for node in nodes.filter(layer=5)] == [4, 5]
    assert list(nodes.filter(ei="e")) == []
    assert len(list(nodes.filter(no_such_property=1))) == 8
    assert pandas


def test_bluepysnap_matches_patterns_of_queries_in_full_and_those_of_node_sets_anywhere(snap, made):
    nodes = snap.Circuit(str(made / "bbp" / "circuit_config.json")).nodes["cortex"]

    assert nodes.ids({"mtype": {"$regex": "PC"}}).tolist() == []
    assert nodes.ids("pyramids").tolist() == [0, 2, 4, 6]
