"""Networks of the installed ANNarchy are saved, loaded and recorded.

Each scenario is a process, because a process can compile only one network. Scenarios of one network
share a directory, in which it is compiled once, and files.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("ANNarchy") is None,
    reason="ANNarchy is not installed: pip install 'ndx-simulation-output[annarchy]'",
)

TESTS = Path(__file__).parent
SLOWEST = 540
"""Time in seconds to compile a network on a busy machine."""

STATES = [
    "save_network",
    "check_state",
    "load_into_another_topology",
    "load_into_rebuilt",
    "parameters",
]
CONTINUED = [
    "uninterrupted",
    "continued",
    "rewound",
    "rewound_without_schedules",
    "chained",
    "only_what_is_loaded_changes",
]
MONITORS = [
    "series_and_units",
    "pauses",
    "made_later",
    "after_loading",
    "fresh_after_loading",
    "not_recordable",
    "some_spikes_twice",
    "refusals",
    "files",
]


def run(script: str, scenario: str, directory: Path) -> None:
    # The build of ANNarchy 5 requires VIRTUAL_ENV.
    paths = [str(TESTS.parents[1]), str(TESTS.parents[1] / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "VIRTUAL_ENV": sys.prefix,
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(filter(None, paths)),
    }
    done = subprocess.run(
        [sys.executable, str(TESTS / script), scenario],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SLOWEST,
        check=False,
    )
    assert done.stdout.endswith(f"done: {scenario}\n"), done.stdout[-1000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def directories(tmp_path_factory) -> dict[str, Path]:
    """A directory for each of the networks."""
    return {name: tmp_path_factory.mktemp(name) for name in ("delayed", "plain", "monitored")}


@pytest.mark.parametrize("scenario", STATES)
def test_a_network_with_delays_is_saved_and_loaded(scenario, directories):
    run("scenarios.py", scenario, directories["delayed"])


@pytest.mark.parametrize("scenario", CONTINUED)
def test_a_loaded_network_continues_as_if_it_had_never_stopped(scenario, directories):
    run("scenarios.py", scenario, directories["plain"])


@pytest.mark.parametrize("scenario", MONITORS)
def test_monitors_are_recorded(scenario, directories):
    run("monitors.py", scenario, directories["monitored"])
