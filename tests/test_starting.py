"""What is imported, and when the types are registered: each time in a new process."""

import os
import subprocess
import sys

import pytest

HEAVY = ("numpy", "h5py", "pandas", "hdmf", "pynwb")
COMMAND = "from ndx_simulation_output.cli import main; main(prog_name='ndx-sim')"
KNOWN = "assert pynwb.get_class('Compartments', 'ndx-simulation-output').from_arrays"


def loaded_by(code: str, *words: str, **settings: str) -> tuple[str, set[str]]:
    """Run code as a script with arguments; return its output, and which heavy modules it loads."""
    told = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{told}; {code}", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | settings,
        timeout=120,
    )
    assert finished.returncode in {0, 1}, finished.stderr
    assert "Traceback" not in finished.stderr
    return finished.stdout, set(HEAVY) & set(finished.stderr.split())


@pytest.mark.parametrize(
    "words",
    [("--help",), ("--version",), ("convert", "--help"), ("plot", "--help"), ("view", "-h")],
)
def test_help_loads_no_library(words):
    said, heavy = loaded_by(COMMAND, *words)

    assert "ndx-sim" in said
    assert heavy == set()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ndx-sim con", "convert"),
        ("ndx-sim convert --comp", "--compression"),
        ("ndx-sim plot run.nwb --kind ras", "raster"),
        ("ndx-sim view run.nwb --no-b", "--no-browser"),
    ],
)
def test_completing_a_command_an_option_or_a_word_loads_no_library(line, expected):
    count = str(len(line.split()) - 1)
    shell = {"_NDX_SIM_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": count}
    said, heavy = loaded_by(COMMAND, **shell)

    assert expected in said
    assert heavy == set()


def test_a_source_that_is_not_nwb_is_listed_without_pynwb(tmp_path):
    from ndx_simulation_output import sonata
    from ndx_simulation_output.cable import simulate

    sonata.write(simulate(duration=0.005), tmp_path / "output")
    said, heavy = loaded_by(COMMAND, "info", str(tmp_path / "output"))

    assert "report" in said
    assert not {"hdmf", "pynwb"} & heavy


@pytest.mark.parametrize(
    "code",
    [
        "import ndx_simulation_output, pynwb",
        "import pynwb, ndx_simulation_output",
        "import ndx_simulation_output.nwb.series, pynwb",
        "import importlib.util as u, ndx_simulation_output; u.find_spec('pynwb'); import pynwb",
    ],
)
def test_the_types_are_registered_whatever_is_imported_first(code):
    loaded_by(f"{code}; {KNOWN}")


def test_pynwb_reads_a_file_with_the_types_of_the_package(tmp_path):
    from ndx_simulation_output import convert
    from ndx_simulation_output.cable import simulate

    session = {"NWBFile": {"session_start_time": "2026-01-31T12:00:00+01:00"}}
    convert(simulate(duration=0.005), tmp_path / "run.nwb", metadata=session)
    said, _ = loaded_by(
        "import ndx_simulation_output; from pynwb import NWBHDF5IO; "
        "io = NWBHDF5IO(sys.argv[1], 'r', load_namespaces=False); "
        "print({type(one).__module__ for one in io.read().acquisition.values()}); io.close()",
        str(tmp_path / "run.nwb"),
    )

    assert "ndx_simulation_output.nwb.types.compartments" in said


def test_pynwb_keeps_its_loader_and_its_files():
    said, _ = loaded_by(
        "import ndx_simulation_output, pynwb, importlib.resources as files, inspect; "
        "print(files.files('pynwb'), inspect.getsourcefile(pynwb), type(pynwb.__loader__).__name__)"
    )

    assert "SourceFileLoader" in said
    assert "__init__.py" in said


def test_names_of_the_package_are_there_before_they_are_imported():
    loaded_by(
        "import ndx_simulation_output as package; "
        "assert set(package.__all__) <= set(dir(package)); "
        "assert 'pynwb' not in sys.modules; "
        "assert package.errors.SourceError and package.storage and not hasattr(package, 'none'); "
        "assert all(getattr(package, name) for name in package.__all__)"
    )
