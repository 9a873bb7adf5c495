"""One piece of work in a process of its own: `python work.py '{"work": "module:function", …}'`.

The function, of a module under `ways/`, prepares the work and gives what does it. Just before the
work the files `ballast` are removed, see `page_cache.py`. Prints one line of JSON: the wall and
processor seconds of the work itself, without the start of the interpreter, the imports and the
preparation, and the resident memory before it and at its peak. It also runs in environments of
others, so it imports only what the chosen work needs.
"""

import json
import resource
import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter

__all__ = ["function"]


def function(name: str) -> object:
    """Find `module:function` under `ways/`."""
    module, _, attribute = name.partition(":")
    found: object = getattr(import_module(f"ways.{module}"), attribute)
    return found


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


def main(task: str) -> None:
    """Do the work once and print what it took."""
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
