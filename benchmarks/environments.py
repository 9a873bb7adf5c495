"""Interpreters for the compared packages: this one if suitable, or separate environments."""

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["LIBSONATA", "PREDECESSOR", "PYMODAQ", "Environment", "MissingError"]

PLACE = Path(__file__).with_name(".environments")


class MissingError(Exception):
    """A package to compare with is not installed."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment with some requirements; the first is the compared package."""

    name: str
    requirements: tuple[str, ...]
    last_python: tuple[int, int] = (99, 0)

    def python(self, *, make: bool) -> Path:
        """Return its interpreter; create it with `venv` and `pip` if ``make`` is set.

        Raises
        ------
        MissingError
            If it does not exist and is not or cannot be created.

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
            # The commands are our own; pip's output is part of the progress messages.
            done = subprocess.run(command, check=False, stdout=sys.stderr)  # noqa: S603
            if done.returncode != 0:
                msg = f"{self.requirements[0]} could not be installed"
                raise MissingError(msg)


def _is_here(requirement: str) -> bool:
    """Return True if this environment has exactly this version."""
    name, _, wanted = requirement.partition("==")
    try:
        return version(name) == wanted
    except PackageNotFoundError:
        return False


LIBSONATA = Environment("libsonata", ("libsonata==0.2.2", "numpy"))
# 0.2.6 requires pynwb 1.1.2 or newer, but imports names that hdmf 4 removed. numpy 1 has no
# wheels for later Pythons.
PREDECESSOR = Environment(
    "predecessor",
    ("ndx-simulation-output==0.2.6", "pynwb==2.8.3", "hdmf==3.14.6", "numpy<2", "h5py"),
    last_python=(3, 12),
)
PYMODAQ = Environment("pymodaq", ("pymodaq_data==5.3.0",))
