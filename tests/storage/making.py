"""Matrices, ways to store them in HDF5 files, and selections of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
from hypothesis import strategies as st

DTYPES = ["<f4", ">f4", "<f8", ">f8", "<f2", ">f2", "|u1", "<i2", ">i4", "<u8"]
SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 24))
_OPTIONS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunked": {},
    "gzip": {"compression": "gzip"},
    "shuffle and gzip": {"compression": "gzip", "shuffle": True},
    "shuffle": {"shuffle": True},
    "fletcher32": {"fletcher32": True},
    "shuffle, gzip and fletcher32": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"compression": "lzf"},
    "scaleoffset": {"scaleoffset": 0},
}


VALUES = np.random.default_rng(0).random((6, 8))
STORED = {
    "contiguous": {},
    "chunked": {"chunks": (4, 3)},
    "gzip": {"chunks": (4, 3), "compression": "gzip"},
    "shuffle and gzip": {"chunks": (4, 3), "compression": "gzip", "shuffle": True},
}
"""Ways to store a matrix that are read past HDF5."""


@contextmanager
def directory() -> Iterator[Path]:
    """Yield a new directory for each example; fixtures are shared by all examples of a test."""
    with TemporaryDirectory() as name:
        yield Path(name)


def matrix(shape: tuple[int, int], dtype: Any, seed: int = 0) -> np.ndarray:
    """Return a matrix in which every third column is random bits, NaN included."""
    rng = np.random.default_rng(seed)
    values = (100 * rng.random(shape)).astype(dtype)
    noise = np.frombuffer(rng.bytes(values.nbytes), dtype).reshape(shape)
    values[:, ::3] = noise[:, ::3]
    return values


@st.composite
def storage_options(draw: st.DrawFn, shape: tuple[int, int], dtype: str) -> dict[str, Any]:
    """Draw the options of h5py for one way to store a matrix."""
    # HDF5 cannot scale 16-bit floats, and scales other floats with loss.
    allowed = [name for name in _OPTIONS if name != "scaleoffset" or np.dtype(dtype).kind in "iu"]
    kind = draw(st.sampled_from(allowed))
    if kind == "contiguous":
        return {}
    chunks = tuple(draw(st.integers(1, length)) for length in shape)
    maxshape = draw(st.sampled_from([None, (None, None), (None, shape[1])]))
    return {"chunks": chunks, "maxshape": maxshape, **_OPTIONS[kind]}


@st.composite
def keys(draw: st.DrawFn, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Draw two ascending slices, which may be empty or end beyond the edges."""
    parts = []
    for length in shape:
        limit = st.none() | st.integers(-length - 2, length + 2)
        parts.append(slice(draw(limit), draw(limit), draw(st.none() | st.integers(1, 5))))
    return parts[0], parts[1]


def assert_same(found: Any, expected: np.ndarray) -> None:
    """Compare bit by bit, NaN included."""
    native = expected.dtype.newbyteorder("=")
    assert found.shape == expected.shape
    assert found.dtype == native
    assert found.tobytes() == expected.astype(native).tobytes()


def write(path: Path, options: dict[str, Any], values: np.ndarray = VALUES, **how: Any) -> None:
    """Write a file with a matrix ``data``."""
    with h5py.File(path, "w", **how) as file:
        file.create_dataset("data", data=values, **options)


@dataclass
class Spy:
    """An array that is read in ``chunks``, and records the keys."""

    array: np.ndarray
    chunks: tuple[int, int] | None = None
    is_mapped: bool = False
    keys: list[tuple[slice, slice]] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        self.keys.append(key)
        return self.array[key]

    def reads(self) -> np.ndarray:
        """Return how many times each value was read."""
        counts = np.zeros(self.shape, int)
        for key in self.keys:
            counts[key] += 1
        return counts

    def chunk_reads(self) -> np.ndarray:
        """Return how many times each chunk was read, in part or completely."""
        height, width = self.chunks or (1, 1)
        rows, columns = self.shape
        counts = np.zeros((-(-rows // height), -(-columns // width)), int)
        for down, right in self.keys:
            counts[
                down.start // height : -(-down.stop // height),
                right.start // width : -(-right.stop // width),
            ] += 1
        return counts
