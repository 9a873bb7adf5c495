"""A source is cut into regions that cover it; each is read once and in bounded memory."""

import errno
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ndx_simulation_output.errors import SourceError
from ndx_simulation_output.recording.views import Columns, Quantized
from ndx_simulation_output.storage import partitions as sources
from ndx_simulation_output.storage.layout import Layout, StorageOptions, plan_layout
from ndx_simulation_output.storage.partitions import regions
from tests.storage.making import Spy

LENGTHS = st.integers(1, 40)
CHUNKS = st.tuples(st.integers(1, 45), st.integers(1, 45))


def plan(array: np.ndarray, chunks: tuple[int, int] | None, memory: int, beside: int) -> Layout:
    """Plan a layout in less memory than a user may ask for."""
    storage = StorageOptions(chunks=chunks or "contiguous")
    layout = plan_layout(array.shape, array.itemsize, 1, storage)
    if layout.chunks is None:
        return replace(layout, memory=memory, piece=(beside, array.shape[1]))
    height, width = layout.chunks
    return replace(layout, memory=memory, piece=(height, width * beside))


@st.composite
def works(draw: st.DrawFn) -> tuple[Spy, Layout, range]:
    """Draw a source, a layout, and columns that begin and end at edges of chunks."""
    shape = draw(LENGTHS), draw(LENGTHS)
    array = np.arange(shape[0] * shape[1], dtype="i4").reshape(shape)
    source = Spy(array, draw(st.none() | CHUNKS), draw(st.booleans()))
    memory = draw(st.integers(1, 8000))
    layout = plan(array, draw(st.none() | CHUNKS), memory, draw(st.integers(1, 4)))
    width = layout.chunks[1] if layout.chunks else 1
    edges = [*range(0, shape[1], width), shape[1]]
    start, stop = sorted(draw(st.tuples(st.sampled_from(edges), st.sampled_from(edges))))
    return source, layout, range(start, stop)


@given(work=works())
def test_pieces_cover_the_columns_once_with_the_values_of_the_source(work):
    source, layout, columns = work
    found = np.full(source.shape, -1)
    expected = np.full(source.shape, -1)
    expected[:, columns.start : columns.stop] = source.array[:, columns.start : columns.stop]

    for region in regions(source, layout, columns):
        for piece in region.pieces(layout):
            assert (found[piece.rows, piece.columns] == -1).all()
            found[piece.rows, piece.columns] = piece.read()

    np.testing.assert_array_equal(found, expected)


@given(work=works())
def test_every_value_of_the_columns_is_read_once_and_no_other(work):
    source, layout, columns = work

    for region in regions(source, layout, columns):
        for piece in region.pieces(layout):
            piece.read()

    reads = source.reads()
    assert (reads[:, columns.start : columns.stop] == 1).all()
    assert reads.sum() == source.shape[0] * len(columns)


@given(work=works())
def test_pieces_begin_and_end_with_chunks(work):
    source, layout, columns = work
    assume(layout.chunks is not None)
    height, width = layout.chunks

    for region in regions(source, layout, columns):
        for piece in region.pieces(layout):
            rows, some = piece.rows, piece.columns
            assert (rows.start % height, some.start % width) == (0, 0)
            assert rows.stop - rows.start == height or rows.stop == source.shape[0]
            assert some.stop % width == 0 or some.stop == source.shape[1]


@given(work=works())
def test_no_more_is_read_at_a_time_than_the_memory_holds_or_a_chunk_of_the_source(work):
    source, layout, columns = work
    source.is_mapped = False
    height, width = source.chunks or (1, 1)

    for _ in regions(source, layout, columns):
        pass

    for rows, some in source.keys:
        n_bytes = (rows.stop - rows.start) * (some.stop - some.start) * 4
        assert n_bytes <= max(layout.memory, height * width * 4)


@given(
    shape=st.tuples(LENGTHS, LENGTHS),
    source_chunks=CHUNKS,
    factors=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    wider=st.booleans(),
    memory=st.integers(1, 8000),
)
def test_every_chunk_of_the_source_is_read_once_where_edges_meet(
    shape, source_chunks, factors, wider, memory
):
    larger = (source_chunks[0] * factors[0], source_chunks[1] * factors[1])
    array = np.zeros(shape, "i4")
    source = Spy(array, source_chunks if wider else larger)
    chunks = larger if wider else source_chunks
    layout = plan(array, chunks, memory, beside=1)
    assume(layout.chunks == chunks)

    for _ in regions(source, layout, range(shape[1])):
        pass

    assert (source.chunk_reads() == 1).all()


@given(work=works())
def test_no_chunk_of_the_source_is_read_by_more_than_the_regions_it_lies_in(work):
    source, layout, columns = work
    source.is_mapped = False

    found = list(regions(source, layout, columns))

    reads = source.chunk_reads()
    height, width = source.chunks or (1, 1)
    lies_in = np.zeros_like(reads)
    for region in found:
        lies_in[
            region.rows.start // height : -(-region.rows.stop // height),
            region.columns.start // width : -(-region.columns.stop // width),
        ] += 1
    np.testing.assert_array_equal(reads, lies_in)


def test_frames_that_do_not_fit_go_through_a_temporary_file(tmp_path, monkeypatch):
    used = []

    def remember(*_: object, dir: object) -> object:  # noqa: A002 - its name in the library
        used.append(dir)
        return temporary(dir=dir)

    temporary = sources.tempfile.TemporaryFile
    monkeypatch.setattr("tempfile.TemporaryFile", remember)
    array = np.arange(4000, dtype="f4").reshape(40, 100)
    layout = plan(array, (40, 10), memory=1000, beside=1)

    [region] = regions(Spy(array, (1, 100)), layout, range(100), tmp_path)

    assert isinstance(region.values, np.memmap)
    assert used == [tmp_path]
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(region.read(slice(3, 5), slice(20, 30)), array[3:5, 20:30])


def test_a_disk_without_room_for_the_temporary_file_is_an_error(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse, raising=False)
    array = np.zeros((40, 100), "f4")
    layout = plan(array, (40, 10), memory=1000, beside=1)

    with pytest.raises(OSError, match="No space left on device"):
        list(regions(Spy(array, (1, 100)), layout, range(100), tmp_path))


def test_what_cannot_be_read_is_a_source_error():
    class Broken(Spy):
        def __getitem__(self, key):
            msg = "file is truncated"
            raise OSError(msg)

    array = np.zeros((40, 100), "f4")
    expected = r"cannot read rows 0 to 40 of the source: file is truncated"

    with pytest.raises(SourceError, match=expected):
        list(regions(Broken(array, (40, 1)), plan(array, None, 10**6, 1), range(100)))


@pytest.mark.parametrize("is_mapped", [False, True])
@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_an_empty_source_is_not_read(shape, is_mapped):
    source = Spy(np.zeros(shape), is_mapped=is_mapped)

    assert list(regions(source, plan(source.array, None, 100, 1), range(shape[1]))) == []
    assert source.keys == []


def test_a_source_in_memory_is_not_copied_into_regions():
    array = np.arange(4000, dtype="f4").reshape(40, 100)

    [region] = regions(array, plan(array, (40, 10), 1, 1), range(100))

    assert region.values is None
    assert np.shares_memory(region.read(slice(0, 3), slice(0, 5)), array)


def test_large_mapped_sources_are_released_in_between(monkeypatch):
    released = []

    class Mapped(Spy):
        def release(self):
            released.append(len(self.keys))

    monkeypatch.setattr(sources, "_RELEASE_BYTES", 400 * 5)
    source = Mapped(np.zeros((40, 100), "f4"), is_mapped=True)

    for region in regions(source, plan(source.array, None, 10**6, 5), range(100)):
        for piece in region.pieces(plan(source.array, None, 10**6, 5)):
            piece.read()
        region.release()

    assert released == list(range(1, 9))


@given(
    shape=st.tuples(LENGTHS, LENGTHS),
    chunks=CHUNKS,
    memory=st.integers(1, 3000),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_columns_in_another_order_are_gathered_from_each_chunk_once(
    shape, chunks, memory, seed, data
):
    array = np.arange(shape[0] * shape[1], dtype="i4").reshape(shape)
    source = Spy(array, chunks)
    order = np.random.default_rng(seed).permutation(shape[1])
    view = data.draw(
        st.sampled_from([Columns(source, order), Quantized(Columns(source, order), 1, 0)])
    )
    assume(view.dtype.itemsize * array.size > memory)
    layout = plan(array, shape, memory, beside=1)

    (region,) = regions(view, layout, range(shape[1]))

    np.testing.assert_array_equal(region.values, array[:, order])
    assert (source.reads() == 1).all()
    for rows, some in source.keys:
        n_bytes = (rows.stop - rows.start) * (some.stop - some.start) * 4
        assert n_bytes <= max(memory, chunks[0] * chunks[1] * 4)
