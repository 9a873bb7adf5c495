"""The benchmarks run, at a size at which their numbers mean nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run_convert(results: Path, *options: str) -> subprocess.CompletedProcess[str]:
    script = str(BENCHMARKS / "convert.py")
    small = ["--gigabytes", "0.002", "--repeats", "1"]
    places = ["--scratch", str(results.parent), "--results", str(results)]
    command = [sys.executable, script, *small, *places, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmarks") / "results.md"
    done = run_convert(path, "--big", "0.005")
    assert done.returncode == 0, done.stderr
    return path


def test_every_way_of_conversion_is_measured(results):
    rows = [line.split(" | ") for line in results.read_text().splitlines() if " | " in line]

    measured = {row[0].lstrip("| ") for row in rows}

    assert {"cp", "h5py block copy", "convert"} <= measured


def test_memory_is_compared_between_two_sizes(results):
    text = results.read_text()

    assert "0.0016 GB, 1 cells and 0.0048 GB, 3 cells" in text
    assert "larger report ÷ smaller" in text


def test_results_name_no_directory_of_this_machine(results):
    text = results.read_text()

    assert str(results.parent) not in text
    assert "--scratch" not in text


def test_scratch_files_are_removed(results):
    assert list(results.parent.iterdir()) == [results]


def test_results_replace_only_what_the_markers_enclose(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(
        "before\n<!-- results: convert -->\nold\n<!-- end of results: convert -->\nafter\n"
    )

    done = run_convert(path)

    assert done.returncode == 0, done.stderr
    text = path.read_text()
    assert text.startswith("before\n<!--")
    assert text.endswith("-->\nafter\n")
    assert "old" not in text


def test_a_file_without_markers_is_left_alone(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("no markers\n")

    done = run_convert(path)

    assert done.returncode != 0
    assert "lacks the comments" in done.stderr
    assert path.read_text() == "no markers\n"


def test_the_readme_has_room_for_the_results():
    text = (BENCHMARKS / "README.md").read_text()

    assert text.count("<!-- results: convert -->") == 1
    assert text.count("<!-- end of results: convert -->") == 1
