"""Every NWB file of 0.3.0 is valid, finds no fault with the checks, and is written again whole."""

import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from pynwb import validate

from ndx_simulation_output import convert
from tests.compatibility.inputs import BBP, write_sonata
from tests.compatibility.packing import GOLDEN, unpack

SYSTEMS = ("sonata", "neuron", "neuronvisio", "annarchy", "pymodaq")
FILES = [
    *(
        f"sonata_{name}.nwb"
        for name in ("allen", "bbp", "gzip", "contiguous", "quantized", "linked", "merged")
    ),
    *(f"neuron_{name}.nwb" for name in ("fixed", "variable", "manager")),
    *(f"neuronvisio_{name}.nwb" for name in ("saved", "converted")),
    *(f"annarchy_{name}.nwb" for name in ("state", "weights", "monitors", "saved_monitors")),
    *(f"pymodaq_{name}.nwb" for name in ("saved", "growing")),
]
OF_THE_FILE = re.compile(
    r"specifications/|file_create_date|identifier|.*[@]object_id|general/simulation/provenance"
)
"""What belongs to one file and not to its content; what came from where is written anew."""

NARROWED = ("DataToExport", "DataWithAxes")


@pytest.fixture(scope="module")
def golden(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("golden")
    for system in SYSTEMS:
        unpack(system, directory)
    write_sonata(BBP, directory / "bbp")
    return directory


def command(*arguments: str) -> Any:
    (found,) = entry_points(group="console_scripts", name="ndx-sim")
    return CliRunner().invoke(found.load(), list(arguments))


def test_no_golden_file_is_forgotten_here(golden):
    assert {path.name for path in golden.glob("[!.]*.nwb")} == set(FILES)
    assert {path.name for path in GOLDEN.iterdir()} == {
        *(f"{system}.tar.xz" for system in SYSTEMS),
        "annarchy.json",
        "neuron.json",
    }


@pytest.mark.parametrize("name", FILES)
def test_a_golden_file_validates(golden, name):
    assert validate(path=str(golden / name)) == []


@pytest.mark.parametrize("name", FILES)
def test_the_checks_find_no_error_but_a_missing_subject(golden, name):
    lines = command("check", str(golden / name)).output.splitlines()

    errors = [line for line in lines if line.startswith("error: ")]
    assert name in lines[-1]
    assert [line for line in errors if "check_subject_exists" not in line] == []
    assert not errors or not name.startswith(("sonata", "neuronvisio"))


@pytest.mark.parametrize("name", [*FILES, "sonata.nwb.zarr"])
def test_a_golden_file_is_described(golden, name):
    if name.endswith(".zarr"):
        pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is not installed")

    done = command("info", str(golden / name))

    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) > 2


@pytest.mark.parametrize("name", FILES)
def test_a_golden_file_is_written_again_with_equal_content(golden, tmp_path, name):
    target = convert(golden / name, tmp_path / name).path

    expected, found = content(golden / name), content(target)
    assert len(expected) > 10
    assert [path for path in expected if path not in found] == []
    differing = {path: (expected[path], found[path]) for path in expected}
    differing = {path: both for path, both in differing.items() if not same(*both)}
    # Savers do not know what a group will hold; a writer does, and gives a narrower type to those
    # that hold arrays alone.
    narrowed = {path for path in differing if path.endswith("@neurodata_type")}
    assert {tuple(map(str, differing[path])) for path in narrowed} <= {NARROWED}
    assert differing.keys() == narrowed
    assert not narrowed or name.startswith("pymodaq")


def content(path: Path) -> dict[str, Any]:
    """Every dataset and attribute of a file, but those of the file itself; references by name."""
    found: dict[str, Any] = {}
    with h5py.File(path) as file:

        def keep(name: str, node: h5py.Group | h5py.Dataset) -> None:
            if isinstance(node, h5py.Dataset):
                found[name] = named(file, node[()])
            for key, value in node.attrs.items():
                found[f"{name}@{key}"] = named(file, value)

        file.visititems(keep)
    return {name: value for name, value in found.items() if not OF_THE_FILE.match(name)}


def named(file: h5py.File, value: Any) -> Any:
    array = np.asarray(value, dtype=object if isinstance(value, h5py.Reference) else None)
    if array.dtype.kind != "O":
        return array
    return [file[one].name if isinstance(one, h5py.Reference) else one for one in array.ravel()]


def same(expected: Any, found: Any) -> bool:
    if isinstance(expected, list) or isinstance(found, list):
        return bool(found == expected)
    floats = expected.dtype.kind == "f"
    return found.shape == expected.shape and np.array_equal(found, expected, equal_nan=floats)
