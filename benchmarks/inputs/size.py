"""How large a recording is."""

from dataclasses import dataclass

__all__ = ["Size"]

COMPARTMENTS = 200
FRAMES = 2000
VALUE_BYTES = 4


@dataclass(frozen=True)
class Size:
    """A recording of so many cells of so many compartments, over so many time steps."""

    cells: int
    compartments: int = COMPARTMENTS
    frames: int = FRAMES

    @classmethod
    def of(cls, gigabytes: float) -> "Size":
        """Return the size nearest to this many GB (10⁹ bytes), of at least one cell."""
        return cls(max(1, round(gigabytes * 1e9 / cls(1).data_bytes)))

    @property
    def columns(self) -> int:
        """Number of compartments of all cells."""
        return self.cells * self.compartments

    @property
    def data_bytes(self) -> int:
        """Size of the values, float32."""
        return self.columns * self.frames * VALUE_BYTES

    def __str__(self) -> str:
        """Say how large it is."""
        return f"{self.data_bytes / 1e9:.4g} GB, {self.cells:,} cells"
