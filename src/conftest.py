"""Doctests of a module run where the package that it needs is installed."""

from importlib.util import find_spec

_MODULES = {"neuroconv": "neuroconv.py", "zarr": "storage/zarr_chunks.py"}
collect_ignore = [
    f"ndx_simulation_output/{module}"
    for library, module in _MODULES.items()
    if not find_spec(library)
]
