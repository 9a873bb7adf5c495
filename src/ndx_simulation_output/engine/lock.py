"""One thread at a time may be in HDF5: h5py's own lock, for the calls that do not take it."""

from typing import Any

from h5py._objects import phil

__all__ = ["hdf5_lock"]

hdf5_lock: Any = phil
"""May be taken again by the thread that has it. Some releases of h5py leave it out where chunks are
stored, looked for or listed, and where an object is asked whether it is open."""
