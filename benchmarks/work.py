"""Run one task in its own process: `python work.py '{"work": "module:function", …}'`.

The function is in a module under `ways/`. It prepares the task and returns a callable that runs
it. The files `ballast` are removed just before the run, see `page_cache.py`. Prints one line of
JSON: wall and CPU seconds of the task, without starting the interpreter, imports and preparation,
and resident memory before the task and at its peak. The script also runs in environments without
this package, so it imports only what the function needs.
"""

import json
import resource
import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter

__all__ = ["function"]


def function(name: str) -> object:
    """Return `module:function` of the modules under `ways/`."""
    module, _, attribute = name.partition(":")
    found: object = getattr(import_module(f"ways.{module}"), attribute)
    return found


def resident() -> dict[str, int]:
    """Return resident bytes now and at the peak; without /proc, only the peak.

    `ru_maxrss` is not used on Linux, because a new process inherits the peak of its parent.
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
    """Return user and system seconds of this process, its threads and finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main(task: str) -> None:
    """Run the task once and print its time and memory."""
    given = json.loads(task)
    work = function(given["work"])(*given["paths"], **given["options"])
    removing = perf_counter()
    for path in given["ballast"]:
        Path(path).unlink()
    removing = perf_counter() - removing
    before = resident()["now"]
    processor, wall = processor_seconds(), perf_counter()
    work()
    seconds = perf_counter() - wall
    taken = {
        "removing_seconds": removing,
        "seconds": seconds,
        "processor_seconds": processor_seconds() - processor,
        "imported_bytes": before,
        "peak_bytes": resident()["peak"],
    }
    sys.stdout.write(json.dumps(taken) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
