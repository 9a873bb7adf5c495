"""The YAML under ``spec/`` is valid, and the only definition of the types."""

import subprocess
import sys
from pathlib import Path

import pynwb
import pytest
from ruamel.yaml import YAML

from ndx_simulation_output.nwb import types
from ndx_simulation_output.recording import Run

SPEC = Path(__file__).parents[2] / "spec"
LANGUAGE = Path(pynwb.__file__).parent / "nwb-schema" / "nwb.schema.json"
FILES = sorted(SPEC.glob("*.yaml"))


def load(path: Path) -> dict:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def definitions() -> dict[str, dict]:
    kinds = [load(path).get(what, []) for path in FILES for what in ("groups", "datasets")]
    return {kind["neurodata_type_def"]: kind for found in kinds for kind in found}


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    if not LANGUAGE.is_file():
        pytest.skip("this pynwb does not bring nwb.schema.json")
    command = [sys.executable, "-m", "hdmf.testing.validate_spec", str(path), "-m", str(LANGUAGE)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_specification_is_valid(path):
    done = validate(path)

    assert done.returncode == 0, done.stderr


def test_an_invalid_specification_is_noticed(tmp_path):
    broken = tmp_path / "broken.yaml"
    text = (SPEC / "ndx-simulation-output.compartments.yaml").read_text(encoding="utf-8")
    broken.write_text(text.replace("quantity: '?'", "quantity: maybe"), encoding="utf-8")

    assert validate(broken).returncode != 0


def test_the_namespace_names_every_file():
    (namespace,) = load(SPEC / "ndx-simulation-output.namespace.yaml")["namespaces"]

    sources = {entry["source"] for entry in namespace["schema"] if "source" in entry}

    assert sources == {path.name for path in FILES} - {"ndx-simulation-output.namespace.yaml"}
    assert (namespace["name"], namespace["version"]) == ("ndx-simulation-output", "0.3.0")


@pytest.mark.parametrize("name", sorted(definitions()))
def test_every_type_of_the_yaml_has_a_class_of_this_package(name):
    found = pynwb.get_class(name, types.NAMESPACE)

    assert found is getattr(types, name)
    assert found.__module__.startswith("ndx_simulation_output.nwb.types.")


def test_the_columns_of_the_table_come_from_the_yaml():
    datasets = definitions()["Compartments"]["datasets"]
    documented = {
        dataset["name"]: dataset["doc"]
        for dataset in datasets
        if dataset["neurodata_type_inc"] == "VectorData"
    }

    columns = {column["name"]: column["description"] for column in types.Compartments.__columns__}

    assert columns == documented
    assert "__columns__" not in vars(types.Compartments)


def test_the_columns_are_not_repeated_in_python():
    columns = {"position", "label", "diameter"}
    package = SPEC.parent / "src" / "ndx_simulation_output" / "nwb"

    repeating = [
        path.name
        for path in package.glob("*.py")
        if "__columns__ =" in path.read_text(encoding="utf-8")
        or all(f'"{name}"' in path.read_text(encoding="utf-8") for name in columns)
    ]

    assert repeating == []


def test_a_column_made_from_an_array_is_described_as_in_the_yaml():
    datasets = {dataset["name"]: dataset for dataset in definitions()["Compartments"]["datasets"]}

    table = types.Compartments.from_arrays(number=[0], counts=[1], position=[0.5])

    assert table["position"].target.description == datasets["position"]["doc"]


def test_a_run_in_memory_has_the_fields_of_the_yaml():
    datasets = definitions()["SimulationMetaData"]["datasets"]

    stored = {dataset["name"] for dataset in datasets}

    assert stored == {*Run.__dataclass_fields__, "provenance"}
