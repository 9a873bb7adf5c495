"""A SONATA file of spikes."""

from pathlib import Path

import h5py
import numpy as np

__all__ = ["check_count", "write_spikes"]

SECONDS = 10


def write_spikes(path: Path, cells: int, spikes: int) -> None:
    """Write spikes at random times of random cells, sorted by time, as simulators do."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        population = file.create_group("spikes/cortex")
        population.attrs["sorting"] = "by_time"
        population["node_ids"] = rng.integers(0, cells, spikes).astype(np.uint64)
        population["timestamps"] = np.sort(rng.uniform(0, 1000 * SECONDS, spikes))
        population["timestamps"].attrs["units"] = "ms"


def check_count(source: Path, target: Path) -> None:
    """Fail unless the NWB file has as many spikes as its source."""
    with h5py.File(source) as given, h5py.File(target) as written:
        expected = given["spikes/cortex/timestamps"].size
        found = written["units/spike_times"].size
    if found != expected:
        msg = f"{target.name} has {found} spikes; expected {expected}"
        raise ValueError(msg)
