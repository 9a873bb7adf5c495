"""Ranks together write every part once, and each chunk is written by one rank."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.storage.growing import RankColumns
from ndx_simulation_output.storage.layout import StorageOptions, plan_growing, plan_layout
from ndx_simulation_output.storage.mpi import plan_share

STORAGES = st.sampled_from(
    [
        StorageOptions(),
        StorageOptions(access="cells"),
        StorageOptions(access="frames"),
        StorageOptions(chunks="contiguous"),
        StorageOptions(chunks=(3, 4)),
    ]
)


@given(
    st.integers(0, 40),
    st.integers(0, 40),
    STORAGES,
    st.sampled_from([1, 7, 100]),
    st.integers(1, 9),
)
def test_ranks_share_every_chunk_once(rows, columns, storage, source_width, size):
    layout = plan_layout((rows, columns), 4, 1, storage)
    height, width = layout.chunks or (1, max(columns, 1))
    written = np.zeros((rows, columns), int)

    for rank in range(size):
        share = plan_share(layout, source_width, rank, size)
        written[share.rows.start : share.rows.stop, share.columns.start : share.columns.stop] += 1
        for part, step, end in ((share.rows, height, rows), (share.columns, width, columns)):
            assert not part or part.start % step == 0
            assert not part or part.stop % step == 0 or part.stop == end

    assert (written == 1).all()


def test_ranks_share_columns_where_there_are_enough():
    layout = plan_layout((2000, 40000), 4, 200)

    shares = [plan_share(layout, 1, rank, 2) for rank in range(2)]

    assert [share.columns for share in shares] == [range(20000), range(20000, 40000)]
    assert {share.rows for share in shares} == {range(2000)}


def test_ranks_share_rows_where_they_would_read_the_same_chunks_of_the_source():
    layout = plan_layout((2000, 40000), 4, 200)

    shares = [plan_share(layout, 40000, rank, 2) for rank in range(2)]

    assert [share.rows for share in shares] == [range(1000), range(1000, 2000)]
    assert {share.columns for share in shares} == {range(40000)}


class Mail:
    """Messages between ranks that run one after the other."""

    def __init__(self) -> None:
        self.sent: dict[tuple[int, int], list] = {}
        self.rank = 0

    @property
    def comm(self) -> "Mail":
        return self

    def isend(self, value, *, dest: int, tag: int) -> "Mail":
        del tag
        self.sent.setdefault((self.rank, dest), []).append(value.copy())
        return self

    def wait(self) -> None:
        pass

    def receive(self, source: int, tag: int):
        del tag
        return self.sent[source, self.rank].pop()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 8))
def test_ranks_complete_their_chunks_from_those_of_others(counts, chunk_width):
    starts = [0, *itertools.accumulate(counts)]
    values = np.arange(2 * starts[-1]).reshape(2, -1)
    mail = Mail()
    found = []

    # The last rank first: a rank receives columns of the ranks after it.
    for rank in reversed(range(len(counts))):
        mail.rank = rank
        owned = RankColumns(starts, chunk_width, rank)
        own = np.zeros((2, owned.width), int)
        own[:, : owned.count] = values[:, starts[rank] : starts[rank + 1]]
        whole = owned.exchange(own, mail)
        assert whole.shape == (2, len(owned.columns))
        assert not owned.columns or owned.columns.start % chunk_width == 0
        assert owned.columns.stop % chunk_width == 0 or owned.columns.stop in starts
        found.insert(0, whole)

    np.testing.assert_array_equal(np.concatenate(found, axis=1), values)
    assert not any(mail.sent.values())


@given(
    st.integers(1, 100_000),
    st.integers(1, 8),
    st.integers(1, 2000),
    st.none() | st.integers(0, 10**6),
    st.sampled_from(["balanced", "cells", "frames"]),
)
def test_a_row_of_chunks_of_a_stream_fits_into_the_memory(columns, itemsize, width, steps, access):
    storage = StorageOptions(access=access, memory=2**22)

    layout = plan_growing(columns, itemsize, width, storage, steps=steps)

    assert layout.shape == (0, columns)
    assert layout.chunks[0] * columns * itemsize <= storage.memory
    assert layout.chunks[1] <= columns
