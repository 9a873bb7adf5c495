"""Options are checked, and chunks have the size and shape of the access pattern."""

from dataclasses import replace
from math import ceil
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ndx_simulation_output.choices import DEFAULT_MEMORY
from ndx_simulation_output.errors import LayoutError, UnitError
from ndx_simulation_output.storage.layout import (
    Access,
    Layout,
    StorageOptions,
    plan_growing,
    plan_layout,
)

MIB = 2**20
LENGTHS = st.integers(0, 100) | st.integers(0, 10**7)
SHAPES = st.tuples(LENGTHS, LENGTHS)
ITEMSIZES = st.sampled_from([1, 2, 4, 8, 16])
ACCESS = st.sampled_from(get_args(Access))
WIDTHS = st.integers(0, 5000) | st.lists(st.integers(0, 5000), max_size=5)
MEMORY = st.integers(MIB, 2**30)
plans = given(
    shape=SHAPES,
    itemsize=ITEMSIZES,
    widths=WIDTHS,
    storage=st.builds(StorageOptions, access=ACCESS, memory=MEMORY),
    workers=st.integers(0, 16),
)


def chunk_bytes(layout: Layout) -> int:
    height, width = layout.chunks
    return height * width * layout.itemsize


@plans
def test_chunks_fit_the_matrix_and_are_of_bounded_size(shape, itemsize, widths, storage, workers):
    assume(shape[1])
    layout = plan_layout(shape, itemsize, widths, storage, workers)

    for length, size in zip(shape, layout.chunks, strict=True):
        assert 1 <= size <= max(length, 1)
    assert chunk_bytes(layout) <= MIB


@plans
def test_chunks_are_not_tiny_unless_the_matrix_is(shape, itemsize, widths, storage, workers):
    assume(all(shape))
    layout = plan_layout(shape, itemsize, widths, storage, workers)

    assert chunk_bytes(layout) >= min(MIB // 8, shape[0] * shape[1] * itemsize)


@plans
def test_the_last_chunk_is_as_full_as_whole_numbers_allow(
    shape, itemsize, widths, storage, workers
):
    assume(all(shape))
    layout = plan_layout(shape, itemsize, widths, storage, workers)

    for length, size in zip(shape, layout.chunks, strict=True):
        pieces = ceil(length / size)
        # Any smaller chunks would be more chunks.
        assert size == ceil(length / pieces)


@plans
def test_a_piece_is_adjacent_whole_chunks_within_the_memory(
    shape, itemsize, widths, storage, workers
):
    assume(shape[1])
    layout = plan_layout(shape, itemsize, widths, storage, workers)

    (height, width), chunks = layout.piece, layout.chunks
    of_all = height * width * itemsize * 2 * max(workers, 1)
    assert height == chunks[0]
    assert width % chunks[1] == 0
    assert of_all <= storage.memory or width == chunks[1]
    assert height * width * itemsize <= 8 * MIB
    assert layout.memory == storage.memory


@given(shape=SHAPES, itemsize=ITEMSIZES, memory=MEMORY, workers=st.integers(0, 16))
def test_a_piece_of_contiguous_data_is_whole_rows_within_the_memory(
    shape, itemsize, memory, workers
):
    layout = plan_layout(
        shape, itemsize, 1, StorageOptions(chunks="contiguous", memory=memory), workers
    )

    height, width = layout.piece
    of_all = height * width * itemsize * 2 * max(workers, 1)
    assert layout.chunks is None
    assert width == shape[1]
    assert of_all <= memory or height == 1


@given(times=st.integers(1, 10**5), columns=st.integers(1, 10**5), itemsize=ITEMSIZES)
def test_access_by_frames_has_wide_chunks(times, columns, itemsize):
    chunks = plan_layout((times, columns), itemsize, 1, StorageOptions(access="frames")).chunks

    assert chunks[1] == columns or chunks[1] * itemsize > MIB // 2


@given(times=st.integers(1, 10**5), columns=st.integers(1, 10**5), itemsize=ITEMSIZES)
def test_access_by_cells_has_long_chunks(times, columns, itemsize):
    chunks = plan_layout((times, columns), itemsize, 1, StorageOptions(access="cells")).chunks

    assert chunks[0] == times or chunks[0] * itemsize > MIB // 2


@pytest.mark.parametrize(
    ("shape", "cell_widths", "access", "expected"),
    [
        ((2000, 40_000), 200, "balanced", (500, 200)),
        ((2000, 40_000), 200, "cells", (2000, 131)),
        ((2000, 40_000), 200, "frames", (6, 40_000)),
        ((20_000, 40_000), 200, "cells", (20_000, 13)),
        ((2000, 40_000), [10, 200, 3000], "balanced", (500, 200)),
        ((2000, 40_000), 1, "balanced", (2000, 64)),
        ((2000, 40_000), 5000, "balanced", (125, 1000)),
        ((10, 40_000), 200, "balanced", (10, 10_000)),
        ((1_000_000, 1), 1, "balanced", (125_000, 1)),
        ((1_000_000, 4), 1, "balanced", (32_259, 4)),
        ((1, 1), 1, "balanced", (1, 1)),
    ],
)
def test_chunks_are_those_that_were_fastest(shape, cell_widths, access, expected):
    layout = plan_layout(shape, 4, cell_widths, StorageOptions(access=access))

    assert layout.chunks == expected


@given(
    shape=SHAPES,
    chunks=st.tuples(st.integers(1, 1000), st.integers(1, 1000)),
    compression=st.sampled_from(["gzip", None]),
    access=ACCESS,
)
def test_requested_chunks_are_used_within_the_matrix(shape, chunks, compression, access):
    assume(shape[1])
    storage = StorageOptions(access=access, compression=compression, chunks=chunks)

    layout = plan_layout(shape, 4, 1, storage)

    assert layout.chunks == (min(chunks[0], max(shape[0], 1)), min(chunks[1], shape[1]))
    assert layout.compression == compression


@pytest.mark.parametrize("chunks", [None, (7, 7), "contiguous"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_no_columns_are_contiguous(chunks, compression):
    if chunks == "contiguous":
        compression = None

    layout = plan_layout((5, 0), 4, [], StorageOptions(chunks=chunks, compression=compression))

    assert (layout.chunks, layout.compression) == (None, None)
    assert layout.piece[0] >= 1


@pytest.mark.parametrize("access", get_args(Access))
def test_no_rows_have_chunks_of_a_row(access):
    layout = plan_layout((0, 300), 4, 100, StorageOptions(access=access, compression="gzip"))

    assert layout.chunks[0] == 1
    assert 1 <= layout.chunks[1] <= 300
    assert layout.compression == "gzip"


def test_more_workers_have_smaller_pieces():
    pieces = [
        np.prod(plan_layout((10**5, 10**5), 4, 100, StorageOptions(memory=2**26), workers).piece)
        for workers in (0, 1, 8, 16)
    ]

    assert pieces[0] == pieces[1] > pieces[2] > pieces[3]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"access": "rows"}, r"access is 'rows'; expected balanced, cells or frames"),
        ({"compression": "lzf"}, r"compression is 'lzf'; expected auto, gzip, zstd or none"),
        ({"chunks": (0, 5)}, r"chunks are \(0, 5\); expected two positive numbers, rows and col"),
        ({"chunks": (5, -1)}, r"chunks are \(5, -1\); expected two positive numbers"),
        ({"chunks": (5,)}, r"chunks are \(5,\); expected two positive numbers"),
        ({"chunks": (5, 5, 5)}, r"chunks are \(5, 5, 5\); expected two positive numbers"),
        ({"chunks": ()}, r"chunks are \(\); expected two positive numbers"),
        ({"chunks": (1.5, 3)}, r"chunks are \(1\.5, 3\); expected two positive numbers"),
        ({"chunks": "auto"}, r"chunks are 'auto'; expected two positive numbers"),
        ({"chunks": [0, 3]}, r"chunks are \[0, 3\]; expected two positive numbers"),
        ({"chunks": 5}, r"chunks are 5; expected two positive numbers"),
        (
            {"chunks": "contiguous", "compression": "gzip"},
            r"contiguous data cannot be compressed; expected only one of chunks and compression",
        ),
        (
            {"link": True, "compression": "gzip"},
            r"linked data are stored as in the source; expected no chunks and no compression",
        ),
        (
            {"link": True, "chunks": (3, 4)},
            r"linked data are stored as in the source; expected no chunks and no compression",
        ),
        (
            {"link": True, "quantize": "0.01mV"},
            r"linked data cannot be quantized; expected only one of link and quantize",
        ),
        ({"memory": MIB - 1}, r"memory is 1048575 bytes; expected at least 1 MiB"),
        ({"memory": -1}, r"memory is -1 bytes; expected at least 1 MiB"),
    ],
)
def test_options_that_are_not_allowed_are_refused(wrong, expected):
    with pytest.raises(LayoutError, match=expected):
        StorageOptions(**wrong)


@pytest.mark.parametrize("step", ["0.01", "mV", "-1mV", "1 furlong", "nanmV", 0.01, {"v": "0 mV"}])
def test_a_step_without_a_size_or_a_unit_is_refused(step):
    with pytest.raises(UnitError, match=r"quantization step is .*; expected a number and a unit"):
        StorageOptions(quantize=step)


def test_no_compression_has_one_meaning():
    assert StorageOptions(compression=None) == StorageOptions(compression="none")
    assert StorageOptions() == StorageOptions(compression="auto")


def test_options_do_not_change_with_the_mapping_they_were_made_of():
    steps = {"v": "0.01mV"}
    options = StorageOptions(quantize=steps)
    steps["v"] = "1mV"

    assert options.quantize == {"v": "0.01mV"}


@pytest.mark.parametrize(
    "wrong", [{"chunks": "contiguous"}, {"link": True}, {"quantize": "0.01mV"}], ids=str
)
def test_a_stream_refuses_what_needs_all_data_at_once(wrong):
    with pytest.raises(LayoutError, match="streamed data cannot be contiguous, linked or quant"):
        plan_growing(10, 4, storage=StorageOptions(**wrong))


def test_a_stream_refuses_a_compression_of_zarr():
    with pytest.raises(LayoutError, match="streams are HDF5 files"):
        plan_growing(10, 4, storage=StorageOptions(compression="zstd"))


def test_chunks_may_be_numpy_integers():
    storage = StorageOptions(chunks=(np.int64(3), np.uint8(200)))

    assert plan_layout((10, 300), 4, 1, storage).chunks == (3, 200)
    assert plan_growing(300, 4, 1, storage).chunks == (3, 200)


def test_the_least_memory_is_allowed():
    assert StorageOptions(memory=MIB).memory == MIB
    assert StorageOptions().memory == DEFAULT_MEMORY


@pytest.mark.parametrize(
    ("shape", "compression", "processors", "workers"),
    [
        ((2000, 40_000), None, 8, 2),  # one gathers while another writes
        ((2000, 40_000), None, 1, 0),
        ((2000, 40_000), "gzip", 4, 4),
        ((2000, 40_000), "gzip", 64, 8),
        ((2000, 2000), "gzip", 8, 8),
        ((2000, 1600), "gzip", 64, 8),
        ((500, 2400), "gzip", 8, 3),  # as many as pieces
        ((500, 400), "gzip", 8, 0),  # too small
        ((500, 2100), None, 8, 0),  # a single piece
        ((0, 40_000), "gzip", 8, 0),
        ((2000, 0), None, 8, 0),
    ],
)
def test_the_plan_has_the_workers_that_help(shape, compression, processors, workers, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(processors)), raising=False)
    storage = StorageOptions(compression=compression)

    assert plan_layout(shape, 4, 200, storage).workers == workers
    assert plan_layout(shape, 4, 200, storage, workers=5).workers == 5


def test_a_layout_is_described_in_one_line():
    layout = plan_layout((2000, 40_000), 4, 200, workers=2)

    assert str(layout) == (
        "2000 × 40000 (305.2 MiB): chunks of 500 × 200 (390.6 KiB), uncompressed, "
        "pieces of 500 × 4000, 2 workers"
    )
    assert str(replace(layout, workers=1)).endswith(", 1 worker")
    assert str(replace(layout, workers=0)).endswith(", no workers")
    assert str(replace(layout, compression="gzip")).count(", gzip, ") == 1


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 5), "20 bytes"),
        ((256, 2), "2 KiB"),
        ((10**5, 10**5), "37.25 GiB"),
        ((10**7, 10**7), "363.8 TiB"),
    ],
)
def test_the_description_of_a_contiguous_layout_has_its_size(shape, size):
    layout = plan_layout(shape, 4, 1, StorageOptions(chunks="contiguous"))

    assert f"({size}): contiguous, uncompressed" in str(layout)
