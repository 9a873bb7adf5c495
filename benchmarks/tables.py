"""Results as Markdown, between two marker comments of a file."""

import os
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import h5py
from measuring import Run

__all__ = ["check_markers", "comparison", "machine", "memory", "seconds", "table", "write"]

UNKNOWN = "n/a"


def check_markers(path: Path, name: str) -> None:
    """Fail if the file exists and does not hold both markers of this name."""
    begin, end = _markers(name)
    if path.exists() and end not in path.read_text().partition(begin)[2]:
        msg = f"{path} lacks the comments {begin} and {end}, between which the results belong"
        raise ValueError(msg)


def write(path: Path, name: str, text: str) -> None:
    """Put the text between the two markers of this name, or write a file of markers and text."""
    check_markers(path, name)
    begin, end = _markers(name)
    old = path.read_text() if path.exists() else f"{begin}\n{end}\n"
    before, _, rest = old.partition(begin)
    after = rest.partition(end)[2]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- results: {name} -->", f"<!-- end of results: {name} -->"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def comparison(runs: dict[str, list[Run]], base: str) -> str:
    """Give a table of all ways, with the ratio to one of them, paired by round."""
    head = [
        "way",
        "seconds",
        f"÷ {base}",
        "processor s",
        "whole process s",
        "memory before, MB",
        "peak, MB",
        "of it not files, MB",
    ]
    return table(head, [_row(label, taken, runs[base]) for label, taken in runs.items()])


def _row(label: str, taken: list[Run], base: list[Run]) -> list[str]:
    ratios = [run.seconds / other.seconds for run, other in zip(taken, base, strict=True)]
    return [
        label,
        seconds(taken),
        "1" if taken is base else _spread(ratios),
        f"{median(run.processor_seconds for run in taken):.2f}",
        f"{median(run.process_seconds for run in taken):.2f}",
        *memory(taken),
    ]


def memory(taken: list[Run]) -> list[str]:
    """Give the highest of each memory figure over the rounds: before the work, peak, anonymous."""
    if taken[0].peak_bytes is None:
        return [UNKNOWN] * 3
    return [
        _megabytes(taken, lambda run: run.imported_bytes),
        _megabytes(taken, lambda run: run.peak_bytes),
        _megabytes(taken, lambda run: run.anonymous_bytes),
    ]


def _megabytes(taken: list[Run], of: Callable[[Run], int | None]) -> str:
    """Give the highest figure in MB (10⁶ bytes), "n/a" where it is not known."""
    known = [number for number in map(of, taken) if number is not None]
    return f"{max(known) / 1e6:.0f}" if known else UNKNOWN


def seconds(taken: list[Run]) -> str:
    """Give the wall seconds of the work itself."""
    return _spread([run.seconds for run in taken])


def _spread(numbers: Sequence[float]) -> str:
    """Give median and, of several, the lowest and the highest."""
    if len(numbers) == 1:
        return f"{numbers[0]:.2f}"
    return f"**{median(numbers):.2f}** ({min(numbers):.2f} to {max(numbers):.2f})"


def machine(scratch: Path) -> str:
    """Describe machine and software in one paragraph, without names of hosts or directories."""
    names = ("ndx-simulation-output", "numpy", "h5py", "hdmf", "pynwb")
    software = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"{_processor()}, {os.cpu_count()} cores, {_memory()} of memory, scratch files on "
        f"{_filesystem(scratch)}; {_system()}; Python {platform.python_version()}, {software}, "
        f"HDF5 {h5py.version.hdf5_version}."
    )


def _processor() -> str:
    return _field(Path("/proc/cpuinfo"), "model name") or platform.machine()


def _memory() -> str:
    total = _field(Path("/proc/meminfo"), "MemTotal")
    return f"{int(total.split()[0]) / 2**20:.0f} GiB" if total else "an unknown amount"


def _field(path: Path, name: str) -> str | None:
    """Give the value of the first `name: value` line of a file under /proc, if there is one."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == name), None)


def _filesystem(directory: Path) -> str:
    """Give the type of the file system that holds a directory."""
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
