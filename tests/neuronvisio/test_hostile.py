"""Files that are damaged or mean harm end in an error that says where, and in no other way."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output import open_output
from ndx_simulation_output.errors import SimulationOutputError, SourceError
from ndx_simulation_output.recording.morphology import read_neuroml
from tests.neuronvisio.making import neuroml, storage

BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (neuroml(head=BOMB), "declares a document type"),
        (neuroml(head='<!DOCTYPE x SYSTEM "file:///etc/passwd">'), "declares a document type"),
        (neuroml()[:-20], "cannot be read as NeuroML"),
        ("no XML at all", "cannot be read as NeuroML"),
        (neuroml().replace('x="0"', 'x="far"'), "cannot be read as NeuroML"),
        (neuroml().replace("<meta:value>4<", "<meta:value>four<"), "cannot be read as NeuroML"),
    ],
    ids=["bomb", "outside", "cut", "text", "point", "segments"],
)
def test_a_geometry_that_is_no_neuroml_is_refused(tmp_path, text, message):
    path = storage(tmp_path / "storage.h5", geometry=text)

    with pytest.raises(SourceError, match=f"geometry/geom of storage.h5.*{message}"):
        open_output(path)


@pytest.mark.parametrize("text", ["<a/>", "<neuroml><cells/></neuroml>", "<segment/>", "<cell/>"])
def test_xml_without_sections_has_none(text):
    assert read_neuroml(text, "here").sections == ()


@pytest.mark.parametrize("value", ["inf", "nan", "1e308", "-1e308"])
def test_points_that_are_nowhere_are_no_error(tmp_path, value):
    path = storage(tmp_path / "storage.h5", geometry=neuroml().replace('x="20"', f'x="{value}"'))

    with open_output(path) as output:
        assert output["v"].data.shape == (5, 1)


def test_deep_xml_is_read_or_refused(tmp_path):
    text = neuroml(head="<!-- -->").replace("</neuroml>", "<a>" * 10_000 + "</a>" * 10_000)

    with pytest.raises(SourceError, match="cannot be read as NeuroML"):
        read_neuroml(text, "here")


@pytest.mark.parametrize("geometry", [np.float64(3.0), np.zeros(3), np.array([b"a", b"b"])])
def test_a_geometry_of_another_type_is_refused_or_left_out(tmp_path, geometry):
    path = storage(tmp_path / "storage.h5", geometry=None)
    with h5py.File(path, "r+") as file:
        file["geometry/geom"] = geometry

    try:
        with open_output(path) as output:
            assert "no geometry" in output.notes[0]
    except SourceError as error:
        assert "expected NeuroML text" in str(error)  # noqa: PT017


def test_text_that_is_not_utf8_is_refused(tmp_path):
    path = storage(tmp_path / "storage.h5", geometry=None)
    with h5py.File(path, "r+") as file:
        file["geometry/geom"] = np.bytes_(b"<a>\xff</a>")

    with pytest.raises(SourceError, match=r"storage.h5 cannot be read"):
        open_output(path)


def test_results_that_are_an_array_are_no_storage(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["results"] = 1.0
        file["geometry/geom"] = "text"

    with pytest.raises(SourceError, match="has none of report"):
        open_output(tmp_path / "other.h5")


def test_hdf5_that_is_not_of_pytables_is_no_storage(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["results/a/b"] = 1.0

    with pytest.raises(SourceError, match="has none of report"):
        open_output(tmp_path / "other.h5")


@pytest.mark.parametrize(
    "nodes",
    [
        {"VecRef/x/v": np.zeros(3)},
        {"VecRef/x": np.zeros(3), "VecRef/soma/v/w/q": np.zeros(3)},
        {"VecRef/x": h5py.Empty("f8"), "VecRef/soma/v": np.zeros(3)},
        {"VecRef/x": h5py.Empty("f8"), "VecRef/soma/v": h5py.Empty("f8")},
        {"VecRef": None},
    ],
    ids=["x is a group", "deep", "null x", "null values", "empty group"],
)
def test_things_in_wrong_places_are_read_as_far_as_they_go(tmp_path, nodes):
    path = storage(tmp_path / "storage.h5", {})
    with h5py.File(path, "r+") as file:
        for name, value in nodes.items():
            if value is None:
                file.create_group(f"results/{name}")
            else:
                file[f"results/{name}"] = value

    with open_output(path) as output:
        assert output.reports == ()


@pytest.mark.parametrize("value", [1.0, np.zeros(3), "x" * 60_000, np.bytes_(b"\xff\xfe")])
def test_details_of_any_kind_are_no_error(tmp_path, value):
    path = storage(tmp_path / "storage.h5")
    with h5py.File(path, "r+") as file:
        file["results/VecRef/soma/v"].attrs["TITLE"] = value

    with open_output(path) as output:
        assert output["v"].data.shape == (5, 1)


def test_a_truncated_file_says_so(tmp_path):
    path = storage(tmp_path / "storage.h5")
    content = path.read_bytes()

    for length in range(0, len(content), 997):
        path.write_bytes(content[:length])
        with pytest.raises(SimulationOutputError, match=r"storage.h5"):
            open_output(path).close()


@given(st.data())
def test_damaged_bytes_end_in_our_errors_or_are_read(tmp_path_factory, data):
    path = storage(tmp_path_factory.mktemp("damaged") / "storage.h5")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)

    try:
        with open_output(path) as output:
            for report in output.reports:
                report.get_traces()
    except SimulationOutputError as error:
        assert "storage.h5" in str(error)  # noqa: PT017
    except UserWarning:
        pass  # such as a unit that is not known


def test_sqlite_is_refused(tmp_path):
    path = tmp_path / "storage.sqlite"
    path.write_bytes(b"SQLite format 3\0" + bytes(100))

    with pytest.raises(SourceError, match=r"SQLite file, as Neuronvisio 0\.4 wrote"):
        open_output(path)
