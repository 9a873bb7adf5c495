"""One piece of work in a process of its own: `python work.py WAY SOURCE TARGET BALLAST`.

Removes the file `BALLAST` just before the work, see `measuring.py`. Prints one line of JSON: the
wall and processor seconds of the work itself, without the start of the interpreter and the
imports, and the resident memory before it and at its peak. It also runs in the environment of
the predecessor, so it imports only what the chosen way needs.
"""

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

__all__ = ["WAYS"]

Work = Callable[[str, str], object]


def prepare_cp() -> Work:
    """Copy the file with the system's `cp`, or what Python has in its place."""
    command = shutil.which("cp")
    if command is None:
        return shutil.copyfile

    def work(source: str, target: str) -> None:
        subprocess.run([command, source, target], check=True)  # noqa: S603 - paths of ours

    return work


def prepare_h5py_copy() -> Work:
    """Copy a contiguous dataset to another in blocks of rows, the plain way."""
    import reports  # noqa: PLC0415 - what another way needs may be absent here

    def work(source: str, target: str) -> None:
        with reports.h5py.File(source) as given, reports.h5py.File(target, "w") as file:
            (population,) = given["report"]
            name = f"report/{population}/data"
            data = file.create_dataset(name, given[name].shape, given[name].dtype)
            rows = reports.rows_in(data)
            for start in range(0, len(data), rows):
                data[start : start + rows] = given[name][start : start + rows]

    return work


def prepare_convert() -> Work:
    """Convert with this package: uncompressed, as it does by default."""
    from ndx_simulation_output import convert  # noqa: PLC0415

    return convert


def prepare_predecessor() -> Work:
    """Convert with version 0.2.6, the version before this package."""
    from ndx_simulation_output.io import sonata2nwb  # noqa: PLC0415

    return sonata2nwb


WAYS: dict[str, Callable[[], Work]] = {
    "cp": prepare_cp,
    "h5py copy": prepare_h5py_copy,
    "convert": prepare_convert,
    "predecessor": prepare_predecessor,
}


def resident() -> dict[str, int]:
    """Give resident bytes now and at the peak so far; where there is no /proc, the peak only.

    Not `ru_maxrss` on Linux: a new process inherits there the peak of the one that started it.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return {"now": peak, "peak": peak}
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {
        "now": int(fields["VmRSS"].split()[0]) * 1024,
        "peak": int(fields["VmHWM"].split()[0]) * 1024,
    }


def processor_seconds() -> float:
    """Give user and system seconds of this process, its threads and its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main(way: str, source: str, target: str, ballast: str) -> None:
    """Do the work once and print what it took."""
    work = WAYS[way]()
    removing = perf_counter()
    Path(ballast).unlink()
    removing = perf_counter() - removing
    before = resident()["now"]
    processor, wall = processor_seconds(), perf_counter()
    work(source, target)
    seconds = perf_counter() - wall
    here = way != "cp"  # another program does that, so the memory of this process tells nothing
    taken = {
        "removing_seconds": removing,
        "seconds": seconds,
        "processor_seconds": processor_seconds() - processor,
        "imported_bytes": before if here else None,
        "peak_bytes": resident()["peak"] if here else None,
    }
    sys.stdout.write(json.dumps(taken) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
