"""Monitors of the installed ANNarchy have the times at which they recorded.

Each scenario is a process. They share a network, which is compiled once.
"""

from importlib.util import find_spec

import pytest

from tests.annarchy.test_live import run

pytestmark = pytest.mark.skipif(
    find_spec("ANNarchy") is None,
    reason="ANNarchy is not installed: pip install 'ndx-simulation-output[annarchy]'",
)

SCENARIOS = [
    "chunks",
    "emptied_before",
    "histories",
    "changed_period",
    "whole_parts",
    "one_of_many",
    "bold",
    "equal_names",
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("timed")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_monitors_have_the_times_at_which_they_recorded(scenario, directory):
    run("monitors.py", scenario, directory)
