"""Doctests of a module run where the package that it needs is installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("neuroconv") else ["ndx_simulation_output/neuroconv.py"]
