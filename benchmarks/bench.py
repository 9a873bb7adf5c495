"""Settings of a benchmark run, and the inputs that several rows share."""

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
    """Command line options, and paths of large files, results and the plot."""

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
        """Size of the report."""
        return Size.of(self.gigabytes)

    def scaled(self, number: int) -> int:
        """Scale a number chosen for a report of 1.6 GB to the requested size."""
        return max(1, round(number * self.gigabytes / WHOLE_GIGABYTES))

    def rounds(self, spare: int = 0, check: Callable[[Path, Path], None] | None = None) -> Rounds:
        """Return rounds that hold ``spare`` bytes of memory ready, plus a margin."""
        return Rounds(
            self.scratch, self.repeats, self.tell, spare + self.scaled(MARGIN_BYTES), check
        )

    def python_of(self, environment: Environment) -> Callable[[], Path]:
        """Return a function that finds the interpreter of an environment."""
        return lambda: environment.python(make=not self.offline)

    def report(self) -> Path:
        """Return the path of the report that most rows use."""
        return self.made("voltage.h5", lambda path: write_report(path, self.size))

    def converted(self, compression: str | None = None) -> Path:
        """Return the path of the report converted to NWB by this package."""
        options = {"compression": compression} if compression else {}
        way = Way("ours:convert", self.report(), options=options)
        return self.made(
            f"voltage_{compression}.nwb", lambda path: run_once(way, path, self.scratch)
        )

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return the path of an input, created at the first call."""
        if name not in self._made:
            self.tell(f"making {name}")
            path = self.scratch / name
            make(path)
            self._made[name] = path
        return self._made[name]
