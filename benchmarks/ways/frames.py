"""Synthetic data of a camera and a power meter at each step."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["START", "frames", "time_of"]

START = 1769860800.0
"""2026-01-31 12:00 in UTC, in seconds since 1970."""


def frames(shape: tuple[int, ...], steps: int) -> list[NDArray[np.uint16]]:
    """Return a frame of counts for each step."""
    random = np.random.default_rng(0)
    return [random.poisson(100, shape).astype(np.uint16) for _ in range(steps)]


def time_of(step: int) -> float:
    """When a step is, in seconds since 1970."""
    return START + step / 10
