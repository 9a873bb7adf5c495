"""Answers queries until told no more: `python answer.py module:function FILE`.

The function, of a module under `ways/`, opens the file, and gives what makes of a query the work
that answers it. Each line of the standard input is a query in JSON, and where to save the values
or null; for each one the wall seconds of the work are printed. It also runs in environments of
others, so it imports only what the chosen work needs.
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
        del values  # or the next answer would not find its memory


def _save(path: str, values: Any) -> None:
    import numpy as np  # noqa: PLC0415 - for few queries

    np.save(path, values)
    _say("saved")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
