"""The benchmarks run, at a size at which their numbers mean nothing."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ROWS = (
    "convert",
    "gzip",
    "predecessor",
    "queries",
    "cold",
    "repeated",
    "read",
    "table",
    "open",
    "wide",
    "nodes",
    "edges",
    "plots",
    "viewer",
    "spikes",
    "many",
    "mpi",
    "cluster",
    "merge",
    "remote",
    "neuron",
    "saving",
    "state",
    "import",
    "growth",
)


def run(results: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    small = ["--gigabytes", "0.002", "--repeats", "1", "--points", "1", "--offline"]
    places = ["--scratch", str(results.parent), "--results", str(results)]
    places += ["--picture", str(results.with_name("growth.svg"))]
    command = [sys.executable, str(BENCHMARKS / "run.py"), *small, *places, *options]
    environment = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def section(text: str, name: str) -> str:
    found = re.search(
        f"<!-- results: {name} -->(.*)<!-- end of results: {name} -->", text, re.DOTALL
    )
    assert found, name
    return found[1]


def test_every_row_is_measured(tmp_path):
    # One test and one run: it takes minutes, and a fixture would make it once in each process.
    if find_spec("libsonata") is None:
        pytest.skip("libsonata, beside which most is measured, is not installed")
    path = tmp_path / "results.md"

    run(path, "--big", "0.005")

    text = path.read_text()
    for name in ROWS:
        found = section(text, name)
        assert "failed: " not in found, name
        assert "not measured: " in found or "| --- |" in found, name
    # Memory is compared between two sizes.
    assert "0.0048 GB, 3 cells" in section(text, "convert")
    # No directory of this machine is named, and scratch files are removed.
    assert "run.py --gigabytes" in text
    assert str(tmp_path) not in text
    assert "--scratch" not in text
    assert {file.name for file in tmp_path.iterdir()} <= {"results.md", "growth.svg"}


def test_who_is_missing_is_named(tmp_path):
    path = tmp_path / "results.md"

    done = run(path, "--only", "mpi", PATH="")

    assert done.returncode == 0, done.stderr
    assert "not measured: mpirun is not installed | unknown |" in path.read_text()


def test_what_fails_is_told_and_the_results_replace_only_what_the_markers_enclose(tmp_path):
    broken = tmp_path / "broken" / "ndx_simulation_output"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('broken on purpose')\n")
    path = tmp_path / "README.md"
    names = ("machine", "open", "import")
    blocks = [
        f"<!-- results: {name} -->\nold {name}\n<!-- end of results: {name} -->" for name in names
    ]
    path.write_text("\n".join(["before", *blocks, "after\n"]))

    done = run(path, "--only", "import", PYTHONPATH=str(broken.parent))

    assert done.returncode == 1, done.stderr
    text = path.read_text()
    assert "failed: ImportError: broken on purpose" in text
    assert "| import pynwb |" in text
    assert text.startswith("before\n<!--")
    assert text.endswith("-->\nafter\n")
    assert "old import" not in text
    assert "old machine" not in text
    assert "old open" in text


def test_a_file_without_markers_is_left_alone(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("no markers\n")

    done = run(path, "--only", "import")

    assert done.returncode != 0
    assert "lacks the comments" in done.stderr
    assert path.read_text() == "no markers\n"


def test_the_readme_has_room_for_the_results():
    text = (BENCHMARKS / "README.md").read_text()

    for name in ("machine", *ROWS):
        assert text.count(f"<!-- results: {name} -->") == 1
        assert text.count(f"<!-- end of results: {name} -->") == 1
        section(text, name)


def test_the_first_table_has_figures_of_the_results():
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    head, _, results = text.partition("<!-- results: ")
    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \| \[(\w+)\]\(.*\) \|$", head, re.MULTILINE)

    assert len(rows) > 10
    for what, ours, other, name in rows:
        measured = section(f"<!-- results: {results}", name)
        for figure in re.findall(r"[\d.]+ m?s\b", f"{ours} {other.rpartition(':')[2]}"):
            assert f"| {figure} |" in measured, (what, figure)
        (day,) = re.findall(r"^(\d{4}-\d\d-\d\d); ", measured, re.MULTILINE)
        assert day in head, (what, day)


def test_no_row_is_forgotten_here():
    names = "import run; print(*run.ROWS)"

    listed = subprocess.run(
        [sys.executable, "-c", names], cwd=BENCHMARKS, capture_output=True, text=True, check=True
    )

    assert tuple(listed.stdout.split()) == ROWS
