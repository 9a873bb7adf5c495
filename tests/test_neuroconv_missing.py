"""Without neuroconv, its interfaces say how to install it."""

import importlib
import sys

import pytest

from ndx_simulation_output.errors import MissingDependencyError


def test_the_interfaces_say_that_neuroconv_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "neuroconv", None)
    monkeypatch.delitem(sys.modules, "ndx_simulation_output.neuroconv", raising=False)

    with pytest.raises(MissingDependencyError, match=r"ndx-simulation-output\[neuroconv\]"):
        importlib.import_module("ndx_simulation_output.neuroconv")
