"""The Pythons of the others: this one where it will do, else environments of their own."""

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["LIBSONATA", "PREDECESSOR", "PYMODAQ", "Environment", "MissingError"]

PLACE = Path(__file__).with_name(".environments")


class MissingError(Exception):
    """Something to compare with is not there."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment of this Python with some requirements, the first of them the point."""

    name: str
    requirements: tuple[str, ...]
    last_python: tuple[int, int] = (99, 0)

    def python(self, *, make: bool) -> Path:
        """Give its Python; where it is missing, make it with `venv` and `pip` if told to.

        Raises
        ------
        MissingError
            If it is not there and not to be made, or cannot be.

        """
        if _is_here(self.requirements[0]):
            return Path(sys.executable)
        interpreter = PLACE / self.name / "bin" / "python"
        done, wanted = PLACE / self.name / "requirements.txt", "\n".join(self.requirements)
        if done.exists() and done.read_text() == wanted:
            return interpreter
        if not make:
            msg = f"{self.requirements[0]} is not installed"
            raise MissingError(msg)
        if sys.version_info[:2] > self.last_python:
            last = ".".join(map(str, self.last_python))
            msg = f"{self.requirements[0]} needs Python {last} or older"
            raise MissingError(msg)
        self._make(interpreter)
        done.write_text(wanted)
        return interpreter

    def _make(self, interpreter: Path) -> None:
        commands = [
            [sys.executable, "-m", "venv", "--clear", str(PLACE / self.name)],
            [str(interpreter), "-m", "pip", "install", "--quiet", *self.requirements],
        ]
        for command in commands:
            # Our own commands; pip's chatter belongs to the progress.
            done = subprocess.run(command, check=False, stdout=sys.stderr)  # noqa: S603
            if done.returncode != 0:
                msg = f"{self.requirements[0]} could not be installed"
                raise MissingError(msg)


def _is_here(requirement: str) -> bool:
    """Whether this Python has exactly this version."""
    name, _, wanted = requirement.partition("==")
    try:
        return version(name) == wanted
    except PackageNotFoundError:
        return False


LIBSONATA = Environment("libsonata", ("libsonata==0.2.2", "numpy"))
# 0.2.6 asks for any pynwb from 1.1.2 on, but imports what hdmf 4 removed; numpy 1 is not built
# for later Pythons.
PREDECESSOR = Environment(
    "predecessor",
    ("ndx-simulation-output==0.2.6", "pynwb==2.8.3", "hdmf==3.14.6", "numpy<2", "h5py"),
    last_python=(3, 12),
)
PYMODAQ = Environment("pymodaq", ("pymodaq_data==5.3.0",))
