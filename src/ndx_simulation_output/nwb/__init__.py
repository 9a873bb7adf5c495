"""NWB: the neurodata types, and writing and reading NWB files with pynwb."""
