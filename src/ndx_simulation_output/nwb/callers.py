"""Errors that a caller raises in a block of ours, told from our own."""

from collections.abc import Iterator
from contextlib import contextmanager

from ndx_simulation_output.errors import SimulationOutputError

__all__ = ["CallersError", "packed", "unpacked"]


class CallersError(SimulationOutputError):
    """Takes an error of the caller past those who would blame the file for it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def packed() -> Iterator[None]:
    """Pack what the caller raises in the block."""
    try:
        yield
    except Exception as error:
        raise CallersError(error) from error


@contextmanager
def unpacked() -> Iterator[None]:
    """Raise what was packed in the block as it was."""
    try:
        yield
    except CallersError as caught:
        raise caught.error from caught.error.__cause__
