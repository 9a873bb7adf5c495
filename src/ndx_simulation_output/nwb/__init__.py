"""NWB: the neurodata types, and writing and reading NWB files with pynwb."""

import ndx_simulation_output.nwb.types  # noqa: F401 - before other modules, which import pynwb
