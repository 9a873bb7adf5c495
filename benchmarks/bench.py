"""Where, how large and how often to measure, and the inputs that several rows share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from environments import Environment
from inputs.reports import write_report
from inputs.size import Size
from measuring import Rounds, Way, run_once

__all__ = ["WHOLE_GIGABYTES", "Bench"]

WHOLE_GIGABYTES = 1.6
MARGIN_BYTES = 2**29


@dataclass(frozen=True)
class Bench:
    """What the command line asks for, and directories for large files, results and a picture."""

    scratch: Path
    results: Path
    picture: Path
    gigabytes: float
    repeats: int
    points: int
    big: float | None
    offline: bool
    tell: Callable[[str], None]
    _made: dict[str, Path] = field(default_factory=dict)

    @property
    def size(self) -> Size:
        """How large the report is."""
        return Size.of(self.gigabytes)

    def scaled(self, number: int) -> int:
        """Give a number that goes with a report of 1.6 GB for the report that is asked for."""
        return max(1, round(number * self.gigabytes / WHOLE_GIGABYTES))

    def rounds(self, spare: int = 0, check: Callable[[Path, Path], None] | None = None) -> Rounds:
        """Give rounds in which so many bytes are ready, and some more for whatever else."""
        return Rounds(
            self.scratch, self.repeats, self.tell, spare + self.scaled(MARGIN_BYTES), check
        )

    def python_of(self, environment: Environment) -> Callable[[], Path]:
        """Give what finds the Python of an environment."""
        return lambda: environment.python(make=not self.offline)

    def report(self) -> Path:
        """Give the report that most rows are about."""
        return self.made("voltage.h5", lambda path: write_report(path, self.size))

    def converted(self, compression: str | None = None) -> Path:
        """Give the same as an NWB file, as this package converts it."""
        options = {"compression": compression} if compression else {}
        way = Way("ours:convert", self.report(), options=options)
        return self.made(
            f"voltage_{compression}.nwb", lambda path: run_once(way, path, self.scratch)
        )

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """Give an input, which is made the first time it is asked for."""
        if name not in self._made:
            self.tell(f"making {name}")
            path = self.scratch / name
            make(path)
            self._made[name] = path
        return self._made[name]
