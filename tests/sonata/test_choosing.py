"""Node sets and properties choose the same cells as libsonata, and the same from every file."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ndx_simulation_output import convert, open_output
from ndx_simulation_output.errors import SelectionError
from tests.conftest import DATA
from tests.sonata.making import SESSION

CIRCUITS = DATA / "circuits"
pytestmark = [
    pytest.mark.skipif(
        not CIRCUITS.is_dir(), reason="no genuine circuits; set NDX_TEST_DATA to their directory"
    ),
    pytest.mark.filterwarnings("ignore::ndx_simulation_output.errors.SimulationOutputWarning"),
]
TRICKY = CIRCUITS / "tricky" / "01_both_dialects"


@pytest.mark.parametrize("dialect", ["allen", "bbp"])
def test_node_sets_choose_the_expected_cells(dialect):
    expected = json.loads((CIRCUITS / "tricky" / "EXPECTED.json").read_text(encoding="utf-8"))
    node_sets = json.loads((TRICKY / dialect / "node_sets.json").read_text(encoding="utf-8"))
    with open_output(TRICKY / dialect / "circuit_config.json") as output:
        table = with_node_sets(output.circuit["ca"], node_sets)
        found = {name: table.ids[table.rows_of(name)].tolist() for name in node_sets}
    assert found == expected["01_both_dialects"]["node_sets"]


def with_node_sets(cells, node_sets):
    return type(cells)(cells.population, cells.ids[:], cells.columns, node_sets=node_sets)


@pytest.mark.parametrize(
    ("config", "nodes", "node_sets"),
    [
        (TRICKY / "bbp" / "circuit_config.json", "nodes.h5", "node_sets.json"),
        *(
            (CIRCUITS / "snap" / "circuit_config.json", "nodes.h5", f"node_sets{name}.json")
            for name in ("", "_extra", "_file", "_simple")
        ),
    ],
)
def test_node_sets_agree_with_libsonata(config: Path, nodes: str, node_sets: str):
    libsonata = pytest.importorskip("libsonata", reason="libsonata is not installed")
    path = config.parent / node_sets
    theirs = libsonata.NodeSets.from_file(str(path))
    storage = libsonata.NodeStorage(str(config.parent / nodes))
    sets = json.loads(path.read_text(encoding="utf-8"))
    n_compared = 0
    with open_output(config) as output:
        for cells in output.circuit.populations:
            table = with_node_sets(cells, sets)
            population = storage.open_population(cells.population)
            for name in sets:
                try:
                    expected = theirs.materialize(name, population).flatten().tolist()
                except libsonata.SonataError:
                    with pytest.raises(SelectionError, match="has no property 'unknown_property'"):
                        table.rows_of(name)
                    continue
                assert table.rows_of(name).tolist() == expected, (cells.population, name)
                n_compared += 1
    assert n_compared >= len(sets) - 1


def test_a_genuine_run_is_chosen_from_sonata_nwb_and_zarr(tmp_path):
    pytest.importorskip("hdmf_zarr")
    run = CIRCUITS / "allen" / "9_cells"
    options = {"unit": {"membrane_potential": "mV"}}
    paths = [run, tmp_path / "run.nwb", tmp_path / "run.nwb.zarr"]
    for path in paths[1:]:
        convert(run, path, metadata=SESSION, **options)
    found = []
    for path in paths:
        with open_output(path, **(options if path == run else {})) as output:
            report = output["membrane_potential"]
            e_cells = report.select({"model_type": "biophysical", "ei": "e"}, start=0.1, stop=0.11)
            means = report.mean_by("model_name", cells="biophys_cells", stop=0.05, step=10)
            some = output.select_cells({"x": {"$gte": 60}}).reports
            found.append(
                [
                    e_cells.values.tolist(),
                    e_cells.properties["soma_x"].tolist(),
                    e_cells.properties["model_name"].tolist(),
                    means.values.tolist(),
                    means.groups.tolist(),
                    means.n_cells.tolist(),
                    [one.compartments.cell_ids[:].tolist() for one in some],
                    output.spikes[0].rate_by("ei", stop=3.0)["n_spikes"].to_dict(),
                ]
            )
    assert found[0] == found[1] == found[2]
    assert found[0][1] == [*range(3), *range(30, 33), *range(60, 63)]
    assert (found[0][4], found[0][5]) == (["Nr5a1", "Rorb", "Scnn1a"], [3, 3, 3])
    assert found[0][6] == [[6, 7, 8]]


def test_genuine_spikes_of_groups_count_silent_cells():
    run = CIRCUITS / "allen" / "300_pointneurons" / "circuit_config.json"
    spikes = DATA / "sonata" / "allen_300intfire_spikes.h5"
    with open_output([spikes, run]) as output:
        cells = output.circuit["internal"]  # The file of spikes names it v1.
        of_run = replace(output.spikes[0], population="internal", cells=cells)
        rates = of_run.rate_by("ei", stop=3.0)
        n_cells = len(of_run.cells)
    assert rates["n_cells"].sum() == n_cells == 300
    assert rates["n_spikes"].sum() == len(of_run.times)
    assert np.allclose(rates["rate"], rates["n_spikes"] / rates["n_cells"] / 3.0)
