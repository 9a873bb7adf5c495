"""Describe the machine and its software, without names of hosts or directories."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import h5py

__all__ = ["describe_briefly", "describe_machine"]

PACKAGES = ("ndx-simulation-output", "numpy", "h5py", "hdmf", "pynwb", "isal")
BRIEFLY = ("ndx-simulation-output", "h5py", "pynwb")


def describe_machine(scratch: Path) -> str:
    """Describe machine and software."""
    software = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return (
        f"{_processor()}, {os.cpu_count()} cores, {_memory()} of memory, scratch files on "
        f"{_filesystem(scratch)}; {_system()}; Python {platform.python_version()}, {software}, "
        f"HDF5 {h5py.version.hdf5_version}."
    )


def describe_briefly() -> str:
    """Describe the processor and the versions of the libraries that write."""
    software = ", ".join(f"{name} {_version(name)}" for name in BRIEFLY)
    return f"{os.cpu_count()} × {_processor()}; {software}; load average {os.getloadavg()[0]:.1f}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _processor() -> str:
    return _field(Path("/proc/cpuinfo"), "model name") or platform.machine()


def _memory() -> str:
    total = _field(Path("/proc/meminfo"), "MemTotal")
    return f"{int(total.split()[0]) / 2**20:.0f} GiB" if total else "an unknown amount"


def _field(path: Path, name: str) -> str | None:
    """Return the value of the first `name: value` line of a file under /proc, or None."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == name), None)


def _filesystem(directory: Path) -> str:
    """Return the type of the file system of a directory."""
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return "an unknown file system"
    types = {Path(line.split()[1]): line.split()[2] for line in mounts}
    resolved = directory.resolve()
    holding = [types[place] for place in [resolved, *resolved.parents] if place in types]
    return holding[0] if holding else "an unknown file system"


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return f"{platform.system()} {platform.release()}"
