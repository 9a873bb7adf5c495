"""A selection of columns is cut into spans, and into the columns of each chunk."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ndx_simulation_output.storage.datasets import Selection, Span, cut_span

COLUMNS = st.sets(st.integers(0, 60)).map(lambda some: np.array(sorted(some), np.intp))
RANGES = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda ends: range(*sorted(ends)))


@given(columns=COLUMNS | RANGES)
def test_spans_are_the_columns_in_their_order(columns):
    found = np.full(len(columns), -1)

    spans = Selection(range(3), columns).spans()
    for span in spans:
        found[span.target] = np.arange(span.start, span.stop)

    assert found.tolist() == list(columns)
    for before, after in pairwise(spans):
        assert before.stop < after.start
        assert before.out_start + len(before) == after.out_start


@given(columns=COLUMNS | RANGES, width=st.integers(1, 70))
def test_the_columns_of_each_chunk_are_those_of_the_selection(columns, width):
    found = np.full(len(columns), -1)
    numbers = []

    for part in Selection(range(3), columns).by_chunk(width):
        numbers.append(part.number)
        found[part.target] = (part.number * width + np.arange(width))[part.local]

    assert found.tolist() == list(columns)
    assert numbers == sorted({column // width for column in columns})


@given(columns=RANGES, width=st.integers(1, 70))
def test_adjacent_columns_of_a_chunk_are_a_slice(columns, width):
    for part in Selection(range(3), columns).by_chunk(width):
        assert isinstance(part.local, slice)


@given(ends=RANGES.filter(len), out_start=st.integers(0, 9), length=st.integers(1, 70))
def test_a_span_is_cut_at_multiples_of_a_length(ends, out_start, length):
    span = Span(ends.start, ends.stop, out_start)
    columns, targets = [], []

    for number, part in cut_span(span, length):
        assert 0 <= part.start < part.stop <= length
        columns += range(number * length + part.start, number * length + part.stop)
        targets += range(part.target.start, part.target.stop)

    assert columns == list(ends)
    assert targets == list(range(out_start, out_start + len(ends)))
