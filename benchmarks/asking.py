"""Send queries to processes that keep a file open, and time the answers."""

import json
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

from measuring import WorkError, here
from query import Query

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Answerer"]

ANSWER = Path(__file__).with_name("answer.py")


class Answerer:
    """A process that keeps a file open and answers queries; a context manager."""

    def __init__(self, work: str, path: Path, python: Callable[[], Path] = here) -> None:
        interpreter = python()
        command = [str(interpreter), *([] if interpreter == here() else ["-E"])]
        self._errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - see __exit__
        # The command is our script and an interpreter chosen by the caller.
        self._process = subprocess.Popen(  # noqa: S603
            [*command, str(ANSWER), work, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> "Self":
        """Wait until the file is open."""
        try:
            self._line()
        except WorkError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        self._process.wait()
        self._errors.close()

    def ask(self, query: Query, save: Path | None = None) -> float:
        """Return the seconds that the answer took; save its values to ``save``.

        Raises
        ------
        WorkError
            If the process does not answer.

        """
        question = {**asdict(query), "save": str(save) if save else None}
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # the process has ended; _line raises
                self._process.stdin.write(json.dumps(question) + "\n")
                self._process.stdin.flush()
        seconds = float(self._line())
        if save is not None:
            self._line()
        return seconds

    def _line(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._process.wait()
            raise WorkError(self._complaint())
        return line

    def _complaint(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"
