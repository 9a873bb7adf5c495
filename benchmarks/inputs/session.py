"""An NWB file to put things in."""

from datetime import datetime, timezone

from pynwb import NWBFile

__all__ = ["make_file"]


def make_file() -> NWBFile:
    """Make an NWB file of nothing but a session."""
    return NWBFile("a simulation", "benchmark", datetime(2026, 1, 1, tzinfo=timezone.utc))
