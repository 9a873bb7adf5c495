"""The inputs, SONATA compartment reports in both dialects, and the check of the outputs."""

from pathlib import Path

import h5py
import numpy as np
import voltages

__all__ = [
    "cells_in",
    "check_same_values",
    "data_bytes",
    "rows_in",
    "write_allen_twin",
    "write_report",
]

POPULATION = "cortex"
FRAMES = 2000
SEGMENTS = 5  # of every section but the soma
BLOCK_BYTES = 32 * 2**20


def cells_in(gigabytes: float) -> int:
    """Give how many cells make a report of about this size (1 GB is 10⁹ bytes), at least one."""
    return max(1, round(gigabytes * 1e9 / data_bytes(1)))


def data_bytes(cells: int) -> int:
    """Give the size of the recording of this many cells."""
    return cells * voltages.COMPARTMENTS * FRAMES * 4


def rows_in(dataset: h5py.Dataset) -> int:
    """Give how many rows of this dataset fit in a block of 32 MiB, at least one."""
    return max(1, BLOCK_BYTES // (dataset.shape[1] * dataset.dtype.itemsize))


def write_report(path: Path, cells: int) -> None:
    """Write a report as the Blue Brain simulators do: float32, contiguous, a row per time step."""
    element_ids, _ = _elements()
    with h5py.File(path, "w") as file:
        data = _create_data(file, cells)
        start = 0
        for block in voltages.blocks(cells, FRAMES, rows_in(data)):
            data[start : start + len(block)] = block
            start += len(block)
        mapping = _create_mapping(file, cells)
        mapping["index_pointers"] = _pointers(cells)
        mapping["element_ids"] = np.tile(element_ids.astype(np.uint32), cells)


def write_allen_twin(path: Path, report: Path) -> None:
    """Write the same recording with the mapping of the Allen dialect, as `bmtk` spells it.

    The data keep their type and layout (`bmtk` itself would chunk them and store float64).
    """
    element_ids, element_pos = _elements()
    with h5py.File(report) as source, h5py.File(path, "w") as file:
        given = source[f"report/{POPULATION}/data"]
        cells = given.shape[1] // voltages.COMPARTMENTS
        file.attrs["magic"] = np.uint32(0x0A7A)
        file.attrs["version"] = np.array([0, 1], dtype=np.uint32)
        data = _create_data(file, cells)
        data.attrs["variable"] = "v"
        rows = rows_in(given)
        for start in range(0, FRAMES, rows):
            data[start : start + rows] = given[start : start + rows]
        mapping = _create_mapping(file, cells)
        mapping["index_pointer"] = _pointers(cells)
        mapping["element_ids"] = np.tile(element_ids, cells)
        mapping["element_pos"] = np.tile(element_pos, cells)


def check_same_values(source: Path, target: Path) -> None:
    """Fail unless the recording in ``target`` (SONATA or NWB) equals that in ``source``."""
    with h5py.File(source) as expected_file, h5py.File(target) as found_file:
        expected, found = _recording(expected_file), _recording(found_file)
        if found.shape != expected.shape or found.dtype != expected.dtype:
            msg = (
                f"{found.name} of {target.name} is {found.dtype} of shape {found.shape}; "
                f"expected {expected.dtype} of shape {expected.shape}"
            )
            raise ValueError(msg)
        # Column bands: chunks are as wide as a cell or more, and each is then read only once.
        columns = 20 * voltages.COMPARTMENTS
        for start in range(0, expected.shape[1], columns):
            band = np.s_[:, start : start + columns]
            if not np.array_equal(expected[band], found[band]):
                msg = f"{found.name} of {target.name} differs from its source at column {start} on"
                raise ValueError(msg)


def _recording(file: h5py.File) -> h5py.Dataset:
    """Find the one recording of an NWB file or of a SONATA report."""
    (recording,) = (file["acquisition"] if "acquisition" in file else file["report"]).values()
    return recording["data"]


def _create_data(file: h5py.File, cells: int) -> h5py.Dataset:
    shape = (FRAMES, cells * voltages.COMPARTMENTS)
    data = file.create_dataset(f"report/{POPULATION}/data", shape, np.float32)
    data.attrs["units"] = "mV"
    return data


def _create_mapping(file: h5py.File, cells: int) -> h5py.Group:
    mapping = file.create_group(f"report/{POPULATION}/mapping")
    mapping["node_ids"] = np.arange(cells, dtype=np.uint64)
    mapping["time"] = np.array([0, FRAMES * voltages.STEP_MS, voltages.STEP_MS])
    mapping["time"].attrs["units"] = "ms"
    return mapping


def _pointers(cells: int) -> np.ndarray:
    return np.arange(cells + 1, dtype=np.uint64) * np.uint64(voltages.COMPARTMENTS)


def _elements() -> tuple[np.ndarray, np.ndarray]:
    """Give section ids (soma 0, then sections of five segments) and positions of one cell."""
    dendritic = np.arange(voltages.COMPARTMENTS - 1)
    sections, counts = np.unique(1 + dendritic // SEGMENTS, return_counts=True)
    positions = [(np.arange(count) + 0.5) / count for count in counts]
    ids = np.append(0, np.repeat(sections, counts)).astype(np.uint64)
    return ids, np.concatenate([[0.5], *positions])
