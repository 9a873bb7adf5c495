"""Write SONATA compartment reports in both dialects, and check conversions of them."""

from pathlib import Path

import h5py
import numpy as np

from inputs import voltages
from inputs.size import Size

__all__ = ["check_same_values", "compress_report", "write_allen_twin", "write_report"]

POPULATION = "cortex"
SEGMENTS = 5  # of every section but the soma
BLOCK_BYTES = 32 * 2**20


def write_report(path: Path, size: Size) -> None:
    """Write a report as the Blue Brain simulators do: float32, contiguous, a row per time step."""
    element_ids, _ = _elements(size)
    with h5py.File(path, "w") as file:
        data = _create_data(file, size)
        start = 0
        for block in voltages.blocks(size, _rows_in(data)):
            data[start : start + len(block)] = block
            start += len(block)
        mapping = _create_mapping(file, size)
        mapping["index_pointers"] = _pointers(size)
        mapping["element_ids"] = np.tile(element_ids.astype(np.uint32), size.cells)


def write_allen_twin(path: Path, report: Path, size: Size) -> None:
    """Write the same recording with the mapping of the Allen dialect, as `bmtk` spells it.

    The data keep their type and layout (`bmtk` itself would chunk them and store float64).
    """
    element_ids, element_pos = _elements(size)
    with h5py.File(report) as source, h5py.File(path, "w") as file:
        given = source[f"report/{POPULATION}/data"]
        file.attrs["magic"] = np.uint32(0x0A7A)
        file.attrs["version"] = np.array([0, 1], dtype=np.uint32)
        data = _create_data(file, size)
        data.attrs["variable"] = "v"
        rows = _rows_in(given)
        for start in range(0, size.frames, rows):
            data[start : start + rows] = given[start : start + rows]
        mapping = _create_mapping(file, size)
        mapping["index_pointer"] = _pointers(size)
        mapping["element_ids"] = np.tile(element_ids, size.cells)
        mapping["element_pos"] = np.tile(element_pos, size.cells)


def compress_report(path: Path, report: Path) -> None:
    """Write the same report with gzip in the chunks that h5py chooses."""
    with h5py.File(report) as source, h5py.File(path, "w") as file:
        given = source[f"report/{POPULATION}/data"]
        source.copy(f"report/{POPULATION}/mapping", file.create_group(f"report/{POPULATION}"))
        data = file.create_dataset(
            f"report/{POPULATION}/data",
            given.shape,
            given.dtype,
            chunks=True,
            compression="gzip",
        )
        data.attrs.update(given.attrs)
        rows = -(-_rows_in(given) // data.chunks[0]) * data.chunks[0]
        for start in range(0, len(given), rows):
            data[start : start + rows] = given[start : start + rows]


def check_same_values(source: Path, target: Path) -> None:
    """Fail unless the recording in ``target`` (SONATA or NWB), if any, equals that in ``source``.

    A file without a recording (a copy of raw bytes) is not looked at.
    """
    if not h5py.is_hdf5(target):
        return
    with h5py.File(source) as expected_file, h5py.File(target) as found_file:
        expected, found = _recording(expected_file), _recording(found_file)
        if found.shape != expected.shape or found.dtype != expected.dtype:
            msg = (
                f"{found.name} of {target.name} is {found.dtype} of shape {found.shape}; "
                f"expected {expected.dtype} of shape {expected.shape}"
            )
            raise ValueError(msg)
        # Column bands: chunks are as wide as a cell or more, and each is then read only once.
        columns = max(1, BLOCK_BYTES // (expected.dtype.itemsize * len(expected)))
        for start in range(0, expected.shape[1], columns):
            band = np.s_[:, start : start + columns]
            if not np.array_equal(expected[band], found[band]):
                msg = f"{found.name} of {target.name} differs from its source at column {start} on"
                raise ValueError(msg)


def _rows_in(dataset: h5py.Dataset) -> int:
    """Return the number of rows of this dataset in a block, at least one."""
    return max(1, BLOCK_BYTES // (dataset.shape[1] * dataset.dtype.itemsize))


def _recording(file: h5py.File) -> h5py.Dataset:
    """Find the one recording of an NWB file or of a SONATA report."""
    (recording,) = (file["acquisition"] if "acquisition" in file else file["report"]).values()
    return recording["data"]


def _create_data(file: h5py.File, size: Size) -> h5py.Dataset:
    shape = (size.frames, size.columns)
    data = file.create_dataset(f"report/{POPULATION}/data", shape, np.float32)
    data.attrs["units"] = "mV"
    return data


def _create_mapping(file: h5py.File, size: Size) -> h5py.Group:
    mapping = file.create_group(f"report/{POPULATION}/mapping")
    mapping["node_ids"] = np.arange(size.cells, dtype=np.uint64)
    mapping["time"] = np.array([0, size.frames * voltages.STEP_MS, voltages.STEP_MS])
    mapping["time"].attrs["units"] = "ms"
    return mapping


def _pointers(size: Size) -> np.ndarray:
    return np.arange(size.cells + 1, dtype=np.uint64) * np.uint64(size.compartments)


def _elements(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return section ids (soma 0, then sections of five segments) and positions of one cell."""
    dendritic = np.arange(size.compartments - 1)
    sections, counts = np.unique(1 + dendritic // SEGMENTS, return_counts=True)
    positions = [(np.arange(count) + 0.5) / count for count in counts]
    ids = np.append(0, np.repeat(sections, counts)).astype(np.uint64)
    return ids, np.concatenate([[0.5], *positions])
