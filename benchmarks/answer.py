"""Answer queries until standard input ends: `python answer.py module:function FILE`.

The function is in a module under `ways/`. It opens the file and returns a function from a query to
a callable that answers it. Each line of standard input is a query in JSON, with the file to which
values are saved or null. For each query the wall time in seconds is printed. The script also runs
in environments without this package, so it imports only what the function needs.
"""

import json
import sys
from time import perf_counter
from typing import Any

from query import Query
from work import function

__all__: list[str] = []


def main(name: str, path: str) -> None:
    """Open the file and answer queries about it."""
    ask: Any = function(name)(path)
    _say("ready")
    for line in sys.stdin:
        question = json.loads(line)
        save = question.pop("save")
        work = ask(Query(**question))
        start = perf_counter()
        values = work()
        _say(str(perf_counter() - start))
        if save is not None:
            _save(save, values)
        del values  # frees its memory for the next answer


def _save(path: str, values: Any) -> None:
    import numpy as np  # noqa: PLC0415 - needed by few queries

    np.save(path, values)
    _say("saved")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
