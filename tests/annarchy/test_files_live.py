"""The installed version of ANNarchy loads exported files."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("files.py")
FILES = [
    f"{name}.{extension}"
    for extension in ("txt", "txt.gz", "npz")
    for name in (
        "exported",
        "generated",
        *(f"part_{part}" for part in ("grid", "line", "ragged", "delayed", "even", "shared")),
    )
]


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return the wrong values after each file; one process compiles one network for all files."""
    if importlib.util.find_spec("ANNarchy") is None:
        pytest.skip("ANNarchy is not installed: pip install 'ANNarchy>=4.8'")
    directory = tmp_path_factory.mktemp("annarchy")
    # The build calls the tools of the environment.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, str(SCRIPT), "wrong.json"]
    done = subprocess.run(
        command,
        cwd=directory,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, list[str]] = json.loads((directory / "wrong.json").read_text())
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_network_has_the_values_of_the_file_after_loading(wrong, name):
    assert wrong[name] == []


def test_projections_are_created_from_connectivity_files(wrong):
    assert wrong["connectivity"] == []


def test_all_files_are_checked(wrong):
    assert set(wrong) == {*FILES, "connectivity"}
