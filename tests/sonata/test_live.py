"""What bmtk and BlueCelluLab write in a run is read as it was recorded."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from ndx_simulation_output import convert, export_sonata, open_output
from ndx_simulation_output.recording import RegularTimes, Unit
from ndx_simulation_output.sonata.morphologies import read_swc
from tests.conftest import DATA
from tests.sonata.making import SESSION, differences

Run = Callable[..., Path]

pytestmark = pytest.mark.filterwarnings("ignore::ndx_simulation_output.errors.UnitWarning")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs a simulator and returns the directory of the run.

    ``morphologies`` are texts of SWC files by name.
    """

    def _run(
        simulator: str,
        *modules: str,
        morphologies: Mapping[str, str] = {},
        directory: Path = tmp_path,
    ) -> Path:
        for module in modules:
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"{module} is not installed")
        for name, text in morphologies.items():
            (tmp_path / "morphologies").mkdir(exist_ok=True)
            (tmp_path / "morphologies" / name).write_text(text, encoding="utf-8")
        script = Path(__file__).with_name("running.py")
        command = [sys.executable, str(script), simulator, str(directory)]
        subprocess.run(command, check=True, capture_output=True)
        return directory

    return _run


def test_values_of_bionet_have_the_name_of_their_variable(run: Run) -> None:
    directory = run("bionet", "bmtk", "neuron")

    with open_output(directory / "simulation_config.json") as output:
        largest = {
            (report.name, report.variable): float(np.abs(report.data[:]).max())
            for report in output.reports
        }
        notes = output.notes
    variables = {"m_report": "m_hh", "list": "v", "x.hdf": "v"}.items()
    assert set(largest) == {(f"{name}_{pop}", v) for name, v in variables for pop in ("l4", "l5")}
    assert all((value > 50) is (variable == "v") for (_, variable), value in largest.items())
    assert sum("bmtk stores the values of the last" in note for note in notes) == 4


def test_rates_of_filternet_have_unit_times_and_ids(run: Run) -> None:
    directory = run("filternet", "bmtk", "sympy")

    for source in ("simulation_config.json", "output", "output/rates.csv"):
        with open_output(directory / source) as output:
            lgn, lp = output.reports
            spiking = [spikes.population for spikes in output.spikes]
            assert sum("columns of zeros were left out" in note for note in output.notes) == 2
            assert (lgn.unit, lgn.times) == (Unit("hertz"), RegularTimes(0.0, 1000.0, 201))
            assert lgn.compartments.cell_ids[:].tolist() == [0, 1, 2, 3]
            assert lp.compartments.cell_ids[:].tolist() == [0, 1, 2]
            assert lgn.data[:].max() > 0
        assert spiking == ([] if source.endswith(".csv") else ["LGN", "LP"])


def test_positions_of_bluecellulab_are_those_that_it_recorded(run: Run) -> None:
    directory = run("bluecellulab", "bluecellulab")
    recorded = json.loads((directory / "positions.json").read_text())

    with open_output(directory / "simulation_config.json") as output:
        for name in ("all", "center", "absent", "set"):
            report = output[name]
            table = report.compartments
            for cell in table.cell_ids[:].tolist():
                found = table.values("position", table.find(cell))
                assert np.allclose(found, recorded[name][str(cell)], rtol=1e-12)


def tree(seed: int) -> str:
    """Return the text of an SWC file of a random tree with an axon.

    The soma is one point, a sphere of three points, or a chain with neurites at its ends.
    """
    random = np.random.default_rng(seed)
    center, radius = random.normal(size=3) * 200, float(random.integers(4, 9))
    up = np.array([0, radius, 0])
    somata = [[center], [center, center - up, center + up], [center + n * up for n in range(4)]]
    points = somata[seed % 3]
    parents = [[-1], [-1, 1, 1], [-1, 1, 2, 3]][seed % 3]
    rows = [[1, *at, radius, parent] for at, parent in zip(points, parents, strict=True)]
    n_soma = len(rows)
    for number in range(12):
        is_stem = number < 3
        roots = [1, n_soma] if seed % 3 == 2 else [1]
        parent = (
            int(random.choice(roots)) if is_stem else int(random.integers(n_soma, len(rows))) + 1
        )
        if not is_stem and rows[parent - 1][5] <= n_soma:
            continue  # Programs differ if a branch is at the first point of a stem.
        kind = 2 + number if is_stem else rows[parent - 1][0]
        at = np.array(rows[parent - 1][1:4])
        for point in range(int(random.choice([2, 3, 12] if is_stem else [1, 2, 12]))):
            at = at + random.normal(size=3) * 9
            kind = int(random.choice([2, 3, 4])) if point > 1 and random.random() < 0.05 else kind
            rows.append([kind, *at, random.uniform(0.1, 2), parent])
            parent = len(rows)
    return "\n".join(
        f"{line} {row[0]} {' '.join(f'{value:.6g}' for value in row[1:5])} {row[5]}"
        for line, row in enumerate(rows, 1)
    )


def test_sections_are_those_of_import3d(run: Run) -> None:
    directory = run("sections", "neuron", morphologies={f"{n}.swc": tree(n) for n in range(60)})
    imported = json.loads((directory / "sections.json").read_text())
    names = {1: "soma", 2: "axon", 3: "dend", 4: "apic"}

    for name, sections in imported.items():
        found = read_swc(directory / "morphologies" / name)
        assert [names[kind] for kind in found.types] == [section for section, _ in sections]
        assert found.ends.tolist() == np.cumsum([len(points) for _, points in sections]).tolist()
        points = np.vstack([np.array(points) for _, points in sections])
        assert np.allclose(found.points, points, rtol=1e-6, atol=1e-6)


def test_places_are_those_of_bionet(run: Run) -> None:
    texts = {f"{n}.swc": tree(n) for n in range(9)}
    genuine = DATA / "circuits" / "allen" / "shared_components" / "morphologies"
    texts |= {path.name: path.read_text() for path in genuine.glob("*.swc")}
    directory = run("places", "bmtk", "neuron", morphologies=texts)
    recorded = np.load(directory / "places.npz")

    with open_output(directory / "simulation_config.json") as output:
        somata, table = output["soma"].compartments, output["all"].compartments
        for axis in "xyz":
            assert np.array_equal(somata.columns[axis][:], somata.cell_columns[axis][:])
        for cell in table.cell_ids[:].tolist():
            columns = table.find(cell)
            axes = ("x", "y", "z", "diameter")
            found = np.stack([table.values(axis, columns) for axis in axes], axis=1)
            known = np.isfinite(found).all(axis=1)
            assert np.allclose(found[known], recorded[str(cell)][known], atol=1e-3)
        (note,) = table.notes()
    # dL is 15: each stub of 30 µm has three segments.
    assert f"{6 * 2 * len(texts)} compartments, of {2 * len(texts)} cells" in note
    assert "stubs that replace the axon" in note


def test_an_exported_circuit_runs_in_bionet_as_the_original(run: Run, tmp_path: Path) -> None:
    original = run("circuit", "bmtk", "neuron")
    nwb, back = tmp_path / "run.nwb", tmp_path / "back"
    convert(original / "simulation_config.json", nwb, metadata=SESSION, circuit=True, edges=True)

    for dialect in (None, "allen"):
        export_sonata(nwb, back, dialect=dialect, overwrite=True)
        shutil.rmtree(back / "output")
        for folder in ("models", "mechanisms", "morphologies", "synapses"):  # not in the NWB file
            shutil.copytree(original / folder, back / folder, dirs_exist_ok=True)
        run("again", directory=back)

        for name in ("output/v.h5", "output/deep.h5", "output/spikes.h5"):
            assert differences(original / name, back / name) == []
    with open_output(original / "simulation_config.json") as output:
        assert output.spikes[0].times.tolist()
