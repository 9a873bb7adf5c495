"""Compartments of SONATA reports are where the simulators had them, or it is said why not."""

import importlib.util
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynwb import NWBHDF5IO

from ndx_simulation_output import convert, export_sonata, open_output
from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.recording import (
    CellTable,
    CompartmentTable,
    RegularTimes,
    Report,
    Unit,
)
from ndx_simulation_output.sonata.morphologies import Morphology, MorphologyFiles, read_swc
from ndx_simulation_output.sonata.places import add_places, rotations
from tests.sonata.circuits import MORPHOLOGIES, write_run
from tests.sonata.making import SESSION

SPHERE = "1 1 0 0 0 5 -1\n2 1 0 -5 0 5 1\n3 1 0 5 0 5 1\n"
STEM = "4 3 10 0 0 1 1\n5 3 50 0 0 1 4\n"


@pytest.fixture
def files(tmp_path: Path) -> MorphologyFiles:
    """Return a directory with the morphologies of the tests."""
    for name, (text, _) in MORPHOLOGIES.items():
        (tmp_path / f"{name}.swc").write_text(text, encoding="utf-8")
    moved = [line.split() for line in MORPHOLOGIES["pyramid"][0].splitlines()]
    text = "".join(f"{a} {b} {float(x) + 300} {y} {z} {r} {p}\n" for a, b, x, y, z, r, p in moved)
    (tmp_path / "moved.swc").write_text(text, encoding="utf-8")
    return MorphologyFiles({"swc": tmp_path})


def recorded(
    sections: tuple[int, ...], dialect: str = "allen", kind: str = "compartment"
) -> Report:
    """Return a report of all segments of a cell whose sections have these numbers of segments."""
    numbers = np.repeat(np.arange(len(sections)), sections)
    positions = np.concatenate([(np.arange(n) + 0.5) / n for n in sections])
    columns = {"number": numbers, "position": positions}
    table = CompartmentTable.from_counts("cortex", [7], [len(numbers)], columns)
    data, provenance = np.zeros((1, len(numbers))), {"dialect": dialect, "kind": kind}
    times = RegularTimes(0.0, 1.0, 1)
    return Report("v", "v", data, times, table, Unit("volts"), provenance=provenance)


PYRAMID = MORPHOLOGIES["pyramid"][1]
DENDRITE = 4  # the place of the third of the five segments of section 2, at y = -60


def placed(
    files: MorphologyFiles,
    report: Report | None = None,
    segment: float | None = None,
    **properties: Any,
) -> CompartmentTable:
    """Return the compartments of a report of a cell with these properties."""
    values: dict[str, Any] = {"x": 100.0, "y": 200.0, "z": 300.0, "morphology": "pyramid"}
    values |= properties
    columns = {
        name: np.array([value], object if isinstance(value, str) else float)
        for name, value in values.items()
        if value is not None
    }
    report = recorded(PYRAMID) if report is None else report
    return add_places(report, CellTable("cortex", [7], columns), files, segment).compartments


def place(table: CompartmentTable, compartment: int = DENDRITE) -> list[float]:
    """Return x, y and z of a compartment."""
    return [float(table.columns[axis][compartment]) for axis in "xyz"]


def test_segments_are_at_their_places_in_the_morphology(files: MorphologyFiles) -> None:
    table = placed(files)

    assert np.allclose(place(table), [100, 140, 300])
    assert np.allclose(place(table, 0), [100, 200, 300])
    assert np.allclose(place(table, -1), [90, 320, 300])
    assert table.columns["diameter"][:].tolist() == [20, 1, *[2] * 5, *[4] * 5, 3, 3]
    assert table.columns["y"][::-1].tolist() == table.columns["y"][:][::-1].tolist()
    assert table.notes() == ()


RIGHT = math.pi / 2
ANGLES = tuple(f"rotation_angle_{axis}axis" for axis in "xyz")
QUATERNION = tuple(f"orientation_{part}" for part in "wxyz")


TURNED = dict(zip(QUATERNION, (1, 0, 0, 1), strict=True))


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({ANGLES[2]: RIGHT}, [160, 200, 300]),
        ({ANGLES[0]: RIGHT}, [100, 200, 240]),
        ({ANGLES[0]: RIGHT, ANGLES[2]: RIGHT}, [160, 200, 300]),
        (dict.fromkeys(ANGLES, math.nan), [100, 140, 300]),
        (dict(zip(QUATERNION, (2, 0, 0, 2), strict=True)), [160, 200, 300]),
        (dict(zip(QUATERNION, (1, 0, 0, 0), strict=True)) | {ANGLES[2]: 1.0}, [100, 140, 300]),
    ],
)
def test_cells_are_turned_about_z_then_y_then_x(
    files: MorphologyFiles, properties: dict[str, float], expected: list[float]
) -> None:
    table = placed(files, **properties)

    assert np.allclose(place(table), expected)


@pytest.mark.parametrize("w", [0.0, math.nan, None])
def test_a_cell_is_not_turned_by_a_quaternion_that_is_none(
    files: MorphologyFiles, w: float | None
) -> None:
    parts = {f"orientation_{part}": 0.0 for part in "xyz"}
    table = placed(files, orientation_w=w, rotation_angle_zaxis=None, **parts)

    assert np.isnan(place(table)).all()
    assert np.allclose(place(table, 0), [100, 200, 300])
    assert "13 compartments, of 1 cell, are unknown: " in table.notes()[0]


@given(st.lists(st.lists(st.floats(-1, 1), min_size=4, max_size=4), min_size=1, max_size=5))
@settings(deadline=None, max_examples=30)
def test_quaternions_turn_as_in_scipy(parts: list[list[float]]) -> None:
    rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    columns = dict(zip((f"orientation_{part}" for part in "wxyz"), np.array(parts).T, strict=True))

    for of_cell, found in zip(parts, rotations(columns, len(parts)), strict=True):
        if np.linalg.norm(of_cell) > 1e-6:
            expected = rotation.from_quat([*of_cell[1:], of_cell[0]]).as_matrix()
            assert np.allclose(found, expected, atol=1e-12)


@given(st.lists(st.lists(st.floats(-7, 7), min_size=3, max_size=3), min_size=1, max_size=5))
@settings(deadline=None, max_examples=30)
def test_angles_turn_as_in_scipy(angles: list[list[float]]) -> None:
    rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    names = (f"rotation_angle_{axis}axis" for axis in "xyz")
    columns = dict(zip(names, np.array(angles).T, strict=True))

    expected = rotation.from_euler("XYZ", angles).as_matrix()
    assert np.allclose(rotations(columns, len(angles)), expected, atol=1e-12)


@pytest.mark.parametrize(
    "properties",
    [
        {"model_processing": "aibs_perisomatic", "dynamics_params": "pyramid.json"},
        {"model_processing": "aibs_perisomatic"},
        {"model_processing": "aibs_allactive_directed,extracellular"},
        {"model_template": "nml:cell.nml"},
    ],
)
def test_a_replaced_axon_has_no_places_and_later_sections_shift(
    files: MorphologyFiles, properties: dict[str, str]
) -> None:
    table = placed(files, recorded((PYRAMID[0], *PYRAMID[2:], 1, 1)), **properties)

    assert np.allclose(place(table, DENDRITE - 1), [100, 140, 300])
    assert np.isnan(table.columns["x"][:]).nonzero()[0].tolist() == [13, 14]
    (note,) = table.notes()
    assert note == (
        "report 'v': x, y and z of 2 compartments, of 1 cell, are unknown: they are stubs that "
        "replace the axon"
    )


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"model_template": "hoc:Cell"}, "model_template hoc:Cell has its own sections"),
        ({"model_processing": "my_axon"}, "model_processing my_axon is not known"),
        (
            {"model_processing": "aibs_allactive"},
            "they do not fit the sections of pyramid with dL 20",
        ),
        ({"segment": 7.0}, "they do not fit the sections of pyramid with dL 7"),
        ({"morphology": "basket"}, "they do not fit the sections of basket"),
        ({"morphology": "gone"}, "there is no gone.swc"),
        ({"morphology": "../pyramid"}, "is outside"),
        ({"morphology": "/etc/hostname"}, "is outside"),
        ({"morphology": None}, "the circuit names no morphology"),
    ],
)
def test_where_it_is_not_certain_only_the_soma_has_a_place(
    files: MorphologyFiles, properties: dict[str, Any], reason: str
) -> None:
    table = placed(files, **properties)

    assert np.allclose(place(table, 0), [100, 200, 300])
    assert np.isnan(table.columns["x"][1:]).all()
    assert reason in table.notes()[0]


@pytest.mark.parametrize("x", [math.nan, math.inf, "left"])
def test_a_cell_without_place_has_none(files: MorphologyFiles, x: Any) -> None:
    table = placed(files, x=x)

    assert np.isnan([place(table), place(table, 0)]).all()
    assert "the circuit does not say where the cell is" in table.notes()[0]


def test_a_turn_that_is_not_a_number_is_unknown(files: MorphologyFiles) -> None:
    table = placed(files, rotation_angle_yaxis="north")

    assert np.isnan(place(table)).all()
    assert place(table, 0) == [100, 200, 300]


def test_somata_and_point_neurons_are_where_their_cells_are(files: MorphologyFiles) -> None:
    point: dict[str, Any] = {"model_type": "point_neuron", "morphology": None}
    for properties in ({}, {"morphology": "gone"}, point):
        table = placed(files, recorded((1,)), **properties)
        assert place(table, 0) == [100, 200, 300]
        assert table.notes() == ()


@pytest.mark.parametrize("kind", ["synapse", "summation", "lfp"])
def test_elements_that_are_no_compartments_have_no_places(
    files: MorphologyFiles, kind: str
) -> None:
    table = placed(files, recorded((1,), kind=kind))

    assert "x" not in table.columns
    assert "its elements are no compartments" in table.notes()[0]


def test_bmtk_moves_the_soma_to_the_place_of_the_cell(files: MorphologyFiles) -> None:
    assert np.allclose(place(placed(files, morphology="moved")), [100, 140, 300])
    table = placed(files, morphology="moved", recenter=0)
    assert np.isnan(table.columns["x"][:]).all()
    assert "recenter is 0, which bmtk ignores" in table.notes()[0]
    assert np.allclose(place(placed(files, recenter=0)), [100, 140, 300])


def test_stubs_of_the_axon_do_not_prevent_places_of_dendrites(files: MorphologyFiles) -> None:
    sections = (PYRAMID[0], 3, *PYRAMID[2:])
    table = placed(files, recorded(sections, "bbp"), **TURNED)

    assert np.isnan(table.columns["x"][:]).nonzero()[0].tolist() == [1, 2, 3]
    assert np.allclose(place(table, DENDRITE + 2), [160, 200, 300])


def test_programs_of_blue_brain_do_not_move_the_soma(files: MorphologyFiles) -> None:
    table = placed(files, recorded(PYRAMID, "bbp"), morphology="moved", **TURNED)

    assert np.allclose(place(table), [160, 500, 300])
    assert np.allclose(place(table, 0), [100, 500, 300])
    assert np.isnan(table.columns["x"][:]).nonzero()[0].tolist() == [1]
    assert "in the axon" in table.notes()[0]


def test_angles_about_several_axes_are_ambiguous_in_runs_of_blue_brain(
    files: MorphologyFiles,
) -> None:
    report = recorded(PYRAMID, "bbp")

    one = placed(files, report, **{ANGLES[1]: 0.3})
    several = placed(files, report, **{ANGLES[1]: 0.3, ANGLES[0]: 0.2})
    only_z = placed(files, report, **{ANGLES[2]: 0.3})
    assert np.isfinite(place(one)).all()
    assert np.isnan(place(several)).all()
    assert np.isnan(place(only_z)).all()
    assert "how they turn the cell" in several.notes()[0]


def test_sections_of_blue_brain_have_numbers_that_programs_agree_on(files: MorphologyFiles) -> None:
    folder = files.folders["swc"]
    lines = ["1 1 0 0 0 9 -1", "2 4 0 10 0 1 1", "3 4 0 70 0 1 2", "4 3 0 -10 0 1 1"]
    for name, last in (("same", -70), ("other", -170)):
        text = "\n".join([*lines, f"5 3 0 {last} 0 1 4"])
        (folder / f"{name}.swc").write_text(text, encoding="utf-8")

    ambiguous = placed(files, recorded((1, 3, 3), "bbp"), morphology="same")
    of_neurodamus = placed(files, recorded((1, 9, 3), "bbp"), morphology="other")
    in_file = placed(files, recorded((1, 3, 9), "bbp"), morphology="other")
    assert "programs number them differently" in ambiguous.notes()[0]
    assert place(of_neurodamus, 1)[1] < 200 < place(in_file, 1)[1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("1 1 0 0 0 5\n", "cannot be read"),
        ("one 1 0 0 0 5 -1\n", "cannot be read"),
        ("1 1 0 nan 0 5 -1\n", "not finite"),
        ("1 1 0 1e300 0 5 -1\n", "too large"),
        ("1 1.5 0 0 0 5 -1\n", "ids that are not integers"),
        ("1 1 0 0 0 5 1\n", "a root whose parent is not -1"),
        ("2 1 0 0 0 5 -1\n1 3 0 0 0 1 2\n", "not sorted by id"),
        ("1 1 0 0 0 5 -1\n2 3 9 0 0 1 3\n3 3 9 0 0 1 2\n", "points before their parents"),
        ("1 1 0 0 0 5 -1\n2 3 9 0 0 1 2\n", "points before their parents"),
        ("1 1 0 0 0 5 -1\n3 3 9 0 0 1 2\n", "points without parent"),
        ("1 1 0 0 0 5 -1\n2 3 9 0 0 1 -1\n", "several trees"),
        ("1 3 0 0 0 5 -1\n2 3 9 0 0 1 1\n", "no soma at the root"),
        ("1 1 0 0 0 5 -1\n2 3 9 0 0 1 1\n3 3 19 0 0 -1 2\n", "negative radii"),
        ("1 1 0 0 0 5 -1\n2 3 9 0 0 1 1\n3 1 9 0 0 1 2\n", "somata on neurites"),
        ("1 1 0 0 0 5 -1\n2 5 9 0 0 1 1\n3 5 9 3 0 1 2\n", "types other than 1 to 4"),
        ("1 1 0 0 0 5 -1\n2 3 9 0 0 1 1\n", "sections of one point on the soma"),
        ("1 1 0 0 0 5 -1\n2 1 0 8 0 5 1\n3 1 0 -9 0 5 1\n", "a soma of several sections"),
        (SPHERE + "4 3 10 0 0 1 2\n5 3 50 0 0 1 4\n", "a soma of several sections"),
        ("1 1 0 0 0 5 -1\n2 3 9 0 0 1 1\n3 3 9 3 0 1 2\n4 1 0 1 0 5 1\n", "not together"),
    ],
)
def test_a_morphology_that_is_damaged_or_ambiguous_is_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "m.swc"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(SourceError, match=f"m.swc.*{reason}"):
        read_swc(path)


def test_a_soma_of_three_points_is_a_sphere(tmp_path: Path) -> None:
    path = tmp_path / "m.swc"
    path.write_text("﻿" + SPHERE.replace("\n", "\r\n") + STEM, encoding="utf-8")

    morphology = read_swc(path)

    assert morphology.lengths.tolist() == [10, 40]
    assert morphology.points[:3, 0].tolist() == [-5, 0, 5]


def test_dendrites_at_the_ends_of_a_soma_are_known_for_present_bmtk(files: MorphologyFiles) -> None:
    folder, soma = files.folders["swc"], "1 1 0 0 0 5 -1\n2 1 0 8 0 5 1\n3 1 0 16 0 5 2\n"
    for name, root in (("ends", 3), ("inside", 2)):
        text = f"{soma}4 3 10 8 0 1 {root}\n5 3 50 8 0 1 4\n"
        (folder / f"{name}.swc").write_text(text, encoding="utf-8")
    old = MorphologyFiles(files.folders, old_import=True)

    for where, name, dialect in (
        (files, "inside", "allen"),
        (old, "ends", "allen"),
        (files, "ends", "bbp"),
    ):
        table = placed(where, recorded((1, 3), dialect), morphology=name)
        assert np.isnan(table.columns["x"][1:]).all()
        assert "a soma of several points" in table.notes()[0]
    table = placed(files, recorded((1, 3)), morphology="ends")
    assert place(table, 0) == [100, 200, 300]
    assert np.allclose(place(table, 3), [100 + 10 + 40 - math.hypot(10, 8) / 6 - 40 / 6, 200, 300])


def test_morphologies_are_found_by_name_with_and_without_suffix(files: MorphologyFiles) -> None:
    folder = files.folders["swc"]
    (folder / "a" / "b.c").mkdir(parents=True)
    (folder / "a" / "b.c" / "cell.1.swc").write_text(SPHERE + STEM, encoding="utf-8")
    outside = folder.parent / f"{folder.name}_outside.swc"
    outside.write_text(SPHERE + STEM, encoding="utf-8")
    (folder / "link.swc").symlink_to(outside)

    for name in ("pyramid", "pyramid.swc", "a/b.c/cell.1", "a/b.c/cell.1.swc"):
        assert isinstance(files.read(name), Morphology)
    with pytest.raises(SourceError, match="is outside"):
        files.read("link")
    assert isinstance(MorphologyFiles(files.folders, trust=True).read("link"), Morphology)


def test_other_formats_are_read_if_morphio_is_there_and_else_it_is_named(tmp_path: Path) -> None:
    text = '("CellBody" (CellBody) (4 0 0 0) (0 4 0 0) (-4 0 0 0) (0 -4 0 0))\n'
    text += "((Dendrite) (0 4 0 2) (0 50 0 2) ((0 60 0 2) (0 90 0 2) | (10 60 0 2) (10 90 0 2)))\n"
    (tmp_path / "cell.asc").write_text(text, encoding="utf-8")
    files = MorphologyFiles({"swc": tmp_path, "neurolucida-asc": tmp_path})

    if importlib.util.find_spec("morphio") is None:
        table = placed(files, morphology="cell")
        assert "pip install 'ndx-simulation-output[morphology]'" in table.notes()[0]
    else:
        morphology = files.read("cell")
        assert np.allclose(morphology.lengths[1:], [46, 40, math.hypot(10, 10) + 30])
        assert morphology.is_centered


def test_a_container_of_morphologies_is_read(tmp_path: Path) -> None:
    pytest.importorskip("morphio")
    points = [[0, 0, 4, 8], [0, 4, 0, 0], [4, 0, 0, 0], [0, 4, 0, 2], [0, 54, 0, 2]]
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["a/points"] = np.array(points, np.float32)
        file["a/structure"] = np.array([[0, 1, -1], [3, 3, 0]], np.int32)
        file.create_group("a/metadata").attrs["version"] = np.array([1, 2], np.uint32)
        file["a/metadata"].attrs["cell_family"] = np.array([0], np.uint32)
    files = MorphologyFiles({"h5v1": tmp_path / "all.h5"})

    assert files.read("a").lengths[1:].tolist() == [50]
    with pytest.raises(SourceError, match=r"there is no b in all\.h5"):
        files.read("b")


def test_places_of_many_cells_are_those_of_each(files: MorphologyFiles) -> None:
    counts = [sum(PYRAMID), 1, sum(PYRAMID), 0]
    one = recorded(PYRAMID).compartments.columns
    columns = {name: np.concatenate([one[name][:], one[name][:1], one[name][:]]) for name in one}
    table = CompartmentTable.from_counts("cortex", [3, 9, 1, 4], counts, columns)
    data = np.zeros((1, sum(counts)))
    report = Report("v", "v", data, RegularTimes(0.0, 1.0, 1), table, Unit("volts"))
    report = Report(**{**vars(report), "provenance": {"dialect": "allen"}})
    properties: dict[str, Any] = {
        **{axis: np.arange(4.0) + number for number, axis in enumerate("xyz")},
        "morphology": np.full(4, "pyramid", object),
        "rotation_angle_yaxis": np.array([0.1, 0.2, 0.3, 0.4]),
    }
    cells = CellTable("cortex", [1, 3, 4, 9], properties)

    found = add_places(report, cells, files).compartments

    for start, stop in ((0, 29), (13, 16), (20, 20), (5, 6)):
        for axis in "xyz":
            whole = found.columns[axis][:]
            assert np.array_equal(whole[start:stop], found.columns[axis][start:stop])
    apical = found.columns["x"][:][[12, 27]], found.columns["z"][:][[12, 27]]
    assert np.allclose(apical[0], [1 + 10 * np.cos(0.2), 10 * np.cos(0.1)])
    assert np.allclose(apical[1], [3 - 10 * np.sin(0.2), 2 - 10 * np.sin(0.1)])
    assert place(found, 14) == [3, 4, 5]


@pytest.mark.filterwarnings("ignore:EnumData is experimental")
@pytest.mark.parametrize("dialect", ["allen", "bbp"])
def test_places_are_in_nwb_with_notes_and_are_not_exported(tmp_path: Path, dialect: str) -> None:
    config = write_run(tmp_path, dialect, per_layer=1)
    options: Any = {"compartments": {"v": "all"}} if dialect == "bbp" else {}
    converted = convert(config, tmp_path / "run.nwb", metadata=SESSION, **options)
    export_sonata(tmp_path / "run.nwb", tmp_path / "back")

    with NWBHDF5IO(tmp_path / "run.nwb", "r") as io:
        nwbfile = io.read()
        table = nwbfile.acquisition["v"].compartments.to_dataframe()
        notes = nwbfile.notes or ""
    first = table.iloc[0]
    assert np.allclose(first["y"][DENDRITE], first["soma_y"] - 60)
    assert np.isnan(first["x"]).nonzero()[0].tolist() == ([1] if dialect == "bbp" else [])
    assert ("in the axon" in notes) == ("in the axon" in str(converted.notes)) == (dialect == "bbp")
    with h5py.File(next((tmp_path / "back").rglob("v.h5"))) as file:
        assert not {"x", "y", "z", "diameter"} & set(file["report/cortex/mapping"])


def test_without_its_circuit_a_run_has_no_places(tmp_path: Path) -> None:
    config = write_run(tmp_path, per_layer=1)
    (tmp_path / "morphologies").rename(tmp_path / "elsewhere")

    with open_output(config, nodes=False) as output:
        assert "x" not in output["v"].compartments.columns
    with open_output(config) as output:
        table = output["v"].compartments
        assert np.isfinite(table.columns["x"][:]).sum() == 4
        assert "the directory of morphologies, morphologies, does not exist" in table.notes()[0]
