"""The tree of any HDF5 file, read in parts."""

import h5py
import numpy as np
import pytest

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.viewer.tree import (
    CHILDREN,
    PAGE_ROWS,
    Tree,
    open_hdf5,
    read_children,
    read_node,
    read_table,
)
from tests.viewer.making import a_run


@pytest.fixture
def mixed_file(tmp_path):
    path = tmp_path / "mixed.h5"
    with h5py.File(path, "w") as file:
        file.attrs["title"] = "<script>alert(1)</script>"
        file.attrs["many"] = np.arange(1000)
        file.attrs["nothing"] = h5py.Empty("f8")
        file.attrs["bytes"] = np.bytes_(b"caf\xc3\xa9 \xff")
        for number in range(CHILDREN + 3):
            file.create_group(f"many/{number:04}")
        file["numbers"] = np.arange(3 * PAGE_ROWS)
        file["matrix"] = np.arange(5 * 100.0).reshape(5, 100)
        file["cube"] = np.zeros((3, 2, 4))
        file["record"] = np.array([(1, b"a")], dtype=[("id", "i4"), ("name", "S3")])
        file["text"] = "settings " * 20_000
        file["empty"] = h5py.Empty("f4")
        file["soft"] = h5py.SoftLink("/nowhere")
        file["elsewhere"] = h5py.ExternalLink("gone.h5", "/x")
        file["reference"] = np.array([file["cube"].ref, h5py.Reference()], dtype=h5py.ref_dtype)
    return path


def test_a_file_that_refers_elsewhere_is_not_shown(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (4,), "u1", external=[(str(tmp_path.parent / "raw"), 0, 4)])

    with pytest.raises(SourceError, match=r"x of .* refers to .*raw, outside"):
        Tree([path]).toggle(0)

    tree = Tree([path], trust=True)
    tree.toggle(0)
    assert len(tree.lines) == 2


def test_members_are_listed_in_parts(mixed_file):
    with open_hdf5(mixed_file) as file:
        first, count = read_children(file, "/many")
        rest, _ = read_children(file, "/many", CHILDREN)

    assert count == CHILDREN + 3
    assert len(first) == CHILDREN
    assert [child.name for child in rest] == ["0200", "0201", "0202"]


def test_members_have_a_summary(mixed_file):
    with open_hdf5(mixed_file) as file:
        found = {child.name: child for child in read_children(file, "/")[0]}

    assert found["many"].summary == f"{CHILDREN + 3} members"
    assert found["matrix"].summary == "5 × 100, float64"
    assert found["record"].summary == "1, record of id, name"
    assert found["text"].summary == "one value, text"
    assert found["empty"].summary == "empty"
    assert found["soft"].summary == "→ /nowhere"
    assert found["elsewhere"].summary == "→ gone.h5:/x"


def test_attributes_of_any_type_are_text_of_bounded_length(mixed_file):
    with open_hdf5(mixed_file) as file:
        node = read_node(file, "/")
        value = dict(read_node(file, "/text").facts)["value"]

    found = dict(node.attributes)
    assert found["title"] == "<script>alert(1)</script>"
    assert found["many"].startswith("[0, 1, 2,")
    assert found["many"].endswith("(1,000 values)]")
    assert found["nothing"] == "empty"
    assert found["bytes"].startswith("café")
    assert value.endswith("… (180,000 characters)")


def test_tables_are_read_page_by_page(mixed_file):
    with open_hdf5(mixed_file) as file:
        page = read_table(file, "/numbers", 2 * PAGE_ROWS)
        wide = read_table(file, "/matrix")
        deep = read_table(file, "/cube")
        record = read_table(file, "/record")
        references = read_table(file, "/reference")

    assert page.rows[0] == ("100", "100")
    assert len(page.rows) == PAGE_ROWS
    assert len(wide.names) == 21
    assert wide.note == "20 of 100 columns"
    assert deep.note == "the first of all further dimensions"
    assert record.names == ("row", "id", "name")
    assert record.rows == (("0", "1", "a"),)
    assert [row[1] for row in references.rows] == ["reference", "no reference"]


def test_ragged_columns_of_an_nwb_table_are_read_row_by_row(tmp_path):
    with open_hdf5(a_run(tmp_path / "run.nwb")) as file:
        tables = []
        file.visititems(lambda name, one: tables.append(name) if "colnames" in one.attrs else None)
        compartments = next(name for name in tables if "compartments" in name)
        page = read_table(file, compartments)

    assert [row[0] for row in page.rows] == ["3", "7", "12"]
    assert page.rows[1][page.names.index("number")] == "0, 0, 1, 1"


def test_a_missing_object_is_an_error_with_its_path(mixed_file):
    with open_hdf5(mixed_file) as file:
        for path in ("/nowhere", "/soft", "/elsewhere"):
            with pytest.raises(SourceError, match=path):
                read_node(file, path)


def test_a_file_of_another_format_is_an_error(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("text", encoding="utf-8")

    with pytest.raises(SourceError, match="not an HDF5 file"), open_hdf5(path):
        pass


@pytest.mark.parametrize("kind", ["sonata", "neuronvisio", "pymodaq", "nwb"])
def test_every_member_of_genuine_files_can_be_read(kind, request):
    folder = request.getfixturevalue("sonata_data").parent / kind
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in {".h5", ".nwb"}]

    assert paths
    for path in paths[:12]:
        with open_hdf5(path) as file:
            _read_all(file, "/")


def _read_all(file, path, depth=0):
    for child in read_children(file, path)[0][:30]:
        if child.kind in {"group", "dataset"} and depth < 8:
            node = read_node(file, child.path)
            if node.rows:
                assert read_table(file, child.path).rows
            _read_all(file, child.path, depth + 1)
