"""Datasets of HDF5 files whose place in the file is known before they are written."""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from ndx_simulation_output.engine.layout import Layout

__all__ = ["GZIP_LEVEL", "create_dataset", "replace_dataset"]

GZIP_LEVEL = 4
"""What the file says; the bytes are plain deflate whatever compressed them."""


def create_dataset(
    group: h5py.Group, name: str, layout: Layout, dtype: np.dtype[Any]
) -> h5py.Dataset:
    """Create the dataset of a matrix that grows in time, without filling it.

    What is not compressed gets its place in the file at once, so that it can be written there
    from anywhere. Nothing is written yet: until it is, that place reads as zeros.
    """
    facts = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    maxshape: tuple[int | None, int] = layout.shape
    if layout.chunks is not None:
        facts.set_chunk(layout.chunks)
        maxshape = (None, layout.shape[1])
    if layout.compression is not None:
        facts.set_shuffle()
        facts.set_deflate(GZIP_LEVEL)
    elif layout.chunks is not None or all(layout.shape):
        facts.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        facts.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(
        layout.shape, tuple(h5py.h5s.UNLIMITED if end is None else end for end in maxshape)
    )
    dtype_id = h5py.h5t.py_create(dtype, logical=True)
    made = h5py.h5d.create(group.id, name.encode(), dtype_id, space, facts)
    return h5py.Dataset(made)


def replace_dataset(
    dataset: h5py.Dataset, create: Callable[[h5py.Group, str], h5py.Dataset]
) -> h5py.Dataset:
    """Put the dataset that ``create`` makes in the place of another, with its attributes."""
    group, name = dataset.parent, dataset.name.rsplit("/", 1)[-1]
    attributes = {
        key: (value, dataset.attrs.get_id(key).dtype) for key, value in dataset.attrs.items()
    }
    del group[name]
    made = create(group, name)
    for key, (value, kind) in attributes.items():
        made.attrs.create(key, value, dtype=kind)
    return made
